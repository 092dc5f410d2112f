//! A decoded tree, for look-ups by name.

use std::ops::Range;

use gix::objs::{Kind, TreeRefIter};

use super::GitError;
use super::objects::{Objects, entry_from_gix, unreadable};
use crate::model::{Entry, ObjectId};

/// One directory: its raw bytes, and its entries in the order of their names.
pub(super) struct Tree {
    data: Vec<u8>,
    /// Where in `data` the name stands, and the entry.
    entries: Vec<(Range<usize>, Entry)>,
}

impl Tree {
    /// Reads and decodes a tree.
    pub(super) fn read(objects: &Objects<'_>, id: ObjectId) -> Result<Self, GitError> {
        let mut data = Vec::new();
        objects.read(id, Kind::Tree, "the tree", &mut data)?;
        let mut entries = Vec::with_capacity(data.len() / 32);
        let mut position = 0;
        while let Some(next) = next_entry(id, &data, &mut position)? {
            entries.push(next);
        }
        entries
            .sort_unstable_by(|(left, _), (right, _)| data[left.clone()].cmp(&data[right.clone()]));
        Ok(Self { data, entries })
    }

    /// The entries whose names begin with these bytes, in the order of their names.
    pub(super) fn beginning_with(&self, prefix: &[u8]) -> impl Iterator<Item = (&[u8], Entry)> {
        let start = self
            .entries
            .partition_point(|(range, _)| &self.data[range.clone()] < prefix);
        let rest = self.entries[start..].iter();
        rest.map(|(range, entry)| (&self.data[range.clone()], *entry))
            .take_while(move |(name, _)| name.starts_with(prefix))
    }

    /// The entry of this name.
    pub(super) fn find(&self, name: &[u8]) -> Option<Entry> {
        let found = self
            .entries
            .binary_search_by(|(range, _)| self.data[range.clone()].cmp(name));
        found.ok().map(|index| self.entries[index].1)
    }
}

/// The entry at `position` of the raw tree `data`, with where its name stands; moves `position`
/// behind it. `None` at the end.
pub(super) fn next_entry(
    tree: ObjectId,
    data: &[u8],
    position: &mut usize,
) -> Result<Option<(Range<usize>, Entry)>, GitError> {
    let rest = &data[*position..];
    let mut iterator = TreeRefIter::from_bytes(rest, gix::hash::Kind::Sha1);
    let Some(entry) = iterator.next() else {
        return Ok(None);
    };
    let entry = entry.map_err(|error| unreadable(tree, "the tree", error))?;
    *position += iterator.offset_to_next_entry(rest);
    // An entry ends with its name, a zero byte and the id.
    let end = *position - entry.oid.as_bytes().len() - 1;
    let name = end - entry.filename.len()..end;
    Ok(Some((name, entry_from_gix(entry.mode, entry.oid))))
}
