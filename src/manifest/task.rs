//! A task as the manifest has it, what it shares with others filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::Pattern;
use crate::model::{ProjectName, RepoPath, TaskName};

/// A command that belongs to a project, and is run once per content.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its name.
    pub name: TaskName,
    /// What is run, and where.
    pub action: Action,
    /// `args`.
    pub args: Vec<String>,
    /// `env`.
    pub env: BTreeMap<String, String>,
    /// `secrets`: ids; the caller maps them to values.
    pub secrets: BTreeSet<String>,
    /// `needs`.
    pub needs: BTreeSet<Need>,
    /// `inputs`: what its result rests on; `None` for all that the project's key covers.
    pub inputs: Option<Vec<Pattern>>,
    /// `artifacts`: files that are kept, relative to the folder that it is given for them.
    pub artifacts: BTreeSet<String>,
    /// `timeout`.
    pub timeout: Option<Duration>,
    /// `retries`: how often it is tried again.
    pub retries: u32,
    /// `required`: whether it must have passed before the commit is sealed.
    pub required: bool,
    /// `always`: whether it is run although it has passed.
    pub always: bool,
    /// Where its name stands in the manifest: 1-based line and column; `None` for one that is there
    /// by convention.
    pub position: Option<(usize, usize)>,
}

/// What is run, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// On the host, in `projectDir`.
    Script(Run),
    /// In a container.
    Container {
        /// The image that the container is made from.
        image: ContainerImage,
        /// What is run there; `None` for what the image says.
        run: Option<Run>,
    },
    /// By a compose file.
    Compose {
        /// The file.
        file: RepoPath,
        /// The service whose exit code counts; `None` for the project's name.
        service: Option<String>,
    },
}

/// What a script or a container runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// An executable of the repository.
    File(RepoPath),
    /// A command line for `sh`.
    Line(String),
}

/// The image that a container is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerImage {
    /// A project's, by default the task's own.
    Project(ProjectName),
    /// Any other, by reference.
    Reference(String),
}

/// A task that must have passed before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// Its name.
    pub task: TaskName,
    /// Whether it is that of each dependency, rather than of the project itself.
    pub of_dependencies: bool,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.of_dependencies { "^" } else { "" };
        write!(f, "{mark}{}", self.task)
    }
}

/// The folder below `projectDir` whose executables are tasks by their names.
pub const CONVENTION: &str = "waybill";

impl Task {
    /// The task that an executable of the convention's folder is.
    #[must_use]
    pub fn of_convention(name: TaskName, file: RepoPath) -> Self {
        Self {
            name,
            action: Action::Script(Run::File(file)),
            args: Vec::new(),
            env: BTreeMap::new(),
            secrets: BTreeSet::new(),
            needs: BTreeSet::new(),
            inputs: None,
            artifacts: BTreeSet::new(),
            timeout: None,
            retries: 0,
            required: true,
            always: false,
            position: None,
        }
    }
}
