//! `waybill attend`: what waybill starts below a supervisor to see to the containers of a task.
//! Nobody types it.

use std::io::Write as _;
use std::os::unix::process::parent_id;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::exit;
use crate::problem::Class;
use crate::run::attend::{self, ATTEND, Output};

/// How often to look whether the supervisor is still there.
const LOOK: Duration = Duration::from_millis(200);

/// Sees to the containers of one task, and says how to exit.
pub(in crate::cli) fn run() -> ExitCode {
    crate::registry::install_tls();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return ExitCode::from(exit::code(Class::Unreachable));
    };
    let code = runtime.block_on(attended());
    // What still writes to a reader that is gone is not waited for.
    runtime.shutdown_background();
    if let Some(code) = code {
        return ExitCode::from(code);
    }
    let _ = writeln!(
        std::io::stderr(),
        "error[command-line]: `waybill {ATTEND}` is what waybill starts to run a task in containers"
    );
    ExitCode::from(exit::code(Class::Usage))
}

async fn attended() -> Option<u8> {
    let stop = CancellationToken::new();
    tokio::spawn(watch(stop.clone()));
    let (mut out, mut error) = (std::io::stdout(), std::io::stderr());
    let output = Output {
        out: &mut out,
        error: &mut error,
    };
    attend::attend(std::env::vars_os().collect(), output, &stop).await
}

/// Waits until the supervisor asks for the end, or is gone.
async fn watch(stop: CancellationToken) {
    let supervisor = parent_id();
    let orphaned = async {
        while parent_id() == supervisor {
            tokio::time::sleep(LOOK).await;
        }
    };
    if let Ok(mut terminate) = signal(SignalKind::terminate()) {
        tokio::select! {
            _ = terminate.recv() => {}
            () = orphaned => {}
        }
    } else {
        orphaned.await;
    }
    stop.cancel();
}
