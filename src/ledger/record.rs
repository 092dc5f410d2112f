//! The facts that records state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::key::KeyInputs;
use crate::model::{CommitId, Digest, ProjectName, Reason, TaskName};

/// The marker of a base: without it, every look-up is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The base's id: every record of the base names it.
    pub id: String,
    /// Whether the base was made to be used with an upstream. For good: what is in such a base
    /// never feeds a deployment.
    pub upstream: bool,
}

/// What a plan needs to know of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltFacts {
    /// The image's digest.
    pub image: Digest,
    /// The commit that it was built for.
    pub commit: CommitId,
    /// Each project image that went in, by the digest that it had.
    pub uses: BTreeMap<ProjectName, Digest>,
    /// Whether it was taken over by its `cache-<commit>` tag rather than built by waybill.
    #[serde(default)]
    pub adopted: bool,
}

/// The whole record of a build.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuiltRecord {
    /// What a plan needs.
    #[serde(flatten)]
    pub facts: BuiltFacts,
    /// Why it was built, or for an adopted image why it was taken.
    pub reason: Reason,
    /// The inputs of the key, as `why --inputs` prints them; see [`breakdown`].
    pub inputs: serde_json::Value,
    /// External images by name as written, with the digests that were used.
    pub external: BTreeMap<String, Digest>,
    /// Milliseconds that each step took, by name.
    pub durations: BTreeMap<String, u64>,
    /// Which program built it, e.g. `waybill 0.1.0, engine 20.10.24`.
    pub builder: String,
}

/// The statement that the image under a key is not to be trusted, or is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaintRecord {
    /// Why, with who said it and at which commit.
    pub reason: Reason,
    /// The commit at which it was said.
    pub commit: CommitId,
    /// Who said it: a name and address of git's, or the program.
    pub by: String,
}

/// The last failure of a build under a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRecord {
    /// The commit whose build failed.
    pub commit: CommitId,
    /// The error's code.
    pub code: String,
    /// What failed.
    pub message: String,
    /// Why it was being built.
    pub reason: Reason,
    /// Milliseconds until it failed.
    pub duration: u64,
}

/// What counts of a task that passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedFacts {
    /// The task.
    pub task: TaskName,
    /// The commit that it was run at.
    pub commit: CommitId,
    /// The images that took part, by project. It counts only as long as these are current.
    pub images: BTreeMap<ProjectName, Digest>,
    /// How often it was tried until it passed; more than once is a flaky task.
    pub attempts: u32,
    /// Milliseconds that it took, all attempts together.
    pub duration: u64,
}

/// The whole record of a task that passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PassedRecord {
    /// What counts.
    #[serde(flatten)]
    pub facts: PassedFacts,
    /// The inputs of the task's key.
    pub inputs: serde_json::Value,
    /// Which program ran it, e.g. `waybill 0.1.0`.
    pub runner: String,
}

/// The last failure of a task under a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedTaskRecord {
    /// The task.
    pub task: TaskName,
    /// The commit that it was run at.
    pub commit: CommitId,
    /// `failed`, `timed-out` or `interrupted`.
    pub verdict: String,
    /// What failed.
    pub message: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Milliseconds that it took, all attempts together.
    pub duration: u64,
}

/// The most sources that a record lists; of more, their number is kept.
const MAX_SOURCES: usize = 10_000;

/// The inputs of a key as JSON, for a record. Where there are more than ten thousand sources, the
/// list is cut, and `sourcesTotal` tells how many there were.
#[must_use]
pub fn breakdown(inputs: &KeyInputs) -> serde_json::Value {
    let mut cut = inputs.clone();
    let total = cut.sources.len();
    if total > MAX_SOURCES {
        cut.sources = cut.sources.into_iter().take(MAX_SOURCES).collect();
    }
    let mut value = serde_json::to_value(&cut).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("sourcesTotal".to_owned(), total.into());
        fields.insert("keyVersion".to_owned(), crate::key::VERSION.into());
    }
    value
}
