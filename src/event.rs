//! The contract between execution and output: the executor emits these, renderers consume them.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{CommitId, Digest, ProjectName, TaskId};
use crate::problem::Problem;

/// Something that happened while a plan was carried out.
#[derive(Clone, Debug)]
pub enum Event {
    /// Work begins: how many projects are built and how many are reused.
    Planned {
        /// Projects to build.
        builds: usize,
        /// Projects whose image stands.
        reused: usize,
    },
    /// A taint was written, so that the key under it is never used again.
    Tainted {
        /// The project whose key it is.
        project: ProjectName,
        /// Why, as a reason's kind.
        kind: &'static str,
    },
    /// A project's build begins.
    Started {
        /// The project.
        project: ProjectName,
        /// Why it is built, as a reason's kind.
        kind: &'static str,
    },
    /// A phase of a project's build begins, e.g. `build`, `push`, `record`.
    Phase {
        /// The project.
        project: ProjectName,
        /// The phase.
        phase: Phase,
    },
    /// A step of the Dockerfile changed its state.
    Step {
        /// The project.
        project: ProjectName,
        /// The step's name, e.g. `[2/3] RUN make`.
        name: String,
        /// Its state.
        state: StepState,
    },
    /// Output of a build, secrets masked; whole lines but for the last of a step.
    Output {
        /// The project.
        project: ProjectName,
        /// The step's name.
        step: String,
        /// The bytes as the build wrote them.
        bytes: Vec<u8>,
    },
    /// Something worth knowing that stops nothing.
    Warning(Problem),
    /// A project came to its end. Every project of a plan does, once.
    Finished {
        /// The project.
        project: ProjectName,
        /// How.
        verdict: Verdict,
        /// How long it took; zero where nothing was done.
        duration: Duration,
    },
}

/// Something that happened while tasks were carried out.
#[derive(Clone, Debug)]
pub enum TaskEvent {
    /// Work begins.
    Planned {
        /// Tasks to run.
        runs: usize,
        /// Tasks that have passed already.
        passed: usize,
    },
    /// A task begins, or begins again.
    Started {
        /// The task.
        task: TaskId,
        /// Which attempt it is, from 1.
        attempt: u32,
    },
    /// Output of a task, secrets masked: whole lines.
    Output {
        /// The task.
        task: TaskId,
        /// Whether it came on standard error.
        is_error: bool,
        /// The bytes as the task wrote them.
        bytes: Vec<u8>,
    },
    /// Something worth knowing that stops nothing.
    Warning(Problem),
    /// A task came to its end. Every task of a run does, once.
    Finished {
        /// The task.
        task: TaskId,
        /// How.
        verdict: TaskVerdict,
        /// How long it took; zero where nothing was done.
        duration: Duration,
    },
}

/// How a task ended.
#[derive(Clone, Debug)]
pub enum TaskVerdict {
    /// It passed, and that was recorded.
    Passed,
    /// It passed after so many attempts, more than one.
    Flaky {
        /// How often it was tried.
        attempts: u32,
    },
    /// It had passed for the same content.
    AlreadyPassed {
        /// The commit that it was run at.
        commit: CommitId,
    },
    /// It failed.
    Failed {
        /// What failed.
        problem: Problem,
    },
    /// It took too long, and was ended.
    TimedOut {
        /// How long it had.
        problem: Problem,
    },
    /// It could not be tried, or its result not be recorded.
    Error {
        /// What went wrong.
        problem: Problem,
        /// The exit class of what went wrong.
        class: crate::problem::Class,
    },
    /// What it needs did not pass, or is not there.
    Blocked {
        /// The task or project in the way.
        by: String,
    },
    /// Something else failed before it was begun.
    Skipped,
    /// The run was stopped.
    Interrupted,
}

impl TaskVerdict {
    /// The verdict's name, as in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Flaky { .. } => "flaky",
            Self::AlreadyPassed { .. } => "already-passed",
            Self::Failed { .. } => "failed",
            Self::TimedOut { .. } => "timed-out",
            Self::Error { .. } => "error",
            Self::Blocked { .. } => "blocked",
            Self::Skipped => "skipped",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether what needs the task may run.
    #[must_use]
    pub const fn succeeded(&self) -> bool {
        matches!(
            self,
            Self::Passed | Self::Flaky { .. } | Self::AlreadyPassed { .. }
        )
    }

    /// What went wrong, where something did.
    #[must_use]
    pub const fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Failed { problem } | Self::TimedOut { problem } | Self::Error { problem, .. } => {
                Some(problem)
            }
            _ => None,
        }
    }
}

/// What is being done for a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The image is built.
    Build,
    /// The image is pushed.
    Push,
    /// The record is written.
    Record,
}

/// The state of a step of a Dockerfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    /// It runs.
    Running,
    /// It is done.
    Done,
    /// Its result came from the layer cache.
    Cached,
    /// It failed.
    Failed,
}

/// How a project ended.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Built, pushed and recorded.
    Built {
        /// The image's full reference by digest.
        image: String,
        /// Its digest.
        digest: Digest,
    },
    /// The image stood already, or somebody else's build of the same key came first.
    Reused {
        /// The image's full reference by digest.
        image: String,
        /// Its digest.
        digest: Digest,
        /// The commit that it was built for.
        commit: CommitId,
    },
    /// An image known by its `cache-<commit>` tag was recorded.
    Adopted {
        /// The image's full reference by digest.
        image: String,
        /// Its digest.
        digest: Digest,
        /// The commit of the tag.
        commit: CommitId,
    },
    /// There was nothing to build.
    None {
        /// Why, as a reason's kind.
        kind: &'static str,
    },
    /// The build failed: a step did, or the time ran out.
    Failed {
        /// What failed.
        problem: Problem,
    },
    /// The build could not be tried, or its result not be recorded.
    Error {
        /// What went wrong.
        problem: Problem,
        /// The exit class of what went wrong.
        class: crate::problem::Class,
    },
    /// A project whose image it uses did not succeed.
    Blocked {
        /// That project.
        by: ProjectName,
    },
    /// Stopped before it was done.
    Interrupted,
}

impl Verdict {
    /// The word for people and JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Built { .. } => "built",
            Self::Reused { .. } => "reused",
            Self::Adopted { .. } => "adopted",
            Self::None { .. } => "none",
            Self::Failed { .. } => "failed",
            Self::Error { .. } => "error",
            Self::Blocked { .. } => "blocked",
            Self::Interrupted => "interrupted",
        }
    }

    /// The image, where there is one.
    #[must_use]
    pub const fn image(&self) -> Option<(&String, Digest)> {
        match self {
            Self::Built { image, digest }
            | Self::Reused { image, digest, .. }
            | Self::Adopted { image, digest, .. } => Some((image, *digest)),
            _ => None,
        }
    }

    /// Whether those that use the image can go on.
    #[must_use]
    pub const fn succeeded(&self) -> bool {
        self.image().is_some()
    }
}

/// Where events go. Called from many places at once; must not block for long.
pub type Sink = Arc<dyn Fn(Event) + Send + Sync>;

/// Where events of tasks go, as [`Sink`].
pub type TaskSink = Arc<dyn Fn(TaskEvent) + Send + Sync>;

/// A duration as JSON and records have it, in milliseconds.
#[must_use]
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
