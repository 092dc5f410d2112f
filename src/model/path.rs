//! Paths in the repository, as bytes.

use std::fmt;

/// A path from the repository's root: bytes as git holds them, `/` between components, no leading
/// or trailing `/`, no empty, `.` or `..` component. The root itself is the empty path.
///
/// Displayed percent-encoded where it is not UTF-8 or holds control characters, so that one path
/// is always one line of text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RepoPath(Vec<u8>);

impl RepoPath {
    /// The repository's root.
    #[must_use]
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// A path as git gives it, known to be normal.
    #[must_use]
    pub fn from_git(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Resolves `text`, lexically, against this directory: `.` and empty components vanish, `..`
    /// goes up. `None` if it leaves the repository or is absolute.
    #[must_use]
    pub fn join(&self, text: &[u8]) -> Option<Self> {
        if text.first() == Some(&b'/') {
            return None;
        }
        let mut components: Vec<&[u8]> = self.components().collect();
        for component in text.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => {
                    components.pop()?;
                }
                name => components.push(name),
            }
        }
        Some(Self(components.join(&b'/')))
    }

    /// The raw bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the repository's root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components, outermost first; none for the root.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0
            .split(|byte| *byte == b'/')
            .filter(|component| !component.is_empty())
    }

    /// The directory that this lies in; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        Some(Self(self.0[..end].to_vec()))
    }

    /// The last component; empty for the root.
    #[must_use]
    pub fn file_name(&self) -> &[u8] {
        self.0
            .rsplit(|byte| *byte == b'/')
            .next()
            .unwrap_or_default()
    }

    /// Whether this is `directory` itself or lies below it.
    #[must_use]
    pub fn starts_with(&self, directory: &Self) -> bool {
        self.relative_to(directory).is_some()
    }

    /// The rest of the path below `directory`; empty if it is that directory, `None` if outside.
    #[must_use]
    pub fn relative_to<'a>(&'a self, directory: &Self) -> Option<&'a [u8]> {
        if directory.is_root() {
            return Some(&self.0);
        }
        let rest = self.0.strip_prefix(directory.as_bytes())?;
        match rest.first() {
            None => Some(rest),
            Some(b'/') => Some(&rest[1..]),
            Some(_) => None,
        }
    }

    /// The directory as the prefix of what is below it: `a/b/`, and nothing for the root.
    #[must_use]
    pub fn as_prefix(&self) -> Vec<u8> {
        let mut prefix = self.0.clone();
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        prefix
    }
}

impl From<&str> for RepoPath {
    /// Resolves `text` against the root; what would leave the repository is cut off there.
    fn from(text: &str) -> Self {
        Self::root()
            .join(text.trim_start_matches('/').as_bytes())
            .unwrap_or_default()
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() || (character == '%' && self.needs_encoding()) {
                    let mut buffer = [0; 4];
                    for byte in character.encode_utf8(&mut buffer).bytes() {
                        write!(f, "%{byte:02X}")?;
                    }
                } else {
                    write!(f, "{character}")?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

impl RepoPath {
    fn needs_encoding(&self) -> bool {
        std::str::from_utf8(&self.0).map_or(true, |text| text.chars().any(char::is_control))
    }
}

impl fmt::Debug for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for RepoPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_lexically_and_never_leaves() {
        let dir = RepoPath::from("a/b");
        assert_eq!(dir.join(b"../c/./d//e").unwrap(), RepoPath::from("a/c/d/e"));
        assert_eq!(dir.join(b"../..").unwrap(), RepoPath::root());
        assert_eq!(dir.join(b"../../.."), None);
        assert_eq!(dir.join(b"/etc"), None);
    }

    #[test]
    fn relative_to_respects_components() {
        let path = RepoPath::from("ab/c");
        assert_eq!(path.relative_to(&RepoPath::from("a")), None);
        assert_eq!(path.relative_to(&RepoPath::from("ab")), Some(&b"c"[..]));
        assert_eq!(path.relative_to(&RepoPath::root()), Some(&b"ab/c"[..]));
    }

    #[test]
    fn displays_one_line_of_text() {
        assert_eq!(RepoPath::from_git(*b"a\nb\xff%").to_string(), "a%0Ab%FF%25");
        assert_eq!(RepoPath::from_git(*b"50%").to_string(), "50%");
    }
}
