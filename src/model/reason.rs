//! Why a project is built, or is not: data, printed by `plan` and `why` and carried in records.

use serde::{Deserialize, Serialize};

use super::{CommitId, Digest, ProjectName};

/// Why a plan does with a project what it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum Reason {
    /// Reuse: a record stands for the key, and the images it used are still the current ones.
    Recorded {
        /// The commit that the record was written for.
        commit: CommitId,
    },
    /// Reuse: an image known only by its `cache-<commit>` tag has the same inputs.
    UnchangedSince {
        /// The commit of the tag.
        commit: CommitId,
    },
    /// Build: the nearest ancestor that was built had other inputs.
    InputsChanged {
        /// The nearest ancestor that was built.
        ancestor: CommitId,
        /// What changed since, at most [`MAX_FILES`].
        files: Vec<ChangedFile>,
        /// How many files changed in all.
        files_total: usize,
        /// The fields of the key, other than the sources, that differ.
        fields: Vec<String>,
        /// Where neither files nor fields differ: why the image of then does not do.
        #[serde(default)]
        refused: Option<String>,
    },
    /// Build: no commit that was searched has been built.
    NeverBuilt {
        /// How many commits were searched.
        searched: usize,
        /// Whether the search ended at its limit rather than at the root.
        limit_reached: bool,
    },
    /// Build: no ancestor could be compared with.
    HistoryUnavailable {
        /// What was missing.
        missing: String,
    },
    /// Build: somebody distrusts the image.
    Tainted {
        /// Who.
        by: String,
        /// Why.
        why: String,
        /// At which commit it was said.
        commit: CommitId,
    },
    /// Build: asked for by `--force` or by the commit's message.
    Forced {
        /// Who asked.
        by: String,
        /// How it was asked for.
        why: String,
        /// At which commit it was said.
        commit: CommitId,
    },
    /// Build: a record stands, but its image is no longer in the registry.
    ImageGone {
        /// The image that is gone.
        image: String,
    },
    /// Build: what stands where the record should be cannot be read.
    RecordUnreadable {
        /// What is wrong with it.
        why: String,
    },
    /// Build: an immutable tag stands without a record.
    RecordLost {
        /// What stands there.
        why: String,
    },
    /// Build: an image that went into the recorded one has been replaced.
    DependencyReplaced {
        /// The project that was replaced.
        project: ProjectName,
        /// The digest that the record was built on.
        recorded: Digest,
        /// The digest that is current; `None` where it is being built.
        current: Option<Digest>,
    },
    /// Nothing to build: the commit has no Dockerfile for it.
    NoDockerfile,
    /// Nothing to build: no file matches the project's patterns.
    NoSources,
}

/// The most changed files that a reason lists.
pub const MAX_FILES: usize = 100;

/// A file that changed, and how it reached the project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedFile {
    /// From the repository's root; percent-encoded if it is not UTF-8.
    pub path: String,
    /// The pattern that it matched.
    pub pattern: String,
    /// From the project to the dependency whose pattern that is, the shortest way.
    pub via: Vec<ProjectName>,
}

impl Reason {
    /// The name of the kind, as JSON has it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Recorded { .. } => "recorded",
            Self::UnchangedSince { .. } => "unchanged-since",
            Self::InputsChanged { .. } => "inputs-changed",
            Self::NeverBuilt { .. } => "never-built",
            Self::HistoryUnavailable { .. } => "history-unavailable",
            Self::Tainted { .. } => "tainted",
            Self::Forced { .. } => "forced",
            Self::ImageGone { .. } => "image-gone",
            Self::RecordUnreadable { .. } => "record-unreadable",
            Self::RecordLost { .. } => "record-lost",
            Self::DependencyReplaced { .. } => "dependency-replaced",
            Self::NoDockerfile => "no-dockerfile",
            Self::NoSources => "no-sources",
        }
    }

    /// The changed files that it lists.
    #[must_use]
    pub fn files(&self) -> &[ChangedFile] {
        match self {
            Self::InputsChanged { files, .. } => files,
            _ => &[],
        }
    }

    /// The commit that it names: the ancestor compared with, the one that was built, or the one
    /// at which somebody spoke.
    #[must_use]
    pub const fn commit(&self) -> Option<CommitId> {
        match self {
            Self::Recorded { commit }
            | Self::UnchangedSince { commit }
            | Self::InputsChanged {
                ancestor: commit, ..
            }
            | Self::Tainted { commit, .. }
            | Self::Forced { commit, .. } => Some(*commit),
            _ => None,
        }
    }

    /// Whether it replaces a record that stands: then no layer cache may be used.
    #[must_use]
    pub const fn distrusts(&self) -> bool {
        matches!(
            self,
            Self::Tainted { .. }
                | Self::Forced { .. }
                | Self::ImageGone { .. }
                | Self::RecordUnreadable { .. }
                | Self::RecordLost { .. }
                | Self::DependencyReplaced { .. }
        )
    }
}
