//! A reason told in full: with what the repository knows of the commits and files in it.

use std::collections::{BTreeMap, BTreeSet};

use crate::git::{Commit, GitError, LastChange, Repository};
use crate::model::{Change, CommitId, Reason, RepoPath};
use crate::problem::Failure;

/// A reason with what the repository knows of the commits in it. What this clone lacks is left
/// out.
pub struct Told {
    /// The reason.
    pub reason: Reason,
    /// The commit that the reason names.
    pub commit: Option<Commit>,
    /// For each file that the reason lists, the commit that changed it last.
    pub last_changes: BTreeMap<String, LastChange>,
}

/// A reason told in full, as of the commit that it was given at.
pub(super) fn tell(
    repository: &Repository,
    reason: &Reason,
    at: CommitId,
) -> Result<Told, Failure> {
    let commit = match reason.commit() {
        Some(id) => known(repository.commit(id))?,
        None => None,
    };
    let last = match (reason, &commit) {
        (Reason::InputsChanged { files, .. }, Some(ancestor)) => {
            let listed = files.iter().map(|file| file.path.as_str()).collect();
            let last = || {
                let changes = repository.changes(ancestor.tree, repository.commit(at)?.tree)?;
                last_changes(repository, ancestor.id, at, &changes, &listed)
            };
            known(last())?.unwrap_or_default()
        }
        _ => BTreeMap::new(),
    };
    Ok(Told {
        reason: reason.clone(),
        commit,
        last_changes: last,
    })
}

/// Who changed the listed paths last, since `ancestor`. Their text may stand for other bytes, so
/// that the paths themselves are taken from what differs between the two commits.
pub(super) fn last_changes(
    repository: &Repository,
    ancestor: CommitId,
    at: CommitId,
    changes: &[Change],
    listed: &BTreeSet<&str>,
) -> Result<BTreeMap<String, LastChange>, GitError> {
    let paths: Vec<RepoPath> = changes
        .iter()
        .map(|change| &change.path)
        .filter(|path| listed.contains(path.to_string().as_str()))
        .cloned()
        .collect();
    let found = repository.last_changes(at, Some(ancestor), &paths)?;
    Ok(found
        .into_iter()
        .map(|(path, change)| (path.to_string(), change))
        .collect())
}

/// What this clone lacks is no error here: it explains nothing, and decides nothing.
pub(super) fn known<T>(result: Result<T, GitError>) -> Result<Option<T>, GitError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(GitError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
