//! ECR's quotas on calls, kept to by the whole process: what goes out too fast is only refused.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::registry::request::Kind;

/// When the next request of each limited kind may go out.
#[derive(Debug, Default)]
pub(super) struct Pace {
    manifest_puts: Mutex<Option<Instant>>,
    uploads: Mutex<Option<Instant>>,
}

/// `PutImage`: 10 a second in a region, less a little, as requests do not travel evenly.
const BETWEEN_MANIFEST_PUTS: Duration = Duration::from_millis(110);

/// `InitiateLayerUpload` and `CompleteLayerUpload`: 100 a second each in a region.
const BETWEEN_UPLOADS: Duration = Duration::from_millis(10);

impl Pace {
    /// Waits for this request's turn.
    pub(super) async fn admit(&self, kind: Kind) {
        let (next, between) = match kind {
            Kind::ManifestPut => (&self.manifest_puts, BETWEEN_MANIFEST_PUTS),
            Kind::BlobPut => (&self.uploads, BETWEEN_UPLOADS),
            _ => return,
        };
        sleep_until(turn(next, between)).await;
    }
}

fn turn(next: &Mutex<Option<Instant>>, between: Duration) -> Instant {
    let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    let turn = next.map_or(now, |next| next.max(now));
    *next = Some(turn + between);
    turn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_apart_and_kinds_do_not_wait_for_each_other() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let pace = Pace::default();
            let started = Instant::now();
            for _ in 0..4 {
                pace.admit(Kind::ManifestPut).await;
            }
            assert!(started.elapsed() >= 3 * BETWEEN_MANIFEST_PUTS);
            let started = Instant::now();
            pace.admit(Kind::BlobPut).await;
            for _ in 0..1000 {
                pace.admit(Kind::ManifestGet).await;
            }
            assert!(started.elapsed() < BETWEEN_MANIFEST_PUTS);
        });
    }
}
