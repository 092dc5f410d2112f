//! A builder that follows a script: it pushes small images, real ones, and keeps what it was asked
//! for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::json;
use waybill::event::Phase;
use waybill::execute::builder::{BuildError, Builder, Job, Progress, Pushed};
use waybill::ledger::names;
use waybill::model::{Digest, Key};
use waybill::problem::{Class, Failure, Problem};
use waybill::registry::{Client, Put, RegistryError};

/// What a build of one project does; those without one build and push.
#[derive(Clone)]
pub(crate) enum Act {
    /// A step fails.
    Fail,
    /// Something cannot be reached.
    Unreachable,
    /// Never ends.
    Hang,
    /// Writes these bytes, in these pieces, to a step's output, and fails with the last.
    Say(Vec<Vec<u8>>),
    /// Something happens before the image is pushed.
    First(Before),
    /// This immutable tag stands in the way.
    TagStands(String),
}

/// Something that happens before an image is pushed.
pub(crate) type Before = Arc<dyn Fn(Job) -> BoxFuture<'static, ()> + Send + Sync>;

impl Act {
    /// Something happens before the image is pushed.
    pub(crate) fn first<F>(before: impl Fn(Job) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::First(Arc::new(move |job| Box::pin(before(job))))
    }
}

/// The builder.
pub(crate) struct ScriptedBuilder {
    /// The base that is written, then the others.
    clients: Vec<Client>,
    script: BTreeMap<String, Act>,
    jobs: Mutex<Vec<Job>>,
    /// `+api` where a build of it began, `-api` where it ended.
    moments: Mutex<Vec<String>>,
}

/// Makes each image another one, as real builds do.
static NONCE: AtomicU64 = AtomicU64::new(0);

impl ScriptedBuilder {
    pub(crate) fn new(clients: Vec<Client>, script: BTreeMap<String, Act>) -> Self {
        Self {
            clients,
            script,
            jobs: Mutex::default(),
            moments: Mutex::default(),
        }
    }

    /// What it was asked for, in the order of beginning.
    pub(crate) fn jobs(&self) -> Vec<Job> {
        self.jobs.lock().unwrap().clone()
    }

    /// The one job of a project.
    pub(crate) fn job(&self, project: &str) -> Job {
        let jobs = self.jobs().into_iter();
        let mut jobs: Vec<Job> = jobs.filter(|job| job.project.as_str() == project).collect();
        assert_eq!(jobs.len(), 1, "builds of {project}");
        jobs.remove(0)
    }

    /// When a build of a project began (`+api`) or ended (`-api`), counted in such moments.
    pub(crate) fn moment(&self, moment: &str) -> usize {
        let moments = self.moments.lock().unwrap();
        let found = moments.iter().position(|known| known == moment);
        found.unwrap_or_else(|| panic!("no {moment} in {moments:?}"))
    }

    /// The most builds that were under way at once.
    pub(crate) fn most_at_once(&self) -> usize {
        let (mut now, mut most) = (0_usize, 0);
        for moment in self.moments.lock().unwrap().iter() {
            if moment.starts_with('+') {
                now += 1;
                most = most.max(now);
            } else {
                now -= 1;
            }
        }
        most
    }

    fn note(&self, sign: char, job: &Job) {
        let moment = format!("{sign}{}", job.project);
        self.moments.lock().unwrap().push(moment);
    }

    /// As an engine would: an image that is used must be there.
    async fn check_used(&self, job: &Job) -> Result<(), BuildError> {
        for (project, reference) in &job.uses {
            let holder = self.clients.iter().find_map(|client| {
                let digest = reference.strip_prefix(&client.base().name(project))?;
                Some((client, digest.strip_prefix('@')?))
            });
            let Some((client, digest)) = holder else {
                return Err(failed(format!("{reference} is in no base")));
            };
            let found = client.manifest(project.as_str(), digest).await;
            if found.map_err(|error| other(&error))?.is_none() {
                return Err(failed(format!("{reference} is not there")));
            }
        }
        Ok(())
    }

    async fn act(
        &self,
        job: &Job,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<(), BuildError> {
        match self.script.get(job.project.as_str()) {
            None => Ok(()),
            Some(Act::Fail) => Err(failed("the script has it fail".to_owned())),
            Some(Act::Unreachable) => {
                let problem = Problem::error("engine-unreachable", "the script has it so");
                let failure = Failure::new(Class::Unreachable, problem);
                Err(BuildError::Other(failure))
            }
            Some(Act::Hang) => std::future::pending().await,
            Some(Act::Say(pieces)) => {
                for bytes in pieces.iter().cloned() {
                    let step = "[1/1] RUN say".to_owned();
                    progress(Progress::Output { step, bytes });
                }
                let last = pieces.concat();
                Err(failed(String::from_utf8_lossy(&last).into_owned()))
            }
            Some(Act::First(before)) => {
                before(job.clone()).await;
                Ok(())
            }
            Some(Act::TagStands(tag)) => Err(BuildError::TagStands { tag: tag.clone() }),
        }
    }
}

#[async_trait]
impl Builder for ScriptedBuilder {
    async fn build(
        &self,
        job: &Job,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Pushed, BuildError> {
        self.jobs.lock().unwrap().push(job.clone());
        self.note('+', job);
        progress(Progress::Phase(Phase::Build));
        self.check_used(job).await?;
        self.act(job, progress).await?;
        progress(Progress::Phase(Phase::Push));
        let uses: Vec<_> = job.uses.values().collect();
        let nonce = NONCE.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let content = format!("{} {} {uses:?} {process} {nonce}", job.project, job.key);
        let (repository, tag) = (job.project.as_str(), names::image(job.key));
        let pushed = try_push_image(
            &self.clients[0],
            repository,
            &tag,
            content.as_bytes(),
            Some(job.key),
        );
        let Put::Done(image) = pushed.await.map_err(|error| other(&error))? else {
            return Err(BuildError::TagStands { tag });
        };
        self.note('-', job);
        Ok(Pushed {
            image,
            external: BTreeMap::new(),
            durations: BTreeMap::new(),
            builder: "script".to_owned(),
        })
    }
}

fn failed(message: String) -> BuildError {
    let problem = Problem::error("build-failed", message);
    BuildError::Other(Failure::new(Class::Failed, problem))
}

fn other(error: &RegistryError) -> BuildError {
    BuildError::Other(error.clone().into())
}

const TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Pushes an image of one layer, for linux/amd64.
pub(crate) async fn push_image(
    client: &Client,
    repository: &str,
    tag: &str,
    layer: &[u8],
    key: Option<Key>,
) -> Result<Digest, RegistryError> {
    match try_push_image(client, repository, tag, layer, key).await? {
        Put::Done(digest) => Ok(digest),
        Put::TagStands => panic!("{repository}:{tag} stands"),
    }
}

async fn try_push_image(
    client: &Client,
    repository: &str,
    tag: &str,
    layer: &[u8],
    key: Option<Key>,
) -> Result<Put, RegistryError> {
    let labels = match key {
        Some(key) => json!({names::KEY_LABEL: key.to_string()}),
        None => json!({}),
    };
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(layer)]},
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": TYPE,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::of(&config),
            "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": Digest::of(layer),
            "size": layer.len(),
        }],
    });
    client
        .put_blob(repository, Bytes::copy_from_slice(layer))
        .await?;
    client.put_blob(repository, config.into()).await?;
    let bytes = Bytes::from(manifest.to_string());
    client.put_manifest(repository, tag, TYPE, bytes).await
}
