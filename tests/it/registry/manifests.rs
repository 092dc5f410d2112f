//! Manifests: heads and gets, digests, immutable tags.

use bytes::Bytes;
use waybill::model::Digest;
use waybill::registry::Put;

use crate::front::{self, Fault, Front, Rule};

use super::{Embedded, OCI_MANIFEST, client, manifest_of, put};

#[tokio::test]
async fn heads_that_cannot_tell_are_followed_by_a_get() {
    let registry = Embedded::start().await;
    let digest = put(&client(&registry.base("acme")), "api", "t", b"x").await;
    let front = Front::start(registry.address());
    let client = client(&front.base("acme"));
    front.add(Rule::on("HEAD", "/manifests/").does(Fault::Without("docker-content-digest")));
    assert_eq!(client.digest_of("api", "t").await.unwrap(), Some(digest));
    // Absent: the HEAD's 404 has no words, the GET's has.
    front.reset();
    assert_eq!(client.digest_of("api", "none").await.unwrap(), None);
    assert_eq!(front.count("GET", front::Kind::Manifest), 1);
    front.add(Rule::on("GET", "/manifests/").does(Fault::answer(404, "text/html", "<p>")));
    let error = client.digest_of("api", "none").await.unwrap_err();
    assert_eq!(error.code(), "registry-refused");
    // Another manifest than the one asked for by digest.
    front.reset();
    let other = put(&client, "api", "u", b"y").await.to_string();
    let lie = Fault::status(200).header("docker-content-digest", &digest.to_string());
    front.add(Rule::on("HEAD", "/manifests/").does(lie));
    let error = client.digest_of("api", &other).await.unwrap_err();
    assert_eq!(error.code(), "registry-corrupt");
}

#[tokio::test]
async fn a_manifest_of_another_digest_is_never_taken() {
    let registry = Embedded::start().await;
    let client_behind = client(&registry.base("acme"));
    let digest = put(&client_behind, "api", "t", b"x").await;
    let front = Front::start(registry.address());
    let client = client(&front.base("acme"));
    let other = Fault::answer(200, OCI_MANIFEST, manifest_of(b"y"));
    front.add(Rule::on("GET", "/manifests/").does(other));
    // By tag, nothing can tell; by digest, the bytes do.
    assert!(client.manifest("api", "t").await.unwrap().is_some());
    let error = client
        .manifest("api", &digest.to_string())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "registry-corrupt");
    front.reset();
    front.add(
        Rule::on("PUT", "/manifests/").does(
            Fault::status(201).header("docker-content-digest", &Digest::of(b"z").to_string()),
        ),
    );
    let put = client
        .put_manifest("api", "t", OCI_MANIFEST, manifest_of(b"x"))
        .await;
    assert_eq!(put.unwrap_err().code(), "registry-corrupt");
    front.reset();
    let large = Fault::answer(200, OCI_MANIFEST, vec![b' '; (4 << 20) + 1]);
    front.add(Rule::on("GET", "/manifests/").does(large));
    let error = client.manifest("api", "t").await.unwrap_err();
    assert_eq!(error.code(), "registry-corrupt");
}

#[tokio::test]
async fn immutable_tags_are_told_from_other_refusals() {
    let registry = Embedded::start().await;
    let front = Front::start(registry.address());
    let client = client(&front.base("acme"));
    let standing = put(&client, "api", "t", b"x").await;
    client
        .put_blob("api", Bytes::from_static(b"y"))
        .await
        .unwrap();
    let ecr = "The image tag 't' already exists in the 'api' repository and cannot be \
               overwritten because the tag is immutable.";
    for fault in [
        Fault::error(400, "TAG_INVALID", ecr),
        Fault::error(400, "ImageTagAlreadyExistsException", ecr),
        Fault::error(409, "CONFLICT", ""),
        Fault::error(
            412,
            "PRECONDITION",
            "Failed to process request due to 'api:t' configured as immutable.",
        ),
        Fault::error(403, "DENIED", "tag is immutable"),
    ] {
        front.reset();
        front.add(Rule::on("PUT", "/manifests/").does(fault.clone()));
        let put = async |tag, content| {
            client
                .put_manifest("api", tag, OCI_MANIFEST, manifest_of(content))
                .await
        };
        assert_eq!(put("t", b"y").await.unwrap(), Put::TagStands, "{fault:?}");
        assert_eq!(
            put("t", b"x").await.unwrap(),
            Put::Done(standing),
            "{fault:?}"
        );
        let error = put("u", b"x").await.unwrap_err();
        assert_eq!(error.code(), "registry-refused", "{fault:?}");
    }
    front.reset();
    front.add(Rule::on("PUT", "/manifests/").does(Fault::error(403, "DENIED", "limit exceeded")));
    let error = client
        .put_manifest("api", "t", OCI_MANIFEST, manifest_of(b"y"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "registry-refused");
    assert!(
        error.to_string().contains("DENIED, limit exceeded"),
        "{error}"
    );
}
