//! What a change of some paths would build, without asking any registry.

use std::collections::BTreeMap;

use super::difference::{Routes, Side, matches_change, matching_pattern};
use crate::key::ProjectFacts;
use crate::manifest::Pattern;
use crate::model::{Change, Entry, MAX_FILES, Mode, ObjectId, ProjectName, RepoPath};

/// A path that is supposed to change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Supposed {
    /// From the repository's root.
    pub path: RepoPath,
    /// Whether anything below it may change: nothing is there yet that could be named.
    pub below: bool,
}

/// Why a project would be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The path that changes.
    pub path: RepoPath,
    /// What makes it count.
    pub cause: Cause,
    /// From the project to the dependency that it counts for, the shortest way.
    pub via: Vec<ProjectName>,
}

/// What makes a path count for a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A pattern of the project, or of `rebuildAll`.
    Pattern(String),
    /// It is read by this field of the key: `dockerfile`, `ignoreFile`, `links`.
    Field(&'static str),
}

/// The paths that would build a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// At most [`MAX_FILES`].
    pub listed: Vec<Hit>,
    /// How many there are in all.
    pub total: usize,
}

/// The projects that a change of these paths would build. A change of the manifest is not among
/// what is looked at: which keys it changes depends on what is written.
#[must_use]
pub fn if_changed(paths: &[Supposed], side: Side<'_>) -> BTreeMap<ProjectName, Hits> {
    let changes: Vec<Change> = paths.iter().map(change).collect();
    let mut found = BTreeMap::new();
    for (name, facts) in side.projects {
        let is_new = |change: &Change| new_field(facts, side, change) == Some("dockerfile");
        if facts.dockerfile.is_none() && !changes.iter().any(is_new) {
            continue;
        }
        let routes = Routes::new(name, side.manifest);
        let mut hits = Hits::default();
        for change in &changes {
            let Some((via, cause)) = first_cause(change, &routes, side) else {
                continue;
            };
            hits.total += 1;
            if hits.listed.len() < MAX_FILES {
                let path = change.path.clone();
                hits.listed.push(Hit { path, cause, via });
            }
        }
        if hits.total > 0 {
            found.insert(name.clone(), hits);
        }
    }
    found
}

/// Of changed paths, those that a project's key rests on, or where `inputs` has the patterns of
/// something else, what these and `rebuildAll`'s match.
#[must_use]
pub fn paths_that_count(
    changes: &[Change],
    project: &ProjectName,
    inputs: Option<&[Pattern]>,
    side: Side<'_>,
) -> Vec<RepoPath> {
    let routes = Routes::new(project, side.manifest);
    let counts = |change: &&Change| match inputs {
        None => first_cause(change, &routes, side).is_some(),
        Some(patterns) => {
            let mut patterns = patterns.iter().chain(&side.manifest.rebuild_all);
            patterns.any(|pattern| matches_change(pattern, change))
        }
    };
    let counting = changes.iter().filter(counts);
    counting.map(|change| change.path.clone()).collect()
}

/// A directory of which nothing is known counts as a submodule does: for every pattern that could
/// match below it.
fn change(supposed: &Supposed) -> Change {
    let mode = if supposed.below {
        Mode::Submodule
    } else {
        Mode::File
    };
    Change {
        path: supposed.path.clone(),
        old: None,
        new: Some(Entry {
            mode,
            id: ObjectId::new([0; 20]),
        }),
    }
}

fn first_cause(
    change: &Change,
    routes: &Routes<'_>,
    side: Side<'_>,
) -> Option<(Vec<ProjectName>, Cause)> {
    routes.names().enumerate().find_map(|(step, name)| {
        let facts = side.projects.get(name)?;
        let cause = match matching_pattern(change, name, side) {
            Some(pattern) => Cause::Pattern(pattern.text().to_owned()),
            None => {
                Cause::Field(field(facts, &change.path).or_else(|| new_field(facts, side, change))?)
            }
        };
        Some((routes.to(step), cause))
    })
}

/// The field of the key that a file stands in now, be it as a file in a submodule.
fn field(facts: &ProjectFacts, path: &RepoPath) -> Option<&'static str> {
    let recipe = &facts.inputs.recipe;
    let is_at = |located: &Option<crate::key::Located>| {
        let located = located.as_ref();
        located.is_some_and(|located| located.path == *path || located.source.path == *path)
    };
    if is_at(&facts.dockerfile) {
        Some("dockerfile")
    } else if is_at(&facts.ignore_file) {
        Some("ignoreFile")
    } else {
        let mut links = recipe.links.iter();
        links.any(|link| link.path == *path).then_some("links")
    }
}

/// The field that a file would take if it came to be there.
fn new_field(facts: &ProjectFacts, side: Side<'_>, change: &Change) -> Option<&'static str> {
    let build_dir = &facts.inputs.recipe.build_dir;
    let project = side.manifest.projects.get(facts.name())?;
    let is_at = |path: Option<RepoPath>| path.is_some_and(|path| path == change.path);
    let dockerfile = project.dockerfile.as_bytes();
    if facts.dockerfile.is_none()
        && (is_at(build_dir.join(dockerfile)) || is_at(project.project_dir.join(dockerfile)))
    {
        return Some("dockerfile");
    }
    let beside = facts.dockerfile.as_ref().map(|located| {
        let path = [located.path.as_bytes(), b".dockerignore"].concat();
        RepoPath::from_git(path)
    });
    let takes_over =
        is_at(beside) || (facts.ignore_file.is_none() && is_at(build_dir.join(b".dockerignore")));
    takes_over.then_some("ignoreFile")
}
