//! Random histories of a small monorepo, as proptest makes them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;

/// How a project is laid out. Fixed by its number, so that names and places never clash.
pub(super) struct Layout {
    pub(super) build_dir: &'static str,
    pub(super) project_dir: &'static str,
    /// As the manifest has it.
    pub(super) dockerfile: &'static str,
    /// Where that may be.
    pub(super) dockerfiles: &'static [&'static str],
}

pub(super) const LAYOUTS: [Layout; 6] = [
    Layout {
        build_dir: "p0",
        project_dir: "p0",
        dockerfile: "Dockerfile",
        dockerfiles: &["p0/Dockerfile"],
    },
    Layout {
        build_dir: ".",
        project_dir: "libs/p 1",
        dockerfile: "libs/p 1/Dockerfile",
        dockerfiles: &["libs/p 1/Dockerfile"],
    },
    Layout {
        build_dir: "libs/p2",
        project_dir: "libs/p2",
        dockerfile: "build.docker",
        dockerfiles: &["libs/p2/build.docker"],
    },
    Layout {
        build_dir: "p3",
        project_dir: "p3/src",
        dockerfile: "Dockerfile",
        dockerfiles: &["p3/Dockerfile", "p3/src/Dockerfile"],
    },
    Layout {
        build_dir: "p\"4",
        project_dir: "p\"4",
        dockerfile: "Dockerfile",
        dockerfiles: &["p\"4/Dockerfile"],
    },
    Layout {
        build_dir: ".",
        project_dir: "ü5",
        dockerfile: "../docker/p5",
        dockerfiles: &["docker/p5"],
    },
];

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    File {
        executable: bool,
        content: u8,
    },
    Link(u8),
    Submodule(u8),
    /// A Dockerfile that uses the images of these projects.
    Dockerfile {
        uses: BTreeSet<usize>,
        variant: u8,
    },
}

/// A project's entry in the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Indexes into [`patterns`]; `None` for the default.
    pub(super) patterns: Option<BTreeSet<usize>>,
    /// Whether the patterns stand in a file of their own.
    pub(super) in_file: bool,
    pub(super) ignore: BTreeSet<usize>,
    pub(super) dependencies: BTreeSet<usize>,
    pub(super) epoch: u8,
    pub(super) argument: Option<u8>,
    pub(super) arm: bool,
}

/// A commit's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) files: BTreeMap<Vec<u8>, Leaf>,
    /// By project; `None` where the manifest lacks it.
    pub(super) entries: Vec<Option<Entry>>,
    /// The manifest is no JSON.
    pub(super) broken: bool,
    /// White space in the manifest.
    pub(super) spaces: u8,
}

/// A pattern: its text, and what every match begins with if it is anchored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PatternText {
    pub(super) text: String,
    pub(super) prefix: Option<String>,
    /// It is nothing but a directory.
    pub(super) plain: bool,
}

fn anchored(text: String, prefix: String, plain: bool) -> PatternText {
    PatternText {
        text,
        prefix: Some(prefix),
        plain,
    }
}

fn anywhere(text: &str) -> PatternText {
    PatternText {
        text: text.to_owned(),
        prefix: None,
        plain: false,
    }
}

/// What counts for every project in the full shape, and what every match begins with.
pub(super) const REBUILD_ALL: [(&str, Option<&str>); 2] =
    [("^toolchain$", Some("toolchain")), (r"b\.md$", None)];

/// How many patterns and ignore patterns there are to choose from.
pub(super) const PATTERNS: usize = 12;
pub(super) const IGNORES: usize = 5;

/// The patterns that a project may have; the first is the default.
pub(super) fn pattern(project: usize, index: usize) -> PatternText {
    let dir = LAYOUTS[project].project_dir;
    let below = |rest: &str| format!("{dir}/{rest}");
    match index {
        0 => anchored(format!("^{dir}/"), below(""), true),
        1 => anchored(format!("^{dir}/sub/"), below("sub/"), true),
        2 => anchored(format!(r"^{dir}/.*\.rs$"), below(""), false),
        3 => anywhere(r"\.rs$"),
        4 => anchored("^shared/".into(), "shared/".into(), true),
        5 => anchored("^shared/a$".into(), "shared/a".into(), false),
        6 => anywhere("^(toolchain|README)"),
        7 => anywhere(&format!("{dir}/")),
        8 => anywhere("json$"),
        9 => anchored("^vendor/x/".into(), "vendor/x/".into(), true),
        10 => anywhere(r"\.md$"),
        _ => anchored(format!("^{dir}/[ab]"), below(""), false),
    }
}

pub(super) fn ignore(project: usize, index: usize) -> PatternText {
    let dir = LAYOUTS[project].project_dir;
    match index {
        0 => anywhere(r"\.md$"),
        1 => anchored(format!("^{dir}/gen/"), format!("{dir}/gen/"), true),
        2 => anywhere("n.l"),
        3 => anywhere(r"\xff"),
        _ => anywhere("."),
    }
}

/// Every path that a story may touch, Dockerfiles and manifest apart.
pub(super) fn places(projects: usize) -> Vec<Vec<u8>> {
    let mut places: Vec<Vec<u8>> = [&b"shared/a"[..], b"shared/b.md", b"toolchain", b"README.md"]
        .into_iter()
        .chain([&b"vendor"[..], b"unrelated/a b", b".dockerignore"])
        .map(<[u8]>::to_vec)
        .collect();
    for layout in &LAYOUTS[..projects] {
        for name in [
            &b"a.rs"[..],
            b"b.md",
            b"sub/c.rs",
            b"n\nl",
            b"\xff.rs",
            b"gen/x",
            b"mod",
        ] {
            places.push([layout.project_dir.as_bytes(), b"/", name].concat());
        }
        places.push(format!("{}/.dockerignore", layout.build_dir).into_bytes());
        places.push(format!("{}.dockerignore", layout.dockerfiles[0]).into_bytes());
    }
    places.retain(|place| !place.starts_with(b"./"));
    places
}

/// What a commit does to the tree of its parent.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Put(usize, Leaf),
    /// A file that hardly any pattern matches.
    Unrelated(u8),
    Remove(usize),
    Rename(usize, usize),
    Chmod(usize),
    Dockerfile {
        project: usize,
        second: bool,
        leaf: Option<Leaf>,
    },
    Edit(usize, EntryEdit),
    Presence(usize),
    Broken,
    Spaces(u8),
}

#[derive(Clone, Debug)]
pub(super) enum EntryEdit {
    Epoch(u8),
    Argument(Option<u8>),
    Patterns(Option<BTreeSet<usize>>, bool),
    Ignore(BTreeSet<usize>),
    Dependencies(BTreeSet<usize>),
    Arm(bool),
}

/// Where a commit comes from. The numbers choose among the commits before it.
#[derive(Clone, Debug)]
pub(super) struct CommitPlan {
    /// How far back the first parent is: mostly 0, the commit before.
    pub(super) back: usize,
    /// The second parent, counted back likewise.
    pub(super) merge: Option<usize>,
    /// The tree to begin with, if it is not the first parent's: a revert, or a merge.
    pub(super) tree: Option<usize>,
    pub(super) steps: Vec<Step>,
}

/// An image under a commit's tag.
#[derive(Clone, Debug)]
pub(super) enum Tagged {
    /// One of its own.
    Own,
    /// The same as some other commits' of the project.
    Shared(u8),
    /// For another processor.
    Arm,
    /// Built by waybill for another key.
    OtherKey,
    /// Listed, and not there.
    Lost,
}

/// What is to be planned.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Counted from the last commit.
    pub(super) back: usize,
    pub(super) history: usize,
    pub(super) only: Option<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) first: State,
    pub(super) commits: Vec<CommitPlan>,
    /// By project and commit; numbers beyond what there is are none.
    pub(super) tags: Vec<(usize, usize, Tagged)>,
    pub(super) target: Target,
}

pub(super) fn story() -> impl Strategy<Value = Story> {
    (3..=6_usize).prop_flat_map(|projects| {
        let tag = (0..projects, 0..12_usize, tagged());
        let target = (0..4_usize, prop_oneof![1 => 1..6_usize, 3 => Just(500)]);
        let only = prop_oneof![3 => Just(None), 1 => (0..projects).prop_map(Some)];
        (
            first(projects),
            vec(commit_plan(projects), 4..12),
            vec(tag, projects * 3..projects * 12),
            (target, only).prop_map(|((back, history), only)| Target {
                back,
                history,
                only,
            }),
        )
            .prop_map(|(first, commits, tags, target)| Story {
                first,
                commits,
                tags,
                target,
            })
    })
}

fn tagged() -> impl Strategy<Value = Tagged> {
    prop_oneof![
        12 => Just(Tagged::Own),
        4 => (0..3_u8).prop_map(Tagged::Shared),
        1 => Just(Tagged::Arm),
        1 => Just(Tagged::OtherKey),
        1 => Just(Tagged::Lost),
    ]
}

fn first(projects: usize) -> impl Strategy<Value = State> {
    let count = places(projects).len();
    let entries: Vec<_> = (0..projects).map(entry).collect();
    let dockerfiles: Vec<_> = (0..projects).map(dockerfile).collect();
    let files = vec(prop_oneof![3 => Just(true), 1 => Just(false)], count);
    (entries, dockerfiles, files).prop_map(move |(entries, dockerfiles, files)| {
        let mut tree: BTreeMap<Vec<u8>, Leaf> = places(projects)
            .into_iter()
            .zip(files)
            .filter(|(path, there)| *there && !path.ends_with(b".dockerignore"))
            .map(|(path, _)| {
                (
                    path,
                    Leaf::File {
                        executable: false,
                        content: 0,
                    },
                )
            })
            .collect();
        for (layout, dockerfile) in LAYOUTS.iter().zip(dockerfiles) {
            tree.insert(layout.dockerfiles[0].into(), dockerfile);
        }
        State {
            files: tree,
            entries: entries.into_iter().map(Some).collect(),
            broken: false,
            spaces: 0,
        }
    })
}

fn entry(project: usize) -> impl Strategy<Value = Entry> {
    (patterns(), ignores(), dependencies(project)).prop_map(
        |((patterns, in_file), ignore, dependencies)| Entry {
            patterns,
            in_file,
            ignore,
            dependencies,
            epoch: 0,
            argument: None,
            arm: false,
        },
    )
}

fn patterns() -> impl Strategy<Value = (Option<BTreeSet<usize>>, bool)> {
    prop_oneof![
        2 => Just((None, false)),
        3 => (btree_set(0..PATTERNS, 1..4).prop_map(Some), prop::bool::weighted(0.3)),
    ]
}

fn ignores() -> impl Strategy<Value = BTreeSet<usize>> {
    prop_oneof![3 => Just(BTreeSet::new()), 1 => btree_set(0..IGNORES, 1..3)]
}

/// Among those with a lower number: there is no cycle.
fn dependencies(project: usize) -> impl Strategy<Value = BTreeSet<usize>> {
    btree_set(0..project.max(1), 0..3).prop_map(move |mut set| {
        set.retain(|dependency| *dependency < project);
        set
    })
}

fn dockerfile(project: usize) -> impl Strategy<Value = Leaf> {
    (dependencies(project), 0..3_u8).prop_map(|(uses, variant)| Leaf::Dockerfile { uses, variant })
}

fn leaf() -> impl Strategy<Value = Leaf> {
    prop_oneof![
        8 => (prop::bool::weighted(0.2), 0..3_u8)
            .prop_map(|(executable, content)| Leaf::File { executable, content }),
        1 => (0..2_u8).prop_map(Leaf::Link),
        2 => (0..3_u8).prop_map(Leaf::Submodule),
    ]
}

fn commit_plan(projects: usize) -> impl Strategy<Value = CommitPlan> {
    let back = || prop_oneof![5 => Just(0), 2 => 0..4_usize];
    let steps = prop_oneof![
        1 => Just(Vec::new()),
        6 => vec(step(projects), 1..3),
        1 => vec(step(projects), 3..6),
    ];
    (
        back(),
        prop_oneof![4 => Just(None), 1 => (1..4_usize).prop_map(Some)],
        prop_oneof![4 => Just(None), 1 => (0..5_usize).prop_map(Some)],
        steps,
    )
        .prop_map(|(back, merge, tree, steps)| CommitPlan {
            back,
            merge,
            tree,
            steps,
        })
}

fn step(projects: usize) -> impl Strategy<Value = Step> {
    let place = || 0..places(projects).len();
    let project = 0..projects;
    let dockerfiles = project.clone().prop_flat_map(|project| {
        let leaf = prop_oneof![5 => dockerfile(project).prop_map(Some), 1 => Just(None)];
        (prop::bool::weighted(0.1), leaf).prop_map(move |(second, leaf)| Step::Dockerfile {
            project,
            second,
            leaf,
        })
    });
    let edits = project.clone().prop_flat_map(|project| {
        let edit = prop_oneof![
            1 => (0..2_u8).prop_map(EntryEdit::Epoch),
            2 => prop_oneof![Just(None), (0..2_u8).prop_map(Some)].prop_map(EntryEdit::Argument),
            2 => patterns().prop_map(|(list, in_file)| EntryEdit::Patterns(list, in_file)),
            1 => ignores().prop_map(EntryEdit::Ignore),
            2 => dependencies(project).prop_map(EntryEdit::Dependencies),
            1 => prop::bool::weighted(0.3).prop_map(EntryEdit::Arm),
        ];
        edit.prop_map(move |edit| Step::Edit(project, edit))
    });
    prop_oneof![
        4 => (0..4_u8).prop_map(Step::Unrelated),
        12 => (place(), leaf()).prop_map(|(place, leaf)| Step::Put(place, leaf)),
        2 => place().prop_map(Step::Remove),
        2 => (place(), place()).prop_map(|(from, to)| Step::Rename(from, to)),
        2 => place().prop_map(Step::Chmod),
        3 => dockerfiles,
        3 => edits,
        1 => select((0..projects).collect::<Vec<_>>()).prop_map(Step::Presence),
        1 => Just(Step::Broken),
        1 => (0..3_u8).prop_map(Step::Spaces),
    ]
}

impl State {
    fn apply(&mut self, step: &Step) {
        let places = places(self.entries.len());
        match step {
            Step::Put(place, leaf) => {
                let ignore_file = places[*place].ends_with(b".dockerignore");
                // A link or a submodule in the place of an ignore file is another test's.
                if !ignore_file || matches!(leaf, Leaf::File { .. }) {
                    self.files.insert(places[*place].clone(), leaf.clone());
                }
            }
            Step::Unrelated(content) => {
                let leaf = Leaf::File {
                    executable: false,
                    content: *content,
                };
                self.files.insert(b"unrelated/\"c d\\".to_vec(), leaf);
            }
            Step::Remove(place) => {
                self.files.remove(&places[*place]);
            }
            Step::Rename(from, to) => {
                let may_move = !places[*to].ends_with(b".dockerignore");
                if may_move && let Some(leaf) = self.files.remove(&places[*from]) {
                    self.files.insert(places[*to].clone(), leaf);
                }
            }
            Step::Chmod(place) => {
                if let Some(Leaf::File { executable, .. }) = self.files.get_mut(&places[*place]) {
                    *executable = !*executable;
                }
            }
            Step::Dockerfile {
                project,
                second,
                leaf,
            } => {
                let paths = LAYOUTS[*project].dockerfiles;
                let path = paths[usize::from(*second) % paths.len()]
                    .as_bytes()
                    .to_vec();
                match leaf {
                    Some(leaf) => self.files.insert(path, leaf.clone()),
                    None => self.files.remove(&path),
                };
            }
            Step::Edit(project, edit) => {
                if let Some(entry) = &mut self.entries[*project] {
                    entry.apply(edit);
                }
            }
            Step::Presence(project) => self.toggle(*project),
            Step::Broken => self.broken = true,
            Step::Spaces(spaces) => self.spaces = *spaces,
        }
    }

    /// Takes a project out of the manifest, if nothing depends on it, or puts a new one in.
    fn toggle(&mut self, project: usize) {
        let mut others = self.entries.iter().flatten();
        if self.entries[project].is_none() {
            self.entries[project] = Some(Entry {
                patterns: None,
                in_file: false,
                ignore: BTreeSet::new(),
                dependencies: BTreeSet::new(),
                epoch: 0,
                argument: None,
                arm: false,
            });
        } else if !others.any(|entry| entry.dependencies.contains(&project)) {
            self.entries[project] = None;
        }
    }

    /// What an edit leaves that no manifest may hold goes.
    fn settle(&mut self) {
        let there: BTreeSet<usize> = (0..self.entries.len())
            .filter(|project| self.entries[*project].is_some())
            .collect();
        for entry in self.entries.iter_mut().flatten() {
            entry.dependencies.retain(|project| there.contains(project));
        }
    }
}

impl Entry {
    fn apply(&mut self, edit: &EntryEdit) {
        match edit {
            EntryEdit::Epoch(epoch) => self.epoch = *epoch,
            EntryEdit::Argument(argument) => self.argument = *argument,
            EntryEdit::Patterns(patterns, in_file) => {
                (self.patterns, self.in_file) = (patterns.clone(), *in_file);
            }
            EntryEdit::Ignore(ignore) => self.ignore.clone_from(ignore),
            EntryEdit::Dependencies(dependencies) => self.dependencies.clone_from(dependencies),
            EntryEdit::Arm(arm) => self.arm = *arm,
        }
    }
}

/// A commit of a story: its parents, by number, and its tree.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) parents: Vec<usize>,
    pub(super) state: State,
}

impl Story {
    /// The commits, oldest first.
    pub(super) fn tell(&self) -> Vec<Told> {
        let mut told = vec![Told {
            parents: Vec::new(),
            state: self.first.clone(),
        }];
        for plan in &self.commits {
            let count = told.len();
            let back = |steps: usize| count - 1 - steps.min(count - 1);
            let parent = back(plan.back);
            let second = plan.merge.map(back).filter(|second| *second != parent);
            let mut state = told[plan.tree.map_or(parent, back)].state.clone();
            state.broken = false;
            plan.steps.iter().for_each(|step| state.apply(step));
            state.settle();
            let parents = [Some(parent), second].into_iter().flatten().collect();
            told.push(Told { parents, state });
        }
        told
    }
}
