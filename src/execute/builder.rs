//! What the executor asks of whatever builds images: the real one drives BuildKit, tests script
//! one.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::event::{Phase, StepState};
use crate::model::{CommitId, Digest, Key, ProjectName};
use crate::problem::{Failure, Problem};

/// One image to be built and pushed.
#[derive(Clone, Debug)]
pub struct Job {
    /// The project.
    pub project: ProjectName,
    /// The commit.
    pub commit: CommitId,
    /// The key; the image is pushed under its tag.
    pub key: Key,
    /// The project images that it uses: full references by digest.
    pub uses: BTreeMap<ProjectName, String>,
    /// Images to take layers from: full references.
    pub cache_from: Vec<String>,
    /// Whether layers kept in the engine may be used too.
    pub use_engine_cache: bool,
}

/// An image that was built and pushed.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// The digest of its manifest in the registry.
    pub image: Digest,
    /// External images by name as written, with the digests that were used.
    pub external: BTreeMap<String, Digest>,
    /// Milliseconds that each phase took.
    pub durations: BTreeMap<String, u64>,
    /// Which program built it.
    pub builder: String,
}

/// Why no image came of a job.
#[derive(Debug)]
pub enum BuildError {
    /// An immutable tag stands on another image where this one was to be pushed.
    TagStands {
        /// The tag, in the project's own repository.
        tag: String,
    },
    /// Anything else; of class [`Failed`](crate::problem::Class::Failed) where the build itself failed.
    Other(Failure),
}

/// What a builder tells while it works.
#[derive(Clone, Debug)]
pub enum Progress {
    /// A phase begins.
    Phase(Phase),
    /// A step changed its state.
    Step {
        /// The step's name.
        name: String,
        /// Its state.
        state: StepState,
    },
    /// Output of a step, not masked yet.
    Output {
        /// The step's name.
        step: String,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Something worth knowing.
    Warning(Problem),
}

/// Builds images and pushes them.
#[async_trait]
pub trait Builder: Send + Sync {
    /// Builds one image and pushes it to the base that is written. Dropping the future stops the
    /// work.
    async fn build(
        &self,
        job: &Job,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Pushed, BuildError>;
}
