//! Pulling an image into the engine's store (Docker Engine API, "Create an image").

use hyper::StatusCode;

use super::message::Messages;
use super::push::credentials;
use super::transport::{TransportError, post, refusal};
use super::{Engine, EngineError};
use crate::registry::Credential;

/// What is being done, in errors.
const ACTION: &str = "pull an image";

impl Engine {
    /// Pulls `reference`, by digest or by tag (`latest` where it has neither), for the engine's own
    /// platform. `login` goes to that registry only. Dropping the future ends the pull.
    pub async fn pull(
        &self,
        reference: &str,
        login: Option<&Credential>,
    ) -> Result<(), EngineError> {
        let failed = |message: String| EngineError::PullFailed {
            reference: reference.to_owned(),
            message,
        };
        let broken = |error| self.transport.error(ACTION, error);
        let mut request = self.pull_request(reference).map_err(broken)?;
        let header = credentials(reference, login).map_err(broken)?;
        request.headers_mut().insert("X-Registry-Auth", header);
        let exchange = self.transport.exchange(request).await.map_err(broken)?;
        if exchange.response.status() != StatusCode::OK {
            return Err(match refusal(ACTION, exchange.response).await {
                EngineError::Refused { message, .. } => failed(message),
                other => other,
            });
        }
        let mut messages = Messages::new(exchange.response.into_body(), ACTION);
        while let Some(message) = messages.next().await? {
            if let Some(error) = message.error {
                return Err(failed(error));
            }
        }
        drop(exchange.connection);
        Ok(())
    }

    fn pull_request(&self, reference: &str) -> Result<bollard::BollardRequest, TransportError> {
        let path = format!("{}/images/create", self.prefix());
        if reference.contains('@') {
            return post(&path, &[("fromImage", reference.to_owned())]);
        }
        // Without a tag the engine would pull them all.
        let (name, tag) = super::split_tag(reference);
        post(
            &path,
            &[("fromImage", name.to_owned()), ("tag", tag.to_owned())],
        )
    }
}
