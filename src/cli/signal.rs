//! Ctrl-C and SIGTERM: the first stops the work cleanly, the second ends the process.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first Ctrl-C or SIGTERM from now on. A second one ends the
/// process as it would have without this.
pub(super) fn stop() -> CancellationToken {
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        ) else {
            return;
        };
        for _ in 0..2 {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if token.is_cancelled() {
                #[expect(clippy::exit, reason = "the second signal: the user will not wait")]
                std::process::exit(130);
            }
            token.cancel();
        }
    });
    stop
}
