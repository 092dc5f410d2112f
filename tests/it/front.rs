//! A front that stands before a registry, sees every request, and does harm by script.
//!
//! ```ignore
//! let front = Front::start(registry.address);
//! front.add(Rule::on("GET", "/manifests/").nth(2).does(Fault::status(503)));
//! // … talk to front.base("acme") …
//! assert_eq!(front.count("GET", Kind::Manifest), 3);
//! ```
//!
//! The first rule that matches a request decides; requests that none matches pass unharmed. It
//! runs on a thread of its own, so that tests with and without async can use it, and ends when it
//! is dropped.

use std::io::{self, Read as _, Seek as _};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use regex::Regex;
use tokio::net::TcpStream;
use waybill::model::Digest;

use crate::servers::Listening;

/// What a request is about, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Manifest,
    Blob,
    Upload,
    Tags,
    Ping,
    Other,
}

/// A request as the front saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    pub(crate) kind: Kind,
    /// What came with it.
    pub(crate) headers: HeaderMap,
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The front answers itself.
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: Bytes,
    },
    /// The connection is cut; the registry never sees the request.
    Cut,
    /// As [`Self::Cut`], by a reset (RFC 9293, 3.5.2) rather than an end.
    Reset,
    /// The registry does what is asked, and the connection is cut before its answer.
    LoseAnswer,
    /// The connection is cut after so many bytes of the answer's body.
    CutBody(usize),
    /// As [`Self::CutBody`], by a reset.
    ResetBody(usize),
    /// The body ends after so many bytes, with a Content-Length that says so.
    Truncate(usize),
    /// Nothing comes after so many bytes of the answer's body, and nothing ends.
    Stall(usize),
    /// The answer's body comes byte by byte, with so long before each.
    Trickle(Duration),
    /// The connection is cut once so many bytes of the request's body have come.
    CutUpload(usize),
    /// Nothing more is read of the request once so many bytes of its body have come.
    StallUpload(usize),
    /// One byte in the middle of the body is changed.
    Corrupt,
    /// Nothing happens for so long, then the request passes.
    Delay(Duration),
    /// The answer loses a header.
    Without(&'static str),
    /// A tag that stands is not moved, as in a repository of immutable tags.
    Immutable,
    /// The request passes unharmed (to spare some from a later rule).
    Pass,
}

impl Fault {
    /// An answer with an empty body.
    pub(crate) fn status(status: u16) -> Self {
        Self::answer(status, "text/plain", "")
    }

    /// An answer with a body of some type.
    pub(crate) fn answer(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self::Answer {
            status,
            headers,
            body: body.into(),
        }
    }

    /// An answer with an OCI error body.
    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({"errors": [{"code": code, "message": message}]});
        Self::answer(status, "application/json", body.to_string())
    }

    /// The same answer with one more header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

/// A fault, and the requests that it befalls.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    method: String,
    path: Regex,
    first: usize,
    last: usize,
    /// Only what was put before.
    after_put: bool,
    fault: Fault,
    matched: usize,
}

impl Rule {
    /// Matches requests by method (`*` for any) and a regex that is searched in path and query;
    /// all of them, until said otherwise.
    pub(crate) fn on(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: Regex::new(path).unwrap(),
            first: 1,
            last: usize::MAX,
            after_put: false,
            fault: Fault::Pass,
            matched: 0,
        }
    }

    /// Only the n-th matching request, counted from 1.
    pub(crate) fn nth(mut self, n: usize) -> Self {
        (self.first, self.last) = (n, n);
        self
    }

    /// Only the first `n` matching requests.
    pub(crate) fn times(mut self, n: usize) -> Self {
        (self.first, self.last) = (1, n);
        self
    }

    /// Only requests for what was put before, through this front.
    pub(crate) fn after_put(mut self) -> Self {
        self.after_put = true;
        self
    }

    /// What happens to them.
    pub(crate) fn does(mut self, fault: Fault) -> Self {
        self.fault = fault;
        self
    }

    fn applies(&mut self, method: &str, path: &str, was_put: bool) -> bool {
        let fits = self.method == "*" || self.method == method;
        if !fits || !self.path.is_match(path) || (self.after_put && !was_put) {
            return false;
        }
        self.matched += 1;
        (self.first..=self.last).contains(&self.matched)
    }
}

/// Told of each request before anything else happens to it: its number, counted from 1, and
/// `METHOD path`.
pub(crate) type OnRequest = Arc<dyn Fn(usize, &str) + Send + Sync>;

/// The running front.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    _server: Listening,
}

struct State {
    upstream: SocketAddr,
    client: reqwest::Client,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
    harmed: AtomicUsize,
    on_request: Mutex<Option<OnRequest>>,
    putting: tokio::sync::Mutex<()>,
    /// Held once more by each request that is passed on.
    under_way: Arc<()>,
}

impl Front {
    /// Stands before a registry that speaks plain HTTP on `upstream`.
    pub(crate) fn start(upstream: SocketAddr) -> Self {
        waybill::registry::install_tls();
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_only([])
            .build()
            .unwrap();
        let state = Arc::new(State {
            upstream,
            client,
            rules: Mutex::default(),
            seen: Mutex::default(),
            harmed: AtomicUsize::new(0),
            on_request: Mutex::default(),
            putting: tokio::sync::Mutex::default(),
            under_way: Arc::default(),
        });
        let shared = Arc::clone(&state);
        let server = Listening::start(move |stream| converse(stream, Arc::clone(&shared)));
        Self {
            address: server.address,
            state,
            _server: server,
        }
    }

    /// The text of a base behind the front.
    pub(crate) fn base(&self, prefix: &str) -> String {
        format!("{}/{prefix}", self.address)
    }

    /// Adds a rule behind those that stand.
    pub(crate) fn add(&self, rule: Rule) {
        self.state.rules.lock().unwrap().push(rule);
    }

    /// How many requests a rule has decided so far, since the start.
    pub(crate) fn harmed(&self) -> usize {
        self.state.harmed.load(Ordering::SeqCst)
    }

    /// Forgets rules and requests.
    pub(crate) fn reset(&self) {
        self.state.rules.lock().unwrap().clear();
        self.state.seen.lock().unwrap().clear();
    }

    /// Has a function told of every request; it may block, and then so does the front.
    pub(crate) fn on_request(&self, told: OnRequest) {
        *self.state.on_request.lock().unwrap() = Some(told);
    }

    /// Runs a program until it ends, or until the n-th request that fits a regex over
    /// `METHOD path` comes: then it is killed, before the request is passed on. Says whether it
    /// was killed; one that ended by itself must have succeeded. When this returns, nothing that
    /// it asked for is under way any more.
    pub(crate) fn kill_at(&self, command: &mut Command, request: &str, nth: usize) -> bool {
        let pattern = Regex::new(&format!("^{request}")).unwrap();
        let matched = AtomicUsize::new(0);
        let mut said = tempfile::tempfile().unwrap();
        command.stdout(Stdio::null());
        command.stderr(said.try_clone().unwrap());
        // Held until the program is there to be killed.
        let victim = Arc::new(Mutex::new(None::<Child>));
        let mut starting = victim.lock().unwrap();
        let running = Arc::clone(&victim);
        let state = Arc::clone(&self.state);
        self.on_request(Arc::new(move |_, request| {
            let fits = pattern.is_match(request);
            if fits && matched.fetch_add(1, Ordering::SeqCst) + 1 == nth {
                // What comes from the dead is not passed on.
                let silence = Rule::on("*", ".").does(Fault::Cut);
                state.rules.lock().unwrap().insert(0, silence);
                running.lock().unwrap().as_mut().unwrap().kill().unwrap();
            }
        }));
        *starting = Some(command.spawn().unwrap());
        drop(starting);
        let status = loop {
            let ended = victim.lock().unwrap().as_mut().unwrap().try_wait();
            if let Some(status) = ended.unwrap() {
                break status;
            }
            thread::sleep(Duration::from_millis(5));
        };
        self.on_request(Arc::new(|_, _| {}));
        let killed = status.signal() == Some(9);
        let mut words = String::new();
        said.rewind().unwrap();
        said.read_to_string(&mut words).unwrap();
        assert!(killed || status.success(), "{status}: {words}");
        if killed {
            self.state.rules.lock().unwrap().remove(0);
        }
        // What was passed on before may still be on its way.
        while Arc::strong_count(&self.state.under_way) > 1 {
            thread::sleep(Duration::from_millis(5));
        }
        killed
    }

    /// Every request so far, in the order of their coming.
    pub(crate) fn log(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// How many requests of a method (`*` for any) and kind came so far.
    pub(crate) fn count(&self, method: &str, kind: Kind) -> usize {
        let log = self.log();
        let matching = |seen: &&Seen| (method == "*" || seen.method == method) && seen.kind == kind;
        log.iter().filter(matching).count()
    }
}

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

async fn converse(stream: TcpStream, state: Arc<State>) {
    let resets = Arc::new(AtomicBool::new(false));
    let service = service_fn(|request| answer(Arc::clone(&state), Arc::clone(&resets), request));
    let mut connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // An error is either a client that left, or a connection cut by a rule.
    let _ = (&mut connection).await;
    if resets.load(Ordering::SeqCst) {
        // What is closed without waiting is reset.
        let stream = connection.into_parts().io.into_inner();
        let _ = stream.set_zero_linger();
    }
}

async fn answer(
    state: Arc<State>,
    resets: Arc<AtomicBool>,
    request: Request<Incoming>,
) -> io::Result<Answer> {
    let method = request.method().to_string();
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    let number = {
        let mut seen = state.seen.lock().unwrap();
        let (kind, headers) = (kind(&path), request.headers().clone());
        seen.push(Seen {
            method: method.clone(),
            path: path.clone(),
            kind,
            headers,
        });
        seen.len()
    };
    let told = state.on_request.lock().unwrap().clone();
    if let Some(told) = told {
        told(number, &format!("{method} {path}"));
    }
    let fault = state.fault(&method, &path);
    if matches!(fault, Fault::Reset | Fault::ResetBody(_)) {
        resets.store(true, Ordering::SeqCst);
    }
    match fault {
        Fault::Pass => {
            // Goes through to its end, even where nobody waits for it any more.
            let passing = Arc::clone(&state);
            let passed = tokio::spawn(async move {
                let _held = Arc::clone(&passing.under_way);
                passing.forward(request).await
            });
            passed.await.map_err(io::Error::other)?
        }
        Fault::Immutable => state.put_once(request).await,
        Fault::Delay(time) => {
            tokio::time::sleep(time).await;
            state.forward(request).await
        }
        Fault::Answer {
            status,
            headers,
            body,
        } => {
            // A client that is still sending would not read the answer.
            let _ = request.into_body().collect().await;
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(whole(body)).map_err(io::Error::other)
        }
        Fault::Cut | Fault::Reset => Err(cut()),
        Fault::CutUpload(length) => {
            drop(read_some(request.into_body(), length).await);
            Err(cut())
        }
        Fault::StallUpload(length) => {
            // Held, so that it stays open and full.
            let _body = read_some(request.into_body(), length).await;
            std::future::pending().await
        }
        Fault::LoseAnswer => {
            state.forward(request).await?.into_body().collect().await?;
            Err(cut())
        }
        Fault::Without(header) => {
            let mut response = state.forward(request).await?;
            response.headers_mut().remove(header);
            Ok(response)
        }
        fault => {
            let (mut head, body) = state.forward(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            let body = harmed(&fault, &body, &mut head.headers);
            Ok(Response::from_parts(head, body))
        }
    }
}

/// Reads at least so much of a body, if it has as much.
async fn read_some(mut body: Incoming, length: usize) -> Incoming {
    let mut read = 0;
    while read < length {
        let Some(Ok(frame)) = body.frame().await else {
            break;
        };
        read += frame.data_ref().map_or(0, Bytes::len);
    }
    body
}

fn harmed(fault: &Fault, body: &Bytes, headers: &mut HeaderMap) -> UnsyncBoxBody<Bytes, io::Error> {
    let mut content = body.to_vec();
    match fault {
        Fault::CutBody(length) | Fault::ResetBody(length) => {
            content.truncate(*length);
            let part = futures_util::stream::iter([Ok(Frame::data(Bytes::from(content)))]);
            // Not before what comes first was sent.
            let end = futures_util::stream::once(async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Err(cut())
            });
            return BodyExt::boxed_unsync(StreamBody::new(futures_util::StreamExt::chain(
                part, end,
            )));
        }
        Fault::Stall(length) => {
            content.truncate(*length);
            let part = futures_util::stream::iter([Ok(Frame::data(Bytes::from(content)))]);
            let stream = futures_util::StreamExt::chain(part, futures_util::stream::pending());
            return BodyExt::boxed_unsync(StreamBody::new(stream));
        }
        Fault::Trickle(wait) => {
            let (bytes, wait) = (futures_util::stream::iter(content), *wait);
            let stream = futures_util::StreamExt::then(bytes, move |byte| async move {
                tokio::time::sleep(wait).await;
                Ok(Frame::data(Bytes::from(vec![byte])))
            });
            return BodyExt::boxed_unsync(StreamBody::new(stream));
        }
        Fault::Truncate(length) => content.truncate(*length),
        Fault::Corrupt => {
            let middle = content.len() / 2;
            if let Some(byte) = content.get_mut(middle) {
                *byte ^= 1;
            }
        }
        other => panic!("{other:?} does not change a body"),
    }
    headers.insert("content-length", content.len().into());
    whole(Bytes::from(content))
}

impl State {
    fn fault(&self, method: &str, path: &str) -> Fault {
        let seen = self.seen.lock().unwrap();
        let was_put = seen
            .iter()
            .any(|seen| seen.method == "PUT" && seen.path == path);
        let mut rules = self.rules.lock().unwrap();
        let rule = rules
            .iter_mut()
            .find_map(|rule| rule.applies(method, path, was_put).then_some(rule));
        let fault = rule.map(|rule| rule.fault.clone());
        self.harmed
            .fetch_add(usize::from(fault.is_some()), Ordering::SeqCst);
        fault.unwrap_or(Fault::Pass)
    }

    /// Sends the request on as it is, with the host that the client named, so that addresses in
    /// answers lead back here.
    async fn forward(&self, request: Request<Incoming>) -> io::Result<Answer> {
        let (head, body) = request.into_parts();
        let body = reqwest::Body::wrap_stream(body.into_data_stream());
        self.send(head, body).await
    }

    /// Puts a manifest, unless another one stands under the tag. One at a time, so that nothing
    /// comes between the question and the putting.
    async fn put_once(&self, request: Request<Incoming>) -> io::Result<Answer> {
        let _one = self.putting.lock().await;
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let url = format!("http://{}{}", self.upstream, head.uri);
        let types = "application/vnd.oci.image.manifest.v1+json, \
                     application/vnd.oci.image.index.v1+json, \
                     application/vnd.docker.distribution.manifest.v2+json";
        let stands = self.client.head(url).header("accept", types).send().await;
        let stands = stands.map_err(io::Error::other)?;
        let digest = stands.headers().get("docker-content-digest");
        let digest = digest.and_then(|digest| digest.to_str().ok());
        let is_tag = !head.uri.path().contains("@sha256:") && !head.uri.path().contains("/sha256:");
        if is_tag && digest.is_some_and(|digest| digest != Digest::of(&body).to_string()) {
            // As Amazon ECR says it.
            let body = r#"{"errors": [{"code": "TAG_INVALID", "message": "The image tag already exists in the repository and cannot be overwritten because the tag is immutable."}]}"#;
            return Response::builder()
                .status(400)
                .header("content-type", "application/json")
                .body(whole(Bytes::from_static(body.as_bytes())))
                .map_err(io::Error::other);
        }
        self.send(head, reqwest::Body::from(body)).await
    }

    async fn send(&self, head: Parts, body: reqwest::Body) -> io::Result<Answer> {
        let url = format!("http://{}{}", self.upstream, head.uri);
        let mut forwarded = self
            .client
            .request(head.method.clone(), url)
            .headers(head.headers);
        if !matches!(head.method.as_str(), "GET" | "HEAD") {
            forwarded = forwarded.body(body);
        }
        let answer = forwarded.send().await.map_err(io::Error::other)?;
        let mut response = Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            *headers = answer.headers().clone();
        }
        let stream = futures_util::StreamExt::map(answer.bytes_stream(), |part| {
            part.map(Frame::data).map_err(io::Error::other)
        });
        response
            .body(BodyExt::boxed_unsync(StreamBody::new(stream)))
            .map_err(io::Error::other)
    }
}

fn whole(body: Bytes) -> UnsyncBoxBody<Bytes, io::Error> {
    Full::new(body)
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn cut() -> io::Error {
    io::Error::other("cut by a rule")
}

fn kind(path: &str) -> Kind {
    let path = path.split('?').next().unwrap_or_default();
    match path {
        "/v2" | "/v2/" => Kind::Ping,
        _ if path.ends_with("/tags/list") => Kind::Tags,
        _ if path.contains("/blobs/uploads/") => Kind::Upload,
        _ if path.contains("/blobs/") => Kind::Blob,
        _ if path.contains("/manifests/") => Kind::Manifest,
        _ => Kind::Other,
    }
}
