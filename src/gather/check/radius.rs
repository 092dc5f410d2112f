//! Files whose change rebuilds most of the projects.

use std::collections::{BTreeMap, BTreeSet};

use super::Checker;
use crate::gather::Files;
use crate::model::ProjectName;
use crate::problem::{Location, Problem};

/// In fewer projects than this, most of them is not many.
const FEW_PROJECTS: usize = 5;

/// More than this share of the projects, in percent, is most of them.
const MOST: usize = 80;

/// How many paths are named.
const SHOWN: usize = 3;

/// A file, and what its change rebuilds.
struct Wide<'a> {
    file: usize,
    rebuilt: usize,
    owner: &'a ProjectName,
}

impl<F: Files> Checker<'_, F> {
    /// One warning that names the files whose change rebuilds most projects. Those that
    /// `rebuildAll` matches are meant to.
    pub(super) fn wide_files(&self) -> Option<Problem> {
        let living: BTreeSet<&ProjectName> = self
            .facts
            .values()
            .filter(|facts| facts.dockerfile.is_some() && facts.has_sources)
            .map(crate::key::ProjectFacts::name)
            .collect();
        if living.len() < FEW_PROJECTS {
            return None;
        }
        let mut rebuilt_by: BTreeMap<&ProjectName, BTreeSet<ProjectName>> = BTreeMap::new();
        let mut wide = Vec::new();
        for (owners, files) in self.coverage.by_owners() {
            let mut rebuilt: BTreeSet<&ProjectName> = BTreeSet::new();
            for owner in &owners {
                rebuilt_by.entry(owner).or_insert_with(|| {
                    let mut dependents = self.graph.all_dependents(owner);
                    dependents.insert((*owner).clone());
                    dependents
                });
            }
            for owner in &owners {
                let by_owner = rebuilt_by.get(owner).into_iter().flatten();
                rebuilt.extend(by_owner.filter(|name| living.contains(name)));
            }
            let rebuilt = rebuilt.len();
            if rebuilt * 100 > living.len() * MOST
                && let Some(owner) = owners.first()
            {
                wide.extend(files.into_iter().map(|file| Wide {
                    file,
                    rebuilt,
                    owner,
                }));
            }
        }
        wide.sort_by_key(|wide| (std::cmp::Reverse(wide.rebuilt), wide.file));
        self.describe(&wide, living.len())
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
