//! From the engine's store into the base: the image under its key's tag, and with
//! `layerCache: "stages"` each named stage. Images of several platforms go under tags of their own,
//! and the index that names them last.

use std::collections::BTreeMap;
use std::time::Instant;

use super::engine::EngineError;
use super::external::login;
use super::image::{ImageBuilder, Keep, Listener, Part, Stopped, local_name, timed};
use super::step::Told;
use crate::execute::builder::Job;
use crate::ledger::{names, upkeep};
use crate::model::{Digest, Platform};
use crate::registry::manifest::OciManifest;
use crate::registry::{Put, RawManifest, RegistryError};

/// An image in the engine's store, for a platform.
type Built<'a> = (&'a Platform, String);

/// Milliseconds by name.
type Durations = BTreeMap<String, u64>;

impl ImageBuilder {
    /// Pushes the image, then the named stages, and returns the image's digest.
    pub(super) async fn publish(
        &self,
        job: &Job,
        parts: &[Part],
        stages: &[String],
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
        for stage in stages.iter().filter(|stage| !stage.starts_with('_')) {
            if let Some(tag) = names::stage(job.key, stage) {
                self.push_stage(job, parts, (stage, &tag), durations, progress)
                    .await?;
            }
        }
        Ok(digest)
    }

    /// Pushes a named stage as a layer cache of its own; what it holds was built already.
    async fn push_stage(
        &self,
        job: &Job,
        parts: &[Part],
        (stage, tag): (&str, &str),
        durations: &mut Durations,
        progress: Listener<'_>,
    ) -> Result<(), Stopped> {
        let mut names = Vec::new();
        let mut images = Vec::new();
        for part in parts {
            let mut request = part.request.clone();
            request.target = Some(stage.to_owned());
            request.no_cache = false;
            request.tag = local_name(job)?;
            let label = (parts.len() > 1).then_some(&part.platform);
            let told = Told::new(label, progress);
            let image = self.run(&request, &part.source, &told).await?;
            names.push(request.tag);
            images.push((&part.platform, image));
        }
        self.push_together(job, &images, tag, durations).await?;
        for name in names {
            let _ = self.engine.remove(&name).await;
        }
        Ok(())
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
            Put::TagStands => Err(Stopped::TagStands),
        }
    }

    async fn push(
        &self,
        job: &Job,
        image: &str,
        tag: &str,
        (durations, timed): (&mut Durations, String),
    ) -> Result<Digest, Stopped> {
        let base = self.client.base();
        let reference = base.tagged(&job.project, tag);
        let repository = job.project.as_str();
        self.client
            .make_repository(repository, upkeep::of(repository))
            .await?;
        let login = login(&self.bases(), base.host()).await?;
        let started = Instant::now();
        self.engine.tag(image, &reference).await?;
        self.client.await_push().await;
        let pushed = self.engine.push(&reference, login.as_ref(), &|_| {}).await;
        let _ = self.engine.remove(&reference).await;
        *durations.entry(timed).or_default() += milliseconds(started);
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

    /// The local names of the builds go; with an embedded base one that lasts takes their place,
    /// for the engine's own platform if it is among them.
    pub(super) async fn clean(&self, job: &Job, parts: &[Part]) {
        let own = &self.engine.info().platform;
        let kept = parts.iter().find(|part| part.platform.is_for(own));
        if let (Some(part), Keep::Image) = (kept.or(parts.first()), self.keep) {
            let name = format!("waybill/{}:{}", job.project, job.commit);
            let _ = self.engine.tag(&part.image, &name).await;
        }
        for part in parts {
            let _ = self.engine.remove(&part.request.tag).await;
        }
    }
}

/// Whether a registry's words say that the tag stands and may not be moved.
fn is_immutable(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["immutable", "tag_invalid", "tag invalid", "already exists"]
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

/// The milliseconds since then.
pub(super) fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
