//! An engine behind ssh: the system's `ssh` runs `docker system dial-stdio` over there, and its
//! standard input and output are the connection.

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// Where to.
pub(super) struct Destination<'a> {
    pub(super) user: Option<&'a str>,
    pub(super) host: &'a str,
    pub(super) port: Option<u16>,
    pub(super) socket: Option<&'a str>,
}

/// The connection; the program ends with it.
pub(super) struct SshStream {
    input: ChildStdin,
    output: ChildStdout,
    complaint: Complaint,
    heard: bool,
    _child: Child,
}

/// What the program says on standard error, read when it says nothing else: the reason.
type Complaint = Pin<Box<dyn Future<Output = String> + Send>>;

/// The most that is kept of a complaint.
const COMPLAINT: u64 = 4096;

/// Starts the program; whether it gets through shows when something is read.
pub(super) fn connect(destination: &Destination<'_>) -> io::Result<SshStream> {
    let mut child = command(destination)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
    Ok(SshStream {
        input: child.stdin.take().ok_or_else(closed)?,
        output: child.stdout.take().ok_or_else(closed)?,
        complaint: complaint(child.stderr.take().ok_or_else(closed)?),
        heard: false,
        _child: child,
    })
}

fn command(destination: &Destination<'_>) -> Command {
    let mut command = Command::new("ssh");
    command.args(["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=30"]);
    command.args(["-o", "ServerAliveInterval=30"]);
    if let Some(user) = destination.user {
        command.args(["-l", user]);
    }
    if let Some(port) = destination.port {
        command.args(["-p", &port.to_string()]);
    }
    command.args(["--", destination.host, "docker"]);
    if let Some(socket) = destination.socket {
        command.args(["--host", &format!("unix://{socket}")]);
    }
    command.args(["system", "dial-stdio"]);
    command
}

fn complaint(stderr: ChildStderr) -> Complaint {
    // Read in a task of its own, so that a talkative program never waits for a reader.
    let text = tokio::spawn(async move {
        let mut kept = Vec::new();
        let mut head = stderr.take(COMPLAINT);
        let read = head.read_to_end(&mut kept).await;
        if read.is_ok() {
            let _ = tokio::io::copy(&mut head.into_inner(), &mut tokio::io::sink()).await;
        }
        String::from_utf8_lossy(&kept).trim().to_owned()
    });
    Box::pin(async move { text.await.unwrap_or_default() })
}

impl AsyncRead for SshStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.output).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.heard = true;
            Poll::Ready(Ok(()))
        } else {
            self.poll_ended(context)
                .map(|reason| reason.map_or(Ok(()), Err))
        }
    }
}

impl SshStream {
    /// Why the program ended without having said a word, the first time that this is asked.
    fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Error>> {
        if self.heard {
            return Poll::Ready(None);
        }
        let text = ready!(self.complaint.as_mut().poll(context));
        self.heard = true;
        Poll::Ready(Some(io::Error::other(format!("ssh: {text}"))))
    }
}

impl AsyncWrite for SshStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.input).poll_write(context, bytes)) {
            Ok(written) => Poll::Ready(Ok(written)),
            Err(error) => {
                let reason = ready!(self.poll_ended(context));
                Poll::Ready(Err(reason.unwrap_or(error)))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_shutdown(context)
    }
}
