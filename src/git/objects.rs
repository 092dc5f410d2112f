//! Reading single objects. Nothing here fetches: what a partial clone lacks is missing.

use std::fmt::Display;
use std::sync::PoisonError;

use gix::objs::{CommitRef, Data, Find, Kind};

use super::{GitError, Repository};
use crate::model::{CommitId, Entry, Mode, ObjectId};

/// A commit, with what waybill needs of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: CommitId,
    /// Its root tree.
    pub tree: ObjectId,
    /// Its parents as it names them, whether or not this clone has them.
    pub parents: Vec<CommitId>,
    /// The author's name.
    pub author: String,
    /// The author's address.
    pub author_email: String,
    /// When it was committed, in seconds since 1970.
    pub time: i64,
    /// When it was written, in seconds since 1970.
    pub author_time: i64,
    /// The whole message; bytes that are not UTF-8 are replaced.
    pub message: String,
}

impl Commit {
    /// The first line of the message.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.message.lines().next().unwrap_or_default()
    }
}

/// A handle on the object database, out of the repository's pool, with its caches warm.
pub(super) struct Objects<'r> {
    repository: &'r Repository,
    pub(super) handle: gix::Repository,
}

impl Repository {
    /// Reads a commit.
    pub fn commit(&self, id: CommitId) -> Result<Commit, GitError> {
        let mut buffer = Vec::new();
        self.with_objects(|objects| objects.read(id.0, Kind::Commit, "the commit", &mut buffer))?;
        parse_commit(id, &buffer)
    }

    /// Whether this clone holds the object. Never fetches.
    #[must_use]
    pub fn has_object(&self, id: ObjectId) -> bool {
        self.with_objects(|objects| objects.handle.has_object(to_gix(id)))
    }

    /// A file's or link's content. Never fetches.
    pub fn blob(&self, id: ObjectId) -> Result<Vec<u8>, GitError> {
        self.blob_named(id, "the blob")
    }

    /// [`blob`](Self::blob), with a word on what the blob is, for the error.
    pub(super) fn blob_named(&self, id: ObjectId, what: &str) -> Result<Vec<u8>, GitError> {
        let mut buffer = Vec::new();
        self.with_objects(|objects| objects.read(id, Kind::Blob, what, &mut buffer))?;
        Ok(buffer)
    }

    /// The size of a file's or link's content in bytes, without reading it whole. Never fetches.
    pub fn blob_size(&self, id: ObjectId) -> Result<u64, GitError> {
        let what = "the blob";
        let header = self
            .with_objects(|objects| objects.handle.try_find_header(to_gix(id)))
            .map_err(|error| unreadable(id, what, error))?
            .ok_or_else(|| self.missing(id, what))?;
        expect_kind(id, what, header.kind(), Kind::Blob)?;
        Ok(header.size())
    }

    /// Lends a handle on the object database.
    pub(super) fn with_objects<T>(&self, work: impl FnOnce(&mut Objects<'_>) -> T) -> T {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut objects = Objects {
            repository: self,
            handle: idle.unwrap_or_else(|| self.shared.to_thread_local()),
        };
        let outcome = work(&mut objects);
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(objects.handle);
        outcome
    }

    /// The error for an object that this clone lacks.
    pub(super) fn missing(&self, id: ObjectId, what: impl Display) -> GitError {
        GitError::Missing {
            id,
            what: what.to_string(),
            clone: self.completeness(),
        }
    }
}

impl Objects<'_> {
    /// Reads an object of a known kind; afterwards `buffer` holds its content and nothing else.
    pub(super) fn read(
        &self,
        id: ObjectId,
        kind: Kind,
        what: &str,
        buffer: &mut Vec<u8>,
    ) -> Result<(), GitError> {
        buffer.clear();
        let found = self
            .try_find(&to_gix(id), buffer)
            .map_err(|error| unreadable(id, what, error))?
            .map(|data| (data.kind, data.data.len()));
        let (actual, length) = found.ok_or_else(|| self.repository.missing(id, what))?;
        expect_kind(id, what, actual, kind)?;
        buffer.truncate(length);
        Ok(())
    }
}

impl Find for Objects<'_> {
    /// Finds an object; git's empty tree is there even where no repository stores it.
    fn try_find<'a>(
        &self,
        id: &gix::oid,
        buffer: &'a mut Vec<u8>,
    ) -> gix::Result<Option<Data<'a>>> {
        if id.is_empty_tree() {
            buffer.clear();
            return Ok(Some(Data::new(buffer, Kind::Tree, id.kind())));
        }
        self.handle.objects.try_find(id, buffer)
    }
}

/// Our id of an object as gix has it. Repositories of other hashes are refused when opened.
pub(super) fn from_gix(id: &gix::oid) -> ObjectId {
    let mut bytes = [0; 20];
    bytes.copy_from_slice(id.as_bytes());
    ObjectId::new(bytes)
}

/// The id as gix has it.
pub(super) fn to_gix(id: ObjectId) -> gix::ObjectId {
    gix::ObjectId::Sha1(*id.as_bytes())
}

/// A tree's entry, with git's old and odd modes made canonical as git itself does.
pub(super) fn entry_from_gix(mode: gix::objs::tree::EntryMode, id: &gix::oid) -> Entry {
    use gix::objs::tree::EntryKind;
    let mode = match mode.kind() {
        EntryKind::Tree => Mode::Tree,
        EntryKind::Blob => Mode::File,
        EntryKind::BlobExecutable => Mode::Executable,
        EntryKind::Link => Mode::Link,
        EntryKind::Commit => Mode::Submodule,
    };
    Entry {
        mode,
        id: from_gix(id),
    }
}

/// The error for an object that is there but broken.
pub(super) fn unreadable(id: ObjectId, what: &str, detail: impl Display) -> GitError {
    GitError::Unreadable {
        id,
        what: what.to_owned(),
        detail: detail.to_string(),
    }
}

fn expect_kind(id: ObjectId, what: &str, actual: Kind, expected: Kind) -> Result<(), GitError> {
    if actual == expected {
        return Ok(());
    }
    Err(unreadable(id, what, format!("it is a {actual}")))
}

fn parse_commit(id: CommitId, data: &[u8]) -> Result<Commit, GitError> {
    let broken = |error: gix::Error| unreadable(id.0, "the commit", error);
    let commit = CommitRef::from_bytes(data, gix::hash::Kind::Sha1).map_err(broken)?;
    let author = commit.author().map_err(broken)?.trim();
    Ok(Commit {
        id,
        tree: from_gix(&commit.tree()),
        parents: commit.parents().map(|id| CommitId(from_gix(&id))).collect(),
        author: author.name.to_string(),
        author_email: author.email.to_string(),
        time: commit.committer().map_err(broken)?.seconds(),
        author_time: author.seconds(),
        message: commit.message.to_string(),
    })
}
