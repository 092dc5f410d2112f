//! A task in one container.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::pin::pin;

use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};

use super::{AttendError, Attendance, Output};
use crate::build::engine::{ContainerRequest, Engine};

/// Where a container finds the folder for artifacts.
pub(crate) const ARTIFACTS: &str = "/waybill/artifacts";

/// Where it finds the file that it runs.
const PROGRAM: &str = "/waybill/run";

/// The label that says which task a container is.
const LABEL: &str = "io.waybill.task";

/// A container of a task.
#[expect(
    clippy::unsafe_derive_deserialize,
    reason = "what is unsafe is inside tokio's `select!`, and rests on no field"
)]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::run) struct Container {
    /// Its name, that no other container has.
    pub(in crate::run) name: String,
    /// The task's.
    pub(in crate::run) task: String,
    /// The image, which is in the engine's store.
    pub(in crate::run) image: String,
    /// What runs in it.
    pub(in crate::run) program: Program,
    /// What the image's own command or a file is given.
    pub(in crate::run) arguments: Vec<String>,
    /// The folder for artifacts, where the engine sees this machine's files.
    pub(in crate::run) artifacts: Option<PathBuf>,
}

/// What runs in a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::run) enum Program {
    /// What the image says.
    Own,
    /// A program of the image, with its arguments.
    Words(Vec<String>),
    /// A file of this machine.
    File(PathBuf),
}

impl Container {
    /// Runs it to its end, and gives the exit code; `None` if it was to end before. It is gone when
    /// this returns.
    pub(super) async fn attend(
        &self,
        own: BTreeMap<OsString, OsString>,
        attendance: Attendance<'_>,
    ) -> Result<Option<i64>, AttendError> {
        let Attendance { mut output, stop } = attendance;
        let content = match &self.program {
            Program::File(path) => Some(read(path)?),
            Program::Own | Program::Words(_) => None,
        };
        let engine = Engine::connect().await?;
        let request = self.request(&engine, own).await?;
        if stop.is_cancelled() {
            return Ok(None);
        }
        // Never cut off: a container that nobody has heard of yet cannot be removed.
        engine.create_container(&request).await?;
        let ended = tokio::select! {
            ended = self.run(&engine, content.as_deref(), &mut output) => ended.map(Some),
            () = stop.cancelled() => Ok(None),
        };
        engine.remove_container(&self.name).await?;
        ended
    }

    async fn run(
        &self,
        engine: &Engine,
        content: Option<&[u8]>,
        output: &mut Output<'_>,
    ) -> Result<i64, AttendError> {
        if let Some(content) = content {
            engine.put_program(&self.name, PROGRAM, content).await?;
        }
        let mut chunks = pin!(engine.attach(&self.name).await?);
        let exit = engine.exit_of(&self.name).await?;
        engine.start_container(&self.name).await?;
        while let Some(chunk) = chunks.next().await {
            let (stream, bytes) = chunk?;
            output.write(stream, &bytes);
        }
        Ok(exit.code().await?)
    }

    async fn request(
        &self,
        engine: &Engine,
        own: BTreeMap<OsString, OsString>,
    ) -> Result<ContainerRequest, AttendError> {
        let given = self.arguments.iter().cloned();
        let (entrypoint, command) = match &self.program {
            Program::Words(words) => (Some(words.clone()), None),
            Program::File(_) => {
                let words = std::iter::once(PROGRAM.to_owned()).chain(given);
                (Some(words.collect()), None)
            }
            Program::Own if self.arguments.is_empty() => (None, None),
            Program::Own => {
                let own = engine.command_of(&self.image).await?;
                (None, Some(own.command.into_iter().chain(given).collect()))
            }
        };
        let mut environment = BTreeMap::new();
        for (name, value) in own {
            let (name, value) = (text(name, None)?, value);
            let value = text(value, Some(&name))?;
            environment.insert(name, value);
        }
        environment.insert("WAYBILL_ARTIFACTS".to_owned(), ARTIFACTS.to_owned());
        Ok(ContainerRequest {
            name: self.name.clone(),
            image: self.image.clone(),
            entrypoint,
            command,
            environment,
            labels: BTreeMap::from([(LABEL.to_owned(), self.task.clone())]),
            directory: ARTIFACTS.to_owned(),
            host_directory: self.artifacts.clone(),
        })
    }
}

fn read(path: &PathBuf) -> Result<Vec<u8>, AttendError> {
    std::fs::read(path).map_err(|error| AttendError::NoFile {
        path: path.display().to_string(),
        reason: error.to_string(),
    })
}

/// What goes to the engine is text. The error names the variable, and never its value.
fn text(value: OsString, name: Option<&str>) -> Result<String, AttendError> {
    value.into_string().map_err(|_| AttendError::NoText {
        name: name.map_or_else(
            || "a variable".to_owned(),
            |name| format!("variable {name}"),
        ),
    })
}
