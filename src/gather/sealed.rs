//! The nearest sealed ancestor: a plan of everything starts from its waybill.

use std::collections::BTreeSet;

use super::commit::CommitFacts;
use super::request::PlanRequest;
use crate::git::Repository;
use crate::ledger::{Bases, Edition, Known, Ledger};
use crate::model::{CommitId, ProjectName};
use crate::problem::Failure;

/// The most commits that are asked for a waybill.
const MOST_COMMITS: usize = 100;
/// How many are asked after the first, unless one request can ask for more: what lies behind the
/// nearest is asked for in vain. Where none of them is sealed, the base hardly ever is, and all the
/// others are asked together, by a listing where they are many.
const NEAR: usize = 10;

/// A sealed commit that a plan starts from.
pub(super) struct Sealed {
    /// The commit.
    pub(super) commit: CommitId,
    /// The projects that have an image in its waybill.
    pub(super) projects: BTreeSet<ProjectName>,
}

/// The commit itself or its nearest sealed first-parent ancestor, and the records that need not be
/// asked for.
///
/// Where there are few projects, their records cost less than the search: it goes no further than
/// there are projects.
pub(super) async fn nearest(
    repository: &Repository,
    bases: &Bases,
    request: &PlanRequest,
    facts: &CommitFacts,
) -> Result<Option<(Sealed, Known)>, Failure> {
    let Some((place, ledger)) = bases.sealed() else {
        return Ok(None);
    };
    // A work tree stands on its commit; it is never sealed itself.
    let start = request.work_tree_of.unwrap_or(request.commit);
    let limit = MOST_COMMITS.min(facts.order.len());
    let history = repository.first_parents(start, limit + 1)?;
    let commits: Vec<CommitId> = history.commits.iter().map(|commit| commit.id).collect();
    let (first, rest) = commits.split_at(commits.len().min(1));
    let near = NEAR.max(ledger.client().batch()).min(rest.len());
    let (near, far) = rest.split_at(near);
    for together in [first, near, far] {
        if let Some(edition) = nearest_of(ledger, together).await? {
            let known = Known::from_release(place, &edition.release);
            let sealed = Sealed {
                commit: edition.release.commit,
                projects: edition.release.projects.into_keys().collect(),
            };
            return Ok(Some((sealed, known)));
        }
    }
    Ok(None)
}

async fn nearest_of(ledger: &Ledger, commits: &[CommitId]) -> Result<Option<Edition>, Failure> {
    // Any edition will do: what its keys do not cover is asked for.
    match ledger.sealed_among(commits).await?.into_iter().next() {
        Some(sealed) => Ok(Some(ledger.open_edition(sealed).await?)),
        None => Ok(None),
    }
}
