//! What is asked for, and what the commit itself asks for.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::commit::{CommitFacts, CommitOptions};
use super::error::GatherError;
use crate::git::{GitError, Repository};
use crate::model::{CommitId, ProjectName};
use crate::plan::{CarriedPlan, Rebuild};
use crate::problem::{Failure, Problem};

/// What to plan.
#[derive(Clone, Debug)]
pub struct PlanRequest {
    /// The commit.
    pub commit: CommitId,
    /// How commits are read.
    pub options: CommitOptions,
    /// Only these projects and the images that they use; `None` for all.
    pub projects: Option<BTreeSet<ProjectName>>,
    /// Projects to be built whatever stands.
    pub force: BTreeSet<ProjectName>,
    /// How many commits of history may be searched.
    pub history: usize,
    /// Whether every image that is to be reused is asked for in the registry.
    pub verify: bool,
    /// Who asks, for taints.
    pub by: String,
    /// Where `commit` stands for a work tree: the commit that is checked out there.
    pub work_tree_of: Option<CommitId>,
    /// A plan that was made before: only the records and taints of the projects are asked for
    /// again.
    pub carried: Option<Arc<CarriedPlan>>,
}

pub(super) fn check_names(facts: &CommitFacts, request: &PlanRequest) -> Result<(), GatherError> {
    let named = request.projects.iter().flatten().chain(&request.force);
    named.into_iter().try_for_each(|name| facts.require(name))
}

/// Gives a key of its own to every project whose inputs or context differ from the commit's. What
/// is sent of a hermetic project is all in its inputs; of any other it is the build directory.
pub(super) fn mark_work_tree(
    repository: &Repository,
    request: &PlanRequest,
    commit: CommitId,
    facts: &mut CommitFacts,
) -> Result<(), Failure> {
    let committed = CommitFacts::load(
        repository,
        commit,
        &request.options,
        request.projects.as_ref(),
        true,
    );
    // A commit without a manifest has nothing to be compared with: everything differs.
    let committed = committed.ok();
    let (now, then) = (
        repository.snapshot_of_tree(facts.commit.tree)?,
        repository.snapshot(commit)?,
    );
    for (name, project) in &mut facts.projects {
        let build_dir = &project.inputs.recipe.build_dir;
        let here = now.entry(build_dir)?;
        let before = committed
            .as_ref()
            .and_then(|facts| facts.projects.get(name));
        let same_inputs = before.is_some_and(|before| before.inputs == project.inputs);
        let same_context = project.inputs.recipe.hermetic || here == then.entry(build_dir)?;
        if !(same_inputs && same_context) {
            let build_dir = here.map_or(facts.commit.tree, |entry| entry.id);
            project.own = project.own.in_work_tree(build_dir);
        }
    }
    Ok(())
}

/// `[ci rebuild]` in the commit's message, and for a merge in its second parent's.
pub(super) fn directives(
    repository: &Repository,
    facts: &CommitFacts,
) -> Result<(Rebuild, Vec<Problem>), Failure> {
    let mut messages = vec![facts.commit.message.clone()];
    let mut warnings = Vec::new();
    if let Some(second) = facts.commit.parents.get(1) {
        match repository.commit(*second) {
            Ok(parent) => messages.push(parent.message),
            Err(GitError::Missing { .. }) => warnings.push(
                Problem::warning(
                    "merge-parent-missing",
                    format!("the merged commit {} is not in this clone", second.short()),
                )
                .hint("a `[ci rebuild]` in its message is not seen; fetch with a depth of 2"),
            ),
            Err(error) => return Err(error.into()),
        }
    }
    let rebuild = Rebuild::in_messages(messages.iter().map(String::as_str));
    for name in &rebuild.projects {
        if !facts.manifest.projects.contains_key(name.as_str()) {
            let message =
                format!("the commit's message asks to rebuild '{name}', which is no project");
            warnings.push(Problem::warning("unknown-directive", message));
        }
    }
    Ok((rebuild, warnings))
}
