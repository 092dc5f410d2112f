//! Which manifest of an index is a platform's: some that run images (Lambda) take no index.

use oci_client::manifest::{ImageIndexEntry, OciManifest};

use super::client::Client;
use super::{RawManifest, RegistryError};
use crate::model::{Digest, Platform};

/// The annotation that marks what stands in an index beside the images (BuildKit,
/// `attestation-storage.md`).
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// How deep indexes may stand in each other.
pub(super) const DEEPEST: usize = 4;

impl Client {
    /// The single-platform manifest for `platform` behind a tag or digest: the image itself where
    /// it is no index, else the child that states the platform, through nested indexes. Where no
    /// variant is asked for and several stand, the one without a variant is taken.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NoPlatform`] where none states it, or several do;
    /// [`RegistryError::Incomplete`] where the image or a nested index is not there.
    pub async fn image_for(
        &self,
        repository: &str,
        reference: &str,
        platform: &Platform,
    ) -> Result<RawManifest, RegistryError> {
        let image = format!("{}/{repository}@{reference}", self.base());
        let mut open = vec![(reference.to_owned(), 0)];
        let mut found = Vec::new();
        while let Some((next, depth)) = open.pop() {
            let manifest = self.manifest(repository, &next).await?;
            let manifest = manifest.ok_or_else(|| RegistryError::Incomplete {
                image: image.clone(),
                part: format!("the manifest {next}"),
            })?;
            let Some(OciManifest::ImageIndex(index)) = manifest.parse() else {
                if depth == 0 {
                    return Ok(manifest);
                }
                continue;
            };
            for child in index.manifests.iter().filter(|child| is_image(child)) {
                match &child.platform {
                    Some(_) => found.extend(state(child)),
                    None if depth < DEEPEST && is_index(child) => {
                        open.push((child.digest.clone(), depth + 1));
                    }
                    None => {}
                }
            }
        }
        let digest = pick(&found, platform).ok_or_else(|| RegistryError::NoPlatform {
            image: image.clone(),
            platform: platform.to_string(),
            stated: stated(&found),
        })?;
        let manifest = self.manifest(repository, &digest.to_string()).await?;
        manifest.ok_or_else(|| RegistryError::Incomplete {
            image,
            part: format!("the manifest {digest}"),
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

fn stated(found: &[Stated]) -> String {
    let mut names: Vec<String> = found
        .iter()
        .map(|(platform, _)| platform.to_string())
        .collect();
    names.sort_unstable();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
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
