//! `seal`, `status`, `diff`, plans that start from a waybill, and plans carried in a file.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;
use waybill::schema;

use crate::front::{Fault, Front, Rule};
use crate::program::{Ran, waybill};
use crate::repo::Repo;
use crate::world::{World, client, name};

/// Runs waybill in a repository, with a base of no upstream.
fn at(repo: &Repo, base: &str, arguments: &[&str]) -> Ran {
    let base = ["--registry", base, "--upstream", "none"];
    waybill(repo, &[arguments, &base].concat())
}

fn here(world: &World, arguments: &[&str]) -> Ran {
    at(&world.repo, &world.registry.base(), arguments)
}

/// What was printed, with this world's names in it.
fn told(world: &World, text: &str, commits: &[(&str, &str)]) -> String {
    let mut text = text.replace(&world.registry.base(), "BASE");
    for (name, id) in commits {
        text = text.replace(id, name).replace(&id[..10], name);
    }
    let digests = Regex::new("[0-9a-f]{12,64}").unwrap();
    let text = digests.replace_all(&text, "#");
    let times = Regex::new(r"\d{4}-\d\d-\d\dT[0-9:]+Z").unwrap();
    times.replace_all(&text, "TIME").into_owned()
}

/// A document, which its schema must allow.
fn document(world: &World, arguments: &[&str]) -> Value {
    let ran = here(world, &[arguments, &["--json"]].concat());
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let document = ran.json();
    let schema = schema::by_name(arguments[0]).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&document)
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect();
    assert_eq!(errors, Vec::<String>::new(), "{document:#}");
    document
}

#[track_caller]
fn prints(world: &World, arguments: &[&str], commits: &[(&str, &str)], code: i32, out: &str) {
    let ran = here(world, arguments);
    assert_eq!(told(world, &ran.out, commits), out, "{}", ran.err);
    assert_eq!(ran.code, code, "{}", ran.err);
}

#[test]
fn a_commit_is_sealed_once_everything_has_succeeded() {
    let world = World::shop();
    let first = world.repo.head();
    let commits = [("C1", first.as_str())];
    let waybill = "BASE/waybill-ledger:v1-release-C1";
    prints(
        &world,
        &["status", "--exit-code"],
        &commits,
        4,
        "\
missing  api   never built
missing  base  never built
missing  docs  never built
missing  log   never built
missing  web   never built
0 of 5 done at C1
not sealed: 5 projects are in the way
",
    );
    let refused = here(&world, &["seal"]);
    assert_eq!((refused.code, refused.out.as_str()), (4, ""));
    assert_eq!(refused.err.matches("error[project-missing]").count(), 5);
    world.build();
    prints(
        &world,
        &["status", "--exit-code"],
        &commits,
        0,
        "5 of 5 done at C1\nnot sealed: `waybill seal` seals it\n",
    );
    let sealed = format!("sealed C1 with 5 projects: {waybill}\n");
    prints(&world, &["seal"], &commits, 0, &sealed);
    let again = format!("already {sealed}");
    prints(&world, &["seal"], &commits, 0, &again);
    let status = format!("5 of 5 done at C1\nsealed TIME: {waybill}\n");
    prints(&world, &["status"], &commits, 0, &status);
    // A tag that is in no key makes no other waybill.
    prints(&world, &["seal", "--tag", "v1"], &commits, 0, &again);
    let document = document(&world, &["seal"]);
    assert_eq!(document["new"], false);
    assert_eq!(document["projects"].as_array().unwrap().len(), 5);
}

#[test]
fn what_failed_or_is_tainted_keeps_the_gate_closed() {
    let world = World::shop();
    world.run().script("log", crate::world::Act::Fail).build();
    let first = world.repo.head();
    let commits = [("C1", first.as_str())];
    let ran = here(&world, &["status"]);
    let said = told(&world, &ran.out, &commits);
    assert!(said.contains("missing  api  never built"), "{said}");
    assert!(said.contains("failed   log  "), "{said}");
    assert!(said.contains("3 of 5 done at C1"), "{said}");
    let refused = here(&world, &["seal"]);
    refused.stops(4, "project-failed: log");
    world.build();
    assert_eq!(here(&world, &["seal"]).code, 0);
    // A taint after the seal: the waybill still stands, and is no longer what the commit has.
    assert_eq!(here(&world, &["taint", "base", "--why", "mirror"]).code, 0);
    let status = document(&world, &["status"]);
    assert_eq!(
        (&status["sealed"], &status["blocked"]),
        (&false.into(), &3.into())
    );
    let states = |status: &Value| -> Vec<String> {
        let projects = status["projects"].as_array().unwrap().iter();
        projects
            .map(|project| project["state"].as_str().unwrap().to_owned())
            .collect()
    };
    let now = here(&world, &["status"]).out;
    let expected = ", and no longer as it is now: 3 projects are in the way\n";
    assert!(now.ends_with(expected), "{now}");
    assert_eq!(
        states(&status),
        ["missing", "tainted", "done", "done", "missing"]
    );
    let refused = here(&world, &["seal"]);
    refused.stops(4, "project-tainted: base");
    world.build();
    let sealed = document(&world, &["seal"]);
    assert_eq!(
        (&sealed["new"], &sealed["edition"]),
        (&true.into(), &2.into())
    );
    let status = document(&world, &["status"]);
    assert_eq!(status["sealed"], true);
    assert_eq!(status["waybills"].as_array().unwrap().len(), 2);
}

#[test]
fn a_taint_that_no_listing_shows_keeps_the_gate_closed() {
    let world = World::shop();
    world.build();
    assert_eq!(here(&world, &["taint", "docs", "--why", "doubt"]).code, 0);
    let front = Front::start(world.registry.address);
    let empty = r#"{"name": "acme/waybill-taints", "tags": ["v1-ledger"]}"#;
    front.add(
        Rule::on("GET", "/waybill-taints/tags/list").does(Fault::answer(
            200,
            "application/json",
            empty,
        )),
    );
    let refused = at(&world.repo, &front.base("acme"), &["seal"]);
    refused.stops(4, "project-tainted: docs");
}

#[test]
fn an_image_that_is_gone_keeps_the_gate_closed() {
    let world = World::shop();
    let done = world.build();
    world.registry.forget("docs", &done.image("docs"));
    let refused = here(&world, &["seal"]);
    refused.stops(4, "project-missing: docs");
}

#[test]
fn a_base_with_an_upstream_is_never_sealed() {
    let trunk = World::shop();
    let laptop = World::laptop(&trunk.repo);
    laptop.build();
    let refused = waybill(
        &laptop.repo,
        &[
            "seal",
            "--registry",
            &laptop.registry.base(),
            "--upstream",
            "none",
        ],
    );
    refused.stops(4, "base-with-upstream");
    let ledger = laptop
        .block_on(laptop.client().tags("waybill-ledger"))
        .unwrap();
    assert!(
        !ledger.iter().any(|tag| tag.contains("release")),
        "{ledger:?}"
    );
}

#[test]
fn projects_without_anything_to_build_must_be_expected() {
    let world = World::shop();
    world.repo.remove("docs/Dockerfile");
    let head = world.repo.commit("No docs");
    world.build();
    let commits = [("C2", head.as_str())];
    let refused = here(&world, &["seal"]);
    assert_eq!(
        told(&world, &refused.err, &commits),
        "\
error[project-absent]: docs: it has nothing to build at C2
  hint: list it in the manifest's `expect.absent` if that is meant
"
    );
    let manifest = std::fs::read_to_string(world.repo.path().join("build_manifest.json")).unwrap();
    let expected = manifest.replacen('{', "{\"expect\": {\"absent\": [\"docs\"]},", 1);
    world.repo.write("build_manifest.json", expected);
    world.repo.commit("Docs are gone");
    assert_eq!(here(&world, &["seal"]).code, 0);
}

/// Records are asked for only where a key is not the waybill's.
#[test]
fn a_plan_starts_from_the_nearest_waybill() {
    let world = World::shop();
    world.build();
    assert_eq!(here(&world, &["seal"]).code, 0);
    let front = Front::start(world.registry.address);
    let plan = |front: &Front| {
        let ran = at(
            &world.repo,
            &front.base("acme"),
            &["plan", "--all", "--json"],
        );
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.json()
    };
    let kinds = |plan: &Value| -> Vec<String> {
        let projects = plan["projects"].as_array().unwrap().iter();
        projects
            .map(|project| project["reason"]["kind"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(kinds(&plan(&front)), ["recorded"; 5]);
    // Two markers, the taints, the waybill's manifest and its layer.
    assert_eq!(front.log().len(), 5, "{:?}", front.log());
    world.repo.write("docs/main", "new words");
    world.repo.commit("Docs");
    world.repo.write("unrelated", "");
    world.repo.commit("Nothing that is built");
    front.reset();
    let before = front.log().len();
    let planned = plan(&front);
    let changed = [
        "recorded",
        "recorded",
        "inputs-changed",
        "recorded",
        "recorded",
    ];
    assert_eq!(kinds(&planned), changed);
    let asked = front.log().split_off(before);
    let records = asked.iter().filter(|seen| seen.path.contains("v1-built-"));
    assert_eq!(records.count(), 1, "{asked:?}");
    let built = world.build();
    assert_eq!(built.built(), ["docs"]);
    // The reason compares with the sealed commit; layers come from what it shipped.
    assert_eq!(built.builder.job("docs").cache_from.len(), 1);
}

/// A waybill proves nothing about a key that was tainted after it.
#[test]
fn a_taint_outlives_the_waybill() {
    let world = World::shop();
    world.build();
    assert_eq!(here(&world, &["seal"]).code, 0);
    assert_eq!(here(&world, &["taint", "log", "--why", "doubt"]).code, 0);
    assert_eq!(world.build().built(), ["api", "log", "web"]);
}

#[test]
fn an_unreadable_waybill_is_an_error() {
    let world = World::shop();
    world.build();
    let tag = format!("v1-release-{}", world.repo.head());
    world.put_garbage("waybill-ledger", &tag);
    let ran = here(&world, &["plan"]);
    assert_eq!(ran.code, 3, "{}", ran.out);
    assert!(ran.err.contains("cannot be read"), "{}", ran.err);
}

/// A laptop plans from the trunk's waybill, and what it built itself comes first.
#[test]
fn the_upstream_s_waybill_serves_a_base_of_one_s_own() {
    let trunk = World::shop();
    trunk.build();
    assert_eq!(here(&trunk, &["seal"]).code, 0);
    let laptop = World::laptop(&trunk.repo);
    let front = Front::start(trunk.registry.address);
    let plan = laptop.run().upstream(front.base("acme")).plan();
    assert_eq!(plan.plan.builds().count(), 0);
    let asked = front.log();
    let records = asked.iter().filter(|seen| seen.path.contains("v1-built-"));
    assert_eq!(records.count(), 0, "{asked:?}");
    let (registry, upstream) = (laptop.registry.base(), trunk.registry.base());
    let bases = ["--registry", &registry, "--upstream", &upstream];
    let told = waybill(&laptop.repo, &[&["status"], &bases[..]].concat()).out;
    let head = laptop.repo.head();
    let waybill = format!("{upstream}/waybill-ledger:v1-release-{head}\n");
    assert!(told.ends_with(&waybill), "{told}");
}

#[test]
fn two_commits_are_compared() {
    let world = World::shop();
    let first = world.repo.head();
    world.build();
    assert_eq!(here(&world, &["seal"]).code, 0);
    world.repo.write("libs/log/main", "better");
    let second = world.repo.commit("Log better");
    let commits = [("C1", first.as_str()), ("C2", second.as_str())];
    let expected = |after: &str| {
        format!(
            "\
changed  api  sha256:# → {after}
         libs/log/main  C2 Ada: Log better
changed  log  sha256:# → {after}
         libs/log/main  C2 Ada: Log better
changed  web  sha256:# → {after}
         libs/log/main  C2 Ada: Log better
3 changed, 0 added, 0 removed, 2 the same between C1 and C2
"
        )
    };
    let said = |arguments: &[&str]| {
        let ran = here(&world, arguments);
        assert_eq!(ran.code, 0, "{}", ran.err);
        told(&world, &ran.out, &commits)
    };
    assert_eq!(said(&["diff", "HEAD~1", "HEAD"]), expected("not built"));
    world.build();
    assert_eq!(said(&["diff", "HEAD~1"]), expected("sha256:#"));
    let waybill = format!(
        "{}/waybill-ledger:v1-release-{first}",
        world.registry.base()
    );
    assert_eq!(said(&["diff", &waybill]), expected("sha256:#"));
    let document = document(&world, &["diff", "HEAD~1"]);
    assert_eq!(
        document["projects"][0]["reason"]["files"][0]["path"],
        "libs/log/main"
    );
    let none = here(&world, &["diff", &format!("{waybill}-2"), "HEAD"]);
    assert_eq!(none.code, 2, "{}", none.out);
}

#[test]
fn a_carried_plan_asks_only_for_the_named_project() {
    let world = World::shop();
    world.build();
    world.repo.write("docs/main", "new words");
    world.repo.write("libs/log/main", "better");
    world.repo.commit("Second");
    let file = world.repo.home().join("plan.json");
    let file = file.to_str().unwrap();
    assert_eq!(here(&world, &["plan", "-o", file]).code, 0);
    let front = Front::start(world.registry.address);
    // The file names the base as it was given: this front stands in for the same one.
    let text = std::fs::read_to_string(file).unwrap();
    let text = text.replace(&world.registry.base(), &front.base("acme"));
    std::fs::write(file, text).unwrap();
    let dry = |arguments: &[&str]| {
        let arguments = [&["build", "--plan", file, "--dry-run", "--json"], arguments].concat();
        at(&world.repo, &front.base("acme"), &arguments)
    };
    let ran = dry(&["docs"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(
        ran.json()["projects"][0]["reason"]["kind"],
        "inputs-changed"
    );
    let asked = front.log();
    // Two markers, its taint and its record.
    assert_eq!(asked.len(), 4, "{asked:?}");
    // A taint after the plan was made is seen.
    assert_eq!(here(&world, &["taint", "docs", "--why", "doubt"]).code, 0);
    let ran = dry(&["docs"]);
    assert!(
        ran.err.contains("warning[plan-outdated]: docs:"),
        "{}",
        ran.err
    );
    assert_eq!(ran.json()["projects"][0]["reason"]["kind"], "tainted");
    world.repo.write("unrelated", "");
    world.repo.commit("Third");
    dry(&["docs"]).stops(2, "plan-mismatch");
    std::fs::write(file, "{}").unwrap();
    dry(&["docs"]).stops(2, "plan-file");
}

/// One job per project, each with the plan: the images that they use are found where the other
/// jobs recorded them.
#[test]
fn jobs_with_one_plan_build_each_project_once() {
    let world = World::shop();
    let planning = world.run().plan();
    let carried = waybill::plan::CarriedPlan::of(
        &planning.plan,
        planning.keys.values(),
        world.registry.base(),
        None,
        None,
    );
    let carried = std::sync::Arc::new(carried);
    let mut built = Vec::new();
    for project in ["base", "docs", "log", "api", "web"] {
        let job = world.run().asking({
            let carried = carried.clone();
            move |request| {
                request.projects = Some(BTreeSet::from([name(project)]));
                request.carried = Some(carried.clone());
            }
        });
        built.extend(job.build().built());
    }
    assert_eq!(built, ["base", "docs", "log", "api", "web"]);
    assert_eq!(world.build().built(), Vec::<String>::new());
}

/// A taint that the plan itself came to is the same in every job.
#[test]
fn jobs_with_one_plan_agree_on_what_was_forced() {
    let world = World::shop();
    world.build();
    world.repo.commit("Again\n\n[ci rebuild base]");
    let planning = world.run().plan();
    let carried = waybill::plan::CarriedPlan::of(
        &planning.plan,
        planning.keys.values(),
        world.registry.base(),
        None,
        None,
    );
    assert_eq!(carried.taints.len(), 1);
    let carried = std::sync::Arc::new(carried);
    let mut built = Vec::new();
    for project in ["base", "api", "web", "docs"] {
        let job = world.run().asking({
            let carried = carried.clone();
            move |request| {
                request.projects = Some(BTreeSet::from([name(project)]));
                request.carried = Some(carried.clone());
            }
        });
        built.extend(job.build().built());
    }
    assert_eq!(built, ["base", "api", "web"]);
    let taints = world.block_on(client(&world.registry.base()).tags("waybill-taints"));
    assert_eq!(taints.unwrap().len(), 2, "the marker, and one taint");
}
