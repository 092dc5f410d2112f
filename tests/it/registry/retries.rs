//! What is worth another try, how long is waited, and what is said when nothing helps.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use waybill::problem::{Class, Diagnose as _};
use waybill::registry::{Base, Client, Credentials, Options};

use crate::front::{self, Fault, Front, Rule};

use super::{Embedded, OCI_MANIFEST, client, manifest_of, put, quick};

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
        (
            "reset in the body once",
            Fault::ResetBody(10),
            1,
            Outcome::Found(2),
        ),
        (
            "reset in the body always",
            Fault::ResetBody(10),
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

/// The faults are what they are called: an end is an end, and a reset is a reset, wherever it comes.
#[tokio::test]
async fn a_reset_is_told_from_an_end() {
    let registry = Embedded::start().await;
    put(&client(&registry.base("acme")), "api", "t", b"x").await;
    let front = Front::start(registry.address());
    let address = front.address;
    let ask = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let request = "GET /v2/acme/api/manifests/t HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer).map(|_| ());
        (answer, end.map_err(|error| error.kind()))
    };
    let reset = Err(ErrorKind::ConnectionReset);
    for (fault, expected, has_body) in [
        (Fault::Cut, Ok(()), false),
        (Fault::CutBody(10), Ok(()), true),
        (Fault::Reset, reset, false),
        (Fault::ResetBody(10), reset, true),
    ] {
        front.reset();
        front.add(Rule::on("GET", ".").does(fault.clone()));
        let (answer, end) = tokio::task::spawn_blocking(ask).await.unwrap();
        let text = String::from_utf8_lossy(&answer);
        assert_eq!(end, expected, "{fault:?}: {text:?}");
        assert_eq!(
            answer.ends_with(&manifest_of(b"x")[..10]),
            has_body,
            "{fault:?}: {text:?}"
        );
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
    for fault in [
        Fault::Delay(Duration::from_secs(30)),
        Fault::Stall(10),
        // Never silent for long, and never at an end.
        Fault::Trickle(Duration::from_millis(30)),
    ] {
        let silence = Rule::on("GET", "/manifests/").does(fault.clone());
        front.reset();
        front.add(silence.clone().times(1));
        let outcome = look_up_by(&client, &front).await;
        assert_eq!(outcome, Outcome::Found(2), "{fault:?}");
        front.reset();
        front.add(silence);
        let outcome = look_up_by(&client, &front).await;
        let expected = Outcome::Error("registry-unreachable", 5);
        assert_eq!(outcome, expected, "{fault:?}");
    }
}

#[tokio::test]
async fn patience_ends() {
    let registry = Embedded::start().await;
    let front = Front::start(registry.address());
    let again = Fault::status(429).header("retry-after", "1");
    front.add(Rule::on("GET", "/manifests/").does(again));
    let options = Options {
        attempts: 100,
        patience: Duration::from_millis(2500),
        ..quick()
    };
    let base: Base = front.base("acme").parse().unwrap();
    let client = Client::new(base, Credentials::Anonymous, options).unwrap();
    let start = Instant::now();
    let outcome = look_up_by(&client, &front).await;
    assert_eq!(outcome, Outcome::Error("registry-throttled", 3));
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn what_was_just_put_is_never_absent() {
    let registry = Embedded::start().await;
    let front = Front::start(registry.address());
    let own = client(&front.base("acme"));
    let digest = put(&own, "api", "t", b"x").await;
    let stranger = || client(&front.base("acme"));
    // One that knows of an engine's push is as one that has put it.
    let told = client(&front.base("acme"));
    told.note_push("api", "t");
    let unknown = || Fault::error(404, "MANIFEST_UNKNOWN", "");
    for (fault, times, outcome, of_others) in [
        (unknown(), 2, Outcome::Found(3), Outcome::Absent(1)),
        (
            unknown(),
            99,
            Outcome::Error("push-not-shown", 5),
            Outcome::Absent(1),
        ),
        (
            Fault::status(404),
            1,
            Outcome::Found(2),
            Outcome::Error("registry-refused", 1),
        ),
    ] {
        let expected = [
            (&own, outcome.clone()),
            (&told, outcome),
            (&stranger(), of_others),
        ];
        for (client, expected) in expected {
            front.reset();
            front.add(
                Rule::on("GET", "/manifests/")
                    .times(times)
                    .does(fault.clone()),
            );
            assert_eq!(
                look_up_by(client, &front).await,
                expected,
                "{fault:?} {times}"
            );
        }
    }
    // By HEAD too, and not for other tags.
    front.reset();
    front.add(Rule::on("HEAD", "/manifests/").does(Fault::status(404)));
    front.add(Rule::on("GET", "/manifests/").times(1).does(unknown()));
    assert_eq!(own.digest_of("api", "t").await.unwrap(), Some(digest));
    assert_eq!(own.manifest("api", "other").await.unwrap(), None);
}

#[tokio::test]
async fn parts_that_were_just_put_are_waited_for() {
    let registry = Embedded::start().await;
    let front = Front::start(registry.address());
    let bytes = manifest_of(b"x");
    for code in [
        "MANIFEST_BLOB_UNKNOWN",
        "BLOB_UNKNOWN",
        "MANIFEST_UNKNOWN",
        "DIGEST_INVALID",
    ] {
        front.reset();
        let own = client(&front.base("acme"));
        own.put_blob("api", "x".into()).await.unwrap();
        let missing = Rule::on("PUT", "/manifests/").does(Fault::error(404, code, ""));
        front.add(missing.clone().times(2));
        let done = own.put_manifest("api", "t", OCI_MANIFEST, bytes.clone());
        assert!(done.await.is_ok(), "{code}");
        front.reset();
        front.add(missing);
        let done = own.put_manifest("api", "t", OCI_MANIFEST, bytes.clone());
        assert_eq!(done.await.unwrap_err().code(), "registry-refused");
        assert_eq!(front.count("PUT", front::Kind::Manifest), 5);
        // One that put nothing there has nothing to wait for.
        let stranger = client(&front.base("acme"));
        let done = stranger.put_manifest("api", "t", OCI_MANIFEST, bytes.clone());
        assert_eq!(done.await.unwrap_err().code(), "registry-refused");
        assert_eq!(front.count("PUT", front::Kind::Manifest), 6);
    }
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
async fn no_more_requests_than_allowed_are_under_way() {
    let registry = Embedded::start().await;
    let front = Front::start(registry.address());
    front.add(Rule::on("*", "").does(Fault::Delay(Duration::from_millis(100))));
    let options = Options {
        concurrency: Some(2),
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
    let refusing = crate::servers::Refusing::new();
    let address = refusing.address;
    let error = client(&format!("{address}/acme")).ping().await.unwrap_err();
    assert_eq!(error.code(), "registry-unreachable");
    let text = error.to_string();
    assert!(
        text.contains(&format!("GET http://{address}/v2/")) && text.contains("refused"),
        "{text}"
    );
}
