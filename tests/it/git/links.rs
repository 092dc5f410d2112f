//! Symbolic links and submodules.

use waybill::model::{CommitId, RepoPath};
use waybill::problem::Diagnose as _;

use super::{ELSEWHERE, add_submodule, code, commit_id, entry, open, path};
use crate::repo::Repo;

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
