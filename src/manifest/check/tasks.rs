//! The check of tasks and sequences.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Context, flag, patterns, values};
use crate::manifest::node::{Member, Node, Position, Value};
use crate::manifest::pattern::Pattern;
use crate::manifest::task::{Action, CONVENTION, ContainerImage, Need, Run, Task};
use crate::model::{RepoPath, TaskName, parse_duration};
use crate::problem::Problem;

/// The fields of a task as they are written, at the top or in a project.
#[derive(Clone, Default)]
pub(super) struct Written {
    from: Option<(String, Position)>,
    kind: Option<String>,
    run: Option<(String, Position)>,
    args: Option<Vec<String>>,
    env: Option<BTreeMap<String, String>>,
    secrets: Option<BTreeSet<String>>,
    needs: Option<BTreeSet<Need>>,
    inputs: Option<Vec<Pattern>>,
    artifacts: Option<BTreeSet<String>>,
    timeout: Option<Duration>,
    retries: Option<u32>,
    required: Option<bool>,
    always: Option<bool>,
    image: Option<(String, Position)>,
    file: Option<(String, Position)>,
    service: Option<(String, Position)>,
}

/// The tasks at the top of the manifest.
pub(super) fn shared(context: &mut Context, tasks: Option<&Node>) -> BTreeMap<String, Written> {
    let mut found = BTreeMap::new();
    for member in tasks.map_or(&[][..], Node::members) {
        name(context, member);
        let written = written(context, &member.node);
        if let Some((_, at)) = &written.from {
            let message = format!("'{}' stands at the top, and has 'use'", member.name);
            let problem = Problem::error("shared-task-of-task", message)
                .hint("only a project's tasks are made from shared ones");
            context.report.add(*at, problem);
        }
        found.entry(member.name.clone()).or_insert(written);
    }
    found
}

/// The tasks of a project.
pub(super) fn of_project(
    context: &mut Context,
    project: &Member,
    directory: &RepoPath,
    shared: &BTreeMap<String, Written>,
) -> BTreeMap<TaskName, Task> {
    let mut tasks = BTreeMap::new();
    let members = project.node.get("tasks").map_or(&[][..], Node::members);
    for member in members {
        let Some(name) = name(context, member) else {
            continue;
        };
        let mut own = written(context, &member.node);
        if let Some(text) = member.node.text() {
            own.from = Some((text.to_owned(), member.node.position));
        }
        let whole = match &own.from {
            None => own,
            Some((from, at)) => {
                let Some(shared_one) = shared.get(from) else {
                    unknown_shared(context, from, *at, shared);
                    continue;
                };
                own.over(shared_one)
            }
        };
        let task = whole.task(context, project, directory, (&name, member.position));
        tasks.entry(name).or_insert(task);
    }
    tasks
}

/// `sequences`.
pub(super) fn sequences(
    context: &mut Context,
    node: Option<&Node>,
) -> BTreeMap<TaskName, Vec<TaskName>> {
    let mut found = BTreeMap::new();
    for member in node.map_or(&[][..], Node::members) {
        let items: Vec<TaskName> = member
            .node
            .items()
            .iter()
            .filter_map(|item| task_name(context, item.text()?, item.position))
            .collect();
        if let Some(name) = name(context, member) {
            found.entry(name).or_insert(items);
        }
    }
    found
}

fn name(context: &mut Context, member: &Member) -> Option<TaskName> {
    task_name(context, &member.name, member.position)
}

fn task_name(context: &mut Context, text: &str, at: Position) -> Option<TaskName> {
    match text.parse::<TaskName>() {
        Ok(name) => Some(name),
        Err(error) => {
            let problem = Problem::error("invalid-task-name", error.to_string())
                .hint("the name is also part of a variable, a file's name and a tag");
            context.report.add(at, problem);
            None
        }
    }
}

fn unknown_shared(
    context: &mut Context,
    from: &str,
    at: Position,
    shared: &BTreeMap<String, Written>,
) {
    let message = format!("there is no task '{from}' at the top of the manifest");
    let problem = Problem::error("unknown-shared-task", message);
    let words = shared.keys().map(String::as_str);
    let otherwise = "add it to 'tasks' at the top, or write an object with 'run'";
    let problem = context.report.suggest(problem, from, words, otherwise);
    context.report.add(at, problem);
}

/// Reads the fields of a task, and reports what is wrong with each.
fn written(context: &mut Context, node: &Node) -> Written {
    let placed = |field: &str| {
        let node = node.get(field)?;
        Some((node.text()?.to_owned(), node.position))
    };
    let texts = |field: &str| {
        let items = node.get(field)?.items().iter();
        Some(items.filter_map(|item| item.text().map(str::to_owned)))
    };
    Written {
        from: placed("use"),
        kind: placed("kind").map(|(kind, _)| kind),
        run: placed("run"),
        args: texts("args").map(Iterator::collect),
        env: node.get("env").map(|env| variables(context, env)),
        secrets: node
            .get("secrets")
            .map(|secrets| secret_ids(context, secrets)),
        needs: node.get("needs").map(|needs| needed(context, needs)),
        inputs: patterns::list(context, "inputs", node.get("inputs")),
        artifacts: node
            .get("artifacts")
            .map(|artifacts| kept(context, artifacts)),
        timeout: node
            .get("timeout")
            .and_then(|timeout| limit(context, timeout)),
        retries: node
            .get("retries")
            .and_then(|retries| times(context, retries)),
        required: node.get("required").and_then(flag),
        always: node.get("always").and_then(flag),
        image: placed("image"),
        file: placed("file"),
        service: placed("service"),
    }
}

impl Written {
    /// These fields, and those of another task where these are not written.
    fn over(self, other: &Self) -> Self {
        let other = other.clone();
        Self {
            from: None,
            kind: self.kind.or(other.kind),
            run: self.run.or(other.run),
            args: self.args.or(other.args),
            env: match (self.env, other.env) {
                (Some(own), Some(mut all)) => {
                    all.extend(own);
                    Some(all)
                }
                (own, all) => own.or(all),
            },
            secrets: self.secrets.or(other.secrets),
            needs: self.needs.or(other.needs),
            inputs: self.inputs.or(other.inputs),
            artifacts: self.artifacts.or(other.artifacts),
            timeout: self.timeout.or(other.timeout),
            retries: self.retries.or(other.retries),
            required: self.required.or(other.required),
            always: self.always.or(other.always),
            image: self.image.or(other.image),
            file: self.file.or(other.file),
            service: self.service.or(other.service),
        }
    }

    fn task(
        self,
        context: &mut Context,
        project: &Member,
        directory: &RepoPath,
        (name, position): (&TaskName, Position),
    ) -> Task {
        let action = self.action(context, project, directory, name);
        Task {
            name: name.clone(),
            action,
            args: self.args.unwrap_or_default(),
            env: self.env.unwrap_or_default(),
            secrets: self.secrets.unwrap_or_default(),
            needs: self.needs.unwrap_or_default(),
            inputs: self.inputs,
            artifacts: self.artifacts.unwrap_or_default(),
            timeout: self.timeout,
            retries: self.retries.unwrap_or(0),
            required: self.required.unwrap_or(true),
            always: self.always.unwrap_or(false),
            position: Some((position.line, position.column)),
        }
    }

    fn action(
        &self,
        context: &mut Context,
        project: &Member,
        directory: &RepoPath,
        name: &TaskName,
    ) -> Action {
        let kind = match (&self.kind, &self.file, &self.image) {
            (Some(kind), ..) => kind.as_str(),
            (None, Some(_), _) => "compose",
            (None, None, Some(_)) => "container",
            (None, None, None) => "script",
        };
        self.refuse_fields_of_others(context, kind);
        let run = self.run.as_ref();
        let run = run.and_then(|(text, at)| command(context, directory, text, *at));
        match kind {
            "compose" => Action::Compose {
                file: self.compose_file(context, directory),
                service: self.service.as_ref().map(|(service, _)| service.clone()),
            },
            "container" => Action::Container {
                image: self.container_image(context, project),
                run,
            },
            _ => Action::Script(run.unwrap_or_else(|| {
                let file = format!("{CONVENTION}/{name}");
                Run::File(directory.join(file.as_bytes()).unwrap_or_default())
            })),
        }
    }

    /// Reports fields that mean nothing for this kind.
    fn refuse_fields_of_others(&self, context: &mut Context, kind: &str) {
        let fields = [
            ("image", &self.image, "container"),
            ("file", &self.file, "compose"),
            ("service", &self.service, "compose"),
        ];
        for (field, value, of) in fields {
            if let Some((_, at)) = value.as_ref().filter(|_| of != kind) {
                let message = format!("'{field}' is for tasks of the kind '{of}'");
                let problem = Problem::error("field-of-other-kind", message);
                let hint = format!("this task is of the kind '{kind}': leave the field out");
                context.report.add(*at, problem.hint(hint));
            }
        }
        if let Some((_, at)) = self.run.as_ref().filter(|_| kind == "compose") {
            let problem = Problem::error("field-of-other-kind", "a compose task has no 'run'")
                .hint("the compose file says what its services run");
            context.report.add(*at, problem);
        }
    }

    fn compose_file(&self, context: &mut Context, directory: &RepoPath) -> RepoPath {
        let (text, at) = match &self.file {
            Some((text, at)) => (text.as_str(), Some(*at)),
            None => ("compose.yml", None),
        };
        directory.join(text.as_bytes()).unwrap_or_else(|| {
            let problem = values::leaves_repository("file", text);
            context
                .report
                .add(at.unwrap_or(Position { line: 1, column: 1 }), problem);
            RepoPath::root()
        })
    }

    fn container_image(&self, context: &mut Context, project: &Member) -> ContainerImage {
        let (text, at) = match &self.image {
            None => (project.name.as_str(), project.position),
            Some((text, at)) => (text.as_str(), *at),
        };
        match text.parse() {
            Ok(name) if context.names.contains(text) => ContainerImage::Project(name),
            _ => {
                if text.is_empty() || text.contains(char::is_whitespace) {
                    let message = format!("'{text}' is neither a project nor an image");
                    let problem = Problem::error("invalid-task-image", message)
                        .hint("name a project of this manifest, or a reference such as debian:12");
                    context.report.add(at, problem);
                }
                ContainerImage::Reference(text.to_owned())
            }
        }
    }
}

/// `run`: a word with a slash in it is a file of the repository, all else a line for `sh`.
fn command(context: &mut Context, directory: &RepoPath, text: &str, at: Position) -> Option<Run> {
    if text.trim().is_empty() {
        let problem = Problem::error("empty-run", "'run' is empty")
            .hint("leave it out for the executable 'waybill/<task>' in projectDir");
        context.report.add(at, problem);
        return None;
    }
    let plain = |one: char| one.is_alphanumeric() || "/._-+@".contains(one);
    if !(text.contains('/') && text.chars().all(plain)) {
        return Some(Run::Line(text.to_owned()));
    }
    let file = directory.join(text.as_bytes());
    if file.is_none() {
        context
            .report
            .add(at, values::leaves_repository("run", text));
    }
    file.map(Run::File)
}

fn variables(context: &mut Context, env: &Node) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for member in env.members() {
        if !is_variable(&member.name) {
            let message = format!("'{}' is no name of a variable", member.name);
            let problem = Problem::error("invalid-task-env", message)
                .hint("letters, digits and '_', the first no digit");
            context.report.add(member.position, problem);
        } else if member.name.starts_with("WAYBILL_") {
            let message = format!("'{}' is waybill's own", member.name);
            let problem = Problem::error("reserved-task-env", message)
                .hint("variables that begin with WAYBILL_ are set by waybill");
            context.report.add(member.position, problem);
        } else if let Some(value) = member.node.text() {
            found.entry(member.name.clone()).or_insert(value.to_owned());
        }
    }
    found
}

/// Whether a text can name a variable of the environment in every shell.
fn is_variable(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    text.bytes().next().is_some_and(letter)
        && text
            .bytes()
            .all(|byte| letter(byte) || byte.is_ascii_digit())
}

/// `secrets`: each id is also the name of the variable that holds the value.
fn secret_ids(context: &mut Context, node: &Node) -> BTreeSet<String> {
    let id = |text: &str| {
        if is_variable(text) && !text.starts_with("WAYBILL_") {
            return Ok(text.to_owned());
        }
        // The text is not repeated: it may be the secret itself.
        let message = "a task's secret is named as the variable that it is given in";
        let problem = Problem::error("invalid-secret", message)
            .hint("letters, digits and '_', the first no digit, and not WAYBILL_ in front");
        Err(Box::new(problem))
    };
    values::distinct(context, Some(node), id)
        .into_iter()
        .collect()
}

fn needed(context: &mut Context, node: &Node) -> BTreeSet<Need> {
    let mut found = BTreeSet::new();
    for item in node.items() {
        let Some(text) = item.text() else { continue };
        let (of_dependencies, name) = match text.strip_prefix('^') {
            Some(name) => (true, name),
            None => (false, text),
        };
        found.extend(task_name(context, name, item.position).map(|task| Need {
            task,
            of_dependencies,
        }));
    }
    found
}

fn kept(context: &mut Context, node: &Node) -> BTreeSet<String> {
    let path = |text: &str| {
        let inside = RepoPath::root().join(text.as_bytes());
        if inside.is_some_and(|path| path != RepoPath::root()) {
            return Ok(text.to_owned());
        }
        let message = format!("'{text}' is no path below the folder of artifacts");
        let problem = Problem::error("invalid-artifact", message)
            .hint("write the file's path relative to $WAYBILL_ARTIFACTS");
        Err(Box::new(problem))
    };
    values::distinct(context, Some(node), path)
        .into_iter()
        .collect()
}

fn limit(context: &mut Context, node: &Node) -> Option<Duration> {
    match parse_duration(node.text()?) {
        Ok(limit) => Some(limit),
        Err(message) => {
            let problem = Problem::error("invalid-timeout", message);
            context.report.add(node.position, problem);
            None
        }
    }
}

/// The most that a task is tried again.
const MOST_RETRIES: u32 = 10;

fn times(context: &mut Context, node: &Node) -> Option<u32> {
    let Value::Number(text) = &node.value else {
        return None;
    };
    match text.parse::<u32>() {
        Ok(times) if times <= MOST_RETRIES => Some(times),
        // A number that is none was reported as such.
        Err(_) if text.parse::<u64>().is_err() => None,
        _ => {
            let message = format!("'retries' is {text}, and at most {MOST_RETRIES}");
            let problem = Problem::error("invalid-retries", message)
                .hint("a task that fails so often is better mended");
            context.report.add(node.position, problem);
            None
        }
    }
}
