//! An image for several platforms, put together from images of one platform each (OCI image spec,
//! `image-index.md`; Docker's "Image Manifest Version 2, Schema 2", manifest list).

use std::collections::BTreeMap;

use bytes::Bytes;
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
};
use serde::Serialize;

use super::RegistryError;
use super::client::{Client, Put, RawManifest};
use crate::model::{Digest, Platform};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Entry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    media_type: &'a str,
    digest: Digest,
    size: usize,
    platform: EntryPlatform<'a>,
}

#[derive(Serialize)]
struct EntryPlatform<'a> {
    architecture: &'a str,
    os: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'a str>,
}

impl Client {
    /// Puts an index of images that stand in the repository under a tag. Each is read back first,
    /// and must state the platform that it is put in for.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Incomplete`] for an image that is not there,
    /// [`RegistryError::OtherPlatform`] for one of another platform.
    pub async fn put_index(
        &self,
        repository: &str,
        tag: &str,
        images: &BTreeMap<Platform, Digest>,
    ) -> Result<Put, RegistryError> {
        let mut children = Vec::new();
        for (platform, digest) in images {
            let child = self.child(repository, platform, digest).await?;
            children.push((platform, child));
        }
        let (media_type, bytes) = assemble(&children);
        self.put_manifest(repository, tag, media_type, bytes).await
    }

    /// An image that states the platform.
    async fn child(
        &self,
        repository: &str,
        platform: &Platform,
        digest: &Digest,
    ) -> Result<RawManifest, RegistryError> {
        let image = self.base().image(repository, digest);
        let found = self.manifest(repository, &digest.to_string()).await?;
        let Some(manifest) = found else {
            let part = "its manifest".to_owned();
            return Err(RegistryError::Incomplete { image, part });
        };
        let stated = self.config_of(repository, &manifest).await?.platform;
        if stated
            .as_ref()
            .is_some_and(|stated| stated.is_for(platform))
        {
            return Ok(manifest);
        }
        Err(RegistryError::OtherPlatform {
            image,
            platform: platform.to_string(),
            stated: Platform::list(&stated),
        })
    }
}

/// The media type and the bytes of an index: the same for the same images. What holds only images
/// of Docker's form is of Docker's form too, which every reader of those knows.
fn assemble(children: &[(&Platform, RawManifest)]) -> (&'static str, Bytes) {
    let are_dockers = children
        .iter()
        .all(|(_, child)| child.media_type == IMAGE_MANIFEST_MEDIA_TYPE);
    let media_type = if are_dockers {
        IMAGE_MANIFEST_LIST_MEDIA_TYPE
    } else {
        OCI_IMAGE_INDEX_MEDIA_TYPE
    };
    let entries = children.iter().map(|(platform, child)| Entry {
        media_type: &child.media_type,
        digest: child.digest,
        size: child.bytes.len(),
        platform: EntryPlatform {
            architecture: &platform.architecture,
            os: &platform.os,
            variant: platform.variant.as_deref(),
        },
    });
    let index = Index {
        schema_version: 2,
        media_type,
        manifests: entries.collect(),
    };
    // Texts and numbers: JSON can hold them.
    (
        media_type,
        serde_json::to_vec(&index).unwrap_or_default().into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

    fn manifest(media_type: &str, content: &'static str) -> RawManifest {
        RawManifest {
            digest: Digest::of(content.as_bytes()),
            media_type: media_type.to_owned(),
            bytes: Bytes::from_static(content.as_bytes()),
        }
    }

    fn assembled(children: &[(&str, RawManifest)]) -> (&'static str, serde_json::Value) {
        let children: Vec<(Platform, RawManifest)> = children
            .iter()
            .map(|(platform, child)| (platform.parse().unwrap(), child.clone()))
            .collect();
        let children: Vec<_> = children
            .iter()
            .map(|(platform, child)| (platform, child.clone()))
            .collect();
        let (media_type, bytes) = assemble(&children);
        (media_type, serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn images_of_dockers_form_make_a_manifest_list() {
        let (media_type, json) = assembled(&[
            ("linux/amd64", manifest(IMAGE_MANIFEST_MEDIA_TYPE, "{}")),
            ("linux/arm/v7", manifest(IMAGE_MANIFEST_MEDIA_TYPE, "{ }")),
        ]);
        assert_eq!(media_type, IMAGE_MANIFEST_LIST_MEDIA_TYPE);
        let entry = |content: &str, platform: serde_json::Value| {
            serde_json::json!({
                "mediaType": IMAGE_MANIFEST_MEDIA_TYPE,
                "digest": Digest::of(content.as_bytes()),
                "size": content.len(),
                "platform": platform,
            })
        };
        let amd64 = serde_json::json!({"architecture": "amd64", "os": "linux"});
        let arm = serde_json::json!({"architecture": "arm", "os": "linux", "variant": "v7"});
        let expected = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": IMAGE_MANIFEST_LIST_MEDIA_TYPE,
            "manifests": [entry("{}", amd64), entry("{ }", arm)],
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn any_image_of_the_ocis_form_makes_an_index() {
        let (media_type, json) = assembled(&[
            ("linux/386", manifest(OCI, "{}")),
            ("linux/amd64", manifest(IMAGE_MANIFEST_MEDIA_TYPE, "{ }")),
        ]);
        assert_eq!(media_type, OCI_IMAGE_INDEX_MEDIA_TYPE);
        assert_eq!(json["mediaType"], OCI_IMAGE_INDEX_MEDIA_TYPE);
        assert_eq!(json["manifests"][0]["mediaType"], OCI);
    }
}
