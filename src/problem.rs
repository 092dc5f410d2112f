//! What a person is told when something is wrong: one shape for manifest problems, warnings and
//! the errors of every module.
//!
//! An error type owns its code, message and hint through [`Diagnose`]; which exit code a class of
//! error ends in is decided in one place, `cli::exit`.

use std::fmt;

use serde::Serialize;

/// What kind of failure an error is; each class has one exit code (see `cli::exit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A build, a task or a deployment failed; a broken expectation was found (exit 1).
    Failed,
    /// The command line, the manifest or the repository is wrong (exit 2).
    Usage,
    /// A registry, an engine or a cloud could not be reached, or refused (exit 3).
    Unreachable,
    /// The gate is closed: not everything has succeeded, or the commit may not go there (exit 4).
    Gate,
    /// Stopped by Ctrl-C or SIGTERM (exit 130).
    Interrupted,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The command cannot go on.
    Error,
    /// Worth knowing; nothing stops.
    Warning,
}

/// A place in a file of the repository, or in a file outside it (a user's configuration).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Location {
    /// Path for display: relative to the repository's root where it is inside.
    pub file: String,
    /// 1-based line; `None` when the whole file is meant.
    pub line: Option<usize>,
    /// 1-based column, in characters.
    pub column: Option<usize>,
}

impl Location {
    /// The whole of a file.
    #[must_use]
    pub fn file(file: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line: None,
            column: None,
        }
    }

    /// A position in a file; `line` and `column` count from 1.
    #[must_use]
    pub fn at(file: impl Into<String>, line: usize, column: usize) -> Self {
        Self {
            file: file.into(),
            line: Some(line),
            column: Some(column),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
            if let Some(column) = self.column {
                write!(f, ":{column}")?;
            }
        }
        Ok(())
    }
}

/// One thing that is wrong, with all that helps to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// Stable, kebab-case name for machines, e.g. `unknown-dependency`.
    pub code: &'static str,
    /// What failed and why, one sentence without a final full stop; never holds a secret.
    pub message: String,
    /// The project it is about, where it is about one.
    pub project: Option<String>,
    /// Where it stands.
    pub location: Option<Location>,
    /// What to do next, one sentence.
    pub hint: Option<String>,
}

impl Problem {
    /// An error with a code and a message.
    #[must_use]
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            project: None,
            location: None,
            hint: None,
        }
    }

    /// A warning with a code and a message.
    #[must_use]
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, message)
        }
    }

    /// Names the project that the problem is about.
    #[must_use]
    pub fn project(mut self, project: impl fmt::Display) -> Self {
        self.project = Some(project.to_string());
        self
    }

    /// Says where it stands.
    #[must_use]
    pub fn at(mut self, location: Location) -> Self {
        self.location = Some(location);
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// An error that can tell people and machines what it is.
pub trait Diagnose: std::error::Error {
    /// The class, which decides the exit code.
    fn class(&self) -> Class;

    /// The problems to print, at least one; the first is the main one.
    fn problems(&self) -> Vec<Problem>;
}

/// Any module's error on its way up: what class it is, and what to print. Commands return this.
#[derive(Debug)]
pub struct Failure {
    /// Decides the exit code.
    pub class: Class,
    /// At least one.
    pub problems: Vec<Problem>,
}

impl Failure {
    /// A failure of one problem.
    #[must_use]
    pub fn new(class: Class, problem: Problem) -> Self {
        Self {
            class,
            problems: vec![problem],
        }
    }
}

impl<E: Diagnose> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            class: error.class(),
            problems: error.problems(),
        }
    }
}
