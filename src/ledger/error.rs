//! Why the ledger could not be read or written.

use super::RecordError;
use crate::model::ProjectName;
use crate::problem::{Class, Diagnose, Problem};
use crate::registry::RegistryError;

/// Why the ledger could not be read or written. None of these ever means that something is absent.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The registry could not be asked, or refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The base has no marker: it was never set up, or is not the one that was meant.
    #[error("{base} holds no waybill ledger: the marker {repository}:{tag} is missing")]
    MarkerMissing {
        /// The base.
        base: String,
        /// The repository that lacks it.
        repository: &'static str,
        /// The marker's tag.
        tag: &'static str,
    },
    /// Something else stands where a marker should be, or a record of a newer version.
    #[error("{name} cannot be read: {source}")]
    Unreadable {
        /// The full name of what was read.
        name: String,
        /// What is wrong with it.
        source: RecordError,
    },
    /// What stands where a record should be is none; asked for by somebody who cannot go on
    /// without it.
    #[error("the record {name} cannot be read: {why}")]
    RecordUnreadable {
        /// The full name of what was read.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A list of tags is not that of the repository that it was asked of, or not the whole.
    #[error("the list of tags of {name} lacks the marker {tag}, which stands there")]
    ListIncomplete {
        /// The full name of the repository.
        name: String,
        /// The marker's tag.
        tag: &'static str,
    },
    /// The base was made without an upstream and is now used with one.
    #[error("{base} was made to be used alone, and cannot be written with an upstream")]
    UpstreamForbidden {
        /// The base.
        base: String,
    },
    /// A record that was just written is not there.
    #[error("the record {name} was written and is not there")]
    WriteLost {
        /// The full name of the record.
        name: String,
    },
    /// A record's layer is missing or too large.
    #[error("a layer of the record {name} is missing from the registry")]
    LayerMissing {
        /// The full name of the record.
        name: String,
    },
    /// What went wrong concerns the record of one project.
    #[error("{project}: {error}")]
    Of {
        /// Whose record it is.
        project: ProjectName,
        /// What went wrong with it.
        error: Box<LedgerError>,
    },
    /// A record could not be put into JSON.
    #[error("a record could not be written as JSON: {0}")]
    Encoding(#[from] serde_json::Error),
}

impl LedgerError {
    /// The same, said of the project whose record it concerns, if it is one project's. What the
    /// registry refuses concerns them all.
    pub(super) fn of(self, project: Option<&ProjectName>) -> Self {
        match (project, self) {
            (Some(project), error) if !matches!(error, Self::Registry(_) | Self::Of { .. }) => {
                Self::Of {
                    project: project.clone(),
                    error: Box::new(error),
                }
            }
            (_, error) => error,
        }
    }
}

impl Diagnose for LedgerError {
    fn class(&self) -> Class {
        match self {
            Self::UpstreamForbidden { .. } => Class::Usage,
            Self::Registry(error) => error.class(),
            Self::Of { error, .. } => error.class(),
            _ => Class::Unreachable,
        }
    }

    fn problems(&self) -> Vec<Problem> {
        let problem = |code| Problem::error(code, self.to_string());
        vec![match self {
            Self::Registry(error) => return error.problems(),
            Self::Of { project, error } => {
                let problems = error.problems().into_iter();
                return problems.map(|problem| problem.project(project)).collect();
            }
            Self::MarkerMissing { .. } => problem("marker-missing").hint(
                "run `waybill registry init` once for a new base, or check the name given with \
                 --registry or --upstream (`--upstream none` goes without one)",
            ),
            Self::Unreadable {
                source: RecordError::Newer(_),
                ..
            } => problem("record-newer")
                .hint("use the version of waybill that wrote it, or a newer one"),
            Self::Unreadable { .. } => problem("marker-unreadable").hint(
                "something else writes to this repository; give the base a prefix of its own",
            ),
            Self::RecordUnreadable { .. } => problem("record-unreadable")
                .hint("a plan takes it for none: `waybill build` builds the project again"),
            Self::ListIncomplete { .. } => problem("list-incomplete").hint(
                "nothing can be concluded from it: try again; if it stays so, check what stands \
                 between here and the registry (a cache, a mirror)",
            ),
            Self::UpstreamForbidden { .. } => problem("base-upstream-mismatch").hint(
                "a base that feeds deployments reads nothing else: drop --upstream, or write to a \
                 base of your own with --registry",
            ),
            Self::WriteLost { .. } => problem("record-lost")
                .hint("run again; if it happens twice, the registry drops or expires tags"),
            Self::LayerMissing { .. } => problem("record-layer-missing")
                .hint("the registry's retention may have removed it; build the project again"),
            Self::Encoding(_) => problem("record-encoding"),
        }]
    }
}
