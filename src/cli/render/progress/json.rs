//! Events as JSON lines on stderr, for `--progress json`.

use std::io::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::cli::output::problem_json;
use crate::event::{Event, Phase, Sink, StepState, milliseconds};

pub(super) fn sink() -> Sink {
    Arc::new(|event| {
        // A closed stderr is nobody's loss.
        let _ = writeln!(std::io::stderr().lock(), "{}", line(&event));
    })
}

fn line(event: &Event) -> Value {
    match event {
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
            json!({"event": "phase", "project": project, "phase": phase_name(*phase)})
        }
        Event::Step {
            project,
            name,
            state,
        } => {
            let state = state_name(*state);
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
            "milliseconds": milliseconds(*duration),
        }),
    }
}

const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Build => "build",
        Phase::Push => "push",
        Phase::Record => "record",
    }
}

const fn state_name(state: StepState) -> &'static str {
    match state {
        StepState::Running => "running",
        StepState::Done => "done",
        StepState::Cached => "cached",
        StepState::Failed => "failed",
    }
}
