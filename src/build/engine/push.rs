//! Pushing an image out of the engine's store (Docker Engine API, "Push an image").

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use hyper::StatusCode;
use hyper::header::HeaderValue;

use super::event::PushEvent;
use super::message::{Message, Messages};
use super::transport::{TransportError, post, refusal};
use super::{Engine, EngineError, login};
use crate::model::Digest;
use crate::registry::Credential;

/// What is being done, in errors.
const ACTION: &str = "push an image";

impl Engine {
    /// Pushes `reference` (`host/name:tag`, a name that the image has in the engine's store) and
    /// returns the digest that the registry holds it under. `login` goes to that registry only.
    pub async fn push(
        &self,
        reference: &str,
        login: Option<&Credential>,
        listener: &(dyn Fn(PushEvent) + Send + Sync),
    ) -> Result<Digest, EngineError> {
        let failed = |message: String| EngineError::PushFailed {
            reference: reference.to_owned(),
            message,
        };
        let broken = |error| self.transport.error(ACTION, error);
        let mut request = self.push_request(reference).map_err(broken)?;
        let header = credentials(reference, login).map_err(broken)?;
        request.headers_mut().insert("X-Registry-Auth", header);
        let exchange = self.transport.exchange(request).await.map_err(broken)?;
        if exchange.response.status() != StatusCode::OK {
            let refused = refusal(ACTION, exchange.response).await;
            return Err(failed(refused.to_string()));
        }
        let mut messages = Messages::new(exchange.response.into_body(), ACTION);
        let mut digest = None;
        while let Some(message) = messages.next().await? {
            if let Some(error) = message.error {
                return Err(failed(error));
            }
            digest = digest_of(&message).or(digest);
            listener(event(message));
        }
        drop(exchange.connection);
        digest.ok_or_else(|| failed("the engine told no digest".to_owned()))
    }

    fn push_request(&self, reference: &str) -> Result<bollard::BollardRequest, TransportError> {
        let (name, tag) = super::split_tag(reference);
        let path = format!("{}/images/{name}/push", self.prefix());
        post(&path, &[("tag", tag.to_owned())])
    }
}

/// The header that carries the credentials; one without any stands for none.
pub(super) fn credentials(
    reference: &str,
    login: Option<&Credential>,
) -> Result<HeaderValue, TransportError> {
    let host = reference.split('/').next().unwrap_or_default();
    let credentials = login
        .map(|login| login::for_engine(login, host))
        .unwrap_or_default();
    let json = serde_json::to_vec(&credentials).map_err(|error| error.to_string());
    let header = json.and_then(|json| {
        HeaderValue::try_from(URL_SAFE.encode(json)).map_err(|error| error.to_string())
    });
    let mut header = header.map_err(TransportError::Request)?;
    header.set_sensitive(true);
    Ok(header)
}

fn digest_of(message: &Message) -> Option<Digest> {
    let digest = message.aux.as_ref()?.get("Digest")?;
    digest.as_str()?.parse().ok()
}

fn event(message: Message) -> PushEvent {
    let bytes = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok());
    let progress = message.progress.as_ref();
    PushEvent {
        current: bytes(progress.and_then(|progress| progress.current)),
        total: bytes(progress.and_then(|progress| progress.total)),
        layer: message.id,
        status: message.status.unwrap_or_default(),
    }
}
