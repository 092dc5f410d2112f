//! What changed between two trees.

use std::cell::Cell;

use gix::diff::tree::recorder;
use gix::diff::tree::{Recorder, State};
use gix::objs::{Data, Find, Kind, TreeRefIter};

use super::objects::{Objects, entry_from_gix, from_gix, unreadable};
use super::{GitError, Repository};
use crate::model::{Change, Mode, ObjectId, RepoPath};

impl Repository {
    /// All files, links and submodules that differ between two trees, sorted by path. Directories
    /// with the same id are not looked into.
    pub fn changes(&self, old_tree: ObjectId, new_tree: ObjectId) -> Result<Vec<Change>, GitError> {
        if old_tree == new_tree {
            return Ok(Vec::new());
        }
        self.with_objects(|objects| {
            let records = records(self, objects, old_tree, new_tree)?;
            let mut changes: Vec<_> = records.into_iter().filter_map(leaf_change).collect();
            changes.sort_unstable_by(|left, right| left.path.cmp(&right.path));
            Ok(changes)
        })
    }
}

fn records(
    repository: &Repository,
    objects: &Objects<'_>,
    old_tree: ObjectId,
    new_tree: ObjectId,
) -> Result<Vec<recorder::Change>, GitError> {
    let (mut old, mut new) = (Vec::new(), Vec::new());
    objects.read(old_tree, Kind::Tree, "the tree", &mut old)?;
    objects.read(new_tree, Kind::Tree, "the tree", &mut new)?;
    let witness = Witness {
        objects,
        absent: Cell::new(None),
    };
    let mut recorder = Recorder::default();
    gix::diff::tree(
        TreeRefIter::from_bytes(&old, gix::hash::Kind::Sha1),
        TreeRefIter::from_bytes(&new, gix::hash::Kind::Sha1),
        State::default(),
        &witness,
        &mut recorder,
    )
    .map_err(|error| match witness.absent.get() {
        Some(id) => repository.missing(id, "the tree"),
        None => unreadable(new_tree, "a directory of the tree", error),
    })?;
    Ok(recorder.records)
}

/// Remembers which object was asked for and is not there, since the comparison's error does not
/// say it in a way that a program could read.
struct Witness<'o> {
    objects: &'o Objects<'o>,
    absent: Cell<Option<ObjectId>>,
}

impl Find for Witness<'_> {
    fn try_find<'a>(
        &self,
        id: &gix::oid,
        buffer: &'a mut Vec<u8>,
    ) -> gix::Result<Option<Data<'a>>> {
        let found = self.objects.try_find(id, buffer)?;
        if found.is_none() {
            self.absent.set(Some(from_gix(id)));
        }
        Ok(found)
    }
}

fn leaf_change(record: recorder::Change) -> Option<Change> {
    let leaf = |mode, id: gix::ObjectId| {
        let entry = entry_from_gix(mode, &id);
        (entry.mode != Mode::Tree).then_some(entry)
    };
    let (path, old, new) = match record {
        recorder::Change::Addition {
            entry_mode,
            oid,
            path,
            ..
        } => (path, None, leaf(entry_mode, oid)),
        recorder::Change::Deletion {
            entry_mode,
            oid,
            path,
            ..
        } => (path, leaf(entry_mode, oid), None),
        recorder::Change::Modification {
            previous_entry_mode,
            previous_oid,
            entry_mode,
            oid,
            path,
        } => (
            path,
            leaf(previous_entry_mode, previous_oid),
            leaf(entry_mode, oid),
        ),
    };
    // Two directories, or modes that git holds to be the same, are no change.
    (old != new).then(|| Change {
        path: RepoPath::from_git(path),
        old,
        new,
    })
}
