//! What the key means, over random trees and manifests.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use super::naive::{Found, MadePattern, sources};
use super::world::{Leaf, MemoryTree, World};
use crate::key::next_key;
use crate::model::{Key, ProjectName};

/// Cases of each property.
const CASES: u32 = 300;

const DIRECTORIES: [&str; 6] = ["a", "b", "a/b", "a/c d", "b/a", "b/x.y"];

fn path() -> impl Strategy<Value = Vec<u8>> {
    let names: Vec<&[u8]> = vec![
        b"a", b"b", b"c d", b"x.y", b"f.md", b"g.rs", b"\xff", b"n\nl",
    ];
    vec(select(names), 1..4).prop_map(|names| names.join(&b'/'))
}

fn leaf() -> impl Strategy<Value = Leaf> {
    let content = || select(vec![&b"1"[..], b"2", b"3"]).prop_map(<[u8]>::to_vec);
    prop_oneof![
        8 => content().prop_map(Leaf::File),
        2 => content().prop_map(Leaf::Executable),
        1 => content().prop_map(Leaf::Link),
        2 => (0..3_u8).prop_map(Leaf::Submodule),
    ]
}

fn tree() -> impl Strategy<Value = MemoryTree> {
    vec((path(), leaf()), 0..16).prop_map(|leaves| {
        let mut tree = MemoryTree::default();
        for (path, leaf) in leaves {
            tree.put(&path, leaf);
        }
        tree
    })
}

/// Patterns of every kind, each compiled once.
fn pattern() -> impl Strategy<Value = MadePattern> {
    let unanchored = [r"\.md$", "g.rs", ".", r"[\xff]", "^", "^a/|^b/g"];
    let mut patterns: Vec<MadePattern> = unanchored
        .iter()
        .map(|text| MadePattern::new(text, None, None))
        .collect();
    for directory in DIRECTORIES {
        let text = regex::escape(directory);
        let below = format!("{directory}/");
        let plain = MadePattern::new(&format!("^{text}/"), Some(&below), Some(directory));
        patterns.extend([plain.clone(), plain.clone(), plain]);
        let upper = text.to_uppercase();
        patterns.extend([
            MadePattern::new(&format!("^{text}/."), Some(&below), None),
            MadePattern::new(&format!("^{text}/[ag]"), Some(&below), None),
            MadePattern::new(&format!("^{text}"), Some(directory), None),
            MadePattern::new(&format!("^{text}$"), Some(directory), None),
            MadePattern::new(&format!("{text}/"), None, None),
            MadePattern::new(&format!("(?i)^{upper}/"), None, None),
        ]);
    }
    select(patterns)
}

/// A project with its own patterns and ignore patterns; dependencies are among those before it.
#[derive(Clone, Debug)]
struct MadeProject {
    patterns: Vec<MadePattern>,
    ignore: Vec<MadePattern>,
    dependencies: BTreeSet<usize>,
}

fn project() -> impl Strategy<Value = MadeProject> {
    let ignore = prop_oneof![2 => vec(pattern(), 0..1), 1 => vec(pattern(), 1..3)];
    (vec(pattern(), 0..4), ignore, btree_set(0..6_usize, 0..3)).prop_map(
        |(patterns, ignore, dependencies)| MadeProject {
            patterns,
            ignore,
            dependencies,
        },
    )
}

#[derive(Clone, Debug)]
struct Made {
    projects: Vec<MadeProject>,
    rebuild_all: Vec<MadePattern>,
}

fn made_manifest() -> impl Strategy<Value = Made> {
    let rebuild_all = prop_oneof![3 => vec(pattern(), 0..1), 1 => vec(pattern(), 1..3)];
    (vec(project(), 1..6), rebuild_all).prop_map(|(mut projects, rebuild_all)| {
        for (index, project) in projects.iter_mut().enumerate() {
            project
                .dependencies
                .retain(|dependency| *dependency < index);
        }
        Made {
            projects,
            rebuild_all,
        }
    })
}

fn name(index: usize) -> ProjectName {
    format!("p{index}").parse().unwrap()
}

fn texts(patterns: &[MadePattern]) -> Vec<&str> {
    patterns
        .iter()
        .map(|pattern| pattern.text.as_str())
        .collect()
}

impl Made {
    fn json(&self) -> String {
        let order: Vec<usize> = (0..self.projects.len()).collect();
        self.json_in_order(&order, false)
    }

    /// With the projects in this order, and what each lists forwards or backwards.
    fn json_in_order(&self, order: &[usize], backwards: bool) -> String {
        let list = |mut texts: Vec<String>| {
            if backwards {
                texts.reverse();
            }
            json!(texts)
        };
        let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
        let members: Vec<String> = order
            .iter()
            .map(|index| {
                let project = &self.projects[*index];
                let dependencies = project.dependencies.iter();
                let fields = json!({
                    "buildDir": ".",
                    "dockerfile": format!("docker/p{index}"),
                    "rebuildPatterns": list(owned(texts(&project.patterns))),
                    "ignorePatterns": list(owned(texts(&project.ignore))),
                    "dependencies": list(dependencies.map(|index| format!("p{index}")).collect()),
                });
                format!("\"p{index}\": {fields}")
            })
            .collect();
        let rebuild_all: Value = list(owned(texts(&self.rebuild_all)));
        let projects = members.join(", ");
        format!(r#"{{"version": 1, "rebuildAll": {rebuild_all}, "projects": {{{projects}}}}}"#)
    }

    /// These projects and all that depend on them, directly or not.
    fn with_dependents(&self, direct: &BTreeSet<usize>) -> BTreeSet<ProjectName> {
        let mut all = BTreeSet::new();
        for (index, project) in self.projects.iter().enumerate() {
            if direct.contains(&index) || !project.dependencies.is_disjoint(&all) {
                all.insert(index);
            }
        }
        all.into_iter().map(name).collect()
    }

    /// Whether a leaf counts for a project.
    fn counts(&self, index: usize, path: &[u8], leaf: &Leaf) -> bool {
        let project = &self.projects[index];
        let own = project.patterns.iter();
        path == format!("docker/p{index}").as_bytes()
            || own
                .into_iter()
                .any(|pattern| pattern.counts(&project.ignore, path, leaf))
            || self
                .rebuild_all
                .iter()
                .any(|pattern| pattern.counts(&[], path, leaf))
    }
}

fn differing<K: PartialEq>(
    one: &BTreeMap<ProjectName, K>,
    other: &BTreeMap<ProjectName, K>,
) -> BTreeSet<ProjectName> {
    let names = one.keys().filter(|name| one[*name] != other[*name]);
    names.cloned().collect()
}

/// What happens to a tree between two commits.
#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>, Leaf),
    Remove(usize),
    Rename(usize, Vec<u8>),
    ChangeMode(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let dockerfile = (0..5_usize).prop_map(|index| format!("docker/p{index}").into_bytes());
    prop_oneof![
        4 => (path(), leaf()).prop_map(|(path, leaf)| Step::Put(path, leaf)),
        1 => (dockerfile, leaf()).prop_filter_map("no Dockerfile", |(path, leaf)| {
            matches!(leaf, Leaf::File(_)).then_some(Step::Put(path, leaf))
        }),
        2 => (0..64_usize).prop_map(Step::Remove),
        2 => (0..64_usize, path()).prop_map(|(index, path)| Step::Rename(index, path)),
        2 => (0..64_usize).prop_map(Step::ChangeMode),
    ]
}

impl Step {
    fn apply(&self, tree: &mut MemoryTree) {
        let nth = |tree: &MemoryTree, index: usize| {
            let paths: Vec<Vec<u8>> = tree.leaves().keys().cloned().collect();
            (!paths.is_empty()).then(|| paths[index % paths.len()].clone())
        };
        match self {
            Self::Put(path, leaf) => tree.put(path, leaf.clone()),
            Self::Remove(index) => {
                if let Some(path) = nth(tree, *index) {
                    tree.remove(&path);
                }
            }
            Self::Rename(index, to) => {
                if let Some(leaf) = nth(tree, *index).and_then(|path| tree.remove(&path)) {
                    tree.put(to, leaf);
                }
            }
            Self::ChangeMode(index) => {
                let Some(path) = nth(tree, *index) else {
                    return;
                };
                let changed = match tree.leaves()[&path].clone() {
                    Leaf::File(content) => Leaf::Executable(content),
                    Leaf::Executable(content) => Leaf::Link(content),
                    Leaf::Link(content) => Leaf::File(content),
                    Leaf::Submodule(commit) => Leaf::Submodule(commit + 1),
                };
                tree.put(&path, changed);
            }
        }
    }
}

/// The paths that differ, with what is on each side.
fn changes<'t>(before: &'t MemoryTree, after: &'t MemoryTree) -> BTreeMap<&'t [u8], Vec<&'t Leaf>> {
    let sides = [(before, after), (after, before)];
    let mut changes: BTreeMap<&[u8], Vec<&Leaf>> = BTreeMap::new();
    for (here, there) in sides {
        for (path, leaf) in here.leaves() {
            if there.leaves().get(path) != Some(leaf) {
                changes.entry(path).or_default().push(leaf);
            }
        }
    }
    changes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    /// However the sources are collected, they are what the long way finds.
    #[test]
    fn sources_are_what_every_leaf_against_every_pattern_gives(
        tree in tree(),
        made in made_manifest(),
    ) {
        let world = World::new(&made.json(), &tree);
        for (index, project) in made.projects.iter().enumerate() {
            let facts = &world.facts[&name(index)];
            let collected: Found = facts
                .inputs
                .sources
                .iter()
                .map(|source| {
                    let path = source.path.as_bytes().to_vec();
                    (path, source.entry.mode.octal(), source.entry.id.to_string())
                })
                .collect();
            let own = sources(&tree, &project.patterns, &project.ignore);
            prop_assert_eq!(facts.has_sources, !own.is_empty());
            let mut all = own;
            all.extend(sources(&tree, &made.rebuild_all, &[]));
            prop_assert_eq!(collected, all, "{}", made.json());
        }
    }

    /// The key does not depend on the order in which anything is written down.
    #[test]
    fn order_does_not_matter(
        tree in tree(),
        (made, order) in made_manifest().prop_flat_map(|made| {
            let order: Vec<usize> = (0..made.projects.len()).collect();
            (Just(made), Just(order).prop_shuffle())
        }),
    ) {
        let forwards = World::new(&made.json(), &tree).keys();
        let backwards = World::new(&made.json_in_order(&order, true), &tree).keys();
        prop_assert_eq!(forwards, backwards);
    }

    /// A change changes the keys of exactly the projects that it counts for, and of all that
    /// depend on them.
    #[test]
    fn a_change_is_seen_by_those_it_concerns_and_by_nobody_else(
        mut before in tree(),
        made in made_manifest(),
        steps in vec(step(), 1..4),
    ) {
        for index in 0..made.projects.len() {
            before.put(format!("docker/p{index}").as_bytes(), Leaf::File(b"FROM x".to_vec()));
        }
        let mut after = before.clone();
        for step in &steps {
            step.apply(&mut after);
        }
        // A Dockerfile that is a link somewhere else is another test's.
        let is_linked = |leaf: &Leaf| matches!(leaf, Leaf::Link(_) | Leaf::Submodule(_));
        prop_assume!(!after.leaves().iter().any(|(path, leaf)| {
            path.starts_with(b"docker") && is_linked(leaf)
        }));
        let changes = changes(&before, &after);
        let concerned = (0..made.projects.len()).filter(|index| {
            changes.iter().any(|(path, sides)| {
                sides.iter().any(|leaf| made.counts(*index, path, leaf))
            })
        });
        let expected = made.with_dependents(&concerned.collect());
        let manifest = made.json();
        let (then, now) = (World::new(&manifest, &before), World::new(&manifest, &after));
        prop_assert_eq!(differing(&then.keys(), &now.keys()), expected, "{}", manifest);
    }

    /// A taint changes the key of its project and of all that depend on it, and no other.
    #[test]
    fn a_taint_concerns_its_project_and_those_that_depend_on_it(
        tree in tree(),
        made in made_manifest(),
        tainted in btree_map(0..6_usize, 1..4_usize, 0..3),
    ) {
        let world = World::new(&made.json(), &tree);
        let clean = world.effective_keys(|_, _, _| false);
        let mut taints: BTreeSet<Key> = BTreeSet::new();
        let mut taint_project = |name: &ProjectName, chain: &[Key], key: Key| {
            let index: usize = name.as_str()[1..].parse().unwrap();
            let is_tainted = chain.len() < tainted.get(&index).copied().unwrap_or(0);
            if is_tainted {
                taints.insert(key);
            }
            is_tainted
        };
        let keys = world.effective_keys(&mut taint_project);
        let direct = tainted.keys().copied().filter(|index| *index < made.projects.len());
        prop_assert_eq!(
            differing(&clean, &keys),
            made.with_dependents(&direct.collect())
        );
        for (name, key) in &keys {
            let length = tainted.get(&name.as_str()[1..].parse().unwrap()).copied().unwrap_or(0);
            prop_assert_eq!(key.chain.len(), length);
            let last = key.chain.iter().skip(1).chain([&key.key]);
            for (earlier, later) in key.chain.iter().zip(last) {
                prop_assert_eq!(next_key(*earlier), *later);
            }
            for (dependency, used) in &key.dependencies {
                prop_assert_eq!(*used, keys[dependency].key);
            }
        }
        // The same taints as facts of the registry, looked up by key alone, give the same keys.
        let again = world.effective_keys(|_, _, key| taints.contains(&key));
        prop_assert_eq!(&keys, &again);
    }
}

/// Some directories of a random tree are reached through links.
fn linked_tree() -> impl Strategy<Value = (MemoryTree, Vec<&'static str>)> {
    let targets = vec!["real", "real/deep", "other", "gone", "link/deep"];
    (tree(), subsequence(targets, 2)).prop_map(|(mut tree, targets)| {
        for directory in ["real", "real/deep", "other"] {
            let file = format!("{directory}/Dockerfile");
            tree.put(file.as_bytes(), Leaf::File(directory.as_bytes().to_vec()));
        }
        (tree, targets)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Where a link leads counts, and the link itself; what it led to before does not any more.
    #[test]
    fn links_count_with_each_hop((mut tree, targets) in linked_tree(), edited in path()) {
        let manifest = json!({"version": 1, "projects": {"p": {"buildDir": "way"}}}).to_string();
        let mut keys = Vec::new();
        let mut trees = Vec::new();
        for target in &targets {
            tree.put(b"link", Leaf::Link(b"real".to_vec()));
            tree.put(b"way", Leaf::Link(target.as_bytes().to_vec()));
            keys.push(World::new(&manifest, &tree).keys());
            trees.push(tree.clone());
        }
        prop_assert_ne!(&keys[0], &keys[1]);
        for ((target, before), mut tree) in targets.iter().zip(keys).zip(trees) {
            let led_to = target.replace("link", "real").into_bytes();
            let below = [&led_to[..], b"/zz"].concat();
            let mut unrelated = tree.clone();
            if !edited.starts_with(b"link") {
                unrelated.put(&[b"zz/", &edited[..]].concat(), Leaf::File(b"9".to_vec()));
            }
            prop_assert_eq!(World::new(&manifest, &unrelated).keys(), before.clone());
            tree.put(&below, Leaf::File(b"9".to_vec()));
            prop_assert_ne!(World::new(&manifest, &tree).keys(), before);
        }
    }
}

#[test]
fn a_link_that_leaves_the_repository_is_an_error_and_one_to_nowhere_is_not() {
    let manifest = json!({"version": 1, "projects": {"p": {"buildDir": "way"}}}).to_string();
    for (target, is_error) in [("..", true), ("/etc", true), ("way", true), ("gone", false)] {
        let mut tree = MemoryTree::of(&[("a", "a")]);
        tree.put(b"way", Leaf::Link(target.as_bytes().to_vec()));
        let world = World::try_new(&manifest, &tree, None, &|_| Ok(false));
        assert_eq!(world.is_err(), is_error, "{target}");
    }
}

#[test]
fn ignore_patterns_leave_submodules_and_rebuild_all_alone() {
    let manifest = json!({
        "version": 1,
        "rebuildAll": ["^a/all$"],
        "projects": {"p": {"buildDir": "a", "ignorePatterns": ["."]}}
    });
    let mut tree = MemoryTree::of(&[("a/file", "1"), ("a/all", "1")]);
    tree.put(b"a/sub", Leaf::Submodule(1));
    let world = World::new(&manifest.to_string(), &tree);
    let sources = world.facts[&"p".parse::<ProjectName>().unwrap()]
        .inputs
        .sources
        .iter();
    let paths: Vec<String> = sources.map(|source| source.path.to_string()).collect();
    assert_eq!(paths, ["a/all", "a/sub"]);
}

#[test]
fn a_submodule_counts_unless_the_prefix_rules_it_out() {
    for (pattern, counts) in [
        ("^vendor/", true),
        ("^vendor/sub/", true),
        ("^vendor/sub/deep/", true),
        ("^vendor/sub/deep/x$", true),
        ("^vendor/sub$", true),
        ("^vendor/sub/[a-z]", true),
        (r"\.c$", true),
        ("^vendor/subway/", false),
        ("^vendor/su/", false),
        ("^vendor/su[b]", true),
        ("^x", false),
    ] {
        let manifest = json!({"version": 1, "projects": {
            "p": {"buildDir": ".", "rebuildPatterns": [pattern]}
        }});
        let keys = |commit: u8| {
            let mut tree = MemoryTree::of(&[("x", "1")]);
            tree.put(b"vendor/sub", Leaf::Submodule(commit));
            World::new(&manifest.to_string(), &tree).keys()
        };
        assert_eq!(keys(1) != keys(2), counts, "{pattern}");
    }
}
