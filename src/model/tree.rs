//! Read access to the tree of one commit, as a port: the real one is `git::Snapshot`, tests hold
//! one in memory.

use super::{Entry, RepoPath};

/// A path after its symbolic links were followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Where the links led; what was asked for, made plain, if nothing is there.
    pub path: RepoPath,
    /// What is there; `None` if nothing is.
    pub entry: Option<Entry>,
    /// Each link that was followed, in order, with its own entry.
    pub links: Vec<(RepoPath, Entry)>,
    /// The submodule that the path ends at or goes into: its path and entry.
    pub submodule: Option<(RepoPath, Entry)>,
}

/// The tree of one commit.
pub trait Tree {
    /// What can go wrong in reading it.
    type Error;

    /// The entry at a path; the root is a [`super::Mode::Tree`]. `None` if nothing is there, also
    /// where the path goes through a file, a link or a submodule.
    fn entry(&self, path: &RepoPath) -> Result<Option<Entry>, Self::Error>;

    /// Follows the symbolic links of every component. A link that leaves the repository, or a
    /// loop, is an error.
    fn resolve(&self, path: &RepoPath) -> Result<Resolved, Self::Error>;

    /// Every leaf (file, link, submodule) below a directory, with its path from the root, in the
    /// order of the paths' bytes. Nothing if there is no such directory.
    fn walk(
        &self,
        directory: &RepoPath,
        visit: &mut dyn FnMut(&[u8], Entry),
    ) -> Result<(), Self::Error>;

    /// [`Self::walk`] over the leaves whose path begins with these bytes, which need not end at a
    /// `/`. What is not below them may be left unread.
    fn walk_prefix(
        &self,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], Entry),
    ) -> Result<(), Self::Error> {
        self.walk(&directory_of(prefix), &mut |path, entry| {
            if path.starts_with(prefix) {
                visit(path, entry);
            }
        })
    }
}

/// The directory that every path with this prefix lies in.
#[must_use]
pub fn directory_of(prefix: &[u8]) -> RepoPath {
    let end = prefix.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    RepoPath::from_git(&prefix[..end])
}

/// A path that differs between two trees: never a directory, and a rename is a removal and an
/// addition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// From the repository's root.
    pub path: RepoPath,
    /// What was there.
    pub old: Option<Entry>,
    /// What is there.
    pub new: Option<Entry>,
}
