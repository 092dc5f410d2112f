//! The plan: for each project, reuse or build, with the reason (design, section 5).
//!
//! Pure. The facts are gathered by [`crate::gather`]; what this module decides, it decides from
//! them alone.

mod carried;
mod decide;
mod difference;
mod directive;
mod facts;
mod gate;
mod supposed;
mod tasks;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use carried::{CarriedPlan, CarriedProject, CarriedStep};
pub use decide::{Decision, Outcome, Reused, decide};
pub use difference::{Comparison, Side};
pub use directive::Rebuild;
pub use facts::{Candidate, Facts, Found, Lookup, Place, Refusal};
pub use gate::{State, states};
pub use supposed::{Cause, Hit, Hits, Supposed, if_changed, paths_that_count};
pub use tasks::{FoundTask, PlannedTask, Step, TaskState, Tasks, has_passed, plan_tasks};

use crate::key::ProjectKey;
use crate::ledger::BuiltFacts;
use crate::model::{CommitId, Digest, Key, ProjectName, Reason};
use crate::problem::Problem;

/// What to do for one commit.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The commit.
    pub commit: CommitId,
    /// Each project that was asked about, and what those use.
    pub projects: BTreeMap<ProjectName, Planned>,
    /// Taints that the plan assumes and a build writes first, dependencies first.
    pub taints: Vec<PendingTaint>,
}

/// A taint to be written before anything is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingTaint {
    /// The project whose key it is.
    pub project: ProjectName,
    /// The key to be distrusted.
    pub key: Key,
    /// Why.
    pub reason: Reason,
}

/// What is planned for one project.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The project.
    pub name: ProjectName,
    /// Its keys.
    pub key: ProjectKey,
    /// What to do.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// Projects whose images it uses; known where it is built, or recorded.
    pub uses: BTreeSet<ProjectName>,
    /// Direct dependencies whose images it does not use: they only propagate.
    pub triggers: BTreeSet<ProjectName>,
    /// What is worth knowing about it.
    pub warnings: Vec<Problem>,
}

/// What to do with a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Build it.
    Build(BuildStep),
    /// Take an image that stands.
    Reuse {
        /// The image's full reference, by digest.
        image: String,
        /// Its digest.
        digest: Digest,
        /// What its record states, or will state.
        facts: BuiltFacts,
        /// Which base holds it.
        place: Place,
        /// Whether its record has to be written first.
        adopt: bool,
    },
    /// Nothing.
    None,
}

/// What a build needs beyond the commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildStep {
    /// Images recorded earlier, to take layers from; none where an image is distrusted.
    pub cache_from: Vec<String>,
}

impl Action {
    /// The name, as JSON has it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Build(_) => "build",
            Self::Reuse { .. } => "reuse",
            Self::None => "none",
        }
    }
}

impl Plan {
    /// The projects that are built.
    pub fn builds(&self) -> impl Iterator<Item = &Planned> {
        self.projects
            .values()
            .filter(|planned| matches!(planned.action, Action::Build(_)))
    }
}
