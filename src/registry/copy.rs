//! Images copied by digest, between repositories, prefixes, registries and regions, without an
//! engine: the very bytes of each manifest, children before the index that names them, blobs before
//! the manifest that needs them, the tag last.

mod origin;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::blobs::Mount;
use super::client::Client;
use super::request::Body;
use super::retry::Failure;
use super::{Put, RawManifest, RegistryError, Upkeep};
use crate::model::Digest;

pub use origin::Origin;
use origin::Tree;

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
    /// Attestations in the index itself (`vnd.docker.reference.type`). Without them the index is
    /// another one, with another digest.
    pub attestations: Extras,
    /// What tools keep under tags that are named after the digest: `sha256-<hex>`, the fallback for
    /// referrers (distribution spec), and the same with `.sig`, `.att`, `.sbom` (cosign).
    pub companions: Extras,
    /// Tags to put on the copy, once it is whole.
    pub tags: Vec<String>,
    /// How many blobs are copied at once.
    pub parallel: usize,
    /// What the repository is to be like where it is not there yet, and the registry makes none on
    /// push. `None`: it must be there.
    pub upkeep: Option<Upkeep>,
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
            upkeep: None,
        }
    }
}

/// What follows `sha256-<hex>` in the tags of what stands beside an image.
const COMPANIONS: [&str; 4] = ["", ".sig", ".att", ".sbom"];

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
        if let Some(upkeep) = &options.upkeep {
            self.make_repository(repository, upkeep).await?;
        }
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
        if self.blob_stands(repository, &digest).await? {
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
