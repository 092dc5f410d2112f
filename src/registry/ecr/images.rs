//! Many manifests with one call, and images that were archived.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ecr::operation::batch_get_image::BatchGetImageOutput;
use aws_sdk_ecr::types::{DescribeImagesFilter, Image, ImageFailureCode, ImageIdentifier};
use aws_sdk_ecr::types::{ImageStatus, ImageStatusFilter};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::api::{Ecr, Refusal};
use crate::model::Digest;
use crate::registry::RegistryError;
use crate::registry::client::{MANIFEST_TYPES, RawManifest};
use crate::registry::error::Said;
use crate::registry::request::Kind;
use crate::registry::retry::delays;
use crate::registry::transport::Transport;

/// How many calls are under way at once.
const PARALLEL: usize = 8;

const GET: &str = "BatchGetImage";

/// ECR's own words for a repository that is not there.
const NO_REPOSITORY: &str = "RepositoryNotFoundException";

impl Ecr {
    /// The most images that a call may name.
    pub(in crate::registry) const BATCH: usize = 100;

    /// The manifests under many tags of a repository, in batches. A tag that ECR says it does not
    /// know is not in the answer; nor is any of a repository that it does not know, unless that is
    /// known to `stand`, which makes it an error.
    pub(in crate::registry) async fn manifests(
        &self,
        transport: &Transport,
        repository: &str,
        tags: &[&str],
        stands: bool,
    ) -> Result<BTreeMap<String, RawManifest>, RegistryError> {
        let batches = stream::iter(tags.chunks(Self::BATCH))
            .map(|batch| self.batch(transport, repository, batch, stands))
            .buffer_unordered(PARALLEL);
        batches
            .try_fold(BTreeMap::new(), |mut all, some| async {
                all.extend(some);
                Ok(all)
            })
            .await
    }

    /// One batch; what it leaves out is asked for again, a little later each time.
    async fn batch(
        &self,
        transport: &Transport,
        repository: &str,
        tags: &[&str],
        stands: bool,
    ) -> Result<BTreeMap<String, RawManifest>, RegistryError> {
        let mut open: BTreeSet<&str> = tags.iter().copied().collect();
        let mut found = BTreeMap::new();
        let mut delays = delays(&self.options);
        loop {
            let answer = match self.get(transport, repository, &open).await? {
                Ok(answer) => answer,
                Err(refusal) if refusal.code == NO_REPOSITORY && !stands => return Ok(found),
                Err(refusal) => return Err(refusal.error()),
            };
            for image in answer.images() {
                let (tag, manifest) = self.read(image, &open)?;
                open.remove(tag.as_str());
                found.insert(tag, manifest);
            }
            for tag in self.absent(&answer)? {
                open.remove(tag);
            }
            if open.is_empty() {
                return Ok(found);
            }
            let Some(delay) = delays.next() else {
                return Err(RegistryError::Throttled {
                    request: self.line(GET),
                    status: 200,
                    said: Said {
                        code: None,
                        message: Some(format!("{} images were left out", open.len())),
                    },
                });
            };
            tokio::time::sleep(delay).await;
        }
    }

    async fn get(
        &self,
        transport: &Transport,
        repository: &str,
        tags: &BTreeSet<&str>,
    ) -> Result<Result<BatchGetImageOutput, Refusal>, RegistryError> {
        let ids = tags
            .iter()
            .map(|tag| ImageIdentifier::builder().image_tag(*tag).build());
        let ids: Vec<ImageIdentifier> = ids.collect();
        let types: Vec<String> = MANIFEST_TYPES.map(str::to_owned).to_vec();
        let send = |sdk: aws_sdk_ecr::Client| {
            sdk.batch_get_image()
                .set_registry_id(self.place.account.clone())
                .repository_name(repository)
                .set_image_ids(Some(ids.clone()))
                .set_accepted_media_types(Some(types.clone()))
                .send()
        };
        self.call(&transport.counter, (Kind::ManifestBatch, GET), send)
            .await
    }

    /// A manifest under the tag that it was asked for by, if its bytes have the digest that is
    /// stated.
    fn read(
        &self,
        image: &Image,
        asked: &BTreeSet<&str>,
    ) -> Result<(String, RawManifest), RegistryError> {
        let corrupt = |detail: String| RegistryError::Corrupt {
            request: self.line(GET),
            detail,
        };
        let id = image.image_id();
        let tag = id.and_then(ImageIdentifier::image_tag).unwrap_or_default();
        if !asked.contains(tag) {
            return Err(corrupt(format!(
                "it has an image '{tag}' that was not asked for"
            )));
        }
        let bytes = Bytes::from(image.image_manifest().unwrap_or_default().to_owned());
        let digest = Digest::of(&bytes);
        let stated = id
            .and_then(ImageIdentifier::image_digest)
            .unwrap_or_default();
        if stated != digest.to_string() {
            return Err(corrupt(format!(
                "'{tag}' is stated to be {stated}, and its manifest is {digest}"
            )));
        }
        let media_type = image.image_manifest_media_type().unwrap_or_default();
        if media_type.is_empty() {
            return Err(corrupt(format!(
                "it does not say what kind of manifest '{tag}' is"
            )));
        }
        let manifest = RawManifest {
            digest,
            media_type: media_type.to_owned(),
            bytes,
        };
        Ok((tag.to_owned(), manifest))
    }

    /// The tags that ECR says it does not know. Any other failure of an image is an error, but for
    /// one that says to come back.
    fn absent<'a>(&self, answer: &'a BatchGetImageOutput) -> Result<Vec<&'a str>, RegistryError> {
        let mut absent = Vec::new();
        for failure in answer.failures() {
            let tag = failure.image_id().and_then(ImageIdentifier::image_tag);
            match (failure.failure_code(), tag) {
                (Some(ImageFailureCode::ImageNotFound), Some(tag)) => absent.push(tag),
                (Some(ImageFailureCode::UpstreamTooManyRequests), _) => {}
                (code, tag) => {
                    let reason = failure.failure_reason().unwrap_or("no reason is given");
                    let message = format!("{}: {reason}", tag.unwrap_or("an image without a tag"));
                    return Err(RegistryError::AwsRefused {
                        request: self.line(GET),
                        said: Said {
                            code: code.map(|code| code.as_str().to_owned()),
                            message: Some(message),
                        },
                    });
                }
            }
        }
        Ok(absent)
    }

    /// Whether an image is archived: ECR answers then as if there were none.
    pub(in crate::registry) async fn is_archived(
        &self,
        transport: &Transport,
        repository: &str,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let id = ImageIdentifier::builder()
            .image_digest(digest.to_string())
            .build();
        let filter = DescribeImagesFilter::builder()
            .image_status(ImageStatusFilter::Any)
            .build();
        let send = |sdk: aws_sdk_ecr::Client| {
            sdk.describe_images()
                .set_registry_id(self.place.account.clone())
                .repository_name(repository)
                .image_ids(id.clone())
                .filter(filter.clone())
                .send()
        };
        let call = (Kind::CloudApi, "DescribeImages");
        match self.call(&transport.counter, call, send).await? {
            Ok(answer) => Ok(answer.image_details().iter().any(|image| {
                matches!(
                    image.image_status(),
                    Some(ImageStatus::Archived | ImageStatus::Activating)
                )
            })),
            Err(refusal) => match refusal.code.as_str() {
                "ImageNotFoundException" | NO_REPOSITORY => Ok(false),
                _ => Err(refusal.error()),
            },
        }
    }
}
