//! `waybill debug`: for benchmarks and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::cli::args::{DebugRunArgs, RecordAllArgs};
use crate::cli::exit;
use crate::cli::output::Output;
use crate::cli::session::{Session, now};
use crate::cli::signal;
use crate::cli::stopped::Ended;
use crate::execute::builder::{BuildError, Builder, Job, Progress, Pushed};
use crate::execute::{Executor, Options, execute};
use crate::gather::CommitFacts;
use crate::key::effective_keys;
use crate::ledger::{BuiltFacts, BuiltRecord, breakdown, names};
use crate::mask::Secrets;
use crate::model::{Digest, Platform, Reason};
use crate::problem::{Class, Failure, Problem};
use crate::registry::manifest::OCI_IMAGE_MEDIA_TYPE;
use crate::registry::{Client, Put, RegistryError};
use crate::run::process::{self, Stream, Supervisor};

/// How much history a plan searches.
const HISTORY: usize = 500;

/// Computes every key, and prints their number and a digest over them.
pub(in crate::cli) fn keys(session: &Session) -> Ended {
    let facts = load(session)?;
    let keys = effective_keys(facts.in_order(), |_, _, _| false);
    let lines: Vec<String> = keys
        .iter()
        .map(|(name, key)| format!("{name} {}\n", key.key))
        .collect();
    let digest = Digest::of(lines.concat().as_bytes());
    session.output.data(&format!("{} {digest}\n", keys.len()))?;
    Ok(exit::DONE)
}

/// Writes a record for every key: with a tiny image each, or the digest of its own key for one.
pub(in crate::cli) async fn record_all(session: &Session, args: &RecordAllArgs) -> Ended {
    if args.images {
        return build_tiny(session, args).await;
    }
    let facts = load(session)?;
    let keys = effective_keys(facts.in_order(), |_, _, _| false);
    let bases = session.bases().await?;
    let ledger = &bases.bases.registry;
    stream::iter(&keys)
        .map(|(name, key)| async move {
            let record = BuiltRecord {
                facts: BuiltFacts {
                    image: Digest::of(key.key.as_bytes()),
                    commit: session.commit,
                    uses: BTreeMap::new(),
                    adopted: false,
                },
                reason: Reason::NeverBuilt {
                    searched: 0,
                    limit_reached: false,
                },
                inputs: serde_json::Value::Null,
                external: BTreeMap::new(),
                durations: BTreeMap::new(),
                builder: "waybill debug record-all".to_owned(),
            };
            ledger
                .write_built(key.key, name, &record, None, &now())
                .await?;
            Ok::<(), Failure>(())
        })
        .buffer_unordered(16)
        .try_collect::<Vec<()>>()
        .await?;
    session
        .output
        .data(&format!("{} records written\n", keys.len()))?;
    session.close(bases).await;
    Ok(exit::DONE)
}

/// Carries the plan out with a builder that needs no engine.
async fn build_tiny(session: &Session, args: &RecordAllArgs) -> Ended {
    let bases = session.bases().await?;
    let request = session.request(&[], HISTORY)?;
    let planning = session.plan(&bases, &request).await?;
    let names = planning.plan.projects.keys();
    let inputs = names.filter_map(|name| Some((name.clone(), breakdown(&planning.inputs(name)?))));
    let executor = Executor {
        builder: Arc::new(TinyImages {
            client: bases.bases.registry.client().clone(),
            fail: args.fail.iter().cloned().collect(),
            process: args.distinct.then(std::process::id),
        }),
        bases: bases.bases.clone(),
        sink: Arc::new(|_| {}),
        secrets: Secrets::default(),
        stop: CancellationToken::new(),
        now: Arc::new(now),
        by: session.repository.identity(),
        inputs: Arc::new(inputs.collect()),
        options: Options {
            jobs: 4,
            ..Options::default()
        },
    };
    let report = execute(&planning.plan, &executor).await?;
    for (name, (verdict, _)) in &report.verdicts {
        session
            .output
            .data(&format!("{name} {}\n", verdict.name()))?;
    }
    session.close(bases).await;
    Ok(exit::DONE)
}

/// Runs a command as tasks are run, with this process's environment and directory; its streams are
/// passed on.
pub(in crate::cli) async fn run(args: &DebugRunArgs, output: Output) -> Ended {
    let command = process::Command {
        program: args.program.clone(),
        arguments: args.arguments.clone(),
        directory: std::env::current_dir()?,
        environment: std::env::vars_os().collect(),
        grace: process::GRACE,
    };
    let stop = signal::stop();
    let mut written = Ok(());
    let mut pass_on = |stream, bytes: &[u8]| {
        if written.is_ok() {
            written = match stream {
                Stream::Out => std::io::stdout().write_all(bytes),
                Stream::Err => std::io::stderr().write_all(bytes),
            };
        }
        if written.is_err() {
            stop.cancel();
        }
    };
    let supervisor = Supervisor::own()?;
    let ended = supervisor.run(&command, args.limit, &stop, &mut pass_on);
    let ended = ended.await?;
    written?;
    std::io::stdout().flush()?;
    output.status(format_args!("{ended:?}"));
    Ok(exit::DONE)
}

/// Makes images without layers: a config that holds the key and what went in.
struct TinyImages {
    client: Client,
    /// Projects that fail.
    fail: BTreeSet<String>,
    /// What makes the images of this process others than everybody's, as real builds do.
    process: Option<u32>,
}

#[async_trait::async_trait]
impl Builder for TinyImages {
    async fn build(
        &self,
        job: &Job,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Pushed, BuildError> {
        progress(Progress::Output {
            step: "[1/1] RUN make".to_owned(),
            bytes: format!("\u{1b}[32mmaking\u{1b}[0m {}\n", job.project).into_bytes(),
        });
        if self.fail.contains(job.project.as_str()) {
            let problem = Problem::error("build-failed", "RUN make did not succeed");
            return Err(BuildError::Other(Failure::new(Class::Failed, problem)));
        }
        let pushed = self.push(job).await;
        let pushed = pushed.map_err(|error| BuildError::Other(error.into()))?;
        let Put::Done(image) = pushed else {
            let tag = names::image(job.key);
            return Err(BuildError::TagStands { tag });
        };
        Ok(Pushed {
            image,
            external: BTreeMap::from([("debian:12".to_owned(), Digest::of(b"debian:12"))]),
            durations: BTreeMap::from([("build".to_owned(), 20), ("push".to_owned(), 10)]),
            builder: "waybill debug record-all".to_owned(),
        })
    }
}

impl TinyImages {
    async fn push(&self, job: &Job) -> Result<Put, RegistryError> {
        // The digests alone: the port of an embedded registry changes with each run.
        let uses = job.uses.iter().map(|(name, reference)| {
            let digest = reference.rsplit('@').next().unwrap_or_default();
            format!("{name}@{digest}")
        });
        let platform = Platform::default();
        let config = json!({
            "os": platform.os,
            "architecture": platform.architecture,
            "config": {"Labels": {
                (names::KEY_LABEL): job.key,
                "org.opencontainers.image.revision": job.commit,
                "uses": uses.collect::<Vec<_>>().join(" "),
                "process": self.process,
            }},
            "rootfs": {"type": "layers", "diff_ids": []},
        });
        let config = Bytes::from(config.to_string());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_IMAGE_MEDIA_TYPE,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": Digest::of(&config),
                "size": config.len(),
            },
            "layers": [],
        });
        let repository = job.project.as_str();
        self.client.put_blob(repository, config).await?;
        let manifest = Bytes::from(manifest.to_string());
        let tag = names::image(job.key);
        self.client
            .put_manifest(repository, &tag, OCI_IMAGE_MEDIA_TYPE, manifest)
            .await
    }
}

fn load(session: &Session) -> Result<CommitFacts, Failure> {
    CommitFacts::load(
        &session.repository,
        session.commit,
        &session.commit_options(),
        None,
        true,
    )
}
