//! What changed between two trees.

use waybill::git::GitError;
use waybill::model::Change;
use waybill::model::ObjectId;

use super::random::random_history;
use super::{add_submodule, commit_id, entry, open, path};
use crate::repo::Repo;

/// The changes between two trees, as `git diff-tree` has them.
fn differing(repo: &Repo, old: &str, new: &str) -> Vec<Change> {
    let arguments = ["diff-tree", "-r", "--no-renames", "-z", old, new];
    let output = repo.git_bytes(&arguments, b"");
    let mut fields = output.split(|byte| *byte == 0);
    let mut changes = Vec::new();
    while let Some(line) = fields.next().filter(|line| !line.is_empty()) {
        let line = String::from_utf8(line[1..].to_vec()).unwrap();
        let words: Vec<_> = line.split(' ').collect();
        changes.push(Change {
            path: path(fields.next().unwrap()),
            old: entry(words[0], words[2]),
            new: entry(words[1], words[3]),
        });
    }
    changes
}

fn tree_of(repo: &Repo, revision: &str) -> ObjectId {
    let tree = repo.git(&["rev-parse", &format!("{revision}^{{tree}}")]);
    tree.parse().unwrap()
}

#[test]
fn a_rename_is_a_path_that_vanished_and_one_that_appeared() {
    let repo = Repo::new();
    repo.write("old name", "content");
    repo.commit("one");
    repo.git(&["mv", "old name", "new name"]);
    repo.commit("two");
    let changes = open(&repo)
        .changes(tree_of(&repo, "HEAD~1"), tree_of(&repo, "HEAD"))
        .unwrap();
    let file = entry("100644", &repo.git(&["rev-parse", "HEAD:new name"]));
    let (appeared, vanished) = (path("new name"), path("old name"));
    let expected = [
        Change {
            path: appeared,
            old: None,
            new: file,
        },
        Change {
            path: vanished,
            old: file,
            new: None,
        },
    ];
    assert_eq!(changes, expected);
}

#[test]
fn files_directories_and_submodules_replace_each_other() {
    let repo = Repo::new();
    let states: [&dyn Fn(); 5] = [
        &|| repo.write("x", "file"),
        &|| repo.write("x/y/z", "below"),
        &|| add_submodule(&repo, "x"),
        &|| repo.link("x", "elsewhere"),
        &|| repo.write_executable("x", "file"),
    ];
    let mut trees = Vec::new();
    for state in states {
        if repo.path().join("x").symlink_metadata().is_ok() {
            repo.remove("x");
        }
        repo.write("x.y", "beside");
        repo.git(&["rm", "-r", "--quiet", "--cached", "--ignore-unmatch", "."]);
        state();
        // A submodule that is not checked out has no directory that could be added.
        let names: &[&str] = if repo.path().join("x").symlink_metadata().is_ok() {
            &["add", "x", "x.y"]
        } else {
            &["add", "x.y"]
        };
        repo.git(names);
        trees.push(repo.git(&["write-tree"]));
    }
    let empty = repo.git(&["mktree"]);
    trees.push(empty);
    let repository = open(&repo);
    let mut total = 0;
    for old in &trees {
        for new in &trees {
            let found = repository.changes(old.parse().unwrap(), new.parse().unwrap());
            assert_eq!(
                found.as_ref().unwrap(),
                &differing(&repo, old, new),
                "{old} {new}"
            );
            total += found.unwrap().len();
        }
    }
    assert!(total >= 45, "{total}");
}

#[test]
fn changes_are_those_of_git_on_random_trees() {
    let repo = random_history(0x5eed, 240);
    let repository = open(&repo);
    let trees = repo.git(&["log", "--format=%T", "main"]);
    let trees: Vec<_> = trees.lines().collect();
    assert_eq!(trees.len(), 240);
    let neighbours = trees.windows(2).map(|pair| (pair[1], pair[0]));
    let distant = trees
        .iter()
        .zip(trees.iter().rev())
        .map(|(new, old)| (*old, *new));
    let mut cases = 0;
    for (old, new) in neighbours.chain(distant.step_by(4)) {
        let found = repository.changes(old.parse().unwrap(), new.parse().unwrap());
        assert_eq!(found.unwrap(), differing(&repo, old, new), "{old} {new}");
        cases += 1;
    }
    assert!(cases >= 200);
}

#[test]
fn a_missing_directory_is_named_and_never_taken_for_an_empty_one() {
    let repo = Repo::new();
    repo.write("dir/file", "1");
    repo.write("other", "1");
    let old = repo.commit("one");
    repo.write("dir/file", "2");
    let new = repo.commit("two");
    let trees = [tree_of(&repo, &old), tree_of(&repo, &new)];
    let lost = repo.git(&["rev-parse", &format!("{old}:dir")]);
    let (folder, file) = lost.split_at(2);
    repo.remove(format!(".git/objects/{folder}/{file}"));

    let repository = open(&repo);
    let snapshot = repository.snapshot(commit_id(&old)).unwrap();
    for error in [
        repository.changes(trees[0], trees[1]).unwrap_err(),
        snapshot.entry(&path("dir/file")).unwrap_err(),
        snapshot.walk(&path(""), &mut |_, _| {}).unwrap_err(),
    ] {
        match error {
            GitError::Missing { id, .. } => assert_eq!(id.to_string(), lost),
            other => panic!("{other}"),
        }
    }
    assert!(snapshot.entry(&path("dir")).unwrap().is_some());
    let asked = [path("dir/file")];
    let changes = repository.last_changes(commit_id(&new), None, &asked);
    assert_eq!(changes.unwrap().len(), 0, "nobody can say");
}
