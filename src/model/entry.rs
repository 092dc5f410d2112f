//! An entry of a git tree.

use super::ObjectId;

/// What kind of thing a tree entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// A directory, `040000`.
    Tree,
    /// A plain file, `100644` (and git's old `100664`, which counts as `100644`).
    File,
    /// An executable file, `100755`.
    Executable,
    /// A symbolic link, `120000`; its blob is the target.
    Link,
    /// A submodule, `160000`; its id is a commit of another repository.
    Submodule,
}

impl Mode {
    /// Git's octal notation, six digits.
    #[must_use]
    pub const fn octal(self) -> &'static str {
        match self {
            Self::Tree => "040000",
            Self::File => "100644",
            Self::Executable => "100755",
            Self::Link => "120000",
            Self::Submodule => "160000",
        }
    }

    /// Whether this is a file with content of its own (plain or executable).
    #[must_use]
    pub const fn is_file(self) -> bool {
        matches!(self, Self::File | Self::Executable)
    }
}

/// Mode and object id of a tree entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// What kind of thing it is.
    pub mode: Mode,
    /// Blob, tree, or (for a submodule) commit.
    pub id: ObjectId,
}
