//! Files whose change rebuilds most of the projects.

use std::collections::{BTreeMap, BTreeSet};

use super::Checker;
use crate::gather::Files;
use crate::graph::{Edges, Graph};
use crate::model::ProjectName;
use crate::problem::{Location, Problem};

/// In fewer projects than this, most of them is not many.
const FEW_PROJECTS: usize = 5;

/// More than this share of the projects, in percent, is most of them.
const MOST: usize = 80;

/// How many paths are named.
const SHOWN: usize = 3;

/// What changes of projects reach, each found out once.
struct Reaches<'a> {
    graph: &'a Graph,
    edges: &'a Edges,
    rebuilt: BTreeMap<ProjectName, BTreeSet<ProjectName>>,
    users: BTreeMap<ProjectName, BTreeSet<ProjectName>>,
}

impl Reaches<'_> {
    /// The project and its dependents.
    fn rebuilt(&mut self, project: &ProjectName) -> &BTreeSet<ProjectName> {
        let graph = self.graph;
        self.rebuilt.entry(project.clone()).or_insert_with(|| {
            let mut rebuilt = graph.all_dependents(project);
            rebuilt.insert(project.clone());
            rebuilt
        })
    }

    /// The project and those into whose images its own goes.
    fn users(&mut self, project: &ProjectName) -> &BTreeSet<ProjectName> {
        let edges = self.edges;
        self.users.entry(project.clone()).or_insert_with(|| {
            let mut users = BTreeSet::new();
            let mut waiting = vec![project.clone()];
            while let Some(next) = waiting.pop() {
                if users.insert(next.clone()) {
                    waiting.extend(edges.users(&next));
                }
            }
            users
        })
    }
}

/// A file, and what its change rebuilds.
struct Wide<'a> {
    file: usize,
    rebuilt: usize,
    owner: &'a ProjectName,
}

impl<F: Files> Checker<'_, F> {
    /// One warning that names the files whose change rebuilds most projects, and most of those
    /// without going into their images. Those that `rebuildAll` matches are meant to.
    pub(super) fn wide_files(&self, edges: &Edges) -> Option<Problem> {
        let living = self.facts.values();
        let living: BTreeSet<ProjectName> = living
            .filter(|facts| facts.dockerfile.is_some() && facts.has_sources)
            .map(|facts| facts.name().clone())
            .collect();
        if living.len() < FEW_PROJECTS {
            return None;
        }
        let mut reaches = Reaches {
            graph: &self.graph,
            edges,
            rebuilt: BTreeMap::new(),
            users: BTreeMap::new(),
        };
        let mut wide = Vec::new();
        for (owners, files) in self.coverage.by_owners() {
            let mut rebuilt = BTreeSet::new();
            for owner in &owners {
                rebuilt.extend(reaches.rebuilt(owner).intersection(&living).cloned());
            }
            if rebuilt.len() * 100 <= living.len() * MOST {
                continue;
            }
            for file in files {
                let mut outside = rebuilt.clone();
                for holder in owners.iter().filter(|owner| self.may_hold(owner, file)) {
                    let users = reaches.users(holder);
                    outside.retain(|name| !users.contains(name));
                }
                if let Some(owner) = owners.first().filter(|_| outside.len() * 2 > rebuilt.len()) {
                    let rebuilt = rebuilt.len();
                    wide.push(Wide {
                        file,
                        rebuilt,
                        owner,
                    });
                }
            }
        }
        wide.sort_by_key(|wide| (std::cmp::Reverse(wide.rebuilt), wide.file));
        self.describe(&wide, living.len())
    }

    /// Whether a file can go into a project's image: it lies in the build directory, or is the
    /// Dockerfile.
    fn may_hold(&self, project: &ProjectName, file: usize) -> bool {
        let path = &self.paths[file];
        self.facts.get(project).is_some_and(|facts| {
            let dockerfile = facts.dockerfile.as_ref();
            path.starts_with(&facts.inputs.recipe.build_dir)
                || dockerfile.is_some_and(|located| located.path == *path)
        })
    }

    fn describe(&self, wide: &[Wide<'_>], all: usize) -> Option<Problem> {
        let first = wide.first()?;
        let shown: Vec<String> = wide
            .iter()
            .take(SHOWN)
            .map(|wide| format!("'{}' ({} projects)", self.paths[wide.file], wide.rebuilt))
            .collect();
        let more = match wide.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let message = format!(
            "a change of one file rebuilds most of the {all} projects: {}{more}",
            shown.join(", ")
        );
        let problem = Problem::warning("rebuilds-everything", message)
            .at(self.pattern_place(first))
            .hint("narrow the patterns, or list the file in `rebuildAll` if that is meant");
        Some(problem)
    }

    /// Where the pattern stands that makes a file its owner's.
    fn pattern_place(&self, wide: &Wide<'_>) -> Location {
        let path = self.paths[wide.file].as_bytes();
        let patterns = self.facts.get(wide.owner);
        let index = patterns.and_then(|facts| {
            let mut patterns = facts.patterns.iter();
            patterns.position(|pattern| pattern.is_match(path))
        });
        let field = if index.is_some() {
            "rebuildPatterns"
        } else {
            "dockerfile"
        };
        self.raw.place(Some(wide.owner), field, index)
    }
}
