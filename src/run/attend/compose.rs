//! A task that is the services of a compose file, of which one counts.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use super::{AttendError, Attendance, Output};
use crate::build::engine::{Engine, LogStream, ServiceEnd};

/// The services of a task.
#[expect(
    clippy::unsafe_derive_deserialize,
    reason = "what is unsafe is inside tokio's `select!`, and rests on no field"
)]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::run) struct Services {
    /// The name of the compose project, that no other has.
    pub(in crate::run) name: String,
    /// The compose file.
    pub(in crate::run) file: PathBuf,
    /// The directory that the compose program runs in.
    pub(in crate::run) directory: PathBuf,
    /// The service whose exit code counts.
    pub(in crate::run) service: String,
}

/// The exit code of a task whose services were cut off by the failure of one that does not count.
const CUT_OFF: i64 = 1;

/// How long the other services have to end once the one that counts has, in seconds.
const GRACE: &str = "1";

/// How many bytes of output are passed on at once.
const CHUNK: usize = 64 * 1024;

/// The most of its words that are repeated.
const WORDS: usize = 1000;

/// A compose program.
struct Program<'a> {
    words: &'static [&'static str],
    services: &'a Services,
    environment: BTreeMap<OsString, OsString>,
}

/// The plugin first: where both are there, the other is old.
const PROGRAMS: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];

impl Services {
    /// Runs them to the end of the one that counts, and gives its exit code; `None` if they were to
    /// end before. Nothing of them is left when this returns.
    pub(super) async fn attend(
        &self,
        inherited: &BTreeMap<OsString, OsString>,
        own: &BTreeMap<OsString, OsString>,
        attendance: Attendance<'_>,
    ) -> Result<Option<i64>, AttendError> {
        let Attendance { mut output, stop } = attendance;
        let engine = Engine::connect().await?;
        let environment = inherited.iter().chain(own);
        let environment = environment.map(|(name, value)| (name.clone(), value.clone()));
        let environment = environment.collect();
        let ended = tokio::select! {
            ended = self.run(&engine, environment, &mut output) => ended.map(Some),
            () = stop.cancelled() => Ok(None),
        };
        engine.remove_compose_project(&self.name).await?;
        ended
    }

    async fn run(
        &self,
        engine: &Engine,
        environment: BTreeMap<OsString, OsString>,
        output: &mut Output<'_>,
    ) -> Result<i64, AttendError> {
        let program = self.program(environment).await?;
        program.check().await?;
        let code = program.up(output).await?;
        let ends = engine.service_ends(&self.name).await?;
        self.result(code, &ends)
            .ok_or_else(|| AttendError::ServiceNotRun {
                service: self.service.clone(),
                program: program.name(),
                code,
            })
    }

    async fn program(
        &self,
        environment: BTreeMap<OsString, OsString>,
    ) -> Result<Program<'_>, AttendError> {
        let mut program = Program {
            words: &[],
            services: self,
            environment,
        };
        for words in PROGRAMS {
            program.words = words;
            let told = program.bare().arg("version").output().await;
            if told.is_ok_and(|told| told.status.success()) {
                return Ok(program);
            }
        }
        Err(AttendError::NoCompose)
    }

    /// The exit code that counts, given that of the compose program: the service's own, which is
    /// no success where another service failed before and had it cut off.
    fn result(&self, code: i32, ends: &[ServiceEnd]) -> Option<i64> {
        let counts = ends.iter().filter(|end| end.service == self.service);
        let own: Vec<(i64, _)> = counts
            .map(|end| Some((end.code?, moment(end))))
            .collect::<Option<_>>()?;
        let (failure, ended) = own
            .iter()
            .find(|(code, _)| *code != 0)
            .or(own.first())
            .copied()?;
        if failure != 0 {
            return Some(failure);
        }
        let failed_before = ends.iter().any(|end| {
            end.service != self.service
                && end.code.is_some_and(|code| code != 0)
                && moment(end) < ended
        });
        if failed_before {
            return Some(CUT_OFF);
        }
        Some(code.into())
    }
}

fn moment(end: &ServiceEnd) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc3339(end.ended.as_deref()?).ok()
}

impl Program<'_> {
    fn name(&self) -> String {
        self.words.join(" ")
    }

    /// The program without a file. It ends with the attendant.
    fn bare(&self) -> Command {
        let mut words = self.words.iter();
        let mut command = Command::new(words.next().copied().unwrap_or_default());
        command.args(words);
        command.current_dir(&self.services.directory);
        command.env_clear().envs(&self.environment);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.bare();
        command.args(["-p", &self.services.name, "-f"]);
        command.arg(&self.services.file).args(words);
        command
    }

    /// Has the program read the file, which must have the service.
    async fn check(&self) -> Result<(), AttendError> {
        let file = self.services.file.display().to_string();
        let told = self.command(&["config", "--services"]).output().await;
        let told = told.map_err(|error| self.broken(&error))?;
        if !told.status.success() {
            return Err(AttendError::ComposeFile {
                file,
                program: self.name(),
                message: words(&told.stderr),
            });
        }
        let text = String::from_utf8_lossy(&told.stdout);
        let services: Vec<String> = text.lines().map(str::to_owned).collect();
        if services.contains(&self.services.service) {
            return Ok(());
        }
        Err(AttendError::NoService {
            file,
            service: self.services.service.clone(),
            services,
        })
    }

    /// Runs the services until one ends, passes their output on, and gives the program's exit code.
    async fn up(&self, output: &mut Output<'_>) -> Result<i32, AttendError> {
        let mut command = self.command(&["up", "--abort-on-container-exit"]);
        command.args(["--exit-code-from", &self.services.service]);
        command.args([
            "--no-build",
            "--no-color",
            "--quiet-pull",
            "--timeout",
            GRACE,
        ]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let run = async {
            let mut child = command.spawn()?;
            pass_on(&mut child, output).await;
            child.wait().await
        };
        let status: ExitStatus = run.await.map_err(|error| self.broken(&error))?;
        Ok(status.code().unwrap_or(-1))
    }

    fn broken(&self, error: &std::io::Error) -> AttendError {
        AttendError::Engine {
            message: format!("`{}` cannot be run: {error}", self.name()),
        }
    }
}

/// Passes both streams of a program on until they end.
async fn pass_on(child: &mut Child, output: &mut Output<'_>) {
    let (mut out, mut error) = (child.stdout.take(), child.stderr.take());
    let (mut from_out, mut from_error) = (vec![0; CHUNK], vec![0; CHUNK]);
    while out.is_some() || error.is_some() {
        tokio::select! {
            read = read(&mut out, &mut from_out), if out.is_some() => {
                output.write(LogStream::Stdout, &from_out[..read]);
            }
            read = read(&mut error, &mut from_error), if error.is_some() => {
                output.write(LogStream::Stderr, &from_error[..read]);
            }
        }
    }
}

/// Reads from a stream, and lets go of it at its end.
async fn read(from: &mut Option<impl AsyncRead + Unpin>, into: &mut [u8]) -> usize {
    let read = match from {
        Some(stream) => stream.read(into).await.unwrap_or(0),
        None => 0,
    };
    if read == 0 {
        *from = None;
    }
    read
}

/// What a program said, on one line.
fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.chars().take(WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(service: &str, code: Option<i64>, second: u32) -> ServiceEnd {
        ServiceEnd {
            service: service.to_owned(),
            code,
            ended: Some(format!("2026-01-02T03:04:0{second}.5Z")),
        }
    }

    fn result(code: i32, ends: &[ServiceEnd]) -> Option<i64> {
        let services = Services {
            name: "waybill-x".to_owned(),
            file: "compose.yml".into(),
            directory: "/".into(),
            service: "test".to_owned(),
        };
        services.result(code, ends)
    }

    #[test]
    fn the_service_that_counts_decides() {
        let ends = |code| [end("db", Some(137), 4), end("test", Some(code), 3)];
        assert_eq!(result(0, &ends(0)), Some(0));
        assert_eq!(result(7, &ends(7)), Some(7));
        assert_eq!(result(0, &ends(7)), Some(7));
        assert_eq!(result(1, &ends(0)), Some(1));
    }

    #[test]
    fn what_was_cut_off_by_a_failure_of_another_is_no_success() {
        let ends = |code| [end("db", Some(code), 3), end("test", Some(0), 4)];
        assert_eq!(result(0, &ends(2)), Some(CUT_OFF));
        assert_eq!(result(0, &ends(0)), Some(0));
    }

    #[test]
    fn a_service_that_did_not_end_is_no_result() {
        assert_eq!(result(0, &[end("db", Some(0), 3)]), None);
        assert_eq!(result(0, &[end("test", None, 3)]), None);
        let two = [end("test", Some(0), 3), end("test", None, 3)];
        assert_eq!(result(0, &two), None);
    }
}
