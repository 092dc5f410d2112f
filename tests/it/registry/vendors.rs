//! What registries of other makers say, replayed: challenges, answers of token servers, refusals,
//! pages of tags. Each exchange names where it was read; what was not read anywhere is marked as
//! assumed. None of it was recorded from a live registry.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use waybill::model::Digest;
use waybill::registry::{Client, Credentials, Put};

use crate::servers::listen;

use super::{OCI_MANIFEST, client_as, login, manifest_of};

/// One request and what is answered to it. `{host}` stands for the server's own address, `{digest}`
/// for that of the manifest that stands.
struct Exchange {
    /// Method and path, with the beginning of the query.
    request: &'static str,
    /// What is shown: nothing, `Basic`, or the token, else anything.
    shown: Shown,
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
enum Shown {
    Nothing,
    Basic,
    /// `Bearer` and this.
    Token(&'static str),
    Anything,
}
use Shown::{Anything, Basic, Nothing, Token};

const fn exchange(
    request: &'static str,
    shown: Shown,
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
) -> Exchange {
    Exchange {
        request,
        shown,
        status,
        headers,
        body,
    }
}

/// A server that answers as it is told, and keeps what it was asked.
struct Replay {
    address: SocketAddr,
    kept: Arc<Kept>,
}

struct Kept {
    exchanges: Vec<Exchange>,
    asked: Mutex<Vec<String>>,
    /// The places of the exchanges that came about.
    used: Mutex<BTreeSet<usize>>,
}

impl Drop for Replay {
    /// A row of a table that nothing asks for proves nothing.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let used = self.kept.used.lock().unwrap();
        let exchanges = self.kept.exchanges.iter().enumerate();
        let unused = exchanges.filter(|(at, _)| !used.contains(at));
        let unused: Vec<&str> = unused.map(|(_, unused)| unused.request).collect();
        assert_eq!(unused, [""; 0], "these exchanges did not come about");
    }
}

impl Replay {
    async fn start(exchanges: Vec<Exchange>) -> Self {
        let kept = Arc::new(Kept {
            exchanges,
            asked: Mutex::default(),
            used: Mutex::default(),
        });
        let state = Arc::clone(&kept);
        let router = axum::Router::new().fallback(answer);
        let address = listen(router.with_state(state)).await;
        Self { address, kept }
    }

    fn client(&self, credentials: Credentials) -> Client {
        client_as(&format!("{}/acme", self.address), credentials)
    }

    fn known(&self) -> Client {
        self.client(login("ann", "password"))
    }

    fn anyone(&self) -> Client {
        self.client(Credentials::Anonymous)
    }

    /// Every request, with what was shown: `GET /v2/ (nothing)`.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.kept.asked.lock().unwrap())
    }
}

async fn answer(State(kept): State<Arc<Kept>>, request: Request) -> Response {
    let host = request.headers()["host"].to_str().unwrap().to_owned();
    let header = request.headers().get("authorization");
    let header = header.map(|value| value.to_str().unwrap().to_owned());
    let shown = header.as_deref().map_or("nothing", |shown| shown);
    let path = request.uri().path_and_query().unwrap().as_str();
    let asked = format!("{} {path}", request.method());
    let kind = shown.split(' ').next().unwrap();
    kept.asked.lock().unwrap().push(format!("{asked} ({kind})"));
    let fits = |exchange: &Exchange| {
        let is_shown = match exchange.shown {
            Nothing => shown == "nothing",
            Basic => shown.starts_with("Basic "),
            Token(token) => shown.strip_prefix("Bearer ") == Some(token),
            Anything => true,
        };
        let rest = asked.strip_prefix(exchange.request);
        is_shown && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['?', '&', '%']))
    };
    let found = kept.exchanges.iter().position(fits);
    let place = found.unwrap_or_else(|| panic!("{asked} ({shown}) is in no table"));
    kept.used.lock().unwrap().insert(place);
    let exchange = &kept.exchanges[place];
    let filled = |text: &str| {
        let text = text.replace("{host}", &host);
        text.replace(
            "{digest}",
            &Digest::of(&manifest_of(b"standing")).to_string(),
        )
    };
    let mut response = Response::builder().status(exchange.status);
    for (name, value) in exchange.headers {
        response = response.header(*name, filled(value));
    }
    response.body(Body::from(filled(exchange.body))).unwrap()
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn docker_hub_asks_for_tokens_and_limits_pulls() {
    // The challenge and the token's answer: docs.docker.com/reference/api/registry/auth. That
    // `scope` may be missing for `/v2/` is assumed.
    const CHALLENGE: (&str, &str) = (
        "www-authenticate",
        "Bearer realm=\"http://{host}/token\",service=\"registry.docker.io\"",
    );
    // github.com/renovatebot/renovate/discussions/47314
    const EXPIRED: (&str, &str) = (
        "www-authenticate",
        "Bearer realm=\"http://{host}/token\",service=\"registry.docker.io\",\
         scope=\"repository:acme/api:pull\",error=\"invalid_token\"",
    );
    let replay = Replay::start(vec![
        exchange("GET /v2/", Nothing, 401, &[CHALLENGE, JSON],
            "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"authentication required\",\"detail\":null}]}"),
        exchange("GET /token?service=registry.docker.io&scope=repository%3Aacme%2Fapi%3Apull", Basic, 200, &[JSON],
            "{\"token\":\"one\",\"access_token\":\"one\",\"expires_in\":300,\"issued_at\":\"2026-01-01T00:00:00.1Z\"}"),
        exchange("GET /v2/acme/api/tags/list", Token("one"), 401, &[EXPIRED, JSON],
            "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"authentication required\"}]}"),
        // github.com/ScribeMD/docker-cache/issues/829 has the words, and 429; the code in capitals
        // and the header are assumed.
        exchange("GET /v2/acme/api/manifests/limited", Anything, 429, &[JSON, ("retry-after", "0")],
            "{\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":\"You have reached your pull rate limit. You may \
             increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit\"}]}"),
        // gist.github.com/jeversol/369009aaad4cd2cd8e2610fa68d4c4be has the headers.
        exchange("HEAD /v2/acme/api/manifests/t", Token("one"), 200, &[
            ("docker-content-digest", "{digest}"), ("docker-distribution-api-version", "registry/2.0"),
            ("etag", "\"{digest}\""), ("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "0;w=21600"),
        ], ""),
    ])
    .await;
    let known = replay.known();
    let standing = Digest::of(&manifest_of(b"standing"));
    assert_eq!(known.digest_of("api", "t").await.unwrap(), Some(standing));
    let error = known.manifest("api", "limited").await.unwrap_err();
    assert_eq!(error.code(), "registry-throttled", "{error}");
    assert!(error.to_string().contains("pull rate limit"), "{error}");
    // A token that is refused is replaced once, and then the credential is not accepted.
    replay.asked();
    let error = known.tags("api").await.unwrap_err();
    assert_eq!(error.code(), "credential-refused", "{error}");
    let asked = replay.asked();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked[1].starts_with("GET /token?"), "{asked:?}");
}

#[tokio::test]
async fn ghcr_denies_and_limits_in_its_own_ways() {
    // github.com/renovatebot/renovate/issues/11446: shown anything but a good token, it says
    // DENIED and names no token server; so nothing must be shown first.
    const CHALLENGE: (&str, &str) = (
        "www-authenticate",
        "Bearer realm=\"http://{host}/token\",service=\"ghcr.io\",scope=\"repository:user/image:pull\"",
    );
    let replay = Replay::start(vec![
        exchange("GET /v2/", Nothing, 401, &[CHALLENGE, JSON],
            "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"authentication required\"}]}"),
        exchange("GET /token?service=ghcr.io&scope=repository%3Aacme%2Fapi%3Apull", Basic, 200, &[JSON],
            "{\"token\":\"one\"}"),
        // github.com/confidential-containers/cloud-api-adaptor/pull/2829
        exchange("GET /token?service=ghcr.io&scope=repository%3Aacme%2Fsecret%3Apull", Basic, 403, &[JSON],
            "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"denied\"}]}"),
        // The form of Link is assumed.
        exchange("GET /v2/acme/api/tags/list?n=100&last=b", Token("one"), 200, &[JSON], "{\"name\":\"acme/api\",\"tags\":[\"c\"]}"),
        exchange("GET /v2/acme/api/tags/list?n=100", Token("one"), 200,
            &[JSON, ("link", "</v2/acme/api/tags/list?n=100&last=b>; rel=\"next\"")],
            "{\"name\":\"acme/api\",\"tags\":[\"a\",\"b\"]}"),
        // github.com/chainguard-images/images/issues/173, github.com/dependabot/cli/issues/380
        exchange("GET /v2/acme/api/manifests/limited", Token("one"), 429, &[JSON, ("retry-after", "10.305464ms")],
            "{\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":\"retry-after: 10.305464ms, allowed: 2000/minute\"}]}"),
        // github.com/markrussinovich/refchecker/pull/67; that the words stand in an OCI error is
        // assumed.
        exchange("GET /v2/acme/api/manifests/second", Token("one"), 403, &[JSON, ("retry-after", "0")],
            "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"You have exceeded a secondary rate limit\"}]}"),
        // Assumed: absent things have the protocol's words.
        exchange("GET /v2/acme/api/manifests/none", Token("one"), 404, &[JSON],
            "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"manifest unknown\"}]}"),
    ])
    .await;
    let known = replay.known();
    assert_eq!(known.tags("api").await.unwrap(), ["a", "b", "c"]);
    assert_eq!(replay.asked()[0], "GET /v2/ (nothing)");
    assert_eq!(known.manifest("api", "none").await.unwrap(), None);
    for (tag, sent) in [("limited", 5), ("second", 5)] {
        replay.asked();
        let error = known.manifest("api", tag).await.unwrap_err();
        assert_eq!(error.code(), "registry-throttled", "{error}");
        assert_eq!(replay.asked().len(), sent, "{tag}");
    }
    let error = known.manifest("secret", "t").await.unwrap_err();
    assert_eq!(error.code(), "credential-refused", "{error}");
}

#[tokio::test]
async fn gitlab_gives_tokens_of_little_use_and_fails_in_its_token_server() {
    // The realm, on another host there, and the service stand so in the tests of many clients.
    const CHALLENGE: (&str, &str) = (
        "www-authenticate",
        "Bearer realm=\"http://{host}/jwt/auth\",service=\"container_registry\"",
    );
    // gitlab.com/gitlab-org/gitlab-foss/-/issues/37810: a token is given whatever it allows, and
    // the registry then refuses it.
    const REFUSED: &str = "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"authentication required\",\
        \"detail\":[{\"Type\":\"repository\",\"Class\":\"\",\"Name\":\"acme/api\",\"Action\":\"pull\"}]}]}";
    let replay = Replay::start(vec![
        exchange("GET /v2/", Nothing, 401, &[CHALLENGE, JSON], REFUSED),
        exchange(
            "GET /v2/acme/open/tags/list",
            Nothing,
            401,
            &[CHALLENGE, JSON],
            REFUSED,
        ),
        exchange(
            "GET /jwt/auth?service=container_registry&scope=repository%3Aacme%2Fapi%3Apull",
            Basic,
            200,
            &[JSON],
            "{\"token\":\"one\"}",
        ),
        exchange(
            "GET /v2/acme/api/tags/list",
            Token("one"),
            200,
            &[JSON],
            "{\"name\":\"group/module\",\"tags\":[\"latest\"]}",
        ),
        exchange(
            "GET /jwt/auth?service=container_registry&scope=repository%3Aacme%2Fother%3Apull",
            Basic,
            200,
            &[JSON],
            "{\"token\":\"useless\"}",
        ),
        exchange(
            "GET /v2/acme/other/tags/list",
            Token("useless"),
            401,
            &[CHALLENGE, JSON],
            REFUSED,
        ),
        // gitlab.com/gitlab-org/gitlab/-/issues/536823: 500 where nothing is shown.
        exchange("GET /jwt/auth", Nothing, 500, &[], "TypeError"),
    ])
    .await;
    let known = replay.known();
    assert_eq!(known.tags("api").await.unwrap(), ["latest"]);
    let error = known.tags("other").await.unwrap_err();
    assert_eq!(error.code(), "credential-refused", "{error}");
    let error = replay.anyone().tags("open").await.unwrap_err();
    assert_eq!(error.code(), "registry-refused", "{error}");
    assert!(error.to_string().contains("/jwt/auth"), "{error}");
}

#[tokio::test]
async fn artifact_registry_refuses_in_its_token_server() {
    // github.com/argoproj/argo-cd/issues/26260: the token server is the registry's own host, and
    // answers 403 to those that it does not know.
    const CHALLENGE: (&str, &str) = (
        "www-authenticate",
        "Bearer realm=\"http://{host}/v2/token\",service=\"{host}\"",
    );
    const UNKNOWN: &str = "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"Unauthenticated request. Unauthenticated \
        requests do not have permission \\\"artifactregistry.repositories.downloadArtifacts\\\" on resource \
        \\\"projects/p/locations/l/repositories/r\\\" (or it may not exist)\"}]}";
    // github.com/google-github-actions/auth/issues/50
    const DENIED: &str = "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"Permission \
        \\\"artifactregistry.repositories.downloadArtifacts\\\" denied on resource \
        \\\"projects/p/locations/l/repositories/r\\\" (or it may not exist)\"}]}";
    let replay = Replay::start(vec![
        exchange("GET /v2/", Nothing, 401, &[CHALLENGE, JSON], "{\"errors\":[{\"code\":\"UNAUTHORIZED\"}]}"),
        exchange("GET /v2/acme/api/tags/list", Nothing, 401, &[CHALLENGE, JSON], "{}"),
        exchange("GET /v2/token", Nothing, 403, &[JSON], UNKNOWN),
        exchange("GET /v2/token", Basic, 200, &[JSON], "{\"token\":\"one\",\"expires_in\":3600,\"issued_at\":\"x\"}"),
        exchange("GET /v2/acme/api/tags/list", Token("one"), 403, &[JSON], DENIED),
        // The fields besides `tags` are Google's own (go-containerregistry, `google.Tags`).
        exchange("GET /v2/acme/web/tags/list", Token("one"), 200, &[JSON],
            "{\"child\":[],\"manifest\":{\"sha256:00\":{\"tag\":[\"a\"]}},\"name\":\"acme/web\",\"tags\":[\"a\"]}"),
    ])
    .await;
    let error = replay.anyone().tags("api").await.unwrap_err();
    assert_eq!(error.code(), "registry-refused", "{error}");
    assert!(
        error.to_string().contains("Unauthenticated request"),
        "{error}"
    );
    let known = replay.known();
    let error = known.tags("api").await.unwrap_err();
    assert_eq!(error.code(), "credential-refused", "{error}");
    assert!(error.to_string().contains("downloadArtifacts"), "{error}");
    assert_eq!(known.tags("web").await.unwrap(), ["a"]);
}

#[tokio::test]
async fn pages_are_linked_in_every_form() {
    let replay = Replay::start(vec![
        // Quay: github.com/deitch/docker_registry2/issues/56
        exchange("GET /v2/acme/token/tags/list?next_page=gAAAA_X%3D&n=50", Anything, 200, &[JSON], "{\"tags\":[\"b\"]}"),
        exchange("GET /v2/acme/token/tags/list", Anything, 200,
            &[JSON, ("link", "</v2/acme/token/tags/list?next_page=gAAAA_X%3D&n=50>; rel=\"next\"")], "{\"tags\":[\"a\"]}"),
        // Quay of 2016: github.com/TritonDataCenter/node-docker-registry-client/issues/12
        exchange("GET /v2/acme/absolute/tags/list?next_page=gA%3D%3D&n=50", Anything, 200, &[JSON], "{\"tags\":[\"b\"]}"),
        exchange("GET /v2/acme/absolute/tags/list", Anything, 200,
            &[JSON, ("link", "<http://{host}/v2/acme/absolute/tags/list?next_page=gA%3D%3D&n=50>; rel=\"next\"")],
            "{\"tags\":[\"a\"]}"),
        // Quay since 2024, Red Hat: github.com/deitch/docker_registry2/issues/106
        exchange("GET /v2/acme/last/tags/list?n=100&last=23.0.4-0", Anything, 200, &[JSON], "{\"tags\":[\"b\"]}"),
        exchange("GET /v2/acme/last/tags/list", Anything, 200,
            &[JSON, ("link", "</v2/acme/last/tags/list?n=100&last=23.0.4-0>; rel=\"next\"")], "{\"tags\":[\"a\"]}"),
        // RFC 8288 allows both (assumed of registries): relative to the page, and without quotes.
        exchange("GET /v2/acme/bare/tags/list?page=2", Anything, 200, &[JSON], "{\"tags\":[\"b\"]}"),
        exchange("GET /v2/acme/bare/tags/list", Anything, 200, &[JSON, ("link", "<list?page=2>;rel=next")],
            "{\"tags\":[\"a\"]}"),
    ])
    .await;
    for repository in ["token", "absolute", "last", "bare"] {
        let tags = replay.anyone().tags(repository).await;
        assert_eq!(tags.unwrap(), ["a", "b"], "{repository}");
    }
    assert_eq!(replay.asked().len(), 8);
}

/// Status and body of a refusal to move a tag, with its maker and where it was read.
const IMMUTABLE: &[(&str, u16, &str)] = &[
    // github.com/moby/buildkit/issues/3776; the code in capitals by the client's "tag invalid".
    (
        "ECR",
        400,
        "{\"errors\":[{\"code\":\"TAG_INVALID\",\"message\":\"The image tag 't' already exists in the \
        'api' repository and cannot be overwritten because the repository is immutable.\"}]}",
    ),
    // goharbor/harbor, src/pkg/immutable: ErrImmutable; the status by goharbor/harbor#9427.
    (
        "Harbor",
        412,
        "{\"errors\":[{\"code\":\"PRECONDITION\",\"message\":\"Failed to process request due to \
        'acme/api:t' configured as immutable.\"}]}",
    ),
    // cloud.google.com/artifact-registry/docs/docker/troubleshoot#push; "manifest invalid" is the
    // client's form of the code, and the status is assumed.
    (
        "Artifact Registry",
        400,
        "{\"errors\":[{\"code\":\"MANIFEST_INVALID\",\"message\":\"cannot update tag t. The \
        repository has enabled tag immutability\"}]}",
    ),
    // GitLab's registry has an error of its own for it, with the detail `tag "t" is immutable`;
    // code and status are assumed.
    (
        "GitLab",
        400,
        "{\"errors\":[{\"code\":\"IMMUTABLE_TAG\",\"message\":\"tag is immutable\",\
        \"detail\":\"tag \\\"t\\\" is immutable\"}]}",
    ),
    // github.com/quay/quay/pull/1927 has the feature; the answer is assumed.
    (
        "Quay",
        409,
        "{\"errors\":[{\"code\":\"TAG_IMMUTABLE\",\"message\":\"tag t is immutable\"}]}",
    ),
    // github.com/docker/hub-feedback/issues/2466 has the status; the words are assumed.
    (
        "Docker Hub",
        403,
        "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"tag t is immutable\"}]}",
    ),
];

#[tokio::test]
async fn immutable_tags_are_known_by_what_each_maker_says() {
    for (maker, status, body) in IMMUTABLE {
        let standing = [("docker-content-digest", "{digest}")];
        let replay = Replay::start(vec![
            exchange(
                "PUT /v2/acme/api/manifests/t",
                Anything,
                *status,
                &[JSON],
                body,
            ),
            exchange(
                "PUT /v2/acme/api/manifests/free",
                Anything,
                *status,
                &[JSON],
                body,
            ),
            exchange(
                "HEAD /v2/acme/api/manifests/t",
                Anything,
                200,
                Box::leak(Box::new(standing)),
                "",
            ),
            exchange("HEAD /v2/acme/api/manifests/free", Anything, 404, &[], ""),
            exchange(
                "GET /v2/acme/api/manifests/free",
                Anything,
                404,
                &[JSON],
                "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\"}]}",
            ),
        ])
        .await;
        let anyone = replay.anyone();
        let put = async |tag: &str, bytes: Bytes| {
            anyone.put_manifest("api", tag, OCI_MANIFEST, bytes).await
        };
        let (same, other) = (manifest_of(b"standing"), manifest_of(b"other"));
        assert_eq!(
            put("t", other.clone()).await.unwrap(),
            Put::TagStands,
            "{maker}"
        );
        let done = put("t", same.clone()).await.unwrap();
        assert_eq!(done, Put::Done(Digest::of(&same)), "{maker}");
        // The same words where nothing stands are no success.
        let error = put("free", other).await.unwrap_err();
        assert_eq!(error.code(), "registry-refused", "{maker}");
    }
}
