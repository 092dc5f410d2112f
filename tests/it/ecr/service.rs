//! Amazon ECR on a loopback port, as far as waybill and an engine use it: the OCI protocol as ECR
//! speaks it, and its JSON API on the same port.
//!
//! Images lie in a real docker-registry, and everything that is said of images comes from there;
//! repositories, their settings and tokens are moto's. The service stands before both, and has
//! ECR's own ways: who shows no valid token is not let in; repositories are made first; immutable
//! tags stand; an image has at most 1,000 tags; calls that come too fast are refused; lists have
//! 100 tags a page and tokens that mean nothing to anybody else; archived images cannot be had.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
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
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::moto::{Moto, REGION};
use crate::servers::DockerRegistry;

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
    stop: Option<oneshot::Sender<()>>,
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
        let (send_address, address) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                send_address.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! { () = serve(listener, shared) => {}, _ = stopped => {} }
            });
        });
        Self {
            address: address.recv().unwrap(),
            registry,
            moto,
            state,
            stop: Some(stop),
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

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(stream, Arc::clone(&state)));
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

// The OCI protocol.

impl State {
    async fn protocol(&self, asked: &Asked) -> Answer {
        if let Some(refusal) = self.refuse(asked) {
            return refusal;
        }
        let path = asked.path.trim_start_matches("/v2/").to_owned();
        if let Some(repository) = path.strip_suffix("/tags/list") {
            return self.list(repository, &asked.query).await;
        }
        if let Some((repository, reference)) = path.split_once("/manifests/") {
            return match asked.method.as_str() {
                "PUT" => self.put(asked, repository, reference).await,
                _ => self.get(asked, repository).await,
            };
        }
        match path.split_once("/blobs/") {
            Some((repository, "uploads/")) if self.repository(repository).await.is_none() => {
                unknown_repository(repository)
            }
            _ => self.forward(asked).await,
        }
    }

    /// Who comes without a token, or with one that is not good any more, is not let in.
    fn refuse(&self, asked: &Asked) -> Option<Answer> {
        let shown = asked.header("authorization").strip_prefix("Basic ");
        let shown = shown.and_then(|text| STANDARD.decode(text).ok());
        let shown = shown.and_then(|bytes| String::from_utf8(bytes).ok());
        let Some(token) = shown.as_deref().and_then(|text| text.strip_prefix("AWS:")) else {
            return Some(not_let_in());
        };
        let mut tokens = self.tokens.lock().unwrap();
        match tokens.get_mut(token) {
            None => Some(not_let_in()),
            Some(known) if known.uses == 0 || known.until < Instant::now() => {
                let ways = self.ways.lock().unwrap();
                let words = ways.expired_words.replace("{token}", token);
                let words = words.replace("{shown}", &shown_as(token));
                Some(said(ways.expired_status, "DENIED", &words))
            }
            Some(known) => {
                known.uses -= 1;
                None
            }
        }
    }

    async fn get(&self, asked: &Asked, repository: &str) -> Answer {
        if self.repository(repository).await.is_none() {
            return unknown_repository(repository);
        }
        let answer = self.forward(asked).await;
        let digest = header(&answer, "docker-content-digest");
        if answer.status() == 404 || self.archived.lock().unwrap().contains(&digest) {
            return said(404, "MANIFEST_UNKNOWN", "Requested image not found");
        }
        answer
    }

    async fn put(&self, asked: &Asked, repository: &str, reference: &str) -> Answer {
        {
            let ways = self.ways.lock().unwrap();
            if ways.denied.contains("PutImage") {
                let words = format!(
                    "User: arn:aws:iam::123456789012:user/test is not authorized to perform: \
                     ecr:PutImage on resource: {repository}"
                );
                return said(403, "DENIED", &words);
            }
            if ways.full {
                let words = format!(
                    "LimitExceededException: The repository with name '{repository}' already has \
                     the maximum allowed number of images which is '100000'"
                );
                return said(400, "DENIED", &words);
            }
        }
        if self.is_too_fast() {
            return said(429, "TOOMANYREQUESTS", "Rate exceeded");
        }
        let Some(settings) = self.repository(repository).await else {
            return unknown_repository(repository);
        };
        let digest = waybill::model::Digest::of(&asked.body).to_string();
        if !reference.starts_with("sha256:") {
            let mut tags = self.tags.lock().unwrap();
            let tags = tags.entry(repository.to_owned()).or_default();
            let stands = tags.contains_key(reference);
            if stands && is_immutable(&settings, reference) {
                // The same image again is refused in the same words.
                let name = settings["repositoryName"].as_str().unwrap();
                let words = format!(
                    "The image tag '{reference}' already exists in the '{name}' repository and \
                     cannot be overwritten because the tag is immutable."
                );
                return said(400, "TAG_INVALID", &words);
            }
            let count = tags.values().filter(|known| **known == digest).count();
            if count >= MOST_TAGS && tags.get(reference) != Some(&digest) {
                let words = format!(
                    "LimitExceededException: the maximum number of tags per image, {MOST_TAGS}, \
                     has been reached"
                );
                return said(403, "DENIED", &words);
            }
        }
        let mut answer = self.forward(asked).await;
        if answer.status().is_success() {
            answer.headers_mut().remove("location");
            let mut tags = self.tags.lock().unwrap();
            let tags = tags.entry(repository.to_owned()).or_default();
            tags.insert(reference.to_owned(), digest);
        }
        answer
    }

    fn is_too_fast(&self) -> bool {
        let most = self.ways.lock().unwrap().puts as usize;
        let mut puts = self.puts.lock().unwrap();
        puts.retain(|at| at.elapsed() < Duration::from_secs(1));
        if puts.len() >= most {
            return true;
        }
        puts.push(Instant::now());
        false
    }

    /// Pages of a list in no order; `last` is a token.
    async fn list(&self, repository: &str, query: &str) -> Answer {
        if self.repository(repository).await.is_none() {
            return unknown_repository(repository);
        }
        let mut tags = self.all_tags(repository).await;
        tags.sort_by_key(|tag| waybill::model::Digest::of(tag.as_bytes()));
        let last = query.split('&').find_map(|pair| pair.strip_prefix("last="));
        let from = match last {
            None => 0,
            Some(last) => match read_page_token(last) {
                Some(from) => from,
                None => return said(400, "UNSUPPORTED", "Invalid parameter at 'last'"),
            },
        };
        let page: Vec<&String> = tags.iter().skip(from).take(PAGE).collect();
        let to = from + page.len();
        let body = json!({"name": repository, "tags": page}).to_string();
        let mut builder = Response::builder().header("content-type", "application/json");
        if to < tags.len() {
            let token = page_token(to);
            let link = format!("</v2/{repository}/tags/list?last={token}&n={PAGE}>; rel=\"next\"");
            builder = builder.header("link", link);
        }
        builder.body(Full::from(body)).unwrap()
    }

    async fn all_tags(&self, repository: &str) -> Vec<String> {
        let url = format!("http://{}/v2/{repository}/tags/list", self.registry);
        let answer = self.client.get(url).send().await.unwrap();
        let bytes = answer.bytes().await.unwrap();
        let list: Value = serde_json::from_slice(&bytes).unwrap();
        let tags = list["tags"].as_array().cloned().unwrap_or_default();
        tags.iter()
            .map(|tag| tag.as_str().unwrap().to_owned())
            .collect()
    }

    /// Sends a request on to the real registry, with the host that the client named.
    async fn forward(&self, asked: &Asked) -> Answer {
        // A mount is opt-in with ECR: the upload begins.
        let is_mount = asked.path.ends_with("/blobs/uploads/");
        let query = if is_mount { "" } else { asked.query.as_str() };
        let url = format!("http://{}{}?{query}", self.registry, asked.path);
        let mut headers = asked.headers.clone();
        headers.remove("authorization");
        headers.remove("transfer-encoding");
        headers.insert("content-length", asked.body.len().into());
        let method = asked.method.parse().unwrap();
        let request = self.client.request(method, url).headers(headers);
        let answer = request.body(asked.body.clone()).send().await.unwrap();
        let mut builder = Response::builder().status(answer.status());
        let headers = builder.headers_mut().unwrap();
        *headers = answer.headers().clone();
        headers.remove("transfer-encoding");
        let body = answer.bytes().await.unwrap();
        builder.body(Full::from(body)).unwrap()
    }
}

// The API.

impl State {
    async fn call(&self, action: &str, asked: &Asked) -> Answer {
        if !asked
            .header("authorization")
            .contains(&format!("Credential={ACCESS_KEY}/"))
        {
            let words = "The security token included in the request is invalid.";
            return exception("UnrecognizedClientException", words);
        }
        {
            let mut ways = self.ways.lock().unwrap();
            if ways.denied.contains(action) {
                let words = format!("User: test is not authorized to perform: ecr:{action}");
                return exception("AccessDeniedException", &words);
            }
            if let Some(left) = ways.throttled.get_mut(action).filter(|left| **left > 0) {
                *left -= 1;
                return exception("ThrottlingException", "Rate exceeded");
            }
        }
        let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        match action {
            "BatchGetImage" => self.batch_get_image(&body).await,
            "DescribeImages" => self.describe_images(&body).await,
            "GetAuthorizationToken" => self.token(asked).await,
            _ => self.ask_moto(asked).await,
        }
    }

    /// A token of moto's making, told apart from every other one.
    async fn token(&self, asked: &Asked) -> Answer {
        let answer = self.ask_moto(asked).await;
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let mut body: Value = serde_json::from_slice(&body).unwrap();
        let data = &mut body["authorizationData"][0];
        let made = data["authorizationToken"].as_str().unwrap();
        let made = String::from_utf8(STANDARD.decode(made).unwrap()).unwrap();
        let (ways, mut tokens) = (self.ways.lock().unwrap(), self.tokens.lock().unwrap());
        let token = format!("{made}-{}", tokens.len());
        data["authorizationToken"] = STANDARD.encode(&token).into();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        data["expiresAt"] = (now.unwrap() + ways.token_lifetime).as_secs_f64().into();
        let password = token.strip_prefix("AWS:").unwrap().to_owned();
        let until = Instant::now() + ways.token_lifetime;
        let uses = ways.token_uses;
        tokens.insert(password, Token { uses, until });
        document(200, &body)
    }

    async fn batch_get_image(&self, body: &Value) -> Answer {
        let repository = body["repositoryName"].as_str().unwrap();
        let ids = body["imageIds"].as_array().unwrap();
        if ids.len() > 100 || ids.is_empty() {
            let words = "Invalid parameter at 'imageIds' failed to satisfy constraint: 'Member \
                         must have length between 1 and 100'";
            return exception("InvalidParameterException", words);
        }
        if self.repository(repository).await.is_none() {
            return no_repository(repository);
        }
        let ways = self.ways.lock().unwrap().clone();
        let halves = ways.half_batches > 0;
        if halves {
            self.ways.lock().unwrap().half_batches -= 1;
        }
        let (mut images, mut failures) = (Vec::new(), Vec::new());
        for (at, id) in ids.iter().enumerate() {
            let tag = id["imageTag"].as_str().unwrap();
            if halves && at % 2 == 0 {
                continue;
            }
            if let Some(code) = ways.failing.get(tag) {
                failures.push(json!({"imageId": id, "failureCode": code, "failureReason": "so"}));
                continue;
            }
            match self.manifest(repository, tag).await {
                Some((digest, media_type, mut text)) => {
                    if ways.altered.contains(tag) {
                        text.push(' ');
                    }
                    images.push(json!({
                        "registryId": "123456789012",
                        "repositoryName": repository,
                        "imageId": {"imageTag": tag, "imageDigest": digest},
                        "imageManifest": text,
                        "imageManifestMediaType": media_type,
                    }));
                }
                None => failures.push(json!({
                    "imageId": {"imageTag": tag},
                    "failureCode": "ImageNotFound",
                    "failureReason": "Requested image not found",
                })),
            }
        }
        document(200, &json!({"images": images, "failures": failures}))
    }

    /// Digest, media type and text of a manifest that is not archived.
    async fn manifest(&self, repository: &str, tag: &str) -> Option<(String, String, String)> {
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.registry);
        let request = self.client.get(url).header("accept", TYPES);
        let answer = request.send().await.unwrap();
        if answer.status() != 200 {
            return None;
        }
        let media_type = answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        let text = answer.text().await.unwrap();
        let digest = waybill::model::Digest::of(text.as_bytes()).to_string();
        let archived = self.archived.lock().unwrap().contains(&digest);
        (!archived).then_some((digest, media_type, text))
    }

    async fn describe_images(&self, body: &Value) -> Answer {
        let repository = body["repositoryName"].as_str().unwrap();
        if self.repository(repository).await.is_none() {
            return no_repository(repository);
        }
        let digest = body["imageIds"][0]["imageDigest"].as_str().unwrap();
        let archived = self.archived.lock().unwrap().contains(digest);
        let status = body["filter"]["imageStatus"].as_str().unwrap_or("ACTIVE");
        let url = format!(
            "http://{}/v2/{repository}/manifests/{digest}",
            self.registry
        );
        let request = self.client.head(url).header("accept", TYPES);
        let answer = request.send().await.unwrap();
        let is_there = answer.status() == 200
            && match status {
                "ANY" => true,
                "ARCHIVED" => archived,
                _ => !archived,
            };
        if !is_there {
            return exception("ImageNotFoundException", "The image does not exist");
        }
        let status = if archived { "ARCHIVED" } else { "ACTIVE" };
        let detail = json!({"imageDigest": digest, "imageStatus": status});
        document(200, &json!({"imageDetails": [detail]}))
    }

    async fn ask_moto(&self, asked: &Asked) -> Answer {
        let url = format!("http://{}/", self.moto);
        let mut headers = asked.headers.clone();
        headers.remove("host");
        let request = self
            .client
            .post(url)
            .headers(headers)
            .body(asked.body.clone());
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.bytes().await.unwrap();
        let mut made = Response::builder().status(status);
        made = made.header("content-type", "application/x-amz-json-1.1");
        made.body(Full::from(body)).unwrap()
    }

    /// What moto knows of a repository.
    async fn repository(&self, name: &str) -> Option<Value> {
        if self.ways.lock().unwrap().no_repositories {
            return None;
        }
        let request = Moto::request(&self.client, self.moto, "DescribeRepositories");
        let body = json!({"repositoryNames": [name]}).to_string();
        let answer = request.body(body).send().await.unwrap();
        let bytes = answer.bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        body["repositories"].get(0).cloned()
    }
}

/// The form in which a token is shown to the registry.
pub(crate) fn shown_as(token: &str) -> String {
    STANDARD.encode(format!("AWS:{token}"))
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
