//! Tasks that fail, hang or are stopped: what is left of them, and what is recorded.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Yard;

/// Processes whose command line holds this word.
fn running(word: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.ok()?.path();
        fs::read(path.join("cmdline")).ok()
    });
    let holds = |line: &Vec<u8>| String::from_utf8_lossy(line).contains(word);
    processes.filter(holds).count()
}

fn wait_for(what: &str, done: impl Fn() -> bool) -> Duration {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}");
        sleep(Duration::from_millis(20));
    }
    started.elapsed()
}

/// A command that leaves its group, ignores being asked, and has this number in its command line.
fn stubborn(number: u32) -> String {
    format!(
        "trap '' TERM; setsid sleep {number}.5 & (trap '' TERM; exec sleep {number}.5) & \
         sleep {number}.5"
    )
}

#[test]
fn what_hangs_is_ended_whole_and_said_so() {
    let yard = Yard::new(&json!({"api": {"buildDir": "api", "tasks": {
        "hang": {"run": stubborn(7_001), "timeout": "1s"},
        "left": {"run": "setsid sleep 7002.5 & sleep 0.2; exit 4"}
    }}}));
    let started = Instant::now();
    assert_eq!(yard.verdicts(&["hang"]), "api:hang=timed-out");
    assert!(started.elapsed() < Duration::from_secs(15));
    assert_eq!(running("sleep\u{0}7001.5"), 0);
    assert_eq!(yard.verdicts(&["left"]), "api:left=failed");
    assert_eq!(running("sleep\u{0}7002.5"), 0);
    let log = yard.waybill(&["log", "api", "hang", "--failed", "--times"]);
    assert!(
        log.out.contains(" --- it took longer than 1 s"),
        "{}",
        log.out
    );
    // It counts for nothing.
    assert_eq!(yard.verdicts(&["left"]), "api:left=failed");
}

#[test]
fn what_fails_at_first_is_flaky() {
    let yard = Yard::new(&json!({"api": {"buildDir": "api", "tasks": {
        "flaky": {"run": "test -e ../../tried || { : > ../../tried; echo first; exit 1; }; echo second", "retries": 2},
        "bad": {"run": "echo again; exit 1", "retries": 2}
    }}}));
    let _ = fs::remove_file(yard.repo.path().join("../tried"));
    assert_eq!(yard.verdicts(&["flaky"]), "api:flaky=flaky");
    assert_eq!(yard.verdicts(&["flaky"]), "api:flaky=already-passed");
    let log = yard.waybill(&["log", "api", "flaky"]).out;
    assert_eq!(
        log,
        "first\n--- it failed with exit code 1\n--- attempt 2 of 3\nsecond\n"
    );
    assert_eq!(yard.verdicts(&["bad"]), "api:bad=failed");
    let log = yard.waybill(&["log", "api", "bad", "--failed"]).out;
    assert_eq!(log.matches("again\n").count(), 3, "{log}");
}

#[test]
fn stopped_or_killed_nothing_is_left_and_nothing_counts() {
    let yard = Yard::new(&json!({"api": {"buildDir": "api", "tasks": {
        "slow": {"run": stubborn(7_003)},
        "next": {"run": "true", "needs": ["slow"]}
    }}}));
    for (signal, code) in [("TERM", Some(130)), ("INT", Some(130)), ("KILL", None)] {
        let mut command = yard.command_in(&yard.repo);
        command
            .args(["run", "next", "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let child = command.spawn().unwrap();
        wait_for("it begins", || running("sleep\u{0}7003.5") >= 3);
        let id = child.id().to_string();
        let sent = std::process::Command::new("kill")
            .args(["-s", signal, &id])
            .status()
            .unwrap();
        assert!(sent.success());
        let took = wait_for("it ends", || running("sleep\u{0}7003.5") == 0);
        assert!(took < Duration::from_secs(4), "{signal}: {took:?}");
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), code, "{signal}");
        if code.is_some() {
            let document = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(
                super::verdicts(&document),
                "api:slow=interrupted api:next=interrupted"
            );
        }
        let dry = yard.waybill(&["run", "next", "--dry-run"]);
        assert_eq!(dry.out, "api:slow  run\napi:next  run\n", "{signal}");
    }
    assert!(
        Path::new("/proc/self/cmdline").exists() && running("waybill") > 0,
        "the search finds nothing"
    );
}

#[test]
fn a_lot_of_output_is_shown_at_its_end_and_kept_at_both() {
    let run = "echo the beginning; yes 0123456789012345678901234567890123456789 | head -c 30000000; \
               echo; echo the end; exit 1";
    let yard = Yard::new(&json!({"api": {"buildDir": "api", "tasks": {"loud": {"run": run}}}}));
    let ran = yard.waybill(&["run", "loud"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("api:loud | the end\n") && ran.err.len() < 4_000_000);
    let log = yard.waybill(&["log", "api", "loud", "--failed"]).out;
    assert!(log.starts_with("the beginning\n") && log.contains("the end\n"));
    assert!(log.contains("bytes were not kept"));
}
