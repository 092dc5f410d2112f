//! What a plan starts from: the taints that stand, and the records that need not be asked for.
//! They come from the registry, or from a plan that was made before.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::commit::CommitFacts;
use super::error::GatherError;
use super::planner::PARALLEL;
use super::request::PlanRequest;
use super::sealed::{self, Sealed};
use crate::git::Repository;
use crate::key::effective_keys;
use crate::ledger::{Bases, Known};
use crate::model::{Key, ProjectName, Reason};
use crate::plan::{CarriedPlan, CarriedStep};
use crate::problem::{Failure, Problem};

/// What a plan starts from.
#[derive(Default)]
pub(super) struct Basis {
    /// Keys with a taint in either base.
    pub(super) tainted: BTreeSet<Key>,
    /// Taints that a carried plan came to.
    pub(super) assumed: BTreeMap<Key, Reason>,
    /// The nearest sealed ancestor, for a plan of everything.
    pub(super) sealed: Option<Sealed>,
    /// Records that need not be asked for.
    pub(super) known: Known,
    /// Why projects are built, and where layers come from, as a carried plan found it.
    pub(super) explained: BTreeMap<ProjectName, (Key, Reason, Vec<String>)>,
    /// What is worth knowing about that.
    pub(super) warnings: Vec<Problem>,
}

impl Basis {
    pub(super) async fn find(
        repository: &Repository,
        bases: &Bases,
        request: &PlanRequest,
        facts: &CommitFacts,
    ) -> Result<Self, Failure> {
        let mut warnings = Vec::new();
        if let Some(carried) = &request.carried {
            let wanted = wanted(request, facts);
            let basis = Self::of_carried(bases, carried, &wanted);
            match tainted_since(bases, &basis, facts, carried, &wanted).await? {
                None => return Ok(basis),
                Some(name) => warnings.push(outdated(&name)),
            }
        }
        let tainted = bases.tainted_keys().await?;
        let nearest = match &request.projects {
            None => sealed::nearest(repository, bases, request, facts).await?,
            // A few projects are asked for by name.
            Some(_) => None,
        };
        let (sealed, known) = nearest.unzip();
        Ok(Self {
            tainted,
            sealed,
            known: known.unwrap_or_default(),
            warnings,
            ..Self::default()
        })
    }

    fn of_carried(bases: &Bases, carried: &CarriedPlan, wanted: &BTreeSet<ProjectName>) -> Self {
        let taints = carried.taints.iter();
        let explained = carried.projects.iter().filter_map(|(name, project)| {
            let CarriedStep::Build { cache_from } = &project.step else {
                return None;
            };
            // Layers come from the bases that are open, and from nowhere else.
            let is_ours = |reference: &&String| {
                bases
                    .places()
                    .any(|(_, ledger)| reference.starts_with(&ledger.client().base().name("")))
            };
            let cache_from = cache_from.iter().filter(is_ours).cloned().collect();
            Some((
                name.clone(),
                (project.key, project.reason.clone(), cache_from),
            ))
        });
        Self {
            tainted: carried.tainted.clone(),
            assumed: taints
                .map(|taint| (taint.key, taint.reason.clone()))
                .collect(),
            known: carried.records(wanted).collect(),
            explained: explained.collect(),
            ..Self::default()
        }
    }
}

fn wanted(request: &PlanRequest, facts: &CommitFacts) -> BTreeSet<ProjectName> {
    match &request.projects {
        Some(projects) => projects.clone(),
        None => facts.order.iter().cloned().collect(),
    }
}

/// A wanted project whose key was tainted after the carried plan was made; `None` if there is none.
///
/// # Errors
///
/// A key is not the one that was planned: the file is of something else.
async fn tainted_since(
    bases: &Bases,
    basis: &Basis,
    facts: &CommitFacts,
    carried: &CarriedPlan,
    wanted: &BTreeSet<ProjectName>,
) -> Result<Option<ProjectName>, Failure> {
    let keys = effective_keys(facts.in_order(), |_, _, key| {
        basis.tainted.contains(&key) || basis.assumed.contains_key(&key)
    });
    let mut asked = Vec::new();
    for name in wanted {
        let (Some(key), planned) = (keys.get(name), carried.projects.get(name)) else {
            continue;
        };
        match planned {
            Some(planned) if planned.key == key.key => asked.push((name, key.key)),
            Some(_) => return Err(GatherError::PlanOfOtherKeys { name: name.clone() }.into()),
            None => return Err(GatherError::NotInPlan { name: name.clone() }.into()),
        }
    }
    let tainted: Vec<Option<ProjectName>> = stream::iter(asked)
        .map(|(name, key)| async move {
            let stands = bases.is_tainted(key).await?;
            Ok::<_, Failure>(stands.then(|| name.clone()))
        })
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    Ok(tainted.into_iter().flatten().next())
}

fn outdated(name: &ProjectName) -> Problem {
    let message = "it was tainted after the plan was made: everything is asked for again";
    Problem::warning("plan-outdated", message).project(name)
}
