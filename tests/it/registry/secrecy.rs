//! No credential in anything that is shown, kept or sent on: the whole program against a registry
//! that wants a login, and against fronts that say back what they were shown.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use waybill::registry::Client;

use crate::front::{Fault, Front, Rule};
use crate::program::{command, run};
use crate::servers::{DockerRegistry, Setup};
use crate::world::World;

use super::{client_as, login};

const USER: &str = "ann";
const PASSWORD: &str = "hunter2-the-very-secret";
/// Stands in a taint, so that a search that finds nothing can be told from none.
const CONTROL: &str = "the-control-of-the-search";

/// The password, and the forms in which it is sent or kept.
fn forms() -> [String; 3] {
    let pair = format!("{USER}:{PASSWORD}");
    let encoded = STANDARD.encode(&pair);
    [
        PASSWORD.to_owned(),
        encoded.trim_end_matches('=').to_owned(),
        pair,
    ]
}

#[track_caller]
fn check(text: &str, what: &str) {
    for form in forms() {
        assert!(!text.contains(&form), "{what}: {text}");
    }
}

/// The files below a directory that hold one of these texts, found by a program of its own.
fn files_with(directory: &Path, texts: &[String]) -> Vec<String> {
    let mut grep = Command::new("grep");
    grep.args(["-rlaF", "--exclude=htpasswd"]);
    for text in texts {
        grep.args(["-e", text]);
    }
    let found = grep.arg(directory).output().unwrap();
    assert!(found.status.code() < Some(2), "{found:?}");
    let found = String::from_utf8(found.stdout).unwrap();
    found.lines().map(str::to_owned).collect()
}

/// How a run of the program gets its credential.
#[derive(Clone, Copy, Debug)]
enum Given {
    ByVariables,
    ByDockersConfiguration,
}

fn program(world: &World, base: &str, given: Given) -> Command {
    let host = base.split('/').next().unwrap();
    let mut command = command(&world.repo);
    let nowhere = format!("unix://{}/no-engine.sock", world.repo.home().display());
    command
        .args(["--registry", base])
        .env("DOCKER_HOST", nowhere);
    match given {
        Given::ByVariables => {
            command.env("WAYBILL_REGISTRY_USERNAME", USER);
            command.env("WAYBILL_REGISTRY_PASSWORD", PASSWORD);
        }
        Given::ByDockersConfiguration => {
            let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
            let config = serde_json::json!({"auths": {host: {"auth": auth}}});
            let directory = world.repo.home().join(".docker");
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
        }
    }
    command
}

const COMMANDS: &[&[&str]] = &[
    &["registry", "init"],
    &["plan"],
    &["plan", "-vv"],
    &["build", "--progress", "plain", "-vv"],
    &["build", "--progress", "json", "docs"],
    &["why", "api"],
    &["why", "api", "--inputs"],
    &["history", "api"],
    &["log", "api"],
    &["image", "api"],
    &["taint", "docs", "--why", CONTROL],
    &["plan", "--verify"],
    &["build"],
];

/// Runs every command; returns their exit codes.
fn run_all(world: &World, base: &str, given: Given) -> Vec<i32> {
    let mut codes = Vec::new();
    for arguments in COMMANDS {
        for json in [false, true] {
            let mut command = program(world, base, given);
            command.args(*arguments);
            if json && !arguments.contains(&"json") {
                command.arg("--json");
            }
            let ran = run(&mut command);
            check(
                &format!("{}\n{}", ran.out, ran.err),
                &format!("{arguments:?}"),
            );
            codes.push(ran.code);
        }
    }
    codes
}

fn known(base: &str) -> Client {
    client_as(base, login(USER, PASSWORD))
}

#[test]
fn no_credential_is_shown_or_kept_by_any_command() {
    let data = tempfile::tempdir().unwrap();
    let registry = DockerRegistry::start_with(&Setup {
        login: Some((USER, PASSWORD)),
        data: Some(data.path()),
        ..Setup::default()
    });
    let world = World::shop();
    let base = registry.base("acme");
    let mut init = program(&world, &base, Given::ByVariables);
    assert_eq!(run(init.args(["registry", "init"])).code, 0);
    // The control: without the credential nothing goes.
    let mut without = program(&world, &base, Given::ByVariables);
    without
        .env_remove("WAYBILL_REGISTRY_PASSWORD")
        .args(["--json", "plan"]);
    let without = run(&mut without).json();
    assert_eq!(without["errors"][0]["code"], "credential-missing");

    let built = world.run().base(base.clone()).through(known).build();
    check(&format!("{:?}{:?}", built.report, built.events), "a build");
    assert_eq!(built.built().len(), 5);
    for given in [Given::ByVariables, Given::ByDockersConfiguration] {
        let codes = run_all(&world, &base, given);
        assert!(
            codes.iter().filter(|code| **code == 0).count() >= 20,
            "{given:?}: {codes:?}"
        );
    }
    assert_eq!(files_with(data.path(), &forms()), [""; 0]);
    assert_eq!(
        files_with(&world.repo.path().join(".git"), &forms()),
        [""; 0]
    );
    assert!(!files_with(data.path(), &[CONTROL.to_owned()]).is_empty());
    let own = world.repo.home().join(".docker");
    assert_eq!(
        files_with(&own, &forms()).len(),
        1,
        "the search finds what is there"
    );
}

#[test]
fn what_a_registry_says_back_is_not_shown() {
    let world = World::shop();
    let front = Front::start(world.registry.address);
    let base = front.base("acme");
    let [password, encoded, pair] = forms();
    let words = format!("you said {password}, {encoded}= and {pair}; marked");
    let mut shown = 0;
    for status in [400, 401, 403, 404, 429, 500] {
        // Those are tried again and again, which takes its time.
        let passes = matches!(status, 429 | 500);
        let paths = ["/manifests/", "/tags/", "/v2/$"];
        for path in &paths[..if passes { 1 } else { 3 }] {
            front.reset();
            front.add(Rule::on("*", path).does(Fault::error(status, "DENIED", &words)));
            for given in [Given::ByVariables, Given::ByDockersConfiguration] {
                let mut command = program(&world, &base, given);
                let ran = run(command.args(["plan", "-vv"]));
                let text = format!("{}{}", ran.out, ran.err);
                check(&text, &format!("{status} {path} {given:?}"));
                let is_shown = text.contains("you said [secret]") && text.contains("marked");
                shown += usize::from(is_shown);
            }
        }
    }
    // The words do come through, but for the secret.
    assert!(shown >= 8, "{shown}");
}
