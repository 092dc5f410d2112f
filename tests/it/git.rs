//! Facts of git repositories, held against what the `git` program says of the same repository.

mod changes;
mod clones;
mod commits;
mod links;
mod random;
mod trees;

use waybill::git::{GitError, Repository};
use waybill::model::{CommitId, Entry, Mode, RepoPath};
use waybill::problem::Diagnose as _;

use crate::repo::Repo;

/// The id of a commit that no repository has; stands for a submodule's.
const ELSEWHERE: &str = "1111111111111111111111111111111111111111";

fn open(repo: &Repo) -> Repository {
    Repository::open(repo.path()).unwrap()
}

fn commit_id(text: &str) -> CommitId {
    text.parse().unwrap()
}

fn path(bytes: impl AsRef<[u8]>) -> RepoPath {
    RepoPath::from_git(bytes.as_ref())
}

fn entry(mode: &str, id: &str) -> Option<Entry> {
    let modes = [
        Mode::Tree,
        Mode::File,
        Mode::Executable,
        Mode::Link,
        Mode::Submodule,
    ];
    let mode = modes.into_iter().find(|known| known.octal() == mode)?;
    let id = id.parse().unwrap();
    Some(Entry { mode, id })
}

fn code(error: &GitError) -> &'static str {
    error.problems()[0].code
}

/// A submodule entry without a submodule's repository.
fn add_submodule(repo: &Repo, at: &str) {
    let info = format!("160000,{ELSEWHERE},{at}");
    repo.git(&["update-index", "--add", "--cacheinfo", &info]);
}

/// All files, links and submodules, as `git ls-tree -r` has them.
fn listed(repo: &Repo, commit: &str) -> Vec<(Vec<u8>, Entry)> {
    let output = repo.git_bytes(&["ls-tree", "-r", "-z", "--full-tree", commit], b"");
    let lines = output
        .split(|byte| *byte == 0)
        .filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let tab = line.iter().position(|byte| *byte == b'\t').unwrap();
            let words = String::from_utf8(line[..tab].to_vec()).unwrap();
            let mut words = words.split(' ');
            let mode = words.next().unwrap();
            let id = words.nth(1).unwrap();
            (line[tab + 1..].to_vec(), entry(mode, id).unwrap())
        })
        .collect()
}

fn walked(repository: &Repository, commit: &str, directory: &str) -> Vec<(Vec<u8>, Entry)> {
    let snapshot = repository.snapshot(commit_id(commit)).unwrap();
    let mut found = Vec::new();
    snapshot
        .walk(&RepoPath::from(directory), &mut |path, entry| {
            found.push((path.to_vec(), entry));
        })
        .unwrap();
    found
}
