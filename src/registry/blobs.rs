//! Blobs: read under their digest, written once.

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Method, Url};

use super::RegistryError;
use super::client::{Access, Client};
use super::request::{Answer, Kind, Request};
use super::retry::Failure;
use super::transport::resolve;
use crate::model::Digest;

impl Client {
    /// A blob's bytes, at most `cap` of them, checked against its digest; `None` where the
    /// registry says in the protocol's words that it has none. A larger one is an error.
    pub async fn blob(
        &self,
        repository: &str,
        digest: &Digest,
        cap: u64,
    ) -> Result<Option<Bytes>, RegistryError> {
        let request = self
            .blob_request(Kind::BlobGet, Method::GET, repository, digest)?
            .cap(cap);
        let answer = self.transport.send(&request).await?;
        match answer.status.as_u16() {
            200 if Digest::of(&answer.body) == *digest => Ok(Some(answer.body)),
            200 => Err(answer.corrupt("its bytes do not have the digest asked for")),
            _ if answer.says_absent() => Ok(None),
            _ => Err(answer.refused()),
        }
    }

    /// Whether a blob stands. A HEAD has no words, so that any 404 counts as no: good enough to
    /// decide whether to send it, not to decide that something is gone.
    pub async fn blob_exists(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let request = self.blob_request(Kind::BlobHead, Method::HEAD, repository, digest)?;
        let answer = self.transport.send(&request).await?;
        match answer.status.as_u16() {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(answer.refused()),
        }
    }

    /// Stores a blob, unless it stands already.
    pub async fn put_blob(&self, repository: &str, bytes: Bytes) -> Result<Digest, RegistryError> {
        let digest = Digest::of(&bytes);
        if !self.blob_exists(repository, &digest).await? {
            // An upload that broke off cannot be gone on with: each attempt is a new one.
            let upload = || self.upload(repository, digest, bytes.clone());
            self.transport.retry(upload).await?;
        }
        Ok(digest)
    }

    /// Opens an upload and sends everything in one request (distribution spec, "POST then PUT").
    async fn upload(&self, repository: &str, digest: Digest, bytes: Bytes) -> Result<(), Failure> {
        let (url, scope) = self.address(repository, "blobs/uploads/", Access::PullAndPush)?;
        let open = Request::new(Kind::BlobPut, Method::POST, url.clone(), scope.clone());
        let opened = self.transport.once(&open).await?;
        if opened.status.as_u16() != 202 {
            return Err(opened.refused().into());
        }
        let send = Request::new(
            Kind::BlobPut,
            Method::PUT,
            place(&opened, &url, &digest)?,
            scope,
        )
        .header(
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        )
        .body(bytes);
        let stored = self.transport.once(&send).await?;
        match stored.status.as_u16() {
            201 => Ok(()),
            // The upload is not known any more, for instance to another one of several servers.
            404 => Err(Failure::passing(stored.refused())),
            _ => Err(stored.refused().into()),
        }
    }

    fn blob_request(
        &self,
        kind: Kind,
        method: Method,
        repository: &str,
        digest: &Digest,
    ) -> Result<Request, RegistryError> {
        let (url, scope) = self.address(repository, &format!("blobs/{digest}"), Access::Pull)?;
        Ok(Request::new(kind, method, url, scope))
    }
}

/// Where an opened upload wants the bytes; the address may be relative and have parameters.
fn place(opened: &Answer, from: &Url, digest: &Digest) -> Result<Url, RegistryError> {
    let location = opened
        .header(LOCATION.as_str())
        .ok_or_else(|| opened.corrupt("it does not say where the blob goes"))?;
    let mut url = resolve(from, location).map_err(|why| opened.corrupt(why))?;
    url.query_pairs_mut()
        .append_pair("digest", &digest.to_string());
    Ok(url)
}
