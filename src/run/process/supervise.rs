//! The supervisor: a process between waybill and a command, which outlives both and ends whatever
//! the command left.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus};

use super::control::{self, Reply};
use super::{Command, MAX_GRACE, tree};

/// How long SIGKILL is repeated before what remains is given up: processes of another user, or ones
/// that hang in the kernel.
const KILLING: Duration = Duration::from_secs(5);

/// How long to wait between two looks at what is left, and two rounds of SIGKILL.
const PAUSE: Duration = Duration::from_millis(5);

/// What a supervisor waits for.
enum Event {
    /// waybill is gone, or asks for the end.
    Asked,
    /// The command has ended.
    Ended(WaitStatus),
    /// No child is left.
    Alone,
}

/// Is a supervisor, in a process of its own whose standard input is the control: takes the command,
/// runs it, ends whatever is left of it, and replies how it went.
///
/// # Errors
/// The process is no supervisor's: its standard input is no socket, or it leads a process group; or
/// waybill is gone, and nobody is left to be told.
pub fn supervise() -> io::Result<()> {
    let mut control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    tree::stand_apart()?;
    let command = control::read_request(&mut control)?;
    let watch = Watch::new(control.try_clone()?)?;
    let reply = match start(&command) {
        Ok(main) => {
            // Where this fails, waybill is gone, and the watch ends the command.
            let _ = control.write_all(&Reply::Started(main.as_raw_pid()).encode());
            watch.until_all_ended(main, command.grace)?
        }
        Err(error) => {
            let unknown = Errno::INVAL.raw_os_error();
            Reply::NotStarted(error.raw_os_error().unwrap_or(unknown))
        }
    };
    control.write_all(&reply.encode())
}

/// Starts the command in a process group of its own. The control does not go along: it is closed on
/// execution, and standard input is replaced.
fn start(command: &Command) -> io::Result<Pid> {
    let mut program = std::process::Command::new(&command.program);
    program.args(&command.arguments);
    program.current_dir(&command.directory);
    program.env_clear().envs(&command.environment);
    program.stdin(Stdio::null()).process_group(0);
    // It is waited for in `reap`.
    let child = program.spawn()?;
    Ok(Pid::from_child(&child))
}

/// All that must be there before a command may run: once it does, nothing may fail.
struct Watch {
    /// Where `reap` learns which process is the command.
    started: Sender<Pid>,
    events: Receiver<Event>,
}

impl Watch {
    fn new(control: UnixStream) -> io::Result<Self> {
        let (sender, events) = channel();
        let (started, main) = channel();
        let asked = sender.clone();
        thread::Builder::new().spawn(move || listen(control, &asked))?;
        thread::Builder::new().spawn(move || reap(&main, &sender))?;
        Ok(Self { started, events })
    }

    /// Waits for the end of the command, or for the word to end it, and then ends what is left.
    fn until_all_ended(&self, main: Pid, grace: Duration) -> io::Result<Reply> {
        self.started.send(main).map_err(io::Error::other)?;
        let first = self.events.recv().map_err(io::Error::other)?;
        if matches!(first, Event::Alone) {
            return Err(io::Error::other("the command ended without a status"));
        }
        if let Err(pid) = end(main, &self.events, grace) {
            return Ok(Reply::Remains(pid));
        }
        match first {
            Event::Ended(status) => reply(status),
            Event::Asked | Event::Alone => Ok(Reply::Asked),
        }
    }
}

fn reply(status: WaitStatus) -> io::Result<Reply> {
    let code = status.exit_status().map(Reply::Code);
    let signal = || status.terminating_signal().map(Reply::Signal);
    let unknown = || io::Error::other("the command ended neither by a code nor by a signal");
    code.or_else(signal).ok_or_else(unknown)
}

/// Waits until waybill's side of the control closes. Nothing else comes over it.
fn listen(mut control: UnixStream, events: &Sender<Event>) {
    let _ = io::copy(&mut control, &mut io::sink());
    let _ = events.send(Event::Asked);
}

/// Takes leave of every child that ends, adopted ones included, until there is none.
fn reap(started: &Receiver<Pid>, events: &Sender<Event>) {
    let Ok(main) = started.recv() else { return };
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == main => {
                let _ = events.send(Event::Ended(status));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    let _ = events.send(Event::Alone);
}

/// Ends everything below this process, or names one that could not be ended.
fn end(main: Pid, events: &Receiver<Event>, grace: Duration) -> Result<(), i32> {
    let grace = grace.min(MAX_GRACE);
    tree::terminate(main);
    let begun = Instant::now();
    let mut alone = false;
    while begun.elapsed() < grace + KILLING {
        if begun.elapsed() >= grace {
            tree::kill(main);
        }
        alone = alone || is_alone(events);
        if alone && tree::is_gone(main) {
            return Ok(());
        }
    }
    Err(tree::remaining(main).as_raw_pid())
}

/// Whether no child is left before a little time has passed.
fn is_alone(events: &Receiver<Event>) -> bool {
    loop {
        match events.recv_timeout(PAUSE) {
            Ok(Event::Alone) => return true,
            Ok(Event::Asked | Event::Ended(_)) => {}
            Err(_) => return false,
        }
    }
}
