//! What each command makes of each fault: the table of exit codes and error codes, with the real
//! program. None of them ends in a reuse.

mod table;

use std::process::Command;
use std::thread;

use regex::Regex;
use serde_json::Value;
use waybill::ledger::names;

use super::World;
use super::reuse::built_shop;
use crate::front::Front;
use crate::servers::Refusing;
use Expected::{Reuses, Stops};
use table::{COMMANDS, Expected, TABLE};

/// A world in which everything is recorded, behind a front.
struct Scene {
    world: World,
    front: Front,
    /// The base that the program is given.
    base: String,
    /// Whether a credential is configured.
    credential: bool,
    refusing: Refusing,
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
            refusing: Refusing::new(),
        }
    }

    /// The program, with nothing of this machine about it, and no engine.
    fn waybill(&self, arguments: &[&str]) -> (i32, Value) {
        end(self.command(arguments))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(&self.world);
        command.args(["--json", "--registry", &self.base]);
        if self.credential {
            command.env("WAYBILL_REGISTRY_USERNAME", "ada");
            command.env("WAYBILL_REGISTRY_PASSWORD", "lovelace");
        }
        command.args(arguments);
        command
    }
}

/// The exit code of a run, and its document.
fn end(mut command: Command) -> (i32, Value) {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("lovelace"), "{text}");
    let document = serde_json::from_str(&text);
    let document = document.unwrap_or_else(|error| {
        let told = String::from_utf8_lossy(&output.stderr);
        panic!("{error}: {text:?}\n{told}")
    });
    (output.status.code().unwrap(), document)
}

fn program(world: &World) -> Command {
    let mut command = world.repo.command(env!("CARGO_BIN_EXE_waybill"));
    let nowhere = format!("unix://{}/no-engine.sock", world.repo.home().display());
    command.env("DOCKER_HOST", nowhere);
    command
}

/// Holds a command's end against what is expected of it.
fn check(fault: &str, command: &str, expected: Expected, exit: i32, document: &Value) {
    let place = format!("{command} where {fault}: {document:#}");
    if let Stops(code, error, message) = expected {
        assert_eq!(document["schema"], "waybill.error/1", "{place}");
        assert_eq!(document["errors"].as_array().unwrap().len(), 1, "{place}");
        assert_eq!(document["errors"][0]["code"], error, "{place}");
        assert_eq!(normal(&document["errors"][0]), message, "{place}");
        assert_eq!(exit, code, "{place}");
        assert_eq!(document["exit"], code, "{place}");
        let has_hint = document["errors"][0]["hint"].is_string();
        assert!(has_hint || code != 3, "{place}");
        return;
    }
    assert_eq!(exit, 0, "{place}");
    let schema = format!("waybill.{command}/1");
    assert_eq!(document["schema"], schema, "{place}");
    let told = told(command, document);
    let all = |word: &str| -> Vec<String> { vec![word.to_owned(); told.len()] };
    match (expected, command) {
        (Reuses, "plan") => assert_eq!(told, all("reuse recorded"), "{place}"),
        (Reuses, "build") => assert_eq!(told, all("reused"), "{place}"),
        (Reuses, "why") => assert_eq!(told, ["reuse recorded"], "{place}"),
        (Reuses, "history") => assert_eq!(told, ["built"], "{place}"),
        (Reuses, _) => assert_eq!(told, ["docs"], "{place}"),
        (_, "plan") => {
            let built = told.iter().filter(|told| told.starts_with("build"));
            let built: Vec<&String> = built.collect();
            assert_eq!(built, ["build record-unreadable"], "{place}");
        }
        (_, "why") => assert_eq!(told, ["build record-unreadable"], "{place}"),
        (_, _) => assert_eq!(told, ["record-unreadable"], "{place}"),
    }
    if matches!(command, "plan" | "build") {
        assert_eq!(told.len(), 5, "{place}");
    }
}

/// An error's message, after the project that it concerns. In place of what differs from run to
/// run stands what it is: the registry's `{api}`, `{base}`, `{registry}`, `{engine}`, `{hash}`, and
/// `{marker}` for either of the two markers, which are asked for at once.
fn normal(error: &Value) -> String {
    let project = error["project"].as_str();
    let project = project.map_or(String::new(), |project| format!("{project}: "));
    let mut message = project + error["message"].as_str().unwrap();
    for (pattern, what) in [
        (r"http://127\.0\.0\.1:\d+/v2/acme", "{api}"),
        (r"127\.0\.0\.1:\d+/acme", "{base}"),
        (r"127\.0\.0\.1:\d+", "{registry}"),
        (r"unix://\S+/no-engine.sock", "{engine}"),
        (r"waybill-(ledger|taints)/manifests/v1-ledger", "{marker}"),
        (r"\b([0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{10})\b", "{hash}"),
    ] {
        let pattern = Regex::new(pattern).unwrap();
        message = pattern.replace_all(&message, what).into_owned();
    }
    message
}

/// What a command's document says, in a word or two for each project or commit.
fn told(command: &str, document: &Value) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let planned = |value: &Value| {
        let (action, kind) = (&value["action"], &value["reason"]["kind"]);
        format!("{} {}", word(action), word(kind))
    };
    let each = |list: &Value, word: &dyn Fn(&Value) -> String| {
        let list = list.as_array().unwrap().iter();
        list.map(word).collect()
    };
    match command {
        "plan" => each(&document["projects"], &planned),
        "build" => each(&document["projects"], &|value| word(&value["verdict"])),
        "why" => vec![planned(document)],
        "image" => each(&document["projects"], &|value| word(&value["name"])),
        "history" => each(&document["commits"], &|value| word(&value["stands"])),
        _ => vec![word(&document["project"])],
    }
}

#[test]
fn each_command_ends_as_tabled_at_each_fault() {
    thread::scope(|scope| {
        for (fault, make, ends) in TABLE {
            scope.spawn(move || {
                let mut scene = Scene::new();
                make(&mut scene);
                // None of them writes. All at once: what is tried again takes its time only once.
                let runs = COMMANDS.map(|command| scene.command(command));
                thread::scope(|commands| {
                    for ((run, command), expected) in runs.into_iter().zip(COMMANDS).zip(*ends) {
                        commands.spawn(move || {
                            let (exit, document) = end(run);
                            check(fault, command[0], expected, exit, &document);
                        });
                    }
                });
            });
        }
    });
}

#[test]
fn a_name_that_is_no_project_is_told_before_any_registry_is_asked() {
    let mut scene = Scene::new();
    scene.base = format!("{}/acme", scene.refusing.address);
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
        assert_eq!(
            (exit, &told["code"]),
            (2, &"unknown-project".into()),
            "{place}"
        );
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
    assert_eq!(
        (stands(0), stands(1)),
        (&"no-project".into(), &"built".into())
    );
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
