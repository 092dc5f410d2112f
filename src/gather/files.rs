//! Files of a tree that can be read, be it a commit's or the work tree; the manifest among them.

use super::GatherError;
use crate::git::{GitError, WorkTree};
use crate::key::Located;
use crate::manifest::{self, Checked, Raw};
use crate::model::{CommitId, Entry, Mode, ObjectId, RepoPath, Tree};
use crate::problem::{Failure, Problem};

/// The names that a manifest may have, in the order in which they are tried.
pub const MANIFEST_NAMES: [&str; 3] = [
    "build_manifest.json",
    "build_manifest.yml",
    "build_manifest.yaml",
];

/// A tree whose files can be read.
pub trait Files: Tree<Error = GitError> {
    /// The contents of these files.
    fn blobs(&self, ids: &[ObjectId]) -> Result<Vec<Vec<u8>>, GitError>;

    /// The content of a file that was found in the tree, or in one of its submodules. `None` if a
    /// submodule turns out not to hold it.
    fn located(&self, located: &Located) -> Result<Option<Vec<u8>>, GitError>;
}

impl Files for WorkTree<'_> {
    fn blobs(&self, ids: &[ObjectId]) -> Result<Vec<Vec<u8>>, GitError> {
        ids.iter().map(|id| self.blob(*id)).collect()
    }

    fn located(&self, located: &Located) -> Result<Option<Vec<u8>>, GitError> {
        match located.source.entry.mode {
            Mode::Submodule => self.submodule_file(&located.path),
            _ => self.blob(located.source.entry.id).map(Some),
        }
    }
}

/// Reads the manifest and its pattern files, and checks it. `commit` is the one that the files are
/// of, for messages; none for the work tree. The inner error is that of a text that is no JSON or
/// YAML.
pub(super) fn read_manifest(
    files: &impl Files,
    path: Option<&RepoPath>,
    commit: Option<CommitId>,
) -> Result<Result<(Raw, Checked), Vec<Problem>>, Failure> {
    let (path, id) = find_manifest(files, path, commit)?;
    let raw = match read_text(files, &path, id)? {
        Ok(raw) => raw,
        Err(problems) => return Ok(Err(problems)),
    };
    let pattern_files = find_pattern_files(files, &raw)?;
    let checked = check_manifest(files, &raw, pattern_files)?;
    Ok(Ok((raw, checked)))
}

/// Reads the manifest's own text.
pub(super) fn read_text(
    files: &impl Files,
    path: &RepoPath,
    id: ObjectId,
) -> Result<Result<Raw, Vec<Problem>>, Failure> {
    let bytes = files.blobs(&[id])?.pop().unwrap_or_default();
    Ok(manifest::read(path, &bytes))
}

/// The files of patterns that a manifest names, with what is there.
pub(super) fn find_pattern_files(
    files: &impl Files,
    raw: &Raw,
) -> Result<Vec<(RepoPath, Option<Entry>)>, Failure> {
    let find = |file: RepoPath| {
        let entry = files.resolve(&file)?.entry;
        Ok((file, entry.filter(|entry| entry.mode.is_file())))
    };
    raw.pattern_files().into_iter().map(find).collect()
}

/// Checks a manifest with the files of patterns that were found for it.
pub(super) fn check_manifest(
    files: &impl Files,
    raw: &Raw,
    pattern_files: Vec<(RepoPath, Option<Entry>)>,
) -> Result<Checked, Failure> {
    let there = pattern_files.iter().filter_map(|(_, entry)| *entry);
    let ids: Vec<ObjectId> = there.map(|entry| entry.id).collect();
    let mut blobs = files.blobs(&ids)?.into_iter();
    let contents = pattern_files
        .into_iter()
        .map(|(file, entry)| (file, entry.and_then(|_| blobs.next())))
        .collect();
    Ok(raw.check(&contents))
}

/// The manifest that is read: the one of this path, or the first of [`MANIFEST_NAMES`].
pub(super) fn find_manifest(
    files: &impl Files,
    path: Option<&RepoPath>,
    commit: Option<CommitId>,
) -> Result<(RepoPath, ObjectId), Failure> {
    let candidates = match path {
        Some(path) => vec![path.clone()],
        None => MANIFEST_NAMES.map(RepoPath::from).to_vec(),
    };
    for candidate in &candidates {
        let resolved = files.resolve(candidate)?;
        if let Some(entry) = resolved.entry.filter(|entry| entry.mode.is_file()) {
            return Ok((candidate.clone(), entry.id));
        }
    }
    Err(GatherError::NoManifest {
        commit,
        tried: candidates,
    }
    .into())
}
