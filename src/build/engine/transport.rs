//! HTTP over a connection of its own for each request: for bollard, and for what bollard cannot
//! do (a session with secrets, progress of a push by layer).

use std::io;

use bollard::errors::Error as BollardError;
use bollard::{BollardRequest, body_full};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio_util::task::AbortOnDropHandle;

use super::dial::Dialer;
use super::{Endpoint, EngineError};

/// Sends requests to one engine.
#[derive(Clone)]
pub(super) struct Transport {
    dialer: Dialer,
}

/// An answer, with the connection that it comes over: dropping it closes the connection, which is
/// how an engine learns that a build is not wanted any more.
pub(super) struct Exchange {
    pub(super) response: Response<Incoming>,
    pub(super) connection: AbortOnDropHandle<()>,
}

/// Why a request had no answer.
#[derive(Debug)]
pub(super) enum TransportError {
    /// There was no connection.
    Dial(io::Error),
    /// It broke.
    Broken(hyper::Error),
    /// The request could not be put together.
    Request(String),
}

/// The most that is read of an error's text.
const MESSAGE: usize = 64 * 1024;

impl Transport {
    pub(super) fn new(endpoint: Endpoint) -> Result<Self, EngineError> {
        Ok(Self {
            dialer: Dialer::new(endpoint)?,
        })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.dialer.endpoint
    }

    /// Sends a request whose URI is a path, over a new connection.
    pub(super) async fn exchange(
        &self,
        mut request: BollardRequest,
    ) -> Result<Exchange, TransportError> {
        make_relative(&mut request)?;
        let stream = self.dialer.dial().await.map_err(TransportError::Dial)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(TransportError::Broken)?;
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            // What breaks here breaks the response too, where it is reported.
            let _ = connection.with_upgrades().await;
        }));
        let response = sender
            .send_request(request)
            .await
            .map_err(TransportError::Broken)?;
        Ok(Exchange {
            response,
            connection,
        })
    }

    /// For bollard, which ties nothing to the connection: it ends with the response's body.
    pub(super) async fn detached(
        self,
        request: BollardRequest,
    ) -> Result<Response<Incoming>, BollardError> {
        match self.exchange(request).await {
            Ok(Exchange {
                response,
                connection,
            }) => {
                connection.detach();
                Ok(response)
            }
            Err(TransportError::Dial(error)) => Err(error.into()),
            Err(TransportError::Broken(error)) => Err(error.into()),
            Err(TransportError::Request(error)) => Err(io::Error::other(error).into()),
        }
    }

    /// The error for a request without an answer.
    pub(super) fn error(&self, action: &str, error: TransportError) -> EngineError {
        match error {
            TransportError::Dial(source) => EngineError::Unreachable {
                address: self.endpoint().to_string(),
                source,
            },
            TransportError::Broken(error) => interrupted(action, &error),
            TransportError::Request(reason) => EngineError::Interrupted {
                action: action.to_owned(),
                reason,
            },
        }
    }
}

/// A POST with these query parameters and no body.
pub(super) fn post(path: &str, query: &[(&str, String)]) -> Result<BollardRequest, TransportError> {
    let query = serde_urlencoded::to_string(query)
        .map_err(|error| TransportError::Request(error.to_string()))?;
    Request::builder()
        .method(Method::POST)
        .uri(format!("{path}?{query}"))
        .body(body_full(Bytes::new()))
        .map_err(|error| TransportError::Request(error.to_string()))
}

/// The error for an answer that is not a success.
pub(super) async fn refusal(action: &str, response: Response<Incoming>) -> EngineError {
    #[derive(Deserialize)]
    struct Body {
        message: String,
    }
    let status = response.status();
    let body = Limited::new(response.into_body(), MESSAGE).collect().await;
    let text = body
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let message = serde_json::from_slice::<Body>(&text).map_or_else(
        |_| String::from_utf8_lossy(&text).trim().to_owned(),
        |body| body.message,
    );
    EngineError::Refused {
        action: action.to_owned(),
        status: status.as_u16(),
        message: if message.is_empty() {
            status.to_string()
        } else {
            message
        },
    }
}

/// The error for an answer that broke off.
pub(super) fn interrupted(action: &str, error: &dyn std::error::Error) -> EngineError {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    EngineError::Interrupted {
        action: action.to_owned(),
        reason,
    }
}

/// HTTP/1.1's origin form: a path, and the host in a header (RFC 9112, section 3.2.1).
fn make_relative(request: &mut BollardRequest) -> Result<(), TransportError> {
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let uri = path
        .parse::<Uri>()
        .map_err(|error| TransportError::Request(error.to_string()))?;
    *request.uri_mut() = uri;
    request
        .headers_mut()
        .insert(HOST, HeaderValue::from_static("docker"));
    Ok(())
}
