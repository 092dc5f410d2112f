//! One project: built, pushed, recorded, or whatever stands by then taken instead.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::builder::{BuildError, Job, Pushed};
use super::log::BuildLog;
use super::{Executor, Image};
use crate::event::{Event, Phase, Verdict, milliseconds};
use crate::ledger::{BuiltFacts, BuiltRecord, FailedRecord, LedgerError, TaintRecord, names};
use crate::model::{CommitId, Digest, ProjectName, Reason};
use crate::plan::{Action, BuildStep, Found, Lookup, Place, Planned};
use crate::problem::{Class, Failure, Problem};
use crate::registry::Put;

/// How often the tag of a key is put back while others move it.
const SETTLED: usize = 8;
/// How often a build is repeated because an image that went into it was replaced meanwhile.
const ATTEMPTS: usize = 3;
/// How long it is until a record that is awaited is asked for again.
const RECORD_INTERVAL: Duration = Duration::from_millis(500);

type Images = BTreeMap<ProjectName, Image>;

/// Brings one project to its end.
pub(super) async fn run(
    executor: &Executor,
    commit: CommitId,
    planned: &Planned,
    images: Images,
) -> Verdict {
    let work = Work {
        executor,
        commit,
        planned,
        started: Instant::now(),
    };
    let result = match &planned.action {
        Action::Build(step) => work.build(step, images).await,
        Action::Reuse { facts, place, .. } => work.adopt(facts, *place).await,
        Action::None => Ok(Verdict::None {
            kind: planned.reason.kind(),
        }),
    };
    result.unwrap_or_else(|failure| verdict_of(executor, &planned.name, failure))
}

struct Work<'a> {
    executor: &'a Executor,
    commit: CommitId,
    planned: &'a Planned,
    started: Instant,
}

impl Work<'_> {
    async fn build(&self, step: &BuildStep, mut images: Images) -> Result<Verdict, Failure> {
        (self.executor.sink)(Event::Started {
            project: self.planned.name.clone(),
            kind: self.planned.reason.kind(),
        });
        for _ in 0..ATTEMPTS {
            if let Some(found) = self.standing().await? {
                return self.take(found).await;
            }
            let log = BuildLog::new(
                self.planned.name.clone(),
                self.executor.secrets.clone(),
                self.executor.sink.clone(),
            );
            let pushed = match self.push(step, &images, &log).await {
                Ok(pushed) => pushed,
                Err(BuildError::TagStands { tag }) => return self.await_record(&tag).await,
                Err(BuildError::Other(failure)) => return Ok(self.failed(failure, &log).await),
            };
            if let Some(found) = self.standing().await? {
                return self.take(found).await;
            }
            let current = self.current(&images).await?;
            if current == images {
                return self.record(pushed, &images, &log).await;
            }
            images = current;
        }
        let message = "the images that it uses were replaced each time while it was built";
        let problem = Problem::error("dependency-unsettled", message)
            .hint("another run builds the same keys at this moment: run again when it is done");
        Err(Failure::new(Class::Unreachable, problem))
    }

    /// The record that stands for the key, by now.
    async fn standing(&self) -> Result<Option<Found>, Failure> {
        let planned = self.planned;
        match self
            .executor
            .bases
            .built(planned.key.key, &planned.name)
            .await?
        {
            Lookup::Absent => Ok(None),
            Lookup::Found(found) => Ok(Some(found)),
            Lookup::Unreadable { why } => Err(Failure::new(
                Class::Unreachable,
                Problem::error(
                    "record-unreadable",
                    format!("the record cannot be read: {why}"),
                )
                .hint("run again: the key will be distrusted, and built under another"),
            )),
        }
    }

    async fn push(
        &self,
        step: &BuildStep,
        images: &Images,
        log: &BuildLog,
    ) -> Result<Pushed, BuildError> {
        let uses = images
            .iter()
            .map(|(name, image)| (name.clone(), image.reference.clone()));
        let trusted = self.executor.options.layer_cache && !self.planned.reason.distrusts();
        let job = Job {
            project: self.planned.name.clone(),
            commit: self.commit,
            key: self.planned.key.key,
            uses: uses.collect(),
            cache_from: if trusted {
                step.cache_from.clone()
            } else {
                Vec::new()
            },
            use_engine_cache: trusted,
        };
        let progress = |progress| log.progress(progress);
        let work = self.executor.builder.build(&job, &progress);
        let Some(limit) = self.executor.options.timeout else {
            return work.await;
        };
        let Ok(pushed) = tokio::time::timeout(limit, work).await else {
            let message = format!("the build took longer than {} s", limit.as_secs());
            let problem = Problem::error("build-timeout", message)
                .hint("raise --timeout, or see in the log which step hangs");
            return Err(BuildError::Other(Failure::new(Class::Failed, problem)));
        };
        pushed
    }

    /// The images that are used, as their records have them now.
    async fn current(&self, images: &Images) -> Result<Images, Failure> {
        let mut current = Images::new();
        for (name, image) in images {
            let Some(key) = image.recorded else {
                current.insert(name.clone(), image.clone());
                continue;
            };
            let image = match self.executor.bases.built(key, name).await? {
                Lookup::Found(found) => Image {
                    reference: self.reference(name, &found),
                    digest: found.facts.image,
                    recorded: image.recorded,
                },
                // The record of an image that was used is gone: what was built on it is not
                // recorded, and the next run builds both.
                Lookup::Absent | Lookup::Unreadable { .. } => {
                    let message = format!("the record of {name}, whose image went in, is gone");
                    let problem = Problem::error("dependency-record-gone", message)
                        .hint("run again: both are built then");
                    return Err(Failure::new(Class::Unreachable, problem));
                }
            };
            current.insert(name.clone(), image);
        }
        Ok(current)
    }

    fn reference(&self, name: &ProjectName, found: &Found) -> String {
        let ledger = self.executor.bases.ledger(found.place);
        ledger
            .client()
            .base()
            .image(name.as_str(), &found.facts.image)
    }

    async fn record(
        &self,
        pushed: Pushed,
        images: &Images,
        log: &BuildLog,
    ) -> Result<Verdict, Failure> {
        let planned = self.planned;
        (self.executor.sink)(Event::Phase {
            project: planned.name.clone(),
            phase: Phase::Record,
        });
        self.tag(&pushed.image, &names::alias(self.commit)).await?;
        let uses = images
            .iter()
            .map(|(name, image)| (name.clone(), image.digest))
            .collect();
        let image = pushed.image;
        let record = BuiltRecord {
            facts: BuiltFacts {
                image,
                commit: self.commit,
                uses,
                adopted: false,
            },
            reason: planned.reason.clone(),
            inputs: self.inputs(),
            external: pushed.external,
            durations: pushed.durations,
            builder: pushed.builder,
        };
        let now = (self.executor.now)();
        let registry = &self.executor.bases.registry;
        let log = Some(log.finish(None));
        let facts = registry
            .write_built(planned.key.key, &planned.name, &record, log, &now)
            .await?;
        let found = Found {
            facts,
            place: Place::Registry,
        };
        let found = self.settle(found).await?;
        if found.facts.image != image {
            return Ok(self.reused(&found));
        }
        let image = self.reference(&planned.name, &found);
        Ok(Verdict::Built {
            image,
            digest: found.facts.image,
        })
    }

    /// Takes what somebody else recorded.
    async fn take(&self, found: Found) -> Result<Verdict, Failure> {
        let found = self.settle(found).await?;
        Ok(self.reused(&found))
    }

    /// Puts the key's tag on the recorded image, if another run moved it. Whoever pushed the key's
    /// image does so before it ends, and looks at the record once more after it moved the tag, so
    /// that the last one leaves both alike.
    async fn settle(&self, mut found: Found) -> Result<Found, Failure> {
        let client = self.executor.bases.registry.client();
        let tag = names::image(self.planned.key.key);
        for _ in 0..SETTLED {
            if found.place != Place::Registry {
                break;
            }
            let tagged = client.digest_of(self.planned.name.as_str(), &tag).await?;
            if tagged == Some(found.facts.image) {
                break;
            }
            self.tag(&found.facts.image, &tag).await?;
            match self.standing().await? {
                Some(standing) => found = standing,
                None => break,
            }
        }
        Ok(found)
    }

    fn reused(&self, found: &Found) -> Verdict {
        let image = self.reference(&self.planned.name, found);
        Verdict::Reused {
            image,
            digest: found.facts.image,
            commit: found.facts.commit,
        }
    }

    /// An immutable tag stood in the way: somebody else pushed the image, and must be about to
    /// record it. If no record comes, nobody is, and the key is given up.
    async fn await_record(&self, tag: &str) -> Result<Verdict, Failure> {
        let since = Instant::now();
        loop {
            if let Some(found) = self.standing().await? {
                return self.take(found).await;
            }
            if since.elapsed() >= self.executor.options.record_patience {
                break;
            }
            tokio::time::sleep(RECORD_INTERVAL).await;
        }
        let planned = self.planned;
        let why = format!("the tag {tag} stands without a record");
        let taint = TaintRecord {
            reason: Reason::RecordLost { why: why.clone() },
            commit: self.commit,
            by: self.executor.by.clone(),
        };
        let registry = &self.executor.bases.registry;
        let now = (self.executor.now)();
        registry
            .write_taint(planned.key.key, &planned.name, &taint, &now)
            .await?;
        let problem = Problem::error("record-lost", why)
            .hint("the key is distrusted now: run again to build it under another");
        Err(Failure::new(Class::Unreachable, problem))
    }

    /// Records an image that is known only by its `cache-<commit>` tag, with this plan's digests.
    async fn adopt(&self, facts: &BuiltFacts, place: Place) -> Result<Verdict, Failure> {
        let mut found = Found {
            facts: facts.clone(),
            place,
        };
        if place == Place::Registry {
            if let Some(standing) = self.standing().await? {
                return self.take(standing).await;
            }
            found.facts = self.record_adopted(facts).await?;
            found = self.settle(found).await?;
            if found.facts.image != facts.image {
                return Ok(self.reused(&found));
            }
        }
        Ok(Verdict::Adopted {
            image: self.reference(&self.planned.name, &found),
            digest: facts.image,
            commit: facts.commit,
        })
    }

    /// Writes the record of an adopted image, and returns the facts that stand then.
    async fn record_adopted(&self, facts: &BuiltFacts) -> Result<BuiltFacts, LedgerError> {
        let planned = self.planned;
        let key = planned.key.key;
        self.tag(&facts.image, &names::image(key)).await?;
        let record = BuiltRecord {
            facts: facts.clone(),
            reason: planned.reason.clone(),
            inputs: self.inputs(),
            external: BTreeMap::new(),
            durations: BTreeMap::new(),
            builder: "adopted".to_owned(),
        };
        let now = (self.executor.now)();
        let registry = &self.executor.bases.registry;
        registry
            .write_built(key, &planned.name, &record, None, &now)
            .await
    }

    /// The inputs of the key, for the record.
    fn inputs(&self) -> serde_json::Value {
        let inputs = self.executor.inputs.get(&self.planned.name);
        inputs.cloned().unwrap_or_default()
    }

    /// Puts a tag on an image of the base that is written. A tag that stands and cannot be moved
    /// is left: the record says what counts.
    async fn tag(&self, image: &Digest, tag: &str) -> Result<(), LedgerError> {
        let client = self.executor.bases.registry.client();
        let repository = self.planned.name.as_str();
        let (Put::Done(_) | Put::TagStands) = client.retag(repository, image, tag).await?;
        Ok(())
    }

    /// Keeps the log of a failure. That this fails too is worth a warning, no more.
    async fn failed(&self, failure: Failure, log: &BuildLog) -> Verdict {
        let planned = self.planned;
        let class = failure.class;
        let problem = first_problem(self.executor, &planned.name, failure);
        let record = FailedRecord {
            commit: self.commit,
            code: problem.code.to_owned(),
            message: problem.message.clone(),
            reason: planned.reason.clone(),
            duration: milliseconds(self.started.elapsed()),
        };
        let log = Some(log.finish(Some(&problem.message)));
        let now = (self.executor.now)();
        let registry = &self.executor.bases.registry;
        let written = registry
            .write_failed(planned.key.key, &planned.name, &record, log, &now)
            .await;
        if let Err(error) = written {
            let message = format!("the log of the failure could not be kept: {error}");
            let warning = Problem::warning("log-not-kept", message).project(&planned.name);
            (self.executor.sink)(Event::Warning(warning));
        }
        match class {
            Class::Failed => Verdict::Failed { problem },
            Class::Interrupted => Verdict::Interrupted,
            _ => Verdict::Error { problem, class },
        }
    }
}

fn verdict_of(executor: &Executor, project: &ProjectName, failure: Failure) -> Verdict {
    let class = failure.class;
    let problem = first_problem(executor, project, failure);
    Verdict::Error { problem, class }
}

/// The problem that a verdict names; the others are told by themselves.
fn first_problem(executor: &Executor, project: &ProjectName, failure: Failure) -> Problem {
    let mut problems = failure
        .problems
        .into_iter()
        .map(|problem| executor.secrets.mask_problem(problem).project(project));
    let first = problems.next();
    for problem in problems {
        (executor.sink)(Event::Warning(problem));
    }
    first.unwrap_or_else(|| Problem::error("unknown", "no reason was given").project(project))
}
