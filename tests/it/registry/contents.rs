//! What a registry is given is what it has: round trips through each kind of registry.

use waybill::model::Digest;
use waybill::problem::{Class, Diagnose as _};
use waybill::registry::{Client, Kind, Put, RawManifest};

use crate::servers::DockerRegistry;

use super::{Embedded, OCI_MANIFEST, client, manifest_of, put, serve};

/// Everything that a registry is asked for, in a registry that holds nothing yet.
pub(super) async fn round_trip(client: &Client) {
    client.ping().await.unwrap();
    let absent = Digest::of(b"absent");
    assert_eq!(client.tags("none").await.unwrap(), Vec::<String>::new());
    assert_eq!(client.manifest("none", "t").await.unwrap(), None);
    assert_eq!(
        client.digest_of("none", &absent.to_string()).await.unwrap(),
        None
    );
    assert_eq!(client.blob("none", &absent, 10).await.unwrap(), None);

    let digest = put(client, "team/api", "t1", b"one").await;
    let expected = RawManifest {
        digest,
        media_type: OCI_MANIFEST.into(),
        bytes: manifest_of(b"one"),
    };
    for reference in ["t1", &digest.to_string()] {
        let found = client.manifest("team/api", reference).await.unwrap();
        assert_eq!(found.as_ref(), Some(&expected));
        assert_eq!(
            client.digest_of("team/api", reference).await.unwrap(),
            Some(digest)
        );
    }
    assert_eq!(client.manifest("team/api", "t2").await.unwrap(), None);
    assert_eq!(client.digest_of("team/api", "t2").await.unwrap(), None);
    let blob = Digest::of(b"one");
    assert_eq!(
        client.blob("team/api", &blob, 3).await.unwrap().unwrap(),
        "one"
    );
    let error = client.blob("team/api", &blob, 2).await.unwrap_err();
    assert_eq!(error.code(), "registry-corrupt", "{error}");

    // A tag moves, and the bytes of an empty blob are bytes too.
    let moved = put(client, "team/api", "t1", b"").await;
    assert_eq!(
        client.digest_of("team/api", "t1").await.unwrap(),
        Some(moved)
    );
    assert_eq!(
        client
            .blob("team/api", &Digest::of(b""), 0)
            .await
            .unwrap()
            .unwrap(),
        ""
    );
    // By digest.
    let bytes = manifest_of(b"one");
    let done = client
        .put_manifest("team/api", &digest.to_string(), OCI_MANIFEST, bytes)
        .await;
    assert_eq!(done.unwrap(), Put::Done(digest));
}

/// More tags than a page holds.
pub(super) async fn many_tags(client: &Client) {
    let digest = put(client, "many", "t-0", b"x").await;
    let bytes = manifest_of(b"x");
    let mut expected: Vec<String> = (0..250).map(|number| format!("t-{number}")).collect();
    let puts = expected.iter().map(|tag| {
        let put = client.put_manifest("many", tag, OCI_MANIFEST, bytes.clone());
        async move { assert_eq!(put.await.unwrap(), Put::Done(digest)) }
    });
    futures_util::future::join_all(puts).await;
    expected.sort();
    assert_eq!(client.tags("many").await.unwrap(), expected);
}

#[tokio::test]
async fn embedded_registry_keeps_what_it_is_given() {
    let registry = Embedded::start().await;
    let client = client(&registry.base("acme"));
    round_trip(&client).await;
    many_tags(&client).await;
    assert_eq!(client.requests_by_kind().of(Kind::Tags), 1 + 3);
    registry.server.stop().await;
    let again = serve(registry.directory.path()).await;
    let client = super::client(&format!("{}/acme", again.address()));
    assert_eq!(client.tags("many").await.unwrap().len(), 250);
    assert!(client.manifest("team/api", "t1").await.unwrap().is_some());
}

#[tokio::test]
async fn docker_registry_keeps_what_it_is_given() {
    let registry = DockerRegistry::start();
    let client = client(&registry.base("acme"));
    round_trip(&client).await;
    many_tags(&client).await;
    // Version 2.8 ignores both `n` and `last`: the second page brings nothing new.
    assert_eq!(client.requests_by_kind().of(Kind::Tags), 1 + 2);
}

#[tokio::test]
async fn repositories_may_be_called_like_parts_of_paths() {
    let registry = Embedded::start().await;
    for (prefix, name) in [
        ("x", "blobs"),
        ("manifests", "tags"),
        ("referrers", "blobs/uploads"),
    ] {
        let client = client(&registry.base(prefix));
        let digest = put(&client, name, "t", b"odd").await;
        assert_eq!(
            client.digest_of(name, "t").await.unwrap(),
            Some(digest),
            "{name}"
        );
        assert_eq!(client.tags(name).await.unwrap(), ["t"]);
    }
    let bare = client(&registry.address().to_string());
    put(&bare, "blobs", "t", b"odd").await;
}

#[tokio::test]
async fn names_that_no_registry_can_hold_are_not_asked_for() {
    let registry = Embedded::start().await;
    let client = client(&registry.base("acme"));
    for (repository, reference) in [
        ("../v2", "t"),
        ("Api", "t"),
        ("api", "a/b"),
        ("api", ""),
        ("", "t"),
    ] {
        let error = client.manifest(repository, reference).await.unwrap_err();
        assert_eq!(
            (error.code(), error.class()),
            ("invalid-name", Class::Usage),
            "{repository}"
        );
    }
    assert_eq!(client.requests(), 0);
}
