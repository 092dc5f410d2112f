//! What a task's key is made of, and its encoding.
//!
//! Frozen by a golden test, as a project's is: changing it runs every task again.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Source;
use super::inputs::Encoder;
use crate::manifest::{Action, ContainerImage, Run, Task};
use crate::model::{Key, ProjectName, TaskId};

/// The version of the encoding, part of every task's key.
pub const TASK_VERSION: u64 = 1;

/// Everything that a task's result rests on, at one commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskInputs {
    /// The task.
    #[serde(flatten)]
    pub id: TaskId,
    /// What is run, and how. Whether it is `required`, run `always`, or tried again is no part of
    /// it: none of them changes what a success means.
    pub definition: Definition,
    /// The files that the definition names, and the symbolic links on the way to them.
    pub files: BTreeSet<Source>,
    /// What it tests.
    pub rests_on: RestsOn,
    /// The effective keys of the projects whose images take part.
    pub images: BTreeMap<ProjectName, Key>,
    /// The keys of the tasks that must have passed before, by `project:task`.
    pub needs: BTreeMap<String, Key>,
}

/// A task's definition, as far as it can change a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// `kind`, with what is run: `script`, `container` or `compose`.
    pub action: Vec<String>,
    /// `args`, with those that were given when it was asked for.
    pub args: Vec<String>,
    /// `env`.
    pub env: BTreeMap<String, String>,
    /// `secrets`: ids only.
    pub secrets: BTreeSet<String>,
    /// `artifacts`.
    pub artifacts: BTreeSet<String>,
    /// `timeout`, in seconds.
    pub timeout: Option<u64>,
}

/// What a task tests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RestsOn {
    /// All that the project's key covers: its effective key.
    Project(Key),
    /// What `inputs` and `rebuildAll` match in the tree.
    Sources(BTreeSet<Source>),
}

impl Definition {
    /// That of a task, with arguments that were given when it was asked for.
    #[must_use]
    pub fn of(task: &Task, more: &[String]) -> Self {
        Self {
            action: action(&task.action),
            args: task.args.iter().chain(more).cloned().collect(),
            env: task.env.clone(),
            secrets: task.secrets.clone(),
            artifacts: task.artifacts.clone(),
            timeout: task.timeout.map(|limit| limit.as_secs()),
        }
    }
}

/// The words of an action: its kind, and what follows with the name of its role before it.
fn action(action: &Action) -> Vec<String> {
    let run = |run: &Run| match run {
        Run::File(path) => ["file".to_owned(), path.to_string()],
        Run::Line(line) => ["line".to_owned(), line.clone()],
    };
    let mut words = Vec::new();
    match action {
        Action::Script(script) => {
            words.push("script".to_owned());
            words.extend(run(script));
        }
        Action::Container { image, run: line } => {
            words.push("container".to_owned());
            words.extend(match image {
                ContainerImage::Project(name) => ["project".to_owned(), name.to_string()],
                ContainerImage::Reference(image) => ["image".to_owned(), image.clone()],
            });
            words.extend(line.iter().flat_map(run));
        }
        Action::Compose { file, service } => {
            words.extend(["compose".to_owned(), file.to_string()]);
            words.extend(service.clone());
        }
    }
    words
}

impl TaskInputs {
    /// The task's key.
    #[must_use]
    pub fn key(&self) -> Key {
        let mut encoder = Encoder::new();
        encoder.text("waybill-task");
        encoder.number(TASK_VERSION);
        encoder.text(self.id.project.as_str());
        encoder.text(self.id.task.as_str());
        self.definition.encode(&mut encoder);
        encoder.list(&self.files, Encoder::source);
        match &self.rests_on {
            RestsOn::Project(key) => {
                encoder.text("project");
                encoder.bytes(key.as_bytes());
            }
            RestsOn::Sources(sources) => {
                encoder.text("sources");
                encoder.list(sources, Encoder::source);
            }
        }
        encoder.list(&self.images, |encoder, (name, key)| {
            encoder.text(name.as_str());
            encoder.bytes(key.as_bytes());
        });
        encoder.list(&self.needs, |encoder, (name, key)| {
            encoder.text(name);
            encoder.bytes(key.as_bytes());
        });
        encoder.finish()
    }
}

impl Definition {
    fn encode(&self, encoder: &mut Encoder) {
        encoder.list(&self.action, |encoder, word| encoder.text(word));
        encoder.list(&self.args, |encoder, argument| encoder.text(argument));
        encoder.list(&self.env, |encoder, (name, value)| {
            encoder.text(name);
            encoder.text(value);
        });
        encoder.list(&self.secrets, |encoder, id| encoder.text(id));
        encoder.list(&self.artifacts, |encoder, path| encoder.text(path));
        encoder.option(self.timeout, Encoder::number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::manifest::{CONVENTION, Need};
    use crate::model::{Entry, Mode, RepoPath};

    fn task() -> Task {
        let file = RepoPath::from(&*format!("api/{CONVENTION}/unit"));
        Task::of_convention("unit".parse().unwrap(), file)
    }

    fn source(path: &str, id: &str) -> Source {
        let id = id.repeat(40).parse().unwrap();
        Source::new(
            RepoPath::from(path),
            Entry {
                mode: Mode::Executable,
                id,
            },
        )
    }

    fn key(digit: &str) -> Key {
        digit.repeat(64).parse().unwrap()
    }

    fn inputs(task: &Task) -> TaskInputs {
        TaskInputs {
            id: TaskId {
                project: "api".parse().unwrap(),
                task: task.name.clone(),
            },
            definition: Definition::of(task, &[]),
            files: BTreeSet::from([source("api/waybill/unit", "1")]),
            rests_on: RestsOn::Project(key("2")),
            images: BTreeMap::new(),
            needs: BTreeMap::new(),
        }
    }

    #[test]
    fn the_encoding_is_frozen() {
        assert_eq!(
            inputs(&task()).key().to_string(),
            "e364a8d6f85edfba541b81fb9cc81075b5caaff74c476367e328daaa2596b9a6"
        );
    }

    #[test]
    fn everything_that_can_change_a_result_changes_the_key() {
        let plain = inputs(&task());
        let mut seen = BTreeSet::from([plain.key()]);
        let mut is_new =
            |inputs: TaskInputs, what: &str| assert!(seen.insert(inputs.key()), "{what}");
        let other = |change: &dyn Fn(&mut Task)| {
            let mut task = task();
            change(&mut task);
            inputs(&task)
        };
        is_new(
            other(&|task| task.action = Action::Script(Run::Line("a".into()))),
            "run",
        );
        is_new(other(&|task| task.args = vec!["a".into()]), "args");
        is_new(
            other(&|task| task.args = vec![String::new(), "a".into()]),
            "empty arguments",
        );
        is_new(
            other(&|task| task.env = BTreeMap::from([("A".into(), "1".into())])),
            "env",
        );
        is_new(
            other(&|task| task.secrets = BTreeSet::from(["A".into()])),
            "secrets",
        );
        is_new(
            other(&|task| task.artifacts = BTreeSet::from(["A".into()])),
            "artifacts",
        );
        is_new(
            other(&|task| task.timeout = Some(Duration::from_secs(1))),
            "timeout",
        );
        for (image, what) in [
            (
                ContainerImage::Project("api".parse().unwrap()),
                "a container",
            ),
            (ContainerImage::Reference("api".into()), "another's image"),
        ] {
            let action = Action::Container { image, run: None };
            is_new(other(&|task| task.action = action.clone()), what);
        }
        let compose = |service: Option<&str>| Action::Compose {
            file: "c.yml".into(),
            service: service.map(str::to_owned),
        };
        is_new(other(&|task| task.action = compose(None)), "compose");
        is_new(other(&|task| task.action = compose(Some("api"))), "service");

        let with = |change: &dyn Fn(&mut TaskInputs)| {
            let mut inputs = plain.clone();
            change(&mut inputs);
            inputs
        };
        is_new(
            with(&|it| it.id.project = "web".parse().unwrap()),
            "project",
        );
        is_new(with(&|it| it.id.task = "e2e".parse().unwrap()), "task");
        is_new(
            with(&|it| it.files = BTreeSet::from([source("api/waybill/unit", "3")])),
            "file",
        );
        is_new(
            with(&|it| it.rests_on = RestsOn::Project(key("3"))),
            "project's key",
        );
        let sources = RestsOn::Sources(BTreeSet::from([source("api/a", "2")]));
        is_new(with(&|it| it.rests_on = sources.clone()), "sources");
        let name: ProjectName = "db".parse().unwrap();
        is_new(
            with(&|it| it.images = BTreeMap::from([(name.clone(), key("2"))])),
            "images",
        );
        is_new(
            with(&|it| it.needs = BTreeMap::from([("db".into(), key("2"))])),
            "needs",
        );
    }

    #[test]
    fn what_changes_no_result_changes_nothing() {
        let mut same = task();
        (same.required, same.always, same.retries) = (false, true, 3);
        same.needs = BTreeSet::from([Need {
            task: "lint".parse().unwrap(),
            of_dependencies: true,
        }]);
        assert_eq!(inputs(&same).key(), inputs(&task()).key());
    }
}
