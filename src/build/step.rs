//! The engine's events as the executor's: steps by name, with the platform where a build is one of
//! several.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::engine::{BuildEvent, EngineError, Step};
use crate::event::StepState;
use crate::execute::builder::Progress;
use crate::model::Platform;
use crate::problem::Problem;

/// Passes on what one of a project's builds tells.
pub(super) struct Told<'a> {
    /// The platform to be named; none where the project has one only.
    platform: Option<&'a Platform>,
    progress: &'a (dyn Fn(Progress) + Send + Sync),
    /// By id.
    steps: Mutex<BTreeMap<String, Step>>,
}

impl<'a> Told<'a> {
    pub(super) const fn new(
        platform: Option<&'a Platform>,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> Self {
        let steps = Mutex::new(BTreeMap::new());
        Self {
            platform,
            progress,
            steps,
        }
    }

    pub(super) fn event(&self, event: BuildEvent) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(message) = translate(event, self.platform, &mut steps) {
            (self.progress)(message);
        }
    }
}

/// An engine's event as the executor's.
fn translate(
    event: BuildEvent,
    platform: Option<&Platform>,
    steps: &mut BTreeMap<String, Step>,
) -> Option<Progress> {
    match event {
        BuildEvent::Step(mut step) => {
            step.name = name(platform, &step.name);
            let (name, state) = (step.name.clone(), state_of(&step));
            let before = steps.insert(step.id.clone(), step);
            // BuildKit tells of a step again for whatever changes about it.
            let is_news = before.is_none_or(|before| state_of(&before) != state);
            state
                .filter(|_| is_news)
                .map(|state| Progress::Step { name, state })
        }
        BuildEvent::Log { step, bytes, .. } => {
            let name = steps
                .get(&step)
                .map_or_else(String::new, |step| step.name.clone());
            Some(Progress::Output { step: name, bytes })
        }
        BuildEvent::Warning { message, line, .. } => {
            let line = line.map(|line| format!(" (line {line} of the Dockerfile)"));
            let message = format!("{message}{}", line.unwrap_or_default());
            Some(Progress::Warning(Problem::warning("buildkit", message)))
        }
        BuildEvent::Upload { .. } | BuildEvent::Progress { .. } => None,
    }
}

/// A step's name with the platform where BuildKit itself puts it in a build for several:
/// `[linux/arm64 builder 2/3] RUN make`.
fn name(platform: Option<&Platform>, told: &str) -> String {
    match (platform, told.strip_prefix('[')) {
        (None, _) => told.to_owned(),
        (Some(platform), Some(rest)) => format!("[{platform} {rest}"),
        (Some(platform), None) => format!("[{platform}] {told}"),
    }
}

/// The error of one of a project's builds, with the platform named.
pub(super) fn named(platform: Option<&Platform>, error: EngineError) -> EngineError {
    match (platform, error) {
        (
            Some(_),
            EngineError::BuildFailed {
                step: Some(step),
                exit_code,
                message,
            },
        ) => EngineError::BuildFailed {
            step: Some(name(platform, &step)),
            exit_code,
            message,
        },
        (
            Some(platform),
            EngineError::BuildFailed {
                step: None,
                exit_code,
                message,
            },
        ) => EngineError::BuildFailed {
            step: None,
            exit_code,
            message: format!("{platform}: {message}"),
        },
        (_, error) => error,
    }
}

/// The state of a step; `None` before it began.
const fn state_of(step: &Step) -> Option<StepState> {
    match (&step.error, step.cached, &step.completed, &step.started) {
        (Some(_), ..) => Some(StepState::Failed),
        (None, true, ..) => Some(StepState::Cached),
        (None, false, Some(_), _) => Some(StepState::Done),
        (None, false, None, Some(_)) => Some(StepState::Running),
        (None, false, None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_stands_first_in_a_steps_name() {
        let arm: Platform = "linux/arm/v7".parse().unwrap();
        for (told, expected) in [
            ("[2/3] RUN make", "[linux/arm/v7 2/3] RUN make"),
            ("[build 2/3] RUN a", "[linux/arm/v7 build 2/3] RUN a"),
            ("[internal] load x", "[linux/arm/v7 internal] load x"),
            ("exporting to image", "[linux/arm/v7] exporting to image"),
        ] {
            assert_eq!(name(Some(&arm), told), expected);
            assert_eq!(name(None, told), told);
        }
    }

    #[test]
    fn a_failure_names_its_platform() {
        let failed = |step: Option<&str>| EngineError::BuildFailed {
            step: step.map(str::to_owned),
            exit_code: None,
            message: "no match".to_owned(),
        };
        let arm: Platform = "linux/arm64".parse().unwrap();
        let told = |step| named(Some(&arm), failed(step)).to_string();
        assert_eq!(
            told(Some("[2/2] RUN x")),
            "'[linux/arm64 2/2] RUN x' failed: no match"
        );
        assert_eq!(told(None), "the build failed: linux/arm64: no match");
        let alone = named(None, failed(None)).to_string();
        assert_eq!(alone, "the build failed: no match");
    }
}
