//! `waybill plan --if`: what a change of some paths would build. No registry is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::args::PlanArgs;
use crate::cli::exit;
use crate::cli::output::{Output, Style, problem_json};
use crate::cli::session::Session;
use crate::cli::stopped::Ended;
use crate::gather::CommitFacts;
use crate::git::Snapshot;
use crate::model::{Mode, ProjectName, RepoPath};
use crate::plan::{Cause, Hits, Side, Supposed, if_changed};
use crate::problem::{Class, Failure, Problem};

pub(in crate::cli) fn run(session: &Session, args: &PlanArgs) -> Ended {
    let named: BTreeSet<ProjectName> = session.names(&args.projects)?.into_iter().collect();
    let options = session.commit_options();
    let only = (!named.is_empty()).then_some(&named);
    let facts = CommitFacts::load(&session.repository, session.commit, &options, only, true)?;
    let paths = supposed(session, args, &facts)?;
    let side = Side {
        manifest: &facts.manifest,
        projects: &facts.projects,
    };
    let mut found = if_changed(&paths, side);
    found.retain(|name, _| named.is_empty() || named.contains(name));
    let notes = notes(&paths, &facts);
    let output = session.output;
    if output.json {
        output.document(&document(session, &found, &notes))?;
    } else {
        output.problems(&notes);
        let all = if named.is_empty() {
            facts.projects.len()
        } else {
            named.len()
        };
        output.data(&text(&found, all, output))?;
    }
    Ok(if args.exit_code && !found.is_empty() {
        exit::WOULD_BUILD
    } else {
        exit::DONE
    })
}

/// The paths of the command line: a directory of the commit stands for every file below it.
fn supposed(
    session: &Session,
    args: &PlanArgs,
    facts: &CommitFacts,
) -> Result<Vec<Supposed>, Failure> {
    let tree = session.repository.snapshot_of_tree(facts.commit.tree)?;
    let mut paths = BTreeSet::new();
    for given in &args.if_changed {
        let path = find(session, &tree, given)?;
        match tree.entry(&path)? {
            Some(entry) if entry.mode == Mode::Tree => tree.walk(&path, &mut |leaf, entry| {
                paths.insert(Supposed {
                    path: RepoPath::from_git(leaf),
                    below: entry.mode == Mode::Submodule,
                });
            })?,
            Some(entry) => {
                let below = entry.mode == Mode::Submodule;
                paths.insert(Supposed { path, below });
            }
            None => {
                let below = given.as_os_str().as_bytes().ends_with(b"/")
                    || session.repository.root().join(to_os(&path)).is_dir();
                paths.insert(Supposed { path, below });
            }
        }
    }
    Ok(paths.into_iter().collect())
}

/// A path from the current directory, or else from the repository's root where only that names
/// something.
fn find(session: &Session, tree: &Snapshot<'_>, given: &Path) -> Result<RepoPath, Failure> {
    let text = given.as_os_str().as_bytes();
    let here = if given.is_absolute() {
        inside(session, given)
    } else {
        let here = session.settings.directory.canonicalize().ok();
        here.and_then(|here| inside(session, &here))
            .and_then(|here| here.join(text))
    };
    let from_root = RepoPath::root().join(text);
    if let Some(from_root) = from_root {
        let is_here = match &here {
            Some(here) => tree.entry(here)?.is_some(),
            None => false,
        };
        if here.is_none() || (!is_here && tree.entry(&from_root)?.is_some()) {
            return Ok(from_root);
        }
    }
    here.ok_or_else(|| {
        let message = format!("'{}' lies outside the repository", given.display());
        let problem = Problem::error("path-outside-repository", message)
            .hint("--if takes paths from the current directory or the repository's root");
        Failure::new(Class::Usage, problem)
    })
}

/// A path of the file system as one of the repository, `..` and `.` resolved by their names.
fn inside(session: &Session, path: &Path) -> Option<RepoPath> {
    let root = session.repository.work_dir()?;
    let relative = path.strip_prefix(root).ok()?;
    RepoPath::root().join(relative.as_os_str().as_bytes())
}

fn to_os(path: &RepoPath) -> &std::ffi::OsStr {
    std::ffi::OsStr::from_bytes(path.as_bytes())
}

/// What cannot be told from paths alone.
fn notes(paths: &[Supposed], facts: &CommitFacts) -> Vec<Problem> {
    let is_among = |path: &RepoPath| paths.iter().any(|supposed| supposed.path == *path);
    let mut notes = Vec::new();
    if is_among(&facts.manifest.path) {
        let message = format!(
            "a change of {} builds the projects whose entries it changes: which ones depends on \
             what is written",
            facts.manifest.path
        );
        notes.push(Problem::warning("manifest-changes", message));
    }
    for project in facts.manifest.projects.values() {
        if let Some(file) = project.pattern_file.as_ref().filter(|file| is_among(file)) {
            let message = format!("a change of {file} changes which files count");
            notes.push(Problem::warning("patterns-change", message).project(&project.name));
        }
    }
    notes
}

fn document(session: &Session, found: &BTreeMap<ProjectName, Hits>, notes: &[Problem]) -> Value {
    let projects: Vec<Value> = found
        .iter()
        .map(|(name, hits)| {
            let files = hits.listed.iter().map(|hit| {
                let (pattern, field) = match &hit.cause {
                    Cause::Pattern(pattern) => (Some(pattern), None),
                    Cause::Field(field) => (None, Some(field)),
                };
                json!({"path": hit.path, "pattern": pattern, "field": field, "via": hit.via})
            });
            json!({
                "name": name,
                "action": "build",
                "files": files.collect::<Vec<_>>(),
                "filesTotal": hits.total,
            })
        })
        .collect();
    json!({
        "schema": "waybill.plan-if/1",
        "commit": session.commit,
        "projects": projects,
        "warnings": notes.iter().map(problem_json).collect::<Vec<_>>(),
    })
}

fn text(found: &BTreeMap<ProjectName, Hits>, all: usize, output: Output) -> String {
    let width = found.keys().map(|name| name.as_str().len()).max();
    let width = width.unwrap_or(0);
    let mut text = String::new();
    for (name, hits) in found {
        let action = output.paint(Style::Yellow, "build");
        let name = output.paint(Style::Bold, format!("{name:<width$}"));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{action}  {name}  {}", sentence(hits));
    }
    let rest = all.saturating_sub(found.len());
    let _ = writeln!(text, "{} would be built, {rest} not", found.len());
    text
}

fn sentence(hits: &Hits) -> String {
    let Some(first) = hits.listed.first() else {
        return String::new();
    };
    let cause = match &first.cause {
        Cause::Pattern(pattern) => format!("matches {pattern}"),
        Cause::Field("dockerfile") => "is the Dockerfile".to_owned(),
        Cause::Field("ignoreFile") => "is the ignore file".to_owned(),
        Cause::Field(_) => "is a link on the way".to_owned(),
    };
    let via = match first.via.get(1..) {
        Some(via) if !via.is_empty() => {
            let names: Vec<&str> = via.iter().map(AsRef::as_ref).collect();
            format!(" (via {})", names.join(" → "))
        }
        _ => String::new(),
    };
    let more = match hits.total - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{} {cause}{via}{more}", first.path)
}
