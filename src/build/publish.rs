//! From the engine's store into the base: the image under its key's tag, and with
//! `layerCache: "stages"` each named stage. Images of several platforms go under tags of their own,
//! and the index that names them last.

use std::collections::BTreeMap;
use std::time::Instant;

use super::engine::EngineError;
use super::external::login;
use super::image::{ImageBuilder, Keep, Listener, Part, Stopped, timed, unique_name};
use super::step::Told;
use crate::event::milliseconds;
use crate::execute::builder::Job;
use crate::ledger::{names, upkeep};
use crate::model::{Digest, Platform};
use crate::problem::{Class, Failure, Problem};
use crate::registry::manifest::OciManifest;
use crate::registry::{Credential, Put, RawManifest};

/// How often an image is pushed that another run on the same engine gets in the way of.
const PUSHES: usize = 3;

/// An image in the engine's store, for a platform.
type Built<'a> = (&'a Platform, String);

/// Milliseconds by name.
type Durations = BTreeMap<String, u64>;

impl ImageBuilder {
    /// Pushes the image, then the stages, and returns the image's digest. Each stage is its name
    /// and its tag.
    pub(super) async fn publish(
        &self,
        job: &Job,
        parts: &[Part],
        stages: &[(String, String)],
        durations: &mut Durations,
        progress: Listener<'_>,
    ) -> Result<Digest, Stopped> {
        let images = parts
            .iter()
            .map(|part| (&part.platform, part.image.clone()));
        let images: Vec<Built<'_>> = images.collect();
        let digest = self
            .push_together(job, &images, &names::image(job.key), durations)
            .await?;
        for (stage, tag) in stages {
            let mut local = Vec::new();
            let pushed = self
                .push_stage(job, parts, (stage, tag), (&mut local, durations), progress)
                .await;
            for name in local {
                let _ = self.engine.remove(&name).await;
            }
            match pushed {
                // Another run's layers of the same key serve as well.
                Ok(_) | Err(Stopped::TagStands { .. }) => {}
                Err(stopped) => return Err(stopped),
            }
        }
        Ok(digest)
    }

    /// Pushes a named stage as a layer cache of its own; what it holds was built already. The
    /// names that it has in the engine are in `local` in any case.
    async fn push_stage(
        &self,
        job: &Job,
        parts: &[Part],
        (stage, tag): (&str, &str),
        (local, durations): (&mut Vec<String>, &mut Durations),
        progress: Listener<'_>,
    ) -> Result<Digest, Stopped> {
        let mut images = Vec::new();
        for part in parts {
            let mut request = part.request.clone();
            request.target = Some(stage.to_owned());
            request.no_cache = false;
            request.tag = unique_name(job)?;
            let label = (parts.len() > 1).then_some(&part.platform);
            let told = Told::new(label, progress);
            local.push(request.tag.clone());
            let image = self.run(&request, &part.source, &told).await?;
            images.push((&part.platform, image));
        }
        self.push_together(job, &images, tag, durations).await
    }

    /// Pushes an image under a tag; of several platforms, each under its own, and then an index of
    /// them all under the tag: it names the whole or nothing.
    async fn push_together(
        &self,
        job: &Job,
        images: &[Built<'_>],
        tag: &str,
        durations: &mut Durations,
    ) -> Result<Digest, Stopped> {
        if let [(_, image)] = images {
            return self
                .push(job, image, tag, (durations, timed("push", None)))
                .await;
        }
        let mut pushed = BTreeMap::new();
        for (platform, image) in images {
            let own = names::of_platform(tag, platform);
            let timed = timed("push", Some(platform));
            let digest = self.push(job, image, &own, (durations, timed)).await?;
            pushed.insert((*platform).clone(), digest);
        }
        let repository = job.project.as_str();
        match self.client.put_index(repository, tag, &pushed).await? {
            Put::Done(digest) => Ok(digest),
            Put::TagStands => Err(Stopped::TagStands {
                tag: tag.to_owned(),
            }),
        }
    }

    async fn push(
        &self,
        job: &Job,
        image: &str,
        tag: &str,
        (durations, timed): (&mut Durations, String),
    ) -> Result<Digest, Stopped> {
        let repository = job.project.as_str();
        self.client
            .make_repository(repository, upkeep::of(repository))
            .await?;
        let login = login(&self.bases(), self.client.base().host()).await?;
        let started = Instant::now();
        let mut pushed = None;
        for _ in 0..PUSHES {
            pushed = self.push_once(job, image, tag, login.as_ref()).await?;
            if pushed.is_some() {
                break;
            }
        }
        *durations.entry(timed).or_default() += milliseconds(started.elapsed());
        Ok(pushed.ok_or_else(|| disturbed(&self.client.base().tagged(&job.project, tag)))?)
    }

    /// Pushes an image under a tag, and looks at what the registry then has; `None` where that is
    /// not this image. The name that it is pushed by is one for all who share the engine: another
    /// run of the same key may move it to its own image, or take it away, at any moment.
    async fn push_once(
        &self,
        job: &Job,
        image: &str,
        tag: &str,
        login: Option<&Credential>,
    ) -> Result<Option<Digest>, Stopped> {
        let reference = self.client.base().tagged(&job.project, tag);
        self.engine.tag(image, &reference).await?;
        self.client.await_push().await;
        let pushed = self.engine.push(&reference, login, &|_| {}).await;
        let _ = self.engine.remove(&reference).await;
        let repository = job.project.as_str();
        let error = match pushed {
            Ok(digest) => {
                self.client.note_push(repository, tag);
                self.client.note_push(repository, &digest.to_string());
                let manifest = self
                    .client
                    .manifest(repository, &digest.to_string())
                    .await?;
                let own = manifest.is_some_and(|manifest| is_image(&manifest, image));
                return Ok(own.then_some(digest));
            }
            Err(error) => error,
        };
        match &error {
            EngineError::PushFailed { message, .. } if is_immutable(message) => {
                // Registries with immutable tags refuse what stands there already, too.
                match self.client.manifest(repository, tag).await? {
                    None => Err(error.into()),
                    Some(standing) if is_image(&standing, image) => Ok(Some(standing.digest)),
                    Some(_) => Err(Stopped::TagStands {
                        tag: tag.to_owned(),
                    }),
                }
            }
            EngineError::PushFailed { message, .. } if is_disturbed(message) => Ok(None),
            _ => Err(error.into()),
        }
    }

    /// The local names of the builds go. Of a build that succeeded into an embedded base one that
    /// lasts takes their place, for the engine's own platform if it is among them.
    pub(super) async fn clean(&self, job: &Job, parts: &[Part], succeeded: bool) {
        let own = &self.engine.info().platform;
        let kept = parts.iter().find(|part| part.platform.is_for(own));
        if let (true, Some(part), Keep::Image) = (succeeded, kept.or(parts.first()), self.keep) {
            let name = names::kept(&job.project, job.commit);
            let _ = self.engine.tag(&part.image, &name).await;
        }
        for part in parts {
            let _ = self.engine.remove(&part.request.tag).await;
        }
    }
}

/// That another run's image was pushed under the same name each time.
fn disturbed(reference: &str) -> Failure {
    let message = format!("another run on the same engine pushed its own image as {reference}");
    let problem = Problem::error("push-disturbed", message)
        .hint("run again when it is done: its image is reused then");
    Failure::new(Class::Unreachable, problem)
}

/// Whether a registry's words say that the tag stands and may not be moved.
fn is_immutable(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["immutable", "tag_invalid", "tag invalid", "already exists"]
        .iter()
        .any(|words| message.contains(words))
}

/// Whether an engine's words are those of a push that another one got in the way of: the name is
/// gone, or what the other one was about to send was left out.
fn is_disturbed(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    [
        "does not exist locally",
        "no such image",
        "blob unknown",
        "digest invalid",
    ]
    .iter()
    .any(|words| message.contains(words))
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
