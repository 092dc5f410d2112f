//! Why an image could not be tried to be built.

use crate::model::{CommitId, RepoPath};
use crate::problem::{Class, Diagnose, Problem};

/// Why a context could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The objects of a submodule are not in this clone.
    #[error("the submodule {path} at {} is not in this clone", commit.short())]
    Submodule {
        /// Where it stands.
        path: RepoPath,
        /// The commit that the tree names.
        commit: CommitId,
    },
    /// A submodule inside a submodule.
    #[error("the submodule {path} at {} lies inside another submodule", commit.short())]
    NestedSubmodule {
        /// Where it stands.
        path: RepoPath,
        /// The commit that the outer submodule names.
        commit: CommitId,
    },
    /// The object of an LFS pointer is not in this clone.
    #[error("{path} is an LFS pointer, and its object {oid} is not in this clone")]
    LfsObject {
        /// The file, relative to the context.
        path: RepoPath,
        /// The object's SHA-256, in hexadecimal.
        oid: String,
    },
    /// A symbolic link leads to what the key does not cover.
    #[error("the link {path} leads to {target}, which no pattern of the project covers")]
    LinkOutside {
        /// The link.
        path: RepoPath,
        /// Where it leads.
        target: RepoPath,
    },
}

impl ContextError {
    /// As a problem to print.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let problem = |code| Problem::error(code, self.to_string());
        match self {
            Self::Submodule { path, .. } => problem("missing-submodule")
                .hint(format!("run `git submodule update --init -- {path}`")),
            Self::NestedSubmodule { .. } => problem("nested-submodule")
                .hint("waybill reads one level of submodules: leave the inner one out with the ignore file"),
            Self::LfsObject { .. } => {
                problem("missing-lfs-object").hint("run `git lfs fetch` for this commit")
            }
            Self::LinkOutside { path, .. } => problem("link-outside-key").hint(format!(
                "add a pattern for where {path} leads, leave the link out with the ignore file, or \
                 set `hermetic` to false"
            )),
        }
    }
}

impl Diagnose for ContextError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn problems(&self) -> Vec<Problem> {
        vec![self.problem()]
    }
}
