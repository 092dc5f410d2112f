//! Tasks: progress while they run, the report, and the documents.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::plain;
use crate::cli::args::ProgressStyle;
use crate::cli::output::{Output, Style, problem_json};
use crate::cli::session::Session;
use crate::event::{TaskEvent, TaskSink, TaskVerdict, milliseconds};
use crate::model::TaskId;
use crate::plan::{PlannedTask, Step};
use crate::run::TaskReport;

/// The most that is kept of one task's output for the screen, in bytes: its end. The record keeps
/// more.
const MAX_KEPT: usize = 1 << 20;

/// A renderer of events, and what is left to be shown when the work is done.
pub(in crate::cli) struct TaskProgress {
    /// Where events go.
    pub(in crate::cli) sink: TaskSink,
    waiting: Waiting,
}

/// Output that was not shown yet, by task.
type Waiting = Arc<Mutex<BTreeMap<TaskId, Vec<u8>>>>;

impl TaskProgress {
    /// On a terminal, lines as they come, with the task before each; elsewhere a task's output in
    /// one piece when it ends, and that of what failed at the very end; or JSON lines.
    pub(in crate::cli) fn new(style: ProgressStyle, output: Output) -> Self {
        let waiting = Waiting::default();
        let on_terminal = std::io::stderr().is_terminal();
        let sink: TaskSink = match style {
            ProgressStyle::Json => {
                Arc::new(|event| write(format!("{}\n", line(&event)).as_bytes()))
            }
            ProgressStyle::Tty => live(output),
            ProgressStyle::Auto if on_terminal => live(output),
            ProgressStyle::Auto | ProgressStyle::Plain => grouped(output, Arc::clone(&waiting)),
        };
        Self { sink, waiting }
    }
}

fn live(output: Output) -> TaskSink {
    Arc::new(move |event| match event {
        TaskEvent::Output { task, bytes, .. } if !output.quiet => write(&group(&task, &bytes)),
        TaskEvent::Started { task, attempt } => output.status(started(&output, &task, attempt)),
        TaskEvent::Warning(problem) => output.problems(&[problem]),
        TaskEvent::Finished {
            task,
            verdict,
            duration,
        } => {
            if let Some(line) = finished(&output, &task, &verdict, duration) {
                output.status(line);
            }
        }
        TaskEvent::Planned { .. } | TaskEvent::Output { .. } => {}
    })
}

fn grouped(output: Output, waiting: Waiting) -> TaskSink {
    Arc::new(move |event| match event {
        TaskEvent::Output { task, bytes, .. } => keep(&waiting, task, &bytes),
        TaskEvent::Started { task, attempt } => output.status(started(&output, &task, attempt)),
        TaskEvent::Warning(problem) => output.problems(&[problem]),
        TaskEvent::Finished {
            task,
            verdict,
            duration,
        } => {
            let mut text = Vec::new();
            if verdict.problem().is_none() {
                text = group(&task, &take(&waiting, &task));
            }
            if let Some(line) = finished(&output, &task, &verdict, duration) {
                text.extend_from_slice(line.as_bytes());
                text.push(b'\n');
            }
            if !output.quiet {
                write(&text);
            }
        }
        TaskEvent::Planned { .. } => {}
    })
}

/// One write, so that nothing comes between; a closed stderr is nobody's loss.
fn write(text: &[u8]) {
    let _ = std::io::stderr().lock().write_all(text);
}

fn keep(waiting: &Waiting, task: TaskId, bytes: &[u8]) {
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    let log = waiting.entry(task).or_default();
    log.extend_from_slice(bytes);
    if log.len() > 2 * MAX_KEPT {
        log.drain(..log.len() - MAX_KEPT);
    }
}

fn take(waiting: &Waiting, task: &TaskId) -> Vec<u8> {
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.remove(task).unwrap_or_default()
}

/// Output with the task's name before each line; nothing in it steers the terminal.
fn group(task: &TaskId, log: &[u8]) -> Vec<u8> {
    let text = plain::log(log);
    let lines = text.lines().map(|line| format!("{task} | {line}\n"));
    lines.collect::<String>().into_bytes()
}

fn started(output: &Output, task: &TaskId, attempt: u32) -> String {
    let name = output.paint_status(Style::Bold, task);
    if attempt > 1 {
        format!("{name}: running again, attempt {attempt}")
    } else {
        format!("{name}: running")
    }
}

/// The line that says how a task ended; none where it had passed before.
fn finished(
    output: &Output,
    task: &TaskId,
    verdict: &TaskVerdict,
    duration: Duration,
) -> Option<String> {
    let (style, more) = match verdict {
        TaskVerdict::AlreadyPassed { .. } => return None,
        TaskVerdict::Passed => (Style::Green, String::new()),
        TaskVerdict::Flaky { attempts } => {
            (Style::Yellow, format!(", passed at attempt {attempts}"))
        }
        TaskVerdict::Blocked { by } => (Style::Yellow, format!(" by {by}")),
        TaskVerdict::Skipped | TaskVerdict::Interrupted => (Style::Yellow, String::new()),
        TaskVerdict::Failed { .. } | TaskVerdict::TimedOut { .. } | TaskVerdict::Error { .. } => {
            (Style::Red, String::new())
        }
    };
    let name = output.paint_status(Style::Bold, task);
    let word = output.paint_status(style, verdict.name());
    let time = if duration.is_zero() {
        String::new()
    } else {
        format!(" in {:.1} s", duration.as_secs_f64())
    };
    Some(format!("{name}: {word}{more}{time}"))
}

/// The end for people: a line of counts, and what did not pass, last and whole.
pub(in crate::cli) fn text(
    report: &TaskReport,
    progress: &TaskProgress,
    output: &Output,
) -> String {
    let mut text = format!("{}\n", counts(report));
    for (task, verdict, _) in report {
        if let Some(problem) = verdict.problem() {
            let log = group(&task.id, &take(&progress.waiting, &task.id));
            text.push_str(&String::from_utf8_lossy(&log));
            text.push_str(&output.render(problem));
            text.push('\n');
        }
    }
    text.truncate(text.trim_end().len());
    text
}

fn counts(report: &TaskReport) -> String {
    let kinds = [
        "passed",
        "flaky",
        "already-passed",
        "failed",
        "timed-out",
        "error",
        "blocked",
        "skipped",
        "interrupted",
    ];
    let count = |kind: &&str| {
        report
            .iter()
            .filter(|(_, verdict, _)| verdict.name() == *kind)
            .count()
    };
    let counts: Vec<String> = kinds
        .iter()
        .map(|kind| (kind, count(kind)))
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{count} {}", kind.replace('-', " ")))
        .collect();
    if counts.is_empty() {
        "nothing to do".to_owned()
    } else {
        counts.join(", ")
    }
}

/// What would be run, for `--dry-run`.
pub(in crate::cli) fn dry_run(session: &Session, planned: &[PlannedTask]) -> std::io::Result<()> {
    let output = &session.output;
    if output.json {
        let tasks: Vec<Value> = planned.iter().map(planned_json).collect();
        return output.document(&json!({
            "schema": "waybill.run-plan/1",
            "commit": session.commit,
            "tasks": tasks,
        }));
    }
    let mut text = String::new();
    for planned in planned {
        let word = match &planned.step {
            Step::Passed { commit } => format!("passed at {}", commit.short()),
            Step::Run { .. } => "run".to_owned(),
            Step::Blocked { by } => format!("blocked: the image of {by} is not built"),
        };
        text.push_str(&format!(
            "{}  {word}\n",
            output.paint(Style::Bold, &planned.task.id)
        ));
    }
    output.data(&text)
}

fn planned_json(planned: &PlannedTask) -> Value {
    let (action, passed_at, blocked_by) = match &planned.step {
        Step::Passed { commit } => ("none", Some(commit), None),
        Step::Run { .. } => ("run", None, None),
        Step::Blocked { by } => ("blocked", None, Some(by)),
    };
    json!({
        "project": planned.task.id.project,
        "task": planned.task.id.task,
        "key": planned.task.key,
        "action": action,
        "passedAt": passed_at,
        "blockedBy": blocked_by,
        "needs": planned.task.before,
    })
}

/// The report as the document `waybill.run/1`.
pub(in crate::cli) fn document(session: &Session, report: &TaskReport) -> Value {
    let tasks: Vec<Value> = report
        .iter()
        .map(|(task, verdict, duration)| {
            json!({
                "project": task.id.project,
                "task": task.id.task,
                "key": task.key,
                "verdict": verdict.name(),
                "passedAt": match verdict {
                    TaskVerdict::AlreadyPassed { commit } => Some(*commit),
                    _ => verdict.succeeded().then_some(session.commit),
                },
                "blockedBy": match verdict { TaskVerdict::Blocked { by } => Some(by), _ => None },
                "error": verdict.problem().map(problem_json),
                "milliseconds": milliseconds(*duration),
            })
        })
        .collect();
    json!({"schema": "waybill.run/1", "commit": session.commit, "tasks": tasks})
}

fn line(event: &TaskEvent) -> Value {
    match event {
        TaskEvent::Planned { runs, passed } => {
            json!({"event": "planned", "runs": runs, "passed": passed})
        }
        TaskEvent::Started { task, attempt } => json!({
            "event": "started", "project": task.project, "task": task.task, "attempt": attempt,
        }),
        TaskEvent::Output {
            task,
            is_error,
            bytes,
        } => json!({
            "event": "output",
            "project": task.project,
            "task": task.task,
            "stream": if *is_error { "stderr" } else { "stdout" },
            "text": String::from_utf8_lossy(bytes),
        }),
        TaskEvent::Warning(problem) => {
            json!({"event": "warning", "problem": problem_json(problem)})
        }
        TaskEvent::Finished {
            task,
            verdict,
            duration,
        } => json!({
            "event": "finished",
            "project": task.project,
            "task": task.task,
            "verdict": verdict.name(),
            "milliseconds": milliseconds(*duration),
        }),
    }
}

/// The lines of a stored log without the time and the stream that each begins with; what waybill
/// itself says keeps its mark.
pub(in crate::cli) fn without_times(log: &str) -> String {
    let plain = |line: &str| {
        let mut words = line.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some(_), Some("out" | "err"), Some(rest)) => format!("{rest}\n"),
            (Some(_), Some("---"), Some(rest)) => format!("--- {rest}\n"),
            _ => format!("{line}\n"),
        }
    };
    log.lines().map(plain).collect()
}
