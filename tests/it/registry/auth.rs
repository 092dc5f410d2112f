//! Credentials: shown to whom they are meant for, judged, and kept out of sight.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use waybill::model::Digest;
use waybill::problem::{Class, Diagnose as _};
use waybill::registry::Kind;

use crate::front::{self, Fault, Front, Rule};
use crate::servers::{DockerRegistry, Setup, listen};

use super::contents::round_trip;
use super::{Embedded, client, client_as, login, put};

#[tokio::test]
async fn basic_credentials_are_shown_and_judged() {
    let registry = DockerRegistry::start_with(&Setup {
        login: Some(("ann", "right-password")),
        ..Setup::default()
    });
    let base = registry.base("acme");
    round_trip(&client_as(&base, login("ann", "right-password"))).await;

    let wrong = client_as(&base, login("ann", "wrong-password"));
    let host = registry.address.to_string();
    for error in [
        wrong.ping().await.unwrap_err(),
        wrong.manifest("team/api", "t1").await.unwrap_err(),
        wrong.digest_of("team/api", "t1").await.unwrap_err(),
        wrong.tags("team/api").await.unwrap_err(),
        wrong.put_blob("team/api", Bytes::new()).await.unwrap_err(),
    ] {
        assert_eq!(
            (error.code(), error.class()),
            ("credential-refused", Class::Unreachable)
        );
        assert!(
            !format!("{error} {error:?}").contains("wrong-password"),
            "{error:?}"
        );
    }
    let error = client(&base).manifest("team/api", "t1").await.unwrap_err();
    assert_eq!(error.code(), "credential-missing");
    let hint = error.problems()[0].hint.clone().unwrap();
    assert!(hint.contains(&format!("docker login {host}")), "{hint}");
}

#[tokio::test]
async fn secrets_never_come_back_in_errors() {
    let registry = Embedded::start().await;
    let front = Front::start(registry.address());
    let password = "hunter2-secret";
    // base64 of "ann:hunter2-secret"
    let encoded = "YW5uOmh1bnRlcjItc2VjcmV0";
    for status in [400, 401, 403, 404, 429, 500] {
        front.reset();
        let echo = Fault::error(
            status,
            "DENIED",
            &format!("bad {password} in Basic {encoded}"),
        );
        front.add(Rule::on("GET", "/manifests/").does(echo));
        let client = client_as(&front.base("acme"), login("ann", password));
        let error = client.manifest("api", "t").await.unwrap_err();
        let shown = format!("{error} {error:?} {:?} {client:?}", error.problems());
        assert!(
            !shown.contains(password) && !shown.contains(encoded),
            "{shown}"
        );
        assert!(
            shown.contains("bad [secret] in Basic [secret]"),
            "{status}: {shown}"
        );
    }
    // The control: the same words, from one for whom they are no secret, do come through.
    let client = client_as(&front.base("acme"), login("ann", "something-else"));
    let error = client.manifest("api", "t").await.unwrap_err();
    assert!(error.to_string().contains(password), "{error}");
    // Nor do queries, where upload states and signed addresses keep theirs.
    front.reset();
    front.add(Rule::on("HEAD", "/blobs/").does(Fault::status(404)));
    let there = Fault::status(202).header("location", "/v2/acme/api/blobs/uploads/1?_state=hush");
    front.add(Rule::on("POST", "/uploads/").does(there));
    front.add(Rule::on("PUT", "_state=hush").does(Fault::status(400)));
    let error = client.put_blob("api", Bytes::new()).await.unwrap_err();
    assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    assert!(error.to_string().contains("PUT http://"), "{error}");
}

#[tokio::test]
async fn redirects_are_followed_without_the_credential() {
    let registry = Embedded::start().await;
    put(
        &client(&registry.base("acme")),
        "api",
        "t",
        b"stored elsewhere",
    )
    .await;
    let digest = Digest::of(b"stored elsewhere");
    let storage = Front::start(registry.address());
    let front = Front::start(registry.address());
    let place = format!(
        "http://{}/v2/acme/api/blobs/{digest}?signature=hush",
        storage.address
    );
    front.add(Rule::on("GET", "/blobs/").does(Fault::status(307).header("location", &place)));
    let client = client_as(&front.base("acme"), login("ann", "password"));
    let found = client.blob("api", &digest, 100).await.unwrap();
    assert_eq!(found.unwrap(), "stored elsewhere");
    let shown = |front: &Front| {
        let log = front.log();
        let blobs = log.iter().filter(|seen| seen.kind == front::Kind::Blob);
        blobs
            .map(|seen| seen.headers.contains_key("authorization"))
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(&front), [true]);
    assert_eq!(shown(&storage), [false]);
    // A refusal there is not the credential's.
    storage.add(Rule::on("GET", "/blobs/").does(Fault::status(403)));
    let error = client.blob("api", &digest, 100).await.unwrap_err();
    assert_eq!(error.code(), "registry-refused");
    assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    front.reset();
    front.add(
        Rule::on("GET", "/blobs/")
            .does(Fault::status(302).header("location", "/v2/acme/api/blobs/x")),
    );
    let error = client.blob("api", &digest, 100).await.unwrap_err();
    assert_eq!(error.code(), "registry-corrupt", "{error}");
}

/// A registry that wants tokens, and the server that gives them.
pub(super) struct TokenRegistry {
    pub(super) base: String,
    tokens: Arc<Tokens>,
}

#[derive(Default)]
struct Tokens {
    /// How many were given.
    given: AtomicUsize,
    /// Those up to this number are not accepted any more.
    expired: AtomicUsize,
    /// Whether anyone gets a token, or only ann with her password or refresh token.
    open: bool,
}

impl TokenRegistry {
    pub(super) async fn start(open: bool) -> Self {
        let tokens = Arc::new(Tokens {
            open,
            ..Tokens::default()
        });
        let router = axum::Router::new().fallback(token_registry);
        let state = Arc::clone(&tokens);
        let address = listen(router.with_state(state)).await;
        Self {
            base: format!("{address}/acme"),
            tokens,
        }
    }
}

async fn token_registry(State(tokens): State<Arc<Tokens>>, request: Request) -> Response {
    let host = request.headers()["host"].to_str().unwrap().to_owned();
    let header = request
        .headers()
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let shown = header.unwrap_or_default().to_owned();
    let (path, query) = (
        request.uri().path().to_owned(),
        request.uri().query().map(str::to_owned),
    );
    let body = axum::body::to_bytes(request.into_body(), 1 << 20)
        .await
        .unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    if path == "/token" {
        // base64 of "ann:password"
        let known = shown == "Basic YW5uOnBhc3N3b3Jk" || body.contains("refresh_token=refresh-me");
        if !known && (!tokens.open || !shown.is_empty()) {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let asked = query.unwrap_or(body);
        assert!(asked.contains("service=the+registry"), "{asked}");
        let number = tokens.given.fetch_add(1, Ordering::SeqCst) + 1;
        return format!("{{\"token\": \"token-{number}\", \"expires_in\": 300}}").into_response();
    }
    assert!(
        !shown.starts_with("Basic"),
        "the password is for the token server only"
    );
    let number = shown
        .strip_prefix("Bearer token-")
        .and_then(|number| number.parse().ok());
    if number.is_some_and(|number: usize| number > tokens.expired.load(Ordering::SeqCst)) {
        return "{\"tags\": [\"a\"]}".into_response();
    }
    let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"the registry\"");
    (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response()
}

#[tokio::test]
async fn tokens_are_fetched_kept_and_replaced() {
    let registry = TokenRegistry::start(false).await;
    let client = client_as(&registry.base, login("ann", "password"));
    for _ in 0..3 {
        assert_eq!(client.tags("api").await.unwrap(), ["a"]);
    }
    let all = (0..8).map(|_| client.tags("web"));
    futures_util::future::try_join_all(all).await.unwrap();
    assert_eq!(
        registry.tokens.given.load(Ordering::SeqCst),
        2,
        "one for each repository"
    );
    registry.tokens.expired.store(2, Ordering::SeqCst);
    let all = (0..8).map(|_| client.tags("web"));
    futures_util::future::try_join_all(all).await.unwrap();
    assert_eq!(
        registry.tokens.given.load(Ordering::SeqCst),
        3,
        "one new one for all"
    );
    registry.tokens.expired.store(99, Ordering::SeqCst);
    let error = client.tags("web").await.unwrap_err();
    assert_eq!(error.code(), "credential-refused");
    assert_eq!(client.requests_by_kind().of(Kind::Token), 4);
}

#[tokio::test]
async fn token_servers_judge_too() {
    let registry = TokenRegistry::start(false).await;
    let wrong = client_as(&registry.base, login("ann", "nonsense"));
    let error = wrong.tags("api").await.unwrap_err();
    assert_eq!(error.code(), "credential-refused", "{error}");
    assert!(!format!("{error:?}").contains("nonsense"));
    let error = client(&registry.base).tags("api").await.unwrap_err();
    assert_eq!(error.code(), "credential-missing", "{error}");

    let open = TokenRegistry::start(true).await;
    assert_eq!(client(&open.base).tags("api").await.unwrap(), ["a"]);
    // Not accepted is an error even where anyone would get in.
    let wrong = client_as(&open.base, login("ann", "nonsense"));
    assert_eq!(
        wrong.tags("api").await.unwrap_err().code(),
        "credential-refused"
    );
}
