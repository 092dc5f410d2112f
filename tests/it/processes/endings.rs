//! How a command ends, what it is given, and what keeps it from being run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use waybill::problem::{Class, Diagnose as _};
use waybill::run::process::{Command, Ended, ProcessError, Stream, Supervisor};

use super::{Mark, Ran, Run, runtime};

fn sh(script: &str) -> Ran {
    Run::new("sh", &["-c", script]).run()
}

#[test]
fn a_code_is_a_code_and_a_signal_is_a_signal() {
    sh("exit 0").ended(Ended::Code(0));
    sh("exit 1").ended(Ended::Code(1));
    sh("exit 137").ended(Ended::Code(137));
    sh("exit 255").ended(Ended::Code(255));
    sh("kill -KILL $$").ended(Ended::Signal(9));
    sh("kill -TERM $$").ended(Ended::Signal(15));
    // What waybill itself takes for Ctrl-C before a command has begun.
    sh("kill -INT $$").ended(Ended::Signal(2));
}

#[test]
fn the_streams_are_told_apart_and_the_input_is_empty() {
    let ran = sh("cat; echo out; echo err >&2; printf last");
    ran.ended(Ended::Code(0));
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("out\nlast", "err\n"));
}

#[test]
fn nothing_is_inherited() {
    let mut run = Run::new("/usr/bin/env", &[]);
    run.command.environment = [("B".into(), "2 =".into()), ("A".into(), "".into())].into();
    assert_eq!(run.run().out, "A=\nB=2 =\n");

    // Besides the three streams, only what lists the directory.
    let ran = sh("cd /proc/self/fd; ls -l | grep -c socket; readlink 0");
    assert_eq!(ran.out, "0\n/dev/null\n");
}

#[test]
fn arguments_and_directory_are_taken_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("program");
    fs::write(&program, "#!/bin/sh\npwd -P\nprintf '[%s]' \"$@\"\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut run = Run::new("./program", &["", "a b", "--", "$x\n"]);
    run.command.directory = directory.path().to_owned();
    let ran = run.run();
    let place = directory.path().canonicalize().unwrap();
    let expected = format!("{}\n[][a b][--][$x\n]", place.display());
    assert_eq!(ran.out, expected, "{}", ran.err);
}

#[test]
fn the_process_group_and_the_session_are_its_own() {
    // pid, process group and session.
    let ran = sh("cut -d' ' -f1,5,6 /proc/$$/stat; cut -d' ' -f6 /proc/$PPID/stat");
    let numbers: Vec<&str> = ran.out.split_whitespace().collect();
    let own = fs::read_to_string("/proc/self/stat").unwrap();
    let own_session = own.split_whitespace().nth(5).unwrap();
    assert_eq!(numbers[0], numbers[1], "the group is its own");
    assert_eq!(numbers[2], numbers[3], "the session is the supervisor's");
    assert_ne!(numbers[2], own_session);
    // There is no terminal to ask a person at.
    assert_ne!(sh("exec < /dev/tty").ended.unwrap(), Ended::Code(0));
}

#[test]
fn what_cannot_be_started_is_the_users_to_mend() {
    let directory = tempfile::tempdir().unwrap();
    let plain = directory.path().join("plain");
    fs::write(&plain, "#!/bin/sh\n").unwrap();
    let not_started = |program: &str, place: &str| {
        let mut run = Run::new(program, &["hunter2"]);
        run.command.directory = place.into();
        let error = run.run().ended.unwrap_err();
        assert_eq!(error.class(), Class::Usage);
        let problem = error.problems().remove(0);
        assert_eq!(problem.code, "task-not-started");
        assert!(!problem.message.contains("hunter2"), "{problem:?}");
        assert!(problem.message.contains(program), "{problem:?}");
        assert!(problem.message.contains(place), "{problem:?}");
        format!("{}; {}", problem.message, problem.hint.unwrap())
    };
    let missing = not_started("no-such-program", "/tmp");
    assert!(
        missing.contains("No such file") && missing.contains("PATH"),
        "{missing}"
    );
    let plain = not_started(plain.to_str().unwrap(), "/");
    assert!(
        plain.contains("denied") && plain.contains("chmod +x"),
        "{plain}"
    );
    let nowhere = not_started("sh", "/no/such/directory");
    assert!(nowhere.contains("there is no directory"), "{nowhere}");
    not_started("sh", "/etc/passwd");
    not_started("", "/");
    // No system call takes such a name.
    not_started("s\0h", "/");
}

#[test]
fn a_supervisor_that_is_none_is_an_error() {
    let run = Run::new("sh", &[]);
    for (supervisor, variant) in [
        ("/no/such/waybill", "Supervisor {"),
        ("/bin/true", "SupervisorLost"),
        ("/bin/false", "SupervisorLost"),
    ] {
        let error = run.run_by(supervisor).ended.unwrap_err();
        assert_eq!(error.class(), Class::Unreachable, "{supervisor}");
        assert!(format!("{error:?}").starts_with(variant), "{error:?}");
        assert_eq!(error.problems()[0].code, "task-supervisor");
    }
}

#[test]
fn a_supervisor_that_is_killed_is_an_error_and_its_session_is_killed() {
    let mark = Mark::new();
    let run = Run::script(&mark, "trap '' TERM; sleep \"$0\" & kill -KILL $PPID; wait");
    let error = run.run().ended.unwrap_err();
    assert!(
        matches!(error, ProcessError::SupervisorLost { .. }),
        "{error:?}"
    );
    assert_eq!(error.class(), Class::Unreachable);
    mark.is_gone_soon();
}

#[test]
fn a_supervisor_that_hangs_is_given_up() {
    let mark = Mark::new();
    let run = Run::script(&mark, "kill -STOP $PPID; exec sleep \"$0\"");
    let ran = run.limit(Duration::from_millis(300)).run();
    ran.within(Duration::from_secs(10), Duration::from_secs(11));
    let error = ran.ended.unwrap_err();
    assert!(
        matches!(error, ProcessError::SupervisorLost { .. }),
        "{error:?}"
    );
    mark.is_gone_soon();
}

#[test]
fn a_great_environment_goes_through() {
    let mut run = Run::new("sh", &["-c", "printf %s \"$v1$v2$v3$v4$v5\" | wc -c"]);
    for number in 1..=5 {
        let value = "x".repeat(100_000);
        let variable = (format!("v{number}").into(), value.into());
        run.command.environment.extend([variable]);
    }
    assert_eq!(run.run().out.trim(), "500000");
    // More than the system takes for one variable.
    let variable = ("v6".into(), "x".repeat(4_000_000).into());
    run.command.environment.extend([variable]);
    let error = run.run().ended.unwrap_err();
    assert_eq!(error.class(), Class::Usage, "{error}");
    assert!(
        error.problems()[0]
            .hint
            .as_ref()
            .unwrap()
            .contains("smaller environment")
    );
}

/// All that was written is handed out, however slowly it is taken and whoever wrote it last.
#[test]
fn no_output_is_lost() {
    let command = Command {
        arguments: vec![
            "-c".into(),
            "head -c 1000000 /dev/zero; exec head -c 65536 /dev/zero >&2".into(),
        ],
        ..Run::new("sh", &[]).command
    };
    let supervisor = Supervisor::at(env!("CARGO_BIN_EXE_waybill"));
    let (mut out, mut err) = (0, 0);
    let mut output = |stream, bytes: &[u8]| {
        std::thread::sleep(Duration::from_millis(50));
        match stream {
            Stream::Out => out += bytes.len(),
            Stream::Err => err += bytes.len(),
        }
    };
    let stop = tokio_util::sync::CancellationToken::new();
    let ended = runtime().block_on(supervisor.run(&command, None, &stop, &mut output));
    assert_eq!(ended.unwrap(), Ended::Code(0));
    assert_eq!((out, err), (1_000_000, 65_536));
}
