//! What an engine tells while it works.

use std::time::SystemTime;

/// Something that happened during a build, in the order in which BuildKit told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildEvent {
    /// So many bytes of the context went to the engine; nothing is built before all are there.
    Upload {
        /// Since the start.
        bytes: u64,
    },
    /// A step, each time when something about it changed.
    Step(Step),
    /// Output of a step.
    Log {
        /// The step's id.
        step: String,
        /// Which of its streams.
        stream: LogStream,
        /// As they came; not always whole lines.
        bytes: Vec<u8>,
    },
    /// How far a part of a step is, such as a layer that is pulled.
    Progress {
        /// The step's id.
        step: String,
        /// The name of the part, such as a layer's digest.
        part: String,
        /// Done so far, mostly in bytes.
        current: u64,
        /// Of how many, where that is known.
        total: Option<u64>,
    },
    /// BuildKit's advice on the Dockerfile.
    Warning {
        /// The step's id.
        step: String,
        /// What it says.
        message: String,
        /// 1-based line of the Dockerfile.
        line: Option<u32>,
    },
}

/// A step of a build: an instruction, or BuildKit's own work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Names the step for the length of the build.
    pub id: String,
    /// For people, e.g. `[builder 2/3] RUN make`.
    pub name: String,
    /// When it began, if it did.
    pub started: Option<SystemTime>,
    /// When it ended, if it did.
    pub completed: Option<SystemTime>,
    /// Whether its result came from a cache.
    pub cached: bool,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// Which stream of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How far a push is: one layer's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushEvent {
    /// The layer, in the engine's short form; `None` for the push as a whole.
    pub layer: Option<String>,
    /// In the engine's words, e.g. `Pushing`.
    pub status: String,
    /// Bytes done so far, where told.
    pub current: Option<u64>,
    /// Of how many, where told.
    pub total: Option<u64>,
}
