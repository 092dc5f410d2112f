//! What differs between two commits as far as one project is concerned: the explanation of a
//! rebuild.

use std::collections::{BTreeMap, BTreeSet};

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

/// Two commits, as far as projects are concerned. What the patterns of one project match, and
/// whether its own inputs differ, is found once, however many projects depend on it.
pub struct Comparison<'a> {
    before: Side<'a>,
    now: Side<'a>,
    /// What differs between the two trees.
    changes: &'a [Change],
    /// The projects whose keys come from a taint now.
    tainted: BTreeSet<ProjectName>,
    own: BTreeMap<&'a ProjectName, Own<'a>>,
}

/// What one project's own patterns and fields say of the two commits.
struct Own<'a> {
    /// The changes that its patterns match, by their number, with the pattern.
    matches: Vec<(usize, &'a Pattern)>,
    /// Whether anything but matched files differs.
    differs: bool,
}

impl<'a> Comparison<'a> {
    /// `changes` are what differs between the trees of the two, `tainted` the projects whose keys
    /// come from a taint now.
    #[must_use]
    pub fn new(
        before: Side<'a>,
        now: Side<'a>,
        changes: &'a [Change],
        tainted: BTreeSet<ProjectName>,
    ) -> Self {
        Self {
            before,
            now,
            changes,
            tainted,
            own: BTreeMap::new(),
        }
    }

    /// Why `project` is built now, given `ancestor`, the commit that it is compared with.
    pub fn inputs_changed(&mut self, project: &ProjectName, ancestor: CommitId) -> Reason {
        let routes = Routes::new(project, self.now.manifest);
        let found = self.first_matches(&routes);
        let listed: BTreeSet<&[u8]> = found
            .keys()
            .map(|number| self.changes[*number].path.as_bytes())
            .collect();
        let mut fields = Vec::new();
        for name in routes.names() {
            let label = |field: &str| {
                if name == project {
                    field.to_owned()
                } else {
                    format!("{name}.{field}")
                }
            };
            fields.extend(self.fields_of(name, &listed).into_iter().map(label));
            if name != project && self.tainted.contains(name) {
                fields.push(label("taint"));
            }
        }
        let files = found.iter().take(MAX_FILES);
        let files = files.map(|(number, (step, pattern))| ChangedFile {
            path: self.changes[*number].path.to_string(),
            pattern: pattern.text().to_owned(),
            via: routes.to(*step),
        });
        Reason::InputsChanged {
            ancestor,
            files: files.collect(),
            files_total: found.len(),
            fields,
            refused: None,
        }
    }

    /// Each change that counts, by its number: for which step of the routes, and by which pattern.
    fn first_matches(&mut self, routes: &Routes<'a>) -> BTreeMap<usize, (usize, &'a Pattern)> {
        let mut found = BTreeMap::new();
        for (step, name) in routes.names().enumerate() {
            for (number, pattern) in &self.own(name).matches {
                found.entry(*number).or_insert((step, *pattern));
            }
        }
        found
    }

    fn own(&mut self, name: &'a ProjectName) -> &Own<'a> {
        let (before, now, changes) = (self.before, self.now, self.changes);
        self.own
            .entry(name)
            .or_insert_with(|| Own::find(name, before, now, changes))
    }

    /// The fields of one project's own inputs that differ, other than files that are listed.
    fn fields_of(&self, name: &ProjectName, listed: &BTreeSet<&[u8]>) -> Vec<&'static str> {
        let Some(own) = self.own.get(name).filter(|own| own.differs) else {
            return Vec::new();
        };
        let sides = (self.before.projects.get(name), self.now.projects.get(name));
        let (Some(old), Some(new)) = sides else {
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
        if old.inputs.sources != new.inputs.sources && own.matches.is_empty() {
            fields.push("rebuildPatterns");
        }
        if dependencies(name, self.before) != dependencies(name, self.now) {
            fields.push("dependencies");
        }
        fields
    }
}

impl<'a> Own<'a> {
    fn find(name: &ProjectName, before: Side<'a>, now: Side<'a>, changes: &[Change]) -> Self {
        let matches = changes.iter().enumerate().filter_map(|(number, change)| {
            let pattern = matching_pattern(change, name, now)
                .or_else(|| matching_pattern(change, name, before))?;
            Some((number, pattern))
        });
        let same = match (before.projects.get(name), now.projects.get(name)) {
            (Some(old), Some(new)) => {
                old.inputs == new.inputs
                    && !new.own.is_of_work_tree()
                    && dependencies(name, before) == dependencies(name, now)
            }
            _ => false,
        };
        Self {
            matches: matches.collect(),
            differs: !same,
        }
    }
}

fn dependencies<'a>(name: &ProjectName, side: Side<'a>) -> Option<&'a [ProjectName]> {
    let project = side.manifest.projects.get(name)?;
    Some(&project.dependencies)
}

/// The pattern of this project, or of `rebuildAll`, that a path matches.
#[must_use]
pub(super) fn matching_pattern<'a>(
    change: &Change,
    name: &ProjectName,
    side: Side<'a>,
) -> Option<&'a Pattern> {
    let facts = side.projects.get(name)?;
    let project = side.manifest.projects.get(name)?;
    let path = change.path.as_bytes();
    let matches = |pattern: &&Pattern| matches_change(pattern, change);
    let ignored = !of_submodule(change)
        && project
            .ignore_patterns
            .iter()
            .any(|ignore| ignore.is_match(path));
    let own = facts.patterns.iter().filter(|_| !ignored).find(matches);
    own.or_else(|| side.manifest.rebuild_all.iter().find(matches))
}

/// Whether a pattern matches a changed path, or could match inside the submodule that it is.
pub(super) fn matches_change(pattern: &Pattern, change: &Change) -> bool {
    pattern.is_match(change.path.as_bytes())
        || (of_submodule(change) && pattern.may_match_below(&change.path))
}

fn of_submodule(change: &Change) -> bool {
    let mut entries = [change.old, change.new].into_iter().flatten();
    entries.any(|entry| entry.mode == Mode::Submodule)
}

/// The shortest ways from a project to each of its dependencies: itself first, the nearest first.
pub(super) struct Routes<'a>(Vec<Step<'a>>);

/// A project, and the step before it; the first one comes after itself.
struct Step<'a> {
    name: &'a ProjectName,
    after: usize,
}

impl<'a> Routes<'a> {
    /// The routes from a project of the manifest; none from any other.
    pub(super) fn new(project: &ProjectName, manifest: &'a Manifest) -> Self {
        let Some((name, _)) = manifest.projects.get_key_value(project) else {
            return Self(Vec::new());
        };
        let mut steps = vec![Step { name, after: 0 }];
        let mut seen = BTreeSet::from([name]);
        let mut next = 0;
        while let Some(step) = steps.get(next) {
            let reached = manifest.projects.get(step.name);
            for name in reached.iter().flat_map(|project| &project.dependencies) {
                if seen.insert(name) {
                    steps.push(Step { name, after: next });
                }
            }
            next += 1;
        }
        Self(steps)
    }

    /// The projects, in the order of the steps.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a ProjectName> {
        self.0.iter().map(|step| step.name)
    }

    /// From the project to that of a step, both included.
    pub(super) fn to(&self, step: usize) -> Vec<ProjectName> {
        let mut way = vec![self.0[step].name.clone()];
        let mut at = step;
        while at != 0 {
            at = self.0[at].after;
            way.push(self.0[at].name.clone());
        }
        way.reverse();
        way
    }
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
