//! Trees, their paths and their blobs.

use std::io::Write;

use waybill::git::{GitError, Repository};
use waybill::model::{Mode, ObjectId, RepoPath};

use super::random::random_history;
use super::{add_submodule, code, commit_id, entry, listed, open, path, walked};
use crate::repo::Repo;

/// A tree with every mode and with names that are hard to write.
fn odd_tree() -> (Repo, String) {
    let repo = Repo::new();
    repo.write("plain", "1");
    repo.write_executable("run me.sh", "2");
    repo.write("say \"hi\"/new\nline/tab\there", "3");
    repo.write(b"latin/caf\xe9/\xff\xfe", "4");
    repo.write("a.b", "5");
    repo.write("a/b", "6");
    repo.write("a-b/c", "7");
    repo.write("a0", "8");
    repo.link("link", "a/b");
    repo.git(&["add", "--all"]);
    add_submodule(&repo, "vendor/sub");
    repo.git(&["commit", "--quiet", "-m", "all kinds"]);
    let commit = repo.head();
    (repo, commit)
}

fn is_send_and_sync<T: Send + Sync>() {}

#[test]
fn repositories_and_snapshots_are_shared_between_threads() {
    is_send_and_sync::<Repository>();
    is_send_and_sync::<waybill::git::Snapshot<'_>>();
    let (repo, commit) = odd_tree();
    let repository = open(&repo);
    let files = listed(&repo, &commit);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (_, entry) in files.iter().filter(|(_, entry)| entry.mode.is_file()) {
                    assert_eq!(repository.blob(entry.id).unwrap().len(), 1);
                }
            });
        }
    });
}

#[test]
fn walk_lists_what_git_lists() {
    let (repo, commit) = odd_tree();
    let repository = open(&repo);
    let expected = listed(&repo, &commit);
    assert_eq!(expected.len(), 10);
    assert_eq!(walked(&repository, &commit, ""), expected);
    let mut sorted = expected.clone();
    sorted.sort();
    assert_eq!(sorted, expected, "git's order is that of the paths' bytes");
    let below_a: Vec<_> = walked(&repository, &commit, "a");
    assert_eq!(below_a.len(), 1);
    assert_eq!(below_a[0].0, b"a/b");
    for nowhere in ["plain", "link", "vendor/sub", "plain/x", "absent/x"] {
        assert_eq!(walked(&repository, &commit, nowhere), [], "{nowhere}");
    }
}

#[test]
fn entry_finds_each_path_and_nothing_else() {
    let (repo, commit) = odd_tree();
    let repository = open(&repo);
    let snapshot = repository.snapshot(commit_id(&commit)).unwrap();
    for (name, entry) in listed(&repo, &commit) {
        assert_eq!(snapshot.entry(&path(&name)).unwrap(), Some(entry));
        let below = [name.as_slice(), b"/x"].concat();
        assert_eq!(snapshot.entry(&path(below)).unwrap(), None);
    }
    let tree = repo.git(&["rev-parse", "HEAD^{tree}"]);
    let root = snapshot.entry(&RepoPath::root()).unwrap();
    assert_eq!(root, entry("040000", &tree));
    assert_eq!(snapshot.tree().to_string(), tree);
    let directory = snapshot.entry(&path("vendor")).unwrap().unwrap();
    assert_eq!(directory.mode, Mode::Tree);
    assert_eq!(snapshot.entry(&path("vendo")).unwrap(), None);
}

#[test]
fn replaced_objects_are_ignored() {
    let repo = Repo::new();
    repo.write("a", "true");
    let real = repo.commit("real");
    repo.write("a", "false");
    let other = repo.commit("other");
    repo.git(&["replace", &real, &other]);
    let blob = repo.git(&["rev-parse", "HEAD:a"]);
    let real_blob = repo.git(&["--no-replace-objects", "rev-parse", &format!("{real}:a")]);
    repo.git(&["replace", &real_blob, &blob]);
    assert_eq!(
        repo.git(&["cat-file", "blob", &real_blob]),
        "false",
        "the test replaces"
    );

    let repository = open(&repo);
    assert_eq!(
        repository.commit(commit_id(&real)).unwrap().subject(),
        "real"
    );
    let snapshot = repository.snapshot(commit_id(&real)).unwrap();
    let entry = snapshot.entry(&path("a")).unwrap().unwrap();
    assert_eq!(entry.id.to_string(), real_blob);
    assert_eq!(snapshot.blob(entry.id).unwrap(), b"true");
    let mut copy = Vec::new();
    repository.copy_blob(entry.id, &mut copy).unwrap();
    assert_eq!(copy, b"true");
}

#[test]
fn packed_objects_read_like_loose_ones() {
    let (repo, commit) = odd_tree();
    let repository = open(&repo);
    let loose = walked(&repository, &commit, "");
    repo.git(&["repack", "-a", "-d", "--quiet"]);
    repo.git(&["prune-packed", "--quiet"]);
    repo.git(&["pack-refs", "--all"]);
    for repository in [repository, open(&repo)] {
        assert_eq!(walked(&repository, &commit, ""), loose);
        assert_eq!(repository.resolve("main").unwrap().to_string(), commit);
        assert_eq!(repository.blob(loose[0].1.id).unwrap().len(), 1);
    }
}

/// Remembers the longest piece that it was given.
#[derive(Default)]
struct Pieces {
    content: Vec<u8>,
    longest: usize,
}

impl Write for Pieces {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        self.longest = self.longest.max(piece.len());
        self.content.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A place that is full.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("no room"))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn blobs_are_copied_raw_and_large_ones_in_pieces() {
    let repo = Repo::new();
    let large: Vec<u8> = (0..9_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    repo.write(".gitattributes", "* text eol=crlf\n");
    repo.write("small", "one\r\ntwo\n");
    repo.git(&["config", "core.autocrlf", "false"]);
    let small = repo.git(&["hash-object", "-w", "--no-filters", "small"]);
    let large_id = repo.git_bytes(&["hash-object", "-w", "--stdin"], &large);
    let large_id: ObjectId = std::str::from_utf8(&large_id)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    repo.commit("one");
    let repository = open(&repo);

    let mut copy = Vec::new();
    let size = repository
        .copy_blob(small.parse().unwrap(), &mut copy)
        .unwrap();
    assert_eq!((size, copy.as_slice()), (9, &b"one\r\ntwo\n"[..]));
    assert_eq!(repository.blob_size(large_id).unwrap(), 9_000_000);
    let mut pieces = Pieces::default();
    assert_eq!(
        repository.copy_blob(large_id, &mut pieces).unwrap(),
        9_000_000
    );
    assert!(pieces.content == large);
    assert!(pieces.longest <= 1 << 16, "{}", pieces.longest);
    assert!(repository.blob(large_id).unwrap() == large);

    let error = repository.copy_blob(large_id, &mut Full).unwrap_err();
    assert!(matches!(error, GitError::Write { .. }), "{error}");
    let tree = repository.commit(commit_id(&repo.head())).unwrap().tree;
    assert_eq!(
        code(&repository.copy_blob(tree, &mut copy).unwrap_err()),
        "unreadable-object"
    );
}

#[test]
fn walk_and_entry_hold_on_random_trees() {
    let repo = random_history(0xbeef, 30);
    let repository = open(&repo);
    for commit in repo.git(&["rev-list", "main"]).lines() {
        let expected = listed(&repo, commit);
        assert_eq!(walked(&repository, commit, ""), expected);
        let snapshot = repository.snapshot(commit_id(commit)).unwrap();
        for (name, entry) in expected {
            assert_eq!(snapshot.entry(&path(name)).unwrap(), Some(entry));
        }
    }
}
