//! Questions that are asked once a run, whoever needs the answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

/// Answers by name. Whoever asks for a name that is being asked for waits for that answer; nobody
/// waits for another name's.
#[derive(Debug)]
pub(super) struct Asked<T>(Mutex<BTreeMap<String, Arc<OnceCell<T>>>>);

impl<T> Default for Asked<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Asked<T> {
    /// The answer, asked for if it was not yet.
    pub(super) async fn once<F: Future<Output = T>>(
        &self,
        name: &str,
        asking: impl FnOnce() -> F,
    ) -> T {
        self.cell(name).get_or_init(asking).await.clone()
    }

    fn cell(&self, name: &str) -> Arc<OnceCell<T>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(name.to_owned()).or_default())
    }
}
