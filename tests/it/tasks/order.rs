//! Which tasks run, in which order, how many at once, and what each is told.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use serde_json::{Value, json};

use super::{Yard, edit};
use crate::program::report;

#[test]
fn what_is_needed_is_run_before_and_what_failed_blocks() {
    let yard = Yard::new(&json!({
        "base": {"buildDir": "base", "tasks": {"unit": {"run": "exit 7"}}},
        // Has no such task: its dependencies' count.
        "mid": {"buildDir": "mid", "dependencies": ["base"]},
        "api": {"buildDir": "api", "dependencies": ["mid"], "tasks": {
            "lint": {"run": "true"},
            "unit": {"run": "true", "needs": ["lint", "^unit"]},
            "e2e": {"run": "true", "needs": ["unit"]}
        }},
        "web": {"buildDir": "web", "tasks": {"e2e": {"run": "true"}}}
    }));
    let expected =
        "api:lint=passed base:unit=failed web:e2e=passed api:unit=blocked api:e2e=blocked";
    assert_eq!(yard.verdicts(&["e2e", "--keep-going"]), expected);
    let ran = yard.waybill(&["run", "e2e", "--keep-going"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(
        ran.err.contains("api:unit: blocked by base:unit"),
        "{}",
        ran.err
    );
    assert!(
        ran.err
            .contains("base: task 'unit': it failed with exit code 7"),
        "{}",
        ran.err
    );
    // What is needed by nothing that runs is left alone.
    assert_eq!(yard.verdicts(&["lint"]), "api:lint=already-passed");
    assert_eq!(
        yard.verdicts(&["e2e", "-p", "web"]),
        "web:e2e=already-passed"
    );
    // Without --keep-going nothing is begun after a failure.
    edit(&yard.repo, "base/file", "2");
    let ran = yard.waybill(&["run", "unit", "--jobs", "1"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("api:unit: skipped"), "{}", ran.err);
}

#[test]
fn tasks_are_found_by_name_sequence_convention_and_dependency() {
    let yard = Yard::with(&json!({
        "version": 1,
        "sequences": {"ci": ["lint", "unit"]},
        "tasks": {"lint": {"run": "true"}},
        "projects": {
            "lib": {"buildDir": "lib", "tasks": {"lint": "lint"}},
            "api": {"buildDir": "api", "dependencies": ["lib"], "tasks": {"lint": "lint"}}
        }
    }));
    let script = "#!/bin/sh\nfor word in \"$@\"; do echo \"<$word>\"; done\n";
    yard.repo.write_executable("lib/waybill/unit", script);
    yard.repo
        .write("lib/waybill/notes", "not executable: no task");
    yard.repo.commit("A test by convention");
    assert_eq!(
        yard.verdicts(&["ci"]),
        "api:lint=passed lib:lint=passed lib:unit=passed"
    );
    assert_eq!(
        yard.verdicts(&["lint", "-p", "api"]),
        "api:lint=already-passed"
    );
    let with_dependencies = yard.verdicts(&["lint", "-p", "api", "--deps"]);
    assert_eq!(
        with_dependencies,
        "api:lint=already-passed lib:lint=already-passed"
    );
    let ran = yard.waybill(&["run", "unit", "--", "two words", "", "$HOME"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    for line in ["<two words>", "<>", "<$HOME>"] {
        assert!(
            ran.err.contains(&format!("lib:unit | {line}\n")),
            "{}",
            ran.err
        );
    }
    for (arguments, told) in [
        (&["notes"][..], "unknown-task"),
        (&["Unit"], "invalid-task-name"),
        (&["unit", "-p", "api"], "unknown-task"),
        (&["lint", "-p", "apy"], "unknown-project"),
        (
            &["unit", "--fail-on-undefined"],
            "error[undefined-task]: api: ",
        ),
        (&["unit", "--commit", "nowhere"], "unknown-revision"),
    ] {
        let ran = yard.waybill(&[&["run"], arguments].concat());
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(told), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn what_is_wrong_with_a_task_is_told_and_nothing_is_run() {
    let yard = Yard::new(&json!({"api": {"buildDir": "api", "tasks": {
        "missing": {"run": "./nothing.sh"},
        "plain": {"run": "./file"},
        "one": {"run": "true", "needs": ["other"]},
        "after": {"run": "true", "needs": ["missing"]},
        "good": {"run": "true"}
    }}}));
    for (task, told) in [
        (
            "missing",
            "error[task-file-missing]: api: task 'missing': there is no file api/nothing.sh",
        ),
        (
            "plain",
            "error[task-not-executable]: api: task 'plain': api/file is not executable",
        ),
        (
            "one",
            "error[unknown-task]: api: task 'one' needs 'other', and there is none",
        ),
        (
            "after",
            "error[task-of-faulty-task]: api: task 'after': 'api:missing', which it needs",
        ),
    ] {
        let ran = yard.waybill(&["run", task, "good"]);
        assert_eq!(ran.code, 2, "{task}: {}", ran.err);
        assert!(ran.err.contains(told), "{task}: {}", ran.err);
        assert!(
            ran.err.contains("build_manifest.json:1:") && !ran.err.contains("passed"),
            "{}",
            ran.err
        );
    }
    assert_eq!(yard.verdicts(&["good"]), "api:good=passed");
    let cycle = json!({"version": 1, "projects": {"api": {"buildDir": "api", "tasks": {
        "a": {"run": "true", "needs": ["b"]},
        "b": {"run": "true", "needs": ["a"]}
    }}}});
    edit(&yard.repo, "build_manifest.json", &cycle.to_string());
    let ran = yard.waybill(&["run", "a"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(
        ran.err
            .contains("tasks need each other: api:a → api:b → api:a"),
        "{}",
        ran.err
    );
}

#[test]
fn the_environment_is_what_is_documented() {
    let yard = Yard::new(&json!({"api": {"buildDir": "api", "tasks": {
        "show": {"run": "env; pwd", "env": {"OWN": "1"}, "secrets": ["TOKEN"]}
    }}}));
    let mut command = yard.command_in(&yard.repo);
    command.args(["run", "show", "--secret", "id=TOKEN,env=GIVEN"]);
    command.env("GIVEN", "hunter-twenty-two");
    command
        .env("AWS_SECRET_ACCESS_KEY", "of waybill")
        .env("LANG", "C");
    command
        .env("WAYBILL_REGISTRY_USERNAME", "")
        .env("DOCKER_CONFIG", "/nowhere");
    let ran = crate::program::run(&mut command);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines = ran
        .err
        .lines()
        .filter_map(|line| line.strip_prefix("api:show | "));
    let lines: Vec<&str> = lines.collect();
    let variables: BTreeMap<&str, &str> = lines
        .iter()
        .filter_map(|line| line.split_once('='))
        .collect();
    let own = waybill::run::INHERITED;
    let given = [
        "OWN",
        "TOKEN",
        "WAYBILL_ARTIFACTS",
        "WAYBILL_COMMIT",
        "WAYBILL_KEY",
        "WAYBILL_PROJECT",
        "WAYBILL_TASK",
    ];
    // The shell's own.
    let shell = ["PWD", "OLDPWD", "SHLVL", "_"];
    for name in variables.keys() {
        let known = own.contains(name) || given.contains(name) || shell.contains(name);
        assert!(known, "{name} in {variables:?}");
    }
    assert!(
        given.iter().all(|name| variables.contains_key(name)),
        "{variables:?}"
    );
    assert_eq!((variables["TOKEN"], variables["LANG"]), ("***", "C"));
    assert_eq!(variables["WAYBILL_COMMIT"], yard.repo.head());
    assert_eq!(variables["WAYBILL_PROJECT"], "api");
    let directory = yard.repo.path().join("api").canonicalize().unwrap();
    assert!(lines.contains(&directory.to_str().unwrap()), "{lines:?}");
}

#[test]
fn no_secret_is_shown_or_kept_and_the_same_search_finds_it_unmasked() {
    let secret = "s3cr3t-of-the-task";
    let show =
        "printf %.7s $TOKEN; sleep 0.1; printf %s ${TOKEN#???????}; echo; echo $TOKEN >&2; false";
    let yard = Yard::new(&json!({"api": {"buildDir": "api", "tasks": {
        "masked": {"run": show, "secrets": ["TOKEN"]},
        "open": {"run": format!("TOKEN={secret}; {show}")}
    }}}));
    let everything = |task: &str| {
        let mut shown = String::new();
        for progress in ["plain", "json", "tty"] {
            let mut command = yard.command_in(&yard.repo);
            command.args(["run", task, "--progress", progress, "--json"]);
            if task == "masked" {
                command
                    .args(["--secret", "id=TOKEN,env=GIVEN"])
                    .env("GIVEN", secret);
            }
            let ran = crate::program::run(&mut command);
            assert_eq!(ran.code, 1, "{}", ran.err);
            shown += &(ran.out + &ran.err);
        }
        let log = yard.waybill(&["log", "api", task, "--failed", "--times"]);
        assert_eq!(log.code, 0, "{}", log.err);
        (shown, log.out)
    };
    let (shown, kept) = everything("masked");
    assert!(
        !shown.contains(secret) && !kept.contains(secret),
        "{shown}{kept}"
    );
    assert!(
        shown.contains("***") && kept.contains(" out ***") && kept.contains(" err ***"),
        "{kept}"
    );
    let (shown, kept) = everything("open");
    assert!(
        shown.contains(secret) && kept.contains(secret),
        "the search finds nothing"
    );
}

/// A hundred tasks of a second over a layered graph of forty projects.
#[test]
fn a_hundred_tasks_keep_their_order_their_number_and_their_time() {
    const SLEEP: f64 = 1.0;
    const JOBS: usize = 10;
    let mut projects = serde_json::Map::new();
    for number in 0..40_usize {
        let (layer, place) = (number / 10, number % 10);
        let below = |shift: usize| format!("p{}", (layer - 1) * 10 + (place + shift) % 10);
        let dependencies: Vec<String> = if layer == 0 {
            Vec::new()
        } else {
            vec![below(0), below(3)]
        };
        let run = format!(
            "echo begin; sleep {SLEEP}; for i in 1 2 3; do echo \"$WAYBILL_TASK $i\"; done"
        );
        let mut tasks = json!({"one": {"run": run, "needs": ["^one"]}});
        for name in ["two", "three"]
            .iter()
            .take(if number < 20 { 2 } else { 1 })
        {
            tasks[*name] = json!({"run": run});
        }
        let fields =
            json!({"buildDir": format!("p{number}"), "dependencies": dependencies, "tasks": tasks});
        projects.insert(format!("p{number}"), fields);
    }
    let yard = Yard::new(&Value::Object(projects));
    let jobs = JOBS.to_string();
    let started = Instant::now();
    let ran = yard.waybill(&["run", "one", "two", "three", "--jobs", &jobs]);
    let took = started.elapsed().as_secs_f64();
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("100 passed"), "{}", ran.err);
    // Everything that a task said stands in one piece, in its order.
    let task = |line: &str| line.split_once(" | ").map(|(task, _)| task.to_owned());
    let spoken: Vec<String> = ran.err.lines().filter_map(task).collect();
    let mut groups = spoken.clone();
    groups.dedup();
    assert_eq!((spoken.len(), groups.len()), (400, 100));
    // What is needed has ended before.
    let at = |line: &str| ran.err.lines().position(|other| other.starts_with(line));
    for number in 10..40 {
        let (layer, place) = (number / 10, number % 10);
        for shift in [0, 3] {
            let below = (layer - 1) * 10 + (place + shift) % 10;
            let (ended, began) = (
                at(&format!("p{below}:one: passed")),
                at(&format!("p{number}:one: running")),
            );
            assert!(ended < began, "p{below} {ended:?}, p{number} {began:?}");
        }
    }
    let ideal = (100.0 * SLEEP / f64::from(u32::try_from(JOBS).unwrap())).max(4.0 * SLEEP);
    let mut line = String::new();
    write!(line, "{took:.1} s for an ideal of {ideal:.1} s").unwrap();
    report(&line);
    // One after the other they take a hundred seconds; how near the ideal it comes is a matter of
    // the machine, which runs other tests beside.
    assert!(took < 60.0 * SLEEP, "{line}");
}
