//! Platforms that an image is built for.

use std::fmt;
use std::str::FromStr;

use super::ParseError;

/// `os/architecture` or `os/architecture/variant`, e.g. `linux/amd64`, `linux/arm/v7`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    /// Go's name of the operating system, e.g. `linux`.
    pub os: String,
    /// Go's name of the architecture, e.g. `amd64`.
    pub architecture: String,
    /// e.g. `v7`.
    pub variant: Option<String>,
}

impl Default for Platform {
    /// `linux/amd64`, on every machine: a key must not depend on where it is computed.
    fn default() -> Self {
        Self {
            os: "linux".into(),
            architecture: "amd64".into(),
            variant: None,
        }
    }
}

impl FromStr for Platform {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError {
            text: text.to_owned(),
            expected: "a platform of the form os/architecture[/variant], such as linux/amd64",
        };
        let plain = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(plain) {
            return Err(error());
        }
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant.to_owned())),
            _ => return Err(error()),
        };
        Ok(Self {
            os: os.into(),
            architecture: architecture.into(),
            variant,
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if let Some(variant) = &self.variant {
            write!(f, "/{variant}")?;
        }
        Ok(())
    }
}

impl serde::Serialize for Platform {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
