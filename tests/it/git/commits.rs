//! Commits, their names, their history, and who changed a path last.

use std::collections::BTreeSet;

use waybill::git::{Completeness, GitError, HistoryEnd};
use waybill::model::CommitId;
use waybill::problem::{Class, Diagnose as _};

use super::random::{Dice, random_history};
use super::{ELSEWHERE, code, commit_id, listed, open, path};
use crate::repo::Repo;

#[test]
fn a_commit_is_read_whole() {
    let repo = Repo::new();
    repo.write("a", "1");
    let first = repo.commit("first");
    repo.git(&[
        "commit",
        "--quiet",
        "--allow-empty",
        "--author=Grace Hopper <grace@example.com>",
        "--date=1600000000 +0200",
        "-m",
        "subject\n\nbody [ci rebuild]",
    ]);
    let repository = open(&repo);
    let commit = repository.commit(commit_id(&repo.head())).unwrap();
    assert_eq!(commit.parents, [commit_id(&first)]);
    assert_eq!(commit.author, "Grace Hopper");
    assert_eq!(commit.author_email, "grace@example.com");
    assert_eq!(commit.author_time, 1_600_000_000);
    assert_eq!(
        commit.time.to_string(),
        repo.git(&["log", "-1", "--format=%ct"])
    );
    assert_eq!(commit.subject(), "subject");
    assert_eq!(commit.message, "subject\n\nbody [ci rebuild]\n");
    assert_eq!(
        commit.tree.to_string(),
        repo.git(&["rev-parse", "HEAD^{tree}"])
    );
    let error = repository.commit(commit_id(ELSEWHERE)).unwrap_err();
    assert!(
        matches!(
            error,
            GitError::Missing {
                clone: Completeness::Full,
                ..
            }
        ),
        "{error}"
    );
    let error = repository.commit(CommitId(commit.tree)).unwrap_err();
    assert_eq!(code(&error), "unreadable-object");
}

#[test]
fn revisions_resolve_as_git_has_them() {
    let repo = Repo::new();
    repo.write("a", "1");
    repo.commit("one");
    repo.write("a", "2");
    let second = repo.commit("two");
    repo.git(&["tag", "light"]);
    repo.git(&["tag", "-a", "heavy", "-m", "note"]);
    repo.git(&["tag", "-a", "outer", "heavy", "-m", "note"]);
    repo.git(&["branch", "feature/x", "HEAD~1"]);
    let repository = open(&repo);
    let names = [
        "HEAD",
        "@",
        "HEAD~1",
        "main^",
        "light",
        "heavy",
        "outer",
        "feature/x",
    ];
    for name in names
        .into_iter()
        .chain([&second[..8], &second, "HEAD^{/one}"])
    {
        let expected = repo.git(&["rev-parse", &format!("{name}^{{commit}}")]);
        assert_eq!(
            repository.resolve(name).unwrap().to_string(),
            expected,
            "{name}"
        );
    }
    for (name, expected) in [
        ("nope", "unknown-revision"),
        ("HEAD~7", "unknown-revision"),
        ("HEAD~1..HEAD", "unknown-revision"),
        ("", "unknown-revision"),
        ("HEAD:a", "not-a-commit"),
        ("HEAD^{tree}", "not-a-commit"),
        (ELSEWHERE, "missing-object"),
    ] {
        let error = repository.resolve(name).unwrap_err();
        assert_eq!(code(&error), expected, "{name}: {error}");
        assert!(error.class() == Class::Usage);
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_short_id_of_several_commits_is_ambiguous() {
    let repo = Repo::new();
    let commits = (0..1000).map(|number| {
        format!("commit refs/heads/main\ncommitter A <a@b> {number} +0000\ndata 0\n")
    });
    let stream: String = commits.collect();
    repo.git_bytes(&["fast-import", "--quiet"], stream.as_bytes());
    let ids = repo.git(&["rev-list", "main"]);
    let mut seen = BTreeSet::new();
    // A thousand ids of four digits are as good as sure to repeat, and the same at every run.
    let shared = ids
        .lines()
        .map(|id| &id[..4])
        .find(|start| !seen.insert(*start));
    let shared = shared.unwrap();
    let error = open(&repo).resolve(shared).unwrap_err();
    assert_eq!(code(&error), "ambiguous-revision", "{error}");
}

#[test]
fn a_repository_without_commits_says_so() {
    let repo = Repo::new();
    let repository = open(&repo);
    for name in ["HEAD", "HEAD~1", "@"] {
        let error = repository.resolve(name).unwrap_err();
        assert_eq!(code(&error), "no-commit-yet", "{error}");
    }
    assert_eq!(
        code(&repository.resolve("main").unwrap_err()),
        "unknown-revision"
    );
}

#[test]
fn history_goes_nearest_first_and_first_parents_first() {
    let repo = Repo::new();
    let root = repo.commit("root");
    repo.git(&["checkout", "--quiet", "-b", "side"]);
    let side_1 = repo.commit("side 1");
    let side_2 = repo.commit("side 2");
    repo.git(&["checkout", "--quiet", "main"]);
    let main_1 = repo.commit("main 1");
    repo.git(&["merge", "--quiet", "--no-ff", "--no-edit", "side"]);
    let merge = repo.head();
    let repository = open(&repo);
    let ids = |history: &waybill::git::History| -> Vec<String> {
        history
            .commits
            .iter()
            .map(|commit| commit.id.to_string())
            .collect()
    };

    let expected = [&merge, &main_1, &side_2, &root, &side_1].map(String::clone);
    for round in ["objects", "commit-graph"] {
        let history = repository.history(commit_id(&merge), 100).unwrap();
        assert_eq!(ids(&history), expected, "{round}");
        assert_eq!(history.end, HistoryEnd::Root);
        for commit in &history.commits {
            let read = repository.commit(commit.id).unwrap();
            assert_eq!((commit.tree, &commit.parents), (read.tree, &read.parents));
        }
        let first = repository.first_parents(commit_id(&merge), 100).unwrap();
        assert_eq!(ids(&first), [&merge, &main_1, &root].map(String::clone));
        let limited = repository.history(commit_id(&merge), 3).unwrap();
        assert_eq!((ids(&limited).len(), limited.end), (3, HistoryEnd::Limit));
        let exact = repository.history(commit_id(&merge), 5).unwrap();
        assert_eq!(exact.end, HistoryEnd::Root);

        for (old, new, expected) in [
            (&root, &merge, true),
            (&side_1, &merge, true),
            (&merge, &merge, true),
            (&merge, &root, false),
            (&side_1, &main_1, false),
        ] {
            let answer = repository.is_ancestor(commit_id(old), commit_id(new));
            assert_eq!(answer.unwrap(), Some(expected), "{round}: {old} {new}");
        }
        repo.git(&["commit-graph", "write", "--reachable"]);
    }
    let error = repository.history(commit_id(ELSEWHERE), 1).unwrap_err();
    assert_eq!(code(&error), "missing-object");
    let stranger = repository.is_ancestor(commit_id(ELSEWHERE), commit_id(&merge));
    assert_eq!(stranger.unwrap(), Some(false));
    assert!(
        repository
            .is_ancestor(commit_id(&merge), commit_id(ELSEWHERE))
            .is_err()
    );
}

#[test]
fn tags_are_found_through_tag_objects() {
    let repo = Repo::new();
    let first = repo.commit("one");
    repo.git(&["tag", "v1"]);
    repo.git(&["tag", "-a", "release/1.0", "-m", "note"]);
    repo.git(&["tag", "-a", "outer", "release/1.0", "-m", "note"]);
    repo.git(&["tag", "tree", "HEAD^{tree}"]);
    repo.git(&["branch", "no-tag"]);
    let second = repo.commit("two");
    repo.git(&["tag", "v2"]);
    let repository = open(&repo);
    for _ in ["loose", "packed"] {
        let first = repository.tags_at(commit_id(&first)).unwrap();
        assert_eq!(first, ["outer", "release/1.0", "v1"]);
        assert_eq!(repository.tags_at(commit_id(&second)).unwrap(), ["v2"]);
        assert_eq!(repository.tags_at(commit_id(ELSEWHERE)).unwrap().len(), 0);
        repo.git(&["pack-refs", "--all"]);
    }
}

#[test]
fn last_changes_are_those_of_git_log() {
    let repo = random_history(0xfeed, 60);
    let repository = open(&repo);
    let mut dice = Dice(7);
    for (from, until) in [
        ("main", None),
        ("main", Some("main~20")),
        ("main~9", Some("main~40")),
    ] {
        let mut paths: BTreeSet<_> = (0..25).map(|_| path(dice.path())).collect();
        paths.extend(
            listed(&repo, from)
                .into_iter()
                .step_by(3)
                .map(|(name, _)| path(name)),
        );
        let paths: Vec<_> = paths.into_iter().collect();
        let from_id = repository.resolve(from).unwrap();
        let until_id = until.map(|until| repository.resolve(until).unwrap());
        let found = repository.last_changes(from_id, until_id, &paths).unwrap();
        let range = until.map_or(from.to_owned(), |until| format!("{until}..{from}"));
        let mut absent = 0;
        for path in &paths {
            use std::os::unix::ffi::OsStrExt as _;
            let arguments = [
                "--literal-pathspecs",
                "log",
                "-1",
                "--format=%H",
                &range,
                "--",
            ];
            let name = std::ffi::OsStr::from_bytes(path.as_bytes());
            let arguments: Vec<_> = arguments.iter().map(AsRef::as_ref).chain([name]).collect();
            let expected = String::from_utf8(repo.git_bytes(&arguments, b"")).unwrap();
            let actual = found
                .get(path)
                .map_or_else(String::new, |it| it.commit.to_string());
            assert_eq!(actual, expected.trim_end(), "{path} in {range}");
            absent += usize::from(actual.is_empty());
        }
        assert!(
            absent > 0 && absent < paths.len(),
            "{absent} of {}",
            paths.len()
        );
    }
}

#[test]
fn last_changes_name_the_merge_that_brought_a_change() {
    let repo = Repo::new();
    repo.write("main", "0");
    repo.write("side", "0");
    repo.write("dir/file", "0");
    let root = repo.commit("root");
    repo.git(&["checkout", "--quiet", "-b", "side"]);
    repo.write("side", "1");
    let on_side = repo.commit("side\n\nmore");
    repo.git(&["checkout", "--quiet", "main"]);
    repo.write("main", "1");
    let on_main = repo.commit("on main");
    repo.git(&["merge", "--quiet", "--no-ff", "-m", "the merge", "side"]);
    let merge = repo.head();
    let repository = open(&repo);
    let paths = ["dir", "dir/file", "main", "side", "side/x", "none"].map(path);
    let commits = |from: &str, until: Option<&str>| {
        let found = repository.last_changes(commit_id(from), until.map(commit_id), &paths);
        let found = found.unwrap();
        found
            .into_iter()
            .map(|(path, it)| (path.to_string(), it.commit))
            .collect::<Vec<_>>()
    };
    let named = |path: &str, commit: &str| (path.to_owned(), commit_id(commit));
    let all = [
        named("dir", &root),
        named("dir/file", &root),
        named("main", &on_main),
        named("side", &merge),
    ];
    assert_eq!(commits(&merge, None), all);
    let since = [named("main", &on_main), named("side", &merge)];
    assert_eq!(commits(&merge, Some(&on_side)), since);
    assert_eq!(commits(&merge, Some(&on_main)), [named("side", &merge)]);
    assert_eq!(commits(&merge, Some(&merge)), []);

    let changes = repository
        .last_changes(commit_id(&on_side), None, &[path("side")])
        .unwrap();
    let change = &changes[&path("side")];
    assert_eq!(
        (change.subject.as_str(), change.author.as_str()),
        ("side", "Ada")
    );
    assert_eq!(change.time, repository.commit(change.commit).unwrap().time);
}
