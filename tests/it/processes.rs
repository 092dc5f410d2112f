//! Commands of the host, run for real: whatever they start is gone when they have ended.
//!
//! Every process of a test carries the test's *mark* among its arguments: a number of seconds that
//! `sleep` takes and that no other test uses. `/proc` tells which of them live.

mod endings;
mod program;
mod trees;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use waybill::run::process::{Command, Ended, GRACE, ProcessError, Stream, Supervisor};

/// What every test that waits for an end allows for it.
const SOON: Duration = Duration::from_secs(2);

/// A machine that does much else at once may take this much longer.
const SLACK: Duration = Duration::from_secs(2);

/// A number of seconds, of a day and more, that is this test's alone.
struct Mark(String);

impl Mark {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("1{:07}.{count:03}5", std::process::id()))
    }

    /// The living processes with this mark, and their command lines.
    fn processes(&self) -> Vec<(String, String)> {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|process| {
            let line = fs::read(process.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            Some((process.file_name().to_string_lossy().into_owned(), line))
        });
        lines.filter(|(_, line)| line.contains(&self.0)).collect()
    }

    /// The command lines of the living processes with this mark.
    fn alive(&self) -> Vec<String> {
        let processes = self.processes().into_iter();
        processes.map(|(_, line)| line).collect()
    }

    /// Waits until that many processes live, or more.
    fn wait_for(&self, number: usize) {
        let begun = Instant::now();
        while self.alive().len() < number {
            assert!(begun.elapsed() < SOON + SLACK, "{:?}", self.alive());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[track_caller]
    fn is_gone(&self) {
        assert_eq!(self.alive(), Vec::<String>::new());
    }

    #[track_caller]
    fn is_gone_soon(&self) {
        let begun = Instant::now();
        while !self.alive().is_empty() && begun.elapsed() < SOON {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.is_gone();
    }
}

/// A test that fails leaves nothing behind.
impl Drop for Mark {
    fn drop(&mut self) {
        for (id, _) in self.processes() {
            let kill = std::process::Command::new("kill")
                .args(["-s", "KILL", &id])
                .status();
            assert!(kill.is_ok());
        }
    }
}

/// A run in the library, by a supervisor that is the real program.
struct Run {
    command: Command,
    limit: Option<Duration>,
    stop: CancellationToken,
}

/// What a run came to.
struct Ran {
    ended: Result<Ended, ProcessError>,
    out: String,
    err: String,
    took: Duration,
}

impl Run {
    fn new(program: &str, arguments: &[&str]) -> Self {
        let path = std::env::var_os("PATH").unwrap();
        Self {
            command: Command {
                program: program.into(),
                arguments: arguments.iter().map(OsString::from).collect(),
                directory: "/".into(),
                environment: BTreeMap::from([("PATH".into(), path)]),
                grace: GRACE,
            },
            limit: None,
            stop: CancellationToken::new(),
        }
    }

    /// A script that finds the mark as `$0`.
    fn script(mark: &Mark, script: &str) -> Self {
        Self::new("sh", &["-c", script, &mark.0])
    }

    fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    fn run(&self) -> Ran {
        self.run_by(env!("CARGO_BIN_EXE_waybill"))
    }

    fn run_by(&self, supervisor: &str) -> Ran {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = |stream, bytes: &[u8]| match stream {
            Stream::Out => out.extend_from_slice(bytes),
            Stream::Err => err.extend_from_slice(bytes),
        };
        let begun = Instant::now();
        let ended = runtime().block_on(Supervisor::at(supervisor).run(
            &self.command,
            self.limit,
            &self.stop,
            &mut output,
        ));
        Ran {
            ended,
            took: begun.elapsed(),
            out: String::from_utf8(out).unwrap(),
            err: String::from_utf8(err).unwrap(),
        }
    }
}

impl Ran {
    #[track_caller]
    fn ended(&self, expected: Ended) {
        assert_eq!(self.ended.as_ref().unwrap(), &expected, "{}", self.err);
    }

    #[track_caller]
    fn within(&self, least: Duration, most: Duration) {
        assert!(self.took >= least, "too soon: {:?}", self.took);
        assert!(self.took < most + SLACK, "too late: {:?}", self.took);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}
