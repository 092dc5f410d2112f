//! The store as ferro-oci-server wants to see it.

use std::io::{Error, ErrorKind};

use async_trait::async_trait;
use bytes::Bytes;
use ferro_blob_store::{BlobStoreError, Digest as FerroDigest, DigestAlgo, Result};
use ferro_oci_server::{
    Reference as FerroReference, ReferrerDescriptor, RegistryMeta, UploadAdmission, UploadState,
};

use super::store::{Manifest, Reference, Referrer, Store};
use crate::model::Digest;

/// Answers ferro's handlers out of the store; each call reads the disk.
#[derive(Debug)]
pub(super) struct Meta {
    store: Store,
}

impl Meta {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Runs what blocks (files, the lock) where blocking is allowed.
    async fn with<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&Store) -> std::io::Result<T> + Send + 'static,
    {
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.map_err(|failure| BlobStoreError::Io(Error::other(failure)))?
            .map_err(BlobStoreError::Io)
    }
}

/// Our digest for one of ferro's; `None` for other algorithms, under which nothing is kept here.
fn ours(digest: &FerroDigest) -> Option<Digest> {
    match digest.algo() {
        DigestAlgo::Sha256 => digest.to_string().parse().ok(),
        _ => None,
    }
}

fn theirs(digest: &Digest) -> Result<FerroDigest> {
    FerroDigest::new(DigestAlgo::Sha256, digest.hex()).map_err(BlobStoreError::InvalidDigest)
}

fn reference(reference: &FerroReference) -> Option<Reference> {
    match reference {
        FerroReference::Tag(tag) => Some(Reference::Tag(tag.clone())),
        FerroReference::Digest(digest) => ours(digest).map(Reference::Digest),
    }
}

/// What comes after `last`, at most `n` of it.
fn page(names: Vec<String>, last: Option<&str>, n: Option<usize>) -> Vec<String> {
    let after = names
        .into_iter()
        .filter(|name| last.is_none_or(|last| name.as_str() > last));
    after.take(n.unwrap_or(usize::MAX)).collect()
}

/// Uploads are handled by our own routes; ferro's would keep them in memory.
fn not_here<T>() -> Result<T> {
    Err(BlobStoreError::Io(Error::new(
        ErrorKind::Unsupported,
        "uploads do not pass here",
    )))
}

#[async_trait]
impl RegistryMeta for Meta {
    async fn put_manifest(
        &self,
        name: &str,
        reference: &FerroReference,
        digest: &FerroDigest,
        media_type: &str,
        body: Bytes,
    ) -> Result<()> {
        self.put_manifest_with_referrer(name, reference, digest, media_type, body, None)
            .await
    }

    async fn put_manifest_with_referrer(
        &self,
        name: &str,
        reference: &FerroReference,
        _digest: &FerroDigest,
        media_type: &str,
        body: Bytes,
        referrer: Option<(FerroDigest, ReferrerDescriptor)>,
    ) -> Result<()> {
        let manifest = Manifest {
            digest: Digest::of(&body),
            media_type: media_type.to_owned(),
            bytes: body,
        };
        let referrer = match &referrer {
            Some((subject, descriptor)) => ours(subject).map(|subject| {
                let json = serde_json::to_vec(descriptor).map_err(Error::other)?;
                Ok::<_, Error>(Referrer {
                    subject,
                    descriptor: json,
                })
            }),
            None => None,
        };
        let referrer = referrer.transpose()?;
        let (name, tag) = (name.to_owned(), reference.as_tag().map(str::to_owned));
        self.with(move |store| {
            store.put_manifest(&name, &manifest, tag.as_deref(), referrer.as_ref())
        })
        .await
    }

    async fn get_manifest(
        &self,
        name: &str,
        wanted: &FerroReference,
    ) -> Result<Option<(FerroDigest, String, Bytes)>> {
        let Some(wanted) = reference(wanted) else {
            return Ok(None);
        };
        let name = name.to_owned();
        let Some(found) = self
            .with(move |store| store.manifest(&name, &wanted))
            .await?
        else {
            return Ok(None);
        };
        Ok(Some((
            theirs(&found.digest)?,
            found.media_type,
            found.bytes,
        )))
    }

    async fn delete_manifest(&self, name: &str, reference: &FerroReference) -> Result<bool> {
        let Some(digest) = reference.as_digest().and_then(ours) else {
            return Ok(false);
        };
        let name = name.to_owned();
        self.with(move |store| store.delete_manifest(&name, &digest))
            .await
    }

    async fn list_tags(
        &self,
        name: &str,
        last: Option<&str>,
        n: Option<usize>,
    ) -> Result<Vec<String>> {
        let name = name.to_owned();
        let tags = self.with(move |store| store.tags(&name)).await?;
        Ok(page(tags, last, n))
    }

    async fn list_repositories(&self, last: Option<&str>, n: Option<usize>) -> Result<Vec<String>> {
        let names = self.with(Store::repositories).await?;
        Ok(page(names, last, n))
    }

    async fn list_referrers(
        &self,
        name: &str,
        digest: &FerroDigest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<ReferrerDescriptor>> {
        let Some(subject) = ours(digest) else {
            return Ok(Vec::new());
        };
        let name = name.to_owned();
        let found = self
            .with(move |store| store.referrers_of(&name, &subject))
            .await?;
        let mut referrers = Vec::new();
        for json in found {
            let descriptor: ReferrerDescriptor =
                serde_json::from_slice(&json).map_err(Error::other)?;
            if artifact_type.is_none() || descriptor.artifact_type.as_deref() == artifact_type {
                referrers.push(descriptor);
            }
        }
        Ok(referrers)
    }

    async fn register_referrer(
        &self,
        _name: &str,
        _subject: &FerroDigest,
        _descriptor: ReferrerDescriptor,
    ) -> Result<()> {
        // ferro's handlers register a referrer together with its manifest.
        not_here()
    }

    async fn start_upload(&self, _name: &str) -> Result<UploadAdmission> {
        not_here()
    }

    async fn append_upload(
        &self,
        _name: &str,
        _uuid: &str,
        _offset: u64,
        _chunk: Bytes,
    ) -> Result<u64> {
        not_here()
    }

    async fn complete_upload(&self, _name: &str, _uuid: &str, _digest: &FerroDigest) -> Result<()> {
        not_here()
    }

    async fn get_upload_state(&self, _name: &str, _uuid: &str) -> Result<Option<UploadState>> {
        not_here()
    }

    async fn cancel_upload(&self, _name: &str, _uuid: &str) -> Result<bool> {
        not_here()
    }

    async fn take_upload_bytes(&self, _name: &str, _uuid: &str) -> Result<Option<Bytes>> {
        not_here()
    }
}
