//! No credential in anything that is shown, kept or sent on: the whole program against a registry
//! that wants a login, and against fronts that say back what they were shown.

use std::path::Path;
use std::process::Command;
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use waybill::registry::Client;

use crate::front::{Fault, Front, Rule};
use crate::program::{command, run};
use crate::repo::Repo;
use crate::search::search;
use crate::servers::{DockerRegistry, Setup};
use crate::world::{Act, World};

use super::{client_as, login};

const USER: &str = "ann";
const PASSWORD: &str = "hunter2-the-very-secret";
/// Stands in a taint, so that a search that finds nothing can be told from none.
const CONTROL: &str = "the-control-of-the-search";
/// Stands in a log, which is kept compressed.
const CONTROL_OF_LOGS: &str = "the-control-of-the-search-in-logs";

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

/// How a run of the program gets its credential.
#[derive(Clone, Copy, Debug)]
enum Given {
    ByVariables,
    ByDockersConfiguration,
}

fn program(repo: &Repo, base: &str, given: Given) -> Command {
    let host = base.split('/').next().unwrap();
    let mut command = command(repo);
    let nowhere = format!("unix://{}/no-engine.sock", repo.home().display());
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
            let directory = repo.home().join(".docker");
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
    &["log", "docs", "--failed"],
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
            let mut command = program(&world.repo, base, given);
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
    let mut init = program(&world.repo, &base, Given::ByVariables);
    assert_eq!(run(init.args(["registry", "init"])).code, 0);
    // The control: without the credential nothing goes.
    let mut without = program(&world.repo, &base, Given::ByVariables);
    without
        .env_remove("WAYBILL_REGISTRY_PASSWORD")
        .args(["--json", "plan"]);
    run(&mut without).stops(3, "credential-missing");

    let says = Act::Say(vec![CONTROL_OF_LOGS.into()]);
    let build = || world.run().base(base.clone()).through(known);
    for (build, count) in [(build().script("docs", says), 5), (build(), 1)] {
        let built = build.build();
        check(&format!("{:?}{:?}", built.report, built.events), "a build");
        assert_eq!(built.built().len(), count);
    }
    for given in [Given::ByVariables, Given::ByDockersConfiguration] {
        let codes = run_all(&world, &base, given);
        assert!(
            codes.iter().filter(|code| **code == 0).count() >= 20,
            "{given:?}: {codes:?}"
        );
    }
    let (data, git) = (data.path(), world.repo.path().join(".git"));
    for kept in [data, &git] {
        let found = search(kept, &forms());
        assert!(found.is_nothing(), "{found:?}");
    }
    // The search finds what is there: as it is, in logs, in git's objects.
    let control = |kept: &Path, text: &str| search(kept, &[text.to_owned()]);
    assert!(!control(data, CONTROL).plain.is_empty());
    assert_eq!(control(data, CONTROL_OF_LOGS).packed.len(), 1);
    assert!(!control(&git, "COPY --from=log").packed.is_empty());
    let own = world.repo.home().join(".docker");
    assert_eq!(search(&own, &forms()).plain.len(), 1);
}

#[test]
fn what_a_registry_says_back_is_not_shown() {
    let world = World::shop();
    let (registry, repo) = (world.registry.address, &world.repo);
    let [password, encoded, pair] = forms();
    let words = &format!("you said {password}, {encoded}= and {pair}; marked");
    // All at once: what is tried again and again takes its time only once.
    thread::scope(|scope| {
        for given in [Given::ByVariables, Given::ByDockersConfiguration] {
            for status in [400, 401, 403, 404, 429, 500] {
                for path in ["/manifests/", "/tags/", "^/token"] {
                    let clone = repo.clone_with(&[]);
                    let row = format!("{status} {path} {given:?}");
                    scope.spawn(move || {
                        let front = Front::start(registry);
                        says_back(&front, path, Fault::error(status, "DENIED", words));
                        let mut command = program(&clone, &front.base("acme"), given);
                        let ran = run(command.args(["plan", "-vv"]));
                        let text = format!("{}{}", ran.out, ran.err);
                        check(&text, &row);
                        // The words do come through, but for the secret.
                        let said = "you said [secret], [secret]= and ann:[secret]; marked";
                        assert!(text.contains(said), "{row}: {text}");
                    });
                }
            }
        }
    });
}

/// Has a front answer so to what it is asked there; what is below `/token` is its token server.
fn says_back(front: &Front, path: &str, answer: Fault) {
    let realm = format!("Bearer realm=\"http://{}/token\"", front.address);
    let asks = Fault::status(401).header("www-authenticate", &realm);
    if path == "^/token" {
        front.add(Rule::on("GET", "^/v2/$").does(asks));
    }
    front.add(Rule::on("*", path).does(answer));
}
