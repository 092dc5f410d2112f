//! One build: a session for what BuildKit asks back, `POST /build` with the context as its body,
//! and the lines that come in answer (Docker Engine API, "Build an image", version 2).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bollard::{BollardRequest, body_try_stream};
use bytes::Bytes;
use futures_util::Stream;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use tokio::sync::oneshot;

use super::event::BuildEvent;
use super::message::{Message, Messages, events, trace};
use super::session::{Offer, Session};
use super::transport::{Exchange, TransportError, post, refusal};
use super::{Engine, EngineError};
use crate::build::tar::ContextStream;
use crate::mask::Secret;
use crate::model::Platform;
use crate::problem::Failure;
use crate::registry::Credential;

/// What is to be built, and how.
#[derive(Clone, Debug)]
pub struct ImageBuild {
    /// The Dockerfile's path inside the context.
    pub dockerfile: String,
    /// The stage to build; `None` for the last.
    pub target: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// The platform of the image.
    pub platform: Platform,
    /// Images whose layer cache may be used.
    pub cache_from: Vec<String>,
    /// Whether the image carries a layer cache of its own.
    pub inline_cache: bool,
    /// Whether every step runs, whatever caches hold.
    pub no_cache: bool,
    /// The image's local name, `name:tag`, that no other build uses.
    pub tag: String,
    /// By id, as `RUN --mount=type=secret` names them.
    pub secrets: BTreeMap<String, Secret<Vec<u8>>>,
    /// For pulling base images and caches, by registry host, with port where it has one.
    pub logins: BTreeMap<String, Credential>,
}

/// An image in the engine's store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltImage {
    /// The engine's name of the image's content, `sha256:…`.
    pub id: String,
}

/// Who listens to a build.
pub type BuildListener<'a> = &'a (dyn Fn(BuildEvent) + Send + Sync);

/// What is being done, in errors.
const ACTION: &str = "build an image";

/// How often the size of what was sent is told.
const TICK: Duration = Duration::from_millis(250);

impl Engine {
    /// Builds an image from `context`; it stays in the engine's store under `request.tag`.
    ///
    /// Dropping the future ends the build in the engine too. A platform that is not the engine's
    /// is probed first (see [`probe_platform`](Self::probe_platform)), and an image that states
    /// another platform than asked for is an error.
    pub async fn build(
        &self,
        request: &ImageBuild,
        context: ContextStream,
        listener: BuildListener<'_>,
    ) -> Result<BuiltImage, EngineError> {
        self.probe_platform(&request.platform).await?;
        let image = self.solve(request, context, listener).await?;
        self.check_platform(request, &image).await?;
        Ok(image)
    }

    /// Builds, whatever the platform.
    pub(super) async fn solve(
        &self,
        request: &ImageBuild,
        context: ContextStream,
        listener: BuildListener<'_>,
    ) -> Result<BuiltImage, EngineError> {
        let (failed, failure) = oneshot::channel();
        let outcome = self.converse(request, context, failed, listener).await;
        // A context that failed breaks the connection; the reason is the context's.
        match failure.await {
            Ok(failure) => Err(EngineError::Context(failure)),
            Err(_) => outcome,
        }
    }

    async fn converse(
        &self,
        request: &ImageBuild,
        context: ContextStream,
        failed: oneshot::Sender<Failure>,
        listener: BuildListener<'_>,
    ) -> Result<BuiltImage, EngineError> {
        let offer = Offer {
            secrets: Arc::new(request.secrets.clone()),
            logins: Arc::new(request.logins.clone()),
        };
        let session =
            Session::open(&self.transport, &self.prefix(), super::unique_id()?, offer).await?;
        let taken = context.taken();
        let broken = |error| self.transport.error(ACTION, error);
        let post = self
            .request(request, &session.id, body(context, failed))
            .map_err(broken)?;
        let exchange = self.upload(post, &taken, listener).await.map_err(broken)?;
        if exchange.response.status() != StatusCode::OK {
            return Err(refusal(ACTION, exchange.response).await);
        }
        follow(exchange, listener).await
    }

    fn request(
        &self,
        build: &ImageBuild,
        session: &str,
        body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<BollardRequest, TransportError> {
        let query = query(build, session)?;
        let mut request = post(&format!("{}/build", self.prefix()), &query)?;
        *request.body_mut() = body_try_stream(body);
        let tar = HeaderValue::from_static("application/x-tar");
        request.headers_mut().insert(CONTENT_TYPE, tar);
        Ok(request)
    }

    /// Sends the request and tells how much of the context is gone, until the answer begins.
    async fn upload(
        &self,
        request: BollardRequest,
        taken: &AtomicU64,
        listener: BuildListener<'_>,
    ) -> Result<Exchange, TransportError> {
        let mut exchange = std::pin::pin!(self.transport.exchange(request));
        let mut told = 0;
        let mut tell = || {
            let bytes = taken.load(Ordering::Relaxed);
            if bytes > told {
                told = bytes;
                listener(BuildEvent::Upload { bytes });
            }
        };
        loop {
            let answer = tokio::time::timeout(TICK, &mut exchange).await;
            tell();
            if let Ok(answer) = answer {
                return answer;
            }
        }
    }

    async fn check_platform(
        &self,
        request: &ImageBuild,
        image: &BuiltImage,
    ) -> Result<(), EngineError> {
        let built = self.inspect(&image.id).await?;
        let built = built.map(|image| image.platform);
        if built
            .as_ref()
            .is_some_and(|built| built.is_for(&request.platform))
        {
            return Ok(());
        }
        self.remove(&request.tag).await?;
        Err(EngineError::PlatformMismatch {
            platform: request.platform.to_string(),
            built: built.map_or_else(|| "no platform".to_owned(), |built| built.to_string()),
        })
    }
}

/// The context as a request's body. A failure breaks the request off and goes to `failed`.
fn body(
    context: ContextStream,
    failed: oneshot::Sender<Failure>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    futures_util::stream::unfold(Some((context, failed)), async |state| {
        let (mut context, failed) = state?;
        match context.next().await? {
            Ok(bytes) => Some((Ok(bytes), Some((context, failed)))),
            Err(failure) => {
                // Nobody waits for it if the build was given up meanwhile.
                let _ = failed.send(failure);
                Some((Err(io::Error::other("the context failed")), None))
            }
        }
    })
}

/// The query of `POST /build`, as the docker program sends it.
fn query(build: &ImageBuild, session: &str) -> Result<Vec<(&'static str, String)>, TransportError> {
    fn json(value: &impl serde::Serialize) -> Result<String, TransportError> {
        serde_json::to_string(value).map_err(|error| TransportError::Request(error.to_string()))
    }
    let mut args = build.args.clone();
    if build.inline_cache {
        args.insert("BUILDKIT_INLINE_CACHE".to_owned(), "1".to_owned());
    }
    let mut query = vec![
        ("version", "2".to_owned()),
        ("session", session.to_owned()),
        ("buildid", format!("waybill-{session}")),
        ("dockerfile", build.dockerfile.clone()),
        ("platform", build.platform.to_string()),
        ("t", build.tag.clone()),
        ("buildargs", json(&args)?),
        ("labels", json(&build.labels)?),
        ("cachefrom", json(&build.cache_from)?),
        ("rm", "1".to_owned()),
    ];
    if let Some(target) = &build.target {
        query.push(("target", target.clone()));
    }
    if build.no_cache {
        query.push(("nocache", "1".to_owned()));
    }
    Ok(query)
}

/// Reads the answer to its end.
async fn follow(
    exchange: Exchange,
    listener: BuildListener<'_>,
) -> Result<BuiltImage, EngineError> {
    let mut messages = Messages::new(exchange.response.into_body(), ACTION);
    let mut told = Told::default();
    while let Some(message) = messages.next().await? {
        told.take(message, listener)?;
    }
    drop(exchange.connection);
    let id = told
        .image
        .ok_or_else(|| broken_off("it ended without an image"))?;
    Ok(BuiltImage { id })
}

/// What the answer has said so far.
#[derive(Default)]
struct Told {
    image: Option<String>,
    failed_step: Option<String>,
}

impl Told {
    fn take(&mut self, message: Message, listener: BuildListener<'_>) -> Result<(), EngineError> {
        if let Some(message) = message.error {
            return Err(EngineError::BuildFailed {
                step: self.failed_step.take(),
                exit_code: exit_code(&message),
                message,
            });
        }
        match (message.id.as_deref(), message.aux) {
            (Some("moby.buildkit.trace"), Some(aux)) => {
                let state = trace(&aux).map_err(|reason| broken_off(&reason))?;
                for event in events(state) {
                    self.note(&event);
                    listener(event);
                }
            }
            (Some("moby.image.id"), Some(aux)) => {
                self.image = aux.get("ID").and_then(|id| id.as_str()).map(str::to_owned);
            }
            _ => {}
        }
        Ok(())
    }

    /// Remembers the first step that failed by itself: others are cancelled because of it.
    fn note(&mut self, event: &BuildEvent) {
        if let BuildEvent::Step(step) = event
            && let Some(error) = &step.error
            && self.failed_step.is_none()
            && !error.ends_with("context canceled")
        {
            self.failed_step = Some(step.name.clone());
        }
    }
}

/// BuildKit states the exit code of a step only in its error's text.
fn exit_code(message: &str) -> Option<i32> {
    let (_, code) = message.rsplit_once("exit code: ")?;
    code.trim().parse().ok()
}

fn broken_off(reason: &str) -> EngineError {
    EngineError::Interrupted {
        action: ACTION.to_owned(),
        reason: reason.to_owned(),
    }
}
