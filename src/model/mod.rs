//! The words of the program as types without I/O: names, digests, keys, commits, paths in bytes.

mod commit;
mod digest;
mod duration;
mod entry;
mod key;
mod name;
mod path;
mod platform;
mod reason;
mod registry;
mod task;
mod tree;

pub use commit::{CommitId, ObjectId};
pub use digest::Digest;
pub use duration::parse_duration;
pub use entry::{Entry, Mode};
pub use key::Key;
pub use name::{NameError, ProjectName, is_repository, is_tag};
pub use path::RepoPath;
pub use platform::Platform;
pub use reason::{ChangedFile, MAX_FILES, Reason};
pub use registry::{RegistryApi, RegistryKind};
pub use task::{TaskId, TaskName, TaskNameError};
pub use tree::{Change, Resolved, Tree, directory_of};

/// A value's text was not of the form that its type asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {expected}")]
pub struct ParseError {
    /// The text as given.
    pub text: String,
    /// What would have been valid, e.g. `a commit id of 40 hexadecimal digits`.
    pub expected: &'static str,
}
