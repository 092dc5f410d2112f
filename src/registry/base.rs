//! Where images and records are kept: a registry and a prefix.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;

use super::RegistryError;
use super::ecr::Place;
use crate::model::{Digest, RegistryApi, RegistryKind, is_repository};

/// A registry and a prefix below which repositories lie: `host[:port]/prefix`.
///
/// Plain HTTP for loopback addresses (127.0.0.0/8, `::1`, `localhost`) or where the text began with
/// `http://`, else HTTPS. The prefix may be empty. Displayed without the scheme, as image names
/// are written.
///
/// A host of Amazon ECR is known by its name. `ecr://`, `ecr+http://` or `ecr+https://` in front say
/// that another one is ECR too, and `oci://`, `oci+http://`, `oci+https://` that a host is to be
/// spoken to by the OCI protocol alone, without anything of AWS's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Base {
    secure: bool,
    /// `host` or `host:port`, lower-case.
    host: String,
    /// No slash at either end; may be empty.
    prefix: String,
    api: Api,
}

/// How a registry is spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Api {
    /// By the OCI protocol.
    Protocol,
    /// The same, and somebody said so: no credential of AWS's is shown either.
    ProtocolAlone,
    /// By Amazon ECR's API too.
    Ecr(Place),
}

/// Docker Hub's name in image references, and the host that serves its API.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

impl Base {
    /// `host` or `host:port`, as it stands in image names.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What stands before every repository's name; may be empty.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether the registry runs on this machine's loopback.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(host_name(&self.host))
    }

    /// The repository of `name` in the registry: `prefix/name`.
    #[must_use]
    pub fn repository(&self, name: &str) -> String {
        if self.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.prefix)
        }
    }

    /// An image by digest, as an engine or a deployment takes it:
    /// `host:port/prefix/project@sha256:…`.
    #[must_use]
    pub fn image(&self, project: impl fmt::Display, digest: &Digest) -> String {
        format!("{}@{digest}", self.name(project))
    }

    /// An image by tag: `host:port/prefix/project:tag`.
    #[must_use]
    pub fn tagged(&self, project: impl fmt::Display, tag: &str) -> String {
        format!("{}:{tag}", self.name(project))
    }

    /// A project's image without tag or digest: `host:port/prefix/project`.
    #[must_use]
    pub fn name(&self, project: impl fmt::Display) -> String {
        format!("{self}/{project}")
    }

    /// Whether another base lies in the same registry.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        (self.secure, &self.host) == (other.secure, &other.host)
    }

    /// A base of the registry alone, by the host of an image reference: spoken to by the OCI
    /// protocol, also where it is one of Amazon ECR.
    pub(super) fn of_host(host: &str) -> Result<Self, RegistryError> {
        let text = format!("{}://{host}", scheme(!is_loopback(host_name(host))));
        let base: Self = text.parse()?;
        Ok(Self {
            api: Api::Protocol,
            ..base
        })
    }

    /// The same base, with what is said of its registry's API elsewhere than in the text.
    #[must_use]
    pub fn with_api(mut self, api: &RegistryApi) -> Self {
        self.api = match (api.kind, self.api) {
            (Some(RegistryKind::Oci), _) => Api::ProtocolAlone,
            (_, Api::Ecr(place)) => Api::Ecr(place.with(api)),
            (Some(RegistryKind::Ecr), _) => Api::Ecr(Place::default().with(api)),
            (None, known) => known,
        };
        self
    }

    /// The ECR registry that it is in, if it is in one.
    pub(super) const fn ecr(&self) -> Option<&Place> {
        match &self.api {
            Api::Ecr(place) => Some(place),
            Api::Protocol | Api::ProtocolAlone => None,
        }
    }

    /// Whether nothing of AWS's is to be asked for it, whatever its host is.
    pub(super) fn is_protocol_alone(&self) -> bool {
        self.api == Api::ProtocolAlone
    }

    /// The URL of a path of the distribution API, e.g. `/v2/`.
    pub(super) fn url(&self, path: &str) -> Result<Url, RegistryError> {
        let host = if self.host == DOCKER_HUB.0 {
            DOCKER_HUB.1
        } else {
            &self.host
        };
        let text = format!("{}://{host}{path}", scheme(self.secure));
        Url::parse(&text).map_err(|cause| invalid(&text, &cause.to_string()))
    }
}

impl FromStr for Base {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, RegistryError> {
        if text.contains('@') {
            // The text is not repeated: a password may stand in it.
            return Err(invalid("…@…", "credentials do not belong into it"));
        }
        let (kind, given_scheme, rest) = split_scheme(text)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let host = host.to_ascii_lowercase();
        check_host(text, &host, text.contains("://"))?;
        if !prefix.is_empty() && !is_repository(prefix) {
            return Err(invalid(text, &prefix_problem(prefix)));
        }
        let secure = given_scheme.unwrap_or_else(|| !is_loopback(host_name(&host)));
        let base = Self {
            secure,
            api: Place::of_host(&host).map_or(Api::Protocol, Api::Ecr),
            host,
            prefix: prefix.to_owned(),
        };
        Ok(base.with_api(&RegistryApi {
            kind,
            ..RegistryApi::default()
        }))
    }
}

/// What a text says before `://`: which API, and whether it is HTTPS; and the rest.
fn split_scheme(text: &str) -> Result<(Option<RegistryKind>, Option<bool>, &str), RegistryError> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok((None, None, text));
    };
    let (kind, secure) = match scheme {
        "http" => (None, Some(false)),
        "https" => (None, Some(true)),
        "ecr" => (Some(RegistryKind::Ecr), None),
        "ecr+http" => (Some(RegistryKind::Ecr), Some(false)),
        "ecr+https" => (Some(RegistryKind::Ecr), Some(true)),
        "oci" => (Some(RegistryKind::Oci), None),
        "oci+http" => (Some(RegistryKind::Oci), Some(false)),
        "oci+https" => (Some(RegistryKind::Oci), Some(true)),
        _ => {
            let why = "only http:// and https:// are known, with ecr+ or oci+ before them, and \
                       ecr:// and oci:// alone";
            return Err(invalid(text, why));
        }
    };
    Ok((kind, secure, rest))
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        Ok(())
    }
}

/// Whether a host name or address (without port) is this machine's loopback.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The host without its port.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn scheme(secure: bool) -> &'static str {
    if secure { "https" } else { "http" }
}

fn check_host(text: &str, host: &str, scheme_given: bool) -> Result<(), RegistryError> {
    if host.is_empty() {
        return Err(invalid(text, "no host stands in it"));
    }
    let parsed = Url::parse(&format!("http://{host}/"));
    let is_host = parsed
        .is_ok_and(|url| url.path() == "/" && url.query().is_none() && url.fragment().is_none());
    if !is_host || host.ends_with(':') {
        return Err(invalid(text, &format!("'{host}' is no host[:port]")));
    }
    let names_a_host = host.contains(['.', ':']) || host == "localhost";
    if !names_a_host && !scheme_given {
        let why = format!("'{host}' could be a host or a part of a prefix");
        return Err(invalid(text, &why));
    }
    Ok(())
}

fn prefix_problem(prefix: &str) -> String {
    if prefix.bytes().any(|byte| byte.is_ascii_uppercase()) {
        format!("'{prefix}' has upper-case letters, which repository names may not have")
    } else {
        format!(
            "'{prefix}' is no repository name (lower-case letters, digits, and . _ - / between)"
        )
    }
}

fn invalid(text: &str, why: &str) -> RegistryError {
    RegistryError::InvalidBase {
        text: text.to_owned(),
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Base {
        text.parse().unwrap()
    }

    #[test]
    fn scheme_follows_the_host_unless_given() {
        for (text, url) in [
            ("127.0.0.1:5000/acme", "http://127.0.0.1:5000/v2/"),
            ("127.9.9.9:5000", "http://127.9.9.9:5000/v2/"),
            ("localhost/a/b", "http://localhost/v2/"),
            ("[::1]:5000/a", "http://[::1]:5000/v2/"),
            ("https://localhost:5000/a", "https://localhost:5000/v2/"),
            (
                "registry.example.com/acme",
                "https://registry.example.com/v2/",
            ),
            (
                "http://registry.example.com/acme/",
                "http://registry.example.com/v2/",
            ),
            ("http://registry/acme", "http://registry/v2/"),
            ("docker.io/acme", "https://registry-1.docker.io/v2/"),
            ("128.0.0.1/acme", "https://128.0.0.1/v2/"),
        ] {
            assert_eq!(parse(text).url("/v2/").unwrap().as_str(), url, "{text}");
        }
    }

    #[test]
    fn the_api_follows_the_host_unless_given() {
        let host = "123456789012.dkr.ecr.us-east-2.amazonaws.com";
        for (text, is_ecr, url) in [
            (format!("{host}/a"), true, format!("https://{host}/v2/")),
            (
                format!("oci://{host}/a"),
                false,
                format!("https://{host}/v2/"),
            ),
            (
                "ecr://127.0.0.1:1/a".into(),
                true,
                "http://127.0.0.1:1/v2/".into(),
            ),
            (
                "ecr+https://127.0.0.1:1/a".into(),
                true,
                "https://127.0.0.1:1/v2/".into(),
            ),
            (
                "ecr+http://r.example/a".into(),
                true,
                "http://r.example/v2/".into(),
            ),
            (
                "oci+http://r.example/a".into(),
                false,
                "http://r.example/v2/".into(),
            ),
            ("r.example/a".into(), false, "https://r.example/v2/".into()),
        ] {
            let base = parse(&text);
            assert_eq!(base.ecr().is_some(), is_ecr, "{text}");
            assert_eq!(base.url("/v2/").unwrap().as_str(), url, "{text}");
            assert!(!base.to_string().contains("://"), "{base}");
        }
        for text in [
            "ecr+://r.example/a",
            "+http://r.example/a",
            "ecr+ecr://r.example/a",
        ] {
            assert!(text.parse::<Base>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_the_manifest_says_goes_before_the_host() {
        let api = |kind| RegistryApi {
            kind,
            region: Some("eu-west-2".into()),
            account: Some("210987654321".into()),
        };
        let base = parse("127.0.0.1:5000/acme");
        assert!(base.clone().with_api(&api(None)).ecr().is_none());
        let ecr = base.with_api(&api(Some(RegistryKind::Ecr)));
        let place = ecr.ecr().unwrap();
        assert_eq!(place.region.as_deref(), Some("eu-west-2"));
        assert_eq!(place.account.as_deref(), Some("210987654321"));
        let plain = parse("123456789012.dkr.ecr.us-east-2.amazonaws.com/acme");
        assert!(
            plain
                .with_api(&api(Some(RegistryKind::Oci)))
                .ecr()
                .is_none()
        );
    }

    #[test]
    fn names_images_without_the_scheme() {
        let base = parse("http://Registry.example.com:80/acme/team");
        assert_eq!(base.to_string(), "registry.example.com:80/acme/team");
        assert_eq!(base.repository("api"), "acme/team/api");
        let digest = Digest::of(b"");
        assert_eq!(
            base.image("api", &digest),
            format!("registry.example.com:80/acme/team/api@{digest}")
        );
        let local = parse("127.0.0.1:5000");
        assert_eq!(local.repository("api"), "api");
        assert_eq!(local.tagged("api", "x"), "127.0.0.1:5000/api:x");
    }

    #[test]
    fn refuses_what_no_registry_could_be() {
        for text in [
            "",
            "acme/team",
            "ftp://host.example/a",
            "host.example/Acme",
            "host.example/a:tag",
            "host.example/a@sha256:00",
            "host.example//a",
            "host.example:port/a",
            "host.example:/a",
            "host.example/a?b",
            "https://",
            "user:secret@host.example/a",
            "https://user:secret/word@host.example/a",
            "ftp://user:secret@host.example/a",
            "host.example/user:secret@b",
            "user/secret@host.example",
        ] {
            let error = text.parse::<Base>().unwrap_err();
            assert!(
                matches!(error, RegistryError::InvalidBase { .. }),
                "{text}: {error:?}"
            );
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
