//! Blobs that pass through without being held: out of one registry's answer, into another's
//! upload, their digest computed on the way.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use reqwest::Response;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep_until, timeout};

use super::RegistryError;
use super::cause::{broken, silent};
use super::error::RequestLine;
use super::retry::Failure;
use crate::model::Digest;

/// A body that can be sent once.
#[derive(Debug)]
pub(super) struct Passing {
    /// How many bytes it has.
    pub(super) length: u64,
    content: Mutex<Option<reqwest::Body>>,
    source: Arc<Source>,
}

/// What is known of the side that a body comes from.
#[derive(Debug)]
struct Source {
    /// When a byte was last asked for or came, and whether it was the last one.
    moved: Mutex<(Instant, bool)>,
    failure: Mutex<Option<Failure>>,
}

/// The slowest that a registry is expected to put a blob into its place, in bytes per second.
const SLOWEST_STORAGE: u64 = 1 << 20;

impl Passing {
    /// The bytes of an answer that has begun. What comes is held back by one part, so that the
    /// last one leaves only if the whole has this size and digest.
    pub(super) fn new(
        response: Response,
        line: RequestLine,
        digest: Digest,
        size: u64,
        idle: Duration,
    ) -> Self {
        let source = Arc::new(Source {
            moved: Mutex::new((Instant::now(), false)),
            failure: Mutex::default(),
        });
        let state = State {
            response,
            line,
            digest,
            left: size,
            hasher: Sha256::new(),
            held: None,
            idle,
            source: Arc::clone(&source),
        };
        let parts = stream::try_unfold(Some(state), |state| async move {
            match state {
                None => Ok(None),
                Some(state) => state.next().await,
            }
        });
        Self {
            length: size,
            content: Mutex::new(Some(reqwest::Body::wrap_stream(parts))),
            source,
        }
    }

    /// The body, the first time.
    pub(super) fn take(&self) -> Option<reqwest::Body> {
        lock(&self.content).take()
    }

    /// What went wrong at the side that it comes from.
    pub(super) fn failure(&self) -> Option<Failure> {
        lock(&self.source.failure).take()
    }

    /// Does `work`, which sends it, as long as bytes move; `None` once they do not.
    pub(super) async fn watch<T>(
        &self,
        idle: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::pin!(work);
        // The side that it comes from has its own, shorter patience.
        let moving = idle + idle / 2;
        let storing = moving + Duration::from_secs(self.length / SLOWEST_STORAGE);
        loop {
            let (moved, ended) = *lock(&self.source.moved);
            let end = moved + if ended { storing } else { moving };
            tokio::select! {
                done = &mut work => return Some(done),
                () = sleep_until(end) => {
                    if lock(&self.source.moved).0 == moved {
                        return None;
                    }
                }
            }
        }
    }
}

/// The stream's state between two parts.
struct State {
    response: Response,
    line: RequestLine,
    digest: Digest,
    left: u64,
    hasher: Sha256,
    held: Option<Bytes>,
    idle: Duration,
    source: Arc<Source>,
}

/// A part, and what comes after it.
type Step = io::Result<Option<(Bytes, Option<State>)>>;

impl State {
    async fn next(mut self) -> Step {
        loop {
            self.source.moves(false);
            let part = match timeout(self.idle, self.response.chunk()).await {
                Err(_) => return self.fails(silent(&self.line, self.idle)),
                Ok(Err(cause)) => return self.fails(broken(&self.line, cause)),
                Ok(Ok(part)) => part,
            };
            let Some(part) = part else {
                return self.end();
            };
            self.hasher.update(&part);
            let Some(left) = self.left.checked_sub(part.len() as u64) else {
                return self.fails(self.corrupt("it has more bytes than its manifest says"));
            };
            self.left = left;
            if let Some(before) = self.held.replace(part) {
                return Ok(Some((before, Some(self))));
            }
        }
    }

    fn end(mut self) -> Step {
        if self.left > 0 {
            return self.fails(self.corrupt("it has fewer bytes than its manifest says"));
        }
        if Digest::new(self.hasher.clone().finalize().into()) != self.digest {
            return self.fails(self.corrupt("its bytes do not have the digest asked for"));
        }
        self.source.moves(true);
        Ok(self.held.take().map(|last| (last, None)))
    }

    fn corrupt(&self, detail: &str) -> Failure {
        let (request, detail) = (self.line.clone(), detail.to_owned());
        RegistryError::Corrupt { request, detail }.into()
    }

    fn fails(&self, failure: Failure) -> Step {
        let told = io::Error::other("the blob did not come whole");
        *lock(&self.source.failure) = Some(failure);
        Err(told)
    }
}

impl Source {
    fn moves(&self, ended: bool) {
        *lock(&self.moved) = (Instant::now(), ended);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
