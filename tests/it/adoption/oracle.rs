//! What should be planned, told without the key: from `git diff-tree`, the regexes themselves,
//! and the rules as the design states them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use regex::bytes::{Regex, RegexBuilder};
use waybill::model::{CommitId, Digest};

use super::images::Image;
use super::story::{Entry, LAYOUTS, Leaf, PatternText, State, Told, ignore, pattern};
use super::written::{Changed, Written};

/// What is expected for one project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// This image is taken over from this commit.
    Reuse(CommitId, Digest),
    Build,
    Nothing,
}

/// Regexes, each compiled once.
#[derive(Default)]
pub(super) struct Regexes(HashMap<String, Regex>);

impl Regexes {
    fn is_match(&mut self, pattern: &PatternText, path: &[u8]) -> bool {
        let regex = self.0.entry(pattern.text.clone()).or_insert_with(|| {
            let mut builder = RegexBuilder::new(&pattern.text);
            builder
                .unicode(false)
                .dot_matches_new_line(true)
                .build()
                .unwrap()
        });
        regex.is_match(path)
    }
}

/// The images that stand in the registry, by project and commit; `None` is listed and lost.
pub(super) type Tags = BTreeMap<(usize, CommitId), Option<Image>>;

/// One story, seen from one commit.
pub(super) struct Oracle<'a> {
    pub(super) told: &'a [Told],
    pub(super) commits: &'a [CommitId],
    pub(super) written: &'a Written,
    pub(super) tags: &'a Tags,
    /// From a commit to the one that is planned.
    pub(super) differences: &'a HashMap<CommitId, Vec<Changed>>,
    /// Everything in a commit's tree.
    pub(super) listings: &'a HashMap<CommitId, Vec<Changed>>,
    pub(super) target: CommitId,
    pub(super) history: usize,
    /// Patterns that count for every project.
    pub(super) rebuild_all: BTreeSet<PatternText>,
}

impl Oracle<'_> {
    fn state(&self, commit: CommitId) -> &State {
        let index = self.commits.iter().position(|id| *id == commit).unwrap();
        &self.told[index].state
    }

    /// What should be planned for each project of the manifest.
    pub(super) fn expected(&self, regexes: &mut Regexes) -> BTreeMap<usize, Expected> {
        let now = self.state(self.target);
        let mut expected = BTreeMap::new();
        // Dependencies have lower numbers.
        for (project, entry) in now.entries.iter().enumerate() {
            if entry.is_some() {
                let one = self.expected_one(project, &expected, regexes);
                expected.insert(project, one);
            }
        }
        expected
    }

    fn expected_one(
        &self,
        project: usize,
        decided: &BTreeMap<usize, Expected>,
        regexes: &mut Regexes,
    ) -> Expected {
        let now = self.state(self.target);
        let Some(Leaf::Dockerfile { uses, .. }) =
            dockerfile(now, project).and_then(|path| now.files.get(path.as_bytes()))
        else {
            return Expected::Nothing;
        };
        if own_sources(project, now, &self.listings[&self.target], regexes).is_empty() {
            return Expected::Nothing;
        }
        let closure = closure(now, project);
        let uses: BTreeSet<usize> = uses.intersection(&closure).copied().collect();
        let history = self.written.history(self.target);
        for commit in history.into_iter().take(self.history) {
            let Some(Some(image)) = self.tags.get(&(project, commit)) else {
                continue;
            };
            let arm = now.entries[project].as_ref().unwrap().arm;
            let fits = image.architecture == if arm { "arm64" } else { "amd64" };
            let users_fit = uses.iter().all(|used| match decided.get(used) {
                Some(Expected::Reuse(_, digest)) => {
                    let tagged = self.tags.get(&(*used, commit));
                    tagged.is_some_and(|image| {
                        image
                            .as_ref()
                            .is_some_and(|image| image.digest() == *digest)
                    })
                }
                _ => false,
            });
            let may_be = fits && image.key.is_none() && users_fit;
            if may_be && self.is_unchanged(commit, project, regexes) {
                return Expected::Reuse(commit, image.digest());
            }
        }
        Expected::Build
    }

    /// Whether nothing that concerns a project, or what it depends on, differs between a commit
    /// and the one that is planned.
    pub(super) fn is_unchanged(
        &self,
        commit: CommitId,
        project: usize,
        regexes: &mut Regexes,
    ) -> bool {
        let then = self.state(commit);
        let mut all = closure(self.state(self.target), project);
        all.insert(project);
        !then.broken
            && all.iter().all(|one| dockerfiles(then, *one).count() < 2)
            && !all.iter().any(|one| self.differs(commit, *one, regexes))
    }

    /// Whether anything of a project's own differs between a commit and the one that is planned.
    fn differs(&self, commit: CommitId, project: usize, regexes: &mut Regexes) -> bool {
        let (then, now) = (self.state(commit), self.state(self.target));
        let (Some(before), Some(after)) = (&then.entries[project], &now.entries[project]) else {
            return true;
        };
        let recipe = |entry: &Entry| {
            let dependencies = entry.dependencies.clone();
            (dependencies, entry.epoch, entry.argument, entry.arm)
        };
        if recipe(before) != recipe(after) {
            return true;
        }
        let empty = Vec::new();
        let changes = self.differences.get(&commit).unwrap_or(&empty);
        let is_changed = |path: &Option<String>| {
            let path = path.as_ref().map(String::as_bytes);
            path.is_some_and(|path| changes.iter().any(|change| change.path == path))
        };
        let (old, new) = (dockerfile(then, project), dockerfile(now, project));
        if old != new || is_changed(&new) {
            return true;
        }
        let (old, new) = (ignore_file(then, project), ignore_file(now, project));
        if old != new || is_changed(&new) {
            return true;
        }
        let (patterns, ignored) = patterns(project, after);
        if (patterns.clone(), ignored.clone()) != self::patterns(project, before) {
            let [old, new] = [(then, commit), (now, self.target)].map(|(state, id)| {
                let listing = &self.listings[&id];
                let mut all = own_sources(project, state, listing, regexes);
                all.extend(sources(
                    &self.rebuild_all,
                    &BTreeSet::new(),
                    listing,
                    regexes,
                ));
                all
            });
            return old != new;
        }
        let mut sides = changes.iter().flat_map(|change| {
            let modes = change.modes.iter().filter(|mode| *mode != "000000");
            modes.map(|mode| (change.path.as_slice(), mode.as_str()))
        });
        sides.any(|(path, mode)| {
            counts(path, mode, &patterns, &ignored, regexes)
                || counts(path, mode, &self.rebuild_all, &BTreeSet::new(), regexes)
        })
    }
}

/// All that a project depends on.
fn closure(state: &State, project: usize) -> BTreeSet<usize> {
    let mut all = BTreeSet::new();
    let mut open = vec![project];
    while let Some(one) = open.pop() {
        let entry = state.entries[one].as_ref().unwrap();
        open.extend(entry.dependencies.iter().filter(|next| all.insert(**next)));
    }
    all
}

fn patterns(project: usize, entry: &Entry) -> (BTreeSet<PatternText>, BTreeSet<PatternText>) {
    let default = BTreeSet::from([0]);
    let indexes = entry.patterns.as_ref().unwrap_or(&default);
    let own = indexes.iter().map(|index| pattern(project, *index));
    let ignored = entry.ignore.iter().map(|index| ignore(project, *index));
    (own.collect(), ignored.collect())
}

/// Whether what stands at a path counts for one of these patterns.
fn counts(
    path: &[u8],
    mode: &str,
    patterns: &BTreeSet<PatternText>,
    ignored: &BTreeSet<PatternText>,
    regexes: &mut Regexes,
) -> bool {
    if mode == "160000" {
        // Inside a submodule anything may lie, unless the literal prefix rules it out.
        let below = [path, b"/"].concat();
        return patterns.iter().any(|pattern| match &pattern.prefix {
            None => true,
            Some(prefix) => {
                below.starts_with(prefix.as_bytes()) || prefix.as_bytes().starts_with(&below)
            }
        });
    }
    patterns
        .iter()
        .any(|pattern| regexes.is_match(pattern, path))
        && !ignored
            .iter()
            .any(|pattern| regexes.is_match(pattern, path))
}

/// What counts: the plain directory that covers it, if one does; path, mode and id.
type Sources = BTreeSet<(Option<String>, Vec<u8>, String, String)>;

/// What a project's own patterns match in a commit's tree.
fn own_sources(
    project: usize,
    state: &State,
    listing: &[Changed],
    regexes: &mut Regexes,
) -> Sources {
    let (patterns, ignored) = patterns(project, state.entries[project].as_ref().unwrap());
    sources(&patterns, &ignored, listing, regexes)
}

/// What patterns match, in the form in which the design says that it counts: what a plain
/// directory covers is told by the directory; a submodule above that is told by itself.
fn sources(
    patterns: &BTreeSet<PatternText>,
    ignored: &BTreeSet<PatternText>,
    listing: &[Changed],
    regexes: &mut Regexes,
) -> Sources {
    let mut found = Sources::new();
    for pattern in patterns {
        let alone = BTreeSet::from([pattern.clone()]);
        for leaf in listing {
            let [_, mode] = &leaf.modes;
            let [_, id] = &leaf.ids;
            if counts(&leaf.path, mode, &alone, ignored, regexes) {
                let prefix = pattern.prefix.as_deref().unwrap_or_default();
                let whole =
                    pattern.plain && ignored.is_empty() && leaf.path.starts_with(prefix.as_bytes());
                let whole = whole.then(|| pattern.text.clone());
                found.insert((whole, leaf.path.clone(), mode.clone(), id.clone()));
            }
        }
    }
    found
}

fn dockerfiles(state: &State, project: usize) -> impl Iterator<Item = String> {
    let paths = LAYOUTS[project].dockerfiles.iter();
    let there = paths.filter(|path| state.files.contains_key(path.as_bytes()));
    there.map(|path| (*path).to_owned())
}

fn dockerfile(state: &State, project: usize) -> Option<String> {
    dockerfiles(state, project).next()
}

/// The one beside the Dockerfile goes before the one in the build directory.
fn ignore_file(state: &State, project: usize) -> Option<String> {
    let beside = dockerfile(state, project).map(|path| format!("{path}.dockerignore"));
    let in_build_dir = match LAYOUTS[project].build_dir {
        "." => ".dockerignore".to_owned(),
        directory => format!("{directory}/.dockerignore"),
    };
    let mut paths = beside.into_iter().chain([in_build_dir]);
    paths.find(|path| state.files.contains_key(path.as_bytes()))
}

/// Whether a commit can be planned at all: its manifest is readable, and no Dockerfile ambiguous.
pub(super) fn is_plannable(state: &State) -> bool {
    let there = state.entries.iter().enumerate();
    let mut there = there.filter_map(|(project, entry)| entry.as_ref().map(|_| project));
    !state.broken && there.all(|project| dockerfiles(state, project).count() < 2)
}
