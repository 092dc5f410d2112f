//! Reading an image where it is: its manifests, in the order in which they can be put elsewhere, and
//! its blobs by name.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::super::client::Client;
use super::super::platforms::{DEEPEST, REFERENCE_TYPE};
use super::super::{RawManifest, RegistryError};
use super::Extras;
use crate::model::Digest;

/// What is copied: a manifest of a repository.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The registry that has it.
    pub client: &'a Client,
    /// The repository below that client's base.
    pub repository: &'a str,
    /// The image or index.
    pub digest: Digest,
}

/// The most manifests that one image may have.
const MOST_MANIFESTS: usize = 1000;

/// The value of [`REFERENCE_TYPE`] that marks an attestation.
const ATTESTATION: &str = "attestation-manifest";

/// A reference of a manifest to something else (OCI image spec, `descriptor.md`).
#[derive(Clone, Debug, Deserialize)]
struct Descriptor {
    digest: Digest,
    size: u64,
    #[serde(rename = "mediaType", default)]
    media_type: String,
}

/// What a manifest refers to.
#[derive(Debug, Default, Deserialize)]
struct Parts {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

/// An image read at its origin: everything but the blobs' bytes.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Children before what names them; the last one is the image itself.
    pub(super) manifests: Vec<RawManifest>,
    /// By digest, with their sizes.
    pub(super) blobs: BTreeMap<Digest, u64>,
}

/// What is still to be done of a tree, at which depth.
enum Step {
    Visit(RawManifest, usize),
    Look(Digest, usize),
    Done(RawManifest),
}

impl Origin<'_> {
    /// Reads the manifests of an image; without attestations, the index is written anew.
    pub(super) async fn read(&self, attestations: Extras) -> Result<Tree, RegistryError> {
        let mut tree = Tree::default();
        let mut image = self.manifest(&self.digest).await?;
        if attestations == Extras::Drop
            && let Some(bytes) = without_attestations(&image.bytes)
        {
            let media_type = image.media_type;
            let digest = Digest::of(&bytes);
            image = RawManifest {
                digest,
                media_type,
                bytes,
            };
        }
        let mut seen = BTreeSet::new();
        let mut open = vec![Step::Visit(image, 0)];
        while let Some(step) = open.pop() {
            let (manifest, depth) = match step {
                Step::Visit(manifest, depth) => (manifest, depth),
                Step::Look(digest, _) if seen.contains(&digest) => continue,
                Step::Look(digest, depth) => (self.manifest(&digest).await?, depth),
                Step::Done(manifest) => {
                    tree.manifests.push(manifest);
                    continue;
                }
            };
            seen.insert(manifest.digest);
            let parts = self.parts(&manifest)?;
            let children = parts.manifests.unwrap_or_default();
            if depth >= DEEPEST && !children.is_empty() || seen.len() > MOST_MANIFESTS {
                return Err(self.not_copied("its indexes are too deep, or too large"));
            }
            let blobs = parts.config.into_iter();
            let blobs = blobs.chain(parts.layers.unwrap_or_default());
            let own = blobs.filter(|blob| !is_foreign(&blob.media_type));
            tree.blobs.extend(own.map(|blob| (blob.digest, blob.size)));
            // It is done when everything that is put on top of it here is.
            open.push(Step::Done(manifest));
            let looks = children.iter();
            open.extend(looks.map(|child| Step::Look(child.digest, depth + 1)));
        }
        Ok(tree)
    }

    async fn manifest(&self, digest: &Digest) -> Result<RawManifest, RegistryError> {
        let name = digest.to_string();
        let found = self.client.manifest(self.repository, &name).await?;
        found.ok_or_else(|| self.lacks(&format!("the manifest {digest}")))
    }

    fn parts(&self, manifest: &RawManifest) -> Result<Parts, RegistryError> {
        let parts: Parts = serde_json::from_slice(&manifest.bytes).map_err(|_| {
            self.not_copied(&format!(
                "{} is no image manifest or index",
                manifest.digest
            ))
        })?;
        if parts.manifests.is_none() && parts.config.is_none() {
            return Err(self.not_copied(&format!("{} is of an older form", manifest.media_type)));
        }
        Ok(parts)
    }

    pub(super) fn lacks(&self, part: &str) -> RegistryError {
        RegistryError::Incomplete {
            image: self.client.base().image(self.repository, &self.digest),
            part: part.to_owned(),
        }
    }

    fn not_copied(&self, why: &str) -> RegistryError {
        RegistryError::NotCopied {
            image: self.client.base().image(self.repository, &self.digest),
            why: why.to_owned(),
        }
    }
}

/// Layers that lie elsewhere and are not to be passed on (OCI image spec, `layer.md`,
/// "Non-Distributable Layers"; Docker's word is foreign).
fn is_foreign(media_type: &str) -> bool {
    media_type.contains("nondistributable") || media_type.contains("foreign")
}

/// An index without its attestations; `None` where it has none, or is no index.
fn without_attestations(index: &Bytes) -> Option<Bytes> {
    let mut json: Value = serde_json::from_slice(index).ok()?;
    let children = json.get_mut("manifests")?.as_array_mut()?;
    let all = children.len();
    children.retain(|child| child["annotations"][REFERENCE_TYPE] != ATTESTATION);
    let is_changed = children.len() < all;
    let bytes = serde_json::to_vec(&json).ok()?;
    is_changed.then(|| Bytes::from(bytes))
}
