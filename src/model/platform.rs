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

impl Platform {
    /// Whether an image that states this platform is one for `asked`; a variant counts where both
    /// state one.
    #[must_use]
    pub fn is_for(&self, asked: &Self) -> bool {
        let variants = self.variant.as_ref().zip(asked.variant.as_ref());
        self.is_like(asked) && variants.is_none_or(|(stated, asked)| stated == asked)
    }

    /// Whether an image that states this platform may go into one for `asked`: programs of the
    /// older 32-bit ARM variants run on the newer ones.
    #[must_use]
    pub fn serves(&self, asked: &Self) -> bool {
        let variants = self.variant.as_ref().zip(asked.variant.as_ref());
        let is_older = variants.is_some_and(|(stated, asked)| stated < asked);
        self.is_for(asked) || (self.is_like(asked) && self.architecture == "arm" && is_older)
    }

    fn is_like(&self, other: &Self) -> bool {
        self.os == other.os && self.architecture == other.architecture
    }

    /// Several platforms for people: `linux/amd64, linux/arm64`; `none` for none.
    #[must_use]
    pub fn list<'a>(platforms: impl IntoIterator<Item = &'a Self>) -> String {
        let names: Vec<String> = platforms.into_iter().map(Self::to_string).collect();
        if names.is_empty() {
            return "none".to_owned();
        }
        names.join(", ")
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_count_where_both_state_one() {
        let is = |stated: &str, asked: &str| -> (bool, bool) {
            let (stated, asked): (Platform, Platform) =
                (stated.parse().unwrap(), asked.parse().unwrap());
            (stated.is_for(&asked), stated.serves(&asked))
        };
        for (stated, asked, expected) in [
            ("linux/amd64", "linux/amd64", (true, true)),
            ("linux/arm64/v8", "linux/arm64", (true, true)),
            ("linux/arm64", "linux/arm64/v8", (true, true)),
            ("linux/arm/v6", "linux/arm/v7", (false, true)),
            ("linux/arm/v7", "linux/arm/v6", (false, false)),
            ("linux/amd64/v2", "linux/amd64/v3", (false, false)),
            ("linux/386", "linux/amd64", (false, false)),
            ("windows/amd64", "linux/amd64", (false, false)),
        ] {
            assert_eq!(is(stated, asked), expected, "{stated} for {asked}");
        }
    }
}
