//! Project names.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A project's name: a valid repository name, since its images are pushed under it.
///
/// One or more `/`-separated components of lower-case letters and digits, with single `.`, one or
/// two `_`, or any number of `-` between them (OCI distribution spec, section "Pulling manifests");
/// at most 128 characters; names that begin with `waybill-` are reserved for the ledgers. Cheap to
/// clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProjectName(Arc<str>);

/// Why a text is no project name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, too long, or characters that a repository name may not hold.
    #[error("'{0}' is no valid repository name (lower-case letters, digits, and . _ - / between)")]
    Invalid(String),
    /// Begins with `waybill-`.
    #[error("'{0}' is reserved: names that begin with 'waybill-' are waybill's own")]
    Reserved(String),
}

/// The most characters that a project's name may have.
const MAX_LENGTH: usize = 128;

impl ProjectName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_LENGTH || !is_repository(text) {
            return Err(NameError::Invalid(text.to_owned()));
        }
        if text.starts_with("waybill-") {
            return Err(NameError::Reserved(text.to_owned()));
        }
        Ok(Self(text.into()))
    }
}

/// Whether `text` is a repository's name as the OCI distribution spec has it (section "Pulling
/// manifests"); registries take at most 255 characters.
#[must_use]
pub fn is_repository(text: &str) -> bool {
    text.len() <= 255 && text.split('/').all(is_component)
}

/// Whether `text` is a tag as the OCI distribution spec has it (section "Pulling manifests").
#[must_use]
pub fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || b".-".contains(&byte))
}

/// Whether `text` is one component of a repository's name, without slashes.
fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends_well =
        bytes.first().is_some_and(alphanumeric) && bytes.last().is_some_and(alphanumeric);
    ends_well
        && bytes.split(alphanumeric).all(|between| {
            matches!(between, b"" | b"." | b"_" | b"__") || between.iter().all(|byte| *byte == b'-')
        })
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Borrow<str> for ProjectName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ProjectName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl serde::Serialize for ProjectName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for ProjectName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_registries_take() {
        for good in ["api", "a/b/c", "a.b_c__d---e", "0x"] {
            assert!(good.parse::<ProjectName>().is_ok(), "{good}");
        }
        for bad in [
            "", "Api", "a..b", "a___b", "-a", "a-", "a//b", "/a", "a b", "a:b", "é",
        ] {
            assert!(
                matches!(bad.parse::<ProjectName>(), Err(NameError::Invalid(_))),
                "{bad}"
            );
        }
        assert!(matches!(
            "waybill-ledger".parse::<ProjectName>(),
            Err(NameError::Reserved(_))
        ));
    }

    #[test]
    fn knows_names_and_tags() {
        assert!(is_repository("a/b__c/d-e") && is_repository("waybill-ledger"));
        assert!(!is_repository("A") && !is_repository("a:b") && !is_repository("a@b"));
        assert!(!is_repository("../a") && !is_repository("a/") && !is_repository(""));
        assert!(is_tag("v1-built-0") && is_tag("_") && is_tag(&"x".repeat(128)));
        assert!(!is_tag("a/b") && !is_tag("") && !is_tag(&"x".repeat(129)) && !is_tag("-a"));
    }
}
