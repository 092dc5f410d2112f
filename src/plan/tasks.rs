//! The tasks of a commit as facts, and what is to be done for each.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Plan};
use crate::key::TaskInputs;
use crate::ledger::{FailedTaskRecord, PassedFacts};
use crate::manifest::Task;
use crate::model::{CommitId, Digest, Key, ProjectName, RepoPath, TaskId};
use crate::problem::Problem;

/// A task of a commit.
#[derive(Clone, Debug)]
pub struct FoundTask {
    /// Its name.
    pub id: TaskId,
    /// What it is.
    pub task: Task,
    /// The tasks that must have passed before.
    pub before: BTreeSet<TaskId>,
    /// `projectDir`, where it runs.
    pub directory: RepoPath,
    /// The executable or the compose file, links followed, where it is a file of the repository.
    pub file: Option<RepoPath>,
    /// What its key is made of.
    pub inputs: TaskInputs,
    /// Its key.
    pub key: Key,
}

/// The tasks of the projects of some facts.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    /// By name.
    pub tasks: BTreeMap<TaskId, FoundTask>,
    /// Their names, what must have passed before first.
    pub order: Vec<TaskId>,
    /// Tasks that are not as they should be: they can be no part of a run.
    pub faulty: BTreeMap<TaskId, Vec<Problem>>,
}

impl Tasks {
    /// These tasks and all that must have passed before, in order.
    #[must_use]
    pub fn closure(&self, wanted: &BTreeSet<TaskId>) -> Vec<&FoundTask> {
        let mut taken = BTreeSet::new();
        for id in self.order.iter().rev() {
            let needed = self
                .tasks
                .get(id)
                .filter(|_| wanted.contains(id) || taken.contains(id));
            if let Some(task) = needed {
                taken.insert(id);
                taken.extend(&task.before);
            }
        }
        let taken = self.order.iter().filter(|id| taken.contains(id));
        taken.filter_map(|id| self.tasks.get(id)).collect()
    }
}

/// What is to be done with a task.
#[derive(Clone, Debug)]
pub enum Step {
    /// It has passed for the same content.
    Passed {
        /// The commit that it was run at.
        commit: CommitId,
    },
    /// It is run, with these images: full references and digests.
    Run {
        /// By project.
        images: BTreeMap<ProjectName, (String, Digest)>,
    },
    /// An image that takes part is not there.
    Blocked {
        /// Whose image.
        by: ProjectName,
    },
}

/// A task with what is to be done with it.
#[derive(Clone, Debug)]
pub struct PlannedTask {
    /// The task.
    pub task: FoundTask,
    /// What is to be done.
    pub step: Step,
}

impl PlannedTask {
    /// Whether it is to be run.
    #[must_use]
    pub const fn is_run(&self) -> bool {
        matches!(self.step, Step::Run { .. })
    }
}

/// Where a required task stands, as far as a seal is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// It has passed, under this key.
    Passed {
        /// The task's key.
        key: Key,
    },
    /// It has not passed.
    Missing,
    /// It failed when it was run last.
    Failed {
        /// What is recorded of that.
        failure: FailedTaskRecord,
    },
    /// It is not as it should be.
    Faulty {
        /// What is wrong, first of all.
        problem: Problem,
    },
}

impl TaskState {
    /// The name, as JSON has it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Passed { .. } => "passed",
            Self::Missing => "missing",
            Self::Failed { .. } => "failed",
            Self::Faulty { .. } => "faulty",
        }
    }

    /// Whether it keeps the commit from being sealed.
    #[must_use]
    pub const fn blocks(&self) -> bool {
        !matches!(self, Self::Passed { .. })
    }
}

/// Whether a task has passed with the images that the plan reuses.
#[must_use]
pub fn has_passed(task: &FoundTask, passed: Option<&PassedFacts>, plan: &Plan) -> bool {
    let images = images(task, plan);
    images.is_ok_and(|images| passed.is_some_and(|facts| is_current(facts, &images)))
}

/// Decides for the `wanted` tasks and those that they need; `tasks` are all of them, what must have
/// passed before first. What is needed only by a task that has passed is left out.
///
/// A record counts as long as the images that it names are those that the plan reuses.
#[must_use]
pub fn plan_tasks(
    tasks: &[&FoundTask],
    wanted: &BTreeSet<TaskId>,
    passed: &BTreeMap<Key, PassedFacts>,
    plan: &Plan,
) -> Vec<PlannedTask> {
    let mut needed = wanted.clone();
    let mut planned = Vec::new();
    for task in tasks.iter().rev() {
        if !needed.contains(&task.id) {
            continue;
        }
        let step = step(task, passed.get(&task.key), plan);
        if !matches!(step, Step::Passed { .. }) {
            needed.extend(task.before.iter().cloned());
        }
        let task = (*task).clone();
        planned.push(PlannedTask { task, step });
    }
    planned.reverse();
    planned
}

fn step(task: &FoundTask, passed: Option<&PassedFacts>, plan: &Plan) -> Step {
    let images = match images(task, plan) {
        Ok(images) => images,
        Err(by) => return Step::Blocked { by: by.clone() },
    };
    match passed.filter(|facts| is_current(facts, &images)) {
        Some(facts) if !task.task.always => Step::Passed {
            commit: facts.commit,
        },
        _ => Step::Run { images },
    }
}

/// Whether the images that took part are those that take part now.
fn is_current(facts: &PassedFacts, images: &BTreeMap<ProjectName, (String, Digest)>) -> bool {
    facts.images.iter().all(|(name, digest)| {
        images
            .get(name)
            .is_some_and(|(_, current)| current == digest)
    })
}

/// The images that take part, by full reference and digest; or a project that has none.
fn images<'t>(
    task: &'t FoundTask,
    plan: &Plan,
) -> Result<BTreeMap<ProjectName, (String, Digest)>, &'t ProjectName> {
    let names = task.inputs.images.keys();
    names
        .map(
            |name| match plan.projects.get(name).map(|planned| &planned.action) {
                Some(Action::Reuse { image, digest, .. }) => {
                    Ok((name.clone(), (image.clone(), *digest)))
                }
                _ => Err(name),
            },
        )
        .collect()
}
