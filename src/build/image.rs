//! The builder behind [`crate::execute`]: one image from the commit, built by the engine, pushed to
//! the base.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::engine::{BuildEvent, Engine, EngineError, ImageBuild};
use super::external::{ExternalImages, host_of, login};
use super::tar::ContextStream;
use super::{Context, engine};
use crate::dockerfile::{Dockerfile, Image};
use crate::event::{Phase, StepState};
use crate::execute::builder::{BuildError, Builder, Job, Progress, Pushed};
use crate::gather::{CommitFacts, ProjectUses, RELEASE_TAG_ARGUMENT, project_uses};
use crate::git::Repository;
use crate::ledger::{names, upkeep};
use crate::manifest::{LayerCache, Project};
use crate::mask::Secret;
use crate::model::Digest;
use crate::problem::{Class, Failure, Problem};
use crate::registry::manifest::OciManifest;
use crate::registry::{Base, Client, Credential, RawManifest, RegistryError};

/// Builds images of one commit.
pub struct ImageBuilder {
    /// Where the files come from.
    pub repository: Arc<Repository>,
    /// The commit.
    pub facts: Arc<CommitFacts>,
    /// The engine.
    pub engine: Engine,
    /// The base that is written.
    pub client: Client,
    /// The base that is read after it.
    pub upstream: Option<Client>,
    /// Build secrets by id.
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// Digests of external images.
    pub external: ExternalImages,
    /// What stays in the engine.
    pub keep: Keep,
    /// The commit's time, RFC 3339, for labels.
    pub created: String,
}

/// What stays in the engine after an image was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing but layers: the registry has the image.
    Nothing,
    /// The image, as `waybill/<project>:<commit>`, for a base that is gone when the command ends.
    Image,
}

#[async_trait]
impl Builder for ImageBuilder {
    async fn build(
        &self,
        job: &Job,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Pushed, BuildError> {
        self.build_and_push(job, progress)
            .await
            .map_err(|failure| match failure {
                Stopped::TagStands => BuildError::TagStands,
                Stopped::Failure(mut failure) => BuildError::Other {
                    class: failure.class,
                    problem: if failure.problems.is_empty() {
                        Problem::error("unknown", "no reason was given")
                    } else {
                        failure.problems.swap_remove(0)
                    },
                },
            })
    }
}

enum Stopped {
    TagStands,
    Failure(Failure),
}

impl<E: Into<Failure>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Failure(error.into())
    }
}

impl ImageBuilder {
    async fn build_and_push(
        &self,
        job: &Job,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Pushed, Stopped> {
        let project = self.project(job)?;
        let platform = match project.platforms.as_slice() {
            [platform] => platform.clone(),
            _ => return Err(several_platforms(project).into()),
        };
        let engine_platform = &self.engine.info().platform;
        let uses = project_uses(
            &self.repository,
            &self.facts,
            project,
            Some(engine_platform),
        )?
        .map_err(|problems| Failure {
            class: Class::Usage,
            problems,
        })?;
        let (dockerfile, external) = self.pinned_dockerfile(job, &uses).await?;
        let context = Context::find(&self.repository, &self.facts, project)?;
        let mut request = ImageBuild {
            dockerfile: format!(".waybill-{}.Dockerfile", job.key.short()),
            target: project.target.clone(),
            args: self.arguments(job, project, &uses),
            labels: self.labels(job),
            platform,
            cache_from: job.cache_from.clone(),
            inline_cache: project.layer_cache != LayerCache::None,
            no_cache: !job.use_engine_cache,
            tag: format!("waybill-build/{}:{}", job.project, unique_tag()?),
            secrets: self.secrets(project)?,
            logins: self.logins(job, &uses).await?,
        };
        let source = Source {
            repository: Arc::clone(&self.repository),
            context: Arc::new(context),
            name: request.dockerfile.clone(),
            dockerfile: dockerfile.into(),
        };
        let mut durations = BTreeMap::new();
        progress(Progress::Phase(Phase::Build));
        let started = Instant::now();
        let image = self.run(&request, &source, progress).await;
        let image = image.map_err(|error| with_place(error, &source.dockerfile, &uses))?;
        durations.insert("build".to_owned(), milliseconds(started));
        progress(Progress::Phase(Phase::Push));
        let started = Instant::now();
        let digest = self.push(job, &image, &names::image(job.key)).await;
        if digest.is_ok() && project.layer_cache == LayerCache::Stages {
            self.push_stages(job, &uses, &mut request, &source, progress)
                .await?;
        }
        durations.insert("push".to_owned(), milliseconds(started));
        self.clean(job, &image, &request.tag).await;
        Ok(Pushed {
            image: digest?,
            external,
            durations,
            builder: format!(
                "waybill {}, engine {}",
                env!("CARGO_PKG_VERSION"),
                self.engine.info().version
            ),
        })
    }

    fn project(&self, job: &Job) -> Result<&Project, Failure> {
        self.facts
            .manifest
            .projects
            .get(&job.project)
            .ok_or_else(|| {
                let message = format!("{} is not in the manifest", job.project);
                Failure::new(Class::Usage, Problem::error("unknown-project", message))
            })
    }

    /// The Dockerfile with a digest for each image that has one, and those of the external ones
    /// by name as written.
    async fn pinned_dockerfile(
        &self,
        job: &Job,
        uses: &ProjectUses,
    ) -> Result<(Vec<u8>, BTreeMap<String, Digest>), Failure> {
        let mut replacements = Vec::new();
        let mut external = BTreeMap::new();
        for (reference, image) in &uses.references {
            match image {
                Image::Project(name) => {
                    let image = job.uses.get(name).ok_or_else(|| {
                        let message = format!("the image of {name} is not there");
                        let problem = Problem::error("dependency-missing", message);
                        Failure::new(Class::Unreachable, problem)
                    })?;
                    replacements.push((reference, image.clone()));
                }
                Image::External(name) => {
                    let Some(pinned) = self.external.pin(name).await else {
                        continue;
                    };
                    external.insert(name.clone(), pinned.digest);
                    replacements.push((reference, pinned.reference));
                }
            }
        }
        Ok((uses.dockerfile.rewrite(&replacements), external))
    }

    /// The manifest's arguments, and what waybill knows, where the Dockerfile declares it.
    fn arguments(
        &self,
        job: &Job,
        project: &Project,
        uses: &ProjectUses,
    ) -> BTreeMap<String, String> {
        let mut arguments = project.build_args.clone();
        let recipe = self
            .facts
            .projects
            .get(&job.project)
            .map(|facts| &facts.inputs.recipe);
        let commit = job.commit.to_string();
        let known = [
            (
                RELEASE_TAG_ARGUMENT,
                recipe.and_then(|recipe| recipe.release_tag.clone()),
            ),
            ("ARG_COMMIT_HASH", Some(commit.clone())),
            ("WAYBILL_COMMIT", Some(commit)),
            ("WAYBILL_KEY", Some(job.key.to_string())),
        ];
        for (name, value) in known {
            if let Some(value) = value.filter(|_| uses.dockerfile.declares_arg(name)) {
                arguments.entry(name.to_owned()).or_insert(value);
            }
        }
        arguments
    }

    fn labels(&self, job: &Job) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([
            (
                "org.opencontainers.image.revision".to_owned(),
                job.commit.to_string(),
            ),
            (
                "org.opencontainers.image.created".to_owned(),
                self.created.clone(),
            ),
            (names::KEY_LABEL.to_owned(), job.key.to_string()),
        ]);
        let source = self.repository.remote_url();
        labels.extend(source.map(|url| ("org.opencontainers.image.source".to_owned(), url)));
        labels
    }

    fn secrets(&self, project: &Project) -> Result<BTreeMap<String, Secret<Vec<u8>>>, Failure> {
        let mut secrets = BTreeMap::new();
        for id in &project.secrets {
            let value = self.secrets.get(id).ok_or_else(|| {
                let problem =
                    Problem::error("secret-missing", format!("no value for secret '{id}'"));
                let hint = format!("give --secret id={id},env=VARIABLE or id={id},src=FILE");
                Failure::new(Class::Usage, problem.hint(hint))
            })?;
            secrets.insert(id.clone(), Secret::new(value.clone()));
        }
        Ok(secrets)
    }

    /// What the engine needs to talk with the registries of all images that go in. A credential
    /// that is configured and cannot be had is an error: nothing goes out anonymously in its
    /// place.
    async fn logins(
        &self,
        job: &Job,
        uses: &ProjectUses,
    ) -> Result<BTreeMap<String, Credential>, RegistryError> {
        let mut logins = BTreeMap::new();
        let own = self.client.base().host().to_owned();
        let external = uses.references.iter().filter_map(|(_, image)| match image {
            Image::External(name) => Some(name),
            Image::Project(_) => None,
        });
        let pulled = job.uses.values().chain(&job.cache_from).chain(external);
        let hosts = pulled.filter_map(|reference| host_of(reference));
        let hosts: BTreeSet<String> = hosts.chain([own.clone()]).collect();
        for host in hosts {
            let login = login(&self.bases(), &host).await?;
            logins.extend(login.map(|login| (host, login)));
        }
        Ok(logins)
    }

    fn bases(&self) -> Vec<&Client> {
        std::iter::once(&self.client)
            .chain(&self.upstream)
            .collect()
    }

    async fn run(
        &self,
        request: &ImageBuild,
        source: &Source,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<String, EngineError> {
        let steps = std::sync::Mutex::new(BTreeMap::new());
        let listener = |event| {
            let mut steps = steps
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some(message) = translate(event, &mut steps) {
                progress(message);
            }
        };
        Ok(self
            .engine
            .build(request, source.stream(), &listener)
            .await?
            .id)
    }

    async fn push(&self, job: &Job, image: &str, tag: &str) -> Result<Digest, Stopped> {
        let base: &Base = self.client.base();
        let reference = base.tagged(&job.project, tag);
        let repository = job.project.as_str();
        self.client
            .make_repository(repository, upkeep::of(repository))
            .await?;
        let login = login(&self.bases(), base.host()).await?;
        self.engine.tag(image, &reference).await?;
        self.client.await_push().await;
        let pushed = self.engine.push(&reference, login.as_ref(), &|_| {}).await;
        let _ = self.engine.remove(&reference).await;
        match pushed {
            Ok(digest) => Ok(digest),
            Err(EngineError::PushFailed { message, .. }) if is_immutable(&message) => {
                let standing = self.standing(job, image, tag).await?;
                standing.ok_or(Stopped::TagStands)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The digest of what stands under a tag, if it is this very image of the engine's: registries
    /// with immutable tags refuse that too.
    async fn standing(
        &self,
        job: &Job,
        image: &str,
        tag: &str,
    ) -> Result<Option<Digest>, RegistryError> {
        let manifest = self.client.manifest(job.project.as_str(), tag).await?;
        Ok(manifest
            .filter(|manifest| is_image(manifest, image))
            .map(|manifest| manifest.digest))
    }

    /// Pushes every named stage as a layer cache of its own; what they hold was built already.
    async fn push_stages(
        &self,
        job: &Job,
        uses: &ProjectUses,
        request: &mut ImageBuild,
        source: &Source,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<(), Stopped> {
        for stage in uses
            .dockerfile
            .stage_names()
            .filter(|stage| !stage.starts_with('_'))
        {
            let Some(tag) = names::stage(job.key, stage) else {
                continue;
            };
            request.target = Some(stage.to_owned());
            request.no_cache = false;
            request.tag = format!("waybill-build/{}:{}", job.project, unique_tag()?);
            let image = self.run(request, source, progress).await?;
            self.push(job, &image, &tag).await?;
            let _ = self.engine.remove(&request.tag).await;
        }
        Ok(())
    }

    /// The local name of the build goes; with an embedded base one that lasts takes its place.
    async fn clean(&self, job: &Job, image: &str, tag: &str) {
        if self.keep == Keep::Image {
            let name = format!("waybill/{}:{}", job.project, job.commit);
            let _ = self.engine.tag(image, &name).await;
        }
        let _ = self.engine.remove(tag).await;
    }
}

/// Whether a manifest is that of an engine's image, by its id: the digest of its configuration, or
/// in newer engines of the manifest.
fn is_image(manifest: &RawManifest, id: &str) -> bool {
    let config = match manifest.parse() {
        Some(OciManifest::Image(image)) => Some(image.config.digest),
        _ => None,
    };
    manifest.digest.to_string() == id || config.as_deref() == Some(id)
}

/// What goes to the engine; sent once for each build.
struct Source {
    repository: Arc<Repository>,
    context: Arc<Context>,
    /// The Dockerfile's name in the context, which nothing else there has.
    name: String,
    dockerfile: Arc<[u8]>,
}

impl Source {
    fn stream(&self) -> ContextStream {
        let (repository, context) = (Arc::clone(&self.repository), Arc::clone(&self.context));
        let (name, dockerfile) = (self.name.clone(), Arc::clone(&self.dockerfile));
        ContextStream::spawn(move |out| {
            out.bytes(name.as_bytes(), false, &dockerfile)?;
            context.write(&repository, out)
        })
    }
}

/// The failure that an engine's error is, with the place of the instruction that failed, where it
/// can be told. `sent` is the Dockerfile that was built: its lines are those of the commit's.
fn with_place(error: EngineError, sent: &[u8], uses: &ProjectUses) -> Failure {
    let place = match &error {
        EngineError::BuildFailed {
            step: Some(step), ..
        } => Dockerfile::parse(uses.dockerfile.path(), sent)
            .ok()
            .and_then(|sent| sent.location_of_step(step)),
        _ => None,
    };
    let mut failure = Failure::from(error);
    if let (Some(problem), Some(place)) = (failure.problems.first_mut(), place) {
        problem.location = Some(place);
    }
    failure
}

/// An engine's event as the executor's; `steps` holds the names of steps by id.
fn translate(event: BuildEvent, steps: &mut BTreeMap<String, engine::Step>) -> Option<Progress> {
    match event {
        BuildEvent::Step(step) => {
            let (name, state) = (step.name.clone(), state_of(&step));
            let before = steps.insert(step.id.clone(), step);
            // BuildKit tells of a step again for whatever changes about it.
            let is_news = before.is_none_or(|before| state_of(&before) != state);
            state
                .filter(|_| is_news)
                .map(|state| Progress::Step { name, state })
        }
        BuildEvent::Log { step, bytes, .. } => {
            let name = steps
                .get(&step)
                .map_or_else(String::new, |step| step.name.clone());
            Some(Progress::Output { step: name, bytes })
        }
        BuildEvent::Warning { message, line, .. } => {
            let line = line.map(|line| format!(" (line {line} of the Dockerfile)"));
            let message = format!("{message}{}", line.unwrap_or_default());
            Some(Progress::Warning(Problem::warning("buildkit", message)))
        }
        BuildEvent::Upload { .. } | BuildEvent::Progress { .. } => None,
    }
}

/// The state of a step; `None` before it began.
const fn state_of(step: &engine::Step) -> Option<StepState> {
    match (&step.error, step.cached, &step.completed, &step.started) {
        (Some(_), ..) => Some(StepState::Failed),
        (None, true, ..) => Some(StepState::Cached),
        (None, false, Some(_), _) => Some(StepState::Done),
        (None, false, None, Some(_)) => Some(StepState::Running),
        (None, false, None, None) => None,
    }
}

/// Whether a registry's words say that the tag stands and may not be moved.
fn is_immutable(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["immutable", "tag_invalid", "tag invalid", "already exists"]
        .iter()
        .any(|words| message.contains(words))
}

fn several_platforms(project: &Project) -> Failure {
    let platforms: Vec<String> = project.platforms.iter().map(ToString::to_string).collect();
    let message = format!(
        "{} asks for several platforms: {}",
        project.name,
        platforms.join(", ")
    );
    let problem = Problem::error("several-platforms", message)
        .hint("this version builds one platform an image; declare a project for each");
    Failure::new(Class::Usage, problem)
}

/// A tag that no other build of this engine has.
fn unique_tag() -> Result<String, EngineError> {
    engine::unique_id()
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
