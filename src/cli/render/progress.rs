//! Progress while a build runs: plain lines grouped by project, or JSON lines.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;

use crate::cli::args::ProgressStyle;
use crate::cli::output::{Output, Style, problem_json};
use crate::event::{Event, Phase, Sink, StepState, Verdict};
use crate::model::ProjectName;

/// The renderer for a style.
pub(in crate::cli) fn sink(style: ProgressStyle, output: Output) -> Sink {
    match style {
        ProgressStyle::Json => Arc::new(move |event| json_line(&event)),
        _ => {
            let plain = Plain {
                output,
                groups: Mutex::default(),
            };
            Arc::new(move |event| plain.take(&event))
        }
    }
}

/// Lines for CI logs: a project's output is shown in one piece, when the project ends.
struct Plain {
    output: Output,
    groups: Mutex<BTreeMap<ProjectName, Vec<u8>>>,
}

impl Plain {
    fn take(&self, event: &Event) {
        match event {
            Event::Planned { .. } | Event::Phase { .. } => {}
            Event::Tainted { project, kind } => {
                self.output
                    .status(format_args!("{project}: distrusted ({kind})"));
            }
            Event::Started { project, kind } => {
                let name = self.output.paint_status(Style::Bold, project);
                self.output
                    .status(format_args!("{name}: building ({kind})"));
            }
            Event::Step {
                project,
                name,
                state,
            } => self.step(project, name, *state),
            Event::Output { project, bytes, .. } => self.keep(project, bytes),
            Event::Warning(problem) => self.output.problems(std::slice::from_ref(problem)),
            Event::Finished {
                project,
                verdict,
                duration,
            } => {
                self.finished(project, verdict, *duration);
            }
        }
    }

    fn step(&self, project: &ProjectName, name: &str, state: StepState) {
        if name.starts_with("[internal]") {
            return;
        }
        let word = match state {
            StepState::Running => return self.keep(project, format!("{name}\n").as_bytes()),
            StepState::Cached => "cached",
            StepState::Failed => "failed",
            StepState::Done => return,
        };
        self.keep(project, format!("{name}: {word}\n").as_bytes());
    }

    fn keep(&self, project: &ProjectName, bytes: &[u8]) {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups
            .entry(project.clone())
            .or_default()
            .extend_from_slice(bytes);
    }

    fn finished(&self, project: &ProjectName, verdict: &Verdict, duration: Duration) {
        let group = {
            let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
            groups.remove(project).unwrap_or_default()
        };
        let (style, more) = match verdict {
            Verdict::Built { digest, .. } => (Style::Green, format!(" {digest}")),
            Verdict::Adopted { commit, .. } => (Style::Green, format!(" from {}", commit.short())),
            Verdict::Blocked { by } => (Style::Yellow, format!(" by {by}")),
            Verdict::Failed { .. } | Verdict::Error { .. } => (Style::Red, String::new()),
            Verdict::Interrupted => (Style::Yellow, String::new()),
            Verdict::Reused { .. } | Verdict::None { .. } if duration.is_zero() => return,
            Verdict::Reused { .. } | Verdict::None { .. } => (Style::Green, String::new()),
        };
        let name = self.output.paint_status(Style::Bold, project);
        let word = self.output.paint_status(style, verdict.name());
        let time = if duration.is_zero() {
            String::new()
        } else {
            format!(" in {:.1} s", duration.as_secs_f64())
        };
        let mut text = Vec::new();
        for line in group.split_inclusive(|byte| *byte == b'\n') {
            text.extend_from_slice(format!("{project} | ").as_bytes());
            text.extend_from_slice(line);
        }
        if !text.is_empty() && text.last() != Some(&b'\n') {
            text.push(b'\n');
        }
        text.extend_from_slice(format!("{name}: {word}{more}{time}\n").as_bytes());
        if !self.output.quiet {
            // A stderr that is closed is nobody's loss.
            let _ = std::io::stderr().lock().write_all(&text);
        }
    }
}

fn json_line(event: &Event) {
    let line = match event {
        Event::Planned { builds, reused } => {
            json!({"event": "planned", "builds": builds, "reused": reused})
        }
        Event::Tainted { project, kind } => {
            json!({"event": "tainted", "project": project, "kind": kind})
        }
        Event::Started { project, kind } => {
            json!({"event": "started", "project": project, "kind": kind})
        }
        Event::Phase { project, phase } => {
            let phase = match phase {
                Phase::Build => "build",
                Phase::Push => "push",
                Phase::Record => "record",
            };
            json!({"event": "phase", "project": project, "phase": phase})
        }
        Event::Step {
            project,
            name,
            state,
        } => {
            let state = format!("{state:?}").to_ascii_lowercase();
            json!({"event": "step", "project": project, "step": name, "state": state})
        }
        Event::Output {
            project,
            step,
            bytes,
        } => {
            let text = String::from_utf8_lossy(bytes);
            json!({"event": "output", "project": project, "step": step, "text": text})
        }
        Event::Warning(problem) => json!({"event": "warning", "problem": problem_json(problem)}),
        Event::Finished {
            project,
            verdict,
            duration,
        } => json!({
            "event": "finished",
            "project": project,
            "verdict": verdict.name(),
            "image": verdict.image().map(|(image, _)| image),
            "milliseconds": u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        }),
    };
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
