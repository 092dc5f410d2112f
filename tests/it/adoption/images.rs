//! A registry in memory that serves what Aztec's build system leaves behind: images under
//! `cache-<commit>` tags. It takes pushes too, so that a base can be made in it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use waybill::model::Digest;

use crate::servers::listen;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What the registry holds; clones share it.
#[derive(Clone, Default)]
pub(super) struct Images(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    tags: HashMap<String, BTreeMap<String, Digest>>,
    /// Manifests and blobs alike: both are named by their digests.
    bytes: HashMap<Digest, Bytes>,
    /// Tags that are listed and lead nowhere.
    lost: BTreeSet<(String, String)>,
}

/// An image as its config tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// Images that differ in nothing else differ in this.
    pub(super) content: u32,
    pub(super) architecture: &'static str,
    /// The label that holds waybill's key.
    pub(super) key: Option<String>,
}

impl Image {
    fn config(&self) -> String {
        let labels: BTreeMap<&str, &str> = self
            .key
            .iter()
            .map(|key| ("io.waybill.key", key.as_str()))
            .collect();
        serde_json::json!({
            "os": "linux",
            "architecture": self.architecture,
            "config": {"Labels": labels},
            "history": [{"comment": self.content.to_string()}]
        })
        .to_string()
    }

    fn manifest(&self) -> String {
        let config = self.config();
        serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": Digest::of(config.as_bytes()).to_string(),
                "size": config.len()
            },
            "layers": []
        })
        .to_string()
    }

    pub(super) fn digest(&self) -> Digest {
        Digest::of(self.manifest().as_bytes())
    }
}

impl Images {
    /// Serves on a loopback port, in the runtime that runs this, until that ends.
    pub(super) async fn serve(&self) -> SocketAddr {
        let router = Router::new().fallback(answer);
        listen(router.with_state(self.clone())).await
    }

    /// Puts an image under a tag.
    pub(super) fn put(&self, repository: &str, tag: &str, image: &Image) {
        let mut content = self.content();
        for bytes in [image.config(), image.manifest()] {
            let digest = Digest::of(bytes.as_bytes());
            content.bytes.insert(digest, bytes.into());
        }
        content.tag(repository, tag, image.digest());
    }

    /// Puts an index of images under a tag, each for its own platform.
    pub(super) fn put_index(&self, repository: &str, tag: &str, images: &[Image]) {
        let entries = images.iter().map(|image| {
            serde_json::json!({
                "mediaType": MANIFEST,
                "digest": image.digest().to_string(),
                "size": image.manifest().len(),
                "platform": {"os": "linux", "architecture": image.architecture},
            })
        });
        let index = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": entries.collect::<Vec<_>>(),
        });
        for image in images {
            self.put(repository, "child", image);
        }
        let index = index.to_string();
        let digest = Digest::of(index.as_bytes());
        let mut content = self.content();
        content.bytes.insert(digest, index.into());
        content.tag(repository, tag, digest);
    }

    /// Loses an image's config, or brings it back.
    pub(super) fn lose_config(&self, image: &Image, lost: bool) {
        let config = image.config();
        let digest = Digest::of(config.as_bytes());
        let mut content = self.content();
        if lost {
            content.bytes.remove(&digest);
        } else {
            content.bytes.insert(digest, config.into());
        }
    }

    /// Lists a tag that leads nowhere.
    pub(super) fn put_lost(&self, repository: &str, tag: &str) {
        let mut content = self.content();
        content.tag(repository, tag, Digest::of(b"lost"));
        content.lost.insert((repository.to_owned(), tag.to_owned()));
    }

    fn content(&self) -> std::sync::MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn tag(&mut self, repository: &str, tag: &str, digest: Digest) {
        let tags = self.tags.entry(repository.to_owned()).or_default();
        tags.insert(tag.to_owned(), digest);
    }

    fn find(&self, repository: &str, reference: &str) -> Option<(Digest, Bytes)> {
        let name = (repository.to_owned(), reference.to_owned());
        let digest = match reference.parse() {
            Ok(digest) => digest,
            Err(_) => *self.tags.get(repository)?.get(reference)?,
        };
        let bytes = self
            .bytes
            .get(&digest)
            .filter(|_| !self.lost.contains(&name))?;
        Some((digest, bytes.clone()))
    }
}

fn absent(code: &str) -> Response {
    let body = format!(r#"{{"errors": [{{"code": "{code}", "message": "no"}}]}}"#);
    (StatusCode::NOT_FOUND, body).into_response()
}

async fn answer(State(images): State<Images>, method: Method, uri: Uri, body: Bytes) -> Response {
    let path = uri.path().strip_prefix("/v2/").unwrap_or_default();
    let mut content = images.content();
    let content = &mut *content;
    if let Some(repository) = path.strip_suffix("/tags/list") {
        let Some(tags) = content.tags.get(repository) else {
            return absent("NAME_UNKNOWN");
        };
        let tags: Vec<&String> = tags.keys().collect();
        return serde_json::json!({"name": repository, "tags": tags})
            .to_string()
            .into_response();
    }
    if let Some((repository, reference)) = path.split_once("/manifests/") {
        if method == Method::PUT {
            let digest = Digest::of(&body);
            content.bytes.insert(digest, body);
            content.tag(repository, reference, digest);
            return StatusCode::CREATED.into_response();
        }
        let Some((digest, bytes)) = content.find(repository, reference) else {
            return absent("MANIFEST_UNKNOWN");
        };
        let digest = digest.to_string();
        let told = [
            ("content-type", MANIFEST),
            ("docker-content-digest", &digest),
        ];
        return (told, bytes).into_response();
    }
    if method == Method::POST {
        let place = format!("/v2/{path}one");
        return (StatusCode::ACCEPTED, [("location", place)]).into_response();
    }
    if method == Method::PUT {
        content.bytes.insert(Digest::of(&body), body);
        return StatusCode::CREATED.into_response();
    }
    let digest = path.rsplit('/').next().and_then(|text| text.parse().ok());
    match digest.and_then(|digest: Digest| content.bytes.get(&digest)) {
        Some(bytes) => bytes.clone().into_response(),
        None => absent("BLOB_UNKNOWN"),
    }
}
