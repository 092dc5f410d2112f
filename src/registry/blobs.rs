//! Blobs: read under their digest, written once.

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Method, Url};

use super::RegistryError;
use super::blob_stream::Passing;
use super::client::{Access, Client};
use super::request::{Answer, Body, Kind, Request};
use super::retry::Failure;
use super::transport::resolve;
use crate::model::Digest;

/// What came of asking for a mount.
#[derive(Debug)]
pub(super) enum Mount {
    /// The blob stands.
    Done,
    /// It is to be sent to this place.
    Upload(Url),
    /// Neither.
    Refused,
}

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
            .blob_request(Kind::BlobGet, Method::GET, repository, digest, Access::Pull)?
            .cap(cap);
        let answer = self.transport.send(&request).await?;
        match answer.status.as_u16() {
            200 if Digest::of(&answer.body) == *digest => Ok(Some(answer.body)),
            200 => Err(answer.corrupt("its bytes do not have the digest asked for")),
            _ if answer.says_absent() => Ok(None),
            _ => Err(answer.refused()),
        }
    }

    /// Stores a blob, unless it stands already.
    pub async fn put_blob(&self, repository: &str, bytes: Bytes) -> Result<Digest, RegistryError> {
        let digest = Digest::of(&bytes);
        if !self.blob_stands(repository, &digest).await? {
            // An upload that broke off cannot be gone on with: each attempt is a new one.
            let upload = || async {
                let place = self.open_upload(repository, &digest).await?;
                self.send_blob(repository, place, Body::Whole(bytes.clone()))
                    .await
            };
            self.transport.retry(upload).await?;
        }
        self.transport.pushed.blob(repository);
        Ok(digest)
    }

    /// Whether a blob stands, and need not be sent. A HEAD has no words, so that any 404 counts as
    /// no. It is asked with the token that the upload needs, so that one is enough.
    pub(super) async fn blob_stands(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let access = Access::PullAndPush;
        let request =
            self.blob_request(Kind::BlobHead, Method::HEAD, repository, digest, access)?;
        let answer = self.transport.send(&request).await?;
        match answer.status.as_u16() {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(answer.refused()),
        }
    }

    /// Begins to read a blob, whose bytes are not checked yet; `None` as in [`Self::blob`].
    pub(super) async fn begin_blob(
        &self,
        repository: &str,
        digest: &Digest,
        size: u64,
    ) -> Result<Option<Passing>, Failure> {
        let request = self
            .blob_request(Kind::BlobGet, Method::GET, repository, digest, Access::Pull)?
            .streamed();
        let mut answer = self.transport.once(&request).await?;
        match (answer.status.as_u16(), answer.stream.take()) {
            (200, Some(response)) => {
                let idle = self.transport.options.idle_timeout;
                let line = answer.request;
                Ok(Some(Passing::new(response, line, *digest, size, idle)))
            }
            _ if answer.says_absent() => Ok(None),
            _ => Err(answer.refused().into()),
        }
    }

    /// Opens an upload; returns where the bytes go (distribution spec, "POST then PUT").
    pub(super) async fn open_upload(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Url, Failure> {
        let (url, scope) = self.address(repository, "blobs/uploads/", Access::PullAndPush)?;
        let open = Request::new(Kind::BlobPut, Method::POST, url.clone(), scope);
        let opened = self.transport.once(&open).await?;
        match opened.status.as_u16() {
            202 => Ok(place(&opened, &url, digest)?),
            _ => Err(opened.refused().into()),
        }
    }

    /// Asks for a blob of another repository of the same registry (its full name is `from`)
    /// without moving it. A registry that does not do it, or not for whoever asks, opens an upload
    /// instead or refuses in any of many ways.
    pub(super) async fn mount_blob(
        &self,
        repository: &str,
        digest: &Digest,
        from: &str,
    ) -> Result<Mount, Failure> {
        let (mut url, scope) = self.address(repository, "blobs/uploads/", Access::PullAndPush)?;
        let parameters = [("mount", digest.to_string()), ("from", from.to_owned())];
        url.query_pairs_mut().extend_pairs(parameters);
        let scope = scope.map(|scope| format!("{scope} repository:{from}:pull"));
        let request = Request::new(Kind::BlobPut, Method::POST, url.clone(), scope);
        let answer = self.transport.once(&request).await?;
        Ok(match answer.status.as_u16() {
            201 => Mount::Done,
            202 => Mount::Upload(place(&answer, &url, digest)?),
            _ => Mount::Refused,
        })
    }

    /// Sends a blob to the place that an opened upload named.
    pub(super) async fn send_blob(
        &self,
        repository: &str,
        place: Url,
        body: Body,
    ) -> Result<(), Failure> {
        let (_, scope) = self.address(repository, "blobs/uploads/", Access::PullAndPush)?;
        let octets = HeaderValue::from_static("application/octet-stream");
        let send = Request::new(Kind::BlobPut, Method::PUT, place, scope)
            .header(CONTENT_TYPE, octets)
            .body(body);
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
        access: Access,
    ) -> Result<Request, RegistryError> {
        let (url, scope) = self.address(repository, &format!("blobs/{digest}"), access)?;
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
