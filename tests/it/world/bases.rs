//! Two bases: the upstream is read and never written, and what is built goes into one's own.

use std::collections::BTreeSet;
use std::sync::Arc;

use waybill::event::Event;
use waybill::ledger::names;

use super::builder::{Act, push_image};
use super::reuse::built_shop;
use super::taints::record_another;
use super::{World, builds};
use crate::front::Front;

const NOTHING: [&str; 0] = [];

/// The methods of all requests that a front saw.
fn methods(front: &Front) -> BTreeSet<String> {
    front.log().into_iter().map(|seen| seen.method).collect()
}

#[test]
fn the_upstream_is_used_and_never_written() {
    let trunk = built_shop();
    let front = Front::start(trunk.registry.address);
    let upstream = front.base("acme");
    let laptop = World::laptop(&trunk.repo);
    let all = laptop.run().upstream(upstream.clone()).build();
    assert_eq!(all.built(), NOTHING);
    laptop.repo.write("services/api/main", "edited");
    laptop.repo.commit("Edit");
    let recorded = trunk.recorded();
    let done = laptop.run().upstream(upstream.clone()).build();
    assert_eq!(done.built(), ["api"]);
    let uses = done.builder.job("api").uses;
    assert!(
        uses["base"].starts_with(&format!("{upstream}/base@")),
        "{uses:?}"
    );
    let read_only = ["GET", "HEAD"].map(str::to_owned).into();
    assert_eq!(methods(&front), read_only);
    assert_eq!(trunk.recorded(), recorded);
    assert_eq!(laptop.recorded(), [done.key("api")].into());
    let again = laptop.run().upstream(upstream).build();
    assert_eq!(again.built(), NOTHING);
}

#[test]
fn failures_and_taints_go_into_ones_own_base() {
    let trunk = built_shop();
    let front = Front::start(trunk.registry.address);
    let laptop = World::laptop(&trunk.repo);
    let run = || laptop.run().upstream(front.base("acme"));
    laptop.repo.commit("[ci rebuild log]");
    let failed = run().script("log", Act::Fail).build();
    assert_eq!(
        failed.verdicts(),
        "api=blocked base=reused docs=reused log=failed web=built"
    );
    assert_eq!(run().build().built(), ["api", "log"]);
    assert_eq!(run().build().built(), NOTHING);
    assert_eq!(methods(&front), ["GET", "HEAD"].map(str::to_owned).into());
    assert_eq!(
        builds(&trunk.run().plan().plan),
        "",
        "the trunk knows of nothing"
    );
}

#[test]
fn what_a_laptop_built_does_not_count_on_the_trunk() {
    let trunk = built_shop();
    let laptop = World::laptop(&trunk.repo);
    laptop.repo.write("docs/main", "edited");
    laptop.repo.commit("Edit");
    let done = laptop.run().upstream(trunk.registry.base()).build();
    assert_eq!(done.built(), ["docs"]);
    trunk.repo.write("docs/main", "edited");
    trunk.repo.commit("Edit");
    assert_eq!(trunk.build().built(), ["docs"]);
}

#[test]
fn a_taint_of_the_upstream_counts() {
    let trunk = built_shop();
    let laptop = World::laptop(&trunk.repo);
    let key = trunk.run().plan().plan.projects["docs"].key.key;
    trunk.put_garbage(names::TAINTS, &names::taint(key));
    let plan = laptop.run().upstream(trunk.registry.base()).plan().plan;
    assert_eq!(builds(&plan), "docs=tainted");
}

#[test]
fn an_image_that_the_upstream_lost_is_built_in_ones_own_base() {
    let trunk = built_shop();
    let image = trunk.build().image("base");
    trunk.registry.forget("base", &image);
    let laptop = World::laptop(&trunk.repo);
    let run = || laptop.run().upstream(trunk.registry.base());
    laptop.repo.write("services/api/main", "edited");
    laptop.repo.commit("Edit");
    let done = run().build();
    assert_eq!(
        builds(&done.plan),
        "api=inputs-changed base=image-gone web=inputs-changed"
    );
    assert_eq!(run().build().built(), NOTHING);
}

/// The small monorepo in Aztec's shape, with nothing but an image of `base` under the tag of the
/// first commit.
fn aztec() -> World {
    let world = World::shop();
    let repo = &world.repo;
    repo.write(
        "build_manifest.json",
        r#"{
          "api": {"buildDir": "services/api", "dependencies": ["base", "log"]},
          "base": {"buildDir": "docker/base"},
          "log": {"buildDir": "libs/log"}
        }"#,
    );
    repo.commit("As Aztec has it");
    let tag = format!("cache-{}", repo.head());
    let client = world.client();
    let pushed = push_image(&client, "base", &tag, b"built by a script", None);
    world.block_on(pushed).unwrap();
    world
}

#[test]
fn an_image_known_by_its_tag_is_taken_over_and_recorded() {
    let world = aztec();
    let done = world.build();
    assert_eq!(done.verdicts(), "api=built base=adopted log=built");
    assert_eq!(done.planned("base").reason.kind(), "unchanged-since");
    let second = world.build();
    assert_eq!(second.verdicts(), "api=reused base=reused log=reused");
    assert_eq!(second.planned("base").reason.kind(), "recorded");
}

#[test]
fn what_was_recorded_since_the_plan_is_taken_before_an_image_that_has_only_a_tag() {
    let world = aztec();
    let planned = world.run().plan().plan;
    let (key, commit) = (super::planned(&planned, "base").key.key, planned.commit);
    let base = world.registry.base();
    let racing = Arc::new(move |event: Event| {
        if matches!(event, Event::Planned { .. }) {
            let record = record_another(base.clone(), "base", key, commit);
            let racing =
                std::thread::spawn(|| tokio::runtime::Runtime::new().unwrap().block_on(record));
            racing.join().unwrap();
        }
    });
    let done = world.run().telling(racing).build();
    assert_eq!(done.verdicts(), "api=built base=reused log=built");
    let used = &done.builder.job("api").uses["base"];
    assert!(used.ends_with(&done.image("base").to_string()), "{used}");
    let (client, tag) = (world.client(), names::image(key));
    let tagged = world.block_on(client.digest_of("base", &tag)).unwrap();
    assert_eq!(tagged, Some(done.image("base")));
    assert_eq!(world.build().built(), NOTHING);
}

#[test]
fn an_image_known_by_its_tag_in_the_upstream_can_be_used() {
    let trunk = aztec();
    let front = Front::start(trunk.registry.address);
    let laptop = World::laptop(&trunk.repo);
    let run = || laptop.run().upstream(front.base("acme"));
    let done = run().build();
    assert_eq!(done.verdicts(), "api=built base=adopted log=built");
    let second = run().build();
    assert_eq!(second.built(), NOTHING);
    assert_eq!(second.verdict("api").name(), "reused");
    assert_eq!(methods(&front), ["GET", "HEAD"].map(str::to_owned).into());
}
