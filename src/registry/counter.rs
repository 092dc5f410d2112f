//! How many requests went out, and how long they took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::request::{Kind, Requests};

/// The running count, and the time with a request under way.
#[derive(Debug)]
pub(super) struct Counter {
    counts: [AtomicU64; Kind::ALL.len()],
    waiting: Mutex<Waiting>,
}

/// Time that is not counted twice where several requests are under way.
#[derive(Debug, Default)]
struct Waiting {
    under_way: usize,
    since: Option<Instant>,
    before: Duration,
}

/// A request under way, until it is dropped.
#[must_use]
pub(super) struct UnderWay<'c>(&'c Counter);

impl Counter {
    pub(super) fn new() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            waiting: Mutex::default(),
        }
    }

    /// Counts a request, which is under way as long as the answer lives.
    pub(super) fn begin(&self, kind: Kind) -> UnderWay<'_> {
        self.counts[kind as usize].fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.waiting();
        waiting.under_way += 1;
        waiting.since.get_or_insert_with(Instant::now);
        UnderWay(self)
    }

    pub(super) fn read(&self) -> Requests {
        let read = |at: usize| self.counts[at].load(Ordering::Relaxed);
        Requests(std::array::from_fn(read))
    }

    /// How long at least one request was under way.
    pub(super) fn waited(&self) -> Duration {
        let waiting = self.waiting();
        let now = waiting
            .since
            .map_or(Duration::ZERO, |since| since.elapsed());
        waiting.before + now
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.under_way -= 1;
        if waiting.under_way == 0 {
            let since = waiting.since.take();
            waiting.before += since.map_or(Duration::ZERO, |since| since.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_counted_once() {
        let counter = Counter::new();
        let start = Instant::now();
        let both = (counter.begin(Kind::Tags), counter.begin(Kind::Ping));
        std::thread::sleep(Duration::from_millis(20));
        drop(both);
        let waited = counter.waited();
        assert!(waited >= Duration::from_millis(20) && waited <= start.elapsed());
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(counter.waited(), waited);
    }
}
