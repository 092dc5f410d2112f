//! What a project's patterns match in a tree.

use std::collections::BTreeSet;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::Source;
use crate::manifest::Pattern;
use crate::model::{Entry, Mode, RepoPath, Tree, directory_of};

/// A tree, with what many projects ask of it kept: its whole list of files, once a pattern that may
/// match anywhere asked for it, and what counts for every project.
pub struct Matcher<'t, T> {
    tree: &'t T,
    rebuild_all: &'t [Pattern],
    for_all: OnceLock<BTreeSet<Source>>,
    everything: OnceLock<Listing>,
    walking: Mutex<()>,
}

/// The leaves of a whole tree: the paths in one buffer, in order, so that a prefix is a range.
#[derive(Default)]
struct Listing {
    paths: Vec<u8>,
    leaves: Vec<(usize, Entry)>,
}

impl<'t, T: Tree> Matcher<'t, T> {
    /// A matcher over one tree, with the patterns that count for every project.
    pub const fn new(tree: &'t T, rebuild_all: &'t [Pattern]) -> Self {
        Self {
            tree,
            rebuild_all,
            for_all: OnceLock::new(),
            everything: OnceLock::new(),
            walking: Mutex::new(()),
        }
    }

    /// The tree.
    pub const fn tree(&self) -> &'t T {
        self.tree
    }

    /// What the patterns match that count for every project. It is kept; several that ask for it
    /// first at the same time each look.
    pub fn for_all(&self) -> Result<&BTreeSet<Source>, T::Error> {
        if let Some(sources) = self.for_all.get() {
            return Ok(sources);
        }
        let mut sources = BTreeSet::new();
        self.collect(self.rebuild_all, &[], &mut sources)?;
        Ok(self.for_all.get_or_init(|| sources))
    }

    /// Adds what `patterns` match and no `ignore` pattern takes away.
    ///
    /// A pattern that is a plain directory, with no ignore pattern in force, is that directory's
    /// tree, read no further. A submodule counts for a pattern unless the pattern's literal prefix
    /// rules out a match inside it, and no ignore pattern removes it (design, section 3).
    pub fn collect(
        &self,
        patterns: &[Pattern],
        ignore: &[Pattern],
        sources: &mut BTreeSet<Source>,
    ) -> Result<(), T::Error> {
        for pattern in patterns {
            match pattern.as_directory() {
                Some(directory) if ignore.is_empty() => {
                    self.collect_directory(directory, sources)?;
                }
                _ => self.collect_matches(pattern, ignore, sources)?,
            }
        }
        Ok(())
    }

    fn collect_directory(
        &self,
        directory: &RepoPath,
        sources: &mut BTreeSet<Source>,
    ) -> Result<(), T::Error> {
        match self.tree.entry(directory)? {
            // A plain directory also matches itself as a submodule: what is inside counts by it.
            Some(entry) if matches!(entry.mode, Mode::Tree | Mode::Submodule) => {
                sources.insert(Source::new(directory.clone(), entry));
            }
            Some(_) => {}
            None => self.collect_submodule_above(directory, sources)?,
        }
        Ok(())
    }

    /// A directory inside a submodule is not in the tree: the submodule stands for it.
    fn collect_submodule_above(
        &self,
        directory: &RepoPath,
        sources: &mut BTreeSet<Source>,
    ) -> Result<(), T::Error> {
        let mut above = directory.parent();
        while let Some(path) = above {
            if let Some(entry) = self.tree.entry(&path)? {
                if entry.mode == Mode::Submodule {
                    sources.insert(Source::new(path, entry));
                }
                return Ok(());
            }
            above = path.parent();
        }
        Ok(())
    }

    fn collect_matches(
        &self,
        pattern: &Pattern,
        ignore: &[Pattern],
        sources: &mut BTreeSet<Source>,
    ) -> Result<(), T::Error> {
        let mut visit = |path: &[u8], entry: Entry| {
            let counts = if entry.mode == Mode::Submodule {
                pattern.may_match_below(&RepoPath::from_git(path)) || pattern.is_match(path)
            } else {
                pattern.is_match(path) && !ignore.iter().any(|ignore| ignore.is_match(path))
            };
            if counts {
                sources.insert(Source::new(RepoPath::from_git(path), entry));
            }
        };
        let Some(prefix) = pattern
            .anchored_prefix()
            .filter(|prefix| !prefix.is_empty())
        else {
            self.everything()?.each(&mut visit);
            return Ok(());
        };
        let directory = directory_of(prefix);
        match self.tree.entry(&directory)? {
            Some(entry) if entry.mode == Mode::Submodule => {
                visit(directory.as_bytes(), entry);
                Ok(())
            }
            Some(_) => self.tree.walk_prefix(prefix, &mut visit),
            None => self.collect_submodule_above(&directory, sources),
        }
    }

    fn everything(&self) -> Result<&Listing, T::Error> {
        if let Some(listing) = self.everything.get() {
            return Ok(listing);
        }
        // One thread walks, the others wait for it.
        let _walking = self.walking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listing) = self.everything.get() {
            return Ok(listing);
        }
        let mut listing = Listing::default();
        self.tree.walk(&RepoPath::root(), &mut |path, entry| {
            listing.push(path, entry);
        })?;
        Ok(self.everything.get_or_init(|| listing))
    }
}

impl Listing {
    fn push(&mut self, path: &[u8], entry: Entry) {
        self.paths.extend_from_slice(path);
        self.leaves.push((self.paths.len(), entry));
    }

    fn each(&self, visit: &mut dyn FnMut(&[u8], Entry)) {
        let mut start = 0;
        for (end, entry) in &self.leaves {
            visit(&self.paths[start..*end], *entry);
            start = *end;
        }
    }
}
