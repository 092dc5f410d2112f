//! Descendants of every kind, and every way to the end.

use std::fs;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use waybill::run::process::{Ended, Supervisor};

use super::{Mark, Run, SOON, runtime};

/// Descendants that are hard to find or to end; each script returns at once, and leaves at least as
/// many processes as it says.
const STUBBORN: [(&str, usize, &str); 6] = [
    ("background", 1, r#"sleep "$0" &"#),
    ("another session", 1, r#"setsid sleep "$0" &"#),
    (
        "deaf to SIGTERM",
        2,
        r#"setsid sh -c 'trap "" TERM HUP INT; sleep "$0"; sleep "$0"' "$0" &"#,
    ),
    (
        "a daemon that was forked twice and holds the output",
        1,
        r#"setsid sh -c 'trap "" TERM; setsid sleep "$0" & exit' "$0""#,
    ),
    (
        "stopped",
        2,
        r#"setsid sh -c 'sleep "$0" & kill -STOP $$' "$0" &"#,
    ),
    (
        "a chain of sessions",
        3,
        r#"setsid sh -c 'trap "" TERM; setsid sh -c "setsid sleep \$0 & wait" "$0" & wait' "$0" &"#,
    ),
];

/// Lets the descendants begin.
fn settled(number: usize, script: &str) -> String {
    let count = r#"grep -lF "$0" /proc/[0-9]*/cmdline 2>/dev/null | wc -l"#;
    // The shell itself and the one that counts, and grep, which has the mark among its arguments.
    format!(
        "{script}\nuntil [ \"$({count})\" -ge {} ]; do sleep 0.02; done\n",
        number + 2
    )
}

/// Tries every kind of descendants, all at once.
fn for_each(try_one: impl Fn(&str, usize, &str) + Sync) {
    std::thread::scope(|scope| {
        for (name, number, script) in STUBBORN {
            let try_one = &try_one;
            scope.spawn(move || try_one(name, number, script));
        }
    });
}

#[test]
fn nothing_outlives_a_command_that_ends_by_itself() {
    for_each(|name, number, script| {
        let mark = Mark::new();
        let script = settled(number, script) + "echo done; exit 3";
        let ran = Run::script(&mark, &script).run();
        ran.ended(Ended::Code(3));
        mark.is_gone();
        assert_eq!(ran.out, "done\n", "{name}");
        ran.within(Duration::ZERO, SOON);
    });
}

#[test]
fn nothing_outlives_a_limit() {
    for_each(|name, number, script| {
        let mark = Mark::new();
        let script =
            settled(number, script) + "echo ready; trap '' TERM; sleep \"$0\"; sleep \"$0\"";
        let ran = Run::script(&mark, &script)
            .limit(Duration::from_secs(1))
            .run();
        ran.ended(Ended::TimedOut);
        mark.is_gone();
        assert_eq!(ran.out, "ready\n", "{name}");
        ran.within(Duration::from_secs(2), Duration::from_secs(1) + SOON);
    });
}

#[test]
fn nothing_outlives_a_stop() {
    for_each(|name, number, script| {
        let mark = Mark::new();
        let script = settled(number, script) + "exec sleep \"$0\"";
        let run = Run::script(&mark, &script);
        let ran = std::thread::scope(|scope| {
            scope.spawn(|| {
                mark.wait_for(number + 1);
                run.stop.cancel();
            });
            run.run()
        });
        ran.ended(Ended::Stopped);
        mark.is_gone();
        assert!(ran.err.is_empty(), "{name}: {}", ran.err);
    });
}

#[test]
fn sigterm_comes_first_and_there_is_time_to_tidy_up() {
    let mark = Mark::new();
    let script = r"
        trap 'sleep 0.3; echo tidied; exit 7' TERM
        (trap 'echo child; exit' TERM; while :; do sleep 0.05; done) &
        while :; do sleep 0.05; done";
    let ran = Run::script(&mark, script)
        .limit(Duration::from_millis(500))
        .run();
    ran.ended(Ended::TimedOut);
    // What the shell says of its sleep goes to the other stream.
    assert_eq!(ran.out, "child\ntidied\n", "{}", ran.err);
    ran.within(Duration::from_millis(800), Duration::from_millis(1400));
    mark.is_gone();
}

#[test]
fn a_command_that_ends_at_once_when_asked_is_not_waited_for() {
    let ran = Run::new("sleep", &["1000"])
        .limit(Duration::from_millis(100))
        .run();
    ran.ended(Ended::TimedOut);
    assert!(ran.took < Duration::from_millis(1100), "{:?}", ran.took);
}

/// Processes that multiply while they are killed, each in a session of its own.
#[test]
fn a_shell_that_keeps_spawning_is_ended() {
    let mark = Mark::new();
    let script = r#"trap "" TERM; while :; do setsid sleep "$0" & sleep 0.002; done"#;
    let ran = Run::script(&mark, script)
        .limit(Duration::from_millis(500))
        .run();
    ran.ended(Ended::TimedOut);
    mark.is_gone();
    ran.within(Duration::ZERO, Duration::from_millis(500) + SOON);
}

/// One process at a time that moves on: it starts the next, in a session of its own, and exits. It
/// is too quick to be seen in `/proc`, so it writes down each move; where it cannot, it ends.
#[test]
fn a_process_that_moves_on_and_on_is_ended() {
    let mark = Mark::new();
    let directory = tempfile::tempdir().unwrap();
    let moves = directory.path().join("moves");
    fs::write(&moves, "").unwrap();
    let hop =
        r#"[ -e "$2" ] || exit; echo >> "$2"; trap "" TERM; setsid sh -c "$1" "$0" "$1" "$2" &"#;
    let script = format!(
        "sh -c '{hop}' \"$0\" '{hop}' {}; exec sleep \"$0\"",
        moves.display()
    );
    let ran = Run::script(&mark, &script)
        .limit(Duration::from_millis(500))
        .run();
    let made = fs::metadata(&moves).unwrap().len();
    ran.ended(Ended::TimedOut);
    ran.within(
        Duration::from_millis(1500),
        Duration::from_millis(500) + SOON,
    );
    assert!(made > 9, "it has moved {made} times only");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(fs::metadata(&moves).unwrap().len(), made, "it goes on");
    mark.is_gone();
}

#[test]
fn orphans_that_end_are_taken_leave_of_while_the_command_runs() {
    let script = r#"
        for number in 1 2 3 4 5 6 7 8 9; do (sleep 0.01 &); done
        sleep 0.5
        cat /proc/[0-9]*/stat 2>/dev/null | grep -c ") Z $PPID "
        exit 0"#;
    let ran = Run::new("sh", &["-c", script]).run();
    assert_eq!(ran.out, "0\n", "{}", ran.err);
}

#[test]
fn what_is_to_stop_already_is_not_begun() {
    let run = Run::new("no-such-program", &[]);
    run.stop.cancel();
    run.run().ended(Ended::Stopped);
}

#[test]
fn a_run_that_is_dropped_ends_its_command() {
    let mark = Mark::new();
    let script = settled(1, r#"setsid sleep "$0" &"#) + "trap '' TERM; sleep \"$0\"; sleep \"$0\"";
    let run = Run::script(&mark, &script);
    let supervisor = Supervisor::at(env!("CARGO_BIN_EXE_waybill"));
    let runtime = runtime();
    let task = runtime.spawn(async move {
        let stop = CancellationToken::new();
        supervisor
            .run(&run.command, None, &stop, &mut |_, _| {})
            .await
    });
    mark.wait_for(3);
    task.abort();
    mark.is_gone_soon();
}
