//! What each command makes of each fault: the table of exit codes and error codes, with the real
//! program. None of them ends in a reuse.

use std::process::Command;
use std::thread;

use serde_json::Value;
use waybill::ledger::names;

use super::World;
use super::reuse::built_shop;
use crate::front::{Fault, Front, Rule};
use crate::servers::free_address;

/// A world in which everything is recorded, behind a front.
struct Scene {
    world: World,
    front: Front,
    /// The base that the program is given.
    base: String,
    /// Whether a credential is configured.
    credential: bool,
}

/// What a command must make of a fault.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// It stops, with this exit code and error code.
    Stops(i32, &'static str),
    /// It goes on, and this is built, for this reason.
    Builds(&'static str, &'static str),
    /// Nothing is wrong: everything is reused.
    Reuses,
}
use Expected::{Builds, Reuses, Stops};

/// A fault: how it comes about, and what `plan` and `build` make of it. There is no engine here:
/// a build that has something to build stops for want of one.
type Row = (&'static str, fn(&mut Scene), Expected, Expected);

const TABLE: &[Row] = &[
    ("nothing is wrong", |_| {}, Reuses, Reuses),
    (
        "the registry is unreachable",
        |scene| scene.base = format!("{}/acme", free_address()),
        Stops(3, "registry-unreachable"),
        Stops(3, "registry-unreachable"),
    ),
    (
        "the registry answers with 500",
        |scene| scene.front.add(Rule::on("*", ".").does(Fault::status(500))),
        Stops(3, "registry-refused"),
        Stops(3, "registry-refused"),
    ),
    (
        "the registry is no registry",
        |scene| {
            let page = Fault::answer(404, "text/html", "<html>");
            scene.front.add(Rule::on("*", ".").does(page));
        },
        Stops(3, "registry-refused"),
        Stops(3, "registry-refused"),
    ),
    (
        "answers are damaged on their way",
        |scene| {
            let record = Rule::on("GET", "/waybill-ledger/manifests/v1-built-");
            scene.front.add(record.does(Fault::Corrupt));
        },
        Stops(3, "registry-corrupt"),
        Stops(3, "registry-corrupt"),
    ),
    (
        "a credential is refused with 401",
        |scene| {
            scene.credential = true;
            scene.front.add(Rule::on("*", ".").does(asks_for_basic()));
        },
        Stops(3, "credential-refused"),
        Stops(3, "credential-refused"),
    ),
    (
        "a credential is refused with 403",
        |scene| {
            scene.credential = true;
            let denied = Fault::error(403, "DENIED", "not for you");
            scene.front.add(Rule::on("*", ".").does(denied));
        },
        Stops(3, "credential-refused"),
        Stops(3, "credential-refused"),
    ),
    (
        "a credential is asked for and none is there",
        |scene| scene.front.add(Rule::on("*", ".").does(asks_for_basic())),
        Stops(3, "credential-missing"),
        Stops(3, "credential-missing"),
    ),
    (
        "the marker is missing",
        |scene| {
            scene
                .world
                .registry
                .forget_tag(names::LEDGER, names::MARKER);
        },
        Stops(3, "marker-missing"),
        Stops(3, "marker-missing"),
    ),
    (
        "the marker of the taints is missing",
        |scene| {
            scene
                .world
                .registry
                .forget_tag(names::TAINTS, names::MARKER);
        },
        Stops(3, "marker-missing"),
        Stops(3, "marker-missing"),
    ),
    (
        "the marker is no marker",
        |scene| scene.world.put_garbage(names::LEDGER, names::MARKER),
        Stops(3, "marker-unreadable"),
        Stops(3, "marker-unreadable"),
    ),
    (
        "a record is no record",
        |scene| {
            scene
                .world
                .put_garbage(names::LEDGER, &record_of_docs(scene));
        },
        Builds("docs", "record-unreadable"),
        Stops(3, "engine-unreachable"),
    ),
    (
        "a record is another base's",
        |scene| annotate(scene, "io.waybill.ledger", "another"),
        Builds("docs", "record-unreadable"),
        Stops(3, "engine-unreachable"),
    ),
    (
        "a record is another project's",
        |scene| annotate(scene, "io.waybill.project", "api"),
        Builds("docs", "record-unreadable"),
        Stops(3, "engine-unreachable"),
    ),
    (
        "a record is of a newer version",
        |scene| annotate(scene, "io.waybill.version", "2"),
        Stops(3, "record-newer"),
        Stops(3, "record-newer"),
    ),
    (
        "an object is missing from the clone",
        |scene| {
            let repo = &scene.world.repo;
            let id = repo.git(&["rev-parse", "HEAD^{tree}"]);
            let objects = repo.path().join(".git/objects");
            std::fs::remove_file(objects.join(&id[..2]).join(&id[2..])).unwrap();
        },
        Stops(2, "missing-object"),
        Stops(2, "missing-object"),
    ),
    (
        "a pattern is no regex",
        |scene| {
            let manifest = r#"{"version": 1, "projects": {
              "docs": {"buildDir": "docs", "rebuildPatterns": ["^docs/("]}}}"#;
            scene.world.repo.write("build_manifest.json", manifest);
            scene.world.repo.commit("Bad");
        },
        Stops(2, "bad-pattern"),
        Stops(2, "bad-pattern"),
    ),
    (
        "there is no manifest",
        |scene| {
            scene.world.repo.remove("build_manifest.json");
            scene.world.repo.commit("Gone");
        },
        Stops(2, "no-manifest"),
        Stops(2, "no-manifest"),
    ),
];

fn asks_for_basic() -> Fault {
    Fault::error(401, "UNAUTHORIZED", "who are you?")
        .header("www-authenticate", "Basic realm=\"test\"")
}

fn record_of_docs(scene: &Scene) -> String {
    names::built(scene.world.run().plan().plan.projects["docs"].key.key)
}

fn annotate(scene: &Scene, annotation: &str, value: &str) {
    let tag = record_of_docs(scene);
    scene.world.annotate(names::LEDGER, &tag, annotation, value);
}

impl Scene {
    fn new() -> Self {
        let world = built_shop();
        let front = Front::start(world.registry.address);
        let base = front.base("acme");
        Self {
            world,
            front,
            base,
            credential: false,
        }
    }

    /// The program, with nothing of this machine about it, and no engine.
    fn waybill(&self, arguments: &[&str]) -> (i32, Value) {
        let mut command = program(&self.world);
        command.args(["--json", "--registry", &self.base]);
        if self.credential {
            command.env("WAYBILL_REGISTRY_USERNAME", "ada");
            command.env("WAYBILL_REGISTRY_PASSWORD", "lovelace");
        }
        let output = command.args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains("lovelace"), "{text}");
        let document = serde_json::from_str(&text);
        let document = document.unwrap_or_else(|error| {
            let told = String::from_utf8_lossy(&output.stderr);
            panic!("{error}: {text:?}\n{told}")
        });
        (output.status.code().unwrap(), document)
    }
}

fn program(world: &World) -> Command {
    let mut command = world.repo.command(env!("CARGO_BIN_EXE_waybill"));
    let nowhere = format!("unix://{}/no-engine.sock", world.repo.home().display());
    command.env("DOCKER_HOST", nowhere);
    command
}

fn check(fault: &str, command: &str, expected: Expected, exit: i32, document: &Value) {
    let projects = document["projects"].as_array();
    let words = |field: &str| -> Vec<String> {
        let projects = projects.into_iter().flatten();
        projects
            .map(|project| project[field].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let place = format!("{command} where {fault}: {document:#}");
    match expected {
        Stops(code, error) => {
            assert_eq!(document["schema"], "waybill.error/1", "{place}");
            assert_eq!(document["errors"][0]["code"], error, "{place}");
            assert_eq!(exit, code, "{place}");
            assert_eq!(document["exit"], code, "{place}");
            let has_hint = document["errors"][0]["hint"].is_string();
            assert!(has_hint || code != 3, "{place}");
        }
        Builds(project, reason) => {
            assert_eq!(exit, 0, "{place}");
            let all = projects.unwrap().iter();
            let found = all.clone().find(|found| found["name"] == project).unwrap();
            assert_eq!(found["action"], "build", "{place}");
            assert_eq!(found["reason"]["kind"], reason, "{place}");
        }
        Reuses => {
            assert_eq!(exit, 0, "{place}");
            assert_eq!(
                document["schema"],
                format!("waybill.{command}/1"),
                "{place}"
            );
            let (field, word) = match command {
                "plan" => ("action", "reuse"),
                _ => ("verdict", "reused"),
            };
            assert_eq!(words(field), [word; 5], "{place}");
        }
    }
}

#[test]
fn each_command_ends_as_tabled_at_each_fault() {
    thread::scope(|scope| {
        for (fault, make, plan, build) in TABLE {
            scope.spawn(move || {
                let mut scene = Scene::new();
                make(&mut scene);
                for c in ["why","image","history","log"] {
                    let (exit, document) = scene.waybill(&[c, "docs"]);
                    eprintln!("XX {fault} | {c} | {exit} | {document}");
                }
                for (command, expected) in [("plan", *plan), ("build", *build)] {
                    let (exit, document) = scene.waybill(&[command]);
                    check(fault, command, expected, exit, &document);
                }
            });
        }
    });
}

#[test]
fn a_name_that_is_no_project_is_told_before_any_registry_is_asked() {
    let mut scene = Scene::new();
    scene.base = format!("{}/acme", free_address());
    let commands: [&[&str]; 8] = [
        &["plan", "dosc"],
        &["build", "dosc"],
        &["build", "docs", "dosc", "--force"],
        &["image", "dosc"],
        &["why", "dosc"],
        &["history", "dosc"],
        &["log", "dosc"],
        &["taint", "docs", "dosc", "--why", "x"],
    ];
    for command in commands {
        let (exit, document) = scene.waybill(command);
        let told = &document["errors"][0];
        let place = format!("{command:?}: {document:#}");
        assert_eq!((exit, &told["code"]), (2, &"unknown-project".into()), "{place}");
        assert_eq!(told["hint"], "did you mean 'docs'?", "{place}");
    }
}

#[test]
fn the_history_of_a_project_that_is_gone_is_shown() {
    let scene = Scene::new();
    let manifest = r#"{"version": 1, "projects": {"api": {"buildDir": "services/api"}}}"#;
    scene.world.repo.write("build_manifest.json", manifest);
    scene.world.repo.commit("Without docs");
    let (exit, document) = scene.waybill(&["history", "docs"]);
    assert_eq!(exit, 0, "{document:#}");
    let stands = |line: usize| &document["commits"][line]["stands"];
    assert_eq!((stands(0), stands(1)), (&"no-project".into(), &"built".into()));
    // A slip in the name of one that is gone is told too.
    let (exit, document) = scene.waybill(&["history", "dosc"]);
    assert_eq!(exit, 2);
    assert_eq!(document["errors"][0]["hint"], "did you mean 'docs'?");
}

#[test]
fn a_base_that_stands_alone_is_not_written_with_an_upstream() {
    let (alone, upstream) = (built_shop(), built_shop());
    for command in ["plan", "build"] {
        let output = program(&alone)
            .args(["--json", "--registry", &alone.registry.base()])
            .args(["--upstream", &upstream.registry.base(), command])
            .output()
            .unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["errors"][0]["code"], "base-upstream-mismatch");
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn a_base_with_an_upstream_makes_itself() {
    let upstream = built_shop();
    let own = World::laptop(&upstream.repo);
    own.registry.forget_tag(names::LEDGER, names::MARKER);
    own.registry.forget_tag(names::TAINTS, names::MARKER);
    let output = program(&own)
        .args(["--json", "--registry", &own.registry.base()])
        .args(["--upstream", &upstream.registry.base(), "build"])
        .output()
        .unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{document:#}");
    assert_eq!(document["schema"], "waybill.build/1");
    assert!(own.ledger().marker().upstream);
}

#[test]
fn plan_tells_by_its_exit_code_that_something_would_be_built() {
    let scene = Scene::new();
    assert_eq!(scene.waybill(&["plan", "--exit-code"]).0, 0);
    scene.world.repo.write("docs/main", "edited");
    scene.world.repo.commit("Edit");
    assert_eq!(scene.waybill(&["plan", "--exit-code"]).0, 10);
    assert_eq!(scene.waybill(&["plan"]).0, 0);
}
