//! What can be wrong with a Dockerfile, each with the place where it stands.

use std::fmt;

use crate::model::ProjectName;
use crate::problem::{Class, Diagnose, Location, Problem};

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// The file is no Dockerfile, by the rules of BuildKit's own frontend.
    #[error("{0}")]
    Syntax(String),
    /// An image name holds a variable that nothing gives a value, or that Docker does not expand.
    #[error("variable '{name}' in '{text}' has no value here")]
    OpenVariable {
        /// The variable, without `$`.
        name: String,
        /// The image name as written.
        text: String,
    },
    /// `COPY --from` does not expand variables.
    #[error("'{0}' holds a variable, and `--from` does not expand variables")]
    VariableInFrom(String),
    /// `COPY --from=<number>` beyond the last stage.
    #[error("there is no stage number {0}")]
    UnknownStage(String),
    /// The stage to build does not exist.
    #[error("there is no stage '{0}' to build")]
    UnknownTarget(String),
    /// What stands where an image is expected is no image name.
    #[error("'{text}' is no valid image name: {reason}")]
    InvalidReference {
        /// The name after its variables were expanded.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A project's image is decided by the plan, so it cannot be pinned in a Dockerfile.
    #[error("project '{0}' is referenced by digest")]
    ProjectByDigest(ProjectName),
    /// A project's image is used but the manifest does not say so.
    #[error("the image of project '{0}' is used, but it is not among the dependencies")]
    UndeclaredDependency(ProjectName),
}

impl FaultKind {
    /// The stable name for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "dockerfile-syntax",
            Self::OpenVariable { .. } | Self::VariableInFrom(_) => "open-variable",
            Self::UnknownStage(_) => "unknown-stage",
            Self::UnknownTarget(_) => "unknown-target",
            Self::InvalidReference { .. } => "invalid-reference",
            Self::ProjectByDigest(_) => "project-by-digest",
            Self::UndeclaredDependency(_) => "undeclared-dependency",
        }
    }

    fn hint(&self) -> String {
        match self {
            Self::Syntax(_) => "correct the Dockerfile".into(),
            Self::OpenVariable { name, .. } => format!(
                "give it a default with `ARG {name}=…` before the first FROM, or a value in \
                 `buildArgs`"
            ),
            Self::VariableInFrom(_) => {
                "name the image in a stage of its own (`FROM image AS name`) and copy from that"
                    .into()
            }
            Self::UnknownStage(_) => "name the stage instead of counting it".into(),
            Self::UnknownTarget(_) => {
                "correct `target` in the manifest, or name a stage with `AS`".into()
            }
            Self::InvalidReference { .. } => "write it as [host/]name[:tag][@digest]".into(),
            Self::ProjectByDigest(_) => {
                "leave the digest out: the plan decides which image of a project is used".into()
            }
            Self::UndeclaredDependency(name) => {
                format!("add '{name}' to the project's `dependencies`")
            }
        }
    }
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub kind: FaultKind,
    /// Where it stands.
    pub location: Location,
}

impl Fault {
    /// As a problem to print.
    #[must_use]
    pub fn problem(&self) -> Problem {
        Problem::error(self.kind.code(), self.kind.to_string())
            .at(self.location.clone())
            .hint(self.kind.hint())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location, self.kind)
    }
}

/// A Dockerfile that cannot be used as it is: everything that is wrong with it, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerfileError {
    /// In the order of the file.
    faults: Vec<Fault>,
}

impl DockerfileError {
    /// `Err` if there is any fault.
    pub(super) fn check(faults: Vec<Fault>) -> Result<(), Self> {
        if faults.is_empty() {
            return Ok(());
        }
        Err(Self { faults })
    }

    /// All that is wrong, in the order of the file.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl From<Fault> for DockerfileError {
    fn from(fault: Fault) -> Self {
        Self {
            faults: vec![fault],
        }
    }
}

impl fmt::Display for DockerfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.faults
            .iter()
            .take(1)
            .try_for_each(|fault| fault.fmt(f))
    }
}

impl std::error::Error for DockerfileError {}

impl Diagnose for DockerfileError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn problems(&self) -> Vec<Problem> {
        self.faults.iter().map(Fault::problem).collect()
    }
}
