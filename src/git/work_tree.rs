//! What differs between a clone and what it was made from: uncommitted changes, missing objects.

use std::ffi::OsStr;
use std::fmt::Write as _;

use super::objects::to_gix;
use super::{GitError, Repository};
use crate::model::{CommitId, ObjectId, RepoPath};

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

    /// The work tree as it is, untracked files included and ignored ones not, as a commit on top
    /// of the one that is checked out; that commit itself if nothing differs.
    ///
    /// As with `git stash create`, the objects are written into the repository and no reference
    /// names them: git removes them in time. The same content gives the same commit.
    pub fn commit_work_tree(&self) -> Result<CommitId, GitError> {
        let head = self.commit(self.resolve("HEAD")?)?;
        let io = |error: std::io::Error| GitError::Program {
            command: "git add".to_owned(),
            detail: error.to_string(),
        };
        let directory = tempfile::tempdir().map_err(io)?;
        let index = directory.path().join("index");
        let own = self.run_git("git rev-parse", &["rev-parse", "--git-path", "index"], b"")?;
        let own = self.root().join(String::from_utf8_lossy(&own).trim_end());
        if own.exists() {
            // With the index at hand, git looks only at what changed.
            std::fs::copy(own, &index).map_err(io)?;
        }
        let variables = [("GIT_INDEX_FILE", index.as_os_str())];
        self.run_git_with("git add", &["add", "--all", "--", ":/"], b"", &variables)?;
        let tree = self.run_git_with("git write-tree", &["write-tree"], b"", &variables)?;
        let tree = object_id("git write-tree", &tree)?;
        if tree == head.tree {
            return Ok(head.id);
        }
        let date = format!("{} +0000", head.time);
        let identity = [
            ("GIT_AUTHOR_NAME", OsStr::new("waybill")),
            ("GIT_AUTHOR_EMAIL", OsStr::new("waybill@localhost")),
            ("GIT_AUTHOR_DATE", OsStr::new(&date)),
            ("GIT_COMMITTER_NAME", OsStr::new("waybill")),
            ("GIT_COMMITTER_EMAIL", OsStr::new("waybill@localhost")),
            ("GIT_COMMITTER_DATE", OsStr::new(&date)),
        ];
        let (tree, parent) = (tree.to_string(), head.id.to_string());
        let arguments = [
            "commit-tree",
            "--no-gpg-sign",
            "-p",
            &parent,
            "-m",
            "work tree",
            &tree,
        ];
        let commit = self.run_git_with("git commit-tree", &arguments, b"", &identity)?;
        object_id("git commit-tree", &commit).map(CommitId)
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

/// The object id that a command printed.
fn object_id(command: &str, output: &[u8]) -> Result<ObjectId, GitError> {
    let text = String::from_utf8_lossy(output);
    text.trim_end().parse().map_err(|_| GitError::Program {
        command: command.to_owned(),
        detail: format!("it printed no object id: {text}"),
    })
}
