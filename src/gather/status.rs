//! Where a commit stands: each project, what keeps it from being sealed, and its waybill.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::error::GatherError;
use super::planner::{PARALLEL, Planning, plan};
use super::request::PlanRequest;
use super::tasks::required_tasks;
use crate::git::Repository;
use crate::ledger::{Bases, Edition, FailedRecord, Release, Shipped, Standing};
use crate::model::{Key, ProjectName, TaskId};
use crate::plan::{Action, Place, State, TaskState, states};
use crate::problem::{Class, Failure, Problem};

/// Where a commit stands.
pub struct Status {
    /// The plan that it was seen from.
    pub planning: Planning,
    /// Every project.
    pub projects: BTreeMap<ProjectName, State>,
    /// Every required task.
    pub tasks: BTreeMap<TaskId, TaskState>,
    /// The editions of its waybill, the first one first.
    pub editions: Vec<Edition>,
    /// The base that they stand in.
    pub sealed_in: Place,
}

impl Status {
    /// The projects that keep the commit from being sealed.
    pub fn blockers(&self) -> impl Iterator<Item = (&ProjectName, &State)> {
        self.projects.iter().filter(|(_, state)| state.blocks())
    }

    /// The required tasks that keep the commit from being sealed.
    pub fn open_tasks(&self) -> impl Iterator<Item = (&TaskId, &TaskState)> {
        self.tasks.iter().filter(|(_, state)| state.blocks())
    }

    /// Whether anything keeps the commit from being sealed.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.blockers().next().is_some() || self.open_tasks().next().is_some()
    }

    /// The newest edition that ships what the commit has now; `None` if it has to be sealed
    /// (again).
    #[must_use]
    pub fn current(&self) -> Option<&Edition> {
        let now = self.release(None)?;
        let mut newest_first = self.editions.iter().rev();
        newest_first.find(|edition| edition.release.ships_the_same(&now))
    }

    /// The waybill; `None` where something is still in the way.
    #[must_use]
    pub fn release(&self, tag: Option<&str>) -> Option<Release> {
        if self.is_blocked() {
            return None;
        }
        let shipped = self.planning.plan.projects.values().filter_map(|planned| {
            let Action::Reuse { digest, facts, .. } = &planned.action else {
                return None;
            };
            let shipped = Shipped {
                key: planned.key.key,
                image: *digest,
                commit: facts.commit,
                uses: facts.uses.keys().cloned().collect(),
                adopted: facts.adopted,
                tasks: self.passed_tasks(&planned.name),
            };
            Some((planned.name.clone(), shipped))
        });
        let absent = |(name, state): (&ProjectName, &State)| match state {
            State::Absent { .. } => Some(name.clone()),
            _ => None,
        };
        Some(Release {
            commit: self.planning.plan.commit,
            tag: tag.map(ToOwned::to_owned),
            projects: shipped.collect(),
            absent: self.projects.iter().filter_map(absent).collect(),
        })
    }
}

impl Status {
    /// The required tasks of a project that have passed, with the key that each passed under.
    fn passed_tasks(&self, project: &ProjectName) -> BTreeMap<String, Key> {
        let passed = self.tasks.iter().filter_map(|(id, state)| match state {
            TaskState::Passed { key } if id.project == *project => {
                Some((id.task.to_string(), *key))
            }
            _ => None,
        });
        passed.collect()
    }
}

/// Finds where every project of a commit stands.
pub async fn status(
    repository: &Repository,
    bases: &Bases,
    request: &PlanRequest,
) -> Result<Status, Failure> {
    let planning = plan(repository, bases, request).await?;
    let failures = failures(bases, &planning).await?;
    let absent = &planning.facts.manifest.expect_absent;
    let projects = states(&planning.plan, &failures, absent);
    let tasks = required_tasks(repository, bases, &planning).await?;
    let (sealed_in, editions) = match bases.sealed() {
        Some((place, ledger)) => (place, ledger.editions(request.commit).await?),
        None => (Place::Registry, Vec::new()),
    };
    Ok(Status {
        planning,
        projects,
        tasks,
        editions,
        sealed_in,
    })
}

/// Seals the commit: writes its waybill once every project has succeeded. Returns the edition that
/// stands, whether it is new, and where the commit stands.
///
/// Every image is asked for in the registry, and each key's own taint is read by name: a listing
/// may lag behind.
///
/// # Errors
///
/// The gate is closed, with a problem for each project that is in the way.
pub async fn seal(
    repository: &Repository,
    bases: &Bases,
    request: &PlanRequest,
    now: &str,
) -> Result<(Edition, bool, Status), Failure> {
    let ledger = &bases.registry;
    if ledger.marker().upstream {
        let base = ledger.client().base().to_string();
        return Err(GatherError::NeverSealed { base }.into());
    }
    let request = PlanRequest {
        verify: true,
        ..request.clone()
    };
    let status = status(repository, bases, &request).await?;
    let mut problems: Vec<Problem> = status
        .blockers()
        .map(|(name, state)| blocked(name, state, &status))
        .collect();
    problems.extend(status.open_tasks().map(|(id, state)| open_task(id, state)));
    problems.extend(tainted_since(bases, &status).await?);
    let tag = request.options.tag.as_deref();
    match status.release(tag) {
        Some(release) if problems.is_empty() => {
            let (edition, is_new) = ledger.seal(&release, now).await?;
            Ok((edition, is_new, status))
        }
        _ => Err(Failure {
            class: Class::Gate,
            problems,
        }),
    }
}

/// What is recorded of failed builds, for the projects that would be built.
async fn failures(
    bases: &Bases,
    planning: &Planning,
) -> Result<BTreeMap<ProjectName, FailedRecord>, Failure> {
    let found: Vec<Option<(ProjectName, FailedRecord)>> = stream::iter(planning.plan.builds())
        .map(|planned| async {
            for (_, ledger) in bases.places() {
                let failure = ledger.failure(planned.key.key, &planned.name).await?;
                if let Standing::Record(failure) = failure {
                    return Ok::<_, Failure>(Some((planned.name.clone(), failure)));
                }
            }
            Ok(None)
        })
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

/// Taints that stand by name though no listing showed them.
async fn tainted_since(bases: &Bases, status: &Status) -> Result<Vec<Problem>, Failure> {
    let done = status.planning.plan.projects.values().filter(|planned| {
        let state = status.projects.get(&planned.name);
        matches!(state, Some(State::Done { .. }))
    });
    let tainted: BTreeSet<ProjectName> = stream::iter(done)
        .map(|planned| async {
            let is_tainted = bases.is_tainted(planned.key.key).await?;
            Ok::<_, Failure>(is_tainted.then(|| planned.name.clone()))
        })
        .buffer_unordered(PARALLEL)
        .try_filter_map(|name| async { Ok(name) })
        .try_collect()
        .await?;
    let problem = |name: ProjectName| {
        let message = "its image was tainted just now";
        Problem::error("project-tainted", message)
            .project(&name)
            .hint(format!("`waybill build {name}` builds it again"))
    };
    Ok(tainted.into_iter().map(problem).collect())
}

/// Why a required task keeps the commit from being sealed.
fn open_task(id: &TaskId, state: &TaskState) -> Problem {
    let task = &id.task;
    let run = format!("`waybill run {task} -p {}` runs it", id.project);
    let (code, message, hint) = match state {
        TaskState::Faulty { problem } => return problem.clone(),
        TaskState::Failed { failure } => (
            "task-not-passed",
            format!(
                "its task '{task}' did not pass at {}: {}",
                failure.commit.short(),
                failure.message
            ),
            format!(
                "`waybill log {} {task} --failed` prints its log",
                id.project
            ),
        ),
        TaskState::Passed { .. } | TaskState::Missing => (
            "task-missing",
            format!("its task '{task}' has not passed"),
            run,
        ),
    };
    Problem::error(code, message)
        .project(&id.project)
        .hint(hint)
}

/// Why a project keeps the commit from being sealed.
fn blocked(name: &ProjectName, state: &State, status: &Status) -> Problem {
    let at = status.planning.plan.commit.short();
    let adopted = status
        .planning
        .plan
        .projects
        .get(name)
        .is_some_and(|planned| matches!(planned.action, Action::Reuse { adopt: true, .. }));
    let build = format!("`waybill build {name}` builds it");
    let (code, message, hint) = match state {
        State::Failed { failure } => (
            "project-failed",
            format!(
                "its build failed at {}: {}",
                failure.commit.short(),
                failure.message
            ),
            format!("`waybill log {name} --failed` prints its log"),
        ),
        State::Tainted => (
            "project-tainted",
            format!("its image is tainted at {at}"),
            build,
        ),
        State::Absent { .. } => (
            "project-absent",
            format!("it has nothing to build at {at}"),
            "list it in the manifest's `expect.absent` if that is meant".to_owned(),
        ),
        State::Done { .. } | State::Missing if adopted => (
            "project-missing",
            "its image can be taken over, and is not recorded yet".to_owned(),
            format!("`waybill build {name}` records it"),
        ),
        State::Done { .. } | State::Missing => {
            ("project-missing", format!("it is not built at {at}"), build)
        }
    };
    Problem::error(code, message).project(name).hint(hint)
}
