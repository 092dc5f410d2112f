//! What comes from the environment: Docker's configuration, certificates, proxies.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use waybill::registry::{Base, Client, Credentials, Options};

use crate::front::{Fault, Front, Rule};
use crate::program::{command, run};
use crate::repo::Repo;
use crate::servers::{Certificate, DockerRegistry, Refusing, Setup, Tunnel};

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
        "{variables:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
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

#[tokio::test]
#[ignore = "run by other tests, with an environment"]
async fn child_that_asks_often() {
    let base = std::env::var("TEST_BASE").unwrap();
    for _ in 0..3 {
        let client = client_as(&base, Credentials::Docker);
        client.tags("api").await.unwrap();
        assert!(client.login().await.unwrap().is_some());
    }
    let host = base.split('/').next().unwrap();
    assert!(Credentials::Docker.resolve(host).await.unwrap().is_some());
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

/// A credential helper in a directory of its own, which answers for one host; as every helper, it
/// reads what it is asked before it ends. Put there by a
/// process of its own: what this one has open for writing, a child of another test may inherit,
/// and then nobody can run it.
fn helper(name: &str, script: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source");
    std::fs::write(&source, format!("#!/bin/sh\n{script}\n")).unwrap();
    let installed = Command::new("install")
        .args(["-m", "755"])
        .arg(&source)
        .arg(directory.path().join(format!("docker-credential-{name}")))
        .status();
    assert!(installed.unwrap().success());
    directory
}

#[tokio::test]
async fn credential_helpers_are_asked() {
    let registry = DockerRegistry::start_with(&Setup {
        login: Some(("ann", "password")),
        ..Setup::default()
    });
    let (host, base) = (registry.address.to_string(), registry.base("acme"));
    let answer = |secret: &str| {
        format!(
            "test \"$1\" = get && host=$(cat) && test \"$host\" = {host} && \
             echo '{{\"ServerURL\": \"{host}\", \"Username\": \"ann\", \"Secret\": \"{secret}\"}}'"
        )
    };
    let chosen = serde_json::json!({"credHelpers": {&host: "tests"}});
    let store = serde_json::json!({"credsStore": "tests"});
    for (config, script, outcome) in [
        (&chosen, answer("password"), "ok"),
        (&store, answer("password"), "ok"),
        (&chosen, answer("wrong"), "credential-refused"),
        (
            &chosen,
            "cat >/dev/null; echo credentials not found in native keychain; exit 1".into(),
            "credential-missing",
        ),
        (
            &chosen,
            "echo locked >&2; exit 1".into(),
            "credential-helper",
        ),
        (&chosen, "echo nonsense".into(), "credential-helper"),
        (&store, "exit 0".into(), "credential-helper"),
    ] {
        let directory = helper("tests", &script);
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", directory.path().display());
        let config = docker_config(config);
        in_child(
            "environment::child_that_asks",
            &[
                ("TEST_BASE", &base),
                ("TEST_OUTCOME", outcome),
                ("DOCKER_CONFIG", config.path().to_str().unwrap()),
                ("PATH", &path),
            ],
        );
    }
}

#[tokio::test]
async fn a_credential_helper_is_asked_once_whoever_needs_it() {
    let registry = DockerRegistry::start_with(&Setup {
        login: Some(("ann", "password")),
        ..Setup::default()
    });
    let host = registry.address.to_string();
    let script = format!(
        "echo asked >> \"$TEST_COUNT\"; cat > /dev/null; \
         echo '{{\"ServerURL\": \"{host}\", \"Username\": \"ann\", \"Secret\": \"password\"}}'"
    );
    let directory = helper("tests", &script);
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", directory.path().display());
    let config = docker_config(&serde_json::json!({"credsStore": "tests"}));
    let count = directory.path().join("count");
    in_child(
        "environment::child_that_asks_often",
        &[
            ("TEST_BASE", &registry.base("acme")),
            ("TEST_COUNT", count.to_str().unwrap()),
            ("DOCKER_CONFIG", config.path().to_str().unwrap()),
            ("PATH", &path),
        ],
    );
    assert_eq!(std::fs::read_to_string(count).unwrap(), "asked\n");
}

#[tokio::test]
async fn https_goes_through_a_tunnel_where_a_proxy_is_set() {
    let certificate = Certificate::make();
    let registry = DockerRegistry::start_with(&Setup {
        certificate: Some(&certificate),
        ..Setup::default()
    });
    let tunnel = Tunnel::start(registry.address);
    let port = registry.address.port();
    let far = format!("https://registry.invalid:{port}/acme");
    let near = format!("https://{}", registry.base("acme"));
    let proxy = format!("http://{}", tunnel.address);
    let ask = |base: &str, outcome: &str, variables: &[(&str, &str)]| {
        let authority = certificate.authority.to_str().unwrap();
        let mut all = vec![
            ("TEST_BASE", base),
            ("TEST_OUTCOME", outcome),
            ("DOCKER_CONFIG", "/nowhere"),
            ("SSL_CERT_FILE", authority),
        ];
        all.extend(variables);
        in_child("environment::child_that_asks", &all);
        tunnel.asked()
    };
    let target = format!("registry.invalid:{port}");
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        assert_eq!(
            ask(&far, "ok", &[(name, &proxy)]),
            [target.as_str()],
            "{name}"
        );
    }
    let without = [
        ("HTTPS_PROXY", proxy.as_str()),
        ("NO_PROXY", "other,registry.invalid"),
    ];
    assert_eq!(ask(&far, "registry-unreachable", &without), [""; 0]);
    assert_eq!(ask(&near, "ok", &[("HTTPS_PROXY", &proxy)]), [""; 0]);
    // A proxy that is not there is an error, and nothing goes around it.
    let refusing = Refusing::new();
    let nowhere = format!("http://{}", refusing.address);
    let dead = [("HTTPS_PROXY", nowhere.as_str())];
    assert_eq!(ask(&far, "registry-unreachable", &dead), [""; 0]);
}

#[test]
fn a_private_authority_is_trusted_by_flag_and_variable() {
    let certificate = Certificate::make();
    let registry = DockerRegistry::start_with(&Setup {
        certificate: Some(&certificate),
        ..Setup::default()
    });
    let repo = Repo::new();
    repo.write("build_manifest.json", r#"{"version": 1, "projects": {}}"#);
    repo.commit("First");
    let base = format!("https://{}", registry.base("acme"));
    let (authority, key) = (&certificate.authority, &certificate.key);
    let init = |arguments: &[&str], variable: Option<&Path>| {
        let mut command = command(&repo);
        command.args(["--json", "registry", "init", "--registry", &base]);
        command.args(arguments);
        command.envs(variable.map(|file| ("WAYBILL_REGISTRY_CA", file)));
        let ran = run(&mut command);
        let json = ran.json();
        let code = json["errors"][0]["code"].as_str().map(str::to_owned);
        (ran.code, code.unwrap_or_default())
    };
    let flag = ["--registry-ca", authority.to_str().unwrap()];
    let wrong = |code: &str| (2, code.to_owned());
    assert_eq!(init(&[], None), (3, "registry-unreachable".to_owned()));
    assert_eq!(init(&[], Some(key)), wrong("invalid-registry-ca"));
    assert_eq!(
        init(&["--registry-ca", "/nowhere"], None),
        wrong("invalid-registry-ca")
    );
    assert_eq!(init(&flag, None), (0, String::new()));
    assert_eq!(init(&[], Some(authority)), (0, String::new()));
    assert_eq!(
        init(&[], Some(Path::new(""))),
        (3, "registry-unreachable".to_owned())
    );
}
