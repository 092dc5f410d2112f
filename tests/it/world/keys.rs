//! Findings of other build systems that the key and the plan must not have.

use std::collections::BTreeSet;

use waybill::model::Key;

use super::World;
use super::reuse::built_shop;
use crate::front::{Fault, Front, Rule};

/// F1: a build system whose check fails open says "no rebuild" when it could not find out. Here
/// every single request of a plan fails once, and each time the plan fails with it.
#[test]
fn f1_a_failure_to_find_out_is_never_a_reuse() {
    let world = built_shop();
    world.repo.write("libs/log/main", "edited");
    world.repo.commit("Edit");
    let front = Front::start(world.registry.address);
    let plan = || world.run().base(front.base("acme")).try_plan();
    let Ok(control) = plan() else {
        panic!("nothing fails yet")
    };
    assert_eq!(control.plan.builds().count(), 3);
    let requests = front.log().len();
    assert!(requests > 8, "{requests}");
    for fault in [
        Fault::status(500),
        Fault::status(404),
        Fault::Cut,
        Fault::error(403, "DENIED", "no"),
    ] {
        for request in 1..=requests {
            front.reset();
            front.add(Rule::on("*", ".").nth(request).does(fault.clone()));
            let outcome = plan();
            if matches!(&fault, Fault::Answer { status: 404, .. })
                && front.log()[request - 1].method == "HEAD"
            {
                // A HEAD's 404 has no words: it is asked again, by a GET.
                assert_eq!(front.log().len(), requests + 1);
                continue;
            }
            assert!(
                outcome.is_err(),
                "request {request} of {requests}: {fault:?}"
            );
        }
    }
}

/// F1, the other half: what git cannot tell is not taken for unchanged either.
#[test]
fn f1_a_missing_object_is_never_a_reuse() {
    let world = built_shop();
    world.repo.write("libs/log/main", "edited");
    world.repo.commit("Edit");
    for name in ["HEAD^{tree}", "HEAD:build_manifest.json"] {
        let id = world.repo.git(&["rev-parse", name]);
        let file = world.repo.path().join(".git/objects").join(&id[..2]);
        let file = file.join(&id[2..]);
        let kept = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let failure = world.run().try_plan().err().unwrap();
        assert_eq!(failure.problems[0].code, "missing-object", "{name}");
        std::fs::write(&file, kept).unwrap();
    }
    assert!(world.run().try_plan().is_ok());
}

/// The key of `docs` at HEAD.
fn key(world: &World) -> Key {
    world.run().plan().plan.projects["docs"].key.key
}

/// The shop's manifest with another entry for `docs`.
fn entry(world: &World, entry: &str) {
    let manifest = format!(r#"{{"version": 1, "projects": {{"docs": {entry}}}}}"#);
    world.repo.write("build_manifest.json", manifest);
}

/// F3: a build system that hashes blobs alone takes a renamed file for the same, and knows nothing
/// of modes, the Dockerfile's path, arguments, platforms, or the manifest's entry.
#[test]
fn f3_everything_that_makes_the_image_is_in_the_key() {
    let world = World::shop();
    let mut keys = vec![key(&world)];
    let mut next = |what: &str| {
        world.repo.commit(what);
        keys.push(key(&world));
    };
    world.repo.git(&["mv", "docs/main", "docs/renamed"]);
    next("a rename");
    world.repo.write_executable("docs/renamed", "docs");
    next("a mode");
    world.repo.write("docs/Other", "FROM scratch\nCOPY . /\n");
    entry(&world, r#"{"buildDir": "docs"}"#);
    next("a second Dockerfile");
    let with = |field: &str| {
        let fields = format!(r#"{{"buildDir": "docs", "dockerfile": "Other"{field}}}"#);
        entry(&world, &fields);
    };
    with("");
    next("the other Dockerfile, of the same content");
    for field in [
        r#", "buildArgs": {"A": "1"}"#,
        r#", "buildArgs": {"A": "2"}"#,
        r#", "platforms": ["linux/arm64"]"#,
        r#", "platforms": ["linux/amd64", "linux/arm64"]"#,
        r#", "target": "final""#,
        r#", "secrets": ["token"]"#,
        r#", "hermetic": false"#,
        r#", "epoch": 1"#,
        r#", "ignorePatterns": ["\\.md$"]"#,
    ] {
        with(field);
        next(field);
    }
    world.repo.write("docs/.dockerignore", "*.md\n");
    next("an ignore file");
    let distinct: BTreeSet<&Key> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len(), "{keys:#?}");
}

/// What makes no image another one is not in the key: the layer cache, other projects, the layout
/// of the manifest.
#[test]
fn what_makes_no_image_another_one_is_not_in_the_key() {
    let world = World::shop();
    let before = key(&world);
    for other in [
        r#"{"buildDir": "docs"}"#,
        r#"{"layerCache": "none", "buildDir": "docs", "dockerfile": "Dockerfile"}"#,
        r#"{"buildDir": "docs", "platforms": ["linux/amd64"], "dependencies": []}"#,
    ] {
        entry(&world, other);
        world.repo.commit("Other");
        assert_eq!(key(&world), before, "{other}");
    }
}
