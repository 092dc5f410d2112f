//! An edit rebuilds exactly its project and those that depend on it: in order where an image is
//! used, at the same time where it is not.

use std::sync::Arc;

use tokio::sync::Barrier;
use tokio::time::timeout;
use waybill::plan::Action;

use super::builder::Act;
use super::reuse::built_shop;
use super::{PATIENCE, World, builds, name, planned};

#[test]
fn an_edit_rebuilds_its_project_and_its_dependents_and_nothing_else() {
    for (file, expected) in [
        ("docker/base/main", vec!["api", "base", "web"]),
        ("libs/log/main", vec!["api", "log", "web"]),
        ("services/api/main", vec!["api"]),
        ("services/web/main", vec!["web"]),
        ("docs/main", vec!["docs"]),
        ("docs/new", vec!["docs"]),
        ("README.md", vec![]),
    ] {
        let world = built_shop();
        world.repo.write(file, "edited");
        world.repo.commit("Edit");
        assert_eq!(world.build().built(), expected, "{file}");
        assert!(world.build().built().is_empty(), "{file}, again");
    }
}

#[test]
fn users_are_built_after_what_they_use_and_on_it() {
    let world = World::shop();
    let done = world.build();
    let builder = &done.builder;
    for (used, user) in [("base", "api"), ("log", "api"), ("base", "web")] {
        let ended = builder.moment(&format!("-{used}"));
        assert!(ended < builder.moment(&format!("+{user}")), "{user}");
    }
    let uses = builder.job("api").uses;
    let base = world.registry.base();
    for used in ["base", "log"] {
        let expected = format!("{base}/{used}@{}", done.image(used));
        assert_eq!(uses.get(used), Some(&expected));
    }
    assert_eq!(builder.job("web").uses.len(), 1, "a trigger is no image");
}

#[test]
fn what_is_reused_is_used_by_the_digest_of_its_record() {
    let world = built_shop();
    let first = world.build();
    world.repo.write("libs/log/main", "edited");
    world.repo.commit("Edit");
    let second = world.build();
    let uses = second.builder.job("api").uses;
    let base = world.registry.base();
    assert_eq!(
        uses.get("base"),
        Some(&format!("{base}/base@{}", first.image("base")))
    );
    assert_eq!(
        uses.get("log"),
        Some(&format!("{base}/log@{}", second.image("log")))
    );
    assert_ne!(first.image("log"), second.image("log"));
}

/// Waits for the others; a build that never meets them fails the test.
fn meet(barrier: &Arc<Barrier>) -> Act {
    let barrier = Arc::clone(barrier);
    Act::first(move |job| {
        let barrier = Arc::clone(&barrier);
        async move {
            let met = timeout(PATIENCE, barrier.wait()).await;
            assert!(met.is_ok(), "{} waited for others in vain", job.project);
        }
    })
}

#[test]
fn a_trigger_and_what_it_triggers_build_at_the_same_time() {
    let world = built_shop();
    world.repo.write("libs/log/main", "edited");
    world.repo.commit("Edit");
    let barrier = Arc::new(Barrier::new(2));
    let done = world
        .run()
        .script("log", meet(&barrier))
        .script("web", meet(&barrier))
        .build();
    assert_eq!(
        done.verdicts(),
        "api=built base=reused docs=reused log=built web=built"
    );
    assert!(done.builder.moment("-log") < done.builder.moment("+api"));
}

#[test]
fn independent_projects_build_at_the_same_time_within_the_limit() {
    let barrier = Arc::new(Barrier::new(3));
    let world = World::shop();
    let run = ["base", "docs", "log"].into_iter();
    let run = run.fold(world.run(), |run, name| run.script(name, meet(&barrier)));
    let done = run.build();
    assert_eq!(done.built().len(), 5);
    assert_eq!(done.builder.most_at_once(), 3);
    let world = World::shop();
    let done = world.run().options(|options| options.jobs = 1).build();
    assert_eq!(done.built().len(), 5);
    assert_eq!(done.builder.most_at_once(), 1);
}

#[test]
fn a_named_project_builds_with_the_images_that_it_uses_and_no_more() {
    let world = World::shop();
    let web = |request: &mut waybill::gather::PlanRequest| {
        request.projects = Some([name("web")].into());
    };
    let done = world.run().asking(web).build();
    assert_eq!(done.built(), ["base", "web"], "log only triggers");
    assert_eq!(world.build().built(), ["api", "docs", "log"]);
}

/// A record is held against those of the images that it used, which nobody asked about by name.
#[test]
fn a_named_project_that_stands_is_reused() {
    let world = World::shop();
    world.build();
    let done = world
        .run()
        .asking(|request| request.projects = Some([name("web")].into()))
        .build();
    assert_eq!(done.built(), [""; 0]);
}

#[test]
fn a_rebuild_takes_layers_only_from_what_is_recorded() {
    let world = built_shop();
    let first = world.build();
    world.repo.write("services/api/main", "edited");
    world.repo.commit("Edit");
    let second = world.build();
    let job = second.builder.job("api");
    let base = world.registry.base();
    assert!(job.use_engine_cache);
    assert_eq!(
        job.cache_from,
        [format!("{base}/api@{}", first.image("api"))]
    );
    world.repo.write("services/api/main", "edited again");
    world.repo.commit("Edit");
    let without = world.run().options(|options| options.layer_cache = false);
    let job = without.build().builder.job("api");
    assert_eq!((job.use_engine_cache, job.cache_from.len()), (false, 0));
}

#[test]
fn a_rename_a_mode_and_a_moved_pattern_are_edits() {
    let world = built_shop();
    world.repo.git(&["mv", "docs/main", "docs/moved"]);
    world.repo.commit("Move");
    assert_eq!(world.build().built(), ["docs"]);
    world.repo.write_executable("docs/moved", "docs");
    world.repo.commit("Mode");
    assert_eq!(world.build().built(), ["docs"]);
}

#[test]
fn the_way_of_a_change_is_told() {
    let world = built_shop();
    world.repo.write("libs/log/main", "edited");
    world.repo.commit("Edit");
    let plan = world.run().plan().plan;
    assert_eq!(
        builds(&plan),
        "api=inputs-changed log=inputs-changed web=inputs-changed"
    );
    let api = planned(&plan, "api");
    let Action::Build(_) = &api.action else {
        panic!("{api:?}")
    };
    let reason = serde_json::to_value(&api.reason).unwrap();
    assert_eq!(reason["files"][0]["path"], "libs/log/main");
    assert_eq!(reason["files"][0]["via"], serde_json::json!(["api", "log"]));
    assert_eq!(reason["filesTotal"], 1);
}
