//! Why a task's containers could not be run.

use serde::{Deserialize, Serialize};

use crate::build::engine::EngineError;
use crate::problem::{Class, Diagnose, Problem};

/// Why a task's containers could not be run. It goes from the attendant to waybill as it is.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
pub enum AttendError {
    /// The engine will not have such a container, or cannot start what it is to run.
    #[error("{message}")]
    NotStarted {
        /// What was asked, and what the engine said.
        message: String,
    },
    /// The engine did not answer, or could not.
    #[error("{message}")]
    Engine {
        /// What was asked, and what happened.
        message: String,
    },
    /// Something that the engine is to have is not text.
    #[error("{name} is not UTF-8, and an engine takes nothing else")]
    NoText {
        /// What it is.
        name: String,
    },
    /// The file that is to run in a container cannot be read.
    #[error("{path} cannot be read: {reason}")]
    NoFile {
        /// The file.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// The attendant ended without a word.
    #[error("what attends to its containers ended too early: how they ended is not known")]
    Lost,
    /// The engine does not see this machine's files, and artifacts are asked for.
    #[error(
        "its artifacts cannot be had: the engine at {address} does not see this machine's files"
    )]
    NoArtifacts {
        /// Where the engine is.
        address: String,
    },
    /// Neither `docker compose` nor `docker-compose` can be run.
    #[error("there is no compose program: neither `docker compose` nor `docker-compose` runs here")]
    NoCompose,
    /// The compose program will not have the file.
    #[error("{file} is no compose file that `{program}` takes: {message}")]
    ComposeFile {
        /// The file.
        file: String,
        /// The compose program.
        program: String,
        /// What it said.
        message: String,
    },
    /// The file has no such service.
    #[error("{file} has no service '{service}', whose exit code is to count")]
    NoService {
        /// The file.
        file: String,
        /// The service.
        service: String,
        /// What it has.
        services: Vec<String>,
    },
    /// The service did not run to its end.
    #[error("service '{service}' did not run to its end: `{program}` ended with exit code {code}")]
    ServiceNotRun {
        /// The service.
        service: String,
        /// The compose program.
        program: String,
        /// Its exit code.
        code: i32,
    },
}

impl From<EngineError> for AttendError {
    fn from(error: EngineError) -> Self {
        let message = error.to_string();
        match error {
            EngineError::Refused { status, .. } if status < 500 => Self::NotStarted { message },
            _ => Self::Engine { message },
        }
    }
}

impl Diagnose for AttendError {
    fn class(&self) -> Class {
        match self {
            Self::Engine { .. } | Self::Lost => Class::Unreachable,
            _ => Class::Usage,
        }
    }

    fn problems(&self) -> Vec<Problem> {
        vec![Problem::error(self.code(), self.to_string()).hint(self.hint())]
    }
}

impl AttendError {
    const fn code(&self) -> &'static str {
        match self {
            Self::NotStarted { .. } => "container-not-started",
            Self::Engine { .. } => "engine-failed",
            Self::NoText { .. } => "container-input-not-text",
            Self::NoFile { .. } => "task-file-unreadable",
            Self::Lost => "task-attendant",
            Self::NoArtifacts { .. } => "artifacts-on-another-machine",
            Self::NoCompose => "compose-missing",
            Self::ComposeFile { .. } => "compose-file",
            Self::NoService { .. } => "unknown-service",
            Self::ServiceNotRun { .. } => "service-not-run",
        }
    }

    fn hint(&self) -> String {
        match self {
            Self::NotStarted { .. } => {
                "see that the image has the program: a command line needs `sh` there, a file the \
                 interpreter in its first line"
            }
            Self::Engine { .. } => {
                "look whether the engine still runs and has room, then run the task again"
            }
            Self::NoText { .. } => "encode it, for instance as base64, and decode it in the task",
            Self::NoFile { .. } => "see that it is checked out, and may be read",
            Self::Lost => "try again; see whether the system, for want of memory, kills processes",
            Self::NoArtifacts { .. } => "use an engine on this machine",
            Self::NoCompose => {
                "install Docker's compose plugin, or Debian's package docker-compose, and see that \
                 it is on the PATH"
            }
            Self::ComposeFile { .. } => {
                "images of projects stand there as ${WAYBILL_IMAGE_…}; the program's `config` \
                 command shows how it reads the file"
            }
            Self::NoService { services, .. } => {
                return format!("set the task's `service` to one of {}", services.join(", "));
            }
            Self::ServiceNotRun { .. } => {
                "run again with --progress plain to see what it said; every service needs an \
                 `image`, for nothing is built here"
            }
        }
        .to_owned()
    }
}
