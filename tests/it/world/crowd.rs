//! Many processes that build the same projects at once, and a registry of immutable tags.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};

use serde_json::Value;
use waybill::ledger::{BuiltFacts, Standing, names};
use waybill::model::{Digest, Key};
use waybill::registry::manifest::OciManifest;

use super::taints::taint;
use super::{PREFIX, World, name};
use crate::front::{Fault, Front, Rule};
use crate::program::{command, report};
use crate::repo::Repo;

const PROJECTS: usize = 20;

/// How many processes there are; `scripts/soak --crowd` has two hundred.
fn processes() -> usize {
    std::env::var("WAYBILL_CROWD").map_or(12, |text| text.parse().unwrap())
}

/// Twenty projects in four layers, each upon two of the layer below.
fn lay_out() -> Repo {
    let below = |number: usize| match number / 5 {
        0 => Vec::new(),
        layer => [0, 1]
            .map(|next| ((layer - 1) * 5 + (number + next) % 5, true))
            .to_vec(),
    };
    Repo::numbered(&(0..PROJECTS).map(below).collect::<Vec<_>>())
}

/// Lets the processes build everything at once. Returns how many projects each built itself.
fn crowd(world: &World, base: &str, processes: usize) -> Vec<usize> {
    let start = |_| -> Child {
        let mut building = command(&world.repo);
        building.args(["debug", "record-all", "--images", "--distinct"]);
        building.args(["--registry", base, "--upstream", "none"]);
        building.stdout(Stdio::piped()).stderr(Stdio::piped());
        building.spawn().unwrap()
    };
    let started: Vec<Child> = (0..processes).map(start).collect();
    let end = |child: Child| {
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{error}");
        let ended = |end: &str| told.lines().filter(|line| line.ends_with(end)).count();
        assert_eq!(
            ended(" built") + ended(" reused"),
            PROJECTS,
            "{told}{error}"
        );
        ended(" built")
    };
    started.into_iter().map(end).collect()
}

/// The record of each key names the image of its tag, and each image was built on the recorded
/// images of what it uses.
fn check_consistent(world: &World) {
    let keys = keys(world);
    let (client, ledger) = (world.client(), world.ledger());
    let records: BTreeMap<&String, BuiltFacts> = keys
        .iter()
        .map(|(project, key)| {
            let found = world.block_on(ledger.built(*key, &name(project))).unwrap();
            let Standing::Record(facts) = found else {
                panic!("{project}: {found:?}");
            };
            (project, facts)
        })
        .collect();
    for (project, facts) in &records {
        let tag = names::image(keys[*project]);
        let tagged = world.block_on(client.digest_of(project, &tag)).unwrap();
        assert_eq!(tagged, Some(facts.image), "{project}");
        for (used, digest) in &facts.uses {
            assert_eq!(
                records[&used.to_string()].image,
                *digest,
                "{project} uses {used}"
            );
        }
        let expected = facts
            .uses
            .iter()
            .map(|(used, digest)| format!("{used}@{digest}"));
        let expected: Vec<String> = expected.collect();
        assert_eq!(went_in(world, project, &facts.image), expected.join(" "));
    }
}

fn keys(world: &World) -> BTreeMap<String, Key> {
    let plan = world.run().plan().plan;
    let projects = plan.projects.iter();
    projects
        .map(|(project, planned)| (project.to_string(), planned.key.key))
        .collect()
}

/// What the image itself says that went in.
fn went_in(world: &World, project: &str, image: &Digest) -> String {
    let client = world.client();
    world.block_on(async {
        let manifest = client.manifest(project, &image.to_string()).await.unwrap();
        let Some(OciManifest::Image(manifest)) = manifest.unwrap().parse() else {
            panic!("{project} is no image");
        };
        let config = manifest.config.digest.parse().unwrap();
        let config = client
            .blob(project, &config, 1 << 20)
            .await
            .unwrap()
            .unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        config["config"]["Labels"]["uses"]
            .as_str()
            .unwrap()
            .to_owned()
    })
}

#[test]
fn many_processes_at_once_agree() {
    let world = World::of(lay_out());
    let built = crowd(&world, &world.registry.base(), processes());
    report(&format!(
        "{} processes: {} builds recorded as own for {PROJECTS} projects",
        built.len(),
        built.iter().sum::<usize>()
    ));
    // Without a compare-and-swap a record may have been written over after somebody built upon it:
    // one more run sees that by the digests, and builds such users again.
    let again = crowd(&world, &world.registry.base(), 1);
    check_consistent(&world);
    report(&format!("one more run builds {again:?} again"));
    assert_eq!(crowd(&world, &world.registry.base(), 1), [0]);
}

#[test]
fn many_processes_at_once_agree_where_tags_are_immutable() {
    let world = World::of(lay_out());
    let front = Front::start(world.registry.address);
    front.add(Rule::on("PUT", "/manifests/").does(Fault::Immutable));
    let built = crowd(&world, &front.base(PREFIX), processes());
    check_consistent(&world);
    report(&format!(
        "{} processes, immutable tags: {} builds recorded as own for {PROJECTS} projects",
        built.len(),
        built.iter().sum::<usize>()
    ));
    assert_eq!(crowd(&world, &front.base(PREFIX), 1), [0]);
}

/// Build, taint, rebuild, seal, where no tag is ever moved.
#[test]
fn immutable_tags_from_end_to_end() {
    let world = World::shop();
    let front = Front::start(world.registry.address);
    front.add(Rule::on("PUT", "/manifests/").does(Fault::Immutable));
    let build = || world.run().base(front.base(PREFIX)).build();
    let seal = || {
        let base = front.base(PREFIX);
        let mut sealing = command(&world.repo);
        sealing.args(["seal", "--registry", &base, "--upstream", "none"]);
        crate::program::run(&mut sealing)
    };
    assert_eq!(build().built(), ["api", "base", "docs", "log", "web"]);
    assert_eq!(seal().code, 0);
    taint(&world, "base");
    assert_eq!(seal().code, 4);
    assert_eq!(build().built(), ["api", "base", "web"]);
    let forced = world.run().base(front.base(PREFIX)).forcing(&["docs"]);
    assert_eq!(forced.build().built(), ["docs"]);
    let sealed = seal();
    assert_eq!(sealed.code, 0, "{}", sealed.err);
    assert!(sealed.out.contains("-2\n"), "{}", sealed.out);
    assert_eq!(build().built(), Vec::<String>::new());
    // Something failed, twice, and was mended.
    world.repo.write("docs/main", "new words");
    world.repo.commit("Docs");
    for _ in 0..2 {
        let failing = world.run().base(front.base(PREFIX));
        let done = failing.script("docs", super::Act::Fail).build();
        assert_eq!(done.code("docs"), "build-failed");
    }
    assert_eq!(build().built(), ["docs"]);
}
