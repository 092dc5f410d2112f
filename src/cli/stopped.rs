//! Why a command ended early.

use crate::problem::Failure;

/// What a command ends with: its exit code, or why it stopped.
pub(super) type Ended = Result<u8, Stopped>;

/// Why a command ended early.
#[derive(Debug)]
pub(super) enum Stopped {
    /// Something to be told.
    Failure(Failure),
    /// Whoever read the output has gone: nobody is left to be told.
    BrokenPipe,
    /// The output could not be written.
    Output(std::io::Error),
}

impl<E: Into<Failure>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Failure(error.into())
    }
}

impl From<std::io::Error> for Stopped {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Self::BrokenPipe
        } else {
            Self::Output(error)
        }
    }
}
