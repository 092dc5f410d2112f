//! Deleting: manifests by digest, and tags.

use reqwest::Method;

use super::RegistryError;
use super::client::{Access, Client, invalid};
use super::request::{Kind, Request};
use crate::model::{Digest, is_tag};

impl Client {
    /// Deletes a manifest, and with it every tag that stands for it. Says whether it was there.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NoDelete`] where the registry deletes nothing.
    pub async fn delete_manifest(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        self.delete(repository, &digest.to_string()).await
    }

    /// Deletes a tag; the manifest stays, but on registries (ECR) that remove an image with its
    /// last tag. Says whether it was there.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NoDelete`] where the registry deletes no tags (docker-registry, GHCR): the
    /// manifest is never deleted in its place.
    pub async fn delete_tag(&self, repository: &str, tag: &str) -> Result<bool, RegistryError> {
        if !is_tag(tag) {
            return Err(invalid(repository, tag));
        }
        self.delete(repository, tag).await
    }

    async fn delete(&self, repository: &str, reference: &str) -> Result<bool, RegistryError> {
        let path = format!("manifests/{reference}");
        let (url, scope) = self.address(repository, &path, Access::Delete)?;
        let request = Request::new(Kind::ManifestDelete, Method::DELETE, url, scope);
        let answer = self.transport.send(&request).await?;
        match answer.status.as_u16() {
            200 | 202 | 204 => {
                self.transport.pushed.forget(repository);
                Ok(true)
            }
            // docker-registry 2 reads a tag as a digest that is none.
            _ if answer.says_unsupported()
                || is_tag(reference) && answer.says("DIGEST_INVALID") =>
            {
                Err(RegistryError::NoDelete {
                    request: answer.request,
                })
            }
            _ if answer.says_absent() => Ok(false),
            _ => Err(answer.refused()),
        }
    }
}
