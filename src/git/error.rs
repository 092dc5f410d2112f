//! What can go wrong between waybill and a git repository.

use std::path::PathBuf;

use crate::model::{ObjectId, RepoPath};
use crate::problem::{Class, Diagnose, Problem};

/// Which part of the history and the files a clone holds; decides what helps when an object is
/// missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// Everything should be there.
    Full,
    /// Made with `--depth`: commits end at a boundary.
    Shallow,
    /// Made with `--filter`: objects are fetched when they are asked for.
    Partial,
}

/// A failure to read facts from a repository, or to run the `git` program in it.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// Neither the directory nor one above it is a git repository.
    #[error("'{}' is not in a git repository", directory.display())]
    NotARepository {
        /// Where the search began.
        directory: PathBuf,
    },
    /// The repository belongs to another user, and git was not told to trust it.
    #[error("the git repository at '{}' belongs to another user", directory.display())]
    Untrusted {
        /// Where the search began.
        directory: PathBuf,
    },
    /// The repository's objects are not named by SHA-1.
    #[error("the git repository at '{}' uses the object format '{format}'", directory.display())]
    ObjectFormat {
        /// Where the search began.
        directory: PathBuf,
        /// The value of `extensions.objectFormat`.
        format: String,
    },
    /// There is a repository, but it could not be opened.
    #[error("could not open the git repository at '{}': {detail}", directory.display())]
    Open {
        /// Where the search began.
        directory: PathBuf,
        /// Why.
        detail: String,
    },
    /// HEAD names a branch that has no commit yet.
    #[error("the repository has no commit yet, so '{revision}' names nothing")]
    UnbornHead {
        /// As it was given.
        revision: String,
    },
    /// No commit goes by this name.
    #[error("'{revision}' is not a known revision: {detail}")]
    UnknownRevision {
        /// As it was given.
        revision: String,
        /// What was not found.
        detail: String,
    },
    /// A short id that several objects share.
    #[error("'{revision}' is ambiguous: {detail}")]
    AmbiguousRevision {
        /// As it was given.
        revision: String,
        /// The candidates.
        detail: String,
    },
    /// The name is that of something else.
    #[error("'{revision}' is a {kind}, not a commit")]
    NotACommit {
        /// As it was given.
        revision: String,
        /// `tree` or `blob`.
        kind: String,
    },
    /// An object that is needed is not in this clone.
    #[error("{what} {id} is not in this clone")]
    Missing {
        /// The object.
        id: ObjectId,
        /// What it is, e.g. `the commit` or `the target of the link a/b`.
        what: String,
        /// Decides the hint.
        clone: Completeness,
    },
    /// An object is there, but cannot be read or is not what it should be.
    #[error("{what} {id} cannot be read: {detail}")]
    Unreadable {
        /// The object.
        id: ObjectId,
        /// What it is.
        what: String,
        /// Why.
        detail: String,
    },
    /// References, or the list of shallow commits, could not be read.
    #[error("could not read {what}: {detail}")]
    Store {
        /// What was being read.
        what: &'static str,
        /// Why.
        detail: String,
    },
    /// A symbolic link points out of the repository.
    #[error("the link '{link}' points to '{target}', outside the repository")]
    LinkLeaves {
        /// The link.
        link: RepoPath,
        /// What it points to, as written.
        target: String,
    },
    /// Symbolic links that lead to one another.
    #[error("the links on the way to '{path}' never end; the last one followed was '{link}'")]
    LinkLoop {
        /// The path that was asked for.
        path: RepoPath,
        /// The link at which following stopped.
        link: RepoPath,
    },
    /// A submodule's own repository is needed and is not there.
    #[error("the repository of the submodule '{path}' is not there")]
    Submodule {
        /// The submodule's path.
        path: RepoPath,
    },
    /// A bare repository has no files to look at.
    #[error("the git repository at '{}' has no work tree", directory.display())]
    NoWorkTree {
        /// The repository.
        directory: PathBuf,
    },
    /// A file of the work tree could not be read.
    #[error("could not read '{path}' in the work tree: {source}")]
    File {
        /// The file.
        path: RepoPath,
        /// Why.
        source: std::io::Error,
    },
    /// The `git` program could not be started, or failed.
    #[error("`{command}` failed: {detail}")]
    Program {
        /// E.g. `git status`.
        command: String,
        /// Its own words, without credentials.
        detail: String,
    },
    /// Missing objects could not be fetched from the remote of a partial clone.
    #[error("could not fetch missing objects from '{remote}' ({count} asked for): {detail}")]
    Fetch {
        /// The remote's name.
        remote: String,
        /// How many were asked for.
        count: usize,
        /// The `git` program's words, without credentials.
        detail: String,
    },
    /// The place that a blob was copied to did not take it.
    #[error("could not write a copy of the blob {id}: {source}")]
    Write {
        /// The blob.
        id: ObjectId,
        /// Why.
        source: std::io::Error,
    },
}

impl GitError {
    /// The stable name for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotARepository { .. } => "not-a-repository",
            Self::Untrusted { .. } => "untrusted-repository",
            Self::ObjectFormat { .. } => "unsupported-object-format",
            Self::Open { .. } | Self::Store { .. } => "unreadable-repository",
            Self::UnbornHead { .. } => "no-commit-yet",
            Self::UnknownRevision { .. } => "unknown-revision",
            Self::AmbiguousRevision { .. } => "ambiguous-revision",
            Self::NotACommit { .. } => "not-a-commit",
            Self::Missing { .. } => "missing-object",
            Self::Unreadable { .. } => "unreadable-object",
            Self::LinkLeaves { .. } => "link-leaves-repository",
            Self::LinkLoop { .. } => "link-loop",
            Self::Submodule { .. } => "submodule-missing",
            Self::NoWorkTree { .. } => "no-work-tree",
            Self::File { .. } => "unreadable-file",
            Self::Program { .. } => "git-program",
            Self::Fetch { .. } => "fetch-failed",
            Self::Write { .. } => "write-failed",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotARepository { .. } => "run waybill inside the repository, or name it with -C",
            Self::Untrusted { directory } => {
                return Some(format!(
                    "if you trust it: git config --global --add safe.directory '{}'",
                    directory.display()
                ));
            }
            Self::ObjectFormat { .. } => "only repositories with SHA-1 object ids are supported",
            Self::UnbornHead { .. } => "commit something first",
            Self::UnknownRevision { .. } => {
                "give a branch, a tag or a commit id that this clone has, or run git fetch"
            }
            Self::AmbiguousRevision { .. } => "give more digits of the id",
            Self::Missing { clone, .. } => match clone {
                Completeness::Full => "run git fetch; if that does not help, git fsck",
                Completeness::Shallow => {
                    "this clone is shallow: run git fetch --unshallow, or git fetch --deepen=<n>"
                }
                Completeness::Partial => {
                    "this clone is partial: run the command where its remote can be reached, or \
                     git fetch --refetch"
                }
            },
            Self::Open { .. } | Self::Unreadable { .. } | Self::Store { .. } => "run git fsck",
            Self::LinkLeaves { .. } | Self::LinkLoop { .. } => "correct the link and commit it",
            Self::Submodule { path } => {
                return Some(format!("run git submodule update --init '{path}'"));
            }
            Self::NoWorkTree { .. } => "name a commit with --commit",
            Self::File { .. } => "check its permissions",
            Self::Program { .. } => "check that the git program is installed and works here",
            Self::Fetch { .. } => "check the network and the credentials of the remote",
            Self::NotACommit { .. } | Self::Write { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

impl Diagnose for GitError {
    fn class(&self) -> Class {
        match self {
            Self::Fetch { .. } => Class::Unreachable,
            Self::Write { .. } => Class::Failed,
            _ => Class::Usage,
        }
    }

    fn problems(&self) -> Vec<Problem> {
        let problem = Problem::error(self.code(), self.to_string());
        vec![match self.hint() {
            Some(hint) => problem.hint(hint),
            None => problem,
        }]
    }
}
