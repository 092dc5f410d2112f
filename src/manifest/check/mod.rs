//! From the raw form to the checked manifest, with everything that is wrong reported at once.

mod patterns;
mod project;
mod recipe;
mod tasks;
mod values;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::fields::{TOP, TOP_REQUIRED};
use super::model::{Manifest, Project, Shape};
use super::node::{Node, Value};
use super::parse::Raw;
use super::pattern::Pattern;
use super::report::Report;
use super::structure;
use crate::graph::Graph;
use crate::model::{ProjectName, RegistryApi, RegistryKind, RepoPath};
use crate::problem::Problem;

/// What a check came to.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The manifest; none if there is an error.
    pub manifest: Option<Manifest>,
    /// Errors and warnings: those of the manifest in the order of their positions, then those of
    /// pattern files.
    pub problems: Vec<Problem>,
}

/// What checking a project needs beside the project.
struct Context<'a> {
    report: Report,
    /// Every declared name, valid or not, so that one bad name is one problem.
    names: BTreeSet<&'a str>,
    shape: Shape,
    pattern_files: &'a BTreeMap<RepoPath, Option<Vec<u8>>>,
    /// Pattern files that were read for some project already: two projects may share one, and its
    /// faults are reported once.
    read_files: BTreeMap<RepoPath, Vec<Pattern>>,
    /// Patterns by their text.
    parsed: HashMap<String, Pattern>,
    /// The tasks at the top of the manifest.
    shared_tasks: BTreeMap<String, tasks::Written>,
}

pub(super) fn check(raw: &Raw, pattern_files: &BTreeMap<RepoPath, Option<Vec<u8>>>) -> Checked {
    let mut context = Context {
        report: Report::new(&raw.path),
        names: raw
            .projects()
            .iter()
            .map(|member| member.name.as_str())
            .collect(),
        shape: raw.shape,
        pattern_files,
        read_files: BTreeMap::new(),
        parsed: HashMap::new(),
        shared_tasks: BTreeMap::new(),
    };
    check_structure(&mut context.report, raw);
    if raw.shape == Shape::Full {
        context.shared_tasks = tasks::shared(&mut context, raw.root.get("tasks"));
    }
    let projects = check_projects(&mut context, raw);
    check_cycles(&mut context.report, raw, &projects);
    let manifest = top_level(&mut context, raw, projects);
    Checked {
        manifest: (!context.report.has_errors()).then_some(manifest),
        problems: context.report.finish(),
    }
}

fn check_structure(report: &mut Report, raw: &Raw) {
    structure::check_duplicates(report, &raw.root);
    if !matches!(raw.root.value, Value::Object(_)) || raw.shape == Shape::Aztec {
        structure::check_projects(report, None, &raw.root);
        return;
    }
    structure::check_object(report, None, &raw.root, TOP);
    structure::check_required(report, None, &raw.root, TOP_REQUIRED);
}

fn check_projects(context: &mut Context, raw: &Raw) -> BTreeMap<ProjectName, Project> {
    let mut projects = BTreeMap::new();
    for member in raw.projects() {
        // A duplicate was reported; the first one counts here.
        if projects.contains_key(member.name.as_str()) {
            continue;
        }
        context.report.about(Some(&member.name));
        if let Some(project) = project::check(context, member) {
            projects.insert(project.name.clone(), project);
        }
    }
    context.report.about(None);
    projects
}

/// Reports one cycle for each knot of projects that depend on one another, as a path.
fn check_cycles(report: &mut Report, raw: &Raw, projects: &BTreeMap<ProjectName, Project>) {
    let graph = Graph::from_dependencies(
        projects
            .values()
            .map(|project| (&project.name, project.dependencies.as_slice())),
    );
    for cycle in graph.cycles() {
        let [first, rest @ ..] = cycle.as_slice() else {
            continue;
        };
        let next = rest.first().unwrap_or(first).as_str();
        let member = raw
            .projects()
            .iter()
            .find(|member| member.name == first.as_str());
        let dependency = member
            .and_then(|member| member.node.get("dependencies"))
            .and_then(|list| list.items().iter().find(|item| item.text() == Some(next)));
        let path: Vec<&str> = cycle
            .iter()
            .chain([first])
            .map(ProjectName::as_str)
            .collect();
        report.add(
            dependency.map_or(raw.root.position, |node| node.position),
            Problem::error(
                "dependency-cycle",
                format!("projects depend on each other: {}", path.join(" → ")),
            )
            .project(first)
            .hint("remove one of these dependencies"),
        );
    }
}

fn top_level(
    context: &mut Context,
    raw: &Raw,
    projects: BTreeMap<ProjectName, Project>,
) -> Manifest {
    let field = |name: &str| match raw.shape {
        Shape::Full => raw.root.get(name),
        Shape::Aztec => None,
    };
    let (registry, registry_api) = base(context, "registry", field("registry"));
    let (upstream, upstream_api) = base(context, "upstream", field("upstream"));
    let image_aliases = values::distinct(context, field("imageAliases"), values::image_alias);
    let rebuild_all = patterns::list(context, "rebuildAll", field("rebuildAll"));
    let expect_absent = absent(context, field("expect"));
    let adopt = field("adopt").and_then(flag);
    let sequences = tasks::sequences(context, field("sequences"));
    Manifest {
        path: raw.path.clone(),
        shape: raw.shape,
        registry,
        registry_api,
        upstream,
        upstream_api,
        image_aliases,
        rebuild_all: rebuild_all.unwrap_or_default(),
        adopt: adopt.unwrap_or(raw.shape == Shape::Aztec),
        expect_absent,
        sequences,
        projects,
    }
}

fn base(context: &mut Context, name: &str, node: Option<&Node>) -> (Option<String>, RegistryApi) {
    let Some(node) = node else {
        return (None, RegistryApi::default());
    };
    if !matches!(node.value, Value::Object(_)) {
        return (values::base(context, name, node), RegistryApi::default());
    }
    let kind = node
        .get("kind")
        .and_then(Node::text)
        .and_then(|kind| match kind {
            "oci" => Some(RegistryKind::Oci),
            "ecr" => Some(RegistryKind::Ecr),
            _ => None,
        });
    let region = node.get("region");
    let region = region.and_then(|node| values::region(context, &format!("{name}.region"), node));
    let account = node.get("account");
    let account =
        account.and_then(|node| values::account(context, &format!("{name}.account"), node));
    let url = node.get("url");
    let url = url.and_then(|url| values::base(context, &format!("{name}.url"), url));
    let api = RegistryApi {
        kind,
        region,
        account,
    };
    (url, api)
}

fn absent(context: &mut Context, expect: Option<&Node>) -> BTreeSet<ProjectName> {
    let list = expect.and_then(|expect| expect.get("absent"));
    let mut names = BTreeSet::new();
    for item in list.map_or(&[][..], Node::items) {
        let Some(text) = item.text() else { continue };
        if !context.names.contains(text) {
            let message = format!("'expect.absent' names '{text}', and there is no such project");
            let problem = Problem::error("unknown-project", message);
            let problem =
                context
                    .report
                    .suggest(problem, text, context.names.iter().copied(), "remove it");
            context.report.add(item.position, problem);
        }
        names.extend(text.parse::<ProjectName>().ok());
    }
    names
}

/// The value of a flag, if it is one.
fn flag(node: &Node) -> Option<bool> {
    match node.value {
        Value::Bool(value) => Some(value),
        _ => None,
    }
}
