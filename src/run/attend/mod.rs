//! Tasks that run in containers. Such a task is a command of the host like any other, run under the
//! same supervisor: waybill's own program as an *attendant*, which asks the engine for the
//! containers, passes their output on as its own, and takes them away when it ends. The supervisor
//! asks it to end as it asks any command, so that containers end whenever a command would: at a
//! time-out, when the run is stopped, when waybill is killed.
//!
//! What to do comes in the attendant's environment, which nobody but the same user sees; how it
//! went is left in a file beside the task's own folder. Where that is missing, the attendant was
//! lost, and waybill takes its containers away itself.

mod compose;
mod container;
mod error;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub(super) use compose::Services;
pub(super) use container::{Container, Program};
pub use error::AttendError;

use crate::build::engine::{Engine, EngineError, LogStream};

/// The argument that makes waybill's program an attendant.
pub const ATTEND: &str = "attend";

/// The variable that holds the assignment.
const ASSIGNMENT: &str = "WAYBILL_ATTEND";

/// What the task's own variables begin with in the attendant's environment. No variable of a shell
/// is named so.
const OWN: &[u8] = b"task:";

/// What an attendant is to do, and where it is to say how that went.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Assignment {
    pub(super) outcome: PathBuf,
    pub(super) work: Work,
}

/// What runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Work {
    Container(Container),
    Services(Services),
}

/// How it went; whatever that is, nothing is left in the engine.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Outcome {
    /// It ended by itself.
    Ended(i64),
    /// It was to end.
    Stopped,
    /// It could not be run.
    Failed(AttendError),
}

/// Where the output goes, and what says that it is to end.
pub(super) struct Attendance<'a> {
    output: Output<'a>,
    stop: &'a CancellationToken,
}

/// Two streams.
pub struct Output<'a> {
    /// Standard output.
    pub out: &'a mut (dyn Write + Send),
    /// Standard error.
    pub error: &'a mut (dyn Write + Send),
}

impl Output<'_> {
    /// Passes a chunk on. Where nobody reads any more, it is let go: the end is near.
    fn write(&mut self, stream: LogStream, bytes: &[u8]) {
        let to = match stream {
            LogStream::Stdout => &mut self.out,
            LogStream::Stderr => &mut self.error,
        };
        let _ = to.write_all(bytes);
        let _ = to.flush();
    }
}

impl Work {
    /// The same, under this name.
    pub(super) fn named(mut self, name: String) -> Self {
        match &mut self {
            Self::Container(container) => container.name = name,
            Self::Services(services) => services.name = name,
        }
        self
    }

    /// Takes away whatever is there of it.
    pub(super) async fn sweep(&self, engine: &Engine) -> Result<(), EngineError> {
        match self {
            Self::Container(container) => engine.remove_container(&container.name).await,
            Self::Services(services) => engine.remove_compose_project(&services.name).await,
        }
    }
}

impl Assignment {
    /// The environment of the attendant: what it needs itself, the assignment, and the task's own.
    pub(super) fn environment(
        &self,
        inherited: &BTreeMap<OsString, OsString>,
        own: BTreeMap<OsString, OsString>,
    ) -> Result<BTreeMap<OsString, OsString>, AttendError> {
        let assignment = serde_json::to_string(self).map_err(|_| AttendError::NoText {
            name: "a path".to_owned(),
        })?;
        let mut environment = inherited.clone();
        environment.insert(ASSIGNMENT.into(), assignment.into());
        environment.extend(own.into_iter().map(|(name, value)| {
            let name = [OWN, name.as_bytes()].concat();
            (OsString::from_vec(name), value)
        }));
        Ok(environment)
    }

    fn read(environment: &BTreeMap<OsString, OsString>) -> Option<Self> {
        let text = environment.get(OsStr::new(ASSIGNMENT))?.to_str()?;
        serde_json::from_str(text).ok()
    }
}

/// Is an attendant, in a process of its own with this environment, until its work has ended or
/// `stop` is cancelled. Gives the exit code; `None` if there is no assignment.
pub async fn attend<'a>(
    environment: BTreeMap<OsString, OsString>,
    output: Output<'a>,
    stop: &'a CancellationToken,
) -> Option<u8> {
    let assignment = Assignment::read(&environment)?;
    let (inherited, own) = apart(environment);
    let attendance = Attendance { output, stop };
    let ended = match &assignment.work {
        Work::Container(container) => container.attend(own, attendance).await,
        Work::Services(services) => services.attend(&inherited, &own, attendance).await,
    };
    let outcome = match ended {
        Ok(Some(code)) => Outcome::Ended(code),
        Ok(None) => Outcome::Stopped,
        Err(error) => Outcome::Failed(error),
    };
    write(&assignment.outcome, &outcome);
    Some(match outcome {
        Outcome::Ended(code) => u8::try_from(code).unwrap_or(u8::MAX),
        Outcome::Stopped | Outcome::Failed(_) => u8::MAX,
    })
}

type Variables = BTreeMap<OsString, OsString>;

/// What is inherited, and what is the task's own.
fn apart(environment: Variables) -> (Variables, Variables) {
    let (mut inherited, mut own) = (Variables::new(), Variables::new());
    for (name, value) in environment {
        if let Some(name) = name.as_bytes().strip_prefix(OWN) {
            own.insert(OsStr::from_bytes(name).to_owned(), value);
        } else if name != ASSIGNMENT {
            inherited.insert(name, value);
        }
    }
    (inherited, own)
}

/// Leaves word of how it went. Where this fails, the attendant counts as lost.
fn write(path: &Path, outcome: &Outcome) {
    if let Ok(text) = serde_json::to_vec(outcome) {
        let _ = std::fs::write(path, text);
    }
}

/// What an attendant left word of; `None` if it left none.
pub(super) fn read_outcome(path: &Path) -> Option<Outcome> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}
