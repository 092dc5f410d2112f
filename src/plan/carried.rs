//! A plan as a file, carried from the job that made it to the jobs that build.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Action, PendingTaint, Place, Plan};
use crate::key::ProjectKey;
use crate::ledger::BuiltFacts;
use crate::model::{CommitId, Key, ProjectName, Reason};

/// What a job that builds takes from a plan: the keys under the taints that stood, what is reused,
/// and why the rest is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CarriedPlan {
    /// The commit.
    pub commit: CommitId,
    /// The base that is written, by its name.
    pub registry: String,
    /// The base that is read after it.
    pub upstream: Option<String>,
    /// The release tag.
    pub tag: Option<String>,
    /// The keys that the chains of this plan hold, each with a taint.
    pub tainted: BTreeSet<Key>,
    /// The taints that a build writes first.
    pub taints: Vec<PendingTaint>,
    /// Every project of the plan.
    pub projects: BTreeMap<ProjectName, CarriedProject>,
}

/// One project of a carried plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CarriedProject {
    /// The effective key.
    pub key: Key,
    /// What is done.
    pub step: CarriedStep,
    /// Why.
    pub reason: Reason,
}

/// What a carried plan does with a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "action",
    rename_all = "lowercase",
    rename_all_fields = "camelCase"
)]
pub enum CarriedStep {
    /// It is built.
    Build {
        /// Images to take layers from.
        cache_from: Vec<String>,
    },
    /// A recorded image is taken.
    Reuse {
        /// The base that holds it.
        place: Place,
        /// What its record states.
        facts: BuiltFacts,
    },
    /// An image without a record is taken: the job that does so looks at it again.
    Adopt,
    /// Nothing.
    None,
}

impl CarriedPlan {
    /// What is carried of a plan. `keys` are those of all projects that the plan rests on.
    #[must_use]
    pub fn of<'k>(
        plan: &Plan,
        keys: impl IntoIterator<Item = &'k ProjectKey>,
        registry: String,
        upstream: Option<String>,
        tag: Option<String>,
    ) -> Self {
        let pending: BTreeSet<Key> = plan.taints.iter().map(|taint| taint.key).collect();
        let chains = keys.into_iter().flat_map(|key| key.chain.iter().copied());
        let projects = plan.projects.values().map(|planned| {
            let carried = CarriedProject {
                key: planned.key.key,
                step: step(&planned.action),
                reason: planned.reason.clone(),
            };
            (planned.name.clone(), carried)
        });
        Self {
            commit: plan.commit,
            registry,
            upstream,
            tag,
            tainted: chains.filter(|key| !pending.contains(key)).collect(),
            taints: plan.taints.clone(),
            projects: projects.collect(),
        }
    }

    /// The records that the plan found, but for those of `except`, which are asked for again.
    pub fn records(
        &self,
        except: &BTreeSet<ProjectName>,
    ) -> impl Iterator<Item = ((Place, Key), BuiltFacts)> {
        let projects = self
            .projects
            .iter()
            .filter(|(name, _)| !except.contains(*name));
        projects.filter_map(|(_, project)| match &project.step {
            CarriedStep::Reuse { place, facts } => Some(((*place, project.key), facts.clone())),
            _ => None,
        })
    }
}

fn step(action: &Action) -> CarriedStep {
    match action {
        Action::Build(build) => CarriedStep::Build {
            cache_from: build.cache_from.clone(),
        },
        Action::Reuse { adopt: true, .. } => CarriedStep::Adopt,
        Action::Reuse { facts, place, .. } => CarriedStep::Reuse {
            place: *place,
            facts: facts.clone(),
        },
        Action::None => CarriedStep::None,
    }
}
