//! Images to be copied, put together by hand.

use bytes::Bytes;
use serde_json::{Value, json};
use waybill::model::Digest;
use waybill::registry::{Client, Origin};

use super::OCI_MANIFEST;

pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// An index put together by hand: two platforms that share a layer, and an attestation.
pub(super) struct Shipment {
    pub(super) index: Digest,
    pub(super) children: Vec<Digest>,
    pub(super) blobs: Vec<Digest>,
}

/// Bytes that no other seed has.
pub(super) fn noise(seed: u64, length: usize) -> Bytes {
    let words = (0..=length as u64 / 8).flat_map(|at| {
        (at ^ (seed << 40))
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(23)
            .to_le_bytes()
    });
    words.take(length).collect::<Vec<u8>>().into()
}

pub(super) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
}

pub(super) async fn put_json(
    client: &Client,
    repository: &str,
    tag: Option<&str>,
    json: &Value,
) -> Bytes {
    let bytes = Bytes::from(json.to_string());
    let reference = tag.map_or_else(|| Digest::of(&bytes).to_string(), str::to_owned);
    let kind = json["mediaType"].as_str().unwrap();
    client
        .put_manifest(repository, &reference, kind, bytes.clone())
        .await
        .unwrap();
    bytes
}

/// Puts an image with these layers; returns its manifest.
pub(super) async fn put_image(
    client: &Client,
    repository: &str,
    config: &Value,
    layers: &[Bytes],
) -> Bytes {
    let config = Bytes::from(config.to_string());
    for blob in layers.iter().chain([&config]) {
        client.put_blob(repository, blob.clone()).await.unwrap();
    }
    let described: Vec<Value> = layers
        .iter()
        .map(|bytes| descriptor(LAYER, bytes))
        .collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": described,
    });
    put_json(client, repository, None, &manifest).await
}

pub(super) async fn ship(client: &Client, repository: &str, tag: &str) -> Shipment {
    let (shared, statement) = (noise(1, 3_000_000), noise(2, 1000));
    let (mut entries, mut children) = (Vec::new(), Vec::new());
    let mut blobs = vec![Digest::of(&shared)];
    for architecture in ["amd64", "arm64"] {
        let own = noise(
            architecture.len() as u64 + u64::from(architecture.as_bytes()[1]),
            70_000,
        );
        let config = json!({"os": "linux", "architecture": architecture});
        blobs.extend([Digest::of(&own), Digest::of(config.to_string().as_bytes())]);
        let manifest = put_image(client, repository, &config, &[shared.clone(), own]).await;
        let mut entry = descriptor(OCI_MANIFEST, &manifest);
        entry["platform"] = config;
        children.push(Digest::of(&manifest));
        entries.push(entry);
    }
    let config = json!({"os": "unknown", "architecture": "unknown"});
    blobs.extend([
        Digest::of(&statement),
        Digest::of(config.to_string().as_bytes()),
    ]);
    let attestation = put_image(client, repository, &config, &[statement]).await;
    let mut entry = descriptor(OCI_MANIFEST, &attestation);
    entry["platform"] = config;
    entry["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": children[0].to_string(),
    });
    children.push(Digest::of(&attestation));
    entries.push(entry);
    // A field that no type here knows, and an odd order, must come through.
    let index = json!({
        "org.example.unknown": [1, {"b": 2, "a": 1}],
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": entries,
    });
    let index = put_json(client, repository, Some(tag), &index).await;
    let index = Digest::of(&index);
    Shipment {
        index,
        children,
        blobs,
    }
}

impl Shipment {
    pub(super) fn at<'a>(&self, client: &'a Client, repository: &'a str) -> Origin<'a> {
        let digest = self.index;
        Origin {
            client,
            repository,
            digest,
        }
    }

    /// Everything is there, whole.
    pub(super) async fn check(&self, client: &Client, repository: &str) {
        for manifest in self.children.iter().chain([&self.index]) {
            let found = client.manifest(repository, &manifest.to_string()).await;
            assert!(found.unwrap().is_some(), "{manifest}");
        }
        for blob in &self.blobs {
            let found = client.blob(repository, blob, 1 << 30).await.unwrap();
            assert!(found.is_some(), "{blob}");
        }
    }
}
