//! Image names as Docker reads them: `[host[:port]/]path[:tag][@digest]`
//! (`distribution/reference`).

use crate::model::{is_repository, is_tag};

/// The parts of an image name, borrowed from its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageName<'a> {
    /// Host (if any) and path, as written.
    pub name: &'a str,
    /// Without the `:`.
    pub tag: Option<&'a str>,
    /// Without the `@`, with its algorithm.
    pub digest: Option<&'a str>,
}

/// What Docker puts before a name without a host.
const DOCKER_HUB: &str = "docker.io";

impl<'a> ImageName<'a> {
    /// Splits and checks a name.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as part of a sentence.
    pub fn parse(text: &'a str) -> Result<Self, &'static str> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let slash = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[slash..].split_once(':') {
            Some((last, tag)) => (&rest[..slash + last.len()], Some(tag)),
            None => (rest, None),
        };
        if !tag.is_none_or(is_tag) {
            return Err("its tag is empty or holds characters that a tag cannot hold");
        }
        if !digest.is_none_or(is_digest) {
            return Err("its digest is not of the form sha256:<64 hexadecimal digits>");
        }
        let parsed = Self { name, tag, digest };
        if !is_repository(parsed.path()) {
            return Err("a repository's name holds only lower-case letters, digits and . _ - /");
        }
        if !parsed.host().is_none_or(is_host) {
            return Err("its host is no host name with an optional port");
        }
        Ok(parsed)
    }

    /// The registry's host and port, if the name begins with one: a first component that holds a
    /// `.` or a `:`, or is `localhost`, or has an upper-case letter.
    #[must_use]
    pub fn host(&self) -> Option<&'a str> {
        let (first, _) = self.name.split_once('/')?;
        is_host_like(first).then_some(first)
    }

    /// The name without the host.
    #[must_use]
    pub fn path(&self) -> &'a str {
        match self.host() {
            Some(host) => &self.name[host.len() + 1..],
            None => self.name,
        }
    }

    /// Whether the image is Docker Hub's: no host, or one of the Hub's own.
    #[must_use]
    pub fn is_docker_hub(&self) -> bool {
        self.host().is_none_or(is_docker_hub)
    }

    /// The name without tag and digest, with Docker Hub's host always there.
    #[must_use]
    pub(super) fn full(&self) -> String {
        with_host(self.name)
    }
}

/// A registry and prefix in the same form as [`ImageName::full`], without the scheme and the
/// slashes at its end.
pub(super) fn full_prefix(prefix: &str) -> String {
    let prefix = prefix
        .strip_prefix("https://")
        .or_else(|| prefix.strip_prefix("http://"))
        .unwrap_or(prefix);
    let prefix = prefix.trim_end_matches('/');
    if !prefix.contains('/') && is_host_like(prefix) {
        return prefix.to_owned();
    }
    with_host(prefix)
}

fn with_host(name: &str) -> String {
    match name.split_once('/') {
        Some((host, rest)) if is_docker_hub(host) => format!("{DOCKER_HUB}/{rest}"),
        Some((host, _)) if is_host_like(host) => name.to_owned(),
        _ => format!("{DOCKER_HUB}/{name}"),
    }
}

fn is_docker_hub(host: &str) -> bool {
    matches!(
        host,
        DOCKER_HUB | "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com"
    )
}

fn is_host_like(component: &str) -> bool {
    component.contains(['.', ':'])
        || component == "localhost"
        || component.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !host.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let port_is_number =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    let name_is_host = match name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
    {
        Some(address) => address
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b':'),
        None => !name.is_empty() && name.bytes().all(allowed),
    };
    port_is_number && name_is_host
}

fn is_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        algorithm.starts_with(|c: char| c.is_ascii_alphabetic())
            && algorithm
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+._-".contains(&b))
            && hex.len() >= 32
            && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_names() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, host, path, tag, pinned) in [
            ("alpine", None, "alpine", None, false),
            ("alpine:3.20", None, "alpine", Some("3.20"), false),
            ("acme/api", None, "acme/api", None, false),
            ("localhost/api", Some("localhost"), "api", None, false),
            (
                "localhost:5000/a/b:t",
                Some("localhost:5000"),
                "a/b",
                Some("t"),
                false,
            ),
            ("r.io/a:t@DIGEST", Some("r.io"), "a", Some("t"), true),
            ("a@DIGEST", None, "a", None, true),
            ("[::1]:5000/a", Some("[::1]:5000"), "a", None, false),
        ] {
            let text = text.replace("DIGEST", &digest);
            let name = ImageName::parse(&text).unwrap();
            assert_eq!(
                (name.host(), name.path(), name.tag),
                (host, path, tag),
                "{text}"
            );
            assert_eq!(name.digest, pinned.then_some(digest.as_str()), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_name() {
        for text in [
            "",
            ":",
            "a:",
            "a:-b",
            "Alpine",
            "a//b",
            "/a",
            "a/",
            "a b",
            "a@",
            "a@sha256:12",
            "r.io:x/a",
            "$x",
            "a:b:c",
            "-a",
            "a@b@c",
            "r_.io/a",
            "é",
        ] {
            assert!(ImageName::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn knows_docker_hub() {
        for hub in ["a", "a/b", "docker.io/a", "index.docker.io/a/b"] {
            assert!(ImageName::parse(hub).unwrap().is_docker_hub(), "{hub}");
        }
        for other in ["ghcr.io/a", "localhost/a", "docker.io.example/a"] {
            assert!(!ImageName::parse(other).unwrap().is_docker_hub(), "{other}");
        }
        assert_eq!(
            full_prefix("http://127.0.0.1:5000/acme/"),
            "127.0.0.1:5000/acme"
        );
        assert_eq!(full_prefix("acme"), "docker.io/acme");
        assert_eq!(full_prefix("index.docker.io/acme"), "docker.io/acme");
        assert_eq!(full_prefix("ghcr.io"), "ghcr.io");
    }
}
