//! The tasks of a commit: those of the manifest and those that are there by convention, in order,
//! each with its key.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::commit::{CommitFacts, Source};
use super::planner::{Keys, PARALLEL, Planning};
use crate::git::{GitError, Repository};
use crate::key::{self, Definition, Matcher, RestsOn, TaskInputs};
use crate::ledger::Bases;
use crate::manifest::{Action, CONVENTION, ContainerImage, Manifest, Project, Run, Task};
use crate::model::{Key, Mode, ProjectName, RepoPath, TaskId, TaskName, Tree as _};
use crate::plan::{FoundTask, TaskState, Tasks, has_passed};
use crate::problem::{Class, Diagnose as _, Failure, Location, Problem};

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct TaskRequest {
    /// The tasks, sequences already taken apart.
    pub tasks: Vec<TaskName>,
    /// Arguments for these, after their own.
    pub arguments: Vec<String>,
}

/// The projects whose images the tasks of these projects, and of their dependencies, may run
/// beside or in.
#[must_use]
pub fn task_projects(manifest: &Manifest, of: &BTreeSet<ProjectName>) -> BTreeSet<ProjectName> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&ProjectName> = of.iter().collect();
    let mut images = BTreeSet::new();
    while let Some(name) = open.pop() {
        let Some(project) = manifest.projects.get(name).filter(|_| seen.insert(name)) else {
            continue;
        };
        open.extend(&project.dependencies);
        images.extend(
            project
                .tasks
                .values()
                .flat_map(|task| images_of(project, task)),
        );
    }
    images
}

/// Finds the tasks of all projects of `facts`, with their keys under the projects' `keys`.
///
/// # Errors
///
/// Tasks that need one another; what git fails with. What is wrong with a task by itself is in
/// [`Tasks::faulty`].
pub fn find_tasks(
    repository: &Repository,
    facts: &CommitFacts,
    keys: &Keys,
    request: &TaskRequest,
) -> Result<Tasks, Failure> {
    let source = Source::of_commit(repository, facts.commit.id, true)?;
    let matcher = Matcher::new(&source, &facts.manifest.rebuild_all);
    let mut all = BTreeMap::new();
    for project in facts
        .order
        .iter()
        .filter_map(|name| facts.manifest.projects.get(name))
    {
        for task in of_project(&source, project)? {
            let id = TaskId {
                project: project.name.clone(),
                task: task.name.clone(),
            };
            all.insert(id, task);
        }
    }
    let mut found = Tasks::default();
    let mut before = BTreeMap::new();
    for (id, task) in &all {
        let (needed, problems) = needed(facts, &all, id, task);
        before.insert(id.clone(), needed);
        found.fault(id, problems);
    }
    found.order = in_order(facts, &before)?;
    for id in found.order.clone() {
        let (Some(task), Some(before)) = (all.remove(&id), before.remove(&id)) else {
            continue;
        };
        let reader = Reader {
            source: &source,
            matcher: &matcher,
            facts,
            keys,
            request,
        };
        found.add(&reader, id, task, before)?;
    }
    Ok(found)
}

/// Where every required task of a whole plan stands.
pub async fn required_tasks(
    repository: &Repository,
    bases: &Bases,
    planning: &Planning,
) -> Result<BTreeMap<TaskId, TaskState>, Failure> {
    let request = TaskRequest::default();
    let found = find_tasks(repository, &planning.facts, &planning.keys, &request)?;
    let required = found.tasks.values().filter(|task| task.task.required);
    let required: Vec<&FoundTask> = required.collect();
    let keys = required
        .iter()
        .map(|task| (task.key, task.id.project.clone()));
    let passed = bases.passed_many(&keys.collect()).await?;
    let mut states: BTreeMap<TaskId, TaskState> = stream::iter(required)
        .map(|task| {
            let passed = passed.get(&task.key);
            async move {
                let state = if has_passed(task, passed, &planning.plan) {
                    TaskState::Passed { key: task.key }
                } else {
                    match bases.task_failure(task.key, &task.id.project).await? {
                        Some(failure) => TaskState::Failed { failure },
                        None => TaskState::Missing,
                    }
                };
                Ok::<_, Failure>((task.id.clone(), state))
            }
        })
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    for (id, problems) in found.faulty {
        if let Some(problem) = problems.into_iter().next() {
            states.insert(id, TaskState::Faulty { problem });
        }
    }
    Ok(states)
}

impl Tasks {
    fn fault(&mut self, id: &TaskId, problems: Vec<Problem>) {
        if !problems.is_empty() {
            self.faulty.entry(id.clone()).or_default().extend(problems);
        }
    }

    fn add(
        &mut self,
        reader: &Reader<'_>,
        id: TaskId,
        task: Task,
        before: BTreeSet<TaskId>,
    ) -> Result<(), Failure> {
        // Without the key of what it needs, a task has none either.
        let mut needs = BTreeMap::new();
        for other in &before {
            match self.tasks.get(other) {
                Some(found) => {
                    needs.insert(other.to_string(), found.key);
                }
                None => self.fault(
                    &id,
                    vec![reader.problem(&id, &task, "task-of-faulty-task")(format!(
                        "'{other}', which it needs, is not as it should be"
                    ))],
                ),
            }
        }
        match reader.inputs(&id, &task, needs)? {
            Ok((inputs, file)) if !self.faulty.contains_key(&id) => {
                let key = inputs.key();
                let project = reader.facts.manifest.projects.get(&id.project);
                let directory = project.map(|project| project.project_dir.clone());
                let found = FoundTask {
                    id: id.clone(),
                    task,
                    before,
                    directory: directory.unwrap_or_default(),
                    file,
                    inputs,
                    key,
                };
                self.tasks.insert(id, found);
            }
            Ok(_) => {}
            Err(problem) => self.fault(&id, vec![problem]),
        }
        Ok(())
    }
}

/// The tasks of a project: the manifest's, and the executables of its folder that the manifest does
/// not name.
fn of_project(source: &Source<'_>, project: &Project) -> Result<Vec<Task>, GitError> {
    let mut tasks: BTreeMap<TaskName, Task> = project.tasks.clone();
    let Some(folder) = project.project_dir.join(CONVENTION.as_bytes()) else {
        return Ok(tasks.into_values().collect());
    };
    let resolved = source.resolve(&folder)?;
    source.walk(&resolved.path, &mut |path, entry| {
        let path = RepoPath::from_git(path);
        let name = path.relative_to(&resolved.path).unwrap_or_default();
        let name = std::str::from_utf8(name)
            .ok()
            .and_then(|name| name.parse::<TaskName>().ok());
        if let (Some(name), Mode::Executable) = (name, entry.mode) {
            let by_convention = || Task::of_convention(name.clone(), path.clone());
            tasks.entry(name.clone()).or_insert_with(by_convention);
        }
    })?;
    Ok(tasks.into_values().collect())
}

/// The tasks that must have passed before one: of the project itself, and with `^` of each
/// dependency, or where that has none of its name, of its dependencies in turn.
fn needed(
    facts: &CommitFacts,
    all: &BTreeMap<TaskId, Task>,
    id: &TaskId,
    task: &Task,
) -> (BTreeSet<TaskId>, Vec<Problem>) {
    let (mut found, mut problems) = (BTreeSet::new(), Vec::new());
    for need in &task.needs {
        let of = |project: &ProjectName| TaskId {
            project: project.clone(),
            task: need.task.clone(),
        };
        if need.of_dependencies {
            let mut open: Vec<&ProjectName> = dependencies(facts, &id.project).collect();
            let mut seen = BTreeSet::new();
            while let Some(name) = open.pop() {
                if all.contains_key(&of(name)) {
                    found.insert(of(name));
                } else if seen.insert(name) {
                    open.extend(dependencies(facts, name));
                }
            }
        } else if all.contains_key(&of(&id.project)) {
            found.insert(of(&id.project));
        } else {
            let message = format!("task '{}' needs '{need}', and there is none", id.task);
            let problem = Problem::error("unknown-task", message)
                .project(&id.project)
                .at(place(facts, task))
                .hint("for the tasks of its dependencies write '^' before the name");
            problems.push(problem);
        }
    }
    (found, problems)
}

fn dependencies<'f>(
    facts: &'f CommitFacts,
    project: &ProjectName,
) -> impl Iterator<Item = &'f ProjectName> {
    let project = facts.manifest.projects.get(project);
    project
        .into_iter()
        .flat_map(|project| &project.dependencies)
}

/// Where a task stands in the manifest.
fn place(facts: &CommitFacts, task: &Task) -> Location {
    let file = facts.manifest.path.to_string();
    match task.position {
        Some((line, column)) => Location::at(file, line, column),
        None => Location::file(file),
    }
}

/// All tasks, those that must have passed before first; by name where nothing else decides.
fn in_order(
    facts: &CommitFacts,
    before: &BTreeMap<TaskId, BTreeSet<TaskId>>,
) -> Result<Vec<TaskId>, Failure> {
    let mut order = Vec::new();
    let mut done = BTreeSet::new();
    let mut open: BTreeSet<&TaskId> = before.keys().collect();
    while !open.is_empty() {
        let ready = |id: &&TaskId| before.get(*id).is_none_or(|before| before.is_subset(&done));
        let ready: Vec<&TaskId> = open.iter().copied().filter(ready).collect();
        if ready.is_empty() {
            return Err(cycle(facts, before, &open));
        }
        for id in ready {
            open.remove(id);
            done.insert(id.clone());
            order.push(id.clone());
        }
    }
    Ok(order)
}

/// One cycle among tasks each of which needs another of them.
fn cycle(
    facts: &CommitFacts,
    before: &BTreeMap<TaskId, BTreeSet<TaskId>>,
    open: &BTreeSet<&TaskId>,
) -> Failure {
    let next = |id: &TaskId| {
        let needed = before.get(id).into_iter().flatten();
        needed.into_iter().find(|id| open.contains(id))
    };
    let mut path: Vec<&TaskId> = open.first().copied().into_iter().collect();
    while let Some(following) = path.last().and_then(|last| next(last)) {
        if let Some(begin) = path.iter().position(|id| *id == following) {
            path.drain(..begin);
            path.push(following);
            break;
        }
        path.push(following);
    }
    let shown: Vec<String> = path.iter().map(ToString::to_string).collect();
    let message = format!("tasks need each other: {}", shown.join(" → "));
    let problem = Problem::error("task-cycle", message)
        .at(Location::file(facts.manifest.path.to_string()))
        .hint("remove one of these needs");
    Failure::new(Class::Usage, problem)
}

/// The projects whose images take part in a task.
fn images_of(project: &Project, task: &Task) -> BTreeSet<ProjectName> {
    let mut images: BTreeSet<ProjectName> = project.run_dependencies.iter().cloned().collect();
    match &task.action {
        Action::Container {
            image: ContainerImage::Project(name),
            ..
        } => {
            images.insert(name.clone());
        }
        Action::Compose { .. } => {
            images.insert(project.name.clone());
        }
        Action::Script(_) | Action::Container { .. } => {}
    }
    images
}

/// What the inputs of tasks are found with.
struct Reader<'a> {
    source: &'a Source<'a>,
    matcher: &'a Matcher<'a, Source<'a>>,
    facts: &'a CommitFacts,
    keys: &'a Keys,
    request: &'a TaskRequest,
}

type Found = (TaskInputs, Option<RepoPath>);

impl Reader<'_> {
    /// The inputs of a task, and its file; or what is wrong with it.
    fn inputs(
        &self,
        id: &TaskId,
        task: &Task,
        needs: BTreeMap<String, Key>,
    ) -> Result<Result<Found, Problem>, Failure> {
        let mut files = BTreeSet::new();
        let file = match self.file(id, task, &mut files) {
            Ok(file) => file,
            Err(problem) => return Ok(Err(*problem)),
        };
        let rests_on = match &task.inputs {
            None => match self.keys.get(&id.project) {
                Some(key) => RestsOn::Project(key.key),
                None => {
                    return Ok(Err(self.problem(id, task, "no-key")(
                        "its project has no key".to_owned(),
                    )));
                }
            },
            Some(patterns) => {
                let mut sources = self.matcher.for_all()?.clone();
                self.matcher.collect(patterns, &[], &mut sources)?;
                RestsOn::Sources(sources)
            }
        };
        let mut images = BTreeMap::new();
        let project = self.facts.manifest.projects.get(&id.project);
        for name in project
            .map(|project| images_of(project, task))
            .unwrap_or_default()
        {
            let Some(key) = self.keys.get(&name) else {
                let message = format!("{name}, whose image takes part, has no key");
                return Ok(Err(self.problem(id, task, "no-key")(message)));
            };
            images.insert(name, key.key);
        }
        let is_asked_for = self.request.tasks.contains(&id.task);
        let more = if is_asked_for {
            &self.request.arguments[..]
        } else {
            &[]
        };
        let inputs = TaskInputs {
            id: id.clone(),
            definition: Definition::of(task, more),
            files,
            rests_on,
            images,
            needs,
        };
        Ok(Ok((inputs, file)))
    }

    /// The file that a task names, with the links on the way to it.
    fn file(
        &self,
        id: &TaskId,
        task: &Task,
        files: &mut BTreeSet<key::Source>,
    ) -> Result<Option<RepoPath>, Box<Problem>> {
        let (path, is_run) = match &task.action {
            Action::Script(Run::File(path))
            | Action::Container {
                run: Some(Run::File(path)),
                ..
            } => (path, true),
            Action::Compose { file, .. } => (file, false),
            Action::Script(Run::Line(_)) | Action::Container { .. } => return Ok(None),
        };
        let resolved = self.source.resolve(path).map_err(|error| {
            let told = error.problems().into_iter().next();
            Box::new(told.map_or_else(
                || self.problem(id, task, "task-file-missing")(error.to_string()),
                |problem| problem.project(&id.project),
            ))
        })?;
        let links = resolved.links.into_iter();
        files.extend(links.map(|(path, entry)| key::Source::new(path, entry)));
        let missing = || {
            let message = format!("there is no file {path} at this commit");
            let problem = self.problem(id, task, "task-file-missing")(message)
                .hint("commit it, or correct the manifest; a command line has a space or no slash");
            Box::new(problem)
        };
        if let Some((submodule, entry)) = resolved.submodule {
            files.insert(key::Source::new(submodule, entry));
            return Ok(Some(resolved.path));
        }
        let entry = resolved
            .entry
            .filter(|entry| entry.mode.is_file())
            .ok_or_else(missing)?;
        if is_run && entry.mode != Mode::Executable {
            let message = format!("{path} is not executable");
            let problem = self.problem(id, task, "task-not-executable")(message).hint(format!(
                "run `git update-index --chmod=+x {path}`, and commit"
            ));
            return Err(Box::new(problem));
        }
        files.insert(key::Source::new(resolved.path.clone(), entry));
        Ok(Some(resolved.path))
    }

    /// A problem of a task, given its message.
    fn problem<'s>(
        &'s self,
        id: &'s TaskId,
        task: &'s Task,
        code: &'static str,
    ) -> impl Fn(String) -> Problem + 's {
        move |message| {
            Problem::error(code, format!("task '{}': {message}", id.task))
                .project(&id.project)
                .at(place(self.facts, task))
        }
    }
}
