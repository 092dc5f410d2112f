//! What differs between a clone and what it was made from: uncommitted changes, missing objects.

use std::fmt::Write as _;

use super::objects::to_gix;
use super::{GitError, Repository};
use crate::model::{ObjectId, RepoPath};

/// Where the embedded registry keeps its data; never part of a build.
const OWN_DIRECTORY: &str = ".waybill";

impl Repository {
    /// The paths that differ from the commit that is checked out, untracked files included and
    /// ignored ones not; none for a bare repository.
    pub fn uncommitted(&self) -> Result<Vec<RepoPath>, GitError> {
        if self.work_dir().is_none() {
            return Ok(Vec::new());
        }
        let arguments = [
            "status",
            "--porcelain",
            "-z",
            "--untracked-files=all",
            "--no-renames",
        ];
        let output = self.run_git("git status", &arguments, b"")?;
        let own = RepoPath::from(OWN_DIRECTORY);
        let paths = output
            .split(|byte| *byte == 0)
            // Two letters of state and a space stand before the path.
            .filter_map(|line| line.get(3..))
            .map(|path| RepoPath::from_git(path.strip_suffix(b"/").unwrap_or(path)))
            .filter(|path| !path.starts_with(&own));
        Ok(paths.collect())
    }

    /// Makes sure that these objects are in this clone. In a partial one, those that are missing
    /// are fetched in one batch by the `git` program; else a missing one is an error.
    pub fn prefetch(&self, ids: &[ObjectId]) -> Result<(), GitError> {
        for remote in &self.promisors {
            let missing = self.lacking(ids);
            if missing.is_empty() {
                return Ok(());
            }
            let fetched = self.fetch(remote, &missing);
            if self.promisors.last() == Some(remote) {
                fetched?;
            }
        }
        match self.lacking(ids).first() {
            Some(id) => Err(self.missing(*id, "the object")),
            None => Ok(()),
        }
    }

    /// The objects among these that this clone does not hold.
    fn lacking(&self, ids: &[ObjectId]) -> Vec<ObjectId> {
        self.with_objects(|objects| {
            let mut lacking: Vec<_> = ids.to_vec();
            lacking.sort_unstable();
            lacking.dedup();
            // Only the first look may notice new packs: looking for them again for each of
            // thousands of missing objects would be slow.
            let mut looked = false;
            lacking.retain(|id| {
                let id = to_gix(*id);
                if objects.handle.objects.exists_without_refresh(&id) {
                    return false;
                }
                let found = !looked && objects.handle.has_object(id);
                looked = true;
                !found && !objects.handle.objects.exists_without_refresh(&id)
            });
            lacking
        })
    }

    /// Fetches objects by their ids, as git itself does when it meets a missing one, but all at
    /// once. Nothing else comes along, and no reference moves.
    fn fetch(&self, remote: &str, ids: &[ObjectId]) -> Result<(), GitError> {
        let arguments = [
            "-c",
            "fetch.negotiationAlgorithm=noop",
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--recurse-submodules=no",
            "--filter=blob:none",
            "--stdin",
            "--",
            remote,
        ];
        let mut input = String::new();
        for id in ids {
            // Writing to a string cannot fail.
            let _ = writeln!(input, "{id}");
        }
        self.run_git("git fetch", &arguments, input.as_bytes())
            .map(drop)
            .map_err(|error| match error {
                GitError::Program { detail, .. } => GitError::Fetch {
                    remote: remote.to_owned(),
                    count: ids.len(),
                    detail,
                },
                other => other,
            })
    }
}
