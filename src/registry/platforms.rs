//! Which manifest of an index is a platform's: some that run images (Lambda) take no index.

use oci_client::manifest::{ImageIndexEntry, OciImageIndex, OciManifest};

use super::client::Client;
use super::{RawManifest, RegistryError};
use crate::model::{Digest, Platform};

/// The annotation that marks what stands in an index beside the images (BuildKit,
/// `attestation-storage.md`).
pub(super) const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// How deep indexes may stand in each other.
pub(super) const DEEPEST: usize = 4;

/// An image, or an index of images, with the platforms that it is there for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The digest of the image or the index.
    pub digest: Digest,
    /// By platform as stated: the manifest that is for it. Empty where none is stated.
    images: Vec<Stated>,
}

impl Offer {
    /// The platforms, in the order in which they stand.
    pub fn platforms(&self) -> impl Iterator<Item = &Platform> {
        self.images.iter().map(|(platform, _)| platform)
    }

    /// The one manifest that is for a platform. Where no variant is asked for and several stand,
    /// the one without a variant is taken; `None` where there is none, or no telling which.
    #[must_use]
    pub fn image_for(&self, platform: &Platform) -> Option<Digest> {
        pick(&self.images, platform)
    }
}

impl Client {
    /// The platforms that an image is there for: those that an index states, through nested
    /// indexes, or the one that a single image's config states. `None` if there is no such image.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Incomplete`] where a nested index, or a single image's config, is not there.
    pub async fn offer(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<Option<Offer>, RegistryError> {
        let Some(manifest) = self.manifest(repository, reference).await? else {
            return Ok(None);
        };
        self.offer_of(repository, &manifest).await.map(Some)
    }

    /// The platforms that a manifest is there for, as [`Self::offer`] finds them.
    pub async fn offer_of(
        &self,
        repository: &str,
        manifest: &RawManifest,
    ) -> Result<Offer, RegistryError> {
        let digest = manifest.digest;
        let images = if let Some(OciManifest::ImageIndex(index)) = manifest.parse() {
            self.children(repository, digest, index).await?
        } else {
            let config = self.config_of(repository, manifest).await?;
            let stated = config.platform.map(|platform| (platform, digest));
            stated.into_iter().collect()
        };
        Ok(Offer { digest, images })
    }

    /// The images of an index that state a platform, through nested indexes.
    async fn children(
        &self,
        repository: &str,
        digest: Digest,
        index: OciImageIndex,
    ) -> Result<Vec<Stated>, RegistryError> {
        let image = self.base().image(repository, &digest);
        let mut open = vec![(index, 0)];
        let mut found = Vec::new();
        while let Some((index, depth)) = open.pop() {
            for child in index.manifests.iter().filter(|child| is_image(child)) {
                if child.platform.is_some() {
                    found.extend(state(child));
                } else if depth < DEEPEST && is_index(child) {
                    let nested = self.part(repository, &image, &child.digest).await?;
                    if let Some(OciManifest::ImageIndex(nested)) = nested.parse() {
                        open.push((nested, depth + 1));
                    }
                }
            }
        }
        Ok(found)
    }

    /// A manifest that belongs to an image.
    async fn part(
        &self,
        repository: &str,
        image: &str,
        reference: &str,
    ) -> Result<RawManifest, RegistryError> {
        let manifest = self.manifest(repository, reference).await?;
        manifest.ok_or_else(|| RegistryError::Incomplete {
            image: image.to_owned(),
            part: format!("the manifest {reference}"),
        })
    }
}

/// A child of an index, with what it says that it runs on.
type Stated = (Platform, Digest);

fn is_image(child: &ImageIndexEntry) -> bool {
    let annotations = child.annotations.as_ref();
    !annotations.is_some_and(|annotations| annotations.contains_key(REFERENCE_TYPE))
}

fn is_index(child: &ImageIndexEntry) -> bool {
    child.media_type.contains("index") || child.media_type.contains("manifest.list")
}

fn state(child: &ImageIndexEntry) -> Option<Stated> {
    let platform = child.platform.as_ref()?;
    let platform = Platform {
        os: platform.os.to_string(),
        architecture: platform.architecture.to_string(),
        variant: platform.variant.clone().filter(|text| !text.is_empty()),
    };
    Some((platform, child.digest.parse().ok()?))
}

/// The one for the platform; `None` where there is none, or no telling which.
fn pick(found: &[Stated], wanted: &Platform) -> Option<Digest> {
    let only = |fits: &dyn Fn(&Platform) -> bool| {
        let mut fitting = found.iter().filter(|(platform, _)| fits(platform));
        match (fitting.next(), fitting.next()) {
            (Some((_, digest)), None) => Some(*digest),
            _ => None,
        }
    };
    let same = |platform: &Platform| {
        (&platform.os, &platform.architecture) == (&wanted.os, &wanted.architecture)
    };
    only(&|platform| platform == wanted)
        .or_else(|| (wanted.variant.is_none()).then(|| only(&same)).flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_one_or_none() {
        let stated = |names: &[&str]| -> Vec<Stated> {
            let digests = names.iter().map(|name| Digest::of(name.as_bytes()));
            names
                .iter()
                .map(|name| name.parse().unwrap())
                .zip(digests)
                .collect()
        };
        for (stands, wanted, expected) in [
            (
                &["linux/amd64", "linux/arm64"][..],
                "linux/arm64",
                Some("linux/arm64"),
            ),
            (
                &["linux/amd64", "linux/arm64/v8"],
                "linux/arm64",
                Some("linux/arm64/v8"),
            ),
            (
                &["linux/amd64", "linux/amd64/v3"],
                "linux/amd64",
                Some("linux/amd64"),
            ),
            (&["linux/amd64/v2", "linux/amd64/v3"], "linux/amd64", None),
            (&["linux/amd64"], "linux/amd64/v3", None),
            (&["linux/amd64"], "windows/amd64", None),
            (&[], "linux/amd64", None),
        ] {
            let picked = pick(&stated(stands), &wanted.parse().unwrap());
            let expected = expected.map(|name| Digest::of(name.as_bytes()));
            assert_eq!(picked, expected, "{wanted} of {stands:?}");
        }
    }
}
