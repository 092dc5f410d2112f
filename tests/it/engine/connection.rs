//! The ways to an engine.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use waybill::build::engine::{Endpoint, Engine};
use waybill::mask::Secret;
use waybill::model::{Digest, Platform};
use waybill::problem::{Class, Diagnose};

use super::{Tag, build, context, engine, in_process_of_its_own, nothing_more};

#[tokio::test]
async fn says_what_it_is() {
    let engine = engine().await;
    assert_eq!(engine.info().platform, Platform::default());
    assert!(
        engine
            .info()
            .version
            .starts_with(|c: char| c.is_ascii_digit())
    );
}

#[tokio::test]
async fn no_engine_is_unreachable() {
    for address in ["unix:///nonexistent/docker.sock", "tcp://127.0.0.1:1"] {
        let endpoint = Endpoint::parse(address, None).unwrap();
        let error = Engine::connect_to(endpoint).await.err().unwrap();
        assert_eq!(error.class(), Class::Unreachable);
        let problem = &error.problems()[0];
        assert_eq!(problem.code, "engine-unreachable");
        assert!(problem.message.contains(address), "{}", problem.message);
        assert!(problem.hint.as_ref().unwrap().contains("DOCKER_HOST"));
    }
}

/// Builds with a secret, which takes the session, the context and the answer over this engine's
/// connections.
async fn builds_with_a_secret(engine: &Engine) {
    let tag = Tag::new();
    let mut request = tag.build();
    request.secrets.insert("token".into(), Secret::new("value"));
    let dockerfile = "RUN --mount=type=secret,id=token,required=true \
        /bin/busybox sha256sum /run/secrets/token\n";
    // Steps that are the same in two builds at a time run once, and one build sees the output.
    let dockerfile = format!("ENV TAG={}\n{dockerfile}", tag.0);
    let (result, output, _) = build(engine, &request, context(&dockerfile, nothing_more)).await;
    result.unwrap();
    assert!(output.contains(&Digest::of(b"value").hex()), "{output}");
}

#[tokio::test]
async fn engines_are_reached_over_tcp() {
    let address = forward(|stream| async { Ok(stream) }).await;
    let endpoint = Endpoint::parse(&format!("tcp://{address}"), None).unwrap();
    assert!(endpoint.is_local());
    builds_with_a_secret(&Engine::connect_to(endpoint).await.unwrap()).await;
}

#[tokio::test]
async fn engines_are_reached_over_tls_with_a_clients_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let acceptor = certificates(directory.path());
    let address = forward(move |stream| acceptor.accept(stream)).await;
    let endpoint =
        |path: &Path| Endpoint::parse(&format!("tcp://{address}"), Some(path.to_owned())).unwrap();
    builds_with_a_secret(
        &Engine::connect_to(endpoint(directory.path()))
            .await
            .unwrap(),
    )
    .await;

    let stranger = tempfile::tempdir().unwrap();
    let ca = stranger.path().join("ca.pem");
    let connected = Engine::connect_to(endpoint(stranger.path())).await;
    assert_eq!(
        connected.err().unwrap().problems()[0].code,
        "engine-address"
    );
    std::fs::copy(directory.path().join("ca.pem"), &ca).unwrap();
    let without_certificate = Engine::connect_to(endpoint(stranger.path()))
        .await
        .err()
        .unwrap();
    assert_eq!(without_certificate.class(), Class::Unreachable);
    certificates(stranger.path());
    let other_ca = Engine::connect_to(endpoint(stranger.path()))
        .await
        .err()
        .unwrap();
    assert_eq!(
        other_ca.problems()[0].code,
        "engine-unreachable",
        "{other_ca}"
    );
    assert!(other_ca.to_string().contains("certificate"), "{other_ca}");
}

/// Listens on a port and passes what comes to the engine's socket.
async fn forward<S, A, F>(accept: A) -> std::net::SocketAddr
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    A: Fn(tokio::net::TcpStream) -> F + Send + Sync + 'static,
    F: Future<Output = io::Result<S>> + Send + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let client = accept(listener.accept().await.unwrap().0);
            tokio::spawn(async move {
                if let Ok(mut client) = client.await {
                    let mut engine = UnixStream::connect("/var/run/docker.sock").await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut engine).await;
                }
            });
        }
    });
    address
}

/// Makes an authority, a server's certificate and a client's in this directory, as the docker
/// program looks for them, and what takes connections with them.
fn certificates(directory: &Path) -> tokio_rustls::TlsAcceptor {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let make = |name: &str, key: &str, more: &[&str]| {
        let done = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ])
            .args([
                "-nodes", "-days", "2", "-subj", "/CN=test", "-out", name, "-keyout", key,
            ])
            .args(more)
            .current_dir(directory)
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    make("ca.pem", "ca-key.pem", &[]);
    let by_ca = [
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca-key.pem",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ];
    make("cert.pem", "key.pem", &by_ca);
    make(
        "server.pem",
        "server-key.pem",
        &[&by_ca[..], &["-addext", "subjectAltName=IP:127.0.0.1"]].concat(),
    );

    let certificate = |name: &str| CertificateDer::from_pem_file(directory.join(name)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate("ca.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients =
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(
            vec![certificate("server.pem")],
            PrivateKeyDer::from_pem_file(directory.join("server-key.pem")).unwrap(),
        )
        .unwrap();
    Arc::new(config).into()
}

#[test]
fn engines_are_reached_over_ssh() {
    // Says what it was asked, and runs the command here.
    let ssh = fake_ssh(
        "echo \"$@\" >>\"$0.log\"; while [ \"$1\" != -- ]; do shift; done; shift 2; DOCKER_HOST= exec \"$@\"",
    );
    let path = format!(
        "{}:{}",
        ssh.path().display(),
        std::env::var("PATH").unwrap()
    );
    let variables = [
        ("PATH", path.as_str()),
        ("DOCKER_HOST", "ssh://me@build.example:2222"),
    ];
    in_process_of_its_own(
        "connection::builds_on_the_engine_of_the_environment",
        &variables,
    );
    let asked = std::fs::read_to_string(ssh.path().join("ssh.log")).unwrap();
    let asked = asked.lines().next().unwrap();
    assert!(
        asked.ends_with("-l me -p 2222 -- build.example docker system dial-stdio"),
        "{asked}"
    );

    let ssh = fake_ssh("echo me@build.example: Permission denied >&2; exit 255");
    let path = format!(
        "{}:{}",
        ssh.path().display(),
        std::env::var("PATH").unwrap()
    );
    let variables = [
        ("PATH", path.as_str()),
        ("DOCKER_HOST", "ssh://me@build.example"),
    ];
    in_process_of_its_own("connection::is_denied_by_ssh", &variables);
}

/// A directory with a program `ssh` of this content.
fn fake_ssh(script: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("ssh");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

#[tokio::test]
#[ignore = "run by engines_are_reached_over_ssh, with its environment"]
async fn builds_on_the_engine_of_the_environment() {
    builds_with_a_secret(&engine().await).await;
}

#[tokio::test]
#[ignore = "run by engines_are_reached_over_ssh, with its environment"]
async fn is_denied_by_ssh() {
    let error = Engine::connect().await.err().unwrap();
    assert_eq!(error.problems()[0].code, "engine-unreachable");
    assert!(error.to_string().contains("Permission denied"), "{error}");
}
