//! The builder behind [`crate::execute`]: one image from the commit, built by the engine for each
//! of its platforms, and pushed to the base.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::Context;
use super::bases;
use super::engine::{self, Engine, EngineError, ImageBuild};
use super::external::{ExternalImages, host_of, login};
use super::step::{Told, named};
use super::tar::ContextStream;
use crate::dockerfile::{Dockerfile, Image, Reference};
use crate::event::{Phase, milliseconds};
use crate::execute::builder::{BuildError, Builder, Job, Progress, Pushed};
use crate::gather::{CommitFacts, ProjectUses, RELEASE_TAG_ARGUMENT, project_uses};
use crate::git::Repository;
use crate::ledger::names;
use crate::manifest::{LayerCache, Project};
use crate::mask::Secret;
use crate::model::{Digest, Platform};
use crate::problem::{Class, Failure, Problem};
use crate::registry::{Client, Credential, RegistryError};

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
            .map_err(|stopped| match stopped {
                Stopped::TagStands { tag } => BuildError::TagStands { tag },
                Stopped::Failure(failure) => BuildError::Other(failure),
            })
    }
}

/// Why there is no image.
pub(super) enum Stopped {
    /// An immutable tag stands in the way, on another image.
    TagStands {
        /// The tag.
        tag: String,
    },
    /// Anything else.
    Failure(Failure),
}

/// The image of one platform, in the engine's store.
pub(super) struct Part {
    pub(super) platform: Platform,
    /// What it was built by.
    pub(super) request: ImageBuild,
    /// What it was built from.
    pub(super) source: Source,
    /// The engine's name of it.
    pub(super) image: String,
}

/// Who is told how a job goes.
pub(super) type Listener<'a> = &'a (dyn Fn(Progress) + Send + Sync);

impl<E: Into<Failure>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Failure(error.into())
    }
}

impl ImageBuilder {
    async fn build_and_push(&self, job: &Job, progress: Listener<'_>) -> Result<Pushed, Stopped> {
        let project = self.project(job)?;
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
        let projects = &self.facts.manifest.projects;
        bases::check(&uses, projects, &self.external, engine_platform, progress).await?;
        for platform in &project.platforms {
            self.engine.probe_platform(platform).await?;
        }
        let mut parts = Vec::new();
        let mut durations = BTreeMap::new();
        progress(Progress::Phase(Phase::Build));
        let built = self
            .build_parts(job, project, &uses, (&mut parts, &mut durations), progress)
            .await;
        let pushed = match built {
            Ok(external) => {
                progress(Progress::Phase(Phase::Push));
                let stages = stages(job, project, &uses);
                let image = self
                    .publish(job, &parts, &stages, &mut durations, progress)
                    .await;
                image.map(|image| (image, external))
            }
            Err(stopped) => Err(stopped),
        };
        self.clean(job, &parts, pushed.is_ok()).await;
        let (image, external) = pushed?;
        Ok(Pushed {
            image,
            external,
            durations,
            builder: format!(
                "waybill {}, engine {}",
                env!("CARGO_PKG_VERSION"),
                self.engine.info().version
            ),
        })
    }

    /// Builds the image for each platform, one after the other, and returns the external images
    /// that went in. What was built is in `parts` in any case.
    async fn build_parts(
        &self,
        job: &Job,
        project: &Project,
        uses: &ProjectUses,
        (parts, durations): (&mut Vec<Part>, &mut BTreeMap<String, u64>),
        progress: Listener<'_>,
    ) -> Result<BTreeMap<String, Digest>, Stopped> {
        let context = Arc::new(Context::find(&self.repository, &self.facts, project)?);
        let common = self.request(job, project, uses).await?;
        let mut all_external = BTreeMap::new();
        for (platform, references) in &uses.by_platform {
            let label = (uses.by_platform.len() > 1).then_some(platform);
            let (dockerfile, external) = self.pinned_dockerfile(job, uses, references).await?;
            all_external.extend(external);
            let request = ImageBuild {
                platform: platform.clone(),
                tag: unique_name(job)?,
                ..common.clone()
            };
            let source = Source {
                repository: Arc::clone(&self.repository),
                context: Arc::clone(&context),
                name: request.dockerfile.clone(),
                dockerfile: dockerfile.into(),
            };
            let started = Instant::now();
            let image = self
                .run(&request, &source, &Told::new(label, progress))
                .await;
            let image =
                image.map_err(|error| with_place(error, label, &source.dockerfile, uses))?;
            durations.insert(timed("build", label), milliseconds(started.elapsed()));
            parts.push(Part {
                platform: platform.clone(),
                request,
                source,
                image,
            });
        }
        Ok(all_external)
    }

    /// What the builds for all platforms have in common.
    async fn request(
        &self,
        job: &Job,
        project: &Project,
        uses: &ProjectUses,
    ) -> Result<ImageBuild, Failure> {
        Ok(ImageBuild {
            dockerfile: format!(".waybill-{}.Dockerfile", job.key.short()),
            target: project.target.clone(),
            args: self.arguments(job, project, uses),
            labels: self.labels(job),
            platform: Platform::default(),
            cache_from: job.cache_from.clone(),
            inline_cache: project.layer_cache != LayerCache::None,
            no_cache: !job.use_engine_cache,
            tag: String::new(),
            secrets: self.secrets(project)?,
            logins: self.logins(job, uses).await?,
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
        references: &[(Reference, Image)],
    ) -> Result<(Vec<u8>, BTreeMap<String, Digest>), Failure> {
        let mut replacements = Vec::new();
        let mut external = BTreeMap::new();
        for (reference, image) in references {
            match image {
                Image::Project(name) => {
                    let image = job.uses.get(name).ok_or_else(|| bases::missing(name))?;
                    replacements.push((reference, image.clone()));
                }
                Image::External(name) => {
                    let Ok(Some(pinned)) = self.external.pin(name).await else {
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
        let external = uses.images().filter_map(|image| match image {
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

    pub(super) fn bases(&self) -> Vec<&Client> {
        std::iter::once(&self.client)
            .chain(&self.upstream)
            .collect()
    }

    /// Builds one image, and returns the engine's name of it.
    pub(super) async fn run(
        &self,
        request: &ImageBuild,
        source: &Source,
        told: &Told<'_>,
    ) -> Result<String, EngineError> {
        let listener = |event| told.event(event);
        Ok(self
            .engine
            .build(request, source.stream(), &listener)
            .await?
            .id)
    }
}

/// What goes to the engine; sent once for each build.
pub(super) struct Source {
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
fn with_place(
    error: EngineError,
    label: Option<&Platform>,
    sent: &[u8],
    uses: &ProjectUses,
) -> Failure {
    let place = match &error {
        EngineError::BuildFailed {
            step: Some(step), ..
        } => Dockerfile::parse(uses.dockerfile.path(), sent)
            .ok()
            .and_then(|sent| sent.location_of_step(step)),
        _ => None,
    };
    let mut failure = Failure::from(named(label, error));
    if let (Some(problem), Some(place)) = (failure.problems.first_mut(), place) {
        problem.location = Some(place);
    }
    failure
}

/// The name of a duration: of the whole, or of one of several platforms.
pub(super) fn timed(what: &str, label: Option<&Platform>) -> String {
    label.map_or_else(|| what.to_owned(), |platform| format!("{what} {platform}"))
}

/// The named stages that are kept, each with its tag.
fn stages(job: &Job, project: &Project, uses: &ProjectUses) -> Vec<(String, String)> {
    if project.layer_cache != LayerCache::Stages {
        return Vec::new();
    }
    let names = uses.dockerfile.stage_names();
    names
        .filter_map(|name| {
            let tag = names::stage(job.key, name, &project.platforms)?;
            Some((name.to_owned(), tag))
        })
        .collect()
}

/// A name in the engine that no other build has.
pub(super) fn unique_name(job: &Job) -> Result<String, EngineError> {
    Ok(format!(
        "waybill-build/{}:{}",
        job.project,
        engine::unique_id()?
    ))
}
