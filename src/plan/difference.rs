//! What differs between two commits as far as one project is concerned: the explanation of a
//! rebuild.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::key::{ProjectFacts, Recipe, Source};
use crate::manifest::{Manifest, Pattern};
use crate::model::{Change, ChangedFile, CommitId, MAX_FILES, Mode, ProjectName, Reason};

/// A project's surroundings at one commit: everything that its key was computed from.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The commit's manifest.
    pub manifest: &'a Manifest,
    /// The projects, at least the one in question with its dependencies, direct and transitive.
    pub projects: &'a BTreeMap<ProjectName, ProjectFacts>,
}

/// Why `project` is built now, given the nearest ancestor that was built and what changed in the
/// tree since. `tainted` are the dependencies whose keys come from a taint now.
#[must_use]
pub fn inputs_changed(
    project: &ProjectName,
    ancestor: CommitId,
    before: Side<'_>,
    now: Side<'_>,
    changes: &[Change],
    tainted: &BTreeSet<ProjectName>,
) -> Reason {
    let routes = routes(project, now.manifest);
    let mut files = Vec::new();
    let mut files_total = 0;
    let mut listed: BTreeSet<&[u8]> = BTreeSet::new();
    for change in changes {
        let Some((route, pattern)) = first_match(change, &routes, before, now) else {
            continue;
        };
        files_total += 1;
        listed.insert(change.path.as_bytes());
        if files.len() < MAX_FILES {
            let (path, pattern) = (change.path.to_string(), pattern.text().to_owned());
            files.push(ChangedFile {
                path,
                pattern,
                via: route.clone(),
            });
        }
    }
    let mut fields = Vec::new();
    for route in &routes {
        let Some(name) = route.last() else { continue };
        let label = |field: &str| {
            if name == project {
                field.to_owned()
            } else {
                format!("{name}.{field}")
            }
        };
        let differing = fields_of(name, before, now, changes, &listed);
        fields.extend(differing.into_iter().map(label));
        if name != project && tainted.contains(name) {
            fields.push(label("taint"));
        }
    }
    Reason::InputsChanged {
        ancestor,
        files,
        files_total,
        fields,
        refused: None,
    }
}

/// The pattern of this project, or of `rebuildAll`, that a path matches.
#[must_use]
pub fn matching_pattern<'a>(
    change: &Change,
    name: &ProjectName,
    side: Side<'a>,
) -> Option<&'a Pattern> {
    let facts = side.projects.get(name)?;
    let project = side.manifest.projects.get(name)?;
    let path = change.path.as_bytes();
    let is_submodule = [change.old, change.new]
        .into_iter()
        .flatten()
        .any(|entry| entry.mode == Mode::Submodule);
    let matches = |pattern: &&Pattern| {
        pattern.is_match(path) || (is_submodule && pattern.may_match_below(&change.path))
    };
    let ignored = !is_submodule
        && project
            .ignore_patterns
            .iter()
            .any(|ignore| ignore.is_match(path));
    let own = facts.patterns.iter().filter(|_| !ignored).find(matches);
    own.or_else(|| side.manifest.rebuild_all.iter().find(matches))
}

/// From the project to each of its dependencies, itself first, by the shortest way; nearest first.
pub(super) fn routes(project: &ProjectName, manifest: &Manifest) -> Vec<Vec<ProjectName>> {
    let mut routes = Vec::new();
    let mut seen = BTreeSet::from([project.clone()]);
    let mut queue = VecDeque::from([vec![project.clone()]]);
    while let Some(route) = queue.pop_front() {
        let last = route.last().and_then(|name| manifest.projects.get(name));
        for dependency in last
            .map(|project| project.dependencies.as_slice())
            .unwrap_or_default()
        {
            if seen.insert(dependency.clone()) {
                let mut longer = route.clone();
                longer.push(dependency.clone());
                queue.push_back(longer);
            }
        }
        routes.push(route);
    }
    routes
}

fn first_match<'a>(
    change: &Change,
    routes: &'a [Vec<ProjectName>],
    before: Side<'a>,
    now: Side<'a>,
) -> Option<(&'a Vec<ProjectName>, &'a Pattern)> {
    routes.iter().find_map(|route| {
        let name = route.last()?;
        let pattern = matching_pattern(change, name, now)
            .or_else(|| matching_pattern(change, name, before))?;
        Some((route, pattern))
    })
}

/// The fields of one project's own inputs that differ, other than files that are listed.
fn fields_of(
    name: &ProjectName,
    before: Side<'_>,
    now: Side<'_>,
    changes: &[Change],
    listed: &BTreeSet<&[u8]>,
) -> Vec<&'static str> {
    let (Some(old), Some(new)) = (before.projects.get(name), now.projects.get(name)) else {
        return vec!["project"];
    };
    let mut fields = recipe_fields(&old.inputs.recipe, &new.inputs.recipe, listed);
    if old.inputs.epoch != new.inputs.epoch {
        fields.push("epoch");
    }
    // The work tree's context may set two keys apart where nothing else does.
    if old.inputs == new.inputs && new.own.is_of_work_tree() {
        fields.push("worktree");
    }
    let explained = |change: &Change| {
        let now = matching_pattern(change, name, now);
        now.or_else(|| matching_pattern(change, name, before))
            .is_some()
    };
    if old.inputs.sources != new.inputs.sources && !changes.iter().any(explained) {
        fields.push("rebuildPatterns");
    }
    let dependencies = |side: Side<'_>| {
        side.manifest
            .projects
            .get(name)
            .map(|project| project.dependencies.clone())
    };
    if dependencies(before) != dependencies(now) {
        fields.push("dependencies");
    }
    fields
}

fn recipe_fields(old: &Recipe, new: &Recipe, listed: &BTreeSet<&[u8]>) -> Vec<&'static str> {
    // A file that is listed as changed explains itself, unless another file took its place.
    let differs = |old: &Option<Source>, new: &Option<Source>| match (old, new) {
        (Some(old), Some(new)) if old.path == new.path => {
            old != new && !listed.contains(new.path.as_bytes())
        }
        _ => old != new,
    };
    let rows = [
        ("buildDir", old.build_dir != new.build_dir),
        ("dockerfile", differs(&old.dockerfile, &new.dockerfile)),
        ("ignoreFile", differs(&old.ignore_file, &new.ignore_file)),
        ("links", old.links != new.links),
        ("target", old.target != new.target),
        ("buildArgs", old.build_args != new.build_args),
        ("secrets", old.secrets != new.secrets),
        ("platforms", old.platforms != new.platforms),
        ("hermetic", old.hermetic != new.hermetic),
        ("registry", old.registry != new.registry),
        ("imageAliases", old.image_aliases != new.image_aliases),
        ("releaseTag", old.release_tag != new.release_tag),
    ];
    rows.into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(name, _)| name)
        .collect()
}
