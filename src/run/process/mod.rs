//! A command of the host, run so that its whole tree of processes is gone when it ends.
//!
//! waybill does not start the command itself. It starts its own program once more as a *supervisor*
//! ([`supervise()`]), which stands between the two:
//!
//! ```text
//! waybill ──control──▶ supervisor ──starts──▶ command ──▶ its descendants
//!    ▲                                          │
//!    └───────────── two pipes: stdout, stderr ──┘
//! ```
//!
//! The control is a pair of sockets that nobody else holds. The command goes over it to the
//! supervisor, and how it ended comes back. When waybill's side closes, the supervisor ends
//! everything: so it is when the command is to stop, and so it is when waybill was killed.
//!
//! On Linux the supervisor is a *child subreaper*: a process below it that loses its parent becomes
//! its child, daemons included, so nothing below it gets away. It ends when it has no child left,
//! and the kernel tells it so.
//!
//! **Not covered.** On macOS there is no subreaper: there the command's process group is ended, and
//! a process that left the group stays. Nowhere are processes ended that another service started on
//! the command's behalf, such as containers of a Docker daemon. A supervisor that is killed itself
//! can end nothing: then its session is killed (on macOS the command's process group), which spares
//! those that began a session of their own, and the run is an error. Where waybill and the
//! supervisor are killed together, the command goes on.

mod control;
mod error;
mod supervise;
mod tree;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;
use tokio_util::sync::CancellationToken;

use control::Reply;
pub use error::ProcessError;
pub use supervise::supervise;

/// The argument that makes waybill's program a supervisor.
pub const SUPERVISE: &str = "supervise";

/// How long processes have between SIGTERM and SIGKILL where nothing speaks for more.
pub const GRACE: Duration = Duration::from_secs(1);

/// The longest that they may have.
pub(super) const MAX_GRACE: Duration = Duration::from_secs(4);

/// How long a supervisor may take to end everything before it counts as lost. It gives up itself
/// before that.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long output is still awaited from a process that the supervisor could not end and that holds
/// the pipes open.
const DRAIN: Duration = Duration::from_secs(1);

/// How often, with a little time between, what a lost supervisor left is killed.
const ROUNDS: u32 = 200;

/// How many bytes of each stream are held at once.
const CHUNK: usize = 64 * 1024;

/// A command of the host.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// A path, relative to `directory` where it is not absolute; without a slash, a name that is
    /// looked up on the `PATH` of `environment`.
    pub program: OsString,
    /// What the program is given, its name not included.
    pub arguments: Vec<OsString>,
    /// The directory to run in.
    pub directory: PathBuf,
    /// The whole environment; nothing is inherited.
    pub environment: BTreeMap<OsString, OsString>,
    /// How long its processes have between SIGTERM and SIGKILL; [`GRACE`] for most.
    pub grace: Duration,
}

/// Which stream a chunk of output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit code (0 to 255).
    Code(i32),
    /// By this signal, which waybill did not send.
    Signal(i32),
    /// The limit passed, and it was ended.
    TimedOut,
    /// It was to stop, and was ended, or never begun.
    Stopped,
}

/// The program that supervises commands.
#[derive(Clone, Debug)]
pub struct Supervisor {
    program: PathBuf,
}

impl Supervisor {
    /// This very program, which must be waybill's.
    ///
    /// # Errors
    /// Where the system does not say which program runs.
    pub fn own() -> std::io::Result<Self> {
        // By this name it is the same program even if another was installed over it since.
        if cfg!(target_os = "linux") {
            return Ok(Self::at("/proc/self/exe"));
        }
        Ok(Self::at(std::env::current_exe()?))
    }

    /// Another program of waybill's, of the same version.
    #[must_use]
    pub fn at(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
        }
    }

    /// The program.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Runs a command to its end. Its standard input is empty, its process group and session are
    /// its own. Whatever it started is gone when this returns: SIGTERM first, SIGKILL once
    /// its grace is over.
    ///
    /// `output` gets each stream's bytes as they come. The command waits while it runs: nothing is
    /// piled up. `limit` and `stop` take effect between two calls of it.
    ///
    /// Dropping the future ends the command and its descendants too, in the background.
    ///
    /// # Errors
    /// The command cannot be started; the supervisor cannot be, or was killed; a process could not
    /// be ended.
    pub async fn run(
        &self,
        command: &Command,
        limit: Option<Duration>,
        stop: &CancellationToken,
        output: &mut (dyn FnMut(Stream, &[u8]) + Send),
    ) -> Result<Ended, ProcessError> {
        if stop.is_cancelled() {
            return Ok(Ended::Stopped);
        }
        let (mut supervisor, control) = self.start()?;
        let pumped = pump(supervisor.stdout.take(), supervisor.stderr.take(), output);
        let attended = attend(&mut supervisor, control, command, limit, stop);
        let attended = match select(pin!(attended), pin!(pumped)).await {
            Either::Left((attended, pumped)) => {
                // Whoever could write is gone: the pipes hold all there is, and end.
                let _ = tokio::time::timeout(DRAIN, pumped).await;
                attended
            }
            Either::Right(((), attended)) => attended.await,
        };
        let (replies, asked) = attended.map_err(|source| self.broken(source))?;
        let status = supervisor.wait().await;
        let status = status.map_err(|source| self.broken(source))?;
        outcome(command, &replies, asked, status)
    }

    /// Starts the supervisor, and gives it with waybill's side of the control.
    fn start(&self) -> Result<(Child, UnixStream), ProcessError> {
        let start = || {
            let (ours, theirs) = UnixStream::pair()?;
            let mut program = tokio::process::Command::new(&self.program);
            program.arg0("waybill").arg(SUPERVISE);
            program.stdin(Stdio::from(OwnedFd::from(theirs)));
            program.stdout(Stdio::piped()).stderr(Stdio::piped());
            // With `program` goes the last copy of their side that is held here.
            Ok((program.spawn()?, ours))
        };
        start().map_err(|source| self.broken(source))
    }

    fn broken(&self, source: std::io::Error) -> ProcessError {
        ProcessError::Supervisor {
            supervisor: self.program.clone(),
            source,
        }
    }
}

/// Sees to it that a command is run, by a supervisor that does its part or not. Gives the
/// supervisor's replies once it is gone, with what it was asked to end for.
async fn attend(
    supervisor: &mut Child,
    control: UnixStream,
    command: &Command,
    limit: Option<Duration>,
    stop: &CancellationToken,
) -> std::io::Result<(Vec<Reply>, Option<Ended>)> {
    let (replies, asked) = direct(supervisor, control, command, limit, stop).await?;
    if !replies.last().is_some_and(|reply| reply.is_last()) {
        // Before it is waited for: until then its session has its number to itself.
        kill_abandoned(supervisor.id(), &replies).await;
    }
    Ok((replies, asked))
}

/// Tells the supervisor what to run, and asks it to end that when it is time.
async fn direct(
    supervisor: &mut Child,
    control: UnixStream,
    command: &Command,
    limit: Option<Duration>,
    stop: &CancellationToken,
) -> std::io::Result<(Vec<Reply>, Option<Ended>)> {
    let bell = control.try_clone()?;
    let replies = converse(control, control::request(command)?);
    tokio::pin!(replies);
    let asked = tokio::select! {
        replies = &mut replies => return Ok((replies?, None)),
        () = sleep(limit) => Ended::TimedOut,
        () = stop.cancelled() => Ended::Stopped,
    };
    // Where this fails, the supervisor is gone, and the replies end.
    let _ = bell.shutdown(Shutdown::Write);
    if let Ok(replies) = tokio::time::timeout(PATIENCE, &mut replies).await {
        return Ok((replies?, Some(asked)));
    }
    // It was stopped itself, or worse. Its death ends the conversation.
    let _ = supervisor.start_kill();
    Ok((replies.await?, Some(asked)))
}

/// Sends the request, and takes replies until the supervisor is gone.
async fn converse(control: UnixStream, request: Vec<u8>) -> std::io::Result<Vec<Reply>> {
    control.set_nonblocking(true)?;
    let mut control = tokio::net::UnixStream::from_std(control)?;
    // Where the supervisor died or was asked to end at once, the replies say so by their absence.
    let _ = control.write_all(&request).await;
    let mut bytes = Vec::new();
    let _ = control.read_to_end(&mut bytes).await;
    Ok(control::replies(&bytes))
}

/// Kills what a supervisor left that was killed itself, as far as it can be found.
async fn kill_abandoned(supervisor: Option<u32>, replies: &[Reply]) {
    let command = replies.iter().find_map(|reply| match reply {
        Reply::Started(pid) => Some(*pid),
        _ => None,
    });
    for _ in 0..ROUNDS {
        if tree::kill_abandoned(supervisor, command) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What the replies of a supervisor that is gone come to.
fn outcome(
    command: &Command,
    replies: &[Reply],
    asked: Option<Ended>,
    status: ExitStatus,
) -> Result<Ended, ProcessError> {
    let program = command.program.clone();
    match (replies.last(), asked) {
        (Some(Reply::Code(code)), _) => Ok(Ended::Code(*code)),
        (Some(Reply::Signal(signal)), _) => Ok(Ended::Signal(*signal)),
        (Some(Reply::NotStarted(error)), _) => Err(ProcessError::not_started(command, *error)),
        (Some(Reply::Remains(pid)), _) => Err(ProcessError::Remains { program, pid: *pid }),
        (Some(Reply::Asked), Some(asked)) => Ok(asked),
        // It was asked before it had read what to run.
        (None, Some(asked)) if status.code().is_some() => Ok(asked),
        // Ctrl-C at the terminal, in the moment before it had a session of its own. waybill gets
        // the same, and stops.
        (None, _) if status.signal() == Some(tree::INTERRUPT) => Ok(Ended::Stopped),
        _ => Err(ProcessError::SupervisorLost { program, status }),
    }
}

/// Hands out what comes from the streams until both have ended.
async fn pump(
    out: Option<impl AsyncRead + Unpin>,
    err: Option<impl AsyncRead + Unpin>,
    output: &mut (dyn FnMut(Stream, &[u8]) + Send),
) {
    let (mut out, mut err) = (Source::new(out), Source::new(err));
    loop {
        tokio::select! {
            chunk = out.read(), if out.open() => output(Stream::Out, chunk),
            chunk = err.read(), if err.open() => output(Stream::Err, chunk),
            else => return,
        }
    }
}

/// A stream of output, until it has ended.
struct Source<R> {
    reader: Option<R>,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Source<R> {
    fn new(reader: Option<R>) -> Self {
        Self {
            reader,
            buffer: vec![0; CHUNK],
        }
    }

    fn open(&self) -> bool {
        self.reader.is_some()
    }

    /// The next bytes; none at the end.
    async fn read(&mut self) -> &[u8] {
        let Some(reader) = &mut self.reader else {
            return &[];
        };
        let read = reader.read(&mut self.buffer).await.unwrap_or(0);
        if read == 0 {
            self.reader = None;
        }
        &self.buffer[..read]
    }
}

async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
