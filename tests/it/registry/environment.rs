//! What comes from the environment: Docker's configuration, certificates, proxies.

use std::process::Command;

use tempfile::TempDir;
use waybill::registry::{Base, Client, Credentials, Options};

use crate::front::{Fault, Front, Rule};
use crate::servers::{Certificate, DockerRegistry, Setup};

use super::auth::TokenRegistry;
use super::contents::round_trip;
use super::{Embedded, client_as, quick};

/// Runs the ignored test `name` of the registry's tests with variables set, and wants it to succeed.
pub(super) fn in_child(name: &str, variables: &[(&str, &str)]) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([
        "--exact",
        &format!("registry::{name}"),
        "--ignored",
        "--nocapture",
    ]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        child.env_remove(name).env_remove(name.to_ascii_lowercase());
    }
    let output = child.envs(variables.iter().copied()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[tokio::test]
#[ignore = "run by other tests, with an environment"]
async fn child_that_asks() {
    let base = std::env::var("TEST_BASE").unwrap();
    let outcome = client_as(&base, Credentials::Docker).tags("api").await;
    let outcome = outcome.map_or_else(|error| error.code(), |_| "ok");
    assert_eq!(outcome, std::env::var("TEST_OUTCOME").unwrap());
}

fn docker_config(content: &serde_json::Value) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("config.json"), content.to_string()).unwrap();
    directory
}

#[tokio::test]
async fn dockers_configuration_and_the_systems_certificates_are_honoured() {
    let certificate = Certificate::make();
    let registry = DockerRegistry::start_with(&Setup {
        login: Some(("ann", "password")),
        certificate: Some(&certificate),
        ..Setup::default()
    });
    let base = format!("https://{}", registry.base("acme"));
    let authority = certificate.authority.to_str().unwrap();
    let host = registry.address.to_string();
    // base64 of "ann:password" and of "ann:nonsense"
    for (config, outcome) in [
        (
            serde_json::json!({"auths": {&host: {"auth": "YW5uOnBhc3N3b3Jk"}}}),
            "ok",
        ),
        (
            serde_json::json!({"auths": {&host: {"auth": "YW5uOm5vbnNlbnNl"}}}),
            "credential-refused",
        ),
        (
            serde_json::json!({"credHelpers": {&host: "waybill-test-none"}}),
            "credential-helper",
        ),
        (serde_json::json!({"auths": {}}), "credential-missing"),
    ] {
        let config = docker_config(&config);
        in_child(
            "environment::child_that_asks",
            &[
                ("TEST_BASE", &base),
                ("TEST_OUTCOME", outcome),
                ("DOCKER_CONFIG", config.path().to_str().unwrap()),
                ("SSL_CERT_FILE", authority),
            ],
        );
    }
    let other = Certificate::make();
    in_child(
        "environment::child_that_asks",
        &[
            ("TEST_BASE", &base),
            ("TEST_OUTCOME", "registry-unreachable"),
            ("DOCKER_CONFIG", "/nowhere"),
            ("SSL_CERT_FILE", other.authority.to_str().unwrap()),
        ],
    );
}

#[tokio::test]
async fn identity_tokens_are_exchanged() {
    let registry = TokenRegistry::start(false).await;
    let host = registry.base.trim_end_matches("/acme");
    let config =
        docker_config(&serde_json::json!({"auths": {host: {"identitytoken": "refresh-me"}}}));
    let base = registry.base.clone();
    let child = move || {
        in_child(
            "environment::child_that_asks",
            &[
                ("TEST_BASE", &base),
                ("TEST_OUTCOME", "ok"),
                ("DOCKER_CONFIG", config.path().to_str().unwrap()),
            ],
        );
    };
    tokio::task::spawn_blocking(child).await.unwrap();
}

#[tokio::test]
async fn proxies_are_honoured_but_not_for_loopback() {
    let registry = Embedded::start().await;
    let proxy = Front::start(registry.address());
    proxy.add(Rule::on("GET", "/tags/list").does(Fault::answer(200, "", "{\"tags\":[]}")));
    let (proxy_address, base) = (format!("http://{}", proxy.address), registry.base("acme"));
    let child = move || {
        for base in [base.as_str(), "http://registry.invalid/acme"] {
            in_child(
                "environment::child_that_asks",
                &[
                    ("TEST_BASE", base),
                    ("TEST_OUTCOME", "ok"),
                    ("DOCKER_CONFIG", "/nowhere"),
                    ("HTTP_PROXY", &proxy_address),
                    ("http_proxy", &proxy_address),
                ],
            );
        }
    };
    tokio::task::spawn_blocking(child).await.unwrap();
    let paths: Vec<String> = proxy.log().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths.len(), 1, "{paths:?}");
}

#[tokio::test]
async fn https_needs_a_certificate_that_is_trusted() {
    let certificate = Certificate::make();
    let registry = DockerRegistry::start_with(&Setup {
        certificate: Some(&certificate),
        ..Setup::default()
    });
    let base: Base = format!("https://{}", registry.base("acme"))
        .parse()
        .unwrap();
    let trusting = Options {
        extra_root_pem: Some(std::fs::read(&certificate.authority).unwrap()),
        ..quick()
    };
    let client = Client::new(base.clone(), Credentials::Anonymous, trusting).unwrap();
    round_trip(&client).await;

    let client = Client::new(base.clone(), Credentials::Anonymous, quick()).unwrap();
    let error = client.ping().await.unwrap_err();
    assert_eq!(error.code(), "registry-unreachable");
    assert!(error.to_string().contains("certificate"), "{error}");
    assert_eq!(client.requests(), 1, "no repetition mends a certificate");

    let broken = Options {
        extra_root_pem: Some(b"-----BEGIN CERTIFICATE-----\nx".to_vec()),
        ..quick()
    };
    let made = Client::new(base, Credentials::Anonymous, broken);
    assert_eq!(made.unwrap_err().code(), "registry-tls");
}
