//! The check of one project.

use std::collections::BTreeSet;

use super::{Context, flag, patterns, recipe, tasks, values};
use crate::manifest::model::{Project, Shape};
use crate::manifest::node::{Member, Node, Position, Value};
use crate::manifest::parse::{directory_texts, pattern_file};
use crate::manifest::pattern::Pattern;
use crate::model::{NameError, ProjectName, RepoPath};
use crate::problem::Problem;

/// Checks a project; `None` if there is no telling what it would be called.
pub(super) fn check(context: &mut Context, member: &Member) -> Option<Project> {
    let node = &member.node;
    let name = name(context, member);
    let directories = directories(context, member);
    let dockerfile = dockerfile(context, node, directories.as_ref());
    let (patterns, pattern_file) = rebuild_patterns(context, node);
    let ignore_patterns = patterns::list(context, "ignorePatterns", node.get("ignorePatterns"));
    let dependencies = references(context, &member.name, "dependencies", node);
    let run_dependencies = references(context, &member.name, "runDependencies", node);
    check_runs(context, node);
    let secrets = values::distinct(context, node.get("secrets"), values::secret);
    let hermetic = node.get("hermetic").and_then(flag);
    let (build_dir, project_dir) = directories.unwrap_or_default();
    let shared = std::mem::take(&mut context.shared_tasks);
    let tasks = tasks::of_project(context, member, &project_dir, &shared);
    context.shared_tasks = shared;
    Some(Project {
        target: recipe::target(context, node),
        build_args: recipe::build_args(context, node),
        platforms: recipe::platforms(context, node),
        name: name?,
        build_dir,
        project_dir,
        dockerfile,
        patterns,
        pattern_file,
        ignore_patterns: ignore_patterns.unwrap_or_default(),
        dependencies,
        run_dependencies,
        secrets: secrets.into_iter().collect(),
        hermetic: hermetic.unwrap_or(context.shape == Shape::Full),
        layer_cache: recipe::layer_cache(node),
        tasks,
        epoch: recipe::epoch(node),
        position: (member.position.line, member.position.column),
    })
}

fn name(context: &mut Context, member: &Member) -> Option<ProjectName> {
    match member.name.parse::<ProjectName>() {
        Ok(name) => Some(name),
        Err(error) => {
            let code = match error {
                NameError::Invalid(_) => "invalid-name",
                NameError::Reserved(_) => "reserved-name",
            };
            let problem = Problem::error(code, error.to_string());
            let lower = member.name.to_lowercase();
            let problem = if lower.parse::<ProjectName>().is_ok() {
                problem.hint(format!("did you mean '{lower}'?"))
            } else {
                problem.hint("the name is also that of the image's repository")
            };
            context.report.add(member.position, problem);
            None
        }
    }
}

/// `buildDir` and `projectDir`, each standing in for the other.
fn directories(context: &mut Context, member: &Member) -> Option<(RepoPath, RepoPath)> {
    let node = &member.node;
    let root = RepoPath::root();
    let mut directory = |field: &str| {
        node.get(field)
            .map(|node| values::path(context, field, &root, node))
    };
    match (directory("buildDir"), directory("projectDir")) {
        (None, None) => {
            if matches!(node.value, Value::Object(_)) {
                let message = format!("project '{}' has no 'buildDir'", member.name);
                context.report.add(
                    member.position,
                    Problem::error("missing-field", message)
                        .hint("name the directory that it is built from"),
                );
            }
            None
        }
        (Some(only), None) | (None, Some(only)) => only.map(|path| (path.clone(), path)),
        (Some(build), Some(project)) => build.zip(project),
    }
}

/// `dockerfile`, which must stay in the repository from one of the directories that it may be
/// relative to.
fn dockerfile(
    context: &mut Context,
    project: &Node,
    directories: Option<&(RepoPath, RepoPath)>,
) -> String {
    let Some(node) = project.get("dockerfile") else {
        return "Dockerfile".into();
    };
    let text = node.text().unwrap_or_default();
    if let (Some((build, project)), Some(text)) = (directories, node.text()) {
        let inside = |directory: &RepoPath| directory.join(text.as_bytes()).is_some();
        if text.is_empty() || text.ends_with('/') {
            context.report.add(
                node.position,
                Problem::error(
                    "empty-path",
                    format!("'dockerfile' is '{text}', which is no file"),
                )
                .hint("leave it out for 'Dockerfile'"),
            );
        } else if !inside(build) && !inside(project) {
            context
                .report
                .add(node.position, values::leaves_repository("dockerfile", text));
        }
    }
    text.to_owned()
}

fn rebuild_patterns(
    context: &mut Context,
    project: &Node,
) -> (Option<Vec<Pattern>>, Option<RepoPath>) {
    let Some(node) = project.get("rebuildPatterns") else {
        return (None, None);
    };
    let Some(text) = node.text() else {
        return (patterns::list(context, "rebuildPatterns", Some(node)), None);
    };
    if text.is_empty() {
        context.report.add(
            node.position,
            Problem::error("empty-path", "'rebuildPatterns' names no file")
                .hint("leave it out to mean everything below projectDir"),
        );
        return (None, None);
    }
    if let Some(path) = pattern_file(project) {
        let patterns = patterns::file(context, &path, node.position);
        return (Some(patterns), Some(path));
    }
    // A directory that is missing or leaves the repository was reported as such.
    let directory = directory_texts(project)
        .and_then(|(_, directory)| RepoPath::root().join(directory.as_bytes()));
    if directory.is_some() {
        let problem = values::leaves_repository("rebuildPatterns", text);
        context.report.add(node.position, problem);
    }
    (None, None)
}

/// The projects that a list names, sorted, each once.
fn references(
    context: &mut Context,
    own_name: &str,
    field: &str,
    project: &Node,
) -> Vec<ProjectName> {
    let mut found = BTreeSet::new();
    for item in project.get(field).map_or(&[][..], Node::items) {
        let Some(text) = item.text() else { continue };
        if text == own_name {
            refuse_self(context, field, text, item.position);
        } else if known(context, field, text, item.position)
            && let Ok(name) = text.parse::<ProjectName>()
            && !found.insert(name)
        {
            context.report.add(
                item.position,
                Problem::warning(
                    "duplicate-dependency",
                    format!("'{text}' stands in '{field}' twice"),
                )
                .hint("remove one of the two"),
            );
        }
    }
    found.into_iter().collect()
}

/// Whether a name in a list of projects is one; what is wrong with it is reported.
fn known(context: &mut Context, field: &str, text: &str, at: Position) -> bool {
    if text.is_empty() {
        context.report.add(
            at,
            Problem::warning(
                "empty-dependency",
                format!("an empty string in '{field}' means nothing"),
            )
            .hint("remove it"),
        );
        return false;
    }
    if context.names.contains(text) {
        return true;
    }
    let message = format!("'{field}' names '{text}', and there is no such project");
    let problem = Problem::error("unknown-dependency", message);
    let problem = context
        .report
        .suggest(problem, text, context.names.iter().copied(), "");
    context.report.add(at, problem);
    false
}

/// To depend on oneself is a cycle; to run beside oneself is only a needless word.
fn refuse_self(context: &mut Context, field: &str, name: &str, at: Position) {
    let message = format!("'{name}' names itself in '{field}'");
    let problem = if field == "dependencies" {
        Problem::error("self-dependency", message)
    } else {
        Problem::warning("self-dependency", message)
    };
    context.report.add(at, problem.hint("remove it"));
}

/// `run.<job>.dependencies` must name projects too.
fn check_runs(context: &mut Context, project: &Node) {
    let jobs = project.get("run").map_or(&[][..], Node::members);
    for dependencies in jobs.iter().filter_map(|job| job.node.get("dependencies")) {
        for item in dependencies.items() {
            if let Some(text) = item.text() {
                known(context, "dependencies", text, item.position);
            }
        }
    }
}
