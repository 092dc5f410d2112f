//! Carries a plan out: taints first, then each project once the images that it uses are there, in
//! parallel within a limit; every project ends with a verdict.
//!
//! It prints nothing and decides nothing that the plan has decided: it emits [`Event`]s, and
//! records what came of each project as soon as it is known, so that a run that is cut off at any
//! point leaves what was done.

pub mod builder;
mod log;
mod project;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::event::{Event, Sink, Verdict};
use crate::ledger::{Bases, TaintRecord};
use crate::mask::Secrets;
use crate::model::{Digest, Key, ProjectName};
use crate::plan::{Action, Place, Plan, Planned};
use crate::problem::Failure;
use builder::Builder;

/// What a plan is carried out with.
#[derive(Clone)]
pub struct Executor {
    /// The bases.
    pub bases: Bases,
    /// Builds the images.
    pub builder: Arc<dyn Builder>,
    /// Where events go.
    pub sink: Sink,
    /// Values that may never be shown or kept.
    pub secrets: Secrets,
    /// Stops the run when cancelled.
    pub stop: CancellationToken,
    /// The time, RFC 3339, for records.
    pub now: Arc<dyn Fn() -> String + Send + Sync>,
    /// Who this is, for taints.
    pub by: String,
    /// The inputs of each project's key, for records.
    pub inputs: Arc<BTreeMap<ProjectName, serde_json::Value>>,
    /// Choices of the caller.
    pub options: Options,
}

/// Choices of the caller.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many projects are built at once, at least one.
    pub jobs: usize,
    /// Whether the first failure stops everything.
    pub fail_fast: bool,
    /// How long one project's build may take.
    pub timeout: Option<Duration>,
    /// Whether any layer cache may be used.
    pub layer_cache: bool,
    /// How long the record of an image that somebody else pushed is awaited, where a tag that
    /// cannot be moved stands in the way; see [`RECORD_PATIENCE`].
    pub record_patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            jobs: 1,
            fail_fast: false,
            timeout: None,
            layer_cache: true,
            record_patience: RECORD_PATIENCE,
        }
    }
}

/// Between push and record lie a few requests. Whoever takes longer on a busy machine loses the
/// key for everybody; whoever was killed in between costs the next run this time.
pub const RECORD_PATIENCE: Duration = Duration::from_secs(60);

/// How each project ended.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By project: the verdict, and how long it took.
    pub verdicts: BTreeMap<ProjectName, (Verdict, Duration)>,
}

impl Report {
    /// The verdicts of a name.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a ProjectName, &'a Verdict)> {
        let verdicts = self
            .verdicts
            .iter()
            .map(|(project, (verdict, _))| (project, verdict));
        verdicts.filter(move |(_, verdict)| verdict.name() == name)
    }
}

/// An image that stands, for those that use it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Image {
    /// The full reference by digest.
    reference: String,
    digest: Digest,
    /// The key under which it is recorded; `None` where it was adopted from the upstream, which
    /// is not written: its tag there is all that speaks for it.
    recorded: Option<Key>,
}

/// Carries the plan out.
///
/// # Errors
///
/// A taint that the plan rests on could not be written: nothing was built then. What goes wrong
/// for one project is its verdict.
pub async fn execute(plan: &Plan, executor: &Executor) -> Result<Report, Failure> {
    let reused = plan.projects.values();
    let reused = reused
        .filter(|planned| matches!(planned.action, Action::Reuse { .. }))
        .count();
    (executor.sink)(Event::Planned {
        builds: plan.builds().count(),
        reused,
    });
    write_taints(plan, executor).await?;
    let mut schedule = Schedule::new(plan, executor);
    schedule.run().await;
    Ok(schedule.report)
}

/// Dependencies first, so that a run cut off here leaves no taint that rests on an unwritten one.
async fn write_taints(plan: &Plan, executor: &Executor) -> Result<(), Failure> {
    for taint in &plan.taints {
        let record = TaintRecord {
            reason: taint.reason.clone(),
            commit: plan.commit,
            by: executor.by.clone(),
        };
        let ledger = &executor.bases.registry;
        ledger
            .write_taint(taint.key, &taint.project, &record, &(executor.now)())
            .await?;
        let (project, kind) = (taint.project.clone(), taint.reason.kind());
        (executor.sink)(Event::Tainted { project, kind });
    }
    Ok(())
}

/// The state of a run.
struct Schedule<'a> {
    executor: &'a Executor,
    plan: &'a Plan,
    /// What is not started yet.
    waiting: BTreeMap<ProjectName, &'a Planned>,
    images: BTreeMap<ProjectName, Image>,
    /// Projects without an image: those that use them are blocked.
    without: BTreeSet<ProjectName>,
    report: Report,
}

type Ended = (ProjectName, Verdict, Duration);

impl<'a> Schedule<'a> {
    fn new(plan: &'a Plan, executor: &'a Executor) -> Self {
        let waiting = plan
            .projects
            .iter()
            .map(|(name, planned)| (name.clone(), planned))
            .collect();
        Self {
            executor,
            plan,
            waiting,
            images: BTreeMap::new(),
            without: BTreeSet::new(),
            report: Report::default(),
        }
    }

    async fn run(&mut self) {
        let mut running = FuturesUnordered::new();
        loop {
            self.settle();
            while running.len() < self.executor.options.jobs.max(1) && !self.is_stopped() {
                let Some(planned) = self.next_ready() else {
                    break;
                };
                running.push(self.start(planned));
                self.settle();
            }
            let Some((project, verdict, duration)) = running.next().await else {
                break;
            };
            let failed = !verdict.succeeded();
            self.end(project, verdict, duration);
            if failed && self.executor.options.fail_fast {
                self.executor.stop.cancel();
            }
        }
        while let Some((name, _)) = self.waiting.pop_first() {
            self.end(name, Verdict::Interrupted, Duration::ZERO);
        }
    }

    fn is_stopped(&self) -> bool {
        self.executor.stop.is_cancelled()
    }

    /// Ends everything that needs no work: what stands, what is nothing, what is blocked.
    fn settle(&mut self) {
        loop {
            let ended = self
                .waiting
                .values()
                .find_map(|planned| Some((planned.name.clone(), self.without_work(planned)?)));
            let Some((name, verdict)) = ended else { return };
            self.waiting.remove(&name);
            self.end(name, verdict, Duration::ZERO);
        }
    }

    fn without_work(&self, planned: &Planned) -> Option<Verdict> {
        match &planned.action {
            Action::None => Some(Verdict::None {
                kind: planned.reason.kind(),
            }),
            Action::Reuse {
                adopt: false,
                image,
                digest,
                facts,
                ..
            } => Some(Verdict::Reused {
                image: image.clone(),
                digest: *digest,
                commit: facts.commit,
            }),
            Action::Reuse { .. } | Action::Build(_) => {
                let by = planned
                    .uses
                    .iter()
                    .find(|used| self.without.contains(*used))?;
                Some(Verdict::Blocked { by: by.clone() })
            }
        }
    }

    /// The next project, by name, whose used images are all there.
    fn next_ready(&mut self) -> Option<&'a Planned> {
        let ready = |planned: &&Planned| {
            planned
                .uses
                .iter()
                .all(|used| self.images.contains_key(used))
        };
        let name = self
            .waiting
            .values()
            .find(|planned| ready(planned))?
            .name
            .clone();
        self.waiting.remove(&name)
    }

    fn start(&self, planned: &'a Planned) -> impl Future<Output = Ended> + use<'a> {
        let images = planned.uses.iter();
        let images = images
            .filter_map(|used| Some((used.clone(), self.images.get(used)?.clone())))
            .collect();
        let (executor, commit) = (self.executor, self.plan.commit);
        async move {
            let started = Instant::now();
            let work = project::run(executor, commit, planned, images);
            let verdict = tokio::select! {
                biased;
                () = executor.stop.cancelled() => Verdict::Interrupted,
                verdict = work => verdict,
            };
            (planned.name.clone(), verdict, started.elapsed())
        }
    }

    fn end(&mut self, project: ProjectName, verdict: Verdict, duration: Duration) {
        match verdict.image() {
            Some((reference, digest)) => {
                let planned = self.plan.projects.get(&project);
                let image = Image {
                    reference: reference.clone(),
                    digest,
                    recorded: planned.and_then(recorded_key),
                };
                self.images.insert(project.clone(), image);
            }
            None => {
                self.without.insert(project.clone());
            }
        }
        let event = Event::Finished {
            project: project.clone(),
            verdict: verdict.clone(),
            duration,
        };
        (self.executor.sink)(event);
        self.report.verdicts.insert(project, (verdict, duration));
    }
}

/// The key under which a project's image is recorded once it has ended well.
fn recorded_key(planned: &Planned) -> Option<Key> {
    let is_only_tagged = matches!(
        planned.action,
        Action::Reuse {
            adopt: true,
            place: Place::Upstream,
            ..
        }
    );
    (!is_only_tagged).then_some(planned.key.key)
}
