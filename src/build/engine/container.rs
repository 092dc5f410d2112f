//! Containers of tasks: made, started, waited for, removed (Docker Engine API, "Containers").

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error as BollardError;
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder,
    UploadToContainerOptionsBuilder,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use serde::Deserialize;

use super::event::LogStream;
use super::transport::{Exchange, interrupted, post, refusal};
use super::{Engine, EngineError};

/// What a container is made from, and how.
#[derive(Clone, Debug, Default)]
pub struct ContainerRequest {
    /// Its name, that no other container has.
    pub name: String,
    /// The image, which is in the engine's store.
    pub image: String,
    /// Replaces the image's entry point; its command goes with it.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    pub command: Option<Vec<String>>,
    /// Its environment, on top of the image's.
    pub environment: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// A directory that goes with the container, by its path inside.
    pub directory: String,
    /// The directory of the engine's machine that it is; `None` for one of the container's own.
    pub host_directory: Option<PathBuf>,
}

/// What an image runs by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageCommand {
    /// Its entry point.
    pub entrypoint: Vec<String>,
    /// Its command.
    pub command: Vec<String>,
}

/// How a container ends, asked for before it was started.
pub struct ContainerExit(Exchange);

/// The answer to a wait.
#[derive(Deserialize)]
struct Waited {
    #[serde(rename = "StatusCode")]
    code: i64,
    #[serde(rename = "Error")]
    error: Option<WaitError>,
}

#[derive(Deserialize)]
struct WaitError {
    #[serde(rename = "Message", default)]
    message: String,
}

/// How often to look whether a container that is being removed is gone.
const LOOK: Duration = Duration::from_millis(20);

/// How long that may take.
const REMOVAL: Duration = Duration::from_secs(10);

impl Engine {
    /// Whether the engine is on this machine, as far as its address shows.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.transport.endpoint().is_local()
    }

    /// What an image of the store runs by itself.
    pub async fn command_of(&self, image: &str) -> Result<ImageCommand, EngineError> {
        let found = self.docker.inspect_image(image).await;
        let found = found.map_err(|error| self.error(&format!("inspect {image}"), error))?;
        let config = found.config.unwrap_or_default();
        Ok(ImageCommand {
            entrypoint: config.entrypoint.unwrap_or_default(),
            command: config.cmd.unwrap_or_default(),
        })
    }

    /// Makes a container. Once it was started and has ended, the engine removes it by itself.
    pub async fn create_container(&self, request: &ContainerRequest) -> Result<(), EngineError> {
        let options = CreateContainerOptionsBuilder::default()
            .name(&request.name)
            .build();
        let created = self
            .docker
            .create_container(Some(options), body(request))
            .await;
        created
            .map(|_| ())
            .map_err(|error| self.error("make a container", error))
    }

    /// Puts an executable file into a container, and the directories above it.
    pub async fn put_program(
        &self,
        container: &str,
        path: &str,
        content: &[u8],
    ) -> Result<(), EngineError> {
        let action = "put a file into a container";
        let tar = archive(path, content).map_err(|error| interrupted(action, &error))?;
        let options = UploadToContainerOptionsBuilder::default().path("/").build();
        let put = self
            .docker
            .upload_to_container(container, Some(options), bollard::body_full(tar.into()))
            .await;
        put.map_err(|error| self.error(action, error))
    }

    /// The output of a container, stream by stream, from its start to its end.
    pub async fn attach(
        &self,
        container: &str,
    ) -> Result<impl Stream<Item = Result<(LogStream, Bytes), EngineError>> + use<>, EngineError>
    {
        let action = "give a container's output";
        let options = AttachContainerOptionsBuilder::default()
            .stream(true)
            .stdout(true)
            .stderr(true)
            .build();
        let attached = self.docker.attach_container(container, Some(options)).await;
        let attached = attached.map_err(|error| self.error(action, error))?;
        let engine = self.clone();
        Ok(attached.output.map(move |chunk| match chunk {
            Ok(LogOutput::StdErr { message }) => Ok((LogStream::Stderr, message)),
            Ok(output) => Ok((LogStream::Stdout, output.into_bytes())),
            Err(error) => Err(engine.error(action, error)),
        }))
    }

    /// Asks how a container that was not started yet will end.
    pub async fn exit_of(&self, container: &str) -> Result<ContainerExit, EngineError> {
        let action = "wait for a container";
        let broken = |error| self.transport.error(action, error);
        let path = format!("{}/containers/{container}/wait", self.prefix());
        let request = post(&path, &[("condition", "next-exit".to_owned())]).map_err(broken)?;
        // The answer begins once the engine watches the container.
        let exchange = self.transport.exchange(request).await.map_err(broken)?;
        if exchange.response.status() != StatusCode::OK {
            return Err(refusal(action, exchange.response).await);
        }
        Ok(ContainerExit(exchange))
    }

    /// Starts a container.
    pub async fn start_container(&self, container: &str) -> Result<(), EngineError> {
        let started = self.docker.start_container(container, None).await;
        started.map_err(|error| self.error("start a container", error))
    }

    /// Ends a container at once, and removes it with its own volumes; it is gone when this returns.
    /// Nothing if there is none.
    pub async fn remove_container(&self, container: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        let removed = self.docker.remove_container(container, Some(options)).await;
        match removed {
            Ok(())
            | Err(BollardError::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(()),
            // The engine is about it: it was asked before, or the container has just ended.
            Err(BollardError::DockerResponseServerError {
                status_code: 409, ..
            }) => self.await_removal(container).await,
            Err(error) => Err(self.error(&format!("remove the container {container}"), error)),
        }
    }

    async fn await_removal(&self, container: &str) -> Result<(), EngineError> {
        let action = format!("remove the container {container}");
        let gone = async {
            loop {
                match self.docker.inspect_container(container, None).await {
                    Ok(_) => tokio::time::sleep(LOOK).await,
                    Err(BollardError::DockerResponseServerError {
                        status_code: 404, ..
                    }) => return Ok(()),
                    Err(error) => return Err(self.error(&action, error)),
                }
            }
        };
        let gone = tokio::time::timeout(REMOVAL, gone).await;
        gone.unwrap_or_else(|_| {
            Err(EngineError::Interrupted {
                action: action.clone(),
                reason: format!("it is still there after {} s", REMOVAL.as_secs()),
            })
        })
    }
}

impl ContainerExit {
    /// Waits for the end, and gives the exit code.
    pub async fn code(self) -> Result<i64, EngineError> {
        let action = "wait for a container";
        let body = self.0.response.into_body().collect().await;
        let body = body
            .map_err(|error| interrupted(action, &error))?
            .to_bytes();
        let waited: Waited =
            serde_json::from_slice(&body).map_err(|error| interrupted(action, &error))?;
        drop(self.0.connection);
        match waited.error.filter(|error| !error.message.is_empty()) {
            Some(error) => Err(EngineError::Interrupted {
                action: action.to_owned(),
                reason: error.message,
            }),
            None => Ok(waited.code),
        }
    }
}

fn body(request: &ContainerRequest) -> ContainerCreateBody {
    let variables = request.environment.iter();
    let mount = request.host_directory.as_ref().map(|source| Mount {
        target: Some(request.directory.clone()),
        source: Some(source.to_string_lossy().into_owned()),
        typ: Some(MountType::BIND),
        ..Mount::default()
    });
    let own = mount.is_none().then(|| vec![request.directory.clone()]);
    ContainerCreateBody {
        image: Some(request.image.clone()),
        entrypoint: request.entrypoint.clone(),
        cmd: request.command.clone(),
        env: Some(
            variables
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
        ),
        labels: Some(
            request
                .labels
                .clone()
                .into_iter()
                .collect::<HashMap<_, _>>(),
        ),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        volumes: own,
        host_config: Some(HostConfig {
            auto_remove: Some(true),
            mounts: mount.map(|mount| vec![mount]),
            // The output goes to whoever is attached, and is kept by nobody else.
            log_config: Some(HostConfigLogConfig {
                typ: Some("none".to_owned()),
                config: None,
            }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// An archive of one executable file, and the directories above it.
fn archive(path: &str, content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let path = path.trim_start_matches('/');
    for (end, _) in path.match_indices('/') {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        archive.append_data(&mut header, &path[..=end], std::io::empty())?;
    }
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(content.len().try_into().map_err(std::io::Error::other)?);
    archive.append_data(&mut header, path, content)?;
    archive.into_inner()
}
