//! Progress while a build runs: bars on a terminal, plain lines grouped by project elsewhere, or
//! JSON lines. The output of what failed is kept for the end.

mod bars;
mod json;
mod plain;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(super) use plain::group;

use crate::cli::args::ProgressStyle;
use crate::cli::output::{Output, Style};
use crate::event::{Sink, StepState, Verdict};
use crate::model::ProjectName;

/// A renderer of events, and what is left to be shown when the work is done.
pub(in crate::cli) struct Progress {
    /// Where events go.
    pub(in crate::cli) sink: Sink,
    logs: Logs,
}

impl Progress {
    /// The renderer for a style.
    pub(in crate::cli) fn new(style: ProgressStyle, output: Output) -> Self {
        let logs = Logs::default();
        let on_terminal = std::io::stderr().is_terminal() && !output.quiet;
        let sink = match style {
            ProgressStyle::Json => json::sink(),
            ProgressStyle::Tty => bars::sink(output, logs.clone()),
            ProgressStyle::Auto if on_terminal => bars::sink(output, logs.clone()),
            ProgressStyle::Auto | ProgressStyle::Plain => plain::sink(output, logs.clone()),
        };
        Self { sink, logs }
    }

    /// The whole output of a project that failed.
    pub(in crate::cli) fn log_of(&self, project: &ProjectName) -> Vec<u8> {
        self.logs.take(project)
    }
}

/// The most that is kept of one project's output for the screen, in bytes: its end. The record
/// keeps more.
const MAX_KEPT: usize = 1 << 20;

/// Each project's output so far.
#[derive(Clone, Default)]
struct Logs(Arc<Mutex<BTreeMap<ProjectName, Vec<u8>>>>);

impl Logs {
    /// Keeps output; of very much of it, the end.
    fn keep(&self, project: &ProjectName, bytes: &[u8]) {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let log = logs.entry(project.clone()).or_default();
        log.extend_from_slice(bytes);
        if log.len() > 2 * MAX_KEPT {
            log.drain(..log.len() - MAX_KEPT);
        }
    }

    /// Keeps the line that says that a step began, or how it ended. BuildKit's own steps are left
    /// out.
    fn step(&self, project: &ProjectName, name: &str, state: StepState) {
        let line = match state {
            _ if name.starts_with("[internal]") => return,
            StepState::Done => return,
            StepState::Running => format!("{name}\n"),
            StepState::Cached => format!("{name}: cached\n"),
            StepState::Failed => format!("{name}: failed\n"),
        };
        self.keep(project, line.as_bytes());
    }

    /// The output of a project, which is over.
    fn take(&self, project: &ProjectName) -> Vec<u8> {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logs.remove(project).unwrap_or_default()
    }
}

/// The line that says how a project ended; `None` where nothing was done for it.
fn finished(
    output: &Output,
    project: &ProjectName,
    verdict: &Verdict,
    duration: Duration,
) -> Option<String> {
    let (style, more) = match verdict {
        Verdict::Reused { .. } | Verdict::None { .. } if duration.is_zero() => return None,
        Verdict::Built { digest, .. } => (Style::Green, format!(" {digest}")),
        Verdict::Adopted { commit, .. } | Verdict::Reused { commit, .. } => {
            (Style::Green, format!(" from {}", commit.short()))
        }
        Verdict::None { .. } => (Style::Green, String::new()),
        Verdict::Blocked { by } => (Style::Yellow, format!(" by {by}")),
        Verdict::Failed { .. } | Verdict::Error { .. } => (Style::Red, String::new()),
        Verdict::Interrupted => (Style::Yellow, String::new()),
    };
    let name = output.paint_status(Style::Bold, project);
    let word = output.paint_status(style, verdict.name());
    let time = if duration.is_zero() {
        String::new()
    } else {
        format!(" in {:.1} s", duration.as_secs_f64())
    };
    Some(format!("{name}: {word}{more}{time}"))
}

/// Whether a project's output waits for the end: failures come last.
const fn waits(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Failed { .. } | Verdict::Error { .. })
}
