//! Whether the work tree is as the commit has it, as far as a task's result rests on it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;

use crate::gather::CommitFacts;
use crate::git::Repository;
use crate::model::{Change, RepoPath};
use crate::plan::{FoundTask, Side, paths_that_count};
use crate::problem::{Class, Failure, Problem};

/// The work tree beside the commit. Whoever asks while it is being looked at waits for the next
/// look, which serves all that have asked by then.
pub struct WorkTree {
    repository: Arc<Repository>,
    facts: Arc<CommitFacts>,
    last: Mutex<Option<Look>>,
}

/// What differed, and when looking began.
struct Look {
    began: Instant,
    changes: Arc<Vec<Change>>,
}

impl WorkTree {
    /// The work tree of a repository, to be held against the commit of these facts.
    #[must_use]
    pub fn new(repository: Repository, facts: CommitFacts) -> Self {
        Self {
            repository: Arc::new(repository),
            facts: Arc::new(facts),
            last: Mutex::new(None),
        }
    }

    /// The paths that a task's result rests on and that are not the commit's, from now on.
    pub(super) async fn differing(&self, task: &FoundTask) -> Result<Vec<RepoPath>, Failure> {
        let changes = self.changes().await?;
        let side = Side {
            manifest: &self.facts.manifest,
            projects: &self.facts.projects,
        };
        let inputs = task.task.inputs.as_deref();
        let counting = paths_that_count(&changes, &task.id.project, inputs, side);
        let is_named = |path: &RepoPath| task.inputs.files.iter().any(|file| file.path == *path);
        let named = changes
            .iter()
            .map(|change| &change.path)
            .filter(|path| is_named(path));
        let all: BTreeSet<RepoPath> = counting.into_iter().chain(named.cloned()).collect();
        Ok(all.into_iter().collect())
    }

    /// What differs, looked at after this was asked.
    async fn changes(&self) -> Result<Arc<Vec<Change>>, Failure> {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some(look) = last.as_ref().filter(|look| look.began >= asked) {
            return Ok(Arc::clone(&look.changes));
        }
        let began = Instant::now();
        let (repository, tree) = (Arc::clone(&self.repository), self.facts.commit.tree);
        let looked = tokio::task::spawn_blocking(move || {
            let now = repository.commit(repository.commit_work_tree()?)?.tree;
            repository.changes(tree, now)
        });
        let changes = looked.await.map_err(|_| broken_off())??;
        let changes = Arc::new(changes);
        *last = Some(Look {
            began,
            changes: Arc::clone(&changes),
        });
        Ok(changes)
    }
}

fn broken_off() -> Failure {
    let problem =
        Problem::error("work-tree-unread", "the look at the work tree broke off").hint("run again");
    Failure::new(Class::Unreachable, problem)
}
