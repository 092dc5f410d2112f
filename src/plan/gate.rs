//! Where each project of a commit stands, and what keeps the commit from being sealed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Plan, Planned};
use crate::ledger::FailedRecord;
use crate::model::{Digest, ProjectName, Reason};

/// Where a project stands at a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its image is recorded.
    Done {
        /// The image.
        image: Digest,
    },
    /// Its image is not recorded.
    Missing,
    /// Its last build, under the key that it has now, failed.
    Failed {
        /// What is recorded of that.
        failure: FailedRecord,
    },
    /// Its image is distrusted, and there is no new one yet.
    Tainted,
    /// It has nothing to build at this commit.
    Absent {
        /// Whether `expect.absent` says so.
        expected: bool,
    },
}

impl State {
    /// The name, as JSON has it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::Missing => "missing",
            Self::Failed { .. } => "failed",
            Self::Tainted => "tainted",
            Self::Absent { .. } => "absent",
        }
    }

    /// Whether it keeps the commit from being sealed.
    #[must_use]
    pub const fn blocks(&self) -> bool {
        match self {
            Self::Done { .. } => false,
            Self::Absent { expected } => !*expected,
            Self::Missing | Self::Failed { .. } | Self::Tainted => true,
        }
    }
}

/// Where each project of a whole plan stands. `failures` are what is recorded of failed builds
/// under the keys of the plan, `expected_absent` the manifest's `expect.absent`.
#[must_use]
pub fn states(
    plan: &Plan,
    failures: &BTreeMap<ProjectName, FailedRecord>,
    expected_absent: &BTreeSet<ProjectName>,
) -> BTreeMap<ProjectName, State> {
    let state = |planned: &Planned| match &planned.action {
        Action::Reuse {
            digest,
            adopt: false,
            ..
        } => State::Done { image: *digest },
        // A build records it first.
        Action::Reuse { adopt: true, .. } => State::Missing,
        Action::None => State::Absent {
            expected: expected_absent.contains(&planned.name),
        },
        Action::Build(_) => match failures.get(&planned.name) {
            Some(failure) => State::Failed {
                failure: failure.clone(),
            },
            None if is_distrusted(&planned.reason) => State::Tainted,
            None => State::Missing,
        },
    };
    let projects = plan.projects.iter();
    projects
        .map(|(name, planned)| (name.clone(), state(planned)))
        .collect()
}

/// Whether somebody, or waybill itself, said that the image is not to be used.
const fn is_distrusted(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::Tainted { .. } | Reason::Forced { .. } | Reason::RecordLost { .. }
    )
}
