//! A tree in memory, and the projects of a manifest over it.

use std::collections::{BTreeMap, VecDeque};

use sha2::{Digest as _, Sha256};

use crate::graph::Graph;
use crate::key::{
    FactsError, Located, Matcher, ProjectFacts, ProjectKey, effective_keys, project_facts,
};
use crate::manifest::{self, Manifest};
use crate::model::{Entry, Key, Mode, ObjectId, ProjectName, RepoPath, Resolved, Tree};

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    File(Vec<u8>),
    Executable(Vec<u8>),
    Link(Vec<u8>),
    Submodule(u8),
}

impl Leaf {
    pub(super) fn entry(&self) -> Entry {
        let (mode, content) = match self {
            Self::File(content) => (Mode::File, content.clone()),
            Self::Executable(content) => (Mode::Executable, content.clone()),
            Self::Link(target) => (Mode::Link, target.clone()),
            Self::Submodule(commit) => (Mode::Submodule, vec![*commit]),
        };
        // As in git, the id of a blob does not depend on the mode of its file.
        Entry {
            mode,
            id: object_id(&content),
        }
    }
}

/// The leaves of a tree, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MemoryTree(BTreeMap<Vec<u8>, Leaf>);

impl MemoryTree {
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let mut tree = Self::default();
        for (path, content) in files {
            tree.put(path.as_bytes(), Leaf::File(content.as_bytes().to_vec()));
        }
        tree
    }

    /// Puts a leaf; what is in its way, above or below, goes.
    pub(super) fn put(&mut self, path: &[u8], leaf: Leaf) {
        let is_above = |above: &[u8], below: &[u8]| {
            below.starts_with(above) && below.get(above.len()) == Some(&b'/')
        };
        self.0
            .retain(|other, _| !is_above(other, path) && !is_above(path, other));
        self.0.insert(path.to_vec(), leaf);
    }

    pub(super) fn remove(&mut self, path: &[u8]) -> Option<Leaf> {
        self.0.remove(path)
    }

    pub(super) fn leaves(&self) -> &BTreeMap<Vec<u8>, Leaf> {
        &self.0
    }

    fn below(&self, directory: &RepoPath) -> impl Iterator<Item = (&Vec<u8>, &Leaf)> {
        let prefix = directory.as_prefix();
        let leaves = self.0.iter();
        leaves.filter(move |(path, _)| path.starts_with(&prefix))
    }
}

/// The first twenty bytes of a digest, for want of git.
fn object_id(bytes: &[u8]) -> ObjectId {
    let digest = Sha256::digest(bytes);
    let mut id = [0; 20];
    id.copy_from_slice(&digest[..20]);
    ObjectId::new(id)
}

impl Tree for MemoryTree {
    type Error = String;

    fn entry(&self, path: &RepoPath) -> Result<Option<Entry>, String> {
        if let Some(leaf) = self.0.get(path.as_bytes()) {
            return Ok(Some(leaf.entry()));
        }
        let prefix = path.as_prefix().len();
        let mut listing = Vec::new();
        for (path, leaf) in self.below(path) {
            let entry = leaf.entry();
            listing.push(format!("{:?} {entry:?}", &path[prefix..]));
        }
        let entry = Entry {
            mode: Mode::Tree,
            id: object_id(listing.join("\n").as_bytes()),
        };
        Ok((path.is_root() || !listing.is_empty()).then_some(entry))
    }

    fn resolve(&self, path: &RepoPath) -> Result<Resolved, String> {
        let mut to_go: VecDeque<Vec<u8>> = path.components().map(<[u8]>::to_vec).collect();
        let mut gone: Vec<Vec<u8>> = Vec::new();
        let mut links = Vec::new();
        while let Some(name) = to_go.pop_front() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    gone.pop().ok_or("it leaves the repository")?;
                    continue;
                }
                _ => gone.push(name),
            }
            let here = gone.join(&b'/');
            let Some(leaf @ Leaf::Link(target)) = self.0.get(&here) else {
                continue;
            };
            links.push((RepoPath::from_git(here), leaf.entry()));
            if links.len() > 20 || target.starts_with(b"/") {
                return Err("it goes in circles, or leaves the repository".to_owned());
            }
            gone.pop();
            for name in target.rsplit(|byte| *byte == b'/') {
                to_go.push_front(name.to_vec());
            }
        }
        let submodule = (1..=gone.len()).find_map(|length| {
            let path = gone[..length].join(&b'/');
            let leaf = self.0.get(&path)?;
            matches!(leaf, Leaf::Submodule(_)).then(|| (RepoPath::from_git(path), leaf.entry()))
        });
        let path = RepoPath::from_git(gone.join(&b'/'));
        Ok(Resolved {
            entry: self.entry(&path)?,
            path,
            links,
            submodule,
        })
    }

    fn walk(
        &self,
        directory: &RepoPath,
        visit: &mut dyn FnMut(&[u8], Entry),
    ) -> Result<(), String> {
        self.below(directory)
            .for_each(|(path, leaf)| visit(path, leaf.entry()));
        Ok(())
    }
}

/// A manifest's projects over a tree.
pub(super) struct World {
    pub(super) manifest: Manifest,
    pub(super) facts: BTreeMap<ProjectName, ProjectFacts>,
    pub(super) graph: Graph,
}

pub(super) type Keys = BTreeMap<ProjectName, ProjectKey>;

impl World {
    /// Reads, checks and finds everything, as for a commit. A manifest with errors is a panic.
    pub(super) fn new(manifest: &str, tree: &MemoryTree) -> Self {
        let tag_is_unused = |_: &Located| Ok(false);
        Self::try_new(manifest, tree, None, &tag_is_unused).unwrap()
    }

    pub(super) fn try_new(
        manifest: &str,
        tree: &MemoryTree,
        release_tag: Option<&str>,
        declares_tag: &dyn Fn(&Located) -> Result<bool, String>,
    ) -> Result<Self, FactsError<String>> {
        let path = RepoPath::from("build_manifest.json");
        let raw = manifest::read(&path, manifest.as_bytes()).unwrap();
        let checked = raw.check(&BTreeMap::new());
        let manifest = checked
            .manifest
            .unwrap_or_else(|| panic!("{manifest}: {:#?}", checked.problems));
        let matcher = Matcher::new(tree, &manifest.rebuild_all);
        let facts = manifest
            .projects
            .values()
            .map(|project| {
                let facts = project_facts(&matcher, &manifest, project, release_tag, declares_tag)?;
                Ok((project.name.clone(), facts))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            graph: Graph::new(&manifest),
            facts,
            manifest,
        })
    }

    pub(super) fn effective_keys(
        &self,
        is_tainted: impl FnMut(&ProjectName, &[Key], Key) -> bool,
    ) -> Keys {
        let order = self.graph.topological();
        let order = order.iter().map(|name| {
            let dependencies = self.manifest.projects[name].dependencies.as_slice();
            (&self.facts[name], dependencies)
        });
        effective_keys(order, is_tainted)
    }

    /// The keys where nothing is tainted.
    pub(super) fn keys(&self) -> BTreeMap<ProjectName, Key> {
        let keys = self.effective_keys(|_, _, _| false).into_iter();
        keys.map(|(name, key)| (name, key.key)).collect()
    }
}
