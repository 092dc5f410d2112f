//! The same work for many items, on a few threads.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The most threads that look into one tree.
const THREADS: usize = 4;
/// From how many items on more than one thread is worth its start.
const WORTH_A_THREAD: usize = 64;
/// How many items a thread takes at a time.
const BATCH: usize = 32;

/// Applies `work` to every item, on several threads where there are many, in the items' order.
pub(super) fn in_parallel<I: Copy + Sync, T: Send>(
    items: &[I],
    work: impl Fn(I) -> T + Sync,
) -> Vec<T> {
    let available = thread::available_parallelism().map_or(1, usize::from);
    let threads = available.min(THREADS).min(items.len() / WORTH_A_THREAD);
    if threads < 2 {
        return items.iter().map(|item| work(*item)).collect();
    }
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            let start = next.fetch_add(BATCH, Ordering::Relaxed);
            let Some(batch) = items.get(start..items.len().min(start + BATCH)) else {
                return done;
            };
            if batch.is_empty() {
                return done;
            }
            done.push((
                start,
                batch.iter().map(|item| work(*item)).collect::<Vec<T>>(),
            ));
        }
    };
    let mut batches: Vec<(usize, Vec<T>)> = thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|_| scope.spawn(take)).collect();
        let mut batches = take();
        for worker in workers {
            match worker.join() {
                Ok(done) => batches.extend(done),
                Err(panic) => resume_unwind(panic),
            }
        }
        batches
    });
    batches.sort_unstable_by_key(|(start, _)| *start);
    batches.into_iter().flat_map(|(_, done)| done).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_comes_once_and_in_order() {
        for count in [0, 1, 63, 64, 129, 1000] {
            let items: Vec<usize> = (0..count).collect();
            assert_eq!(in_parallel(&items, |item| item), items);
        }
    }
}
