//! `waybill run`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::build::{default_jobs, exit_code_of, read_secrets};
use crate::cli::args::{Global, RunArgs};
use crate::cli::render::tasks::{self, TaskProgress};
use crate::cli::session::{OpenBases, Session, now, precise_now};
use crate::cli::stopped::Ended;
use crate::cli::{exit, signal};
use crate::event::TaskVerdict;
use crate::gather::{CommitFacts, Planning, TaskRequest, find_tasks, task_projects};
use crate::git::Repository;
use crate::graph::Graph;
use crate::manifest::Manifest;
use crate::mask::{Secret, Secrets};
use crate::model::{Key, ProjectName, TaskId, TaskName};
use crate::plan::{PlannedTask, Tasks, plan_tasks};
use crate::problem::{Class, Failure, Problem};
use crate::run::process::Supervisor;
use crate::run::{Containers, TaskReport, TaskRunner, WorkTree, inherited, run_tasks};

pub(in crate::cli) async fn run(session: Session, global: &Global, args: &RunArgs) -> Ended {
    if args.worktree {
        let session = session.in_work_tree()?;
        return run_session(&session, global, args).await;
    }
    run_session(&session, global, args).await
}

async fn run_session(session: &Session, global: &Global, args: &RunArgs) -> Ended {
    let secrets = read_secrets(&args.secrets)?;
    let loaded = session.manifest()?;
    let named = session.names(&args.projects)?;
    let selected = selected(&loaded.manifest, &named, args.deps);
    let asked = TaskRequest {
        tasks: task_names(&loaded.manifest, &args.tasks)?,
        arguments: args.arguments.clone(),
    };
    let bases = session.bases().await?;
    let mut request = session.request(&[], args.history.limit)?;
    if let Some(selected) = &selected {
        let mut projects = selected.clone();
        projects.extend(task_projects(&loaded.manifest, selected));
        request.projects = Some(projects);
    }
    let planning = session.plan(&bases, &request).await?;
    let found = find_tasks(&session.repository, &planning.facts, &planning.keys, &asked)?;
    let wanted = wanted(session, args, &asked, selected.as_ref(), &planning, &found)?;
    let planned = decided(&bases, &planning, &found, &wanted).await?;
    if args.dry_run {
        tasks::dry_run(session, &planned)?;
        session.close(bases).await;
        return Ok(exit::DONE);
    }
    let progress = TaskProgress::new(global.progress, session.output);
    let runner = runner(session, args, &bases, planning.facts, secrets, &progress)?;
    check_secrets(&planned, &runner)?;
    let report = run_tasks(&planned, &runner).await;
    if session.output.json {
        session
            .output
            .document(&tasks::document(session, &report))?;
    }
    session
        .output
        .status(tasks::text(&report, &progress, &session.output));
    let code = exit_code(&report, runner.stop.is_cancelled());
    session.close(bases).await;
    Ok(code)
}

/// The projects whose tasks are asked for; `None` for all.
fn selected(
    manifest: &Manifest,
    named: &[ProjectName],
    with_dependencies: bool,
) -> Option<BTreeSet<ProjectName>> {
    if named.is_empty() {
        return None;
    }
    if with_dependencies {
        return Some(Graph::new(manifest).closure(named).into_iter().collect());
    }
    Some(named.iter().cloned().collect())
}

/// The tasks that are named, sequences taken apart; each once.
fn task_names(manifest: &Manifest, names: &[String]) -> Result<Vec<TaskName>, Failure> {
    let mut found: Vec<TaskName> = Vec::new();
    for text in names {
        let name: TaskName = text.parse().map_err(|error| {
            let problem = Problem::error("invalid-task-name", format!("{error}"));
            Failure::new(
                Class::Usage,
                problem.hint("`waybill run --help` has examples"),
            )
        })?;
        let tasks = manifest
            .sequences
            .get(&name)
            .cloned()
            .unwrap_or_else(|| vec![name]);
        for task in tasks {
            if !found.contains(&task) {
                found.push(task);
            }
        }
    }
    Ok(found)
}

/// The tasks that are to have passed in the end.
fn wanted(
    session: &Session,
    args: &RunArgs,
    asked: &TaskRequest,
    selected: Option<&BTreeSet<ProjectName>>,
    planning: &Planning,
    found: &Tasks,
) -> Result<BTreeSet<TaskId>, Failure> {
    let known = || found.tasks.keys().chain(found.faulty.keys());
    let mut wanted = BTreeSet::new();
    let mut problems = Vec::new();
    for task in &asked.tasks {
        let of_task = known().filter(|id| id.task == *task);
        let of_task: BTreeSet<&TaskId> = of_task
            .filter(|id| selected.is_none_or(|selected| selected.contains(&id.project)))
            .collect();
        if of_task.is_empty() {
            problems.push(unknown_task(session, task, known()));
        }
        if args.fail_on_undefined {
            let without = planning.facts.order.iter().filter(|name| {
                selected.is_none_or(|selected| selected.contains(*name))
                    && !of_task.iter().any(|id| id.project == **name)
            });
            problems.extend(without.map(|name| undefined(name, task)));
        }
        wanted.extend(of_task.into_iter().cloned());
    }
    if problems.is_empty() {
        return Ok(wanted);
    }
    let class = Class::Usage;
    Err(Failure { class, problems })
}

fn unknown_task<'i>(
    session: &Session,
    task: &TaskName,
    known: impl Iterator<Item = &'i TaskId>,
) -> Problem {
    let names: BTreeSet<&str> = known.map(|id| id.task.as_str()).collect();
    let commit = session.commit.short();
    let message = format!("no project that is asked for has a task '{task}' at commit {commit}");
    let hint = if names.is_empty() {
        "add it to `tasks` of a project, or as an executable 'waybill/<task>' in its directory"
            .to_owned()
    } else {
        let names: Vec<&str> = names.into_iter().collect();
        format!("the tasks are {}", names.join(", "))
    };
    Problem::error("unknown-task", message).hint(hint)
}

fn undefined(project: &ProjectName, task: &TaskName) -> Problem {
    let message = format!("it has no task '{task}', and --fail-on-undefined is given");
    Problem::error("undefined-task", message).project(project)
}

/// What is to be done for each wanted task and what it needs.
async fn decided(
    bases: &OpenBases,
    planning: &Planning,
    found: &Tasks,
    wanted: &BTreeSet<TaskId>,
) -> Result<Vec<PlannedTask>, Failure> {
    refuse_faulty(found, wanted)?;
    let tasks = found.closure(wanted);
    let keys: BTreeMap<Key, ProjectName> = tasks
        .iter()
        .map(|task| (task.key, task.id.project.clone()))
        .collect();
    let passed = bases.bases.passed_many(&keys).await?;
    Ok(plan_tasks(&tasks, wanted, &passed, &planning.plan))
}

/// A run is of tasks that are all as they should be.
fn refuse_faulty(found: &Tasks, wanted: &BTreeSet<TaskId>) -> Result<(), Failure> {
    let problems = wanted.iter().filter_map(|id| found.faulty.get(id));
    let problems: Vec<Problem> = problems.flatten().cloned().collect();
    if problems.is_empty() {
        return Ok(());
    }
    let class = Class::Usage;
    Err(Failure { class, problems })
}

fn runner(
    session: &Session,
    args: &RunArgs,
    bases: &OpenBases,
    facts: CommitFacts,
    secrets: BTreeMap<String, Vec<u8>>,
    progress: &TaskProgress,
) -> Result<TaskRunner, Failure> {
    let directory = session.repository.work_dir().ok_or_else(no_work_tree)?;
    let supervisor = Supervisor::own().map_err(|error| {
        let message = format!("the system does not say which program this is: {error}");
        Failure::new(Class::Unreachable, Problem::error("no-supervisor", message))
    })?;
    let clients = bases.bases.places();
    let clients = clients.map(|(_, ledger)| ledger.client());
    let masked = Secrets::new(secrets.values().cloned());
    let secrets = secrets.into_iter();
    Ok(TaskRunner {
        bases: bases.bases.clone(),
        commit: session.commit,
        directory: directory.to_owned(),
        supervisor,
        containers: Containers::new(clients.cloned().collect(), bases.is_embedded()),
        environment: inherited(std::env::vars_os()),
        secrets: secrets
            .map(|(id, value)| (id, Secret::new(value)))
            .collect(),
        masked,
        sink: Arc::clone(&progress.sink),
        stop: signal::stop(),
        now: Arc::new(now),
        clock: Arc::new(precise_now),
        work_tree: WorkTree::new(Repository::open(&session.settings.directory)?, facts),
        jobs: args.jobs.map_or_else(default_jobs, usize::from),
        keep_going: args.keep_going,
    })
}

fn no_work_tree() -> Failure {
    let problem = Problem::error(
        "no-work-tree",
        "tasks run in a work tree, and this repository is bare",
    )
    .hint("run it in a clone that has the commit checked out");
    Failure::new(Class::Usage, problem)
}

/// Every secret that a task will be given is there, or nothing is begun.
fn check_secrets(planned: &[PlannedTask], runner: &TaskRunner) -> Result<(), Failure> {
    let runs = planned.iter().filter(|planned| planned.is_run());
    let ids: BTreeSet<&String> = runs
        .flat_map(|planned| &planned.task.task.secrets)
        .collect();
    let missing = ids
        .into_iter()
        .filter(|id| !runner.secrets.contains_key(*id));
    let problems: Vec<Problem> = missing
        .map(|id| {
            Problem::error("secret-missing", format!("no value for secret '{id}'")).hint(format!(
                "give --secret id={id},env=VARIABLE or id={id},src=FILE"
            ))
        })
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    let class = Class::Usage;
    Err(Failure { class, problems })
}

/// 0 if everything passed; else of what went wrong the most telling.
fn exit_code(report: &TaskReport, interrupted: bool) -> u8 {
    let verdicts = || report.iter().map(|(_, verdict, _)| verdict);
    let is_failed = |verdict: &TaskVerdict| {
        matches!(
            verdict,
            TaskVerdict::Failed { .. } | TaskVerdict::TimedOut { .. }
        )
    };
    let classes = verdicts().filter_map(|verdict| match verdict {
        TaskVerdict::Error { class, .. } => Some(*class),
        _ => None,
    });
    let blocked = verdicts().any(|verdict| matches!(verdict, TaskVerdict::Blocked { .. }));
    exit_code_of(
        verdicts().any(is_failed),
        classes.min(),
        interrupted,
        blocked,
    )
}
