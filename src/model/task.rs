//! Names of tasks.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::ProjectName;

/// A task's name: 1 to 32 lower-case letters, digits, `.`, `_` and `-`, the first a letter or a
/// digit (design, section 4). Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskName(Arc<str>);

/// A text that is no task's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no name of a task (up to 32 lower-case letters, digits, and . _ - after the first)"
)]
pub struct TaskNameError(String);

/// The most characters that a task's name may have.
const MAX_LENGTH: usize = 32;

impl TaskName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TaskName {
    type Err = TaskNameError;

    fn from_str(text: &str) -> Result<Self, TaskNameError> {
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let valid = (1..=MAX_LENGTH).contains(&text.len())
            && text.bytes().next().is_some_and(word)
            && text
                .bytes()
                .all(|byte| word(byte) || b"._-".contains(&byte));
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(TaskNameError(text.to_owned()))
        }
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Borrow<str> for TaskName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl serde::Serialize for TaskName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for TaskName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A task of a project; shown as `api:unit`.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct TaskId {
    /// The project.
    pub project: ProjectName,
    /// The task.
    pub task: TaskName,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.project, self.task))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_fits_a_tag_and_a_file_name() {
        for good in ["unit", "e2e", "0", "a.b_c-d", &"x".repeat(32)] {
            assert!(good.parse::<TaskName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "Unit",
            "-a",
            ".a",
            "a b",
            "a/b",
            "a:b",
            "é",
            &"x".repeat(33),
        ] {
            assert!(bad.parse::<TaskName>().is_err(), "{bad}");
        }
    }
}
