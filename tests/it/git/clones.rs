//! Whole repositories: how they are found, what a clone lacks, what is not committed.

use std::collections::BTreeSet;
use std::path::Path;

use waybill::gather::{CommitFacts, CommitOptions};
use waybill::git::{Completeness, GitError, HistoryEnd, Repository};
use waybill::problem::{Class, Diagnose as _};

use super::{ELSEWHERE, code, commit_id, open, path, walked};
use crate::repo::Repo;

#[test]
fn repositories_are_found_as_git_finds_them() {
    let repo = Repo::new();
    repo.write("deep/er/file", "x");
    let commit = repo.commit("one");
    let below = Repository::open(&repo.path().join("deep/er")).unwrap();
    assert_eq!(below.root(), repo.path());
    assert_eq!(below.work_dir(), Some(repo.path()));
    assert!(!below.is_shallow() && !below.is_partial());

    repo.git(&["checkout", "--quiet", "--detach"]);
    assert_eq!(open(&repo).resolve("HEAD").unwrap().to_string(), commit);

    let linked = repo.home().canonicalize().unwrap().join("linked");
    let place = linked.display().to_string();
    repo.git(&["worktree", "add", "--quiet", "-b", "side", &place]);
    let linked = Repository::open(&linked.join("deep")).unwrap();
    assert_eq!(linked.root().display().to_string(), place);
    assert_eq!(
        linked.resolve("side").unwrap(),
        linked.resolve("HEAD").unwrap()
    );
    std::fs::write(linked.root().join("new"), "x").unwrap();
    assert_eq!(linked.uncommitted().unwrap(), [path("new")]);

    let bare = repo.home().canonicalize().unwrap().join("bare.git");
    let place = bare.display().to_string();
    repo.git(&["clone", "--quiet", "--bare", ".", &place]);
    let bare = Repository::open(&bare).unwrap();
    assert_eq!(
        (bare.root().display().to_string(), bare.work_dir()),
        (place, None)
    );
    assert_eq!(bare.resolve("HEAD").unwrap().to_string(), commit);
    assert_eq!(bare.uncommitted().unwrap(), []);
}

#[test]
fn what_is_no_repository_is_said_so() {
    let empty = tempfile::tempdir().unwrap();
    let error = Repository::open(empty.path()).err().unwrap();
    assert_eq!(code(&error), "not-a-repository", "{error}");
    let error = Repository::open(Path::new("/no/such/place")).err().unwrap();
    assert_eq!(error.class(), Class::Usage);

    let other = empty.path().join("other").display().to_string();
    let repo = Repo::new();
    repo.git(&["init", "--quiet", "--object-format=sha256", &other]);
    let error = Repository::open(Path::new(&other)).err().unwrap();
    assert_eq!(code(&error), "unsupported-object-format", "{error}");
    assert!(error.to_string().contains("sha256"), "{error}");
}

#[test]
fn shallow_clones_end_at_their_boundary() {
    let repo = Repo::new();
    let mut ids = Vec::new();
    for number in 0..6 {
        repo.write("file", number.to_string());
        repo.write("once", "x");
        ids.push(repo.commit("more"));
    }
    ids.reverse();
    for depth in [1, 2, 5] {
        let clone = repo.clone_with(&["--depth", &depth.to_string()]);
        let repository = open(&clone);
        assert!(repository.is_shallow());
        let head = repository.resolve("HEAD").unwrap();
        let history = repository.history(head, 100).unwrap();
        let found: Vec<_> = history.commits.iter().map(|it| it.id.to_string()).collect();
        assert_eq!(found, ids[..depth]);
        let commit = commit_id(&ids[depth - 1]);
        assert_eq!(history.end, HistoryEnd::Missing { commit });
        assert_eq!(repository.first_parents(head, 100).unwrap(), history);
        assert_eq!(history.commits[depth - 1].parents, [commit_id(&ids[depth])]);
        let limited = repository.history(head, depth).unwrap();
        assert_eq!(limited.end, HistoryEnd::Missing { commit });
        assert_eq!(walked(&repository, &ids[0], "").len(), 2);

        assert_eq!(repository.is_ancestor(commit, head).unwrap(), Some(true));
        assert_eq!(
            repository.is_ancestor(commit_id(&ids[5]), head).unwrap(),
            None
        );
        let error = repository.commit(commit_id(&ids[depth])).unwrap_err();
        assert!(matches!(
            error,
            GitError::Missing {
                clone: Completeness::Shallow,
                ..
            }
        ));
        assert!(
            error.problems()[0]
                .hint
                .as_ref()
                .unwrap()
                .contains("--unshallow")
        );
        assert_eq!(
            code(&repository.resolve(&ids[depth]).unwrap_err()),
            "missing-object"
        );

        let paths = [path("file"), path("once")];
        let changes = repository.last_changes(head, None, &paths).unwrap();
        let known: Vec<_> = changes.iter().map(|(path, it)| (path, it.commit)).collect();
        let expected: &[_] = if depth == 1 {
            &[]
        } else {
            &[(&paths[0], head)]
        };
        assert_eq!(known, expected);
    }
}

/// A clone without blobs, whose remote counts the times that it is asked for objects.
struct PartialClone {
    clone: Repo,
    log: std::path::PathBuf,
}

impl PartialClone {
    fn of(source: &Repo) -> Self {
        let clone = source.clone_with(&["--filter=blob:none", "--no-checkout"]);
        let home = clone.home().canonicalize().unwrap();
        let (program, log) = (home.join("upload-pack"), home.join("calls"));
        let script = format!(
            "#!/bin/sh\necho >>'{}'\nexec git-upload-pack \"$@\"\n",
            log.display()
        );
        clone.write_executable("../upload-pack", script);
        clone.git(&[
            "config",
            "remote.origin.uploadpack",
            &program.display().to_string(),
        ]);
        Self { clone, log }
    }

    fn calls(&self) -> usize {
        std::fs::read(&self.log).map_or(0, |bytes| bytes.len())
    }
}

#[test]
fn partial_clones_fetch_missing_blobs_in_one_batch_and_only_when_asked() {
    let source = Repo::new();
    for number in 0..50 {
        source.write(format!("dir{number}/file"), format!("content {number}"));
    }
    source.link("link", "dir1");
    source.write("other", "not asked for");
    let commit = source.commit("many");
    let partial = PartialClone::of(&source);
    let repository = open(&partial.clone);
    assert!(repository.is_partial());

    let files = walked(&repository, &commit, "");
    assert_eq!(files.len(), 52);
    let ids: Vec<_> = files[..50].iter().map(|(_, entry)| entry.id).collect();
    assert!(ids.iter().all(|id| !repository.has_object(*id)));
    for error in [
        repository.blob(ids[0]).unwrap_err(),
        repository.blob_size(ids[0]).unwrap_err(),
        repository.copy_blob(ids[0], &mut Vec::new()).unwrap_err(),
    ] {
        assert!(matches!(
            error,
            GitError::Missing {
                clone: Completeness::Partial,
                ..
            }
        ));
    }
    let snapshot = repository.snapshot(commit_id(&commit)).unwrap();
    let link = snapshot.entry(&path("link")).unwrap().unwrap().id;
    match snapshot.resolve(&path("link/file")).unwrap_err() {
        GitError::Missing { id, what, .. } => {
            assert_eq!(id, link);
            assert!(what.contains("'link'"), "{what}");
        }
        error => panic!("{error}"),
    }
    assert_eq!(partial.calls(), 0, "nothing was fetched on the way");

    repository.prefetch(&ids).unwrap();
    assert_eq!(partial.calls(), 1);
    assert!(ids.iter().all(|id| repository.has_object(*id)));
    assert_eq!(repository.blob(ids[0]).unwrap(), b"content 0");
    let others = files
        .iter()
        .filter(|(_, entry)| !repository.has_object(entry.id));
    assert_eq!(others.count(), 2, "the link and the other file");
    repository.prefetch(&ids).unwrap();
    repository.prefetch(&[]).unwrap();
    assert_eq!(partial.calls(), 1, "nothing is missing any more");
    repository.prefetch(&[ids[0], link]).unwrap();
    assert_eq!(partial.calls(), 2);
    assert_eq!(
        snapshot.resolve(&path("link/file")).unwrap().path,
        path("dir1/file")
    );
    assert!(!partial.clone.path().join(".git/FETCH_HEAD").exists());
}

#[test]
fn a_partial_clone_fetches_the_dockerfiles_of_a_release_in_one_batch() {
    let source = Repo::new();
    let mut projects = serde_json::Map::new();
    for number in 0..30 {
        let directory = format!("dir{number}");
        source.write(
            format!("{directory}/Dockerfile"),
            format!("FROM b:{number}\nARG COMMIT_TAG\n"),
        );
        projects.insert(
            directory.clone(),
            serde_json::json!({"buildDir": directory, "rebuildPatterns": [format!("^{directory}/")]}),
        );
    }
    let manifest = serde_json::json!({"version": 1, "projects": projects});
    source.write("build_manifest.json", manifest.to_string());
    let commit = commit_id(&source.commit("many"));
    let partial = PartialClone::of(&source);
    let options = CommitOptions {
        tag: Some("v1".to_owned()),
        ..CommitOptions::default()
    };
    let facts = CommitFacts::load(&open(&partial.clone), commit, &options, None, true).unwrap();
    let tags = facts
        .projects
        .values()
        .map(|facts| &facts.inputs.recipe.release_tag);
    assert!(tags.clone().all(Option::is_some) && tags.count() == 30);
    assert_eq!(partial.calls(), 2, "the manifest, and the Dockerfiles");
}

#[test]
fn a_failed_fetch_says_why_and_shows_no_password() {
    let source = Repo::new();
    source.write("a", "1");
    let commit = source.commit("one");
    let clone = source.clone_with(&["--filter=blob:none", "--no-checkout"]);
    let address = "http://me:s3cr3t@127.0.0.1:9/x.git";
    clone.git(&["config", "remote.origin.url", address]);
    let repository = open(&clone);
    let id = walked(&repository, &commit, "")[0].1.id;
    let error = repository.prefetch(&[id]).unwrap_err();
    assert_eq!(
        (code(&error), error.class()),
        ("fetch-failed", Class::Unreachable)
    );
    let message = error.to_string();
    assert!(message.contains("127.0.0.1"), "{message}");
    assert!(!message.contains("s3cr3t"), "{message}");
    assert_eq!(repository.remote_url().unwrap(), "http://127.0.0.1:9/x.git");

    let full = open(&source);
    full.prefetch(&[id]).unwrap();
    let nowhere = ELSEWHERE.parse().unwrap();
    assert_eq!(
        code(&full.prefetch(&[id, nowhere]).unwrap_err()),
        "missing-object"
    );
    assert_eq!(full.remote_url(), None);
}

#[test]
fn uncommitted_changes_are_named() {
    let repo = Repo::new();
    for name in ["kept", "changed", "removed", "renamed"] {
        repo.write(name, name);
    }
    repo.write(".gitignore", "ignored\n");
    repo.commit("one");
    let repository = open(&repo);
    assert_eq!(repository.uncommitted().unwrap(), []);
    repo.write("changed", "now");
    repo.write("ignored", "x");
    repo.write("new dir/a\nb", "x");
    repo.write(b"new dir/\xff", "x");
    repo.write(".waybill/registry/blob", "x");
    repo.remove("removed");
    repo.git(&["mv", "renamed", "moved"]);
    let found: BTreeSet<_> = repository.uncommitted().unwrap().into_iter().collect();
    let expected = [
        path("changed"),
        path("moved"),
        path("new dir/a\nb"),
        path(b"new dir/\xff"),
        path("removed"),
        path("renamed"),
    ];
    assert_eq!(found, BTreeSet::from(expected));
    let below = Repository::open(&repo.path().join("new dir")).unwrap();
    assert_eq!(below.uncommitted().unwrap().len(), 6);
}
