//! What can go wrong with a registry, and what to do about it.

use std::fmt;

use reqwest::{Method, Url};

use crate::problem::{Class, Diagnose, Problem};

/// A request as an error names it: method, and URL without user, query and fragment, since those
/// may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLine(String);

impl RequestLine {
    pub(super) fn new(method: &Method, url: &Url) -> Self {
        let host = url.host_str().unwrap_or("?");
        let port = url.port().map_or(String::new(), |port| format!(":{port}"));
        let (scheme, path) = (url.scheme(), url.path());
        Self(format!("{method} {scheme}://{host}{port}{path}"))
    }

    /// The name of the call of a cloud's API, or the method.
    pub(super) fn call(&self) -> &str {
        self.0.split(' ').next().unwrap_or_default()
    }

    /// A call of a cloud's API by its name, e.g. `ecr:BatchGetImage`.
    #[cfg(feature = "ecr")]
    pub(super) fn of_call(name: &str, region: Option<&str>) -> Self {
        Self(match region {
            Some(region) => format!("{name} in {region}"),
            None => name.to_owned(),
        })
    }
}

impl fmt::Display for RequestLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a registry said when it refused: the first entry of an OCI error body (distribution spec,
/// "Error Codes"), bounded in length and without control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// e.g. `MANIFEST_UNKNOWN`; `None` if the body was no OCI error body.
    pub code: Option<String>,
    /// The message that came with it.
    pub message: Option<String>,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.code, &self.message) {
            (Some(code), Some(message)) => write!(f, ": {code}, {message}"),
            (Some(one), None) | (None, Some(one)) => write!(f, ": {one}"),
            (None, None) => Ok(()),
        }
    }
}

/// Anything that keeps a registry from being asked, or its answer from being taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// No answer: connection, name, TLS, time-out, or an answer that broke off.
    #[error("{request}: {cause}")]
    Unreachable {
        /// What was asked.
        request: RequestLine,
        /// The chain of causes, one line.
        cause: String,
    },
    /// An answer with a status that is none of those expected.
    #[error("{request}: the registry answered with status {status}{said}")]
    Refused {
        /// What was asked.
        request: RequestLine,
        /// The HTTP status.
        status: u16,
        /// The registry's own words.
        said: Said,
    },
    /// Still told that the rate of requests is limited after the last attempt.
    #[error("{request}: the registry limits the rate of requests (status {status}){said}")]
    Throttled {
        /// What was asked.
        request: RequestLine,
        /// The HTTP status: 429, or 403 with words that say so.
        status: u16,
        /// The registry's own words.
        said: Said,
    },
    /// An answer that contradicts itself or the protocol: wrong digest, no JSON, too large.
    #[error("{request}: the answer cannot be trusted: {detail}")]
    Corrupt {
        /// What was asked.
        request: RequestLine,
        /// What is wrong with it.
        detail: String,
    },
    /// A credential was configured, and it was not accepted (status 401 or 403).
    #[error(
        "{request}: the registry does not accept the credential configured for {host} \
         (status {status}){said}"
    )]
    CredentialRefused {
        /// What was asked.
        request: RequestLine,
        /// The registry.
        host: String,
        /// The HTTP status.
        status: u16,
        /// The registry's own words.
        said: Said,
    },
    /// The registry asks for a credential (status 401), and none is configured.
    #[error("{request}: {host} asks for a credential, and none is configured")]
    CredentialMissing {
        /// What was asked.
        request: RequestLine,
        /// The registry.
        host: String,
    },
    /// Docker's configuration or the credential helper that it names could not be used.
    #[error("the credential for {host} cannot be read: {detail}")]
    CredentialHelper {
        /// The registry.
        host: String,
        /// What is wrong.
        detail: String,
    },
    /// Docker's configuration names a credential helper that does not come to an end.
    #[error("the credential helper for {host} gave no answer within {seconds} s")]
    CredentialHelperSilent {
        /// The registry.
        host: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// AWS's rules find no credential.
    #[error("{host} is Amazon ECR's, and no AWS credential is configured")]
    AwsCredentialsMissing {
        /// The registry.
        host: String,
    },
    /// An AWS credential is configured and cannot be had.
    #[error("the AWS credential for {host} cannot be had: {detail}")]
    AwsCredentialsBroken {
        /// The registry.
        host: String,
        /// The chain of causes, one line.
        detail: String,
    },
    /// Neither the registry's host nor the environment names a region.
    #[error("{host} is declared to be Amazon ECR's, and no AWS region is configured")]
    AwsRegionMissing {
        /// The registry.
        host: String,
    },
    /// Amazon ECR understood a call and did not carry it out.
    #[error("{request}: Amazon ECR refused{said}")]
    AwsRefused {
        /// What was asked.
        request: RequestLine,
        /// The exception's name and its message.
        said: Said,
    },
    /// An image has as many tags as Amazon ECR lets it have.
    #[error("{request}: the image has as many tags as Amazon ECR allows{said}")]
    TagLimit {
        /// What was asked.
        request: RequestLine,
        /// The registry's own words.
        said: Said,
    },
    /// A repository has as many images as Amazon ECR lets it have, or another limit is reached.
    #[error("{request}: the repository has reached a limit of Amazon ECR's{said}")]
    RepositoryLimit {
        /// What was asked.
        request: RequestLine,
        /// The registry's own words.
        said: Said,
    },
    /// The program was built without the cargo feature `ecr`.
    #[error("{host} is declared to be Amazon ECR's, and this program was built without it")]
    EcrNotBuiltIn {
        /// The registry.
        host: String,
    },
    /// TLS cannot be used: no root certificates, or a certificate file that is none.
    #[error("no secure connection can be made: {detail}")]
    Tls {
        /// What is wrong.
        detail: String,
    },
    /// What was put with success is not there.
    #[error("{request}: the registry does not show what it took a moment ago")]
    PushNotShown {
        /// What was asked.
        request: RequestLine,
    },
    /// A repository is not known, out of which something was read before.
    #[error("{request}: the registry does not know the repository that it had a moment ago")]
    RepositoryGone {
        /// What was asked.
        request: RequestLine,
    },
    /// The registry does not delete this kind of thing.
    #[error("{request}: the registry does not delete this")]
    NoDelete {
        /// What was asked.
        request: RequestLine,
    },
    /// A part of an image is not where it must be.
    #[error("{part} of the image {image} is missing from the registry")]
    Incomplete {
        /// The image.
        image: String,
        /// What is missing, e.g. `the blob sha256:…`.
        part: String,
    },
    /// An image that cannot be copied.
    #[error("the image {image} cannot be copied: {why}")]
    NotCopied {
        /// The image.
        image: String,
        /// Why not.
        why: String,
    },
    /// Another manifest stands under an immutable tag.
    #[error("another image stands under {tag}, and the registry does not replace it")]
    TagStands {
        /// The tag's full name.
        tag: String,
    },
    /// An image is for another platform than it was taken for.
    #[error("the image {image} is not for {platform}: it states {stated}")]
    OtherPlatform {
        /// The image.
        image: String,
        /// What it was taken for.
        platform: String,
        /// What it states.
        stated: String,
    },
    /// The text is no registry.
    #[error("'{text}' is no registry: {why}")]
    InvalidBase {
        /// The text as given.
        text: String,
        /// Why not.
        why: String,
    },
    /// The text is no image reference.
    #[error("'{text}' is no image reference: {why}")]
    InvalidImage {
        /// The text as given.
        text: String,
        /// Why not.
        why: String,
    },
    /// A repository, tag or digest that no registry could have.
    #[error("'{repository}' with '{reference}' names nothing that a registry can hold")]
    InvalidName {
        /// Repository below the base.
        repository: String,
        /// Tag or digest.
        reference: String,
    },
}

impl RegistryError {
    /// The stable code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "registry-unreachable",
            Self::Refused { .. } => "registry-refused",
            Self::Throttled { .. } => "registry-throttled",
            Self::Corrupt { .. } => "registry-corrupt",
            Self::CredentialRefused { .. } => "credential-refused",
            Self::CredentialMissing { .. } => "credential-missing",
            Self::CredentialHelper { .. } => "credential-helper",
            Self::CredentialHelperSilent { .. } => "credential-helper-silent",
            Self::AwsCredentialsMissing { .. } => "aws-credentials-missing",
            Self::AwsCredentialsBroken { .. } => "aws-credentials-broken",
            Self::AwsRegionMissing { .. } => "aws-region-missing",
            Self::AwsRefused { .. } => "aws-refused",
            Self::TagLimit { .. } => "tag-limit",
            Self::RepositoryLimit { .. } => "repository-limit",
            Self::EcrNotBuiltIn { .. } => "ecr-not-built-in",
            Self::Tls { .. } => "registry-tls",
            Self::PushNotShown { .. } => "push-not-shown",
            Self::RepositoryGone { .. } => "repository-gone",
            Self::NoDelete { .. } => "registry-no-delete",
            Self::Incomplete { .. } => "image-incomplete",
            Self::NotCopied { .. } => "image-not-copied",
            Self::TagStands { .. } => "tag-stands",
            Self::OtherPlatform { .. } => "platform-mismatch",
            Self::InvalidBase { .. } => "invalid-registry",
            Self::InvalidImage { .. } => "invalid-image",
            Self::InvalidName { .. } => "invalid-name",
        }
    }
}

impl Diagnose for RegistryError {
    fn class(&self) -> Class {
        match self {
            Self::InvalidBase { .. }
            | Self::InvalidImage { .. }
            | Self::InvalidName { .. }
            | Self::AwsRegionMissing { .. }
            | Self::EcrNotBuiltIn { .. } => Class::Usage,
            Self::OtherPlatform { .. } => Class::Failed,
            _ => Class::Unreachable,
        }
    }

    fn problems(&self) -> Vec<Problem> {
        vec![Problem::error(self.code(), self.to_string()).hint(self.hint())]
    }
}
