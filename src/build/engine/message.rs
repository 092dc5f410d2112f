//! The lines of JSON that an engine answers builds and pushes with
//! (Docker's `pkg/jsonmessage`, BuildKit's `control.proto`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::moby::buildkit::v1::{StatusResponse, Vertex, VertexLog, VertexStatus, VertexWarning};
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use prost::Message as _;
use serde::Deserialize;
use std::io;
use std::time::{Duration, SystemTime};
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::io::StreamReader;

use super::EngineError;
use super::event::{BuildEvent, LogStream, Step};
use super::transport::interrupted;

/// One line.
#[derive(Debug, Deserialize)]
pub(super) struct Message {
    /// Says what `aux` is, or which layer this is about.
    pub(super) id: Option<String>,
    pub(super) status: Option<String>,
    #[serde(rename = "progressDetail")]
    pub(super) progress: Option<Progress>,
    pub(super) aux: Option<serde_json::Value>,
    pub(super) error: Option<String>,
}

/// Of a layer.
#[derive(Debug, Deserialize)]
pub(super) struct Progress {
    pub(super) current: Option<i64>,
    pub(super) total: Option<i64>,
}

/// The longest line: BuildKit's are a few hundred KiB at most.
const LINE: usize = 16 * 1024 * 1024;

/// Reads one line after the other, until the body's end.
pub(super) struct Messages<'a> {
    lines: futures_util::stream::BoxStream<'a, Result<String, String>>,
    action: &'a str,
}

impl<'a> Messages<'a> {
    /// Of this body; `action` goes into errors.
    pub(super) fn new(body: Incoming, action: &'a str) -> Self {
        let reader = StreamReader::new(body.into_data_stream().map_err(io::Error::other));
        let lines = FramedRead::new(reader, LinesCodec::new_with_max_length(LINE));
        Self {
            lines: lines.map_err(|error| error.to_string()).boxed(),
            action,
        }
    }

    /// The next line, or `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Message>, EngineError> {
        loop {
            let Some(line) = self.lines.next().await else {
                return Ok(None);
            };
            let line = line.map_err(|reason| EngineError::Interrupted {
                action: self.action.to_owned(),
                reason,
            })?;
            if !line.trim().is_empty() {
                let message = serde_json::from_str(&line);
                return message
                    .map(Some)
                    .map_err(|error| interrupted(self.action, &error));
            }
        }
    }
}

/// The state of the build that a line of BuildKit's carries.
pub(super) fn trace(aux: &serde_json::Value) -> Result<StatusResponse, String> {
    let text = aux.as_str().ok_or("a trace that is no text")?;
    let bytes = STANDARD.decode(text).map_err(|error| error.to_string())?;
    StatusResponse::decode(bytes.as_slice()).map_err(|error| error.to_string())
}

/// The events of one such state, steps first.
pub(super) fn events(state: StatusResponse) -> impl Iterator<Item = BuildEvent> {
    let steps = state
        .vertexes
        .into_iter()
        .map(|vertex| BuildEvent::Step(step(vertex)));
    let progress = state.statuses.into_iter().map(progress);
    let logs = state.logs.into_iter().map(log);
    let warnings = state.warnings.into_iter().map(warning);
    steps.chain(progress).chain(logs).chain(warnings)
}

fn step(vertex: Vertex) -> Step {
    Step {
        id: vertex.digest,
        name: vertex.name,
        started: vertex
            .started
            .and_then(|time| moment(time.seconds, time.nanos)),
        completed: vertex
            .completed
            .and_then(|time| moment(time.seconds, time.nanos)),
        cached: vertex.cached,
        error: Some(vertex.error).filter(|error| !error.is_empty()),
    }
}

fn progress(status: VertexStatus) -> BuildEvent {
    BuildEvent::Progress {
        step: status.vertex,
        part: if status.name.is_empty() {
            status.id
        } else {
            status.name
        },
        current: u64::try_from(status.current).unwrap_or(0),
        total: u64::try_from(status.total).ok().filter(|total| *total > 0),
    }
}

fn log(log: VertexLog) -> BuildEvent {
    BuildEvent::Log {
        step: log.vertex,
        stream: if log.stream == 2 {
            LogStream::Stderr
        } else {
            LogStream::Stdout
        },
        bytes: log.msg,
    }
}

fn warning(warning: VertexWarning) -> BuildEvent {
    let start = warning.ranges.first().and_then(|range| range.start);
    BuildEvent::Warning {
        step: warning.vertex,
        message: String::from_utf8_lossy(&warning.short).into_owned(),
        line: start.and_then(|start| u32::try_from(start.line).ok()),
    }
}

fn moment(seconds: i64, nanos: i32) -> Option<SystemTime> {
    let since = Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanos).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since)
}
