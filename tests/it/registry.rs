//! The registry client and the embedded registry, against each other, a real docker-registry, the
//! docker engine, and faults.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use tempfile::TempDir;
use waybill::model::Digest;
use waybill::problem::{Class, Diagnose as _};
use waybill::registry::embedded::{self, Server};
use waybill::registry::{
    Base, Client, Credentials, Kind, Options, Put, RawManifest, RegistryError, Secret,
};

use crate::front::{self, Fault, Front, Rule};
use crate::servers::{Certificate, DockerRegistry, Setup};

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Options under which faults take no time.
fn quick() -> Options {
    Options {
        idle_timeout: Duration::from_secs(20),
        base_delay: Duration::from_millis(5),
        longest_wait: Duration::from_secs(2),
        ..Options::default()
    }
}

fn client(base: &str) -> Client {
    client_as(base, Credentials::Anonymous)
}

fn client_as(base: &str, credentials: Credentials) -> Client {
    Client::new(base.parse().unwrap(), credentials, quick()).unwrap()
}

fn login(user: &str, password: &str) -> Credentials {
    Credentials::Basic {
        user: user.into(),
        password: Secret::new(password),
    }
}

/// An embedded registry in a directory of its own.
struct Embedded {
    server: Server,
    directory: TempDir,
}

impl Embedded {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = serve(directory.path()).await;
        Self { server, directory }
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    fn base(&self, prefix: &str) -> String {
        format!("{}/{prefix}", self.address())
    }
}

async fn serve(directory: &Path) -> Server {
    embedded::serve(directory, "127.0.0.1:0".parse().unwrap())
        .await
        .unwrap()
}

/// A small manifest whose config and only layer are the blob `content`.
fn manifest_of(content: &[u8]) -> Bytes {
    let descriptor = serde_json::json!({
        "mediaType": "application/octet-stream",
        "digest": Digest::of(content).to_string(),
        "size": content.len(),
    });
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor,
        "layers": [descriptor],
    });
    Bytes::from(manifest.to_string())
}

/// Puts a blob and a manifest of it under `tag`.
async fn put(client: &Client, repository: &str, tag: &str, content: &'static [u8]) -> Digest {
    client
        .put_blob(repository, Bytes::from_static(content))
        .await
        .unwrap();
    let bytes = manifest_of(content);
    match client
        .put_manifest(repository, tag, OCI_MANIFEST, bytes)
        .await
        .unwrap()
    {
        Put::Done(digest) => digest,
        Put::TagStands => panic!("{tag} stands"),
    }
}

/// Everything that a registry is asked for, in a registry that holds nothing yet.
async fn round_trip(client: &Client) {
    client.ping().await.unwrap();
    let absent = Digest::of(b"absent");
    assert_eq!(client.tags("none").await.unwrap(), Vec::<String>::new());
    assert_eq!(client.manifest("none", "t").await.unwrap(), None);
    assert_eq!(
        client.digest_of("none", &absent.to_string()).await.unwrap(),
        None
    );
    assert_eq!(client.blob("none", &absent, 10).await.unwrap(), None);
    assert!(!client.blob_exists("none", &absent).await.unwrap());

    let digest = put(client, "team/api", "t1", b"one").await;
    let expected = RawManifest {
        digest,
        media_type: OCI_MANIFEST.into(),
        bytes: manifest_of(b"one"),
    };
    for reference in ["t1", &digest.to_string()] {
        let found = client.manifest("team/api", reference).await.unwrap();
        assert_eq!(found.as_ref(), Some(&expected));
        assert_eq!(
            client.digest_of("team/api", reference).await.unwrap(),
            Some(digest)
        );
    }
    assert_eq!(client.manifest("team/api", "t2").await.unwrap(), None);
    assert_eq!(client.digest_of("team/api", "t2").await.unwrap(), None);
    let blob = Digest::of(b"one");
    assert_eq!(
        client.blob("team/api", &blob, 3).await.unwrap().unwrap(),
        "one"
    );
    let error = client.blob("team/api", &blob, 2).await.unwrap_err();
    assert_eq!(error.code(), "registry-corrupt", "{error}");

    // A tag moves, and the bytes of an empty blob are bytes too.
    let moved = put(client, "team/api", "t1", b"").await;
    assert_eq!(
        client.digest_of("team/api", "t1").await.unwrap(),
        Some(moved)
    );
    assert_eq!(
        client
            .blob("team/api", &Digest::of(b""), 0)
            .await
            .unwrap()
            .unwrap(),
        ""
    );
    // By digest.
    let bytes = manifest_of(b"one");
    let done = client
        .put_manifest("team/api", &digest.to_string(), OCI_MANIFEST, bytes)
        .await;
    assert_eq!(done.unwrap(), Put::Done(digest));
}

/// More tags than a page holds.
async fn many_tags(client: &Client) {
    let digest = put(client, "many", "t-0", b"x").await;
    let bytes = manifest_of(b"x");
    let mut expected: Vec<String> = (0..250).map(|number| format!("t-{number}")).collect();
    let puts = expected.iter().map(|tag| {
        let put = client.put_manifest("many", tag, OCI_MANIFEST, bytes.clone());
        async move { assert_eq!(put.await.unwrap(), Put::Done(digest)) }
    });
    futures_util::future::join_all(puts).await;
    expected.sort();
    assert_eq!(client.tags("many").await.unwrap(), expected);
}

#[tokio::test]
async fn embedded_registry_keeps_what_it_is_given() {
    let registry = Embedded::start().await;
    let client = client(&registry.base("acme"));
    round_trip(&client).await;
    many_tags(&client).await;
    assert_eq!(client.requests_by_kind().of(Kind::Tags), 1 + 3);
    registry.server.stop().await;
    let again = serve(registry.directory.path()).await;
    let client = self::client(&format!("{}/acme", again.address()));
    assert_eq!(client.tags("many").await.unwrap().len(), 250);
    assert!(client.manifest("team/api", "t1").await.unwrap().is_some());
}

#[tokio::test]
async fn docker_registry_keeps_what_it_is_given() {
    let registry = DockerRegistry::start();
    let client = client(&registry.base("acme"));
    round_trip(&client).await;
    many_tags(&client).await;
    // Version 2.8 ignores both `n` and `last`: the second page brings nothing new.
    assert_eq!(client.requests_by_kind().of(Kind::Tags), 1 + 2);
}

#[tokio::test]
async fn repositories_may_be_called_like_parts_of_paths() {
    let registry = Embedded::start().await;
    for (prefix, name) in [
        ("x", "blobs"),
        ("manifests", "tags"),
        ("referrers", "blobs/uploads"),
    ] {
        let client = client(&registry.base(prefix));
        let digest = put(&client, name, "t", b"odd").await;
        assert_eq!(
            client.digest_of(name, "t").await.unwrap(),
            Some(digest),
            "{name}"
        );
        assert_eq!(client.tags(name).await.unwrap(), ["t"]);
    }
    let bare = client(&registry.address().to_string());
    put(&bare, "blobs", "t", b"odd").await;
}

#[tokio::test]
async fn names_that_no_registry_can_hold_are_not_asked_for() {
    let registry = Embedded::start().await;
    let client = client(&registry.base("acme"));
    for (repository, reference) in [
        ("../v2", "t"),
        ("Api", "t"),
        ("api", "a/b"),
        ("api", ""),
        ("", "t"),
    ] {
        let error = client.manifest(repository, reference).await.unwrap_err();
        assert_eq!(
            (error.code(), error.class()),
            ("invalid-name", Class::Usage),
            "{repository}"
        );
    }
    assert_eq!(client.requests(), 0);
}

// Faults.

/// What a client should make of a fault.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    /// As if nothing had happened, after so many requests.
    Found(usize),
    /// The error's code, after so many requests.
    Error(&'static str, usize),
    /// `None`, after so many requests.
    Absent(usize),
}

async fn look_up(front: &Front) -> Outcome {
    look_up_by(&client(&front.base("acme")), front).await
}

async fn look_up_by(client: &Client, front: &Front) -> Outcome {
    let found = client.manifest("api", "t").await;
    let requests = front.count("*", front::Kind::Manifest);
    match found {
        Ok(Some(manifest)) => {
            assert_eq!(manifest.bytes, manifest_of(b"x"));
            Outcome::Found(requests)
        }
        Ok(None) => Outcome::Absent(requests),
        Err(error) => {
            assert_eq!(error.class(), Class::Unreachable, "{error}");
            let place = "/v2/acme/api/manifests/t";
            assert!(error.to_string().contains(place), "{error}");
            Outcome::Error(error.code(), requests)
        }
    }
}

/// A fault's name, what it is, how many requests it befalls, and what comes of it.
type Row = (&'static str, Fault, usize, Outcome);

fn statuses() -> Vec<Row> {
    let status = Fault::status;
    vec![
        ("none", Fault::Pass, 9, Outcome::Found(1)),
        ("429 once", status(429), 1, Outcome::Found(2)),
        (
            "429 always",
            status(429),
            99,
            Outcome::Error("registry-throttled", 5),
        ),
        ("500 four times", status(500), 4, Outcome::Found(5)),
        (
            "500 always",
            status(500),
            99,
            Outcome::Error("registry-refused", 5),
        ),
        ("502 once", status(502), 1, Outcome::Found(2)),
        (
            "503 always",
            status(503),
            99,
            Outcome::Error("registry-refused", 5),
        ),
        ("504 once", status(504), 1, Outcome::Found(2)),
        (
            "501",
            status(501),
            99,
            Outcome::Error("registry-refused", 1),
        ),
        (
            "400",
            status(400),
            99,
            Outcome::Error("registry-refused", 1),
        ),
        (
            "401",
            status(401),
            99,
            Outcome::Error("credential-missing", 1),
        ),
        (
            "403",
            status(403),
            99,
            Outcome::Error("registry-refused", 1),
        ),
    ]
}

fn connections() -> Vec<Row> {
    let slow = Fault::Delay(Duration::from_millis(200));
    let unreachable = || Outcome::Error("registry-unreachable", 5);
    vec![
        ("cut once", Fault::Cut, 1, Outcome::Found(2)),
        ("cut always", Fault::Cut, 99, unreachable()),
        ("reset once", Fault::Reset, 1, Outcome::Found(2)),
        ("reset always", Fault::Reset, 99, unreachable()),
        ("answer lost once", Fault::LoseAnswer, 1, Outcome::Found(2)),
        (
            "cut in the body once",
            Fault::CutBody(10),
            1,
            Outcome::Found(2),
        ),
        (
            "cut in the body always",
            Fault::CutBody(10),
            99,
            unreachable(),
        ),
        ("slow", slow, 99, Outcome::Found(1)),
    ]
}

fn bodies() -> Vec<Row> {
    let page = |status| Fault::answer(status, "text/html", "<h1>Sign in</h1>");
    let error = |code| Fault::error(404, code, "no");
    let refused = || Outcome::Error("registry-refused", 1);
    let corrupt = || Outcome::Error("registry-corrupt", 1);
    vec![
        ("truncated", Fault::Truncate(10), 99, corrupt()),
        ("empty", Fault::Truncate(0), 99, corrupt()),
        ("corrupted", Fault::Corrupt, 99, corrupt()),
        ("404 empty", Fault::status(404), 99, refused()),
        ("404 page", page(404), 99, refused()),
        ("404 other code", error("UNSUPPORTED"), 99, refused()),
        (
            "404 manifest",
            error("MANIFEST_UNKNOWN"),
            99,
            Outcome::Absent(1),
        ),
        ("404 name", error("NAME_UNKNOWN"), 99, Outcome::Absent(1)),
        ("200 page", page(200), 99, corrupt()),
        (
            "200 JSON of no kind",
            Fault::answer(200, "", "{}"),
            99,
            corrupt(),
        ),
        (
            "no media type",
            Fault::Without("content-type"),
            99,
            Outcome::Found(1),
        ),
        (
            "no digest",
            Fault::Without("docker-content-digest"),
            99,
            Outcome::Found(1),
        ),
    ]
}

#[tokio::test]
async fn faults_are_outlived_or_named() {
    let registry = Embedded::start().await;
    put(&client(&registry.base("acme")), "api", "t", b"x").await;
    let front = Front::start(registry.address());
    for (name, fault, times, expected) in [statuses(), connections(), bodies()].concat() {
        front.reset();
        front.add(Rule::on("GET", "/manifests/").times(times).does(fault));
        assert_eq!(look_up(&front).await, expected, "{name}");
    }
}

#[tokio::test]
async fn silence_is_not_waited_out() {
    let registry = Embedded::start().await;
    put(&client(&registry.base("acme")), "api", "t", b"x").await;
    let front = Front::start(registry.address());
    let options = Options {
        idle_timeout: Duration::from_millis(300),
        ..quick()
    };
    let base: Base = front.base("acme").parse().unwrap();
    let client = Client::new(base, Credentials::Anonymous, options).unwrap();
    let silence = Rule::on("GET", "/manifests/").does(Fault::Delay(Duration::from_secs(30)));
    front.add(silence.clone().times(1));
    assert_eq!(look_up_by(&client, &front).await, Outcome::Found(2));
    front.reset();
    front.add(silence);
    let outcome = look_up_by(&client, &front).await;
    assert_eq!(outcome, Outcome::Error("registry-unreachable", 5));
}

#[tokio::test]
async fn retry_after_is_waited_for_up_to_a_limit() {
    let registry = Embedded::start().await;
    put(&client(&registry.base("acme")), "api", "t", b"x").await;
    let front = Front::start(registry.address());
    let in_a_while = || chrono::Utc::now() + chrono::Duration::seconds(3);
    let date = || in_a_while().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let table: [(&dyn Fn() -> String, u128, u128); 3] = [
        (&|| "1".to_owned(), 1000, 60_000),
        (&|| "600".to_owned(), 2000, 60_000),
        (&date, 1000, 60_000),
    ];
    for (asked, least, most) in table {
        let asked = asked();
        front.reset();
        let fault = Fault::status(429).header("retry-after", &asked);
        front.add(Rule::on("GET", "/manifests/").nth(1).does(fault));
        let start = Instant::now();
        assert_eq!(look_up(&front).await, Outcome::Found(2));
        let waited = start.elapsed().as_millis();
        assert!((least..most).contains(&waited), "{asked}: {waited} ms");
    }
}

#[tokio::test]
async fn heads_that_cannot_tell_are_followed_by_a_get() {
    let registry = Embedded::start().await;
    let digest = put(&client(&registry.base("acme")), "api", "t", b"x").await;
    let front = Front::start(registry.address());
    let client = client(&front.base("acme"));
    front.add(Rule::on("HEAD", "/manifests/").does(Fault::Without("docker-content-digest")));
    assert_eq!(client.digest_of("api", "t").await.unwrap(), Some(digest));
    // Absent: the HEAD's 404 has no words, the GET's has.
    front.reset();
    assert_eq!(client.digest_of("api", "none").await.unwrap(), None);
    assert_eq!(front.count("GET", front::Kind::Manifest), 1);
    front.add(Rule::on("GET", "/manifests/").does(Fault::answer(404, "text/html", "<p>")));
    let error = client.digest_of("api", "none").await.unwrap_err();
    assert_eq!(error.code(), "registry-refused");
    // Another manifest than the one asked for by digest.
    front.reset();
    let other = put(&client, "api", "u", b"y").await.to_string();
    let lie = Fault::status(200).header("docker-content-digest", &digest.to_string());
    front.add(Rule::on("HEAD", "/manifests/").does(lie));
    let error = client.digest_of("api", &other).await.unwrap_err();
    assert_eq!(error.code(), "registry-corrupt");
}

#[tokio::test]
async fn a_manifest_of_another_digest_is_never_taken() {
    let registry = Embedded::start().await;
    let client_behind = client(&registry.base("acme"));
    let digest = put(&client_behind, "api", "t", b"x").await;
    let front = Front::start(registry.address());
    let client = client(&front.base("acme"));
    let other = Fault::answer(200, OCI_MANIFEST, manifest_of(b"y"));
    front.add(Rule::on("GET", "/manifests/").does(other));
    // By tag, nothing can tell; by digest, the bytes do.
    assert!(client.manifest("api", "t").await.unwrap().is_some());
    let error = client
        .manifest("api", &digest.to_string())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "registry-corrupt");
    front.reset();
    front.add(
        Rule::on("PUT", "/manifests/").does(
            Fault::status(201).header("docker-content-digest", &Digest::of(b"z").to_string()),
        ),
    );
    let put = client
        .put_manifest("api", "t", OCI_MANIFEST, manifest_of(b"x"))
        .await;
    assert_eq!(put.unwrap_err().code(), "registry-corrupt");
    front.reset();
    let large = Fault::answer(200, OCI_MANIFEST, vec![b' '; (4 << 20) + 1]);
    front.add(Rule::on("GET", "/manifests/").does(large));
    let error = client.manifest("api", "t").await.unwrap_err();
    assert_eq!(error.code(), "registry-corrupt");
}

#[tokio::test]
async fn blobs_are_checked_and_uploads_begin_again() {
    let registry = Embedded::start().await;
    let front = Front::start(registry.address());
    let client = client(&front.base("acme"));
    let blob = Bytes::from_static(b"a blob of some length");
    let digest = Digest::of(&blob);
    for fault in [
        Rule::on("POST", "/uploads/").nth(1).does(Fault::Cut),
        Rule::on("POST", "/uploads/").nth(1).does(Fault::LoseAnswer),
        Rule::on("PUT", "/uploads/").nth(1).does(Fault::Cut),
        Rule::on("PUT", "/uploads/").nth(1).does(Fault::LoseAnswer),
        Rule::on("PUT", "/uploads/").nth(1).does(Fault::status(503)),
        Rule::on("PUT", "/uploads/")
            .nth(1)
            .does(Fault::error(404, "BLOB_UPLOAD_UNKNOWN", "")),
        Rule::on("HEAD", "/blobs/").nth(1).does(Fault::status(500)),
    ] {
        front.reset();
        front.add(fault.clone());
        // Lies about the blob's presence, so that each round uploads it.
        front.add(Rule::on("HEAD", "/blobs/").does(Fault::status(404)));
        assert_eq!(
            client.put_blob("api", blob.clone()).await.unwrap(),
            digest,
            "{fault:?}"
        );
        assert!(front.count("PUT", front::Kind::Upload) >= 1);
        front.reset();
        let found = client.blob("api", &digest, 100).await.unwrap();
        assert_eq!(found.as_ref(), Some(&blob), "{fault:?}");
    }
    // What stands is not sent again.
    front.reset();
    client.put_blob("api", blob.clone()).await.unwrap();
    assert_eq!(front.count("*", front::Kind::Upload), 0);
    for (fault, code) in [
        (Fault::Corrupt, "registry-corrupt"),
        (Fault::Truncate(3), "registry-corrupt"),
        (Fault::status(404), "registry-refused"),
        (Fault::status(403), "registry-refused"),
    ] {
        front.reset();
        front.add(Rule::on("GET", "/blobs/").does(fault));
        let error = client.blob("api", &digest, 100).await.unwrap_err();
        assert_eq!(error.code(), code);
    }
}

#[tokio::test]
async fn lists_of_tags_are_whole_or_an_error() {
    let registry = Embedded::start().await;
    many_tags(&client(&registry.base("acme"))).await;
    let front = Front::start(registry.address());
    let client = client(&front.base("acme"));
    assert_eq!(client.tags("many").await.unwrap().len(), 250);
    let circle = "</v2/acme/many/tags/list?n=100&last=t-99>; rel=\"next\"";
    let far = "<http://elsewhere.example/v2/acme/many/tags/list>; rel=\"next\"";
    for (fault, code) in [
        (Fault::status(404), "registry-refused"),
        (
            Fault::error(404, "NAME_UNKNOWN", "gone"),
            "registry-refused",
        ),
        (
            Fault::answer(200, "application/json", "[]"),
            "registry-corrupt",
        ),
        (Fault::Truncate(20), "registry-corrupt"),
        (Fault::status(500), "registry-refused"),
        (
            Fault::answer(200, "", "{\"tags\":[\"a\"]}").header("link", circle),
            "registry-corrupt",
        ),
        (
            Fault::answer(200, "", "{\"tags\":[\"a\"]}").header("link", far),
            "registry-corrupt",
        ),
    ] {
        front.reset();
        front.add(Rule::on("GET", "last=").does(fault.clone()));
        let error = client.tags("many").await.unwrap_err();
        assert_eq!(error.code(), code, "{fault:?}");
    }
    front.reset();
    front.add(Rule::on("GET", "/tags/").does(Fault::answer(200, "", "{\"tags\":null}")));
    assert_eq!(client.tags("many").await.unwrap(), Vec::<String>::new());
    // Without Link, what comes after the last tag is asked for.
    front.reset();
    front.add(Rule::on("GET", "/tags/").does(Fault::Without("link")));
    assert_eq!(client.tags("many").await.unwrap().len(), 250);
    assert_eq!(front.count("GET", front::Kind::Tags), 3);
}

#[tokio::test]
async fn immutable_tags_are_told_from_other_refusals() {
    let registry = Embedded::start().await;
    let front = Front::start(registry.address());
    let client = client(&front.base("acme"));
    let standing = put(&client, "api", "t", b"x").await;
    client
        .put_blob("api", Bytes::from_static(b"y"))
        .await
        .unwrap();
    let ecr = "The image tag 't' already exists in the 'api' repository and cannot be \
               overwritten because the tag is immutable.";
    for fault in [
        Fault::error(400, "TAG_INVALID", ecr),
        Fault::error(400, "ImageTagAlreadyExistsException", ecr),
        Fault::error(409, "CONFLICT", ""),
        Fault::error(
            412,
            "PRECONDITION",
            "Failed to process request due to 'api:t' configured as immutable.",
        ),
        Fault::error(403, "DENIED", "tag is immutable"),
    ] {
        front.reset();
        front.add(Rule::on("PUT", "/manifests/").does(fault.clone()));
        let put = async |tag, content| {
            client
                .put_manifest("api", tag, OCI_MANIFEST, manifest_of(content))
                .await
        };
        assert_eq!(put("t", b"y").await.unwrap(), Put::TagStands, "{fault:?}");
        assert_eq!(
            put("t", b"x").await.unwrap(),
            Put::Done(standing),
            "{fault:?}"
        );
        let error = put("u", b"x").await.unwrap_err();
        assert_eq!(error.code(), "registry-refused", "{fault:?}");
    }
    front.reset();
    front.add(Rule::on("PUT", "/manifests/").does(Fault::error(403, "DENIED", "limit exceeded")));
    let error = client
        .put_manifest("api", "t", OCI_MANIFEST, manifest_of(b"y"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "registry-refused");
    assert!(
        error.to_string().contains("DENIED, limit exceeded"),
        "{error}"
    );
}

#[tokio::test]
async fn no_more_requests_than_allowed_are_under_way() {
    let registry = Embedded::start().await;
    let front = Front::start(registry.address());
    front.add(Rule::on("*", "").does(Fault::Delay(Duration::from_millis(100))));
    let options = Options {
        concurrency: 2,
        ..quick()
    };
    let base: Base = front.base("acme").parse().unwrap();
    let client = Client::new(base, Credentials::Anonymous, options).unwrap();
    let start = Instant::now();
    let pings = (0..8).map(|_| client.ping());
    futures_util::future::try_join_all(pings).await.unwrap();
    assert!(
        start.elapsed() >= Duration::from_millis(400),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_unreachable() {
    let address = crate::servers::free_address();
    let error = client(&format!("{address}/acme")).ping().await.unwrap_err();
    assert_eq!(error.code(), "registry-unreachable");
    let text = error.to_string();
    assert!(
        text.contains(&format!("GET http://{address}/v2/")) && text.contains("refused"),
        "{text}"
    );
}

// Credentials.

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

#[tokio::test]
async fn https_needs_a_certificate_that_is_trusted() {
    let certificate = Certificate::make();
    let registry = DockerRegistry::start_with(&Setup {
        certificate: Some(&certificate),
        ..Setup::default()
    });
    let base: Base = format!("https://{}", registry.base("acme"))
        .parse()
        .unwrap();
    let trusting = Options {
        extra_root_pem: Some(std::fs::read(&certificate.authority).unwrap()),
        ..quick()
    };
    let client = Client::new(base.clone(), Credentials::Anonymous, trusting).unwrap();
    round_trip(&client).await;

    let client = Client::new(base.clone(), Credentials::Anonymous, quick()).unwrap();
    let error = client.ping().await.unwrap_err();
    assert_eq!(error.code(), "registry-unreachable");
    assert!(error.to_string().contains("certificate"), "{error}");
    assert_eq!(client.requests(), 1, "no repetition mends a certificate");

    let broken = Options {
        extra_root_pem: Some(b"-----BEGIN CERTIFICATE-----\nx".to_vec()),
        ..quick()
    };
    let made = Client::new(base, Credentials::Anonymous, broken);
    assert_eq!(made.unwrap_err().code(), "registry-tls");
}

/// A registry that wants tokens, and the server that gives them.
struct TokenRegistry {
    base: String,
    tokens: Arc<Tokens>,
}

#[derive(Default)]
struct Tokens {
    address: std::sync::OnceLock<SocketAddr>,
    /// How many were given.
    given: AtomicUsize,
    /// Those up to this number are not accepted any more.
    expired: AtomicUsize,
    /// Whether anyone gets a token, or only ann with her password or refresh token.
    open: bool,
}

impl TokenRegistry {
    async fn start(open: bool) -> Self {
        let tokens = Arc::new(Tokens {
            open,
            ..Tokens::default()
        });
        let router = axum::Router::new()
            .fallback(token_registry)
            .with_state(Arc::clone(&tokens));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokens.address.set(address).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            base: format!("{address}/acme"),
            tokens,
        }
    }
}

async fn token_registry(State(tokens): State<Arc<Tokens>>, request: Request) -> Response {
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
    let address = tokens.address.get().unwrap();
    let challenge = format!("Bearer realm=\"http://{address}/token\",service=\"the registry\"");
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

// What depends on the environment runs in a child of its own.

/// Runs the ignored test `name` of this file with variables set, and wants it to succeed.
fn in_child(name: &str, variables: &[(&str, &str)]) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([
        "--exact",
        &format!("registry::{name}"),
        "--ignored",
        "--nocapture",
    ]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        child.env_remove(name).env_remove(name.to_ascii_lowercase());
    }
    let output = child.envs(variables.iter().copied()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[tokio::test]
#[ignore = "run by other tests, with an environment"]
async fn child_that_asks() {
    let base = std::env::var("TEST_BASE").unwrap();
    let outcome = client_as(&base, Credentials::Docker).tags("api").await;
    let outcome = outcome.map_or_else(|error| error.code(), |_| "ok");
    assert_eq!(outcome, std::env::var("TEST_OUTCOME").unwrap());
}

fn docker_config(content: &serde_json::Value) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("config.json"), content.to_string()).unwrap();
    directory
}

#[tokio::test]
async fn dockers_configuration_and_the_systems_certificates_are_honoured() {
    let certificate = Certificate::make();
    let registry = DockerRegistry::start_with(&Setup {
        login: Some(("ann", "password")),
        certificate: Some(&certificate),
    });
    let base = format!("https://{}", registry.base("acme"));
    let authority = certificate.authority.to_str().unwrap();
    let host = registry.address.to_string();
    // base64 of "ann:password" and of "ann:nonsense"
    for (config, outcome) in [
        (
            serde_json::json!({"auths": {&host: {"auth": "YW5uOnBhc3N3b3Jk"}}}),
            "ok",
        ),
        (
            serde_json::json!({"auths": {&host: {"auth": "YW5uOm5vbnNlbnNl"}}}),
            "credential-refused",
        ),
        (
            serde_json::json!({"credHelpers": {&host: "waybill-test-none"}}),
            "credential-helper",
        ),
        (serde_json::json!({"auths": {}}), "credential-missing"),
    ] {
        let config = docker_config(&config);
        in_child(
            "child_that_asks",
            &[
                ("TEST_BASE", &base),
                ("TEST_OUTCOME", outcome),
                ("DOCKER_CONFIG", config.path().to_str().unwrap()),
                ("SSL_CERT_FILE", authority),
            ],
        );
    }
    let other = Certificate::make();
    in_child(
        "child_that_asks",
        &[
            ("TEST_BASE", &base),
            ("TEST_OUTCOME", "registry-unreachable"),
            ("DOCKER_CONFIG", "/nowhere"),
            ("SSL_CERT_FILE", other.authority.to_str().unwrap()),
        ],
    );
}

#[tokio::test]
async fn identity_tokens_are_exchanged() {
    let registry = TokenRegistry::start(false).await;
    let host = registry.base.trim_end_matches("/acme");
    let config =
        docker_config(&serde_json::json!({"auths": {host: {"identitytoken": "refresh-me"}}}));
    let base = registry.base.clone();
    let child = move || {
        in_child(
            "child_that_asks",
            &[
                ("TEST_BASE", &base),
                ("TEST_OUTCOME", "ok"),
                ("DOCKER_CONFIG", config.path().to_str().unwrap()),
            ],
        );
    };
    tokio::task::spawn_blocking(child).await.unwrap();
}

#[tokio::test]
async fn proxies_are_honoured_but_not_for_loopback() {
    let registry = Embedded::start().await;
    let proxy = Front::start(registry.address());
    proxy.add(Rule::on("GET", "/tags/list").does(Fault::answer(200, "", "{\"tags\":[]}")));
    let (proxy_address, base) = (format!("http://{}", proxy.address), registry.base("acme"));
    let child = move || {
        for base in [base.as_str(), "http://registry.invalid/acme"] {
            in_child(
                "child_that_asks",
                &[
                    ("TEST_BASE", base),
                    ("TEST_OUTCOME", "ok"),
                    ("DOCKER_CONFIG", "/nowhere"),
                    ("HTTP_PROXY", &proxy_address),
                    ("http_proxy", &proxy_address),
                ],
            );
        }
    };
    tokio::task::spawn_blocking(child).await.unwrap();
    let paths: Vec<String> = proxy.log().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths.len(), 1, "{paths:?}");
}

// The embedded registry.

#[tokio::test]
async fn uploads_follow_the_protocol() {
    let registry = Embedded::start().await;
    waybill::registry::install_tls();
    let http = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()
        .unwrap();
    let root = format!("http://{}", registry.address());
    let start = async || {
        let opened = http
            .post(format!("{root}/v2/a/blobs/uploads/"))
            .send()
            .await
            .unwrap();
        assert_eq!(opened.status(), 202);
        format!("{root}{}", opened.headers()["location"].to_str().unwrap())
    };
    let digest = Digest::of(b"hello world");
    // In parts.
    let place = start().await;
    let part = |range: &'static str, content: &'static str| {
        http.patch(&place)
            .header("content-range", range)
            .body(content)
            .send()
    };
    let answer = part("0-5", "hello ").await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["range"]),
        (202, &"0-5".parse().unwrap())
    );
    assert_eq!(part("7-9", "wor").await.unwrap().status(), 416);
    let state = http.get(&place).send().await.unwrap();
    assert_eq!(
        (state.status().as_u16(), &state.headers()["range"]),
        (204, &"0-5".parse().unwrap())
    );
    let done = http
        .put(format!("{place}?digest={digest}"))
        .body("world")
        .send()
        .await
        .unwrap();
    assert_eq!(done.status(), 201);
    assert_eq!(
        done.headers()["docker-content-digest"],
        digest.to_string().as_str()
    );
    assert_eq!(http.get(&place).send().await.unwrap().status(), 404);
    // Parts of it can be read.
    let blob = format!("{root}/v2/a/blobs/{digest}");
    let part = http
        .get(&blob)
        .header("range", "bytes=6-8")
        .send()
        .await
        .unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-range"], "bytes 6-8/11");
    assert_eq!(part.text().await.unwrap(), "wor");
    // A wrong digest, and then nothing is left of it.
    let place = start().await;
    let wrong = http
        .put(format!("{place}?digest={}", Digest::of(b"x")))
        .body("y")
        .send()
        .await;
    assert_eq!(wrong.unwrap().status(), 400);
    assert_eq!(http.get(&place).send().await.unwrap().status(), 404);
    // Given up; of another repository; mounted; in one request.
    let place = start().await;
    assert_eq!(
        http.get(place.replace("/v2/a/", "/v2/b/"))
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
    assert_eq!(http.delete(&place).send().await.unwrap().status(), 204);
    assert_eq!(http.delete(&place).send().await.unwrap().status(), 404);
    let post = |query: String| http.post(format!("{root}/v2/b/blobs/uploads/?{query}"));
    let mount = |digest: &Digest| post(format!("mount={digest}&from=a")).send();
    assert_eq!(mount(&digest).await.unwrap().status(), 201);
    assert_eq!(mount(&Digest::of(b"none")).await.unwrap().status(), 202);
    let whole = post(format!("digest={}", Digest::of(b"whole")))
        .body("whole")
        .send()
        .await;
    assert_eq!(whole.unwrap().status(), 201);
    let wrong = post(format!("digest={}", Digest::of(b"whole")))
        .body("half")
        .send()
        .await;
    assert_eq!(wrong.unwrap().status(), 400);
    // Nothing is left behind.
    registry.server.stop().await;
    let left = std::fs::read_dir(registry.directory.path().join("uploads"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn an_embedded_registry_that_vanished_or_is_damaged_does_not_look_empty() {
    let registry = Embedded::start().await;
    let client = client(&registry.base("acme"));
    let digest = put(&client, "api", "t", b"x").await;
    let manifests = registry
        .directory
        .path()
        .join("repositories/acme+api/manifests");
    std::fs::write(manifests.join(digest.hex()), "type\n{}").unwrap();
    assert_eq!(
        client.manifest("api", "t").await.unwrap_err().code(),
        "registry-refused"
    );
    assert_eq!(
        client.digest_of("api", "t").await.unwrap_err().code(),
        "registry-refused"
    );
    std::fs::remove_dir_all(registry.directory.path()).unwrap();
    for error in [
        client.manifest("api", "t").await.unwrap_err(),
        client.tags("api").await.unwrap_err(),
        client.blob("api", &digest, 9).await.unwrap_err(),
        client
            .put_manifest("api", "t", OCI_MANIFEST, manifest_of(b"x"))
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.code(), "registry-refused", "{error}");
    }
}

#[tokio::test]
async fn a_directory_of_another_kind_is_not_served() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("notes.txt"), "mine").unwrap();
    let error = embedded::serve(directory.path(), "127.0.0.1:0".parse().unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.problems()[0].code, "embedded-store");
    assert_eq!(error.class(), Class::Unreachable);
    let files: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert!(files.len() <= 2, "nothing was laid out: {files:?}");
}

#[test]
#[ignore = "run by other tests, with an environment"]
fn child_that_serves() {
    let directory = std::env::var("TEST_DIRECTORY").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let server = serve(Path::new(&directory)).await;
        let file = std::env::var("TEST_ADDRESS_FILE").unwrap();
        std::fs::write(format!("{file}.new"), server.address().to_string()).unwrap();
        std::fs::rename(format!("{file}.new"), file).unwrap();
        std::future::pending::<()>().await;
    });
}

/// Another process that serves a directory. Killed when dropped.
struct Process {
    child: std::process::Child,
    address: SocketAddr,
}

impl Process {
    fn serve(directory: &Path) -> Self {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("address");
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "registry::child_that_serves", "--ignored"])
            .env("TEST_DIRECTORY", directory)
            .env("TEST_ADDRESS_FILE", &file)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        let address = loop {
            if let Ok(text) = std::fs::read_to_string(&file) {
                break text.parse().unwrap();
            }
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "the child does not serve"
            );
            std::thread::sleep(Duration::from_millis(10));
        };
        Self { child, address }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_serve_one_directory() {
    let directory = tempfile::tempdir().unwrap();
    // Made by whichever comes first.
    let path = directory.path().join("new");
    let processes: Vec<Process> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| Process::serve(&path)))
            .collect();
        starts
            .into_iter()
            .map(|start| start.join().unwrap())
            .collect()
    });
    let clients: Vec<Client> = processes
        .iter()
        .map(|process| client(&format!("{}/acme", process.address)))
        .collect();
    let writers = clients.iter().enumerate().map(|(own, client)| async move {
        for number in 0..20 {
            put(client, "api", &format!("t-{own}-{number}"), b"same").await;
            put(
                client,
                "api",
                "contended",
                if own == 0 { b"one" } else { b"two" },
            )
            .await;
            assert!(client.manifest("api", "contended").await.unwrap().is_some());
        }
    });
    futures_util::future::join_all(writers).await;
    let tags = clients[0].tags("api").await.unwrap();
    assert_eq!(tags.len(), 61);
    for client in &clients {
        assert_eq!(
            client.tags("api").await.unwrap(),
            tags,
            "nobody sees anything old"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_leaves_nothing_half_done() {
    let directory = tempfile::tempdir().unwrap();
    for last_request in [3, 6, 7, 8, 9, 30] {
        let process = Process::serve(directory.path());
        let front = Front::start(process.address);
        let process = Arc::new(Mutex::new(process));
        front.on_request(Arc::new(move |number, _| {
            if number == last_request {
                // While the request is on its way, so that either may come first.
                let process = Arc::clone(&process);
                std::thread::spawn(move || process.lock().unwrap().child.kill());
            }
        }));
        let acknowledged = write_until_it_fails(&client(&front.base("acme"))).await;
        let server = serve(directory.path()).await;
        let client = self::client(&format!("{}/acme", server.address()));
        let tags = client.tags("api").await.unwrap();
        assert!(
            acknowledged.iter().all(|tag| tags.contains(tag)),
            "{acknowledged:?} {tags:?}"
        );
        for tag in tags {
            let manifest = client.manifest("api", &tag).await.unwrap().unwrap();
            assert_eq!(manifest.bytes, manifest_of(tag.as_bytes()));
            let blob = client
                .blob("api", &Digest::of(tag.as_bytes()), 100)
                .await
                .unwrap();
            assert_eq!(blob.unwrap(), tag.as_bytes());
        }
    }
}

/// Puts manifests under ever new tags; returns those that were acknowledged.
async fn write_until_it_fails(client: &Client) -> Vec<String> {
    let mut acknowledged = Vec::new();
    loop {
        let tag = format!(
            "t-{}-{}",
            client.base().host().replace(':', "-"),
            acknowledged.len()
        );
        let blob = Bytes::from(tag.clone().into_bytes());
        let manifest = manifest_of(&blob);
        if client.put_blob("api", blob).await.is_err()
            || client
                .put_manifest("api", &tag, OCI_MANIFEST, manifest)
                .await
                .is_err()
        {
            return acknowledged;
        }
        acknowledged.push(tag);
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_and_skopeo_push_and_pull() {
    let registry = Embedded::start().await;
    let base = registry.base("acme");
    let image = format!("{base}/team/web:t");
    let place = tempfile::tempdir().unwrap();
    // Content that compresses badly, and that no other run has.
    let noise: Vec<u8> = (0..200_000_u64)
        .flat_map(|number| {
            (number ^ u64::from(registry.address().port()))
                .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                .to_le_bytes()
        })
        .collect();
    std::fs::write(place.path().join("noise"), noise).unwrap();
    let archive = place.path().join("image.tar");
    let archive = archive.to_str().unwrap();
    run(
        "tar",
        &[
            "-C",
            place.path().to_str().unwrap(),
            "-cf",
            archive,
            "noise",
        ],
    );
    let id = run("docker", &["import", archive, &image]);
    run("docker", &["push", &image]);
    run("docker", &["image", "rm", &image]);
    run("docker", &["pull", &image]);
    let pulled = run("docker", &["image", "inspect", "-f", "{{.Id}}", &image]);
    run("docker", &["image", "rm", &image]);
    assert_eq!(pulled, id);

    let there = format!("docker://{image}");
    let copy = format!("docker://{base}/copy/web:t");
    let insecure = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    run("skopeo", &["copy", insecure[0], insecure[1], &there, &copy]);
    let client = client(&base);
    let digests = (
        client.digest_of("team/web", "t").await,
        client.digest_of("copy/web", "t").await,
    );
    assert_eq!(digests.0.unwrap().unwrap(), digests.1.unwrap().unwrap());
    let layout = format!("dir:{}", place.path().join("copy").display());
    run("skopeo", &["copy", insecure[0], &copy, &layout]);
}

#[test]
fn errors_say_what_to_do() {
    let error = "Acme".parse::<Base>().unwrap_err();
    assert!(matches!(error, RegistryError::InvalidBase { .. }));
    assert_eq!(error.problems()[0].code, "invalid-registry");
    assert_eq!(error.class(), Class::Usage);
    assert!(error.problems()[0].hint.is_some());
}
