//! Deleting, and what registries make of it.

use waybill::model::Digest;
use waybill::registry::{Client, Kind, Put};

use crate::front::{Fault, Front, Rule};
use crate::servers::{DockerRegistry, Setup};

use super::{Embedded, client, manifest_of, put};

/// What every registry does that deletes at all.
async fn manifests_are_deleted(client: &Client) {
    let digest = put(client, "api", "t", b"x").await;
    let kept = put(client, "api", "kept", b"y").await;
    assert!(client.delete_manifest("api", &digest).await.unwrap());
    // What this client itself put is absent now that it deleted it itself.
    let by_digest = client.manifest("api", &digest.to_string()).await.unwrap();
    assert_eq!(by_digest, None);
    assert!(!client.delete_manifest("api", &digest).await.unwrap());
    let absent = Digest::of(b"absent");
    assert!(!client.delete_manifest("none", &absent).await.unwrap());
    assert_eq!(client.digest_of("api", "kept").await.unwrap(), Some(kept));
    assert_eq!(client.requests_by_kind().of(Kind::ManifestDelete), 3);
}

#[tokio::test]
async fn the_embedded_registry_deletes_manifests_and_tags() {
    let registry = Embedded::start().await;
    let client = client(&registry.base("acme"));
    manifests_are_deleted(&client).await;
    assert_eq!(client.tags("api").await.unwrap(), ["kept"]);
    let digest = put(&client, "web", "One", b"x").await;
    put(&client, "web", "two", b"x").await;
    assert!(client.delete_tag("web", "One").await.unwrap());
    assert!(!client.delete_tag("web", "One").await.unwrap());
    assert!(!client.delete_tag("none", "t").await.unwrap());
    assert_eq!(client.tags("web").await.unwrap(), ["two"]);
    assert_eq!(client.manifest("web", "One").await.unwrap(), None);
    // The image stays, with its last tag gone too.
    assert!(client.delete_tag("web", "two").await.unwrap());
    let image = client.manifest("web", &digest.to_string()).await.unwrap();
    assert!(image.is_some());
    let error = client.delete_tag("web", &digest.to_string()).await;
    assert_eq!(error.unwrap_err().code(), "invalid-name");
}

#[tokio::test]
async fn docker_registry_deletes_manifests_and_no_tags() {
    let registry = DockerRegistry::start();
    let client = client(&registry.base("acme"));
    manifests_are_deleted(&client).await;
    let error = client.delete_tag("api", "kept").await.unwrap_err();
    assert_eq!(error.code(), "registry-no-delete", "{error}");
    assert!(client.manifest("api", "kept").await.unwrap().is_some());

    let keeps = DockerRegistry::start_with(&Setup {
        keeps_all: true,
        ..Setup::default()
    });
    let client = super::client(&keeps.base("acme"));
    let digest = put(&client, "api", "t", b"x").await;
    let error = client.delete_manifest("api", &digest).await.unwrap_err();
    assert_eq!(error.code(), "registry-no-delete", "{error}");
    let text = error.to_string();
    assert!(text.contains("DELETE http://"), "{text}");
}

#[tokio::test]
async fn a_deletion_that_was_not_answered_for_is_an_error() {
    let registry = Embedded::start().await;
    let front = Front::start(registry.address());
    let client = client(&front.base("acme"));
    let digest = put(&client, "api", "t", b"x").await;
    for (fault, code) in [
        (Fault::status(404), "registry-refused"),
        (Fault::status(403), "registry-refused"),
        (Fault::status(500), "registry-refused"),
        (Fault::error(400, "UNSUPPORTED", "no"), "registry-no-delete"),
        (Fault::status(405), "registry-no-delete"),
    ] {
        front.reset();
        front.add(Rule::on("DELETE", "/manifests/").does(fault.clone()));
        let error = client.delete_manifest("api", &digest).await.unwrap_err();
        assert_eq!(error.code(), code, "{fault:?}");
    }
    front.reset();
    // Done, but the answer is lost: the second attempt finds nothing, which is what was wanted.
    front.add(
        Rule::on("DELETE", "/manifests/")
            .nth(1)
            .does(Fault::LoseAnswer),
    );
    assert!(!client.delete_manifest("api", &digest).await.unwrap());
}

#[tokio::test]
async fn a_retag_sends_the_same_bytes() {
    let registry = DockerRegistry::start();
    let client = client(&registry.base("acme"));
    let digest = put(&client, "api", "t", b"x").await;
    let done = client.retag("api", &digest, "u").await.unwrap();
    assert_eq!(done, Put::Done(digest));
    let found = client.manifest("api", "u").await.unwrap().unwrap();
    assert_eq!(found.bytes, manifest_of(b"x"));
    assert_eq!(client.requests_by_kind().of(Kind::BlobGet), 0);
    let absent = Digest::of(b"absent");
    let error = client.retag("api", &absent, "u").await.unwrap_err();
    assert_eq!(error.code(), "image-incomplete", "{error}");
    assert!(error.to_string().contains(&absent.to_string()), "{error}");
    assert_eq!(client.digest_of("api", "u").await.unwrap(), Some(digest));
}
