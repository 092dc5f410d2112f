//! Tasks in order and in parallel, each with its verdict, recorded as soon as it is known.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::containers::Containers;
use super::log::{Clock, TaskLog};
use super::order::in_order;
use super::prepare::{Parts, no_folder};
use super::process::{Ended, Supervisor};
use super::work_tree::WorkTree;
use crate::event::{TaskEvent, TaskSink, TaskVerdict, milliseconds};
use crate::ledger::{Bases, FailedTaskRecord, PassedFacts, PassedRecord};
use crate::mask::{Secret, Secrets};
use crate::model::{CommitId, Digest, ProjectName, TaskId};
use crate::plan::{FoundTask, PlannedTask, Step};
use crate::problem::{Class, Failure, Problem};

/// What tasks are carried out with.
pub struct TaskRunner {
    /// The bases.
    pub bases: Bases,
    /// The commit.
    pub commit: CommitId,
    /// The root of the work tree.
    pub directory: PathBuf,
    /// Ends the processes.
    pub supervisor: Supervisor,
    /// What tasks inherit; see [`inherited`](super::inherited).
    pub environment: BTreeMap<OsString, OsString>,
    /// What containers need.
    pub containers: Containers,
    /// The values of secrets, by id.
    pub secrets: BTreeMap<String, Secret<Vec<u8>>>,
    /// The values that may never be shown.
    pub masked: Secrets,
    /// Where events go.
    pub sink: TaskSink,
    /// Stops the run when cancelled.
    pub stop: CancellationToken,
    /// The time, RFC 3339, for records.
    pub now: Clock,
    /// The time with milliseconds, for logs.
    pub clock: Clock,
    /// The work tree, which must be as the commit has it.
    pub work_tree: WorkTree,
    /// How many tasks run at once, at least one.
    pub jobs: usize,
    /// Whether tasks that need nothing that failed are begun after a failure.
    pub keep_going: bool,
}

/// How each task ended, in the order of the plan, with how long it took.
pub type TaskReport = Vec<(FoundTask, TaskVerdict, Duration)>;

/// Carries tasks out. Each ends with a verdict.
pub async fn run_tasks(planned: &[PlannedTask], runner: &TaskRunner) -> TaskReport {
    let runs = |planned: &&PlannedTask| planned.is_run();
    let passed = |planned: &&PlannedTask| matches!(planned.step, Step::Passed { .. });
    (runner.sink)(TaskEvent::Planned {
        runs: planned.iter().filter(runs).count(),
        passed: planned.iter().filter(passed).count(),
    });
    let by_name: BTreeMap<&TaskId, &PlannedTask> = planned
        .iter()
        .map(|planned| (&planned.task.id, planned))
        .collect();
    let known = |id: &&TaskId| by_name.contains_key(*id);
    let before = planned.iter().map(|planned| {
        let before: BTreeSet<TaskId> = planned.task.before.iter().filter(known).cloned().collect();
        (planned.task.id.clone(), before)
    });
    let mut verdicts: BTreeMap<TaskId, (TaskVerdict, Duration)> = BTreeMap::new();
    let failed = std::cell::Cell::new(false);
    let end = |id: &TaskId, ended: Result<(TaskVerdict, Duration), &TaskId>| {
        let (verdict, duration) = ended
            .unwrap_or_else(|by| (TaskVerdict::Blocked { by: by.to_string() }, Duration::ZERO));
        let well = verdict.succeeded();
        failed.set(failed.get() || verdict.problem().is_some());
        tell(runner, id, &verdict, duration);
        verdicts.insert(id.clone(), (verdict, duration));
        well
    };
    let begin = |id: &TaskId| {
        let planned = by_name.get(id).copied();
        async move {
            match planned {
                Some(planned) => one(runner, planned).await,
                None => (TaskVerdict::Skipped, Duration::ZERO),
            }
        }
    };
    let goes_on = || !runner.stop.is_cancelled() && (runner.keep_going || !failed.get());
    let rest = in_order(before.collect(), runner.jobs, begin, end, goes_on).await;
    for id in rest {
        let verdict = if runner.stop.is_cancelled() {
            TaskVerdict::Interrupted
        } else {
            TaskVerdict::Skipped
        };
        tell(runner, &id, &verdict, Duration::ZERO);
        verdicts.insert(id, (verdict, Duration::ZERO));
    }
    runner.containers.close().await;
    let report = planned.iter().filter_map(|planned| {
        let (verdict, duration) = verdicts.remove(&planned.task.id)?;
        Some((planned.task.clone(), verdict, duration))
    });
    report.collect()
}

fn tell(runner: &TaskRunner, id: &TaskId, verdict: &TaskVerdict, duration: Duration) {
    (runner.sink)(TaskEvent::Finished {
        task: id.clone(),
        verdict: verdict.clone(),
        duration,
    });
}

/// Brings one task to its end.
async fn one(runner: &TaskRunner, planned: &PlannedTask) -> (TaskVerdict, Duration) {
    let started = Instant::now();
    let task = &planned.task;
    let verdict = match &planned.step {
        Step::Passed { commit } => {
            return (
                TaskVerdict::AlreadyPassed { commit: *commit },
                Duration::ZERO,
            );
        }
        Step::Blocked { by } => {
            return (TaskVerdict::Blocked { by: by.to_string() }, Duration::ZERO);
        }
        Step::Run { images } => {
            let work = Work {
                runner,
                task,
                images,
                started,
            };
            let verdict = work.run().await;
            verdict.unwrap_or_else(|failure| error(runner, task, failure))
        }
    };
    (verdict, started.elapsed())
}

/// The verdict of a task that could not be tried or recorded.
fn error(runner: &TaskRunner, task: &FoundTask, failure: Failure) -> TaskVerdict {
    let class = failure.class;
    let problems = failure.problems.into_iter();
    let mut problems = problems.map(|problem| {
        runner
            .masked
            .mask_problem(problem)
            .project(&task.id.project)
    });
    let first = problems.next();
    for problem in problems {
        (runner.sink)(TaskEvent::Warning(problem));
    }
    let problem = first.unwrap_or_else(|| Problem::error("unknown", "no reason was given"));
    TaskVerdict::Error { problem, class }
}

/// One task that is run.
struct Work<'a> {
    runner: &'a TaskRunner,
    task: &'a FoundTask,
    images: &'a BTreeMap<ProjectName, (String, Digest)>,
    started: Instant,
}

impl Work<'_> {
    async fn run(&self) -> Result<TaskVerdict, Failure> {
        self.refuse_differing("before it was run").await?;
        let folder = tempfile::tempdir().map_err(|error| no_folder(&error))?;
        let parts = Parts {
            runner: self.runner,
            task: self.task,
            images: self.images,
        };
        let prepared = tokio::select! {
            prepared = parts.prepare(&folder) => prepared?,
            () = self.runner.stop.cancelled() => return Ok(TaskVerdict::Interrupted),
        };
        let mut log = TaskLog::new(
            self.task.id.clone(),
            self.runner.sink.clone(),
            self.runner.clock.clone(),
            self.runner.masked.clone(),
        );
        let tries = self.task.task.retries.saturating_add(1);
        for attempt in 1..=tries {
            (self.runner.sink)(TaskEvent::Started {
                task: self.task.id.clone(),
                attempt,
            });
            if attempt > 1 {
                log.note(&format!("attempt {attempt} of {tries}"));
            }
            let limit = self.task.task.timeout;
            let stop = &self.runner.stop;
            let mut output = |stream, bytes: &[u8]| log.output(stream, bytes);
            let supervisor = &self.runner.supervisor;
            let ended = prepared.run(supervisor, limit, stop, &mut output).await?;
            log.end_streams();
            match ended {
                Ended::Code(0) => return self.passed(attempt, log).await,
                Ended::Stopped => {
                    return Ok(self
                        .failed("interrupted", "it was stopped", attempt, log)
                        .await);
                }
                _ if attempt < tries => log.note(&words(ended, limit)),
                Ended::TimedOut => {
                    return Ok(self
                        .failed("timed-out", &words(ended, limit), attempt, log)
                        .await);
                }
                Ended::Code(_) | Ended::Signal(_) => {
                    return Ok(self
                        .failed("failed", &words(ended, limit), attempt, log)
                        .await);
                }
            }
        }
        Ok(TaskVerdict::Skipped)
    }

    /// A task runs on what the commit has, or its result says nothing about the commit.
    async fn refuse_differing(&self, when: &str) -> Result<(), Failure> {
        let differing = self.runner.work_tree.differing(self.task).await?;
        if differing.is_empty() {
            return Ok(());
        }
        let shown: Vec<String> = differing.iter().take(3).map(ToString::to_string).collect();
        let more = if differing.len() > 3 { ", …" } else { "" };
        let message = format!(
            "what task '{}' rests on was not as committed {when}: {}{more}",
            self.task.id.task,
            shown.join(", ")
        );
        let problem = Problem::error("task-inputs-differ", message).hint(
            "commit or stash it; what a task itself writes belongs in .gitignore, or in \
             $WAYBILL_ARTIFACTS",
        );
        Err(Failure::new(Class::Usage, problem))
    }

    async fn passed(&self, attempts: u32, log: TaskLog) -> Result<TaskVerdict, Failure> {
        self.refuse_differing("once it had run").await?;
        let digests = self.images.iter();
        let record = PassedRecord {
            facts: PassedFacts {
                task: self.task.id.task.clone(),
                commit: self.runner.commit,
                images: digests
                    .map(|(name, (_, digest))| (name.clone(), *digest))
                    .collect(),
                attempts,
                duration: milliseconds(self.started.elapsed()),
            },
            inputs: serde_json::to_value(&self.task.inputs).unwrap_or_default(),
            runner: format!("waybill {}", env!("CARGO_PKG_VERSION")),
        };
        let registry = &self.runner.bases.registry;
        let (key, project) = (self.task.key, &self.task.id.project);
        registry
            .write_passed(
                key,
                project,
                &record,
                Some(log.finish()),
                &(self.runner.now)(),
            )
            .await?;
        Ok(if attempts > 1 {
            TaskVerdict::Flaky { attempts }
        } else {
            TaskVerdict::Passed
        })
    }

    /// Keeps the log of a failure. That this fails too is worth a warning, no more.
    async fn failed(
        &self,
        verdict: &str,
        words: &str,
        attempts: u32,
        mut log: TaskLog,
    ) -> TaskVerdict {
        log.note(words);
        let record = FailedTaskRecord {
            task: self.task.id.task.clone(),
            commit: self.runner.commit,
            verdict: verdict.to_owned(),
            message: words.to_owned(),
            attempts,
            duration: milliseconds(self.started.elapsed()),
        };
        let registry = &self.runner.bases.registry;
        let (key, project) = (self.task.key, &self.task.id.project);
        let written = registry
            .write_failed_task(
                key,
                project,
                &record,
                Some(log.finish()),
                &(self.runner.now)(),
            )
            .await;
        if let Err(error) = written {
            let message = format!(
                "the log of task '{}' could not be kept: {error}",
                self.task.id.task
            );
            let warning = Problem::warning("log-not-kept", message).project(project);
            (self.runner.sink)(TaskEvent::Warning(warning));
        }
        let problem = |code| {
            Problem::error(code, format!("task '{}': {words}", self.task.id.task))
                .project(project)
                .hint(format!(
                    "`waybill log {project} {} --failed` shows its output",
                    self.task.id.task
                ))
        };
        match verdict {
            "interrupted" => TaskVerdict::Interrupted,
            "timed-out" => TaskVerdict::TimedOut {
                problem: problem("task-timeout"),
            },
            _ => TaskVerdict::Failed {
                problem: problem("task-failed"),
            },
        }
    }
}

/// How a command ended, in words.
fn words(ended: Ended, limit: Option<Duration>) -> String {
    match ended {
        Ended::Code(code) => format!("it failed with exit code {code}"),
        Ended::Signal(signal) => format!("it was ended by signal {signal}"),
        Ended::TimedOut => format!(
            "it took longer than {} s",
            limit.unwrap_or_default().as_secs()
        ),
        Ended::Stopped => "it was stopped".to_owned(),
    }
}
