//! The client: what can be asked of a registry below one base.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE, OciManifest,
};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Url};

use super::request::{Answer, Body, Kind, Request, Requests};
use super::retry::Failure;
use super::transport::Transport;
use super::{Base, Credential, Credentials, Options, RegistryError};
use crate::model::{Digest, is_repository, is_tag};

/// Asks one registry about the repositories below one base. Cheap to clone; clones share
/// connections, tokens, the limit on concurrent requests, and the count.
///
/// Repositories are named below the base (`api`, `waybill-ledger`), references are tags or digests.
#[derive(Clone)]
pub struct Client {
    pub(super) transport: Arc<Transport>,
}

/// A manifest as the registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawManifest {
    /// The digest of `bytes`.
    pub digest: Digest,
    /// Without parameters, e.g. `application/vnd.oci.image.manifest.v1+json`.
    pub media_type: String,
    /// The very bytes; JSON.
    pub bytes: Bytes,
}

/// The outcome of putting a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It stands under the reference, with this digest.
    Done(Digest),
    /// Another manifest stands under the tag, and the registry does not replace it.
    TagStands,
}

/// The largest manifest that is taken; registries have the same limit.
const LARGEST_MANIFEST: u64 = 4 << 20;

/// Every kind of manifest that waybill reads.
pub(super) const MANIFEST_TYPES: [&str; 4] = [
    OCI_IMAGE_MEDIA_TYPE,
    OCI_IMAGE_INDEX_MEDIA_TYPE,
    IMAGE_MANIFEST_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE,
];

/// The header in which a registry states a manifest's or blob's digest.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// What a request will do, and a token must allow.
#[derive(Clone, Copy)]
pub(super) enum Access {
    Pull,
    PullAndPush,
    Delete,
}

impl RawManifest {
    /// Whether it is an index of images.
    #[must_use]
    pub fn is_index(&self) -> bool {
        matches!(self.parse(), Some(OciManifest::ImageIndex(_)))
    }

    /// The manifest as a type; `None` where it is not an image manifest or an index.
    #[must_use]
    pub fn parse(&self) -> Option<OciManifest> {
        serde_json::from_slice(&self.bytes).ok()
    }
}

impl Client {
    /// A client for `base`. Nothing is sent yet, and no credential is read.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Tls`] where `extra_root_pem` is no certificate.
    pub fn new(
        base: Base,
        credentials: Credentials,
        options: Options,
    ) -> Result<Self, RegistryError> {
        let transport = Transport::new(base, credentials, options)?;
        Ok(Self {
            transport: Arc::new(transport),
        })
    }

    /// The base that repositories are named below.
    #[must_use]
    pub fn base(&self) -> &Base {
        &self.transport.base
    }

    /// The number of requests sent so far, redirects and repetitions included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests_by_kind().total()
    }

    /// The requests sent so far, by what they were for.
    #[must_use]
    pub fn requests_by_kind(&self) -> Requests {
        self.transport.counter.read()
    }

    /// How long at least one request was under way.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.transport.counter.waited()
    }

    /// Asks whether the registry can be reached and accepts the credential.
    pub async fn ping(&self) -> Result<(), RegistryError> {
        let url = self.transport.root.clone();
        let answer = self
            .transport
            .send(&Request::new(Kind::Ping, Method::GET, url, None))
            .await?;
        if answer.status.as_u16() == 200 {
            Ok(())
        } else {
            Err(answer.refused())
        }
    }

    /// The manifest under a tag or digest; `None` where the registry says, in the protocol's own
    /// words, that there is none. A 404 without them (an empty one, a proxy's page) is an error:
    /// it does not say that the registry was asked. What this client has put itself is never
    /// absent: a registry that does not show it is asked again, and is an error in the end; so is
    /// one that does not know a repository any more, out of which this client has read before.
    pub async fn manifest(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<Option<RawManifest>, RegistryError> {
        let request =
            self.manifest_request(Kind::ManifestGet, Method::GET, repository, reference)?;
        let read = || async {
            let answer = self.transport.once(&request).await?;
            let pushed = || self.transport.pushed.has_manifest(repository, reference);
            match answer.status.as_u16() {
                200 => {
                    let manifest = read_manifest(&answer, reference)?;
                    self.transport.pushed.found_in(repository);
                    Ok(Some(manifest))
                }
                404 if pushed() => Err(Failure::passing(RegistryError::PushNotShown {
                    request: answer.request,
                })),
                _ if answer.says("NAME_UNKNOWN") && self.transport.pushed.stands(repository) => {
                    Err(Failure::passing(RegistryError::RepositoryGone {
                        request: answer.request,
                    }))
                }
                _ if answer.says_absent() => Ok(None),
                _ => Err(answer.refused().into()),
            }
        };
        self.transport.retry(read).await
    }

    /// The credential for an engine that pushes to and pulls from this registry; `None` where none is
    /// configured.
    pub async fn login(&self) -> Result<Option<Credential>, RegistryError> {
        self.transport.login().await
    }

    /// Takes note that something else than this client, such as an engine, has put a manifest under
    /// a tag: from now on it is never absent, as if [`Self::put_manifest`] had put it.
    pub fn note_push(&self, repository: &str, tag: &str) {
        self.transport.pushed.manifest(repository, tag);
    }

    /// Waits until an image may be pushed by something else than this client, where the registry
    /// limits how often.
    pub async fn await_push(&self) {
        if let Some(ecr) = &self.transport.ecr {
            ecr.admit(Kind::ManifestPut).await;
        }
    }

    /// The digest of the manifest under a tag or digest, without its bytes; `None` as in
    /// [`Self::manifest`]. A HEAD that cannot tell (no digest, a 404, which has no words) is
    /// followed by a GET.
    pub async fn digest_of(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<Option<Digest>, RegistryError> {
        let request =
            self.manifest_request(Kind::ManifestHead, Method::HEAD, repository, reference)?;
        let answer = self.transport.send(&request).await?;
        match (answer.status.as_u16(), stated_digest(&answer)?) {
            (200, Some(digest)) => {
                check_asked_for(&answer, reference, digest)?;
                Ok(Some(digest))
            }
            (200 | 404 | 405, _) => {
                let manifest = self.manifest(repository, reference).await?;
                Ok(manifest.map(|manifest| manifest.digest))
            }
            _ => Err(answer.refused()),
        }
    }

    /// Puts a manifest under a tag or its digest. What it refers to must stand already.
    ///
    /// [`Put::TagStands`] is the answer of registries with immutable tags where another manifest
    /// stands; the same manifest there is [`Put::Done`].
    pub async fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Put, RegistryError> {
        let digest = Digest::of(&bytes);
        let content_type =
            HeaderValue::from_str(media_type).map_err(|_| invalid(repository, media_type))?;
        let request = self
            .manifest_request(Kind::ManifestPut, Method::PUT, repository, reference)?
            .header(CONTENT_TYPE, content_type)
            .body(Body::Whole(bytes));
        let answer = self
            .transport
            .retry(|| self.put_once(repository, &request))
            .await?;
        match answer.status.as_u16() {
            200..=202 => {
                let stated = stated_digest(&answer)?;
                if stated.is_some_and(|stated| stated != digest) {
                    return Err(answer.corrupt(format!("it states another digest than {digest}")));
                }
                self.transport.pushed.manifest(repository, reference);
                Ok(Put::Done(digest))
            }
            _ if self.transport.ecr.is_some() && is_full(&answer) => Err(limit(&answer)),
            _ if may_be_immutable(&answer) && is_tag(reference) => {
                match self.digest_of(repository, reference).await? {
                    Some(standing) if standing == digest => Ok(Put::Done(digest)),
                    Some(_) => Ok(Put::TagStands),
                    None => Err(answer.refused()),
                }
            }
            _ => Err(answer.refused()),
        }
    }

    /// One attempt to put a manifest. One that is refused for want of what was just put beside it
    /// is worth another: not every server of a registry sees that at once.
    async fn put_once(&self, repository: &str, request: &Request) -> Result<Answer, Failure> {
        let answer = self.transport.once(request).await?;
        if answer.misses_a_part() && self.transport.pushed.is_into(repository) {
            return Err(Failure::passing(answer.refused()));
        }
        Ok(answer)
    }

    /// Puts a tag on a manifest that stands, by sending its own bytes again.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Incomplete`] where there is no such manifest.
    pub async fn retag(
        &self,
        repository: &str,
        digest: &Digest,
        tag: &str,
    ) -> Result<Put, RegistryError> {
        let found = self.manifest(repository, &digest.to_string()).await?;
        let manifest = found.ok_or_else(|| RegistryError::Incomplete {
            image: self.base().image(repository, digest),
            part: "its manifest".to_owned(),
        })?;
        self.put_manifest(repository, tag, &manifest.media_type, manifest.bytes)
            .await
    }

    fn manifest_request(
        &self,
        kind: Kind,
        method: Method,
        repository: &str,
        reference: &str,
    ) -> Result<Request, RegistryError> {
        if !is_tag(reference) && reference.parse::<Digest>().is_err() {
            return Err(invalid(repository, reference));
        }
        let writes = method == Method::PUT;
        let access = if writes {
            Access::PullAndPush
        } else {
            Access::Pull
        };
        let (url, scope) = self.address(repository, &format!("manifests/{reference}"), access)?;
        let mut request = Request::new(kind, method, url, scope).cap(LARGEST_MANIFEST);
        if !writes {
            for media_type in MANIFEST_TYPES {
                request = request.header(ACCEPT, HeaderValue::from_static(media_type));
            }
        }
        Ok(request)
    }

    /// The URL of `rest` below a repository, and the scope of a token for it.
    pub(super) fn address(
        &self,
        repository: &str,
        rest: &str,
        access: Access,
    ) -> Result<(Url, Option<String>), RegistryError> {
        let full = self.base().repository(repository);
        if !is_repository(&full) {
            return Err(invalid(repository, rest));
        }
        let actions = match access {
            Access::Pull => "pull",
            Access::PullAndPush => "pull,push",
            Access::Delete => "delete",
        };
        let scope = format!("repository:{full}:{actions}");
        Ok((self.base().url(&format!("/v2/{full}/{rest}"))?, Some(scope)))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(self.base()).finish()
    }
}

pub(super) fn invalid(repository: &str, reference: &str) -> RegistryError {
    RegistryError::InvalidName {
        repository: repository.to_owned(),
        reference: reference.to_owned(),
    }
}

/// The digest that an answer's header states; one that is no SHA-256 digest is an error.
fn stated_digest(answer: &Answer) -> Result<Option<Digest>, RegistryError> {
    let Some(stated) = answer.header(CONTENT_DIGEST) else {
        return Ok(None);
    };
    let digest = stated
        .parse()
        .map_err(|_| answer.corrupt("it states a digest that is none"))?;
    Ok(Some(digest))
}

/// A manifest that was asked for by digest must have it.
fn check_asked_for(answer: &Answer, reference: &str, digest: Digest) -> Result<(), RegistryError> {
    match reference.parse::<Digest>() {
        Ok(wanted) if wanted != digest => {
            Err(answer.corrupt(format!("its digest is {digest}, not the one asked for")))
        }
        _ => Ok(()),
    }
}

fn read_manifest(answer: &Answer, reference: &str) -> Result<RawManifest, RegistryError> {
    let bytes = answer.body.clone();
    let digest = Digest::of(&bytes);
    check_asked_for(answer, reference, digest)?;
    if let Some(stated) = stated_digest(answer)?
        && stated != digest
    {
        return Err(answer.corrupt(format!("it states digest {stated} and has {digest}")));
    }
    let content: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&bytes)
        .map_err(|_| answer.corrupt("it should be a manifest, and is no JSON object"))?;
    let header = answer.header(CONTENT_TYPE.as_str());
    let media_type = header
        .and_then(|text| text.split(';').next())
        .map(str::trim)
        .or_else(|| content.get("mediaType").and_then(serde_json::Value::as_str))
        .filter(|text| !text.is_empty())
        .ok_or_else(|| answer.corrupt("it does not say what kind of manifest it is"))?
        .to_owned();
    Ok(RawManifest {
        digest,
        media_type,
        bytes,
    })
}

/// Whether ECR refused a PUT because a limit is reached; the name of the exception stands in the
/// message, or its sentence.
fn is_full(answer: &Answer) -> bool {
    let message = answer.said.message.as_deref().unwrap_or_default();
    let message = message.to_ascii_lowercase();
    let limits = [
        "limitexceeded",
        "limit exceeded",
        "maximum number of",
        "maximum allowed number of",
        "tags per image",
        "images per repository",
    ];
    (400..500).contains(&answer.status.as_u16())
        && limits.iter().any(|words| message.contains(words))
}

/// The limit that ECR speaks of: of tags of an image, or of images.
fn limit(answer: &Answer) -> RegistryError {
    let (request, said) = (answer.request.clone(), answer.said.clone());
    let message = said.message.as_deref().unwrap_or_default();
    let message = message.to_ascii_lowercase();
    let of_tags = ["number of tags", "tags per image", "tags for"];
    if of_tags.iter().any(|words| message.contains(words)) {
        RegistryError::TagLimit { request, said }
    } else {
        RegistryError::RepositoryLimit { request, said }
    }
}

/// Whether a refused PUT may mean that an immutable tag stands; what stands is then looked at, so
/// a wrong guess costs a request. There is no code for it in the protocol: ECR says `TAG_INVALID`,
/// Harbor answers with 412, others with 409, or they say it in a code or message of their own.
fn may_be_immutable(answer: &Answer) -> bool {
    let code = answer.said.code.as_deref().unwrap_or_default();
    let message = answer
        .said
        .message
        .as_deref()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let speaks_of_it = ["immutab", "already exists", "overwrit"];
    match answer.status.as_u16() {
        409 | 412 => true,
        400..=499 => {
            code == "TAG_INVALID"
                || code.contains("AlreadyExists")
                || code.contains("IMMUTAB")
                || speaks_of_it.iter().any(|words| message.contains(words))
        }
        _ => false,
    }
}
