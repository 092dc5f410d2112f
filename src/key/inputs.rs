//! What a key is made of, and its encoding.
//!
//! The encoding is frozen by golden tests: changing it changes every key, which rebuilds the
//! world, and takes a new [`VERSION`].

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde::ser::SerializeStruct as _;
use sha2::{Digest as _, Sha256};

use crate::model::{Entry, Key, ObjectId, Platform, ProjectName, RepoPath};

/// The version of the encoding, part of every key.
pub const VERSION: u64 = 1;

/// Everything that decides what a project's image is, at one commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyInputs {
    /// The project's name.
    pub project: ProjectName,
    /// `epoch` of the manifest.
    pub epoch: u64,
    /// The manifest's fields and the files that say how to build.
    #[serde(flatten)]
    pub recipe: Recipe,
    /// What the patterns match in the tree.
    pub sources: BTreeSet<Source>,
    /// The effective keys of the dependencies.
    pub dependencies: BTreeMap<ProjectName, Key>,
}

/// Every manifest field that can change the image, resolved at the commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recipe {
    /// `buildDir`, links followed.
    #[serde(flatten, serialize_with = "serialize_build_dir")]
    pub build_dir: RepoPath,
    /// The Dockerfile; `None` if the commit has none.
    pub dockerfile: Option<Source>,
    /// The ignore file in force.
    pub ignore_file: Option<Source>,
    /// The symbolic links on the way to the two directories and the two files.
    pub links: BTreeSet<Source>,
    /// `target`.
    pub target: Option<String>,
    /// `buildArgs`.
    pub build_args: BTreeMap<String, String>,
    /// `secrets`: ids only.
    pub secrets: BTreeSet<String>,
    /// `platforms`.
    pub platforms: BTreeSet<Platform>,
    /// `hermetic`.
    pub hermetic: bool,
    /// The manifest's `registry`, which Dockerfiles may name.
    pub registry: Option<String>,
    /// The manifest's `imageAliases`.
    pub image_aliases: BTreeSet<String>,
    /// The release tag, if one is given and the Dockerfile declares `COMMIT_TAG`.
    pub release_tag: Option<String>,
}

/// A path of the tree with what stands there: a file, a link, a submodule, or a directory that is
/// covered whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// From the repository's root.
    pub path: RepoPath,
    /// Mode and object id.
    pub entry: Entry,
}

impl Source {
    /// A source of a path and its entry.
    #[must_use]
    pub const fn new(path: RepoPath, entry: Entry) -> Self {
        Self { path, entry }
    }
}

impl Serialize for Source {
    /// `path`, `mode` and `id`; where the path's text is not the path itself, `pathBytes` has its
    /// bytes in hexadecimal.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = bytes_beside_text(&self.path);
        let mut row = serializer.serialize_struct("Source", 3 + usize::from(bytes.is_some()))?;
        row.serialize_field("path", &self.path)?;
        if let Some(bytes) = bytes {
            row.serialize_field("pathBytes", &bytes)?;
        }
        row.serialize_field("mode", self.entry.mode.octal())?;
        row.serialize_field("id", &self.entry.id.to_string())?;
        row.end()
    }
}

fn serialize_build_dir<S: serde::Serializer>(
    path: &RepoPath,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let bytes = bytes_beside_text(path);
    let mut row = serializer.serialize_struct("BuildDir", 1 + usize::from(bytes.is_some()))?;
    row.serialize_field("buildDir", path)?;
    if let Some(bytes) = bytes {
        row.serialize_field("buildDirBytes", &bytes)?;
    }
    row.end()
}

/// The bytes of a path whose text is not the path itself: the root, and what is percent-encoded.
fn bytes_beside_text(path: &RepoPath) -> Option<String> {
    (path.to_string().as_bytes() != path.as_bytes()).then(|| hex::encode(path.as_bytes()))
}

impl KeyInputs {
    /// The key of these inputs.
    #[must_use]
    pub fn key(&self) -> Key {
        self.hash_own().finish(&self.dependencies)
    }

    /// Hashes everything but the dependencies' keys, once, for the many times that those change
    /// while taints are applied.
    #[must_use]
    pub fn hash_own(&self) -> OwnHash {
        let mut encoder = Encoder::new();
        encoder.text("waybill-key");
        encoder.number(VERSION);
        encoder.text(self.project.as_str());
        encoder.number(self.epoch);
        self.recipe.encode(&mut encoder);
        encoder.list(&self.sources, Encoder::source);
        OwnHash {
            encoder,
            work_tree: None,
        }
    }
}

impl Recipe {
    fn encode(&self, encoder: &mut Encoder) {
        encoder.bytes(self.build_dir.as_bytes());
        encoder.option(self.dockerfile.as_ref(), Encoder::source);
        encoder.option(self.ignore_file.as_ref(), Encoder::source);
        encoder.list(&self.links, Encoder::source);
        encoder.option(self.target.as_deref(), Encoder::text);
        encoder.list(&self.build_args, |encoder, (name, value)| {
            encoder.text(name);
            encoder.text(value);
        });
        encoder.list(&self.secrets, |encoder, id| encoder.text(id));
        encoder.list(&self.platforms, |encoder, platform| {
            encoder.text(&platform.to_string());
        });
        encoder.number(u64::from(self.hermetic));
        encoder.option(self.registry.as_deref(), Encoder::text);
        encoder.list(&self.image_aliases, |encoder, alias| encoder.text(alias));
        encoder.option(self.release_tag.as_deref(), Encoder::text);
    }
}

/// The hash of a project's own inputs, to be finished with its dependencies' keys.
#[derive(Clone, Debug)]
pub struct OwnHash {
    encoder: Encoder,
    /// The build directory, where it is that of a work tree which differs from its commit.
    work_tree: Option<ObjectId>,
}

impl OwnHash {
    /// The same inputs in a work tree that differs from its commit: a key of its own, over the
    /// whole build directory and the word `worktree`, that no commit ever has.
    #[must_use]
    pub fn in_work_tree(&self, build_dir: ObjectId) -> Self {
        Self {
            work_tree: Some(build_dir),
            ..self.clone()
        }
    }

    /// Whether these are the inputs in a work tree that differs from its commit.
    #[must_use]
    pub const fn is_of_work_tree(&self) -> bool {
        self.work_tree.is_some()
    }

    /// The key, given the effective keys of the dependencies.
    #[must_use]
    pub fn finish(&self, dependencies: &BTreeMap<ProjectName, Key>) -> Key {
        let key = self.finish_committed(dependencies);
        let Some(build_dir) = self.work_tree else {
            return key;
        };
        let mut encoder = Encoder::new();
        encoder.text("worktree");
        encoder.bytes(key.as_bytes());
        encoder.bytes(build_dir.as_bytes());
        encoder.finish()
    }

    fn finish_committed(&self, dependencies: &BTreeMap<ProjectName, Key>) -> Key {
        let mut encoder = self.encoder.clone();
        encoder.list(dependencies, |encoder, (name, key)| {
            encoder.text(name.as_str());
            encoder.bytes(key.as_bytes());
        });
        encoder.finish()
    }
}

/// The key that stands in for a tainted one: the digest of the word `taint` and that key.
#[must_use]
pub fn next_key(tainted: Key) -> Key {
    let mut encoder = Encoder::new();
    encoder.text("taint");
    encoder.bytes(tainted.as_bytes());
    encoder.finish()
}

/// Every value with its length before it, every list with its count, so that no two different
/// inputs are ever written alike.
#[derive(Clone, Debug)]
pub(super) struct Encoder(Sha256);

impl Encoder {
    pub(super) fn new() -> Self {
        Self(Sha256::new())
    }

    pub(super) fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(super) fn source(&mut self, source: &Source) {
        self.bytes(source.path.as_bytes());
        self.text(source.entry.mode.octal());
        self.0.update(source.entry.id.as_bytes());
    }

    pub(super) fn option<T>(&mut self, value: Option<T>, encode: impl Fn(&mut Self, T)) {
        self.number(u64::from(value.is_some()));
        if let Some(value) = value {
            encode(self, value);
        }
    }

    pub(super) fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
        encode: impl Fn(&mut Self, T),
    ) {
        let items = items.into_iter();
        self.number(items.len() as u64);
        for item in items {
            encode(self, item);
        }
    }

    pub(super) fn finish(self) -> Key {
        Key::new(self.0.finalize().into())
    }
}
