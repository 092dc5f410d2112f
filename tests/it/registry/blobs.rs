//! Blobs: uploads, and bytes that are checked.

use bytes::Bytes;
use waybill::model::Digest;

use crate::front::{self, Fault, Front, Rule};

use super::{Embedded, client};

#[tokio::test]
async fn blobs_are_checked_and_uploads_begin_again() {
    let registry = Embedded::start().await;
    let front = Front::start(registry.address());
    let client = client(&front.base("acme"));
    let blob = Bytes::from_static(b"a blob of some length");
    let digest = Digest::of(&blob);
    for fault in [
        Rule::on("POST", "/uploads/").nth(1).does(Fault::Cut),
        Rule::on("POST", "/uploads/").nth(1).does(Fault::LoseAnswer),
        Rule::on("PUT", "/uploads/").nth(1).does(Fault::Cut),
        Rule::on("PUT", "/uploads/").nth(1).does(Fault::LoseAnswer),
        Rule::on("PUT", "/uploads/").nth(1).does(Fault::status(503)),
        Rule::on("PUT", "/uploads/")
            .nth(1)
            .does(Fault::error(404, "BLOB_UPLOAD_UNKNOWN", "")),
        Rule::on("HEAD", "/blobs/").nth(1).does(Fault::status(500)),
    ] {
        front.reset();
        front.add(fault.clone());
        // Lies about the blob's presence, so that each round uploads it.
        front.add(Rule::on("HEAD", "/blobs/").does(Fault::status(404)));
        assert_eq!(
            client.put_blob("api", blob.clone()).await.unwrap(),
            digest,
            "{fault:?}"
        );
        assert!(front.count("PUT", front::Kind::Upload) >= 1);
        front.reset();
        let found = client.blob("api", &digest, 100).await.unwrap();
        assert_eq!(found.as_ref(), Some(&blob), "{fault:?}");
    }
    // What stands is not sent again.
    front.reset();
    client.put_blob("api", blob.clone()).await.unwrap();
    assert_eq!(front.count("*", front::Kind::Upload), 0);
    for (fault, code) in [
        (Fault::Corrupt, "registry-corrupt"),
        (Fault::Truncate(3), "registry-corrupt"),
        (Fault::status(404), "registry-refused"),
        (Fault::status(403), "registry-refused"),
    ] {
        front.reset();
        front.add(Rule::on("GET", "/blobs/").does(fault));
        let error = client.blob("api", &digest, 100).await.unwrap_err();
        assert_eq!(error.code(), code);
    }
}
