//! Images copied by digest, between repositories, prefixes, registries and regions, without an
//! engine: the very bytes of each manifest, children before the index that names them, blobs before
//! the manifest that needs them, the tag last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use serde_json::Value;

use super::blobs::Mount;
use super::client::{Access, Client};
use super::platforms::DEEPEST;
use super::request::Body;
use super::retry::Failure;
use super::{Put, RawManifest, RegistryError};
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

/// Whether what stands beside an image comes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extras {
    /// It does, byte for byte.
    Keep,
    /// It does not.
    Drop,
}

/// How an image is copied.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    /// Attestations within an index (`vnd.docker.reference.type`). Without them the index is
    /// another one, with another digest.
    pub attestations: Extras,
    /// What tools keep under tags that are named after the digest: `sha256-<hex>`, the fallback for
    /// referrers (distribution spec), and the same with `.sig`, `.att`, `.sbom` (cosign).
    pub companions: Extras,
    /// Tags to put on the copy, once it is whole.
    pub tags: Vec<String>,
    /// How many blobs are copied at once.
    pub parallel: usize,
}

/// What a copy came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// The digest of the copy; not the one that was asked for where attestations were dropped.
    pub digest: Option<Digest>,
    /// Manifests that were put.
    pub manifests: usize,
    /// Blobs that stood already.
    pub present: usize,
    /// Blobs that the registry took from a repository of its own.
    pub mounted: usize,
    /// Blobs that passed through.
    pub streamed: usize,
    /// The bytes of those.
    pub bytes: u64,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            attestations: Extras::Keep,
            companions: Extras::Drop,
            tags: Vec::new(),
            parallel: 4,
        }
    }
}

/// The most manifests that one image may have.
const MOST_MANIFESTS: usize = 1000;

/// The annotation that marks an attestation, and its value.
const ATTESTATION: (&str, &str) = ("vnd.docker.reference.type", "attestation-manifest");

/// What follows `sha256-<hex>` in the tags of what stands beside an image.
const COMPANIONS: [&str; 4] = ["", ".sig", ".att", ".sbom"];

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
struct Tree {
    /// Children before what names them; the last one is the image itself.
    manifests: Vec<RawManifest>,
    /// By digest, with their sizes.
    blobs: BTreeMap<Digest, u64>,
}

/// What is still to be done of a tree, at which depth.
enum Step {
    Visit(RawManifest, usize),
    Look(Digest, usize),
    Done(RawManifest),
}

/// How a blob came to its place.
enum Way {
    Present,
    Mounted,
    Streamed(u64),
}

impl Client {
    /// Copies an image, whole, into a repository of this registry. What was copied before stays
    /// where a copy fails; the tags come last.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Incomplete`] where the origin lacks a part, [`RegistryError::NotCopied`]
    /// where it is no image, [`RegistryError::TagStands`] where a tag cannot be moved; else what
    /// keeps either registry from answering.
    pub async fn copy(
        &self,
        repository: &str,
        origin: Origin<'_>,
        options: &CopyOptions,
    ) -> Result<Copied, RegistryError> {
        let tree = origin.read(options.attestations).await?;
        let mut copied = self.copy_tree(repository, origin, &tree, options).await?;
        if options.companions == Extras::Keep {
            self.copy_companions(repository, origin, options, &mut copied)
                .await?;
        }
        if let Some(image) = tree.manifests.last() {
            copied.digest = Some(image.digest);
            for tag in &options.tags {
                self.put_copied(repository, tag, image).await?;
            }
        }
        Ok(copied)
    }

    async fn copy_tree(
        &self,
        repository: &str,
        origin: Origin<'_>,
        tree: &Tree,
        options: &CopyOptions,
    ) -> Result<Copied, RegistryError> {
        let ways: Vec<Way> = stream::iter(&tree.blobs)
            .map(|(digest, size)| self.copy_blob(repository, origin, *digest, *size))
            .buffer_unordered(options.parallel.max(1))
            .try_collect()
            .await?;
        for manifest in &tree.manifests {
            self.put_copied(repository, &manifest.digest.to_string(), manifest)
                .await?;
        }
        let mut copied = Copied {
            manifests: tree.manifests.len(),
            ..Copied::default()
        };
        for way in ways {
            copied.add(&way);
        }
        Ok(copied)
    }

    async fn put_copied(
        &self,
        repository: &str,
        reference: &str,
        manifest: &RawManifest,
    ) -> Result<(), RegistryError> {
        let (kind, bytes) = (&manifest.media_type, manifest.bytes.clone());
        match self
            .put_manifest(repository, reference, kind, bytes)
            .await?
        {
            Put::Done(_) => Ok(()),
            Put::TagStands => Err(RegistryError::TagStands {
                tag: self.base().tagged(repository, reference),
            }),
        }
    }

    /// What stands beside the image under tags of its digest, as it is.
    async fn copy_companions(
        &self,
        repository: &str,
        origin: Origin<'_>,
        options: &CopyOptions,
        copied: &mut Copied,
    ) -> Result<(), RegistryError> {
        for ending in COMPANIONS {
            let tag = format!("sha256-{}{ending}", origin.digest.hex());
            let Some(found) = origin.client.manifest(origin.repository, &tag).await? else {
                continue;
            };
            if found.digest == origin.digest {
                // GitLab takes such a tag for the digest itself.
                continue;
            }
            let beside = Origin {
                digest: found.digest,
                ..origin
            };
            let tree = beside.read(Extras::Keep).await?;
            let more = self.copy_tree(repository, beside, &tree, options).await?;
            self.put_copied(repository, &tag, &found).await?;
            copied.join(&more);
        }
        Ok(())
    }

    /// HEAD, then mount where the registry is the same, then through here, without being held.
    async fn copy_blob(
        &self,
        repository: &str,
        origin: Origin<'_>,
        digest: Digest,
        size: u64,
    ) -> Result<Way, RegistryError> {
        let stands = self.blob_stands(repository, &digest, Access::PullAndPush);
        if stands.await? {
            return Ok(Way::Present);
        }
        let mountable = AtomicBool::new(self.base().is_beside(origin.client.base()));
        let attempt = || async {
            let mount = mountable.swap(false, Ordering::Relaxed);
            self.transfer(repository, origin, (&digest, size), mount)
                .await
        };
        let way = self.transport.retry(attempt).await?;
        self.transport.pushed.blob(repository);
        Ok(way)
    }

    async fn transfer(
        &self,
        repository: &str,
        origin: Origin<'_>,
        (digest, size): (&Digest, u64),
        mount: bool,
    ) -> Result<Way, Failure> {
        let mounted = if mount {
            let from = origin.client.base().repository(origin.repository);
            let asked = self.mount_blob(repository, digest, &from).await;
            // Whatever is said to a mount, the blob can still be sent.
            asked.unwrap_or(Mount::Refused)
        } else {
            Mount::Refused
        };
        let place = match mounted {
            Mount::Done => return Ok(Way::Mounted),
            Mount::Upload(place) => place,
            Mount::Refused => self.open_upload(repository, digest).await?,
        };
        let begun = origin.client.begin_blob(origin.repository, digest, size);
        let passing = begun
            .await?
            .ok_or_else(|| origin.lacks(&format!("the blob {digest}")))?;
        self.send_blob(repository, place, Body::Passing(Arc::new(passing)))
            .await?;
        Ok(Way::Streamed(size))
    }
}

impl Copied {
    fn add(&mut self, way: &Way) {
        match way {
            Way::Present => self.present += 1,
            Way::Mounted => self.mounted += 1,
            Way::Streamed(bytes) => {
                self.streamed += 1;
                self.bytes += bytes;
            }
        }
    }

    fn join(&mut self, more: &Self) {
        self.manifests += more.manifests;
        self.present += more.present;
        self.mounted += more.mounted;
        self.streamed += more.streamed;
        self.bytes += more.bytes;
    }
}

impl Origin<'_> {
    /// Reads the manifests of an image; without attestations, the index is written anew.
    async fn read(&self, attestations: Extras) -> Result<Tree, RegistryError> {
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

    fn lacks(&self, part: &str) -> RegistryError {
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
    let (name, value) = ATTESTATION;
    children.retain(|child| child["annotations"][name] != value);
    let is_changed = children.len() < all;
    let bytes = serde_json::to_vec(&json).ok()?;
    is_changed.then(|| Bytes::from(bytes))
}
