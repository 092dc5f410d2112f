//! One plan or build in a world, and what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use waybill::event::{Event, Sink, Verdict};
use waybill::execute::{Executor, Options, Report, execute};
use waybill::gather::{CommitOptions, PlanRequest, Planning, plan};
use waybill::git::Repository;
use waybill::ledger::{Bases, Ledger};
use waybill::mask::Secrets;
use waybill::model::{Digest, Key, ProjectName};
use waybill::plan::{Action, Plan, Planned};
use waybill::problem::{Failure, Problem};
use waybill::registry::Client;

use super::builder::{Act, ScriptedBuilder};
use super::{NOW, World, client, name};

/// One plan or build.
pub(crate) struct Run<'w> {
    world: &'w World,
    base: String,
    upstream: Option<String>,
    revision: String,
    tweak: Box<dyn Fn(&mut PlanRequest) + 'w>,
    script: BTreeMap<String, Act>,
    options: Options,
    secrets: Secrets,
    stop: CancellationToken,
    told: Sink,
    client: Arc<dyn Fn(&str) -> Client>,
}

impl World {
    /// A run at HEAD of the world's own repository, with nothing special.
    pub(crate) fn run(&self) -> Run<'_> {
        Run {
            world: self,
            base: self.registry.base(),
            upstream: None,
            revision: "HEAD".to_owned(),
            tweak: Box::new(|_| {}),
            script: BTreeMap::new(),
            options: Options {
                jobs: 4,
                fail_fast: false,
                timeout: None,
                layer_cache: true,
                record_patience: Duration::from_secs(1),
            },
            secrets: Secrets::default(),
            stop: CancellationToken::new(),
            told: Arc::new(|_| {}),
            client: Arc::new(client),
        }
    }

    /// Builds at HEAD, nothing special.
    pub(crate) fn build(&self) -> Done {
        self.run().build()
    }
}

impl<'w> Run<'w> {
    /// At another commit than HEAD.
    pub(crate) fn at(mut self, revision: &str) -> Self {
        revision.clone_into(&mut self.revision);
        self
    }

    /// With another base to be written, such as the same one behind a front.
    pub(crate) fn base(mut self, base: String) -> Self {
        self.base = base;
        self
    }

    /// With a base that is only read.
    pub(crate) fn upstream(mut self, base: String) -> Self {
        self.upstream = Some(base);
        self
    }

    /// With a request that differs from the usual one.
    pub(crate) fn asking(mut self, tweak: impl Fn(&mut PlanRequest) + 'w) -> Self {
        self.tweak = Box::new(tweak);
        self
    }

    /// With these projects named, and built whatever stands.
    pub(crate) fn forcing(self, projects: &'static [&'static str]) -> Self {
        self.asking(|request| {
            let named: BTreeSet<_> = projects.iter().map(|project| name(project)).collect();
            request.projects = Some(named.clone());
            request.force = named;
        })
    }

    /// With a script for one project's build.
    pub(crate) fn script(mut self, project: &str, act: Act) -> Self {
        self.script.insert(project.to_owned(), act);
        self
    }

    /// With other options of execution.
    pub(crate) fn options(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    /// With values that may not be shown.
    pub(crate) fn secret(mut self, value: &[u8]) -> Self {
        self.secrets = Secrets::new([value.to_vec()]);
        self
    }

    /// With a function told of every event, after it was kept.
    pub(crate) fn telling(mut self, told: Sink) -> Self {
        self.told = told;
        self
    }

    /// With clients that are made in another way.
    pub(crate) fn through(mut self, client: impl Fn(&str) -> Client + 'static) -> Self {
        self.client = Arc::new(client);
        self
    }

    /// With a token that stops the run.
    pub(crate) fn stopped_by(mut self, stop: &CancellationToken) -> Self {
        self.stop = stop.clone();
        self
    }

    pub(crate) fn try_plan(&self) -> Result<Planning, Failure> {
        let bases = self.bases()?;
        self.plan_in(&bases)
    }

    pub(crate) fn plan(&self) -> Planning {
        self.try_plan().unwrap()
    }

    /// Plans and carries the plan out.
    pub(crate) fn try_build(&self) -> Result<Done, Failure> {
        let bases = self.bases()?;
        let planning = self.plan_in(&bases)?;
        let clients = bases.places().map(|(_, ledger)| ledger.client().clone());
        let builder = Arc::new(ScriptedBuilder::new(clients.collect(), self.script.clone()));
        let events = Arc::new(Mutex::new(Vec::new()));
        let (kept, told) = (Arc::clone(&events), Arc::clone(&self.told));
        let executor = Executor {
            bases,
            builder: builder.clone(),
            sink: Arc::new(move |event: Event| {
                kept.lock().unwrap().push(event.clone());
                told(event);
            }),
            secrets: self.secrets.clone(),
            stop: self.stop.clone(),
            now: Arc::new(|| NOW.to_owned()),
            by: "Ada <ada@example.com>".to_owned(),
            inputs: Arc::default(),
            options: self.options,
        };
        let report = self.world.block_on(execute(&planning.plan, &executor))?;
        let events = events.lock().unwrap().clone();
        let done = Done {
            plan: planning.plan,
            warnings: planning
                .warnings
                .iter()
                .map(|problem| problem.code)
                .collect(),
            report,
            events,
            builder,
        };
        done.check_ends();
        Ok(done)
    }

    pub(crate) fn build(&self) -> Done {
        self.try_build().unwrap()
    }

    fn bases(&self) -> Result<Bases, Failure> {
        self.world.block_on(async {
            let upstream = match &self.upstream {
                None => None,
                Some(base) => Some(Ledger::open((self.client)(base)).await?),
            };
            let registry = Ledger::open((self.client)(&self.base)).await?;
            Ok(Bases { registry, upstream })
        })
    }

    fn plan_in(&self, bases: &Bases) -> Result<Planning, Failure> {
        let repository = Repository::open(self.world.repo.path())?;
        let request = self.request(&repository)?;
        self.world.block_on(plan(&repository, bases, &request))
    }

    /// What is asked for.
    pub(super) fn request(&self, repository: &Repository) -> Result<PlanRequest, Failure> {
        let mut request = PlanRequest {
            commit: repository.resolve(&self.revision)?,
            options: CommitOptions::default(),
            projects: None,
            force: BTreeSet::new(),
            history: 500,
            verify: false,
            by: "Ada <ada@example.com>".to_owned(),
            work_tree_of: None,
            carried: None,
        };
        (self.tweak)(&mut request);
        Ok(request)
    }
}

/// What came of a build.
pub(crate) struct Done {
    pub(crate) plan: Plan,
    pub(crate) warnings: Vec<&'static str>,
    pub(crate) report: Report,
    pub(crate) events: Vec<Event>,
    pub(crate) builder: Arc<ScriptedBuilder>,
}

impl Done {
    /// The projects that the builder was asked to build, sorted, each once.
    pub(crate) fn built(&self) -> Vec<String> {
        let jobs = self.builder.jobs();
        let names: BTreeSet<String> = jobs.iter().map(|job| job.project.to_string()).collect();
        names.into_iter().collect()
    }

    /// `api=built base=reused …`, sorted.
    pub(crate) fn verdicts(&self) -> String {
        let verdicts = self.report.verdicts.iter();
        let words = verdicts.map(|(name, (verdict, _))| format!("{name}={}", verdict.name()));
        words.collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn verdict(&self, project: &str) -> &Verdict {
        &self.report.verdicts.get(project).unwrap().0
    }

    pub(crate) fn image(&self, project: &str) -> Digest {
        self.verdict(project).image().unwrap().1
    }

    pub(crate) fn planned(&self, project: &str) -> &Planned {
        planned(&self.plan, project)
    }

    pub(crate) fn key(&self, project: &str) -> Key {
        self.planned(project).key.key
    }

    /// The code of what went wrong with a project.
    pub(crate) fn code(&self, project: &str) -> &'static str {
        self.problem(project).code
    }

    /// What went wrong with a project.
    pub(crate) fn problem(&self, project: &str) -> &Problem {
        match self.verdict(project) {
            Verdict::Failed { problem } | Verdict::Error { problem, .. } => problem,
            other => panic!("{project}: {other:?}"),
        }
    }

    /// Every project of the plan ends once, as the report has it.
    fn check_ends(&self) {
        let mut ends: BTreeMap<&ProjectName, Vec<&str>> = BTreeMap::new();
        for event in &self.events {
            if let Event::Finished {
                project, verdict, ..
            } = event
            {
                ends.entry(project).or_default().push(verdict.name());
            }
        }
        let reported = self.report.verdicts.iter();
        let reported: BTreeMap<&ProjectName, Vec<&str>> = reported
            .map(|(project, (verdict, _))| (project, vec![verdict.name()]))
            .collect();
        assert_eq!(ends, reported);
        assert!(self.plan.projects.keys().eq(self.report.verdicts.keys()));
    }
}

pub(crate) fn planned<'p>(plan: &'p Plan, project: &str) -> &'p Planned {
    plan.projects.get(project).unwrap()
}

/// What a plan builds, and why: `api=inputs-changed base=tainted …`, sorted.
pub(crate) fn builds(plan: &Plan) -> String {
    let words = plan
        .builds()
        .map(|planned| format!("{}={}", planned.name, planned.reason.kind()));
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a plan reuses a project.
pub(crate) fn is_reused(plan: &Plan, project: &str) -> bool {
    matches!(planned(plan, project).action, Action::Reuse { .. })
}
