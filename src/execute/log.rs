//! The log of one build: what goes to the screen as events and into the record, secrets masked.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;

use super::builder::Progress;
use crate::event::{Event, Sink, StepState};
use crate::ledger::PackedLog;
use crate::mask::{MaskStream, Secrets};
use crate::model::ProjectName;

/// The most that is kept of the beginning of a log, in bytes before compression.
const MAX_KEPT: usize = 64 << 20;

/// Takes a builder's progress; shared by everything that one build does.
pub(super) struct BuildLog {
    project: ProjectName,
    secrets: Secrets,
    sink: Sink,
    state: Mutex<State>,
}

struct State {
    steps: BTreeMap<String, MaskStream>,
    /// The step that wrote last, so that the log names a step only where it changes.
    current: String,
    kept: PackedLog,
}

impl BuildLog {
    pub(super) fn new(project: ProjectName, secrets: Secrets, sink: Sink) -> Self {
        let state = State {
            steps: BTreeMap::new(),
            current: String::new(),
            kept: PackedLog::new(MAX_KEPT),
        };
        Self {
            project,
            secrets,
            sink,
            state: Mutex::new(state),
        }
    }

    /// Takes the next of a builder's messages.
    pub(super) fn progress(&self, progress: Progress) {
        let project = self.project.clone();
        match progress {
            Progress::Phase(phase) => (self.sink)(Event::Phase { project, phase }),
            Progress::Warning(problem) => {
                let problem = self.secrets.mask_problem(problem);
                (self.sink)(Event::Warning(problem.project(project)));
            }
            Progress::Step { name, state } => {
                let name = self.secrets.mask_text(&name);
                if state != StepState::Running {
                    self.end_step(&name);
                }
                (self.sink)(Event::Step {
                    project,
                    name,
                    state,
                });
            }
            Progress::Output { step, bytes } => {
                let step = self.secrets.mask_text(&step);
                let masked = self.locked(|state| {
                    let stream = state
                        .steps
                        .entry(step.clone())
                        .or_insert_with(|| self.secrets.stream());
                    let masked = stream.push(&bytes);
                    state.keep(&step, &masked);
                    masked
                });
                self.show(step, masked);
            }
        }
    }

    /// The log so far, compressed; the log is at its end.
    pub(super) fn finish(&self, last_words: Option<&str>) -> Bytes {
        let open: Vec<String> = self.locked(|state| state.steps.keys().cloned().collect());
        for step in open {
            self.end_step(&step);
        }
        self.locked(|state| {
            if let Some(words) = last_words {
                let words = self.secrets.mask_text(words);
                state.keep("waybill", format!("{words}\n").as_bytes());
            }
            std::mem::replace(&mut state.kept, PackedLog::new(0)).finish()
        })
    }

    fn end_step(&self, step: &str) {
        let rest = self.locked(|state| {
            let mut stream = state.steps.remove(step)?;
            let rest = stream.finish();
            state.keep(step, &rest);
            Some(rest)
        });
        if let Some(rest) = rest {
            self.show(step.to_owned(), rest);
        }
    }

    fn show(&self, step: String, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            (self.sink)(Event::Output {
                project: self.project.clone(),
                step,
                bytes,
            });
        }
    }

    fn locked<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        // A poisoned log is still a log.
        let mut state = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        with(&mut state)
    }
}

impl State {
    fn keep(&mut self, step: &str, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.current != step {
            step.clone_into(&mut self.current);
            self.kept.keep(format!("=== {step}\n").as_bytes());
        }
        self.kept.keep(bytes);
    }
}
