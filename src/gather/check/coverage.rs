//! Which files of the tree belong to which projects.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use crate::key::ProjectFacts;
use crate::manifest::{Manifest, Pattern};
use crate::model::{ProjectName, RepoPath};

/// The leaves of a tree by number.
struct Leaves<'a> {
    /// Sorted, each with whether it is a submodule.
    all: &'a [(RepoPath, bool)],
    submodules: Vec<usize>,
}

/// Files by number (their place in the sorted list of the tree), by pattern and by project.
pub(super) struct Coverage {
    by_pattern: HashMap<String, Rc<[usize]>>,
    /// What changes a project's own inputs, `rebuildAll`'s files left out.
    own: BTreeMap<ProjectName, BTreeSet<usize>>,
    rebuild_all: BTreeSet<usize>,
}

/// The files that change the key of a project.
pub(super) struct Covering<'a> {
    sets: Vec<&'a BTreeSet<usize>>,
}

impl Covering<'_> {
    pub(super) fn contains(&self, file: usize) -> bool {
        self.sets.iter().any(|set| set.contains(&file))
    }
}

impl Coverage {
    /// `leaves` are the tree's, sorted, each with whether it is a submodule.
    pub(super) fn new(
        leaves: &[(RepoPath, bool)],
        manifest: &Manifest,
        facts: &BTreeMap<ProjectName, ProjectFacts>,
    ) -> Self {
        let is_submodule = |number: &usize| leaves[*number].1;
        let leaves = &Leaves {
            all: leaves,
            submodules: (0..leaves.len()).filter(is_submodule).collect(),
        };
        let mut coverage = Self {
            by_pattern: HashMap::new(),
            own: BTreeMap::new(),
            rebuild_all: BTreeSet::new(),
        };
        for pattern in &manifest.rebuild_all {
            let matched = coverage.matched(pattern, leaves);
            coverage.rebuild_all.extend(matched.iter());
        }
        for (name, facts) in facts {
            let ignore = manifest.projects.get(name);
            let ignore = ignore.map_or(&[][..], |project| &project.ignore_patterns);
            let mut own = BTreeSet::new();
            for pattern in &facts.patterns {
                let matched = coverage.matched(pattern, leaves);
                own.extend(matched.iter().filter(|file| {
                    let (path, is_submodule) = &leaves.all[**file];
                    let is_ignored = |ignore: &Pattern| ignore.is_match(path.as_bytes());
                    *is_submodule || !ignore.iter().any(is_ignored)
                }));
            }
            for pattern in ignore {
                coverage.matched(pattern, leaves);
            }
            let number =
                |path: &RepoPath| leaves.all.binary_search_by(|(leaf, _)| leaf.cmp(path)).ok();
            let recipe = &facts.inputs.recipe;
            let files = recipe.dockerfile.iter().chain(&recipe.ignore_file);
            let files = files.chain(&recipe.links);
            own.extend(files.filter_map(|source| number(&source.path)));
            coverage.own.insert(name.clone(), own);
        }
        coverage
    }

    /// The files that a pattern of the manifest matches.
    pub(super) fn matches(&self, pattern: &Pattern) -> &[usize] {
        self.by_pattern
            .get(pattern.text())
            .map_or(&[], |matched| matched)
    }

    /// What changes the key of a project, given it and all its dependencies.
    pub(super) fn of<'a>(
        &self,
        projects: impl IntoIterator<Item = &'a ProjectName>,
    ) -> Covering<'_> {
        let own = projects.into_iter().filter_map(|name| self.own.get(name));
        Covering {
            sets: own.chain([&self.rebuild_all]).collect(),
        }
    }

    /// The files that belong to the same projects, by these projects; `rebuildAll`'s left out.
    pub(super) fn by_owners(&self) -> BTreeMap<Vec<&ProjectName>, Vec<usize>> {
        let mut owners: BTreeMap<usize, Vec<&ProjectName>> = BTreeMap::new();
        for (name, files) in &self.own {
            for file in files.difference(&self.rebuild_all) {
                owners.entry(*file).or_default().push(name);
            }
        }
        let mut groups: BTreeMap<Vec<&ProjectName>, Vec<usize>> = BTreeMap::new();
        for (file, names) in owners {
            groups.entry(names).or_default().push(file);
        }
        groups
    }

    fn matched(&mut self, pattern: &Pattern, leaves: &Leaves<'_>) -> Rc<[usize]> {
        if let Some(known) = self.by_pattern.get(pattern.text()) {
            return Rc::clone(known);
        }
        let matched: Rc<[usize]> = find(pattern, leaves).into();
        self.by_pattern
            .insert(pattern.text().to_owned(), Rc::clone(&matched));
        matched
    }
}

/// The leaves that a pattern matches, as the key sees it: a submodule unless the pattern's literal
/// prefix rules out a match inside it.
fn find(pattern: &Pattern, leaves: &Leaves<'_>) -> Vec<usize> {
    let all = leaves.all;
    let prefix = pattern.anchored_prefix().unwrap_or_default();
    let begin = all.partition_point(|(path, _)| path.as_bytes() < prefix);
    let above = leaves.submodules.iter().copied();
    let above = above
        .take_while(|number| *number < begin)
        .filter(|number| pattern.may_match_below(&all[*number].0));
    let within = all.iter().enumerate().skip(begin);
    let within = within
        .take_while(|(_, (path, _))| path.as_bytes().starts_with(prefix))
        .filter(|(_, (path, is_submodule))| {
            pattern.is_match(path.as_bytes()) || (*is_submodule && pattern.may_match_below(path))
        })
        .map(|(number, _)| number);
    above.chain(within).collect()
}
