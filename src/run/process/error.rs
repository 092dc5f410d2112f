//! Why a command could not be run to its end.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use super::Command;
use crate::problem::{Class, Diagnose, Problem};

/// Why a command could not be run to its end. Arguments and variables are never shown: they may
/// hold secrets.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The program is missing, or is none.
    #[error("{} cannot be started in {}: {source}", program.display(), directory.display())]
    NotStarted {
        /// As it was named.
        program: OsString,
        /// Where it was to run.
        directory: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The directory to run in is missing, or is none.
    #[error("{} cannot be started: there is no directory {}", program.display(), directory.display())]
    NoDirectory {
        /// As it was named.
        program: OsString,
        /// Where it was to run.
        directory: PathBuf,
    },
    /// No supervisor can be started or spoken to.
    #[error("the supervisor of a command, {} supervise, cannot be used: {source}", supervisor.display())]
    Supervisor {
        /// The program that it was to be.
        supervisor: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The supervisor ended before its command, or did not answer.
    #[error("the supervisor of {} ended too early, with {status}: how the command ended is not known", program.display())]
    SupervisorLost {
        /// The command's program.
        program: OsString,
        /// How the supervisor ended.
        status: ExitStatus,
    },
    /// The command has ended, and something that it started cannot be ended.
    #[error("{} has ended, and process {pid}, which it started, cannot be ended", program.display())]
    Remains {
        /// The command's program.
        program: OsString,
        /// One of the processes that remain.
        pid: i32,
    },
}

impl ProcessError {
    /// What an error of the system at the start of a command means.
    pub(super) fn not_started(command: &Command, error: i32) -> Self {
        let program = command.program.clone();
        let directory = command.directory.clone();
        if directory.is_dir() {
            let source = io::Error::from_raw_os_error(error);
            return Self::NotStarted {
                program,
                directory,
                source,
            };
        }
        Self::NoDirectory { program, directory }
    }
}

impl Diagnose for ProcessError {
    fn class(&self) -> Class {
        match self {
            Self::NotStarted { .. } | Self::NoDirectory { .. } => Class::Usage,
            Self::Supervisor { .. } | Self::SupervisorLost { .. } => Class::Unreachable,
            Self::Remains { .. } => Class::Failed,
        }
    }

    fn problems(&self) -> Vec<Problem> {
        let problem = |code| Problem::error(code, self.to_string());
        vec![match self {
            Self::NotStarted { source, .. } => {
                problem("task-not-started").hint(start_hint(source.kind()))
            }
            Self::NoDirectory { .. } => problem("task-not-started")
                .hint("correct the directory that the task runs in, or commit what belongs there"),
            Self::Supervisor { .. } => problem("task-supervisor").hint(
                "see that waybill's program is still in its place, and that the limits on processes \
                 and open files leave room for another",
            ),
            Self::SupervisorLost { .. } => problem("task-supervisor").hint(
                "try again; see whether the task, or the system for want of memory, kills processes \
                 that are not its own",
            ),
            Self::Remains { .. } => problem("task-remains")
                .hint("end the process by hand; a task cannot leave processes of another user behind"),
        }]
    }
}

fn start_hint(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::NotFound => {
            "see that the program is there, or on the PATH that the task is given, and that the \
             interpreter in its first line is installed"
        }
        io::ErrorKind::PermissionDenied => "make the program executable: `chmod +x`",
        io::ErrorKind::ArgumentListTooLong => {
            "give the task fewer arguments or a smaller environment"
        }
        _ => "start the program by hand in that directory to see what is wrong",
    }
}
