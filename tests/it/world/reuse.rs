//! What was built once is not built again, however the same content came about and wherever the
//! clone is.

use super::{World, builds};
use crate::repo::Repo;

const ALL: [&str; 5] = ["api", "base", "docs", "log", "web"];
const NOTHING: [&str; 0] = [];

/// A world whose first commit is built.
pub(super) fn built_shop() -> World {
    let world = World::shop();
    assert_eq!(world.build().built(), ALL);
    world
}

#[test]
fn a_second_build_builds_nothing() {
    let world = built_shop();
    let second = world.build();
    assert_eq!(second.built(), NOTHING);
    assert_eq!(
        second.verdicts(),
        "api=reused base=reused docs=reused log=reused web=reused"
    );
}

#[test]
fn an_empty_commit_and_a_message_build_nothing() {
    let world = built_shop();
    world.repo.commit("Nothing at all");
    assert_eq!(world.build().built(), NOTHING);
}

/// However many commits do not touch a project, it has the tags and records that it had.
#[test]
fn a_thousand_quiet_commits_add_no_tag_and_no_record() {
    let world = built_shop();
    let everything = || {
        let ledger = ["waybill-ledger", "waybill-taints", "waybill-runs"];
        let repositories = ALL.iter().chain(&ledger);
        let tags = repositories.map(|name| world.block_on(world.client().tags(name)).unwrap());
        tags.collect::<Vec<_>>()
    };
    let before = everything();
    assert!(
        before.iter().flatten().count() > ALL.len() * 2,
        "{before:?}"
    );
    let head = world
        .repo
        .git(&["rev-parse", "--symbolic-full-name", "HEAD"]);
    for _ in 0..10 {
        let commit = |from: &str| {
            format!(
                "commit {}\ncommitter Ada <ada@example.com> 1700000000 +0000\ndata 5\nquiet\n{from}\n",
                head.trim()
            )
        };
        let first = commit(&format!("from {}^0", head.trim()));
        let stream = first + &commit("").repeat(99);
        world
            .repo
            .git_bytes(&["fast-import", "--quiet"], stream.as_bytes());
        assert_eq!(world.build().built(), NOTHING);
    }
    assert_eq!(
        world.repo.git(&["rev-list", "--count", "HEAD"]).trim(),
        "1001"
    );
    assert_eq!(everything(), before);
}

#[test]
fn a_revert_to_a_built_state_builds_nothing() {
    let world = built_shop();
    world.repo.write("docker/base/main", "other");
    world.repo.commit("Edit");
    assert_eq!(world.build().built(), ["api", "base", "web"]);
    world.repo.git(&["revert", "--no-edit", "HEAD"]);
    assert_eq!(world.build().built(), NOTHING);
}

/// A branch that edits `api`, and a trunk that has gone on with an edit of `docs`; both built.
fn diverged() -> World {
    let world = built_shop();
    let repo = &world.repo;
    repo.git(&["switch", "--quiet", "--create", "topic"]);
    repo.write("services/api/main", "first try");
    repo.commit("Try");
    repo.write("services/api/main", "second try");
    repo.commit("Try again");
    assert_eq!(world.build().built(), ["api"]);
    repo.git(&["switch", "--quiet", "main"]);
    repo.write("docs/main", "more");
    repo.commit("Docs");
    assert_eq!(world.build().built(), ["docs"]);
    world
}

#[test]
fn a_squash_merge_of_a_built_branch_builds_nothing() {
    let world = diverged();
    world.repo.git(&["merge", "--quiet", "--squash", "topic"]);
    world.repo.commit("Topic, squashed");
    assert_eq!(world.build().built(), NOTHING);
}

#[test]
fn a_merge_commit_of_a_built_branch_builds_nothing() {
    let world = diverged();
    world
        .repo
        .git(&["merge", "--quiet", "--no-ff", "--no-edit", "topic"]);
    assert_eq!(world.build().built(), NOTHING);
}

#[test]
fn a_rebase_of_a_built_branch_builds_nothing() {
    let world = diverged();
    world.repo.git(&["switch", "--quiet", "topic"]);
    world.repo.git(&["rebase", "--quiet", "main"]);
    assert_eq!(world.build().built(), NOTHING);
}

fn builds_nothing_elsewhere(world: &World, clone: Repo) {
    let here = world.run().plan();
    let elsewhere = world.elsewhere(clone);
    let done = elsewhere.build();
    assert_eq!(done.built(), NOTHING);
    for (name, planned) in &here.plan.projects {
        assert_eq!(planned.key, done.planned(name.as_str()).key, "{name}");
    }
}

#[test]
fn a_clone_with_only_the_registry_builds_nothing() {
    let world = diverged();
    builds_nothing_elsewhere(&world, world.repo.clone_with(&[]));
}

#[test]
fn a_clone_of_depth_one_builds_nothing() {
    let world = diverged();
    builds_nothing_elsewhere(&world, world.repo.clone_with(&["--depth", "1"]));
}

#[test]
fn a_clone_without_blobs_builds_nothing() {
    let world = diverged();
    let clone = world
        .repo
        .clone_with(&["--filter=blob:none", "--no-checkout"]);
    builds_nothing_elsewhere(&world, clone);
}

#[test]
fn a_clone_of_depth_one_builds_the_same_for_lack_of_history() {
    let world = built_shop();
    world.repo.write("libs/log/main", "other");
    world.repo.commit("Edit");
    let clone = world.repo.clone_with(&["--depth", "1"]);
    let elsewhere = world.elsewhere(clone);
    assert_eq!(
        builds(&elsewhere.run().plan().plan),
        "api=history-unavailable log=history-unavailable web=history-unavailable"
    );
    assert_eq!(
        builds(&world.run().plan().plan),
        "api=inputs-changed log=inputs-changed web=inputs-changed"
    );
    assert_eq!(elsewhere.build().built(), ["api", "log", "web"]);
    assert_eq!(world.build().built(), NOTHING);
}

#[test]
fn a_clone_without_blobs_fetches_what_an_edit_needs() {
    let world = built_shop();
    world.repo.write("libs/log/main", "other");
    world.repo.commit("Edit");
    let clone = world
        .repo
        .clone_with(&["--filter=blob:none", "--no-checkout"]);
    let done = world.elsewhere(clone).build();
    assert_eq!(done.built(), ["api", "log", "web"]);
    assert!(done.builder.job("api").uses.contains_key("log"));
}

#[test]
fn another_base_takes_nothing_from_elsewhere() {
    let world = built_shop();
    let other = World::of(world.repo.clone_with(&[]));
    assert_eq!(other.build().built(), ALL);
}
