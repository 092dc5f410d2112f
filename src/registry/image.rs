//! Image references as people and Dockerfiles write them.

use std::fmt;
use std::str::FromStr;

use oci_client::Reference;

use super::{Base, RegistryError};
use crate::model::Digest;

/// A parsed image reference, e.g. `debian:12` or `host:5000/a/b@sha256:…`, with the defaults that
/// Docker has: registry `docker.io`, its `library/` for bare names, tag `latest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageReference {
    reference: Reference,
    digest: Option<Digest>,
}

impl ImageReference {
    /// The registry that the image lies in, with an empty prefix: a [`super::Client`] for it takes
    /// [`Self::repository`] as it is. It is asked by the OCI protocol, whoever keeps it: what may
    /// be pulled there is pulled without a right to anything of Amazon ECR's API.
    pub fn registry(&self) -> Result<Base, RegistryError> {
        Base::of_host(self.reference.registry())
    }

    /// The repository within the registry, e.g. `library/debian`.
    #[must_use]
    pub fn repository(&self) -> &str {
        self.reference.repository()
    }

    /// The digest, where the reference has one; it wins over a tag.
    #[must_use]
    pub const fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The tag; `None` only where the reference has a digest alone.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.reference.tag()
    }

    /// The same image by digest: `registry/repository@sha256:…`.
    #[must_use]
    pub fn by_digest(&self, digest: &Digest) -> String {
        format!(
            "{}/{}@{digest}",
            self.reference.registry(),
            self.repository()
        )
    }
}

impl FromStr for ImageReference {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, RegistryError> {
        let invalid = |why: String| RegistryError::InvalidImage {
            text: text.to_owned(),
            why,
        };
        let reference = Reference::try_from(text).map_err(|cause| invalid(cause.to_string()))?;
        let digest = match reference.digest() {
            Some(digest) => Some(digest.parse().map_err(|_| {
                invalid("its digest is not of the form sha256:<64 hexadecimal digits>".to_owned())
            })?),
            None => None,
        };
        Ok(Self { reference, digest })
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.reference, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_in_what_docker_fills_in() {
        let image: ImageReference = "debian".parse().unwrap();
        assert_eq!(image.registry().unwrap().host(), "docker.io");
        assert_eq!(
            (image.repository(), image.tag()),
            ("library/debian", Some("latest"))
        );
        let digest = Digest::of(b"");
        let image: ImageReference = format!("h:5000/a/b:t@{digest}").parse().unwrap();
        assert_eq!(image.registry().unwrap().host(), "h:5000");
        assert_eq!(image.digest(), Some(&digest));
        assert_eq!(image.by_digest(&digest), format!("h:5000/a/b@{digest}"));
    }

    #[test]
    fn a_registry_of_ecrs_is_asked_as_any_other() {
        let host = "123456789012.dkr.ecr.eu-west-2.amazonaws.com";
        let image: ImageReference = format!("{host}/tools/go:1").parse().unwrap();
        let registry = image.registry().unwrap();
        assert!(registry.ecr().is_none() && registry.host() == host);
        // With a credential of AWS's, where Docker's configuration has none.
        assert!(!registry.is_protocol_alone());
        let alone: Base = format!("oci://{host}").parse().unwrap();
        assert!(alone.ecr().is_none() && alone.is_protocol_alone());
    }

    #[test]
    fn refuses_other_digests_and_nonsense() {
        for text in [
            "",
            "A",
            "a@sha256:00",
            "a b",
            &format!("a@sha512:{}", "0".repeat(128)),
        ] {
            assert!(text.parse::<ImageReference>().is_err(), "{text}");
        }
    }
}
