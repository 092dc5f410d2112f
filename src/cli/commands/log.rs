//! `waybill log`.

use serde_json::json;

use crate::cli::args::LogArgs;
use crate::cli::session::Session;
use crate::cli::stopped::Ended;
use crate::cli::{exit, render};
use crate::ledger::{Bases, unpack_log};
use crate::model::{CommitId, Key, ProjectName, TaskId};
use crate::problem::{Class, Failure, Problem};

/// A log that was found.
struct Stored {
    commit: CommitId,
    created: String,
    log: Option<bytes::Bytes>,
}

pub(in crate::cli) async fn run(session: &Session, args: &LogArgs) -> Ended {
    let project = session.name(&args.project)?;
    if let Some(task) = &args.task {
        return run_task(session, args, project, task).await;
    }
    let bases = session.bases().await?;
    let standing = session
        .standing(&bases, std::slice::from_ref(&project))
        .await?;
    let key = standing.key(&project)?.key;
    let failed = last_failure(&bases.bases, key, &project).await?;
    let found = if args.failed {
        failed.ok_or_else(|| no_failure(session.commit, &project))?
    } else {
        let found = last_build(&bases.bases, key, &project).await?;
        found.ok_or_else(|| no_build(session.commit, &project, failed.is_some()))?
    };
    let log = found.log.as_ref().ok_or_else(|| no_log(&found, &project))?;
    let text = unpack_log(log).map_err(|error| damaged(&project, &error))?;
    let text = render::plain::log(&text);
    if session.output.json {
        session.output.document(&json!({
            "schema": "waybill.log/1",
            "commit": session.commit,
            "project": project,
            "task": null,
            "key": key,
            "failed": args.failed,
            "builtAt": found.commit,
            "written": found.created,
            "text": text,
        }))?;
    } else {
        session.output.data(&text)?;
    }
    session.close(bases).await;
    Ok(exit::DONE)
}

/// The log of a task.
async fn run_task(session: &Session, args: &LogArgs, project: ProjectName, task: &str) -> Ended {
    let bases = session.bases().await?;
    let found = session.task(&bases, &project, task).await?;
    let (key, task) = (found.key, &found.id.task);
    let failed = bases.bases.failed_task(key, &project).await?;
    let stored = if args.failed {
        let failed = failed.ok_or_else(|| no_result(session.commit, &found.id, "failed", false))?;
        Stored {
            commit: failed.record.commit,
            created: failed.created,
            log: failed.log,
        }
    } else {
        let passed = bases.bases.passed_record(key, &project).await?;
        let missing = || no_result(session.commit, &found.id, "passed", failed.is_some());
        let passed = passed.ok_or_else(missing)?;
        Stored {
            commit: passed.record.facts.commit,
            created: passed.created,
            log: passed.log,
        }
    };
    let log = stored.log.unwrap_or_default();
    let text = unpack_log(&log).map_err(|error| damaged(&project, &error))?;
    let text = render::plain::log(&text);
    let text = if args.times {
        text
    } else {
        render::tasks::without_times(&text)
    };
    if session.output.json {
        session.output.document(&json!({
            "schema": "waybill.log/1",
            "commit": session.commit,
            "project": project,
            "task": task,
            "key": key,
            "failed": args.failed,
            "builtAt": stored.commit,
            "written": stored.created,
            "text": text,
        }))?;
    } else {
        session.output.data(&text)?;
    }
    session.close(bases).await;
    Ok(exit::DONE)
}

fn no_result(commit: CommitId, id: &TaskId, what: &str, has_failed: bool) -> Failure {
    let TaskId { project, task } = id;
    let message = format!(
        "task '{task}' has not {what} under its key at {}",
        commit.short()
    );
    let hint = if has_failed {
        format!("it failed: see `waybill log {project} {task} --failed`")
    } else {
        format!("`waybill run {task} -p {project}` runs it")
    };
    Failure::new(Class::Usage, problem(project, message).hint(hint))
}

async fn last_build(
    bases: &Bases,
    key: Key,
    project: &ProjectName,
) -> Result<Option<Stored>, Failure> {
    let found = bases.built_record(key, project).await?;
    Ok(found.map(|(_, recorded)| Stored {
        commit: recorded.record.facts.commit,
        created: recorded.created,
        log: recorded.log,
    }))
}

async fn last_failure(
    bases: &Bases,
    key: Key,
    project: &ProjectName,
) -> Result<Option<Stored>, Failure> {
    let found = bases.failed(key, project).await?;
    Ok(found.map(|recorded| Stored {
        commit: recorded.record.commit,
        created: recorded.created,
        log: recorded.log,
    }))
}

fn problem(project: &ProjectName, message: String) -> Problem {
    Problem::error("no-log", message).project(project)
}

fn no_failure(commit: CommitId, project: &ProjectName) -> Failure {
    let message = format!(
        "no failed build is recorded for its key at {}",
        commit.short()
    );
    let hint = format!("`waybill history {project}` shows what stands for each commit");
    Failure::new(Class::Usage, problem(project, message).hint(hint))
}

fn no_build(commit: CommitId, project: &ProjectName, failed: bool) -> Failure {
    let message = format!("no build is recorded for its key at {}", commit.short());
    let hint = if failed {
        format!("its build failed: see `waybill log {project} --failed`")
    } else {
        format!("`waybill build {project}` builds it; `waybill history {project}` shows its builds")
    };
    Failure::new(Class::Usage, problem(project, message).hint(hint))
}

/// A record without a log: of an image that was adopted, or made by a test.
fn no_log(found: &Stored, project: &ProjectName) -> Failure {
    let message = format!(
        "the record of the build at {} has no log",
        found.commit.short()
    );
    let hint = format!("adopted images have none; `waybill why {project}` shows the record");
    Failure::new(Class::Usage, problem(project, message).hint(hint))
}

fn damaged(project: &ProjectName, error: &std::io::Error) -> Failure {
    let message = format!("the stored log cannot be unpacked: {error}");
    let problem = Problem::error("log-unreadable", message)
        .project(project)
        .hint("something else wrote it; the image is not affected");
    Failure::new(Class::Unreachable, problem)
}
