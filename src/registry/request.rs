//! What is asked of a registry, what it answers, and the count of both.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;

use super::RegistryError;
use super::blob_stream::Passing;
use super::error::{RequestLine, Said};

/// What a request is for; requests are counted by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// GET of a manifest.
    ManifestGet,
    /// HEAD of a manifest.
    ManifestHead,
    /// PUT of a manifest.
    ManifestPut,
    /// DELETE of a manifest or a tag.
    ManifestDelete,
    /// GET of a blob, each redirect counted too.
    BlobGet,
    /// HEAD of a blob.
    BlobHead,
    /// POST or PUT of a blob upload.
    BlobPut,
    /// A page of tags.
    Tags,
    /// A token for the registry.
    Token,
    /// GET of `/v2/`.
    Ping,
    /// Many manifests with one call of a cloud's own API.
    ManifestBatch,
    /// Any other call of a cloud's own API.
    CloudApi,
}

impl Kind {
    /// All kinds, in the order of [`Requests::by_kind`].
    pub const ALL: [Self; 12] = [
        Self::ManifestGet,
        Self::ManifestHead,
        Self::ManifestPut,
        Self::ManifestDelete,
        Self::BlobGet,
        Self::BlobHead,
        Self::BlobPut,
        Self::Tags,
        Self::Token,
        Self::Ping,
        Self::ManifestBatch,
        Self::CloudApi,
    ];

    /// The kind's name for people and machines, e.g. `manifest-get`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ManifestGet => "manifest-get",
            Self::ManifestHead => "manifest-head",
            Self::ManifestPut => "manifest-put",
            Self::ManifestDelete => "manifest-delete",
            Self::BlobGet => "blob-get",
            Self::BlobHead => "blob-head",
            Self::BlobPut => "blob-put",
            Self::Tags => "tags",
            Self::Token => "token",
            Self::Ping => "ping",
            Self::ManifestBatch => "manifest-batch",
            Self::CloudApi => "cloud-api",
        }
    }
}

/// How many requests went out, repetitions included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requests(pub(super) [u64; Kind::ALL.len()]);

impl Requests {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Those of one kind.
    #[must_use]
    pub const fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    /// Each kind with its count.
    pub fn by_kind(&self) -> impl Iterator<Item = (Kind, u64)> {
        Kind::ALL.into_iter().zip(self.0)
    }
}

/// What goes with a request.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// Held, and can be sent again.
    Whole(Bytes),
    /// Passes through, once.
    Passing(Arc<Passing>),
}

/// One request; it can be sent again, unless its body passes through.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) method: Method,
    pub(super) url: Url,
    /// What a token must allow for it, several scopes with a space between them; `None` where no
    /// repository is concerned.
    pub(super) scope: Option<String>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Body,
    /// Whether the body of a good answer is left to be read.
    pub(super) streamed: bool,
    /// The most bytes of a good answer that are taken.
    pub(super) cap: u64,
}

impl Request {
    pub(super) fn new(kind: Kind, method: Method, url: Url, scope: Option<String>) -> Self {
        Self {
            kind,
            method,
            url,
            scope,
            headers: Vec::new(),
            body: Body::Whole(Bytes::new()),
            streamed: false,
            cap: 1 << 20,
        }
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    pub(super) fn streamed(mut self) -> Self {
        self.streamed = true;
        self
    }

    pub(super) fn cap(mut self, cap: u64) -> Self {
        self.cap = cap;
        self
    }

    pub(super) fn line(&self) -> RequestLine {
        RequestLine::new(&self.method, &self.url)
    }
}

/// An answer of any status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) request: RequestLine,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Whole where the status is good; else at most the first 64 KiB.
    pub(super) body: Bytes,
    /// The body of a good answer that is left to be read.
    pub(super) stream: Option<Response>,
    /// The registry's own words, where the status is not good; without secrets.
    pub(super) said: Said,
    /// The registry's host, as it stands in image names.
    pub(super) host: String,
    /// Who the last hop thought was asking.
    pub(super) asked: Asked,
}

/// On whose behalf a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A configured credential went with it.
    WithCredential,
    /// Nothing did, or a token that anyone gets.
    Anonymously,
    /// By another host, that the registry sent the request to; no credential goes there.
    Elsewhere,
}

impl Answer {
    /// A header's text; an unreadable one counts as none.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the registry says, in the protocol's words, that the thing does not exist. A 404
    /// of any other making (a proxy's page, no body) says nothing of the kind. `NOT_FOUND` is
    /// Harbor's word.
    pub(super) fn says_absent(&self) -> bool {
        let absent = [
            "MANIFEST_UNKNOWN",
            "NAME_UNKNOWN",
            "BLOB_UNKNOWN",
            "NOT_FOUND",
        ];
        self.status == StatusCode::NOT_FOUND && absent.iter().any(|code| self.says(code))
    }

    /// Whether this is the code of the registry's own words.
    pub(super) fn says(&self, code: &str) -> bool {
        self.said.code.as_deref() == Some(code)
    }

    /// Whether the registry says that it does not do such a thing at all.
    pub(super) fn says_unsupported(&self) -> bool {
        self.says("UNSUPPORTED") || self.status == StatusCode::METHOD_NOT_ALLOWED
    }

    /// Whether a manifest was refused for want of something that it refers to.
    pub(super) fn misses_a_part(&self) -> bool {
        // docker-registry says DIGEST_INVALID of a manifest, which has no digest of its own in the
        // request, where another upload is just writing the link of one of its blobs.
        let missing = [
            "MANIFEST_BLOB_UNKNOWN",
            "BLOB_UNKNOWN",
            "MANIFEST_UNKNOWN",
            "DIGEST_INVALID",
        ];
        matches!(self.status.as_u16(), 400 | 404) && missing.iter().any(|code| self.says(code))
    }

    /// Whether the registry limits the rate of requests. GitHub's "secondary rate limit" comes with
    /// status 403, and has nothing to do with who asks.
    pub(super) fn is_throttled(&self) -> bool {
        let message = self.said.message.as_deref().unwrap_or_default();
        let speaks_of_it = message.to_ascii_lowercase().contains("rate limit");
        self.status == StatusCode::TOO_MANY_REQUESTS
            || (self.status == StatusCode::FORBIDDEN && speaks_of_it)
    }

    /// Whether ECR may mean that the token that was shown is not good any more. Its words for that
    /// come with 403; a HEAD has no words.
    pub(super) fn refuses_token(&self) -> bool {
        let message = self.said.message.as_deref();
        match self.status.as_u16() {
            401 => true,
            403 => {
                message.is_none_or(|text| text.to_ascii_lowercase().contains("token has expired"))
            }
            _ => false,
        }
    }

    /// The error of an answer whose status was not expected.
    pub(super) fn refused(&self) -> RegistryError {
        let (request, said) = (self.request.clone(), self.said.clone());
        let (status, host) = (self.status.as_u16(), self.host.clone());
        match (status, self.asked) {
            _ if self.is_throttled() => RegistryError::Throttled {
                request,
                status,
                said,
            },
            (401 | 403, Asked::WithCredential) => RegistryError::CredentialRefused {
                request,
                host,
                status,
                said,
            },
            (401, Asked::Anonymously) => RegistryError::CredentialMissing { request, host },
            _ => RegistryError::Refused {
                request,
                status,
                said,
            },
        }
    }

    /// The error of an answer that cannot be taken for what it says it is.
    pub(super) fn corrupt(&self, detail: impl Into<String>) -> RegistryError {
        RegistryError::Corrupt {
            request: self.request.clone(),
            detail: detail.into(),
        }
    }
}

/// An OCI error body (distribution spec, "Error Codes"); Docker Hub's token server says `details`.
#[derive(Deserialize)]
struct ErrorBody {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    code: Option<String>,
    message: Option<String>,
}

/// Reads the registry's words out of an error body.
pub(super) fn said(body: &[u8]) -> Said {
    let parsed: Result<ErrorBody, _> = serde_json::from_slice(body);
    let Some(first) = parsed.ok().and_then(|body| body.errors.into_iter().next()) else {
        return Said::default();
    };
    Said {
        code: first
            .code
            .map(|code| bounded(&code, 64))
            .filter(|code| !code.is_empty()),
        message: first
            .message
            .map(|text| bounded(&text, 300))
            .filter(|text| !text.is_empty()),
    }
}

/// At most `length` characters, none of them a control character.
pub(super) fn bounded(text: &str, length: usize) -> String {
    let printable = text.chars().map(|character| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    });
    let mut short: String = printable.take(length).collect();
    if text.chars().nth(length).is_some() {
        short.push('…');
    }
    short.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_apart() {
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
        let counter = super::super::counter::Counter::new();
        drop(counter.begin(Kind::Tags));
        drop(counter.begin(Kind::Ping));
        drop(counter.begin(Kind::Tags));
        let read = counter.read();
        assert_eq!(
            (read.total(), read.of(Kind::Tags), read.of(Kind::Token)),
            (3, 2, 0)
        );
    }

    #[test]
    fn words_are_bounded_and_printable() {
        let body = format!(
            r#"{{"errors":[{{"code":"DENIED","message":"a\u001b[31m\n{}"}}]}}"#,
            "x".repeat(1000)
        );
        let said = said(body.as_bytes());
        assert_eq!(said.code.as_deref(), Some("DENIED"));
        let message = said.message.unwrap();
        assert!(message.chars().count() <= 301 && !message.chars().any(char::is_control));
    }

    #[test]
    fn other_bodies_say_nothing() {
        for body in [
            "",
            "<html>",
            "{}",
            r#"{"errors":[]}"#,
            r#"{"errors":"x"}"#,
            "[]",
        ] {
            assert_eq!(said(body.as_bytes()), Said::default(), "{body}");
        }
    }
}
