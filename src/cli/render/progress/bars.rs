//! Bars for a terminal: one for the whole, and a line for each project that is being built.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Logs, finished};
use crate::cli::output::{Output, Style};
use crate::event::{Event, Phase, Sink, StepState};
use crate::model::ProjectName;

pub(super) fn sink(output: Output, logs: Logs) -> Sink {
    let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
    let bars = Bars {
        output,
        logs,
        screen,
        state: Mutex::default(),
    };
    Arc::new(move |event| bars.take(&event))
}

struct Bars {
    output: Output,
    logs: Logs,
    screen: MultiProgress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    whole: Option<ProgressBar>,
    running: BTreeMap<ProjectName, ProgressBar>,
}

/// How often the spinners turn.
const TICK: Duration = Duration::from_millis(120);

impl Bars {
    fn take(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Planned { builds: 0, .. } => {}
            Event::Planned { builds, reused } => {
                state.whole = Some(self.whole(*builds, *reused));
            }
            Event::Tainted { project, kind } => {
                self.line(format!("{project}: distrusted ({kind})"));
            }
            Event::Started { project, kind } => {
                let bar = self.running(&state, project, kind);
                state.running.insert(project.clone(), bar);
            }
            Event::Phase { project, phase } => {
                let phase = match phase {
                    Phase::Build => "sending the context",
                    Phase::Push => "pushing",
                    Phase::Record => "recording",
                };
                state.say(project, phase);
            }
            Event::Step {
                project,
                name,
                state: step,
            } => {
                self.logs.step(project, name, *step);
                if *step == StepState::Running {
                    state.say(project, name);
                }
            }
            Event::Output { project, bytes, .. } => self.logs.keep(project, bytes),
            Event::Warning(problem) => self.line(self.output.render(problem)),
            Event::Finished {
                project,
                verdict,
                duration,
            } => {
                if !super::waits(verdict) {
                    self.logs.take(project);
                }
                if let Some(bar) = state.running.remove(project) {
                    bar.finish_and_clear();
                    state.advance();
                }
                if let Some(line) = finished(&self.output, project, verdict, *duration) {
                    self.line(line);
                }
            }
        }
    }

    fn whole(&self, builds: usize, reused: usize) -> ProgressBar {
        let bar = self.screen.add(ProgressBar::new(builds as u64));
        bar.set_style(style("{bar:24} {pos}/{len} built, {msg}, {elapsed}"));
        bar.set_message(format!("{reused} reused"));
        bar.enable_steady_tick(Duration::from_secs(1));
        bar
    }

    fn running(&self, state: &State, project: &ProjectName, kind: &str) -> ProgressBar {
        let bar = match &state.whole {
            Some(whole) => self.screen.insert_before(whole, ProgressBar::new_spinner()),
            None => self.screen.add(ProgressBar::new_spinner()),
        };
        bar.set_style(style("{spinner} {prefix} {wide_msg} {elapsed}"));
        bar.set_prefix(self.output.paint_status(Style::Bold, project));
        bar.set_message(kind.to_owned());
        bar.enable_steady_tick(TICK);
        bar
    }

    fn line(&self, text: String) {
        // A closed stderr is nobody's loss.
        let _ = self.screen.println(text);
    }
}

impl State {
    fn say(&self, project: &ProjectName, message: &str) {
        if let Some(bar) = self.running.get(project) {
            bar.set_message(message.lines().next().unwrap_or_default().to_owned());
        }
    }

    fn advance(&mut self) {
        if let Some(whole) = &self.whole {
            whole.inc(1);
        }
        if self.running.is_empty()
            && self.whole.as_ref().is_some_and(is_full)
            && let Some(whole) = self.whole.take()
        {
            whole.finish_and_clear();
        }
    }
}

fn is_full(bar: &ProgressBar) -> bool {
    bar.length() == Some(bar.position())
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants of this file; a default bar is what a mistake in one costs.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}
