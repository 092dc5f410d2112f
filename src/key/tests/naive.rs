//! What patterns match, told the long way: every leaf of the tree against every pattern. Nothing
//! here is shared with the code under test.

use std::collections::BTreeSet;

use regex::bytes::{Regex, RegexBuilder};

use super::world::{Leaf, MemoryTree};
use crate::model::{Entry, Mode, RepoPath, Tree as _};

/// A pattern with what is known of it by the way it was made.
#[derive(Clone, Debug)]
pub(super) struct MadePattern {
    pub(super) text: String,
    /// What every match begins with, if that is the start of the path.
    pub(super) prefix: Option<String>,
    /// The directory, if the pattern is nothing but that.
    pub(super) directory: Option<String>,
    regex: Regex,
}

impl MadePattern {
    pub(super) fn new(text: &str, prefix: Option<&str>, directory: Option<&str>) -> Self {
        let regex = RegexBuilder::new(text)
            .unicode(false)
            .dot_matches_new_line(true)
            .build();
        Self {
            text: text.to_owned(),
            prefix: prefix.map(str::to_owned),
            directory: directory.map(str::to_owned),
            regex: regex.unwrap(),
        }
    }

    pub(super) fn is_match(&self, path: &[u8]) -> bool {
        self.regex.is_match(path)
    }

    /// Whether a leaf counts, if the pattern is not covered by its directory.
    pub(super) fn counts(&self, ignore: &[MadePattern], path: &[u8], leaf: &Leaf) -> bool {
        if !matches!(leaf, Leaf::Submodule(_)) {
            return self.is_match(path) && !ignore.iter().any(|ignore| ignore.is_match(path));
        }
        let inside = [path, b"/"].concat();
        match &self.prefix {
            None => true,
            Some(prefix) => {
                let shorter = inside.len().min(prefix.len());
                inside[..shorter] == prefix.as_bytes()[..shorter]
            }
        }
    }
}

pub(super) type Found = BTreeSet<(Vec<u8>, &'static str, String)>;

/// What `patterns` match in a tree, `ignore` taken away, as paths, modes and ids.
pub(super) fn sources(
    tree: &MemoryTree,
    patterns: &[MadePattern],
    ignore: &[MadePattern],
) -> Found {
    let mut found = Found::new();
    let mut add = |path: &[u8], entry: Entry| {
        found.insert((path.to_vec(), entry.mode.octal(), entry.id.to_string()));
    };
    for pattern in patterns {
        if let (Some(directory), []) = (&pattern.directory, ignore) {
            let path = RepoPath::from(directory.as_str());
            if let Some(entry) = tree.entry(&path).unwrap()
                && entry.mode == Mode::Tree
            {
                add(path.as_bytes(), entry);
                continue;
            }
        }
        for (path, leaf) in tree.leaves() {
            if pattern.counts(ignore, path, leaf) {
                add(path, leaf.entry());
            }
        }
    }
    found
}
