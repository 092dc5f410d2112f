//! One tree of the repository, looked into again and again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use gix::objs::Kind;

use super::tree::{Tree, next_entry};
use super::{GitError, Repository, links};
use crate::model::{self, CommitId, Entry, Mode, ObjectId, RepoPath, Resolved, directory_of};

/// One root tree. Directories are decoded once each, so thousands of look-ups share the work.
pub struct Snapshot<'r> {
    repository: &'r Repository,
    root: ObjectId,
    trees: Mutex<HashMap<ObjectId, Arc<Tree>>>,
}

impl Repository {
    /// The tree of a commit.
    pub fn snapshot(&self, commit: CommitId) -> Result<Snapshot<'_>, GitError> {
        self.snapshot_of_tree(self.commit(commit)?.tree)
    }

    /// A tree by its own id.
    pub fn snapshot_of_tree(&self, tree: ObjectId) -> Result<Snapshot<'_>, GitError> {
        let snapshot = Snapshot {
            repository: self,
            root: tree,
            trees: Mutex::default(),
        };
        snapshot.decoded(tree)?;
        Ok(snapshot)
    }
}

impl model::Tree for Snapshot<'_> {
    type Error = GitError;

    fn entry(&self, path: &RepoPath) -> Result<Option<Entry>, GitError> {
        Snapshot::entry(self, path)
    }

    fn resolve(&self, path: &RepoPath) -> Result<Resolved, GitError> {
        Snapshot::resolve(self, path)
    }

    fn walk(
        &self,
        directory: &RepoPath,
        visit: &mut dyn FnMut(&[u8], Entry),
    ) -> Result<(), GitError> {
        Snapshot::walk(self, directory, visit)
    }

    fn walk_prefix(
        &self,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], Entry),
    ) -> Result<(), GitError> {
        Snapshot::walk_prefix(self, prefix, visit)
    }
}

impl links::Directories for Snapshot<'_> {
    fn root(&self) -> Entry {
        self.root_entry()
    }

    fn child(&self, directory: Entry, name: &[u8]) -> Result<Option<Entry>, GitError> {
        Ok(self.decoded(directory.id)?.find(name))
    }

    fn target(&self, path: &RepoPath, link: Entry) -> Result<Vec<u8>, GitError> {
        let what = format!("the target of the link '{path}',");
        self.repository.blob_named(link.id, &what)
    }
}

impl Snapshot<'_> {
    /// The id of the root tree.
    #[must_use]
    pub fn tree(&self) -> ObjectId {
        self.root
    }

    /// What is at this path; the root is a tree. Links are not followed: a path through a file, a
    /// link or a submodule leads nowhere.
    pub fn entry(&self, path: &RepoPath) -> Result<Option<Entry>, GitError> {
        let mut entry = self.root_entry();
        for component in path.components() {
            if entry.mode != Mode::Tree {
                return Ok(None);
            }
            match self.decoded(entry.id)?.find(component) {
                Some(found) => entry = found,
                None => return Ok(None),
            }
        }
        Ok(Some(entry))
    }

    /// Follows the symbolic links of every component of the path, inside the tree.
    ///
    /// A link that leaves the repository and a loop of links are errors; a link whose target is
    /// not there is an answer without entry. The targets of links are blobs that a partial clone
    /// may lack.
    pub fn resolve(&self, path: &RepoPath) -> Result<Resolved, GitError> {
        links::resolve(self, path)
    }

    /// Calls `visit` with each file, link and submodule below a directory, in the order of the
    /// paths' bytes, with its whole path from the repository's root. Links are not followed.
    /// Nothing is visited where there is no such directory.
    pub fn walk(
        &self,
        directory: &RepoPath,
        visit: &mut dyn FnMut(&[u8], Entry),
    ) -> Result<(), GitError> {
        match self.entry(directory)? {
            Some(entry) if entry.mode == Mode::Tree => {
                self.walk_tree(entry.id, directory.as_prefix(), visit)
            }
            _ => Ok(()),
        }
    }

    /// [`Self::walk`] over the leaves whose path begins with these bytes, reading nothing else.
    pub fn walk_prefix(
        &self,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], Entry),
    ) -> Result<(), GitError> {
        let directory = directory_of(prefix);
        let below = directory.as_prefix();
        let Some(name) = prefix.strip_prefix(&*below) else {
            return Ok(());
        };
        if name.is_empty() {
            return self.walk(&directory, visit);
        }
        let Some(entry) = self
            .entry(&directory)?
            .filter(|entry| entry.mode == Mode::Tree)
        else {
            return Ok(());
        };
        for (name, entry) in self.decoded(entry.id)?.beginning_with(name) {
            let mut path = below.clone();
            path.extend_from_slice(name);
            if entry.mode == Mode::Tree {
                path.push(b'/');
                self.walk_tree(entry.id, path, visit)?;
            } else {
                visit(&path, entry);
            }
        }
        Ok(())
    }

    /// [`Repository::blob`].
    pub fn blob(&self, id: ObjectId) -> Result<Vec<u8>, GitError> {
        self.repository.blob(id)
    }

    fn walk_tree(
        &self,
        tree: ObjectId,
        prefix: Vec<u8>,
        visit: &mut dyn FnMut(&[u8], Entry),
    ) -> Result<(), GitError> {
        self.repository.with_objects(|objects| {
            let enter = |id, prefix, mut data| {
                objects.read(id, Kind::Tree, "the tree", &mut data)?;
                Ok(Level {
                    tree: id,
                    data,
                    position: 0,
                    prefix,
                })
            };
            let mut path = prefix;
            let mut spare = Vec::new();
            let mut levels = vec![enter(tree, path.len(), Vec::new())?];
            while let Some(level) = levels.last_mut() {
                path.truncate(level.prefix);
                let next = next_entry(level.tree, &level.data, &mut level.position)?;
                let Some((name, entry)) = next else {
                    spare.extend(levels.pop().map(|level| level.data));
                    continue;
                };
                path.extend_from_slice(&level.data[name]);
                if entry.mode == Mode::Tree {
                    path.push(b'/');
                    let buffer = spare.pop().unwrap_or_default();
                    levels.push(enter(entry.id, path.len(), buffer)?);
                } else {
                    visit(&path, entry);
                }
            }
            Ok(())
        })
    }

    fn root_entry(&self) -> Entry {
        Entry {
            mode: Mode::Tree,
            id: self.root,
        }
    }

    fn decoded(&self, id: ObjectId) -> Result<Arc<Tree>, GitError> {
        let trees = || self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = trees().get(&id) {
            return Ok(Arc::clone(tree));
        }
        // Read without the lock: two threads may decode one tree, and none waits for another's.
        let tree = self
            .repository
            .with_objects(|objects| Tree::read(objects, id))?;
        let tree = Arc::new(tree);
        trees().insert(id, Arc::clone(&tree));
        Ok(tree)
    }
}

/// A directory in the middle of being walked.
struct Level {
    tree: ObjectId,
    data: Vec<u8>,
    position: usize,
    /// How much of the path names this directory, its `/` included.
    prefix: usize,
}
