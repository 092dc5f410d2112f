//! What can go wrong between waybill and an engine.

use std::io;

use crate::problem::{Class, Diagnose, Failure, Problem};

/// An error of the engine, of the way to it, or of what was sent to it.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// `DOCKER_HOST` or the files that go with it cannot be used.
    #[error("the engine's address '{address}' cannot be used: {reason}")]
    Address {
        /// As configured.
        address: String,
        /// Why not.
        reason: String,
    },
    /// No engine answers.
    #[error("no container engine answers at {address}: {source}")]
    Unreachable {
        /// Where it was asked.
        address: String,
        /// What the connection said.
        source: io::Error,
    },
    /// The engine answered that it would not.
    #[error("the engine refused to {action}: {message}")]
    Refused {
        /// What was asked, e.g. `tag waybill:x`.
        action: String,
        /// The HTTP status of the answer.
        status: u16,
        /// In the engine's words.
        message: String,
    },
    /// The connection ended, or what came was no answer.
    #[error("the engine's answer broke off while it was asked to {action}: {reason}")]
    Interrupted {
        /// What was asked.
        action: String,
        /// What happened.
        reason: String,
    },
    /// The build itself failed.
    #[error("{}", describe_failed(step.as_deref(), *exit_code, message))]
    BuildFailed {
        /// The name of the step that failed, as in [`Step`](super::Step).
        step: Option<String>,
        /// With what the step's process ended.
        exit_code: Option<i32>,
        /// In BuildKit's words.
        message: String,
    },
    /// The context could not be made; the build was given up.
    #[error("{}", first_message(.0))]
    Context(Failure),
    /// The push was refused or broke off.
    #[error("{reference} could not be pushed: {message}")]
    PushFailed {
        /// What was pushed.
        reference: String,
        /// In the words of the engine or the registry.
        message: String,
    },
    /// The engine could not have an image from its registry.
    #[error("{reference} could not be pulled: {message}")]
    PullFailed {
        /// What was to be pulled.
        reference: String,
        /// In the words of the engine or the registry.
        message: String,
    },
    /// The engine cannot run programs of this platform.
    #[error("the engine at {address} ({engine}) cannot run {platform}: {reason}")]
    PlatformNotRunnable {
        /// Which engine.
        address: String,
        /// Its own platform.
        engine: String,
        /// The one asked for.
        platform: String,
        /// How that was found out.
        reason: String,
    },
    /// An image came out for another platform than asked for.
    #[error("the image was built for {built}, not for {platform}")]
    PlatformMismatch {
        /// What was asked for.
        platform: String,
        /// What the image states.
        built: String,
    },
    /// The engine does not reach a registry that this machine serves.
    #[error("the engine at {address} does not reach the registry at {registry}: {reason}")]
    Remote {
        /// Which engine.
        address: String,
        /// Host and port of the registry.
        registry: String,
        /// In the engine's words.
        reason: String,
    },
}

fn describe_failed(step: Option<&str>, exit_code: Option<i32>, message: &str) -> String {
    match (step, exit_code) {
        (Some(step), Some(code)) => format!("'{step}' failed with exit code {code}"),
        (Some(step), None) => format!("'{step}' failed: {message}"),
        (None, _) => format!("the build failed: {message}"),
    }
}

fn first_message(failure: &Failure) -> &str {
    failure
        .problems
        .first()
        .map_or("the context could not be made", |problem| &problem.message)
}

impl Diagnose for EngineError {
    fn class(&self) -> Class {
        match self {
            Self::Address { .. } => Class::Usage,
            Self::Context(failure) => failure.class,
            Self::BuildFailed { .. } | Self::PlatformMismatch { .. } => Class::Failed,
            Self::Unreachable { .. }
            | Self::Refused { .. }
            | Self::Interrupted { .. }
            | Self::PushFailed { .. }
            | Self::PullFailed { .. }
            | Self::PlatformNotRunnable { .. }
            | Self::Remote { .. } => Class::Unreachable,
        }
    }

    fn problems(&self) -> Vec<Problem> {
        if let Self::Context(failure) = self {
            return failure.problems.clone();
        }
        vec![Problem::error(self.code(), self.to_string()).hint(self.hint())]
    }
}

impl EngineError {
    fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "engine-address",
            Self::Unreachable { .. } => "engine-unreachable",
            Self::Refused { .. } => "engine-refused",
            Self::Interrupted { .. } => "engine-interrupted",
            Self::BuildFailed { .. } => "build-failed",
            Self::Context(_) => "context-failed",
            Self::PushFailed { .. } => "push-failed",
            Self::PullFailed { .. } => "image-not-pulled",
            Self::PlatformNotRunnable { .. } => "platform-not-runnable",
            Self::PlatformMismatch { .. } => "platform-mismatch",
            Self::Remote { .. } => "engine-remote",
        }
    }

    fn hint(&self) -> String {
        match self {
            Self::Address { .. } => {
                "set DOCKER_HOST to unix://PATH, tcp://HOST:PORT or ssh://USER@HOST, and \
                 DOCKER_TLS_VERIFY and DOCKER_CERT_PATH for TLS"
            }
            Self::Unreachable { source, .. } => unreachable_hint(source),
            Self::Refused { .. } => {
                "look at what it says; builds need BuildKit, which Docker Engine has since 20.10"
            }
            Self::Interrupted { .. } => {
                "look whether the engine still runs, then run the same command again"
            }
            Self::BuildFailed { .. } => "its output stands above, and in the build's log",
            Self::Context(_) => "run the build again",
            Self::PushFailed { .. } => {
                "look at the registry's name, and whether the credentials may write there"
            }
            Self::PullFailed { .. } => {
                "look at the image's name and platforms, whether the credentials may read it, and \
                 whether the engine reaches that registry"
            }
            Self::PlatformNotRunnable { .. } => {
                "install emulation where the engine runs (binfmt and qemu-user-static), or build \
                 on an engine of that platform"
            }
            Self::PlatformMismatch { .. } => {
                "look whether the base images exist for the platform that is asked for"
            }
            Self::Remote { .. } => {
                "use an engine on this machine, or give a registry that both reach with --registry"
            }
        }
        .to_owned()
    }
}

fn unreachable_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "this user may not use the engine's socket: add it to the group 'docker' and log in \
             again, or set DOCKER_HOST"
        }
        _ => "is Docker running here? If the engine is elsewhere, set DOCKER_HOST",
    }
}
