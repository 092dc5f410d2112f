//! The registry client and the embedded registry, against each other, a real docker-registry, the
//! docker engine, and faults.

mod auth;
mod blobs;
mod contents;
mod copy;
mod delete;
mod embedded;
mod environment;
mod index;
mod manifests;
mod retries;
mod secrecy;
mod shipment;
mod tags;
mod tokens;
mod vendors;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use waybill::model::Digest;
use waybill::problem::{Class, Diagnose as _};
use waybill::registry::embedded::Server;
use waybill::registry::{Base, Client, Credentials, Options, Put, RegistryError, Secret};

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Options under which faults take no time.
fn quick() -> Options {
    Options {
        idle_timeout: Duration::from_secs(20),
        base_delay: Duration::from_millis(5),
        longest_wait: Duration::from_secs(2),
        ..Options::default()
    }
}

fn client(base: &str) -> Client {
    client_as(base, Credentials::Anonymous)
}

fn client_as(base: &str, credentials: Credentials) -> Client {
    Client::new(base.parse().unwrap(), credentials, quick()).unwrap()
}

fn login(user: &str, password: &str) -> Credentials {
    Credentials::Basic {
        user: user.into(),
        password: Secret::new(password),
    }
}

/// An embedded registry in a directory of its own.
struct Embedded {
    server: Server,
    directory: TempDir,
}

impl Embedded {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = serve(directory.path()).await;
        Self { server, directory }
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    fn base(&self, prefix: &str) -> String {
        format!("{}/{prefix}", self.address())
    }
}

async fn serve(directory: &Path) -> Server {
    waybill::registry::embedded::serve(directory, "127.0.0.1:0".parse().unwrap())
        .await
        .unwrap()
}

/// A small manifest whose config and only layer are the blob `content`.
fn manifest_of(content: &[u8]) -> Bytes {
    let descriptor = serde_json::json!({
        "mediaType": "application/octet-stream",
        "digest": Digest::of(content).to_string(),
        "size": content.len(),
    });
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor,
        "layers": [descriptor],
    });
    Bytes::from(manifest.to_string())
}

/// Puts a blob and a manifest of it under `tag`.
async fn put(client: &Client, repository: &str, tag: &str, content: &'static [u8]) -> Digest {
    client
        .put_blob(repository, Bytes::from_static(content))
        .await
        .unwrap();
    let bytes = manifest_of(content);
    match client
        .put_manifest(repository, tag, OCI_MANIFEST, bytes)
        .await
        .unwrap()
    {
        Put::Done(digest) => digest,
        Put::TagStands => panic!("{tag} stands"),
    }
}

#[test]
fn errors_say_what_to_do() {
    let error = "Acme".parse::<Base>().unwrap_err();
    assert!(matches!(error, RegistryError::InvalidBase { .. }));
    assert_eq!(error.problems()[0].code, "invalid-registry");
    assert_eq!(error.class(), Class::Usage);
    assert!(error.problems()[0].hint.is_some());
}
