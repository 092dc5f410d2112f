//! The check of one project.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, flag, patterns, values};
use crate::manifest::model::{LayerCache, Project, Shape};
use crate::manifest::node::{Member, Node, Position, Value};
use crate::manifest::parse::{directory_texts, pattern_file};
use crate::manifest::pattern::Pattern;
use crate::model::{NameError, Platform, ProjectName, RepoPath};
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
    Some(Project {
        target: target(context, node),
        build_args: build_args(context, node),
        platforms: platforms(context, node),
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
        layer_cache: layer_cache(node),
        epoch: epoch(node),
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

fn target(context: &mut Context, project: &Node) -> Option<String> {
    let node = project.get("target")?;
    let text = node.text()?;
    if text.is_empty() || text.contains(char::is_whitespace) {
        context.report.add(
            node.position,
            Problem::error("invalid-target", format!("'{text}' is no name of a stage"))
                .hint("leave 'target' out to build the last stage"),
        );
    }
    Some(text.to_owned())
}

/// Arguments that waybill itself gives where a Dockerfile declares them.
const OWN_ARGUMENTS: [&str; 4] = [
    "COMMIT_TAG",
    "ARG_COMMIT_HASH",
    "WAYBILL_COMMIT",
    "WAYBILL_KEY",
];

fn build_args(context: &mut Context, project: &Node) -> BTreeMap<String, String> {
    let mut arguments = BTreeMap::new();
    for member in project.get("buildArgs").map_or(&[][..], Node::members) {
        let name = &member.name;
        if name.is_empty() || name.contains(|one: char| one == '=' || one.is_whitespace()) {
            context.report.add(
                member.position,
                Problem::error(
                    "invalid-build-arg",
                    format!("'{name}' is no name of an argument"),
                )
                .hint("write {\"NAME\": \"value\"}"),
            );
        } else if OWN_ARGUMENTS.contains(&name.as_str()) {
            context.report.add(
                member.position,
                Problem::error(
                    "reserved-build-arg",
                    format!("waybill itself gives '{name}'"),
                )
                .hint("declare it in the Dockerfile with ARG, and leave it out here"),
            );
        } else if sounds_secret(name) {
            context.report.add(
                member.position,
                Problem::warning(
                    "build-arg-named-like-secret",
                    format!("'{name}' sounds like a secret, and build arguments stay in the image"),
                )
                .hint("use 'secrets' and RUN --mount=type=secret"),
            );
        }
        if let Some(value) = member.node.text() {
            arguments
                .entry(name.clone())
                .or_insert_with(|| value.to_owned());
        }
    }
    arguments
}

/// Whether one of the words that make up a name is one that secrets go by.
fn sounds_secret(name: &str) -> bool {
    const WORDS: [&str; 12] = [
        "TOKEN",
        "TOKENS",
        "SECRET",
        "SECRETS",
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "KEY",
        "APIKEY",
        "CREDENTIAL",
        "CREDENTIALS",
        "AUTH",
    ];
    let upper = name.to_uppercase();
    let words: Vec<&str> = upper.split(|one: char| !one.is_alphanumeric()).collect();
    !words.contains(&"PUBLIC") && words.iter().any(|word| WORDS.contains(word))
}

/// `platforms`, or what `multiarch` stands for, sorted; never empty.
fn platforms(context: &mut Context, project: &Node) -> Vec<Platform> {
    let multiarch = project.get("multiarch");
    let Some(node) = project.get("platforms") else {
        return match multiarch {
            Some(_) => vec![Platform::default(), arm64()],
            None => vec![Platform::default()],
        };
    };
    if let Some(multiarch) = multiarch {
        context.report.add(
            multiarch.position,
            Problem::error(
                "conflicting-fields",
                "'multiarch' and 'platforms' say the same thing",
            )
            .hint("keep 'platforms'"),
        );
    }
    if matches!(&node.value, Value::Array(items) if items.is_empty()) {
        context.report.add(
            node.position,
            Problem::error("invalid-platform", "'platforms' is empty")
                .hint("leave it out for linux/amd64"),
        );
    }
    let mut platforms = values::distinct(context, Some(node), values::platform);
    platforms.sort();
    platforms
}

fn arm64() -> Platform {
    Platform {
        architecture: "arm64".into(),
        ..Platform::default()
    }
}

fn layer_cache(project: &Node) -> LayerCache {
    match project.get("layerCache").and_then(Node::text) {
        Some("none") => LayerCache::None,
        Some("stages") => LayerCache::Stages,
        _ => LayerCache::default(),
    }
}

fn epoch(project: &Node) -> u64 {
    match project.get("epoch").map(|node| &node.value) {
        Some(Value::Number(text)) => text.parse().unwrap_or_default(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::sounds_secret;

    #[test]
    fn secrets_are_known_by_whole_words() {
        for secret in ["NPM_TOKEN", "token", "AWS_SECRET_ACCESS_KEY", "db-password"] {
            assert!(sounds_secret(secret), "{secret}");
        }
        for plain in [
            "MONKEY",
            "TOKENIZER",
            "KEYBOARD_LAYOUT",
            "SIGNING_PUBLIC_KEY",
            "",
        ] {
            assert!(!sounds_secret(plain), "{plain}");
        }
    }
}
