//! Lines for CI logs: a project's output in one piece, when the project ends.

use std::io::Write as _;
use std::sync::Arc;

use super::{Logs, finished, waits};
use crate::cli::output::{Output, Style};
use crate::event::{Event, Sink};
use crate::model::ProjectName;

pub(super) fn sink(output: Output, logs: Logs) -> Sink {
    Arc::new(move |event| take(&output, &logs, &event))
}

fn take(output: &Output, logs: &Logs, event: &Event) {
    match event {
        Event::Planned { .. } | Event::Phase { .. } => {}
        Event::Tainted { project, kind } => {
            output.status(format_args!("{project}: distrusted ({kind})"));
        }
        Event::Started { project, kind } => {
            let name = output.paint_status(Style::Bold, project);
            output.status(format_args!("{name}: building ({kind})"));
        }
        Event::Step {
            project,
            name,
            state,
        } => logs.step(project, name, *state),
        Event::Output { project, bytes, .. } => logs.keep(project, bytes),
        Event::Warning(problem) => output.problems(std::slice::from_ref(problem)),
        Event::Finished {
            project,
            verdict,
            duration,
        } => {
            let mut text = Vec::new();
            if !waits(verdict) {
                text = group(project, &logs.take(project));
            }
            if let Some(line) = finished(output, project, verdict, *duration) {
                text.extend_from_slice(line.as_bytes());
                text.push(b'\n');
            }
            if !output.quiet {
                // One write, so that nothing comes between; a closed stderr is nobody's loss.
                let _ = std::io::stderr().lock().write_all(&text);
            }
        }
    }
}

/// Output with the project's name before each line.
pub(in crate::cli::render) fn group(project: &ProjectName, log: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(log.len());
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        text.extend_from_slice(format!("{project} | ").as_bytes());
        text.extend_from_slice(line);
    }
    if text.last().is_some_and(|byte| *byte != b'\n') {
        text.push(b'\n');
    }
    text
}
