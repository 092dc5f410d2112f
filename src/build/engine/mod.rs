//! The container engine: BuildKit through the Docker Engine API.
//!
//! The only module that uses bollard, hyper and tonic. Whatever bollard can do goes through it;
//! builds and pushes are requests of our own over the same connections, because bollard serves no
//! secrets beside a context that is streamed, and tells neither a push's digest nor its layers.

mod build;
mod compose;
mod container;
mod dial;
mod endpoint;
mod error;
mod event;
mod login;
mod message;
mod platform;
mod pull;
mod push;
mod session;
mod ssh;
mod transport;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as BollardError;
use bollard::query_parameters::{RemoveImageOptionsBuilder, TagImageOptionsBuilder};
use tokio::sync::Mutex;

pub use build::{BuildListener, BuiltImage, ImageBuild};
pub use compose::ServiceEnd;
pub use container::{ContainerExit, ContainerRequest, ImageCommand};
pub use endpoint::Endpoint;
pub use error::EngineError;
pub use event::{BuildEvent, LogStream, PushEvent, Step};

use crate::model::{Digest, Platform};
use crate::registry::Credential;
use transport::Transport;

/// A container engine that answered. Cheap to clone; every request has a connection of its own.
#[derive(Clone)]
pub struct Engine {
    transport: Transport,
    docker: Docker,
    info: Arc<EngineInfo>,
    /// What probes of foreign platforms found; an error is the reason.
    probed: Arc<Mutex<BTreeMap<Platform, Result<(), String>>>>,
}

/// What an engine says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// Where it is, as configured.
    pub address: String,
    /// e.g. `20.10.24`.
    pub version: String,
    /// The newest version of its API, e.g. `1.41`.
    pub api_version: String,
    /// What it runs without emulation.
    pub platform: Platform,
}

/// An image in an engine's store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// The engine's name of its content, `sha256:…`.
    pub id: String,
    /// The platform that it states.
    pub platform: Platform,
    /// `name@sha256:…` of what it was pulled from or pushed to.
    pub repo_digests: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Bytes of all its layers, unpacked.
    pub size: u64,
}

/// An image in a registry, as an engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteImage {
    /// Of the manifest or index that the reference names.
    pub digest: Digest,
    /// Every platform that it is there for.
    pub platforms: Vec<Platform>,
}

/// How long an engine may take to say who it is.
const GREETING: Duration = Duration::from_secs(45);

/// How long it may take to begin any other answer of bollard's, in seconds.
const ANSWER: u64 = 600;

impl Engine {
    /// The engine that `DOCKER_HOST`, `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH` name.
    pub async fn connect() -> Result<Self, EngineError> {
        Self::connect_to(Endpoint::from_env()?).await
    }

    /// The engine at `endpoint`; an error if none answers.
    pub async fn connect_to(endpoint: Endpoint) -> Result<Self, EngineError> {
        let transport = Transport::new(endpoint)?;
        let docker = docker(&transport)?;
        let info = tokio::time::timeout(GREETING, greet(&transport, &docker)).await;
        let info = info.unwrap_or_else(|_| {
            Err(EngineError::Unreachable {
                address: transport.endpoint().to_string(),
                source: io::ErrorKind::TimedOut.into(),
            })
        })?;
        Ok(Self {
            transport,
            docker,
            info: Arc::new(info),
            probed: Arc::default(),
        })
    }

    /// What the engine says about itself.
    #[must_use]
    pub fn info(&self) -> &EngineInfo {
        &self.info
    }

    /// Gives an image of the store another name, `name:tag`.
    pub async fn tag(&self, image: &str, reference: &str) -> Result<(), EngineError> {
        let (name, tag) = split_tag(reference);
        let options = TagImageOptionsBuilder::default()
            .repo(name)
            .tag(tag)
            .build();
        let tagged = self.docker.tag_image(image, Some(options)).await;
        tagged.map_err(|error| self.error(&format!("tag {image} as {reference}"), error))
    }

    /// What the store says about an image; `None` if it does not have it.
    pub async fn inspect(&self, image: &str) -> Result<Option<ImageInfo>, EngineError> {
        match self.docker.inspect_image(image).await {
            Ok(found) => Ok(Some(image_info(found))),
            Err(BollardError::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(None),
            Err(error) => Err(self.error(&format!("inspect {image}"), error)),
        }
    }

    /// Takes a name from an image; the image goes with its last name. Nothing if there is none.
    pub async fn remove(&self, reference: &str) -> Result<(), EngineError> {
        let options = RemoveImageOptionsBuilder::default().build();
        match self
            .docker
            .remove_image(reference, Some(options), None)
            .await
        {
            Ok(_)
            | Err(BollardError::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(()),
            Err(error) => Err(self.error(&format!("remove {reference}"), error)),
        }
    }

    /// Lets the engine look for an image in its registry; `None` if the registry does not have it.
    ///
    /// That it answers at all shows that the engine reaches the registry. For one on this
    /// machine's loopback, which an engine in a virtual machine or elsewhere does not reach, a
    /// digest that is known shows that it is not another one on a loopback of the engine's own.
    pub async fn look_up(
        &self,
        reference: &str,
        login: Option<&Credential>,
    ) -> Result<Option<RemoteImage>, EngineError> {
        let registry = reference.split('/').next().unwrap_or_default();
        let credentials = login.map(|login| login::for_engine(login, registry));
        let looked = self
            .docker
            .inspect_registry_image(reference, credentials)
            .await;
        let reason = match looked {
            Ok(found) => return remote_image(found).map(Some),
            Err(BollardError::DockerResponseServerError {
                status_code: 404, ..
            }) => return Ok(None),
            Err(BollardError::DockerResponseServerError { message, .. }) => message,
            Err(error) => return Err(self.error(&format!("look for {reference}"), error)),
        };
        Err(EngineError::Remote {
            address: self.info.address.clone(),
            registry: registry.to_owned(),
            reason,
        })
    }

    /// The API version's part of a path.
    fn prefix(&self) -> String {
        format!("/v{}", self.info.api_version)
    }

    fn error(&self, action: &str, error: BollardError) -> EngineError {
        bollard_error(&self.transport, action, error)
    }
}

/// bollard over our own connections.
fn docker(transport: &Transport) -> Result<Docker, EngineError> {
    let own = transport.clone();
    Docker::connect_with_custom_transport(
        move |request| own.clone().detached(request),
        Some("http://docker"),
        ANSWER,
        bollard::API_DEFAULT_VERSION,
    )
    .map_err(|error| bollard_error(transport, "connect", error))
}

async fn greet(transport: &Transport, docker: &Docker) -> Result<EngineInfo, EngineError> {
    let action = "tell its version";
    let told = docker.version().await.map_err(|error| {
        match bollard_error(transport, action, error) {
            // What breaks before a first word was said never stood: TLS and ssh show it late.
            EngineError::Interrupted { reason, .. } => EngineError::Unreachable {
                address: transport.endpoint().to_string(),
                source: io::Error::other(reason),
            },
            other => other,
        }
    })?;
    let lacking = || EngineError::Interrupted {
        action: action.to_owned(),
        reason: "version, operating system or architecture is missing".to_owned(),
    };
    Ok(EngineInfo {
        address: transport.endpoint().to_string(),
        version: told.version.ok_or_else(lacking)?,
        api_version: told.api_version.ok_or_else(lacking)?,
        platform: Platform {
            os: told.os.ok_or_else(lacking)?,
            architecture: told.arch.ok_or_else(lacking)?,
            variant: None,
        },
    })
}

fn bollard_error(transport: &Transport, action: &str, error: BollardError) -> EngineError {
    match error {
        BollardError::DockerResponseServerError {
            status_code,
            message,
        } => EngineError::Refused {
            action: action.to_owned(),
            status: status_code,
            message,
        },
        // Only `Transport::detached` makes these: there was no connection.
        BollardError::IOError { err } => EngineError::Unreachable {
            address: transport.endpoint().to_string(),
            source: err,
        },
        other => transport::interrupted(action, &other),
    }
}

fn image_info(image: bollard::models::ImageInspect) -> ImageInfo {
    let labels = image.config.and_then(|config| config.labels);
    ImageInfo {
        id: image.id.unwrap_or_default(),
        platform: Platform {
            os: image.os.unwrap_or_default(),
            architecture: image.architecture.unwrap_or_default(),
            variant: image.variant.filter(|variant| !variant.is_empty()),
        },
        repo_digests: image.repo_digests.unwrap_or_default(),
        labels: labels.unwrap_or_default().into_iter().collect(),
        size: image
            .size
            .and_then(|size| u64::try_from(size).ok())
            .unwrap_or(0),
    }
}

fn remote_image(found: bollard::models::DistributionInspect) -> Result<RemoteImage, EngineError> {
    let digest = found.descriptor.digest.unwrap_or_default();
    Ok(RemoteImage {
        digest: digest.parse().map_err(|error| EngineError::Interrupted {
            action: "look for an image".to_owned(),
            reason: format!("{error}"),
        })?,
        platforms: found.platforms.into_iter().map(platform).collect(),
    })
}

fn platform(stated: bollard::models::OciPlatform) -> Platform {
    Platform {
        os: stated.os.unwrap_or_default(),
        architecture: stated.architecture.unwrap_or_default(),
        variant: stated.variant.filter(|variant| !variant.is_empty()),
    }
}

/// Name and tag of a reference; a port is no tag.
fn split_tag(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, "latest"),
    }
}

/// Names something in the engine that nobody else may meet: 128 random bits in hexadecimal.
pub fn unique_id() -> Result<String, EngineError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| EngineError::Interrupted {
        action: "take a name that nobody else has".to_owned(),
        reason: error.to_string(),
    })?;
    Ok(hex::encode(bytes))
}
