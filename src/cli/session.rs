//! What a command works with: the repository, the commit, and the bases opened.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::output::Output;
use super::settings::{BaseName, BaseNames, EMBEDDED, Settings};
use crate::gather::{
    CommitFacts, CommitOptions, GatherError, Keys, LoadedManifest, Manifests, PlanRequest,
    Planning, TaskRequest, find_tasks, load_manifest, plan, task_projects,
};
use crate::git::Repository;
use crate::key::{ProjectKey, effective_keys};
use crate::ledger::{Bases, Ledger, LedgerError, Marker, names, upkeep};
use crate::model::{CommitId, Digest, ProjectName, TaskId};
use crate::plan::{FoundTask, Place};
use crate::problem::{Class, Failure, Problem};
use crate::registry::{Base, Client, Credentials, Options, Secret, Upkeep, embedded};

/// A repository and a commit of it.
pub(super) struct Session {
    pub(super) settings: Settings,
    pub(super) output: Output,
    pub(super) repository: Repository,
    pub(super) commit: CommitId,
    /// The manifests that were read.
    manifests: Manifests,
    /// Where `commit` stands for the work tree: the commit that is checked out there.
    work_tree_of: Option<CommitId>,
}

/// The bases, open.
pub(super) struct OpenBases {
    pub(super) bases: Bases,
    /// Runs as long as the command.
    server: Option<embedded::Server>,
}

/// A base that was set up.
pub(super) struct MadeBase {
    /// Its name as written.
    pub(super) name: String,
    /// The marker that stands.
    pub(super) marker: Marker,
    /// The repositories that were made; `None` where the registry makes them by itself.
    pub(super) repositories: Option<Vec<String>>,
}

/// Projects at a commit, with their keys as the taints that stand have them.
pub(super) struct Standing {
    pub(super) facts: CommitFacts,
    pub(super) keys: Keys,
}

impl Standing {
    /// The keys of a project.
    pub(super) fn key(&self, name: &ProjectName) -> Result<&ProjectKey, Failure> {
        self.facts.require(name)?;
        self.keys.get(name).ok_or_else(|| {
            let commit = self.facts.commit.id;
            let name = name.clone();
            let why = "it has no key";
            GatherError::NothingToBuild { name, commit, why }.into()
        })
    }
}

impl Session {
    pub(super) fn open(settings: Settings, output: Output) -> Result<Self, Failure> {
        let repository = Repository::open(&settings.directory)?;
        let commit = repository.resolve(settings.revision())?;
        Ok(Self {
            settings,
            output,
            repository,
            commit,
            manifests: Manifests::default(),
            work_tree_of: None,
        })
    }

    /// The same, for the work tree as it is: written to the embedded base only, whatever else is
    /// configured is its upstream.
    pub(super) fn in_work_tree(self) -> Result<Self, Failure> {
        let commit = self.repository.commit_work_tree()?;
        let settings = self.settings.with_embedded_base();
        let work_tree_of = Some(self.repository.resolve("HEAD")?);
        Ok(Self {
            settings,
            output: self.output,
            repository: self.repository,
            commit,
            manifests: Manifests::default(),
            work_tree_of,
        })
    }

    pub(super) fn commit_options(&self) -> CommitOptions {
        CommitOptions {
            manifest: self.settings.manifest.clone(),
            tag: self.settings.tag.clone(),
            manifests: self.manifests.clone(),
        }
    }

    pub(super) fn manifest(&self) -> Result<LoadedManifest, Failure> {
        load_manifest(&self.repository, self.commit, &self.commit_options())
    }

    fn remote(&self, name: &BaseName, credentials: Credentials) -> Result<Client, Failure> {
        let base = name.text.parse::<Base>()?.with_api(&name.api);
        let options = Options {
            extra_root_pem: self.settings.roots.clone(),
            ..Options::default()
        };
        Ok(Client::new(base, credentials, options)?)
    }

    /// Opens the bases that the settings and the commit's manifest name.
    pub(super) async fn bases(&self) -> Result<OpenBases, Failure> {
        let names = self.settings.bases(&self.manifest()?.manifest)?;
        self.open_bases(&names).await
    }

    async fn open_bases(&self, names: &BaseNames) -> Result<OpenBases, Failure> {
        let upstream = match &names.upstream {
            None => None,
            Some(name) => Some(Ledger::open(self.remote(name, Credentials::Docker)?).await?),
        };
        let made = Marker {
            id: base_id(&self.repository, &names.registry.text),
            upstream: upstream.is_some(),
        };
        let (client, server) = if names.registry.is_embedded() {
            let (client, server) = self.serve().await?;
            (client, Some(server))
        } else {
            (self.remote(&names.registry, written_credentials())?, None)
        };
        let makes_its_own = server.is_some() || upstream.is_some();
        let registry = if makes_its_own {
            Ledger::create(client, made, &now()).await?
        } else {
            Ledger::open(client).await?
        };
        if upstream.is_some() && !registry.marker().upstream && server.is_none() {
            let base = registry.client().base().to_string();
            return Err(LedgerError::UpstreamForbidden { base }.into());
        }
        Ok(OpenBases {
            bases: Bases { registry, upstream },
            server,
        })
    }

    /// Writes the marker of a base, if it has none: the base that is named, or the manifest's.
    /// Where the registry makes no repositories by itself, those of the base and of the manifest's
    /// projects are made.
    pub(super) async fn init_base(&self) -> Result<MadeBase, Failure> {
        let loaded = self.manifest()?;
        let manifest = &loaded.manifest;
        let names = self.settings.base_to_make(manifest);
        if names.registry.is_embedded() {
            let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let (ledger, server) = serve_base(&self.repository, listen).await?;
            server.stop().await;
            return Ok(MadeBase {
                name: names.registry.text,
                marker: ledger.marker().clone(),
                repositories: None,
            });
        }
        let made = Marker {
            id: base_id(&self.repository, &names.registry.text),
            upstream: names.upstream.is_some(),
        };
        let client = self.remote(&names.registry, written_credentials())?;
        // What is somebody else's is told before anything is changed there.
        Ledger::check(&client).await?;
        let own = upkeep::OWN.into_iter();
        let wanted: Vec<(String, Upkeep)> = own
            .chain(manifest.projects.keys().map(ProjectName::as_str))
            .map(|repository| (repository.to_owned(), *upkeep::of(repository)))
            .collect();
        let repositories = client.make_repositories(&wanted).await?;
        let ledger = Ledger::create(client, made, &now()).await?;
        Ok(MadeBase {
            name: names.registry.text,
            marker: ledger.marker().clone(),
            repositories,
        })
    }

    async fn serve(&self) -> Result<(Client, embedded::Server), Failure> {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        serve_embedded(&self.repository, any_port).await
    }

    /// A request for a plan, to be narrowed by the command.
    pub(super) fn request(
        &self,
        projects: &[String],
        history: usize,
    ) -> Result<PlanRequest, Failure> {
        let named = self.names(projects)?;
        Ok(PlanRequest {
            commit: self.commit,
            options: self.commit_options(),
            projects: (!projects.is_empty()).then(|| named.into_iter().collect()),
            force: std::collections::BTreeSet::new(),
            history,
            verify: false,
            by: String::new(),
            work_tree_of: self.work_tree_of,
            carried: None,
        })
    }

    /// Projects of the commit's manifest, by their names off the command line. To be asked for
    /// before any registry is, so that a slip of the finger is told at once, and as what it is.
    pub(super) fn names(&self, names: &[String]) -> Result<Vec<ProjectName>, Failure> {
        names.iter().map(|name| self.name(name)).collect()
    }

    /// A project of the commit's manifest, by its name off the command line.
    pub(super) fn name(&self, name: &str) -> Result<ProjectName, Failure> {
        let manifest = &self.manifest()?.manifest;
        Ok(GatherError::require_project(name, manifest, self.commit)?)
    }

    /// The keys of these projects at the commit, under the taints that stand.
    pub(super) async fn standing(
        &self,
        bases: &OpenBases,
        projects: &[ProjectName],
    ) -> Result<Standing, Failure> {
        let only = projects.iter().cloned().collect();
        let options = self.commit_options();
        let facts = CommitFacts::load(&self.repository, self.commit, &options, Some(&only), true)?;
        let tainted = bases.bases.tainted_keys().await?;
        let keys = effective_keys(facts.in_order(), |_, _, key| tainted.contains(&key));
        Ok(Standing { facts, keys })
    }

    /// A task of a project at the commit, with its key under the taints that stand.
    pub(super) async fn task(
        &self,
        bases: &OpenBases,
        project: &ProjectName,
        task: &str,
    ) -> Result<FoundTask, Failure> {
        let loaded = self.manifest()?;
        let mut projects = task_projects(&loaded.manifest, &BTreeSet::from([project.clone()]));
        projects.insert(project.clone());
        let projects: Vec<ProjectName> = projects.into_iter().collect();
        let Standing { facts, keys } = self.standing(bases, &projects).await?;
        let mut found = find_tasks(&self.repository, &facts, &keys, &TaskRequest::default())?;
        let is_meant = |id: &TaskId| id.project == *project && id.task.as_str() == task;
        if let Some((_, problems)) = found.faulty.iter().find(|(id, _)| is_meant(id)) {
            let problems = problems.clone();
            return Err(Failure {
                class: Class::Usage,
                problems,
            });
        }
        let id = found.tasks.keys().find(|id| is_meant(id)).cloned();
        let found_task = id.and_then(|id| found.tasks.remove(&id));
        found_task.ok_or_else(|| {
            let own = found.tasks.keys().filter(|id| id.project == *project);
            let names: Vec<&str> = own.map(|id| id.task.as_str()).collect();
            let message = format!("it has no task '{task}' at {}", self.commit.short());
            let hint = if names.is_empty() {
                "it has no tasks at all".to_owned()
            } else {
                format!("its tasks are {}", names.join(", "))
            };
            let problem = Problem::error("unknown-task", message)
                .project(project)
                .hint(hint);
            Failure::new(Class::Usage, problem)
        })
    }

    /// Plans, and shows what the manifest's check warned of.
    pub(super) async fn plan(
        &self,
        bases: &OpenBases,
        request: &PlanRequest,
    ) -> Result<Planning, Failure> {
        let started = Instant::now();
        let planning = plan(&self.repository, &bases.bases, request).await?;
        self.output.problems(&planning.warnings);
        if self.output.verbose > 0 {
            self.output.status(format_args!(
                "planned in {} ms",
                started.elapsed().as_millis()
            ));
        }
        Ok(planning)
    }

    /// One line that names uncommitted changes: they are not in what is planned or built.
    pub(super) fn note_uncommitted(&self) {
        let Ok(paths) = self.repository.uncommitted() else {
            return;
        };
        let is_head = self
            .repository
            .resolve("HEAD")
            .is_ok_and(|head| head == self.commit);
        if paths.is_empty() || !is_head {
            return;
        }
        let shown: Vec<String> = paths.iter().take(3).map(ToString::to_string).collect();
        let more = if paths.len() > 3 { ", …" } else { "" };
        let message = format!(
            "{} uncommitted {} not in this build: {}{more}",
            paths.len(),
            if paths.len() == 1 {
                "change is"
            } else {
                "changes are"
            },
            shown.join(", "),
        );
        self.output
            .problems(&[Problem::warning("uncommitted-changes", message)]);
    }

    /// Ends the talk with the bases: with `-v` it says how much there was, and lets the embedded
    /// registry finish what it does.
    pub(super) async fn close(&self, bases: OpenBases) {
        if self.output.verbose > 0 {
            self.show_requests(&bases);
        }
        if let Some(server) = bases.server {
            server.stop().await;
        }
    }

    fn show_requests(&self, bases: &OpenBases) {
        for (place, ledger) in bases.bases.places() {
            let requests = ledger.client().requests_by_kind();
            let kinds: Vec<String> = requests
                .by_kind()
                .filter(|(_, count)| *count > 0)
                .map(|(kind, count)| format!("{count} {}", kind.name()))
                .collect();
            let name = bases.name(place);
            self.output.status(format_args!(
                "{name}: {} requests ({}), {} ms waited",
                requests.total(),
                kinds.join(", "),
                ledger.client().waited().as_millis()
            ));
        }
    }
}

impl OpenBases {
    /// Whether the base that is written is the embedded one.
    pub(super) const fn is_embedded(&self) -> bool {
        self.server.is_some()
    }

    /// A base's name for people and JSON: the port of the embedded one changes with each run.
    pub(super) fn name(&self, place: Place) -> String {
        if place == Place::Registry && self.is_embedded() {
            EMBEDDED.to_owned()
        } else {
            self.bases.ledger(place).client().base().to_string()
        }
    }

    /// The whole name of a record in the ledger.
    pub(super) fn ledger_name(&self, place: Place, tag: &str) -> String {
        format!("{}/{}:{tag}", self.name(place), names::LEDGER)
    }

    /// An image's reference that works after this command has ended: of the embedded base, the
    /// name that the engine keeps it under.
    pub(super) fn lasting_reference(
        &self,
        project: &ProjectName,
        image: &str,
        place: Place,
        commit: CommitId,
    ) -> String {
        if place == Place::Registry && self.is_embedded() {
            names::kept(project, commit)
        } else {
            image.to_owned()
        }
    }
}

/// Serves a repository's embedded registry, as a base with its marker.
pub(super) async fn serve_base(
    repository: &Repository,
    listen: SocketAddr,
) -> Result<(Ledger, embedded::Server), Failure> {
    let (client, server) = serve_embedded(repository, listen).await?;
    let made = Marker {
        id: base_id(repository, EMBEDDED),
        upstream: true,
    };
    let ledger = Ledger::create(client, made, &now()).await?;
    Ok((ledger, server))
}

async fn serve_embedded(
    repository: &Repository,
    listen: SocketAddr,
) -> Result<(Client, embedded::Server), Failure> {
    let directory = repository.root().join(".waybill").join("registry");
    let server = embedded::serve(&directory, listen).await?;
    let mut reached = server.address();
    if reached.ip().is_unspecified() {
        reached.set_ip(match reached {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let base: Base = format!("http://{reached}/{}", names::EMBEDDED).parse()?;
    let client = Client::new(base, Credentials::Anonymous, Options::default())?;
    Ok((client, server))
}

/// The id of a base that is made now: two runs that make the same base at once come to the same
/// one.
fn base_id(repository: &Repository, registry: &str) -> String {
    let place = if registry == EMBEDDED {
        repository.root().to_string_lossy().into_owned()
    } else {
        registry.to_owned()
    };
    Digest::of(format!("waybill base {place}").as_bytes()).hex()[..32].to_owned()
}

/// The credential for the base that is written: the variables, else Docker's configuration.
fn written_credentials() -> Credentials {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (
        variable("WAYBILL_REGISTRY_USERNAME"),
        variable("WAYBILL_REGISTRY_PASSWORD"),
    ) {
        (Some(user), Some(password)) => Credentials::Basic {
            user,
            password: Secret::new(password),
        },
        _ => Credentials::Docker,
    }
}

/// The time for records, RFC 3339 in UTC. `SOURCE_DATE_EPOCH`, in seconds, stands in for the clock
/// (reproducible-builds.org/specs/source-date-epoch).
pub(super) fn now() -> String {
    let given = std::env::var("SOURCE_DATE_EPOCH")
        .ok()
        .and_then(|text| text.parse().ok());
    let seconds = given.unwrap_or_else(|| {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or_default()
    });
    timestamp(seconds)
}

/// The time with milliseconds, for the lines of logs.
pub(super) fn precise_now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// Seconds since 1970 as RFC 3339 in UTC.
pub(super) fn timestamp(seconds: i64) -> String {
    let time = chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
