//! The real program, by `waybill debug run`: killed, stopped, and flooded.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Mark, SOON};

/// The program with a script that finds the mark as `$0`. It leads a process group, as what a shell
/// starts in a terminal does.
fn waybill(mark: &Mark, script: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_waybill"))
        .args(["debug", "run", "--", "sh", "-c", script, &mark.0])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap()
}

fn send(signal: &str, to: &str) {
    let sent = Command::new("kill").args(["-s", signal, "--", to]).status();
    assert!(sent.unwrap().success());
}

fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.as_mut().unwrap());
    out.read_line(&mut line).unwrap();
    line
}

#[test]
fn nothing_outlives_a_waybill_that_is_killed() {
    let mark = Mark::new();
    let script = r#"
        trap "" TERM
        setsid sleep "$0" &
        setsid sh -c 'trap "" TERM HUP; setsid sh -c "sleep \$0; sleep \$0" "$0" & exit' "$0"
        echo ready
        sleep "$0"; sleep "$0""#;
    let mut child = waybill(&mark, script);
    assert_eq!(first_line(&mut child), "ready\n");
    // waybill, the shell and its sleep, the session's sleep, the daemon and its sleep.
    mark.wait_for(6);
    child.kill().unwrap();
    child.wait().unwrap();
    mark.is_gone_soon();
}

/// As `killall -9 waybill` does: the supervisor goes by another name.
#[test]
fn whoever_kills_by_name_leaves_the_supervisor() {
    let mark = Mark::new();
    let mut child = waybill(&mark, r#"cat /proc/$PPID/comm; exec sleep "$0""#);
    assert_eq!(first_line(&mut child), "task-supervisor\n");
    child.kill().unwrap();
    child.wait().unwrap();
    mark.is_gone_soon();
}

#[test]
fn ctrl_c_reaches_waybill_alone() {
    let mark = Mark::new();
    let script = r"
        trap 'echo INT' INT; trap 'echo TERM; exit 5' TERM
        echo ready
        while :; do sleep 0.05; done";
    let mut child = waybill(&mark, script);
    assert_eq!(first_line(&mut child), "ready\n");
    let begun = Instant::now();
    send("INT", &format!("-{}", child.id()));
    let mut rest = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut rest)
        .unwrap();
    let mut end = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut end)
        .unwrap();
    child.wait().unwrap();
    assert_eq!(rest, "TERM\n", "{end}");
    // The shell may say before it what became of its sleep.
    assert!(end.ends_with("Stopped\n"), "{end}");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    mark.is_gone();
}

/// Ctrl-C at any moment of the start, before the supervisor has a session of its own too.
#[test]
fn ctrl_c_at_the_start_is_no_error() {
    for delay in (0..60).step_by(3) {
        let mark = Mark::new();
        let child = waybill(&mark, "exec sleep \"$0\"");
        std::thread::sleep(Duration::from_millis(delay));
        send("INT", &format!("-{}", child.id()));
        let group = child.id();
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        // Before waybill listens for it, it dies of it.
        let died = ended.status.code().is_none();
        assert!(
            died || said == "Stopped\n",
            "{delay} ms: {said} {:?}",
            ended.status
        );
        mark.is_gone_soon();
        assert!(!fs::exists(format!("/proc/{group}")).unwrap());
    }
}

/// The most memory that a process has held so far, in KiB.
fn peak(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

/// A gigabyte comes through whole, and in little memory, while it is taken and while it is not.
#[test]
fn a_gigabyte_of_output_is_not_held() {
    const GIGABYTE: usize = 1 << 30;
    let mark = Mark::new();
    let script = "echo ready; head -c 1073741824 /dev/zero; exec sleep 0.5";
    let mut child = waybill(&mark, script);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let before = peak(child.id());
    // Nobody takes it: head has to wait.
    std::thread::sleep(Duration::from_millis(500));
    let waiting = peak(child.id());
    let mut buffer = vec![0; 1 << 20];
    let mut taken = 0;
    while taken < GIGABYTE {
        let read = out.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "only {taken} bytes came");
        taken += read;
    }
    let after = peak(child.id());
    assert_eq!(out.read(&mut buffer).unwrap(), 0, "{taken} bytes, and more");
    child.wait().unwrap();
    assert_eq!(taken, GIGABYTE);
    for (when, held) in [("while it waited", waiting), ("in the end", after)] {
        assert!(held < before + 2048, "{when}: {before} KiB became {held}");
    }
}

#[test]
fn the_supervisor_is_not_for_people() {
    let help = Command::new(env!("CARGO_BIN_EXE_waybill"))
        .arg("help")
        .output();
    let help = String::from_utf8(help.unwrap().stdout).unwrap();
    assert!(
        help.contains("build") && !help.contains("supervise"),
        "{help}"
    );
    let mut by_hand = Command::new(env!("CARGO_BIN_EXE_waybill"));
    let ran = by_hand
        .arg("supervise")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(2));
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(said.contains("what waybill starts to run a task"), "{said}");
}
