//! The encoding, frozen: the keys below may never change while the version is 1.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use crate::key::{KeyInputs, Recipe, Source, VERSION, next_key};
use crate::model::{Entry, Key, Mode, ObjectId, Platform, RepoPath};

/// The encoding once more, written down by hand and not shared with the code.
#[derive(Default)]
struct ByHand(Vec<u8>);

impl ByHand {
    fn number(mut self, number: u8) -> Self {
        self.0.extend([0, 0, 0, 0, 0, 0, 0, number]);
        self
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        let mut longer = self.number(u8::try_from(bytes.len()).unwrap());
        longer.0.extend(bytes);
        longer
    }

    fn source(self, path: &[u8], mode: &str, id: u8) -> Self {
        let mut longer = self.bytes(path).bytes(mode.as_bytes());
        longer.0.extend([id; 20]);
        longer
    }

    fn sha256(&self) -> String {
        hex::encode(Sha256::digest(&self.0))
    }
}

fn source(path: &str, mode: Mode, id: u8) -> Source {
    let id = ObjectId::new([id; 20]);
    Source::new(RepoPath::from(path), Entry { mode, id })
}

fn texts(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

/// Nothing but what must be there.
fn least() -> KeyInputs {
    KeyInputs {
        project: "a".parse().unwrap(),
        epoch: 0,
        recipe: Recipe {
            build_dir: RepoPath::root(),
            dockerfile: None,
            ignore_file: None,
            links: BTreeSet::new(),
            target: None,
            build_args: BTreeMap::new(),
            secrets: BTreeSet::new(),
            platforms: BTreeSet::from([Platform::default()]),
            hermetic: false,
            registry: None,
            image_aliases: BTreeSet::new(),
            release_tag: None,
        },
        sources: BTreeSet::new(),
        dependencies: BTreeMap::new(),
    }
}

/// Something everywhere.
fn full() -> KeyInputs {
    KeyInputs {
        project: "team/api".parse().unwrap(),
        epoch: 7,
        recipe: Recipe {
            build_dir: RepoPath::from("services/api"),
            dockerfile: Some(source("services/api/Dockerfile", Mode::Executable, 0x11)),
            ignore_file: Some(source(".dockerignore", Mode::File, 0x22)),
            links: BTreeSet::from([source("services", Mode::Link, 0x33)]),
            target: Some("run".into()),
            build_args: pairs(&[("B", ""), ("A", "1")]),
            secrets: texts(&["token"]),
            platforms: ["linux/arm/v7", "linux/amd64"]
                .map(|platform| platform.parse().unwrap())
                .into(),
            hermetic: true,
            registry: Some("127.0.0.1:5000/acme".into()),
            image_aliases: texts(&["old.example.com", "acme"]),
            release_tag: Some("v1.2".into()),
        },
        sources: BTreeSet::from([
            source("vendor/x", Mode::Submodule, 0x66),
            source("libs", Mode::Tree, 0x44),
            Source::new(
                RepoPath::from_git(*b"b\n\xff"),
                source("", Mode::File, 0x55).entry,
            ),
        ]),
        dependencies: BTreeMap::from([
            ("log".parse().unwrap(), Key::new([0x77; 32])),
            ("base".parse().unwrap(), Key::new([0x88; 32])),
        ]),
    }
}

#[test]
fn the_least_key_is_frozen() {
    let by_hand = ByHand::default()
        .bytes(b"waybill-key")
        .number(1) // version
        .bytes(b"a")
        .number(0) // epoch
        .bytes(b"") // buildDir
        .number(0) // no Dockerfile
        .number(0) // no ignore file
        .number(0) // links
        .number(0) // no target
        .number(0) // buildArgs
        .number(0) // secrets
        .number(1) // platforms
        .bytes(b"linux/amd64")
        .number(0) // hermetic
        .number(0) // no registry
        .number(0) // imageAliases
        .number(0) // no release tag
        .number(0) // sources
        .number(0); // dependencies
    let golden = "00987db100c7589b66609977e9cfb08bd3de8bd3467668d5aaedc645295607d0";
    assert_eq!(by_hand.sha256(), golden);
    assert_eq!(least().key().to_string(), golden);
}

#[test]
fn a_full_key_is_frozen() {
    let by_hand = ByHand::default()
        .bytes(b"waybill-key")
        .number(1)
        .bytes(b"team/api")
        .number(7)
        .bytes(b"services/api")
        .number(1)
        .source(b"services/api/Dockerfile", "100755", 0x11)
        .number(1)
        .source(b".dockerignore", "100644", 0x22)
        .number(1)
        .source(b"services", "120000", 0x33)
        .number(1)
        .bytes(b"run")
        .number(2)
        .bytes(b"A")
        .bytes(b"1")
        .bytes(b"B")
        .bytes(b"")
        .number(1)
        .bytes(b"token")
        .number(2)
        .bytes(b"linux/amd64")
        .bytes(b"linux/arm/v7")
        .number(1)
        .number(1)
        .bytes(b"127.0.0.1:5000/acme")
        .number(2)
        .bytes(b"acme")
        .bytes(b"old.example.com")
        .number(1)
        .bytes(b"v1.2")
        .number(3)
        .source(b"b\n\xff", "100644", 0x55)
        .source(b"libs", "040000", 0x44)
        .source(b"vendor/x", "160000", 0x66)
        .number(2)
        .bytes(b"base")
        .bytes(&[0x88; 32])
        .bytes(b"log")
        .bytes(&[0x77; 32]);
    let golden = "6f923b6e49af7bc5e9440808ff803f249f832b67ae02b64c14062368169f3045";
    assert_eq!(by_hand.sha256(), golden);
    assert_eq!(full().key().to_string(), golden);
}

#[test]
fn the_key_after_a_taint_is_frozen() {
    let golden = "1afe7847329b203918d16d935f06dfab9191417a71c9c10cd7284cfc8ab230f7";
    let by_hand = ByHand::default().bytes(b"taint").bytes(&[0x77; 32]);
    assert_eq!(by_hand.sha256(), golden);
    assert_eq!(next_key(Key::new([0x77; 32])).to_string(), golden);
    assert_eq!(VERSION, 1);
}

type Edit = fn(&mut KeyInputs);

/// Edits of every field, by its name. The pattern has no `..`: a new field must be added here.
#[expect(
    clippy::too_many_lines,
    clippy::semicolon_if_nothing_returned,
    reason = "a table, a field a row"
)]
fn edits(inputs: &KeyInputs) -> Vec<(&'static str, Vec<Edit>)> {
    let KeyInputs {
        project: _,
        epoch: _,
        recipe:
            Recipe {
                build_dir: _,
                dockerfile: _,
                ignore_file: _,
                links: _,
                target: _,
                build_args: _,
                secrets: _,
                platforms: _,
                hermetic: _,
                registry: _,
                image_aliases: _,
                release_tag: _,
            },
        sources: _,
        dependencies: _,
    } = inputs;
    vec![
        ("project", vec![|i| i.project = "other".parse().unwrap()]),
        ("epoch", vec![|i| i.epoch = 1, |i| i.epoch = 256]),
        (
            "build_dir",
            vec![|i| i.recipe.build_dir = RepoPath::from("services"), |i| {
                i.recipe.build_dir = RepoPath::from("services/other")
            }],
        ),
        (
            "dockerfile",
            vec![
                |i| i.recipe.dockerfile = None,
                |i| i.recipe.dockerfile = Some(source("d", Mode::File, 1)),
                |i| i.recipe.dockerfile = Some(source("e", Mode::File, 1)),
                |i| i.recipe.dockerfile = Some(source("d", Mode::Executable, 1)),
                |i| i.recipe.dockerfile = Some(source("d", Mode::File, 2)),
            ],
        ),
        (
            "ignore_file",
            vec![
                |i| i.recipe.ignore_file = None,
                |i| i.recipe.ignore_file = Some(source("d", Mode::File, 1)),
                |i| i.recipe.ignore_file = Some(source("d", Mode::File, 2)),
            ],
        ),
        (
            "links",
            vec![
                |i| i.recipe.links = [source("d", Mode::Link, 1)].into(),
                |i| i.recipe.links = [source("d", Mode::Link, 2)].into(),
                |i| {
                    i.recipe.links =
                        [source("d", Mode::Link, 1), source("e", Mode::Link, 1)].into();
                },
            ],
        ),
        (
            "target",
            vec![
                |i| i.recipe.target = None,
                |i| i.recipe.target = Some(String::new()),
                |i| i.recipe.target = Some("x".into()),
            ],
        ),
        (
            "build_args",
            vec![
                |i| i.recipe.build_args = pairs(&[]),
                |i| i.recipe.build_args = pairs(&[("", "")]),
                |i| i.recipe.build_args = pairs(&[("A", "bc")]),
                |i| i.recipe.build_args = pairs(&[("Ab", "c")]),
                |i| i.recipe.build_args = pairs(&[("A", "b"), ("c", "")]),
            ],
        ),
        (
            "secrets",
            vec![
                |i| i.recipe.secrets = texts(&[]),
                |i| i.recipe.secrets = texts(&[""]),
                |i| i.recipe.secrets = texts(&["ab"]),
                |i| i.recipe.secrets = texts(&["a", "b"]),
            ],
        ),
        (
            "platforms",
            vec![
                |i| i.recipe.platforms = ["linux/arm64".parse().unwrap()].into(),
                |i| i.recipe.platforms = ["linux/arm64/v8".parse().unwrap()].into(),
            ],
        ),
        ("hermetic", vec![|i| i.recipe.hermetic = !i.recipe.hermetic]),
        (
            "registry",
            vec![
                |i| i.recipe.registry = None,
                |i| i.recipe.registry = Some(String::new()),
                |i| i.recipe.registry = Some("x".into()),
            ],
        ),
        (
            "image_aliases",
            vec![
                |i| i.recipe.image_aliases = texts(&[]),
                |i| i.recipe.image_aliases = texts(&[""]),
                |i| i.recipe.image_aliases = texts(&["x"]),
            ],
        ),
        (
            "release_tag",
            vec![
                |i| i.recipe.release_tag = None,
                |i| i.recipe.release_tag = Some(String::new()),
                |i| i.recipe.release_tag = Some("x".into()),
            ],
        ),
        (
            "sources",
            vec![
                |i| i.sources = BTreeSet::new(),
                |i| i.sources = [source("d", Mode::File, 1)].into(),
                |i| i.sources = [source("e", Mode::File, 1)].into(),
                |i| i.sources = [source("d", Mode::Executable, 1)].into(),
                |i| i.sources = [source("d", Mode::Tree, 1)].into(),
                |i| i.sources = [source("d", Mode::Submodule, 1)].into(),
                |i| i.sources = [source("d", Mode::File, 2)].into(),
                |i| i.sources = [source("d", Mode::File, 1), source("e", Mode::File, 1)].into(),
            ],
        ),
        (
            "dependencies",
            vec![
                |i| i.dependencies = BTreeMap::new(),
                |i| i.dependencies = [("x".parse().unwrap(), Key::new([1; 32]))].into(),
                |i| i.dependencies = [("x".parse().unwrap(), Key::new([2; 32]))].into(),
                |i| i.dependencies = [("y".parse().unwrap(), Key::new([1; 32]))].into(),
            ],
        ),
    ]
}

/// Pairs in which the same bytes stand in one field or in its neighbour.
fn neighbours() -> Vec<(Edit, Edit)> {
    vec![
        (
            |i| i.recipe.build_dir = RepoPath::from("d"),
            |i| i.project = "ad".parse().unwrap(),
        ),
        (
            |i| i.recipe.dockerfile = Some(source("d", Mode::File, 1)),
            |i| i.recipe.ignore_file = Some(source("d", Mode::File, 1)),
        ),
        (
            |i| i.recipe.ignore_file = Some(source("d", Mode::Link, 1)),
            |i| i.recipe.links = [source("d", Mode::Link, 1)].into(),
        ),
        (
            |i| i.recipe.target = Some("x".into()),
            |i| i.recipe.secrets = texts(&["x"]),
        ),
        (
            |i| i.recipe.build_args = pairs(&[("x", "y")]),
            |i| i.recipe.secrets = texts(&["x", "y"]),
        ),
        (
            |i| i.recipe.secrets = texts(&["linux/amd64"]),
            |i| {
                i.recipe
                    .platforms
                    .extend(["linux/amd64/v1".parse().unwrap()]);
            },
        ),
        (
            |i| i.recipe.registry = Some("x".into()),
            |i| i.recipe.image_aliases = texts(&["x"]),
        ),
        (
            |i| i.recipe.image_aliases = texts(&["x"]),
            |i| i.recipe.release_tag = Some("x".into()),
        ),
        (
            |i| i.recipe.links = [source("d", Mode::File, 1)].into(),
            |i| i.sources = [source("d", Mode::File, 1)].into(),
        ),
        (
            |i| i.sources = [source("d", Mode::File, 1)].into(),
            |i| i.dependencies = [("d".parse().unwrap(), Key::new([1; 32]))].into(),
        ),
    ]
}

#[test]
fn every_field_changes_the_key_and_absent_is_not_empty() {
    for inputs in [least(), full()] {
        for (field, edits) in edits(&inputs) {
            let mut keys = BTreeMap::from([(inputs.key(), inputs.clone())]);
            for edit in edits {
                let mut edited = inputs.clone();
                edit(&mut edited);
                if edited == inputs {
                    continue;
                }
                let clash = keys.insert(edited.key(), edited);
                assert_eq!(clash, None, "two values of {field} have one key");
            }
            assert!(keys.len() > 1, "{field}");
        }
    }
}

#[test]
fn bytes_that_move_between_neighbours_change_the_key() {
    for (index, (one, other)) in neighbours().into_iter().enumerate() {
        let [mut first, mut second] = [least(), least()];
        one(&mut first);
        other(&mut second);
        assert_ne!(first, second);
        assert_ne!(first.key(), second.key(), "pair {index}");
    }
}

#[test]
fn the_key_is_finished_the_same_in_two_steps() {
    let inputs = full();
    assert_eq!(inputs.hash_own().finish(&inputs.dependencies), inputs.key());
    assert_ne!(inputs.hash_own().finish(&BTreeMap::new()), inputs.key());
}
