//! The real program, run in a test's repository.

use std::process::{Command, Output};

use serde_json::Value;

use crate::repo::Repo;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Shows a count that is a result of the test.
#[expect(clippy::print_stdout, reason = "it is what the test shows")]
pub(crate) fn report(line: &str) {
    println!("{line}");
}

/// Runs a program that must succeed; returns what it prints, without white space at the end.
#[track_caller]
pub(crate) fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

/// Runs `waybill` in the work tree's root.
pub(crate) fn waybill(repo: &Repo, arguments: &[&str]) -> Ran {
    run(command(repo).args(arguments))
}

/// `waybill`, to be given arguments and run in the work tree's root.
pub(crate) fn command(repo: &Repo) -> Command {
    repo.command(env!("CARGO_BIN_EXE_waybill"))
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ran {
    Ran::of(command.output().unwrap())
}

impl Ran {
    /// What a run came to; one that was killed, or that panicked, fails the test.
    pub(crate) fn of(output: Output) -> Self {
        let ran = Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(
            !ran.err.contains("panicked") && ran.code != 101,
            "{}",
            ran.err
        );
        ran
    }

    /// The one JSON document that was printed.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }

    /// Holds that it stopped with this exit code, and with this error among others: its code, and
    /// where it concerns a project, `code: project`.
    #[track_caller]
    pub(crate) fn stops(&self, code: i32, error: &str) {
        let Self { out, err, .. } = self;
        let (name, project) = error.split_once(": ").unzip();
        let name = name.unwrap_or(error);
        let is_told = if out.starts_with('{') {
            let document = self.json();
            let mut errors = document["errors"].as_array().unwrap().iter();
            errors.any(|error| error["code"] == name && error["project"].as_str() == project)
        } else {
            let project = project.map_or(String::new(), |project| format!("{project}: "));
            let begins = format!("error[{name}]: {project}");
            err.lines().any(|line| line.starts_with(&begins))
        };
        assert!(is_told, "{error} is not told: {out}{err}");
        assert_eq!(self.code, code, "{out}{err}");
    }

    /// Holds everything that was printed, on either stream, against what is expected.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, out: &str, err: &str) {
        assert_eq!(self.out, out, "stdout; stderr was: {}", self.err);
        assert_eq!(self.err, err, "stderr");
        assert_eq!(self.code, code, "exit code");
    }
}
