//! What an image says of itself: its platform and its labels.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Client, RawManifest, RegistryError};
use crate::model::{Digest, Platform};

/// The largest config that is read, in bytes.
const MAX_CONFIG: u64 = 4 << 20;

/// A single-platform image, as its config describes it (OCI image spec, `config.md`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageConfig {
    /// The digest of the image's manifest.
    pub digest: Digest,
    /// The platform that it states; `None` for an index, and where it states none.
    pub platform: Option<Platform>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct ManifestFields {
    config: Option<ConfigDescriptor>,
}

#[derive(Deserialize)]
struct ConfigDescriptor {
    digest: Digest,
}

#[derive(Default, Deserialize)]
struct ConfigFields {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    config: Option<RuntimeFields>,
}

#[derive(Default, Deserialize)]
struct RuntimeFields {
    #[serde(rename = "Labels", default)]
    labels: Option<BTreeMap<String, String>>,
}

impl Client {
    /// Reads an image's manifest and config. `None` if there is no such image; an index, and what
    /// is no image, comes without platform and labels.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Incomplete`] where the config is not there.
    pub async fn image_config(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<Option<ImageConfig>, RegistryError> {
        match self.manifest(repository, reference).await? {
            Some(manifest) => self.config_of(repository, &manifest).await.map(Some),
            None => Ok(None),
        }
    }

    /// Reads the config that a manifest names; an index, and what is no image, comes without
    /// platform and labels.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Incomplete`] where it is not there.
    pub async fn config_of(
        &self,
        repository: &str,
        manifest: &RawManifest,
    ) -> Result<ImageConfig, RegistryError> {
        let bare = ImageConfig {
            digest: manifest.digest,
            platform: None,
            labels: BTreeMap::new(),
        };
        let fields = serde_json::from_slice::<ManifestFields>(&manifest.bytes);
        let Some(config) = fields.ok().and_then(|fields| fields.config) else {
            return Ok(bare);
        };
        let bytes = self.blob(repository, &config.digest, MAX_CONFIG).await?;
        let bytes = bytes.ok_or_else(|| RegistryError::Incomplete {
            image: self.base().image(repository, &manifest.digest),
            part: format!("the config {}", config.digest),
        })?;
        let Ok(config) = serde_json::from_slice::<ConfigFields>(&bytes) else {
            return Ok(bare);
        };
        let labels = config
            .config
            .and_then(|config| config.labels)
            .unwrap_or_default();
        let platform = (!config.os.is_empty() && !config.architecture.is_empty()).then(|| {
            let variant = config.variant.filter(|variant| !variant.is_empty());
            Platform {
                os: config.os,
                architecture: config.architecture,
                variant,
            }
        });
        Ok(ImageConfig {
            platform,
            labels,
            ..bare
        })
    }
}
