//! Tasks in one container.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::json;

use super::{Harbor, SLACK, SOON, docker, listed};
use crate::program::{Ran, command, run};

#[test]
fn a_container_is_given_what_the_task_has_and_nothing_else() {
    const SECRET: &str = "correct-horse-battery";
    let script = "echo to-out; echo to-err >&2; echo \"$GREETING from $WAYBILL_TASK, $TZ.\"; \
                  echo \"$TOKEN\" | wc -c; echo $TOKEN; date > $WAYBILL_ARTIFACTS/made; \
                  grep -c ' /waybill/artifacts ' /proc/mounts; cat /mark; echo; \
                  echo image $WAYBILL_IMAGE; echo given";
    let tasks = json!({"unit": {
        "kind": "container",
        "run": script,
        "args": ["one two", "$HOME"],
        "env": {"GREETING": "hello"},
        "secrets": ["TOKEN"],
    }});
    let harbor = Harbor::with("USER 1000\n", &tasks, |_| Vec::new());
    let mut first = harbor.waybill();
    first.args(["run", "unit", "--secret", "id=TOKEN,env=GIVEN"]);
    let ran = run(first.env("GIVEN", SECRET).env("TZ", "Mars"));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let log = harbor.log("unit");
    let lines: Vec<&str> = log
        .lines()
        .map(|line| line.split_once(' ').unwrap().1)
        .collect();
    let length = format!("out {}", SECRET.len() + 1);
    let mark = format!("out {}", harbor.app);
    for line in [
        "out to-out",
        "err to-err",
        "out hello from unit, .",
        &length,
        "out ***",
        "out 1",
        &mark,
        "out given one two $HOME",
    ] {
        assert!(lines.contains(&line), "{line} is not in {log}");
    }
    let image = format!("out image {}/{}@sha256:", harbor.base, harbor.app);
    assert!(log.contains(&image), "{log}");
    assert!(!log.contains(SECRET) && !ran.err.contains(SECRET), "{log}");
    harbor.are_gone_soon();
    let mut again = harbor.waybill();
    again.args(["run", "unit", "--json", "--secret", "id=TOKEN,env=GIVEN"]);
    let again = run(again.env("GIVEN", SECRET)).json();
    assert_eq!(again["tasks"][0]["verdict"], "already-passed", "{again:#}");
}

#[test]
fn the_exit_code_of_the_container_is_the_tasks() {
    let tasks = json!({"unit": {"kind": "container", "run": "echo the last words; exit 7"}});
    let harbor = Harbor::new(&tasks);
    let ran = harbor.run(&["unit"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(
        ran.err.contains("error[task-failed]") && ran.err.contains("failed with exit code 7"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("the last words"), "{}", ran.err);
    harbor.are_gone_soon();
}

#[test]
fn a_file_of_the_repository_and_the_images_own_command_run_there() {
    let file = "#!/bin/sh\necho \"in $0 with $1\"; cat /mark\n";
    let tasks = json!({
        "file": {"kind": "container", "run": "./check.sh", "args": ["more"]},
        "own": {"kind": "container", "args": ["more"]},
    });
    let harbor = Harbor::with("CMD [\"echo\", \"its own\"]\n", &tasks, |_| {
        vec![("check.sh".to_owned(), file.to_owned())]
    });
    let ran = harbor.run(&["file", "own"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let log = harbor.log("file");
    assert!(log.contains("in /waybill/run with more"), "{log}");
    assert!(log.contains(&harbor.app), "{log}");
    assert!(harbor.log("own").contains("out its own more"));
    harbor.are_gone_soon();
}

#[test]
fn a_container_that_takes_too_long_is_gone_when_its_task_ends() {
    let line = "trap '' TERM; sleep 600 & sleep 600";
    let tasks = json!({"slow": {"kind": "container", "run": line, "timeout": "3s"}});
    let harbor = Harbor::new(&tasks);
    // Its image is there then.
    let child = harbor.start("slow");
    harbor.wait_for_containers(1);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(harbor.containers(), Vec::<String>::new());
    let begun = Instant::now();
    let (task, code) = harbor.run_json("slow");
    assert_eq!((task["verdict"].as_str(), code), (Some("timed-out"), 1));
    assert!(begun.elapsed() < 3 * SOON + SLACK, "{:?}", begun.elapsed());
    assert_eq!(harbor.containers(), Vec::<String>::new());
}

#[test]
fn a_container_ends_with_waybill_however_that_ends() {
    for signal in ["-INT", "-KILL"] {
        let line = "trap '' TERM; sleep 600 & sleep 600";
        let tasks = json!({"slow": {"kind": "container", "run": line}});
        let harbor = Harbor::new(&tasks);
        let mut child = harbor.start("slow");
        harbor.wait_for_containers(1);
        let process = child.id().to_string();
        let mut kill = Command::new("kill");
        assert!(kill.args([signal, &process]).status().unwrap().success());
        harbor.are_gone_soon();
        let ended = child.wait().unwrap();
        let expected = (signal == "-INT").then_some(130);
        assert_eq!(ended.code(), expected);
    }
}

#[test]
fn the_containers_of_an_attendant_that_was_killed_are_removed_by_waybill() {
    const SECRET: &str = "correct-horse-staple";
    let line = "trap '' TERM; sleep 600 & sleep 600";
    let tasks = json!({"slow": {"kind": "container", "run": line, "secrets": ["TOKEN"]}});
    let harbor = Harbor::new(&tasks);
    let mut slow = harbor.waybill();
    slow.args(["run", "slow", "--json", "--secret", "id=TOKEN,env=GIVEN"]);
    slow.env("GIVEN", SECRET).stdout(Stdio::piped());
    let child = slow.stderr(Stdio::piped()).spawn().unwrap();
    harbor.wait_for_containers(1);
    let attendants = attendants_of(&harbor.app);
    assert_eq!(attendants.len(), 1);
    let listed = Command::new("ps").args(["-eww", "-o", "args"]).output();
    let listed = String::from_utf8_lossy(&listed.unwrap().stdout).into_owned();
    assert!(listed.contains(" attend") && !listed.contains(SECRET));
    let mut kill = Command::new("kill");
    assert!(
        kill.args(["-KILL", &attendants[0]])
            .status()
            .unwrap()
            .success()
    );
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(harbor.containers(), Vec::<String>::new());
    let task = &ran.json()["tasks"][0];
    assert_eq!(task["error"]["code"], "task-attendant", "{task:#}");
    assert_eq!(ran.code, 3);
}

/// The processes that attend to tasks of a project.
fn attendants_of(app: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let found = processes.filter(|process| {
        let read = |file| fs::read(process.path().join(file)).unwrap_or_default();
        let environment = String::from_utf8_lossy(&read("environ")).into_owned();
        read("cmdline").ends_with(b"\0attend\0") && environment.contains(app)
    });
    found
        .map(|process| process.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn what_keeps_a_container_from_running_is_an_error_and_no_failure() {
    let tasks = json!({
        "unit": {"kind": "container", "run": "true"},
        "lost": {"kind": "container", "image": "127.0.0.1:1/no/such:1", "run": "true"},
        "own": {"kind": "container"},
    });
    let own = "CMD [\"/no/such/program\"]\n";
    let harbor = Harbor::with(own, &tasks, |_| Vec::new());
    let code_of = |task: &str| {
        let (told, code) = harbor.run_json(task);
        assert_eq!(told["verdict"], "error", "{told:#}");
        (told["error"]["code"].as_str().unwrap().to_owned(), code)
    };
    assert_eq!(code_of("lost"), ("image-not-pulled".to_owned(), 3));
    assert_eq!(code_of("own"), ("container-not-started".to_owned(), 2));
    let mut without = harbor.waybill();
    without.args(["run", "--json", "unit"]);
    let ran = run(without.env("DOCKER_HOST", "unix:///no/such/socket"));
    let task = &ran.json()["tasks"][0];
    assert_eq!(task["error"]["code"], "engine-unreachable", "{task:#}");
    assert_eq!(ran.code, 3);
    let log = ["log", &harbor.app, "unit", "--failed"];
    let log = run(harbor.waybill().args(log));
    assert!(log.err.contains("error[no-log]"), "{}", log.err);
    harbor.are_gone_soon();
}

#[test]
fn of_a_registry_that_is_gone_after_the_run_no_name_stays() {
    let tasks = json!({"unit": {"kind": "container", "run": "cat /mark"}});
    let harbor = Harbor::new(&tasks);
    let built = run(command(&harbor.repo).arg("build"));
    assert_eq!(built.code, 0, "{}", built.err);
    let ran = run(command(&harbor.repo).args(["run", "unit"]));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let commit = harbor.repo.git(&["rev-parse", "HEAD"]);
    let kept = format!("waybill/{}:{}", harbor.app, commit.trim());
    let names = docker(&["image", "inspect", "--format", "{{.RepoTags}}", &kept]);
    let format = "{{.Repository}}@{{.Digest}}";
    let mut images = listed(&["image", "ls", "--digests", "--format", format]);
    images.retain(|name| name.contains(&harbor.app) && name.starts_with("127.0.0.1"));
    docker(&["image", "rm", "--force", &kept]);
    assert_eq!(names.trim(), format!("[{kept}]"));
    assert_eq!(images, Vec::<String>::new());
}
