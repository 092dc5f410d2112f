//! Amazon ECR on a loopback port, as far as waybill and an engine use it: the OCI protocol as ECR
//! speaks it, and its JSON API on the same port.
//!
//! Images lie in a real docker-registry, and everything that is said of images comes from there;
//! repositories, their settings and tokens are moto's. The service stands before both, and has
//! ECR's own ways: who shows no valid token is not let in; repositories are made first; immutable
//! tags stand; an image has at most 1,000 tags; calls that come too fast are refused; lists have
//! 100 tags a page and tokens that mean nothing to anybody else; archived images cannot be had.

mod api;
mod protocol;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::moto::{Moto, REGION};
use crate::servers::{DockerRegistry, Listening};

/// The most tags of an image.
pub(crate) const MOST_TAGS: usize = 1000;

/// How many tags a page of a list has.
const PAGE: usize = 100;

/// The types of manifests that there are.
const TYPES: &str = "application/vnd.oci.image.manifest.v1+json, \
                     application/vnd.docker.distribution.manifest.v2+json";

/// Who is let in at the API.
pub(crate) const ACCESS_KEY: &str = "AKIAWAYBILLTEST00000";
pub(crate) const SECRET_KEY: &str = "secret-key-of-the-test-0123456789abcdefg";

/// The service, and what is behind it. Ends when dropped.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) registry: DockerRegistry,
    pub(crate) moto: Moto,
    state: Arc<State>,
    _server: Listening,
}

/// How it is to behave; the default is that of ECR.
#[derive(Clone, Debug)]
pub(crate) struct Ways {
    /// How long tokens are good for, as is said of them.
    pub(crate) token_lifetime: Duration,
    /// How many requests a token is in truth good for.
    pub(crate) token_uses: usize,
    /// The status with which an expired token is refused.
    pub(crate) expired_status: u16,
    /// What an expired token is refused with; the token's own text takes the place of `{token}`,
    /// and the form in which it was shown that of `{shown}`.
    pub(crate) expired_words: String,
    /// PUTs of manifests a second, and at once.
    pub(crate) puts: u32,
    /// So many of the next calls of an action are refused as too fast.
    pub(crate) throttled: BTreeMap<String, usize>,
    /// So many of the next batches lack every other image.
    pub(crate) half_batches: usize,
    /// Images that fail in a batch, by tag, with a code.
    pub(crate) failing: BTreeMap<String, String>,
    /// Tags whose manifest comes with other bytes.
    pub(crate) altered: BTreeSet<String>,
    /// Repositories hold as many images as they may.
    pub(crate) full: bool,
    /// No repository is known for now.
    pub(crate) no_repositories: bool,
    /// Actions that the caller may not take.
    pub(crate) denied: BTreeSet<String>,
}

impl Default for Ways {
    fn default() -> Self {
        Self {
            token_lifetime: Duration::from_secs(12 * 3600),
            token_uses: usize::MAX,
            expired_status: 403,
            expired_words: "Your authorization token has expired. Reauthenticate and try again."
                .into(),
            puts: 10,
            throttled: BTreeMap::new(),
            half_batches: 0,
            failing: BTreeMap::new(),
            altered: BTreeSet::new(),
            full: false,
            no_repositories: false,
            denied: BTreeSet::new(),
        }
    }
}

/// A request as the service saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The API's action, or the method of the OCI protocol.
    pub(crate) action: String,
    /// The path of the OCI protocol, with its query.
    #[expect(dead_code, reason = "it is shown where a test fails")]
    pub(crate) path: String,
    pub(crate) status: u16,
    /// What was shown, as it came.
    pub(crate) authorization: String,
}

struct State {
    registry: SocketAddr,
    moto: SocketAddr,
    client: reqwest::Client,
    ways: Mutex<Ways>,
    /// The password of each token.
    tokens: Mutex<BTreeMap<String, Token>>,
    /// The digest of each tag, by repository, as far as tags went through here or were learnt.
    tags: Mutex<HashMap<String, HashMap<String, String>>>,
    /// Digests.
    archived: Mutex<BTreeSet<String>>,
    /// When manifests were put.
    puts: Mutex<Vec<Instant>>,
    seen: Mutex<Vec<Seen>>,
}

/// What a token is still good for.
struct Token {
    uses: usize,
    until: Instant,
}

type Answer = Response<Full<Bytes>>;

impl Service {
    /// An empty registry.
    pub(crate) fn start() -> Self {
        waybill::registry::install_tls();
        let (registry, moto) = (DockerRegistry::start(), Moto::start());
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_only([]);
        let state = Arc::new(State {
            registry: registry.address,
            moto: moto.address,
            client: client.build().unwrap(),
            ways: Mutex::default(),
            tokens: Mutex::default(),
            tags: Mutex::default(),
            archived: Mutex::default(),
            puts: Mutex::default(),
            seen: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        let server = Listening::start(move |stream| converse(stream, Arc::clone(&shared)));
        Self {
            address: server.address,
            registry,
            moto,
            state,
            _server: server,
        }
    }

    /// The text of a base here, declared to be ECR's.
    pub(crate) fn base(&self) -> String {
        format!("ecr://{}/acme", self.address)
    }

    /// What a program needs to know to ask this service as somebody who is let in.
    pub(crate) fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_REGION", REGION.into()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.into()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
        ]
    }

    /// Changes how it behaves.
    pub(crate) fn behave(&self, change: impl FnOnce(&mut Ways)) {
        change(&mut self.state.ways.lock().unwrap());
    }

    /// Moves an image to the archive, or brings it back.
    pub(crate) fn archive(&self, digest: &str, archived: bool) {
        let mut all = self.state.archived.lock().unwrap();
        if archived {
            all.insert(digest.to_owned());
        } else {
            all.remove(digest);
        }
    }

    /// Removes a tag with its manifest, as if it had never been put.
    pub(crate) fn lose(&self, repository: &str, tag: &str) {
        let mut all = self.state.tags.lock().unwrap();
        let digest = all.get_mut(repository).unwrap().remove(tag).unwrap();
        let url = format!(
            "http://{}/v2/{repository}/manifests/{digest}",
            self.registry.address
        );
        let deleted = std::process::Command::new("curl")
            .args(["-sf", "-X", "DELETE", &url])
            .status();
        assert!(deleted.unwrap().success());
    }

    /// Counts tags that were put behind its back.
    pub(crate) fn learn(
        &self,
        repository: &str,
        tags: impl IntoIterator<Item = String>,
        digest: &str,
    ) {
        let mut all = self.state.tags.lock().unwrap();
        let known = all.entry(repository.to_owned()).or_default();
        known.extend(tags.into_iter().map(|tag| (tag, digest.to_owned())));
    }

    /// Every token that was ever given out.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.state.tokens.lock().unwrap().keys().cloned().collect()
    }

    /// What a request that shows a token is answered: status and body.
    pub(crate) fn show(&self, token: &str) -> (u16, String) {
        let url = format!("http://{}/v2/", self.address);
        let mut curl = std::process::Command::new("curl");
        let user = format!("AWS:{token}");
        curl.args(["-s", "-w", "%{stderr}%{http_code}", "-u", &user, &url]);
        let answered = curl.output().unwrap();
        let status = String::from_utf8(answered.stderr).unwrap();
        let body = String::from_utf8(answered.stdout).unwrap();
        (status.parse().unwrap(), body)
    }

    /// Every request so far.
    pub(crate) fn log(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// Forgets the requests so far.
    pub(crate) fn forget_log(&self) {
        self.state.seen.lock().unwrap().clear();
    }

    /// How many requests of an action came so far.
    pub(crate) fn count(&self, action: &str) -> usize {
        self.log()
            .iter()
            .filter(|seen| seen.action == action)
            .count()
    }
}

async fn converse(stream: TcpStream, state: Arc<State>) {
    let service = service_fn(|request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, std::convert::Infallible>(answer(&state, request).await) }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// A request with its body.
struct Asked {
    method: String,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Asked {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

async fn answer(state: &State, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let asked = Asked {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body: body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default(),
    };
    let target = asked.header("x-amz-target").to_owned();
    let action = target.rsplit('.').next().unwrap_or_default().to_owned();
    let answer = if target.is_empty() {
        state.protocol(&asked).await
    } else {
        state.call(&action, &asked).await
    };
    let authorization = asked.header("authorization").to_owned();
    let action = if action.is_empty() {
        asked.method
    } else {
        action
    };
    state.seen.lock().unwrap().push(Seen {
        action,
        path: format!("{}?{}", asked.path, asked.query),
        status: answer.status().as_u16(),
        authorization,
    });
    answer
}

/// Whether a repository's settings forbid a tag to move.
fn is_immutable(settings: &Value, tag: &str) -> bool {
    let excluded = settings["imageTagMutabilityExclusionFilters"].as_array();
    let excluded = excluded.into_iter().flatten().any(|filter| {
        let pattern = filter["filter"].as_str().unwrap();
        tag.starts_with(pattern.strip_suffix('*').unwrap())
    });
    match settings["imageTagMutability"].as_str().unwrap() {
        "IMMUTABLE" => true,
        "IMMUTABLE_WITH_EXCLUSION" => !excluded,
        _ => false,
    }
}

/// The form in which a token is shown to the registry.
pub(crate) fn shown_as(token: &str) -> String {
    STANDARD.encode(format!("AWS:{token}"))
}

/// A place in a list, as nobody else can read it; in a query it stands as it is.
fn page_token(at: usize) -> String {
    hex::encode(format!("opaque {at}"))
}

fn read_page_token(text: &str) -> Option<usize> {
    let text = String::from_utf8(hex::decode(text).ok()?).ok()?;
    text.strip_prefix("opaque ")?.parse().ok()
}

fn header(answer: &Answer, name: &str) -> String {
    let value = answer.headers().get(name);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

fn not_let_in() -> Answer {
    let mut answer = Response::new(Full::from("Not Authorized\n"));
    *answer.status_mut() = hyper::StatusCode::UNAUTHORIZED;
    let challenge = "Basic realm=\"https://ecr.test/\",service=\"ecr.amazonaws.com\"";
    let headers = answer.headers_mut();
    headers.insert("www-authenticate", challenge.parse().unwrap());
    headers.insert(
        "docker-distribution-api-version",
        "registry/2.0".parse().unwrap(),
    );
    answer
}

fn unknown_repository(name: &str) -> Answer {
    let words = format!("The repository with name '{name}' does not exist in the registry");
    said(404, "NAME_UNKNOWN", &words)
}

fn no_repository(name: &str) -> Answer {
    let words = format!("The repository with name '{name}' does not exist in the registry");
    exception("RepositoryNotFoundException", &words)
}

fn said(status: u16, code: &str, message: &str) -> Answer {
    document(
        status,
        &json!({"errors": [{"code": code, "message": message}]}),
    )
}

fn exception(code: &str, message: &str) -> Answer {
    document(400, &json!({"__type": code, "message": message}))
}

fn document(status: u16, body: &Value) -> Answer {
    let mut answer = Response::new(Full::from(body.to_string()));
    *answer.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
    let json = "application/json".parse().unwrap();
    answer.headers_mut().insert("content-type", json);
    answer
}
