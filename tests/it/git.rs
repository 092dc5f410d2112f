//! Facts of git repositories, held against what the `git` program says of the same repository.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::str::FromStr;

use waybill::git::{Change, Completeness, GitError, HistoryEnd, Repository};
use waybill::model::{CommitId, Entry, Mode, ObjectId, RepoPath};
use waybill::problem::{Class, Diagnose};

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
    let id = ObjectId::from_str(id).unwrap();
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
fn resolve_follows_links_of_every_component() {
    let repo = Repo::new();
    repo.write("real/dir/file", "x");
    repo.link("short", "real");
    repo.link("real/up", "../short/dir");
    repo.link("real/dir/self", "./../dir//file");
    repo.link("dangling", "real/none/../more");
    repo.link("root", "real/..");
    repo.link("through-file", "real/dir/file/../dir");
    let commit = repo.commit("links");
    let repository = open(&repo);
    let snapshot = repository.snapshot(commit_id(&commit)).unwrap();
    let file = snapshot.entry(&path("real/dir/file")).unwrap();
    assert!(file.is_some());

    let plain = snapshot.resolve(&path("real/dir/file")).unwrap();
    assert_eq!((plain.entry, plain.links.len()), (file, 0));

    let chain = snapshot.resolve(&path("short/up/self")).unwrap();
    assert_eq!((&chain.path, chain.entry), (&path("real/dir/file"), file));
    let hops: Vec<_> = chain
        .links
        .iter()
        .map(|(path, _)| path.to_string())
        .collect();
    assert_eq!(hops, ["short", "real/up", "short", "real/dir/self"]);
    assert_eq!(
        chain.links[0].1,
        snapshot.entry(&path("short")).unwrap().unwrap()
    );
    assert_eq!(chain.submodule, None);

    let dangling = snapshot.resolve(&path("dangling/x")).unwrap();
    assert_eq!((dangling.path, dangling.entry), (path("real/more/x"), None));
    let root = snapshot.resolve(&path("root")).unwrap();
    assert_eq!(root.path, RepoPath::root());
    assert_eq!(root.entry.unwrap().id, snapshot.tree());
    assert_eq!(
        snapshot.resolve(&path("root/real/dir/file")).unwrap().entry,
        file
    );
    let through_file = snapshot.resolve(&path("through-file")).unwrap();
    assert_eq!(through_file.entry, None);
}

#[test]
fn links_that_leave_or_loop_are_named() {
    let repo = Repo::new();
    repo.link("etc", "/etc/passwd");
    repo.link("sub/out", "../../beside");
    repo.link("one", "two");
    repo.link("two", "sub/back");
    repo.link("sub/back", "../one");
    let commit = repo.commit("bad links");
    let repository = open(&repo);
    let snapshot = repository.snapshot(commit_id(&commit)).unwrap();
    for (asked, link, target) in [
        ("etc", "etc", "/etc/passwd"),
        ("etc/x", "etc", "/etc/passwd"),
        ("sub/out", "sub/out", "../../beside"),
    ] {
        let error = snapshot.resolve(&path(asked)).unwrap_err();
        assert_eq!(code(&error), "link-leaves-repository");
        let message = error.to_string();
        assert!(message.contains(&format!("'{link}'")), "{message}");
        assert!(message.contains(target), "{message}");
    }
    let error = snapshot.resolve(&path("one/file")).unwrap_err();
    assert_eq!(code(&error), "link-loop");
    assert!(error.to_string().contains("'one/file'"), "{error}");
}

#[test]
fn forty_links_are_not_a_loop() {
    let repo = Repo::new();
    repo.write("l0", "end");
    for number in 1..=41 {
        repo.link(format!("l{number}"), format!("l{}", number - 1));
    }
    let commit = repo.commit("chain");
    let repository = open(&repo);
    let snapshot = repository.snapshot(commit_id(&commit)).unwrap();
    let resolved = snapshot.resolve(&path("l40")).unwrap();
    assert_eq!((resolved.path, resolved.links.len()), (path("l0"), 40));
    let error = snapshot.resolve(&path("l41")).unwrap_err();
    assert_eq!(code(&error), "link-loop");
}

#[test]
fn resolve_says_which_submodule_a_path_ends_in() {
    let repo = Repo::new();
    repo.link("alias", "vendor/sub/deep");
    repo.link("back", "vendor/sub/../../file");
    repo.write("file", "x");
    repo.git(&["add", "--all"]);
    add_submodule(&repo, "vendor/sub");
    repo.git(&["commit", "--quiet", "-m", "submodule"]);
    let repository = open(&repo);
    let snapshot = repository.snapshot(commit_id(&repo.head())).unwrap();
    let submodule = (path("vendor/sub"), entry("160000", ELSEWHERE).unwrap());

    let ends = snapshot.resolve(&path("vendor/sub")).unwrap();
    assert_eq!(ends.entry, Some(submodule.1));
    assert_eq!(ends.submodule, Some(submodule.clone()));
    let inside = snapshot.resolve(&path("alias/file")).unwrap();
    assert_eq!(
        (inside.path, inside.entry),
        (path("vendor/sub/deep/file"), None)
    );
    assert_eq!(inside.submodule, Some(submodule));
    let out_again = snapshot.resolve(&path("back")).unwrap();
    assert_eq!((out_again.path, out_again.submodule), (path("file"), None));
    assert!(out_again.entry.is_some());
}

#[test]
fn submodule_repositories_open_where_they_are_there() {
    let library = Repo::new();
    library.write("lib", "1");
    let inner = library.commit("library");
    let repo = Repo::new();
    let source = library.path().display().to_string();
    repo.git(&["submodule", "--quiet", "add", &source, "vendor/lib"]);
    let commit = repo.commit("with submodule");

    let repository = open(&repo);
    let snapshot = repository.snapshot(commit_id(&commit)).unwrap();
    let entry = snapshot.entry(&path("vendor/lib")).unwrap().unwrap();
    assert_eq!(entry.id.to_string(), inner);
    let submodule = repository.submodule(&path("vendor/lib")).unwrap();
    assert!(submodule.commit(CommitId(entry.id)).is_ok());
    repo.git(&["submodule", "--quiet", "deinit", "--force", "vendor/lib"]);
    let submodule = repository.submodule(&path("vendor/lib")).unwrap();
    assert!(submodule.has_object(entry.id), "git keeps what it fetched");

    let clone = open(&repo.clone_with(&[]));
    let error = clone.submodule(&path("vendor/lib")).err().unwrap();
    assert_eq!(code(&error), "submodule-missing");
    let problems = error.problems();
    assert!(problems[0].hint.as_ref().unwrap().contains("vendor/lib"));
}

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

/// Numbers that look random and are the same at every run (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }

    fn path(&mut self) -> Vec<u8> {
        let names: [&[u8]; 9] = [
            b"a",
            b"a.b",
            b"a-b",
            b"a0",
            b"b",
            b"c d",
            b"\"q\"",
            b"n\nl",
            b"\xe9\xff",
        ];
        let depth = 1 + self.below(4);
        let components: Vec<_> = (0..depth).map(|_| names[self.below(names.len())]).collect();
        components.join(&b'/')
    }
}

/// What stands at the paths of a tree: the mode, and the content or a commit's id.
type Files = BTreeMap<Vec<u8>, (&'static str, String)>;

fn put(files: &mut Files, path: &[u8], mode: &'static str, content: String) {
    let below = [path, b"/"].concat();
    files.retain(|other, _| {
        let above = [other.as_slice(), b"/"].concat();
        !other.starts_with(&below) && !path.starts_with(&above)
    });
    files.insert(path.to_vec(), (mode, content));
}

fn change_some(files: &mut Files, dice: &mut Dice) {
    for _ in 0..dice.below(6) {
        if let Some(gone) = files.keys().nth(dice.below(files.len().max(1))).cloned() {
            files.remove(&gone);
        }
    }
    for _ in 0..1 + dice.below(8) {
        let path = dice.path();
        let modes = ["100644", "100644", "100755", "120000", "160000"];
        let mode = modes[dice.below(modes.len())];
        let content = match mode {
            "160000" => format!("{:040}", 1 + dice.below(3)),
            _ => dice.below(4).to_string(),
        };
        put(files, &path, mode, content);
    }
}

/// A linear history of trees that change at random, on the branch `main`.
fn random_history(seed: u64, commits: usize) -> Repo {
    let repo = Repo::new();
    let mut dice = Dice(seed);
    let mut files = Files::new();
    let mut stream = Vec::new();
    for number in 0..commits {
        change_some(&mut files, &mut dice);
        let time = 1_700_000_000 + 60 * number;
        let head = format!(
            "commit refs/heads/main\ncommitter A <a@b> {time} +0000\ndata 2\nc\ndeleteall\n"
        );
        stream.extend_from_slice(head.as_bytes());
        for (path, (mode, content)) in &files {
            let path: String = path.iter().map(|byte| format!("\\{byte:03o}")).collect();
            let line = match *mode {
                "160000" => format!("M 160000 {content} \"{path}\"\n"),
                _ => format!(
                    "M {mode} inline \"{path}\"\ndata {}\n{content}\n",
                    content.len()
                ),
            };
            stream.extend_from_slice(line.as_bytes());
        }
    }
    repo.git_bytes(&["fast-import", "--quiet"], &stream);
    repo
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
