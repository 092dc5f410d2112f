//! How requests get to a registry: connections, time-outs, redirects, bounds; one exchange at a
//! time, repeated by the retry policy.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Certificate, Method, RequestBuilder, Response, Url};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::auth::{Auth, Authorization};
use super::cause::{broken, silent, tls};
use super::counter::Counter;
use super::ecr::{self, Ecr};
use super::error::{RequestLine, Said};
use super::pushed::Pushed;
use super::request::{Answer, Body, Request, said};
use super::retry::{Failure, is_passing, retry};
use super::{Base, Credentials, RegistryError, Secret, base};

/// How a client behaves; the default is right everywhere but in tests.
#[derive(Clone, Debug)]
pub struct Options {
    /// The longest that making a connection may take.
    pub connect_timeout: Duration,
    /// The longest that a registry may be silent: before an answer begins (longer where a body is
    /// sent first), and between its parts.
    pub idle_timeout: Duration,
    /// How often a request is sent at most.
    pub attempts: usize,
    /// The delay before the second attempt; it doubles from then on.
    pub base_delay: Duration,
    /// The longest delay, whatever `Retry-After` asks for.
    pub longest_wait: Duration,
    /// No attempt begins later than this after the first one began.
    pub patience: Duration,
    /// How many requests are under way at once; `None` for what is right for where the registry is.
    pub concurrency: Option<usize>,
    /// Certificates in PEM to trust besides the system's.
    pub extra_root_pem: Option<Vec<u8>>,
    /// Which AWS to ask, and as whom, in place of what AWS's own rules find.
    pub aws: Option<AwsAccess>,
}

/// Access to AWS without its own rules on where that comes from.
#[derive(Clone, Debug)]
pub struct AwsAccess {
    /// The URL of every service.
    pub endpoint: String,
    /// The public half of the access key.
    pub access_key_id: String,
    /// The other half.
    pub secret_access_key: Secret,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            attempts: 5,
            base_delay: Duration::from_millis(300),
            longest_wait: Duration::from_secs(60),
            patience: Duration::from_secs(300),
            concurrency: None,
            extra_root_pem: None,
            aws: None,
        }
    }
}

/// The way to one registry.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) base: Base,
    pub(super) root: Url,
    pub(super) auth: Auth,
    pub(super) counter: Counter,
    pub(super) pushed: Pushed,
    /// The API of Amazon ECR, if it is one of its registries.
    pub(super) ecr: Option<Arc<Ecr>>,
    pub(super) options: Options,
    roots: Vec<Certificate>,
    /// How many requests are under way at once.
    pub(super) concurrency: usize,
    permits: Semaphore,
    connections: Mutex<HashMap<Route, reqwest::Client>>,
    /// The tags of repositories that were listed, and when.
    pub(super) lists: Mutex<HashMap<String, Listed>>,
}

/// The tags of a repository at some time.
pub(super) type Listed = (Instant, Arc<HashSet<String>>);

/// What decides how a URL is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Route {
    /// Never through a proxy.
    loopback: bool,
    /// Needs root certificates.
    secure: bool,
}

/// How many requests are under way at once: many registries limit their rate.
const CONCURRENCY: usize = 16;

/// The same with a registry on this machine, which nobody else waits for.
const CONCURRENCY_HERE: usize = 32;

/// The most redirects that are followed.
const MOST_REDIRECTS: usize = 5;

/// The most of a bad answer that is read.
const ERROR_BODY: u64 = 64 << 10;

/// The slowest line that a body is expected to come or go over, in bytes per second.
const SLOWEST_LINE: u64 = 32 << 10;

impl Transport {
    pub(super) fn new(
        base: Base,
        credentials: Credentials,
        options: Options,
    ) -> Result<Self, RegistryError> {
        super::install_tls();
        let roots = options
            .extra_root_pem
            .as_deref()
            .map_or(Ok(Vec::new()), certificates)?;
        let usual = if base.is_loopback() {
            CONCURRENCY_HERE
        } else {
            CONCURRENCY
        };
        let concurrency = options.concurrency.unwrap_or(usual).max(1);
        Ok(Self {
            root: base.url("/v2/")?,
            ecr: ecr::open(&base, &options)?,
            base,
            auth: Auth::new(credentials),
            counter: Counter::new(),
            pushed: Pushed::default(),
            concurrency,
            permits: Semaphore::new(concurrency),
            options,
            roots,
            connections: Mutex::default(),
            lists: Mutex::default(),
        })
    }

    /// Sends a request, again where that may help. Any status but the passing ones is an answer.
    pub(super) async fn send(&self, request: &Request) -> Result<Answer, RegistryError> {
        self.retry(|| self.once(request)).await
    }

    /// Repeats several requests that only make sense together.
    pub(super) async fn retry<T, A, F>(&self, attempt: A) -> Result<T, RegistryError>
    where
        A: FnMut() -> F,
        F: Future<Output = Result<T, Failure>>,
    {
        retry(&self.options, attempt).await
    }

    /// One attempt: with a credential if one is configured or asked for, and once more where a
    /// first 401 says what kind is wanted or that a token has expired.
    pub(super) async fn once(&self, request: &Request) -> Result<Answer, Failure> {
        let scope = request.scope.as_deref();
        let authorization = self.authorize(scope).await?;
        let answer = self.exchange(request, &authorization).await?;
        if !self.may_be_let_in(&answer, scope, &authorization).await? {
            return Ok(answer);
        }
        let authorization = self.authorize(scope).await?;
        self.exchange(request, &authorization).await
    }

    /// One request and its answer, redirects followed; a passing status is a failure.
    pub(super) async fn exchange(
        &self,
        request: &Request,
        authorization: &Authorization,
    ) -> Result<Answer, Failure> {
        let mut url = request.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.hop(request, &url, authorization).await?;
            if is_passing(&answer) {
                let wait = answer.header(RETRY_AFTER.as_str());
                return Err(Failure::passing_after(answer.refused(), wait));
            }
            let reads = matches!(request.method, Method::GET | Method::HEAD);
            match answer.header(LOCATION.as_str()) {
                Some(next) if reads && answer.status.is_redirection() => {
                    url = resolve(&url, next).map_err(|why| answer.corrupt(why))?;
                }
                _ => return Ok(answer),
            }
        }
        let detail = format!("more than {MOST_REDIRECTS} redirects");
        Err(RegistryError::Corrupt {
            request: request.line(),
            detail,
        }
        .into())
    }

    async fn hop(
        &self,
        request: &Request,
        url: &Url,
        authorization: &Authorization,
    ) -> Result<Answer, Failure> {
        let mut builder = self
            .connection(url)?
            .request(request.method.clone(), url.clone());
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let (header, asked) = authorization.toward(url);
        if let Some(header) = header {
            builder = builder.header(AUTHORIZATION, sensitive(header, request)?);
        }
        if let Some(ecr) = &self.ecr {
            ecr.admit(request.kind).await;
        }
        // The semaphore is never closed, so that an error cannot come.
        let _permit = self.permits.acquire().await;
        let _under_way = self.counter.begin(request.kind);
        let line = request.line();
        let mut response = self.response(request, builder).await?;
        let (status, good) = (response.status(), response.status().is_success());
        let headers = std::mem::take(response.headers_mut());
        let (body, stream) = if good && request.streamed {
            (Bytes::new(), Some(response))
        } else {
            let body = self.read_body(&line, &mut response, request.cap).await?;
            (body, None)
        };
        Ok(Answer {
            status,
            headers,
            stream,
            said: if good {
                Said::default()
            } else {
                said(authorization.redact(&body, &self.auth).as_bytes())
            },
            body,
            request: line,
            host: self.base.host().to_owned(),
            asked,
        })
    }

    /// Sends a request, with its body, until the answer begins.
    async fn response(
        &self,
        request: &Request,
        builder: RequestBuilder,
    ) -> Result<Response, Failure> {
        let (line, idle) = (request.line(), self.options.idle_timeout);
        let sent = match &request.body {
            _ if matches!(request.method, Method::GET | Method::HEAD) => {
                timeout(idle, builder.send()).await.ok()
            }
            Body::Whole(bytes) => {
                let patience = idle + at_slowest(bytes.len());
                timeout(patience, builder.body(bytes.clone()).send())
                    .await
                    .ok()
            }
            Body::Passing(passing) => {
                let body = passing.take().ok_or_else(|| spent(&line))?;
                let builder = builder.header(CONTENT_LENGTH, passing.length).body(body);
                let sent = passing.watch(idle, builder.send()).await;
                if let Some(failure) = passing.failure() {
                    return Err(failure);
                }
                sent
            }
        };
        let sent = sent.ok_or_else(|| silent(&line, idle))?;
        sent.map_err(|cause| broken(&line, cause))
    }

    /// The body: of a good answer up to the cap, which it may not exceed; else its beginning.
    async fn read_body(
        &self,
        line: &RequestLine,
        response: &mut Response,
        cap: u64,
    ) -> Result<Bytes, Failure> {
        let good = response.status().is_success();
        let cap = if good { cap } else { ERROR_BODY };
        let idle = self.options.idle_timeout;
        let (mut body, start) = (BytesMut::new(), Instant::now());
        loop {
            // Neither silence nor a trickle is waited out.
            let end = start + idle + at_slowest(body.len());
            let patience = idle.min(end.saturating_duration_since(Instant::now()));
            let chunk = timeout(patience, response.chunk())
                .await
                .map_err(|_| silent(line, idle))?
                .map_err(|cause| broken(line, cause))?;
            let Some(chunk) = chunk else {
                return Ok(body.freeze());
            };
            if (body.len() + chunk.len()) as u64 <= cap {
                body.extend_from_slice(&chunk);
            } else if good {
                let detail = format!("it is larger than {cap} bytes");
                return Err(RegistryError::Corrupt {
                    request: line.clone(),
                    detail,
                }
                .into());
            } else {
                return Ok(body.freeze());
            }
        }
    }

    /// The connections for a URL, made at the first use: certificates are only loaded, and proxies
    /// only looked up, where they are needed.
    fn connection(&self, url: &Url) -> Result<reqwest::Client, RegistryError> {
        let route = Route {
            loopback: url.host_str().is_some_and(base::is_loopback),
            secure: url.scheme() == "https",
        };
        let mut connections = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = connections.get(&route) {
            return Ok(client.clone());
        }
        let client = self.connect_by(route).map_err(|cause| tls(&cause))?;
        connections.insert(route, client.clone());
        Ok(client)
    }

    fn connect_by(&self, route: Route) -> reqwest::Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("waybill/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.options.connect_timeout)
            .retry(reqwest::retry::never());
        if route.loopback {
            builder = builder.no_proxy();
        }
        builder = if route.loopback && !route.secure {
            builder.tls_certs_only([])
        } else {
            builder.tls_certs_merge(self.roots.clone())
        };
        builder.build()
    }
}

/// How long so many bytes take on the slowest line.
fn at_slowest(length: usize) -> Duration {
    Duration::from_secs(length as u64 / SLOWEST_LINE)
}

/// A body that passed through cannot be sent again: what it is a part of must begin again.
fn spent(request: &RequestLine) -> Failure {
    Failure::passing(RegistryError::Unreachable {
        request: request.clone(),
        cause: "the credential was not accepted any more while a blob was on its way".to_owned(),
    })
}

/// Where a `Location` or `Link` leads, seen from `from`; never from HTTPS to HTTP.
pub(super) fn resolve(from: &Url, location: &str) -> Result<Url, String> {
    let next = from
        .join(location)
        .map_err(|cause| format!("it leads to an invalid address ({cause})"))?;
    match (from.scheme(), next.scheme()) {
        (_, "https") | ("http", "http") => Ok(next),
        (_, scheme) => Err(format!("it leads from HTTPS to {scheme}://")),
    }
}

fn sensitive(header: &str, request: &Request) -> Result<HeaderValue, RegistryError> {
    let mut value = HeaderValue::from_str(header).map_err(|_| RegistryError::Corrupt {
        request: request.line(),
        detail: "the credential or token for it holds characters that no header may have".into(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, RegistryError> {
    let found = Certificate::from_pem_bundle(pem).map_err(|cause| tls(&cause))?;
    if found.is_empty() {
        let detail = "no certificate stands in what was given as one".to_owned();
        return Err(RegistryError::Tls { detail });
    }
    Ok(found)
}
