//! What must not be trusted is built again, once, without caches, and so is what rests on it.

use waybill::gather::PlanRequest;
use waybill::ledger::{BuiltFacts, BuiltRecord, TaintRecord, names};
use waybill::model::{CommitId, Key, Reason};
use waybill::problem::Class;

use super::builder::{Act, push_image};
use super::reuse::built_shop;
use super::{Done, NOW, World, builds, client, is_reused, name};

const NOTHING: [&str; 0] = [];

/// Taints the key that a project has at HEAD.
pub(super) fn taint(world: &World, project: &str) {
    let planning = world.run().plan();
    let commit = planning.plan.commit;
    let record = TaintRecord {
        reason: Reason::Tainted {
            by: "Eve".to_owned(),
            why: "the mirror was broken into".to_owned(),
            commit,
        },
        commit,
        by: "Eve".to_owned(),
    };
    let key = planning.plan.projects[project].key.key;
    let ledger = world.ledger();
    world
        .block_on(ledger.write_taint(key, &name(project), &record, NOW))
        .unwrap();
}

/// The key of a project at HEAD.
fn key(world: &World, project: &str) -> Key {
    world.run().plan().plan.projects[project].key.key
}

/// The built project was given no cache at all.
fn assert_without_caches(done: &Done, project: &str) {
    let job = done.builder.job(project);
    assert!(!job.use_engine_cache, "{project}");
    assert_eq!(job.cache_from.len(), 0, "{project}");
}

#[test]
fn a_poisoned_base_does_not_outlive_its_commit() {
    let world = built_shop();
    world.repo.write("docker/base/main", "poison");
    world.repo.write("docs/main", "new words");
    world.repo.commit("C1");
    let first = world.run().script("base", Act::Fail).build();
    assert_eq!(
        first.verdicts(),
        "api=blocked base=failed docs=built log=reused web=blocked"
    );
    for user in ["api", "web"] {
        let verdict = first.verdict(user);
        let waybill::event::Verdict::Blocked { by } = verdict else {
            panic!("{verdict:?}")
        };
        assert_eq!(by.as_str(), "base");
    }
    world.repo.write("docs/main", "newer words");
    world.repo.commit("C2, unrelated");
    let second = world.build();
    assert_eq!(second.built(), ["api", "base", "docs", "web"]);
    assert_eq!(world.build().built(), NOTHING);
}

#[test]
fn a_taint_rebuilds_the_project_without_caches_and_its_users() {
    let world = built_shop();
    taint(&world, "base");
    let done = world.build();
    assert_eq!(
        builds(&done.plan),
        "api=inputs-changed base=tainted web=inputs-changed"
    );
    assert_eq!(done.built(), ["api", "base", "web"]);
    assert_without_caches(&done, "base");
    let reason = serde_json::to_value(&done.planned("api").reason).unwrap();
    assert_eq!(reason["fields"], serde_json::json!(["base.taint"]));
    assert_eq!(world.build().built(), NOTHING);
}

#[test]
fn a_taint_of_a_taint_rebuilds_again() {
    let world = built_shop();
    let mut seen = vec![key(&world, "base")];
    for _ in 0..3 {
        taint(&world, "base");
        let done = world.build();
        assert_eq!(done.built(), ["api", "base", "web"]);
        assert!(!seen.contains(&done.key("base")));
        seen.push(done.key("base"));
    }
    assert_eq!(world.build().built(), NOTHING);
}

#[test]
fn a_taint_stands_for_every_commit_with_the_same_inputs() {
    let world = built_shop();
    world.repo.write("docs/main", "new words");
    world.repo.commit("Unrelated");
    taint(&world, "base");
    assert_eq!(
        builds(&world.run().at("HEAD~1").plan().plan),
        "api=inputs-changed base=tainted web=inputs-changed"
    );
}

#[test]
fn an_unreadable_taint_is_a_taint() {
    let world = built_shop();
    let tag = names::taint(key(&world, "base"));
    world.put_garbage(names::TAINTS, &tag);
    let done = world.build();
    assert_eq!(
        builds(&done.plan),
        "api=inputs-changed base=tainted web=inputs-changed"
    );
    assert_without_caches(&done, "base");
    assert_eq!(world.build().built(), NOTHING);
}

#[test]
fn force_rebuilds_at_each_call() {
    let world = built_shop();
    for _ in 0..2 {
        let done = world.run().forcing(&["base"]).build();
        assert_eq!(builds(&done.plan), "base=forced");
        assert_without_caches(&done, "base");
        assert_eq!(world.build().built(), ["api", "web"]);
        assert_eq!(world.build().built(), NOTHING);
    }
}

#[test]
fn a_directive_rebuilds_everything_once_per_commit() {
    let world = built_shop();
    world.repo.commit("Again, please\n\n[ci rebuild]");
    let done = world.build();
    assert_eq!(
        builds(&done.plan),
        "api=forced base=forced docs=forced log=forced web=forced"
    );
    for project in ["api", "base", "docs", "log", "web"] {
        assert_without_caches(&done, project);
    }
    assert_eq!(world.build().built(), NOTHING, "the same commit");
    world.repo.commit("Next");
    assert_eq!(world.build().built(), NOTHING, "the next commit");
    world.repo.commit("[ci rebuild]");
    assert_eq!(world.build().built().len(), 5, "asked for anew");
}

#[test]
fn a_directive_for_one_project_rebuilds_it_and_its_users_once() {
    let world = built_shop();
    world
        .repo
        .commit("[ci rebuild log] and [ci rebuild nobody]");
    let done = world.build();
    assert_eq!(
        builds(&done.plan),
        "api=inputs-changed log=forced web=inputs-changed"
    );
    assert_eq!(done.warnings, ["unknown-directive"]);
    assert_eq!(world.build().built(), NOTHING);
}

#[test]
fn a_directive_that_was_cut_off_is_gone_on_with() {
    let world = built_shop();
    world.repo.commit("[ci rebuild]");
    // All taints are written, one project is built, the rest fails.
    let run = ["api", "docs", "log", "web"].into_iter();
    let run = run.fold(world.run(), |run, name| run.script(name, Act::Fail));
    let first = run.build();
    assert_eq!(
        first.verdicts(),
        "api=blocked base=built docs=failed log=failed web=failed"
    );
    assert_eq!(world.build().built(), ["api", "docs", "log", "web"]);
    assert_eq!(world.build().built(), NOTHING);
}

#[test]
fn a_directive_for_one_named_project_writes_the_taints_of_its_dependencies() {
    let world = built_shop();
    world.repo.commit("[ci rebuild]");
    let web = |request: &mut waybill::gather::PlanRequest| {
        request.projects = Some([name("web")].into());
    };
    let done = world.run().asking(web).build();
    assert_eq!(done.built(), ["base", "web"]);
    let tainted: Vec<&str> = done
        .plan
        .taints
        .iter()
        .map(|taint| taint.project.as_str())
        .collect();
    assert_eq!(tainted.len(), 3, "base, log and web: {tainted:?}");
    assert_eq!(world.build().built(), ["api", "docs", "log"]);
    assert_eq!(world.build().built(), NOTHING);
}

#[test]
fn a_merge_obeys_the_directive_of_what_it_merges() {
    let world = built_shop();
    let repo = &world.repo;
    repo.git(&["switch", "--quiet", "--create", "topic"]);
    repo.commit("[ci rebuild docs]");
    repo.git(&["switch", "--quiet", "main"]);
    repo.commit("Trunk");
    repo.git(&["merge", "--quiet", "--no-ff", "-m", "Merge", "topic"]);
    let done = world.build();
    assert_eq!(builds(&done.plan), "docs=forced");
    assert_eq!(world.build().built(), NOTHING);
    let shallow = world.elsewhere(repo.clone_with(&["--depth", "1"])).build();
    assert_eq!(shallow.warnings, ["merge-parent-missing"]);
    assert_eq!(shallow.built(), NOTHING);
}

#[test]
fn an_image_that_is_gone_is_built_again_when_it_is_used() {
    let world = built_shop();
    world.registry.forget("base", &world.build().image("base"));
    assert_eq!(builds(&world.run().plan().plan), "", "nobody asks for it");
    let verified = world.run().asking(|request| request.verify = true);
    assert_eq!(
        builds(&verified.plan().plan),
        "api=inputs-changed base=image-gone web=inputs-changed"
    );
    world.repo.write("services/api/main", "edited");
    world.repo.commit("Edit");
    let done = world.build();
    assert_eq!(
        builds(&done.plan),
        "api=inputs-changed base=image-gone web=inputs-changed"
    );
    assert_without_caches(&done, "base");
    assert_eq!(world.build().built(), NOTHING);
}

#[test]
fn an_unreadable_record_is_replaced() {
    let world = built_shop();
    let tag = names::built(key(&world, "log"));
    world.put_garbage(names::LEDGER, &tag);
    let done = world.build();
    assert_eq!(
        builds(&done.plan),
        "api=inputs-changed log=record-unreadable web=inputs-changed"
    );
    assert_without_caches(&done, "log");
    assert_eq!(world.build().built(), NOTHING);
}

#[test]
fn a_foreign_record_is_none() {
    let foreign = [
        ("io.waybill.tag", "v1-built-00"),
        ("io.waybill.ledger", "another"),
        ("io.waybill.project", "base"),
        ("io.waybill.kind", "taint"),
        ("io.waybill.key", "00"),
        ("io.waybill.version", "one"),
        ("io.waybill.facts", "{}"),
    ];
    for (annotation, value) in foreign {
        let world = built_shop();
        let tag = names::built(key(&world, "docs"));
        world.annotate(names::LEDGER, &tag, annotation, value);
        let done = world.build();
        assert_eq!(builds(&done.plan), "docs=record-unreadable", "{annotation}");
        assert_eq!(world.build().built(), NOTHING, "{annotation}");
    }
}

#[test]
fn a_record_under_the_name_of_another_is_none() {
    let world = built_shop();
    let (docs, log) = (key(&world, "docs"), key(&world, "log"));
    world.block_on(async {
        let client = world.client();
        let record = client.manifest(names::LEDGER, &names::built(log)).await;
        let record = record.unwrap().unwrap();
        let tag = names::built(docs);
        client
            .put_manifest(names::LEDGER, &tag, &record.media_type, record.bytes)
            .await
            .unwrap();
    });
    assert_eq!(builds(&world.run().plan().plan), "docs=record-unreadable");
}

#[test]
fn a_newer_record_stops_everything() {
    for (repository, tag) in [
        (names::LEDGER, names::built as fn(Key) -> String),
        (names::TAINTS, names::taint),
    ] {
        let world = built_shop();
        let key = key(&world, "docs");
        if repository == names::TAINTS {
            taint(&world, "docs");
        }
        world.annotate(repository, &tag(key), "io.waybill.version", "2");
        let failure = world.run().try_plan().err().unwrap();
        assert_eq!(failure.class, Class::Unreachable);
        assert_eq!(failure.problems[0].code, "record-newer");
    }
}

/// Records another image under a key, as a racing run does.
pub(super) async fn record_another(base: String, project: &str, key: Key, commit: CommitId) {
    let client = client(&base);
    let content = format!("another {project}");
    let tag = names::image(key);
    let pushed = push_image(&client, project, &tag, content.as_bytes(), Some(key));
    let image = pushed.await.unwrap();
    let record = BuiltRecord {
        facts: BuiltFacts {
            image,
            commit,
            uses: std::collections::BTreeMap::new(),
            adopted: false,
        },
        reason: Reason::NeverBuilt {
            searched: 0,
            limit_reached: false,
        },
        inputs: serde_json::Value::Null,
        external: std::collections::BTreeMap::new(),
        durations: std::collections::BTreeMap::new(),
        builder: "another run".to_owned(),
    };
    let ledger = waybill::ledger::Ledger::open(client).await.unwrap();
    ledger
        .write_built(key, &name(project), &record, None, NOW)
        .await
        .unwrap();
}

#[test]
fn a_replaced_dependency_rebuilds_those_that_hold_it() {
    let world = built_shop();
    let planning = world.run().plan();
    let key = planning.plan.projects["base"].key.key;
    world.block_on(record_another(
        world.registry.base(),
        "base",
        key,
        planning.plan.commit,
    ));
    let done = world.build();
    assert_eq!(
        builds(&done.plan),
        "api=dependency-replaced web=dependency-replaced"
    );
    assert_without_caches(&done, "api");
    let reference = &done.builder.job("api").uses["base"];
    assert!(reference.ends_with(&done.image("base").to_string()));
    assert_eq!(world.build().built(), NOTHING);
}

#[test]
fn after_a_race_users_are_built_on_what_the_record_says() {
    let world = World::shop();
    let base = world.registry.base();
    let race = Act::first(move |job| record_another(base.clone(), "base", job.key, job.commit));
    let done = world.run().script("base", race).build();
    assert_eq!(
        done.verdicts(),
        "api=built base=reused docs=built log=built web=built"
    );
    let recorded = done.image("base").to_string();
    for user in ["api", "web"] {
        let uses = done.builder.job(user).uses;
        assert!(uses["base"].ends_with(&recorded), "{user}");
    }
    let tag = names::image(done.key("base"));
    let tagged = world.block_on(world.client().digest_of("base", &tag));
    assert_eq!(
        tagged.unwrap(),
        Some(done.image("base")),
        "the tag is put back"
    );
    assert_eq!(world.build().built(), NOTHING);
}

#[test]
fn a_user_is_built_again_when_what_it_uses_was_replaced_meanwhile() {
    let world = World::shop();
    let (base, planning) = (world.registry.base(), world.run().plan());
    let (key, commit) = (planning.plan.projects["base"].key.key, planning.plan.commit);
    let once = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let race = Act::first(move |_| {
        let (base, once) = (base.clone(), std::sync::Arc::clone(&once));
        async move {
            if once.swap(false, std::sync::atomic::Ordering::SeqCst) {
                record_another(base, "base", key, commit).await;
            }
        }
    });
    let done = world.run().script("web", race).build();
    let jobs = done.builder.jobs();
    let web: Vec<_> = jobs
        .iter()
        .filter(|job| job.project.as_str() == "web")
        .collect();
    assert_eq!(web.len(), 2);
    assert_ne!(web[0].uses, web[1].uses);
    assert!(is_reused(&world.run().plan().plan, "web"));
}

#[test]
fn a_record_that_a_user_rests_on_and_that_is_gone_is_no_ground_to_record() {
    let world = World::shop();
    let key = key(&world, "base");
    let directory = world.registry.directory.clone();
    let lose = Act::first(move |_| {
        let directory = directory.clone();
        async move {
            let tags = directory.join("repositories/acme+waybill-ledger/tags");
            std::fs::remove_file(tags.join(names::built(key))).unwrap();
        }
    });
    // Another run has recorded the base: what this one put itself would be missed by its client.
    let base = |request: &mut PlanRequest| request.projects = Some([name("base")].into());
    world.run().asking(base).build();
    let done = world.run().script("web", lose).build();
    assert_eq!(done.code("web"), "dependency-record-gone");
    let again = world.build();
    assert!(again.built().contains(&"base".to_owned()));
    assert!(again.built().contains(&"web".to_owned()));
    world.build();
    assert_eq!(world.build().built(), NOTHING);
}

#[test]
fn a_tag_that_stands_without_a_record_gives_the_key_up() {
    let world = World::shop();
    let tag = "in-0000".to_owned();
    let first = world.run().script("base", Act::TagStands(tag)).build();
    assert_eq!(
        first.verdicts(),
        "api=blocked base=error docs=built log=built web=blocked"
    );
    assert_eq!(first.code("base"), "record-lost");
    assert!(
        first
            .problem("base")
            .message
            .contains("the tag in-0000 stands")
    );
    let second = world.build();
    assert_eq!(second.planned("base").reason.kind(), "record-lost");
    assert_eq!(second.built(), ["api", "base", "web"]);
    assert_eq!(world.build().built(), NOTHING);
}

#[test]
fn a_missing_tag_of_a_recorded_image_changes_nothing() {
    let world = built_shop();
    let key = key(&world, "docs");
    world.registry.forget_tag("docs", &names::image(key));
    let verified = world.run().asking(|request| request.verify = true);
    assert_eq!(
        builds(&verified.plan().plan),
        "",
        "the record has the digest"
    );
}
