//! The session of a build: the services that BuildKit calls back while it works, over a
//! connection that the engine turns around (BuildKit's `session` package).
//!
//! Served are secrets, the credentials for pulling bases, and the health that BuildKit asks for to
//! see whether the client is still there.

use std::collections::BTreeMap;
use std::sync::Arc;

use bollard::health::health_check_response::ServingStatus;
use bollard::health::health_server::{Health, HealthServer};
use bollard::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use bollard::moby::buildkit::secrets::v1::secrets_server::{Secrets, SecretsServer};
use bollard::moby::buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse};
use bollard::moby::filesync::v1::auth_server::{Auth, AuthServer};
use bollard::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse,
    GetTokenAuthorityRequest, GetTokenAuthorityResponse, VerifyTokenAuthorityRequest,
    VerifyTokenAuthorityResponse,
};
use bollard::{BollardRequest, body_full};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use hyper::header::{CONNECTION, UPGRADE};
use hyper::server::conn::http2;
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioExecutor;
use hyper_util::service::TowerToHyperService;
use tokio_util::task::AbortOnDropHandle;
use tonic::service::Routes;
use tonic::{Response, Status};

use super::transport::{Transport, TransportError, interrupted, refusal};
use super::{EngineError, login};
use crate::mask::Secret;
use crate::registry::Credential;

/// What BuildKit may ask for.
#[derive(Clone, Debug, Default)]
pub(super) struct Offer {
    pub(super) secrets: Arc<BTreeMap<String, Secret<Vec<u8>>>>,
    pub(super) logins: Arc<BTreeMap<String, Credential>>,
}

/// An open session; it ends when this is dropped.
pub(super) struct Session {
    pub(super) id: String,
    _server: AbortOnDropHandle<()>,
}

/// The calls that are announced: BuildKit makes no others of these services.
const METHODS: [&str; 2] = [
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
    "/moby.filesync.v1.Auth/Credentials",
];

/// What is being done, in errors.
const ACTION: &str = "open a build session";

/// The largest secret that BuildKit takes.
const LARGEST_SECRET: usize = 500 * 1024;

impl Session {
    /// Opens a session; `prefix` is the API version's part of the path, e.g. `/v1.41`.
    pub(super) async fn open(
        transport: &Transport,
        prefix: &str,
        id: String,
        offer: Offer,
    ) -> Result<Self, EngineError> {
        let request = request(prefix, &id).map_err(|error| transport.error(ACTION, error))?;
        let exchange = transport.exchange(request).await;
        let exchange = exchange.map_err(|error| transport.error(ACTION, error))?;
        if exchange.response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(ACTION, exchange.response).await);
        }
        let upgraded = hyper::upgrade::on(exchange.response).await;
        let upgraded = upgraded.map_err(|error| interrupted(ACTION, &error))?;
        let server = tokio::spawn(serve(upgraded, offer));
        Ok(Self {
            id,
            _server: AbortOnDropHandle::new(server),
        })
    }
}

fn request(prefix: &str, id: &str) -> Result<BollardRequest, TransportError> {
    let mut builder = Request::builder()
        .method(Method::POST)
        .uri(format!("{prefix}/session"))
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "h2c")
        .header("X-Docker-Expose-Session-Uuid", id)
        .header("X-Docker-Expose-Session-Name", "waybill")
        .header("X-Docker-Expose-Session-Sharedkey", "");
    for method in METHODS {
        builder = builder.header("X-Docker-Expose-Session-Grpc-Method", method);
    }
    builder
        .body(body_full(Bytes::new()))
        .map_err(|error| TransportError::Request(error.to_string()))
}

async fn serve(upgraded: Upgraded, offer: Offer) {
    let routes = Routes::new(SecretsServer::new(offer.clone()))
        .add_service(AuthServer::new(offer))
        .add_service(HealthServer::new(Alive))
        .prepare();
    // If it breaks, the build ends with the engine's own account of it.
    let _ = http2::Builder::new(TokioExecutor::new())
        .serve_connection(upgraded, TowerToHyperService::new(routes))
        .await;
}

#[tonic::async_trait]
impl Secrets for Offer {
    async fn get_secret(
        &self,
        request: tonic::Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let id = &request.get_ref().id;
        let secret = self.secrets.get(id);
        let secret = secret.ok_or_else(|| Status::not_found(format!("no secret '{id}'")))?;
        if secret.reveal().len() > LARGEST_SECRET {
            return Err(Status::failed_precondition(format!(
                "secret '{id}' is larger than {LARGEST_SECRET} bytes"
            )));
        }
        Ok(Response::new(GetSecretResponse {
            data: secret.reveal().to_vec(),
        }))
    }
}

/// Credentials are handed out, and the engine fetches tokens with them; for the calls of clients
/// that fetch tokens themselves, "unimplemented" is what BuildKit takes as that.
#[tonic::async_trait]
impl Auth for Offer {
    async fn credentials(
        &self,
        request: tonic::Request<CredentialsRequest>,
    ) -> Result<Response<CredentialsResponse>, Status> {
        let host = canonical_host(&request.get_ref().host);
        let Some(login) = self.logins.get(host) else {
            return Ok(Response::new(CredentialsResponse::default()));
        };
        // BuildKit takes a secret without a name for a refresh token.
        let login = login::for_engine(login, host);
        Ok(Response::new(CredentialsResponse {
            username: login.username.unwrap_or_default(),
            secret: login.password.or(login.identitytoken).unwrap_or_default(),
        }))
    }

    async fn fetch_token(
        &self,
        _: tonic::Request<FetchTokenRequest>,
    ) -> Result<Response<FetchTokenResponse>, Status> {
        Err(Status::unimplemented("the engine fetches tokens itself"))
    }

    async fn get_token_authority(
        &self,
        _: tonic::Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("the engine fetches tokens itself"))
    }

    async fn verify_token_authority(
        &self,
        _: tonic::Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("the engine fetches tokens itself"))
    }
}

/// Docker Hub has several names; credentials go by `docker.io`.
fn canonical_host(host: &str) -> &str {
    match host {
        "registry-1.docker.io" | "index.docker.io" | "https://index.docker.io/v1/" => "docker.io",
        other => other,
    }
}

/// Says that this process is there.
#[derive(Clone, Copy)]
struct Alive;

#[tonic::async_trait]
impl Health for Alive {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        _: tonic::Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse {
            status: ServingStatus::Serving.into(),
        }))
    }

    async fn list(
        &self,
        _: tonic::Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        Err(Status::unimplemented("not asked for by BuildKit"))
    }

    async fn watch(
        &self,
        _: tonic::Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not asked for by BuildKit"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn credentials(offer: &Offer, host: &str) -> CredentialsResponse {
        let request = CredentialsRequest { host: host.into() };
        let answer = offer.credentials(tonic::Request::new(request)).await;
        answer.unwrap().into_inner()
    }

    #[tokio::test]
    async fn credentials_go_to_their_host_only() {
        let login = Credential::Basic {
            user: "me".into(),
            password: Secret::new("word"),
        };
        let logins = [
            ("docker.io".into(), login),
            ("b:1".into(), Credential::Identity(Secret::new("token"))),
        ];
        let offer = Offer {
            secrets: Arc::default(),
            logins: Arc::new(logins.into()),
        };
        let hub = credentials(&offer, "registry-1.docker.io").await;
        assert_eq!((hub.username.as_str(), hub.secret.as_str()), ("me", "word"));
        let other = credentials(&offer, "b:1").await;
        assert_eq!(
            (other.username.as_str(), other.secret.as_str()),
            ("", "token")
        );
        assert_eq!(
            credentials(&offer, "b").await,
            CredentialsResponse::default()
        );
    }

    #[tokio::test]
    async fn secrets_are_given_by_id_and_not_beyond_buildkits_size() {
        let secrets = [
            ("a", vec![1; LARGEST_SECRET]),
            ("b", vec![1; LARGEST_SECRET + 1]),
        ];
        let secrets = secrets.map(|(id, bytes)| (id.to_owned(), Secret::new(bytes)));
        let offer = Offer {
            secrets: Arc::new(secrets.into()),
            logins: Arc::default(),
        };
        let ask = async |id: &str| {
            let request = GetSecretRequest {
                id: id.into(),
                ..GetSecretRequest::default()
            };
            let answer = offer.get_secret(tonic::Request::new(request)).await;
            answer
                .map(|answer| answer.into_inner().data.len())
                .map_err(|status| status.code())
        };
        assert_eq!(ask("a").await, Ok(LARGEST_SECRET));
        assert_eq!(ask("b").await, Err(tonic::Code::FailedPrecondition));
        assert_eq!(ask("c").await, Err(tonic::Code::NotFound));
    }
}
