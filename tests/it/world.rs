//! Decision, execution and recording together: real git, the embedded registry, and a builder that
//! follows a script instead of driving an engine.
//!
//! A [`World`] is a repository and a registry; a [`Run`] is one `plan` or `build` in it, by some
//! clone, as some script has it. Every build checks that each project of its plan ended once.

mod bases;
mod builder;
mod counted;
mod crowd;
mod edits;
mod faults;
mod keys;
mod kill;
mod random;
mod reuse;
mod rough;
mod soak;
mod taints;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use waybill::event::{Event, Sink, Verdict};
use waybill::execute::{Executor, Options, Report, execute};
use waybill::gather::{CommitOptions, PlanRequest, Planning, plan};
use waybill::git::Repository;
use waybill::ledger::{Bases, Ledger, Marker, names};
use waybill::mask::Secrets;
use waybill::model::{Digest, Key, ProjectName};
use waybill::plan::{Action, Plan, Planned};
use waybill::problem::Failure;
use waybill::problem::Problem;
use waybill::registry::{Base, Client, Credentials, embedded};

use crate::repo::Repo;
pub(crate) use builder::Act;
use builder::ScriptedBuilder;

/// The prefix of every base here.
const PREFIX: &str = "acme";

/// A repository and a registry.
pub(crate) struct World {
    pub(crate) repo: Repo,
    pub(crate) registry: Served,
    pub(crate) runtime: Runtime,
}

/// An embedded registry in a directory of its own.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    directory: PathBuf,
    _kept: Option<TempDir>,
    _server: embedded::Server,
}

impl Served {
    fn new(runtime: &Runtime) -> Self {
        let kept = memory_directory();
        let served = Self::of(runtime, kept.path());
        Self {
            _kept: Some(kept),
            ..served
        }
    }

    fn of(runtime: &Runtime, directory: &Path) -> Self {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = runtime
            .block_on(embedded::serve(directory, any_port))
            .unwrap();
        Self {
            address: server.address(),
            directory: directory.to_owned(),
            _kept: None,
            _server: server,
        }
    }

    /// The text of the base in it.
    pub(crate) fn base(&self) -> String {
        format!("{}/{PREFIX}", self.address)
    }

    /// Removes an image behind the registry's back, with every tag that stands for it.
    pub(crate) fn forget(&self, project: &str, image: &Digest) {
        let repository = format!("{PREFIX}+{project}");
        let repository = self.directory.join("repositories").join(repository);
        for tag in std::fs::read_dir(repository.join("tags")).unwrap() {
            let tag = tag.unwrap().path();
            if std::fs::read_to_string(&tag)
                .unwrap()
                .contains(&image.hex())
            {
                std::fs::remove_file(tag).unwrap();
            }
        }
        std::fs::remove_file(repository.join("manifests").join(image.hex())).unwrap();
    }

    /// Removes a tag behind the registry's back.
    pub(crate) fn forget_tag(&self, repository: &str, tag: &str) {
        let repository = format!("{PREFIX}+{repository}");
        let repository = self.directory.join("repositories").join(repository);
        std::fs::remove_file(repository.join("tags").join(tag)).unwrap();
    }
}

/// A directory in memory where the system has such: what is flushed there costs nothing.
pub(crate) fn memory_directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// The small monorepo of most tests: `api` uses the images of `base` and `log`, `web` uses that of
/// `base` and is triggered by `log`, `docs` stands alone.
const SHOP: &str = r#"{
  "version": 1,
  "projects": {
    "api": {"buildDir": "services/api", "dependencies": ["base", "log"]},
    "base": {"buildDir": "docker/base"},
    "docs": {"buildDir": "docs"},
    "log": {"buildDir": "libs/log"},
    "web": {"buildDir": "services/web", "dependencies": ["base", "log"]}
  }
}
"#;

impl World {
    /// The small monorepo, committed, with an empty registry.
    pub(crate) fn shop() -> Self {
        let repo = Repo::new();
        repo.write("build_manifest.json", SHOP);
        for (directory, dockerfile) in [
            ("docker/base", "FROM scratch\nCOPY . /\n"),
            ("docs", "FROM scratch\nCOPY . /\n"),
            ("libs/log", "FROM scratch\nCOPY . /\n"),
            ("services/api", "FROM base\nCOPY --from=log / /\nCOPY . /\n"),
            ("services/web", "FROM base\nCOPY . /\n"),
        ] {
            repo.write(format!("{directory}/Dockerfile"), dockerfile);
            repo.write(format!("{directory}/main"), directory);
        }
        repo.commit("First");
        Self::of(repo)
    }

    /// Any repository, with an empty registry that was made to be used alone.
    pub(crate) fn of(repo: Repo) -> Self {
        let runtime = runtime();
        let registry = Served::new(&runtime);
        let world = Self {
            repo,
            registry,
            runtime,
        };
        world.make_base(false);
        world
    }

    /// A laptop: a clone, with a registry that was made to be used with an upstream.
    pub(crate) fn laptop(repo: &Repo) -> Self {
        let runtime = runtime();
        let registry = Served::new(&runtime);
        let world = Self {
            repo: repo.clone_with(&[]),
            registry,
            runtime,
        };
        world.make_base(true);
        world
    }

    /// Another machine: a clone, and the same registry served anew.
    pub(crate) fn elsewhere(&self, clone: Repo) -> Self {
        let runtime = runtime();
        let registry = Served::of(&runtime, &self.registry.directory);
        Self {
            repo: clone,
            registry,
            runtime,
        }
    }

    fn make_base(&self, upstream: bool) {
        self.make_base_at(&self.registry.base(), upstream);
    }

    /// As a build does with a base of its own: makes what is missing of it.
    fn make_base_at(&self, base: &str, upstream: bool) {
        let client = client(base);
        let id = format!("base {upstream}");
        let made = Ledger::create(client, Marker { id, upstream }, NOW);
        self.runtime.block_on(made).unwrap();
    }

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

    /// The ledger of the base that is written.
    pub(crate) fn ledger(&self) -> Ledger {
        self.block_on(Ledger::open(self.client())).unwrap()
    }

    /// A client of the base that is written.
    pub(crate) fn client(&self) -> Client {
        client(&self.registry.base())
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Puts something that is no record where a record would be.
    pub(crate) fn put_garbage(&self, repository: &str, tag: &str) {
        let client = self.client();
        let pushed = builder::push_image(&client, repository, tag, b"garbage", None);
        self.block_on(pushed).unwrap();
    }

    /// Changes an annotation of the record under a tag.
    pub(crate) fn annotate(&self, repository: &str, tag: &str, name: &str, value: &str) {
        self.block_on(async {
            let client = self.client();
            let manifest = client.manifest(repository, tag).await.unwrap().unwrap();
            let mut json: serde_json::Value = serde_json::from_slice(&manifest.bytes).unwrap();
            assert!(json["annotations"][name].is_string(), "{json}");
            json["annotations"][name] = value.into();
            let bytes = serde_json::to_vec(&json).unwrap().into();
            client
                .put_manifest(repository, tag, &manifest.media_type, bytes)
                .await
                .unwrap();
        });
    }

    /// Every key that has a record of a build.
    pub(crate) fn recorded(&self) -> BTreeSet<Key> {
        let tags = self.block_on(async { self.client().tags(names::LEDGER).await });
        let tags = tags.unwrap();
        let built = tags.iter().filter_map(|tag| tag.strip_prefix("v1-built-"));
        built.map(|key| key.parse().unwrap()).collect()
    }
}

/// The time of every record here.
const NOW: &str = "2026-01-01T00:00:00Z";

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// A client that does not try again: what fails in these tests is meant to.
pub(crate) fn client(base: &str) -> Client {
    let options = waybill::registry::Options {
        attempts: 1,
        ..waybill::registry::Options::default()
    };
    Client::new(
        base.parse::<Base>().unwrap(),
        Credentials::Anonymous,
        options,
    )
    .unwrap()
}

pub(crate) fn name(text: &str) -> ProjectName {
    text.parse().unwrap()
}

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
    fn request(&self, repository: &Repository) -> Result<PlanRequest, Failure> {
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

/// Long enough for anything that happens at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
