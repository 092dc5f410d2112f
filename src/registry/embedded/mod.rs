//! The embedded registry: a directory, served on a port of this machine for as long as it is
//! needed. ferro-oci-server speaks the protocol; what is kept, and how blobs stream in and out, is
//! our own (store.rs, meta.rs, blobs.rs, uploads.rs; routes.rs puts them together).
//!
//! Invariants: on a loopback address only requests that name this machine are answered (host.rs);
//! everything is on disk before it is acknowledged; nothing is held in memory that
//! another process over the same directory could change; a directory that is not plainly an
//! embedded registry's is an error, never an empty registry.

mod blobs;
mod files;
mod host;
mod meta;
mod routes;
mod store;
mod uploads;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::problem::{Class, Diagnose, Problem};
use store::Store;

/// Why an embedded registry cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The directory cannot be used, or is not an embedded registry's.
    #[error("the embedded registry in {} cannot be used: {why}", path.display())]
    Store {
        /// The directory, or the file in it that is wrong.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The port cannot be listened on.
    #[error("the embedded registry cannot listen on {address}: {cause}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The system's reason.
        cause: std::io::Error,
    },
}

impl Diagnose for EmbeddedError {
    fn class(&self) -> Class {
        Class::Unreachable
    }

    fn problems(&self) -> Vec<Problem> {
        let (code, hint) = match self {
            Self::Store { .. } => (
                "embedded-store",
                "check the directory's permissions; if what it holds is not needed any more, \
                 remove it, and everything is built again",
            ),
            Self::Listen { .. } => ("embedded-listen", "choose another address or port"),
        };
        vec![Problem::error(code, self.to_string()).hint(hint)]
    }
}

/// A running embedded registry. Stops when dropped; [`Server::stop`] also waits for it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// How long requests under way may take to end once the server is to stop.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

impl Server {
    /// Where it listens, with the port that the system chose where 0 was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, lets those under way end (up to 5 seconds), and returns.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(LAST_REQUESTS, &mut self.task)
            .await
            .is_err()
        {
            self.task.abort();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Serves the registry kept in `directory` (made if it is not there) on `listen`; port 0 lets the
/// system choose. Several processes may serve one directory at the same time, each on a port of
/// its own. The directory, or `.waybill` where it lies in one, is hidden from git.
pub async fn serve(directory: &Path, listen: SocketAddr) -> Result<Server, EmbeddedError> {
    let store = Store::open(directory)?;
    let uploads = uploads::Uploads::new(store.clone())?;
    let failed = |cause| EmbeddedError::Listen {
        address: listen,
        cause,
    };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let stop = CancellationToken::new();
    let router = routes::router(store, uploads, address)?;
    let stopped = stop.clone().cancelled_owned();
    let task = tokio::spawn(async move {
        // The server's loop ends only when it is told to; failed connections do not end it.
        let _ = axum::serve(listener, router)
            .with_graceful_shutdown(stopped)
            .await;
    });
    Ok(Server {
        address,
        stop,
        task,
    })
}
