//! Tokens for real: docker-registry believes what an issuer of the tests' own signs.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use waybill::ledger::{Ledger, Marker};
use waybill::model::Digest;
use waybill::registry::{Client, CopyOptions, Credentials, Kind, Origin};

use crate::front::{self, Fault, Front, Rule};
use crate::servers::{Certificate, DockerRegistry, Issuer, Setup, listen};
use crate::world::World;

use super::contents::round_trip;
use super::{OCI_MANIFEST, client, client_as, login, manifest_of, put};

/// A registry, and the server of its tokens: `ann` may do everything, `bob` may read, and so may
/// anyone where it is open.
struct Office {
    registry: DockerRegistry,
    desk: Arc<Desk>,
}

struct Desk {
    certificate: Certificate,
    open: bool,
    /// For how long a token is good; what is said of it is always five minutes.
    lifetime: Mutex<Duration>,
    /// An answer in place of tokens.
    instead: Mutex<Option<(u16, &'static str)>>,
    /// Who asked for which scopes.
    asked: Mutex<Vec<(String, Vec<String>)>>,
}

/// The registry takes tokens for so long after their end (distribution, `token.Leeway`).
const LEEWAY: u64 = 60;

impl Office {
    async fn start(open: bool) -> Self {
        let desk = Arc::new(Desk {
            certificate: Certificate::make(),
            open,
            lifetime: Mutex::new(Duration::from_secs(300)),
            instead: Mutex::default(),
            asked: Mutex::default(),
        });
        let router = axum::Router::new()
            .fallback(give)
            .with_state(Arc::clone(&desk));
        let address = listen(router).await;
        let issuer = Issuer {
            realm: &format!("http://{address}/token"),
            certificate: &desk.certificate,
        };
        let registry = DockerRegistry::start_with(&Setup {
            issuer: Some(&issuer),
            ..Setup::default()
        });
        Self { registry, desk }
    }

    fn client(&self, user: &str) -> Client {
        client_as(&self.registry.base("acme"), login(user, &password(user)))
    }

    /// From now on tokens are good for so many seconds.
    fn lasting(&self, seconds: u64) {
        *self.desk.lifetime.lock().unwrap() = Duration::from_secs(seconds);
    }

    /// Who asked for which scopes since this was last asked.
    fn asked(&self) -> Vec<(String, Vec<String>)> {
        std::mem::take(&mut *self.desk.asked.lock().unwrap())
    }
}

fn password(user: &str) -> String {
    format!("password-of-{user}")
}

async fn give(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    if let Some((status, body)) = *desk.instead.lock().unwrap() {
        return (StatusCode::from_u16(status).unwrap(), body).into_response();
    }
    let shown = request.headers().get("authorization");
    let shown = shown.map(|value| value.to_str().unwrap().to_owned());
    let basic = |user: &str| {
        let pair = format!("{user}:{}", password(user));
        format!("Basic {}", STANDARD.encode(pair))
    };
    let (user, allowed): (_, &[&str]) = match shown {
        Some(shown) if shown == basic("ann") => ("ann", &["pull", "push", "delete"]),
        Some(shown) if shown == basic("bob") => ("bob", &["pull"]),
        None if desk.open => ("", &["pull"]),
        _ => {
            let body = "{\"details\":\"incorrect username or password\"}";
            return (StatusCode::UNAUTHORIZED, body).into_response();
        }
    };
    let query = request.uri().query().unwrap_or_default();
    let query: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap();
    assert!(query.contains(&("service".into(), "the registry".into())));
    let scopes = query.into_iter().filter(|(name, _)| name == "scope");
    let scopes: Vec<String> = scopes.map(|(_, scope)| scope).collect();
    let access: Vec<Value> = scopes.iter().map(|scope| granted(scope, allowed)).collect();
    let who = (user.to_owned(), scopes);
    desk.asked.lock().unwrap().push(who);
    let token = desk.token(user, &access);
    format!("{{\"token\": \"{token}\", \"expires_in\": 300}}").into_response()
}

/// What a scope asks for, as far as it is allowed.
fn granted(scope: &str, allowed: &[&str]) -> Value {
    let (resource, actions) = scope.rsplit_once(':').unwrap();
    let (kind, name) = resource.split_once(':').unwrap();
    let actions = actions.split(',');
    let actions: Vec<&str> = actions.filter(|action| allowed.contains(action)).collect();
    json!({"type": kind, "name": name, "actions": actions})
}

impl Desk {
    /// A signed token (RFC 7515, 7519; distribution, "Token Authentication Implementation").
    fn token(&self, user: &str, access: &[Value]) -> String {
        let pem = std::fs::read_to_string(&self.certificate.authority).unwrap();
        let lines = pem.lines().filter(|line| !line.starts_with("-----"));
        let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [lines.collect::<String>()]});
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        let end = now.as_secs() + self.lifetime.lock().unwrap().as_secs() - LEEWAY;
        let claims = json!({
            "iss": "the tests", "sub": user, "aud": "the registry",
            "exp": end, "nbf": now.as_secs() - 600, "iat": now.as_secs() - 600,
            "jti": "1", "access": access,
        });
        let encoded = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let signature = self.sign(&signed);
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn sign(&self, text: &str) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("text");
        std::fs::write(&file, text).unwrap();
        let output = Command::new("openssl")
            .args(["dgst", "-sha256", "-sign"])
            .arg(&self.certificate.authority_key)
            .arg(&file)
            .output()
            .unwrap();
        assert!(output.status.success());
        output.stdout
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_of_tokens_keeps_what_it_is_given() {
    let office = Office::start(false).await;
    let ann = office.client("ann");
    round_trip(&ann).await;
    let mut asked: Vec<String> = office
        .asked()
        .into_iter()
        .map(|(user, scopes)| format!("{user}: {}", scopes.join(" ")))
        .collect();
    asked.sort();
    // One token for each repository and kind of access, and one for the ping.
    let expected = [
        "ann: ",
        "ann: repository:acme/none:pull",
        "ann: repository:acme/team/api:pull",
        "ann: repository:acme/team/api:pull,push",
    ];
    assert_eq!(asked, expected);
    let digest = ann.digest_of("team/api", "t1").await.unwrap().unwrap();
    assert!(ann.delete_manifest("team/api", &digest).await.unwrap());
    let asked = office.asked();
    assert_eq!(asked[0].1, ["repository:acme/team/api:delete"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_only_read_is_refused_to_write() {
    let office = Office::start(true).await;
    let ann = office.client("ann");
    let digest = put(&ann, "api", "t", b"x").await;
    let anyone = client(&office.registry.base("acme"));
    for (who, code) in [
        (office.client("bob"), "credential-refused"),
        (anyone, "credential-missing"),
    ] {
        assert_eq!(who.digest_of("api", "t").await.unwrap(), Some(digest));
        assert_eq!(who.tags("api").await.unwrap(), ["t"]);
        for error in [
            who.put_blob("api", "new".into()).await.unwrap_err(),
            who.put_manifest("api", "u", OCI_MANIFEST, manifest_of(b"x"))
                .await
                .unwrap_err(),
            who.delete_manifest("api", &digest).await.unwrap_err(),
        ] {
            assert_eq!(error.code(), code, "{error}");
            assert!(!format!("{error:?}").contains("password-of"), "{error:?}");
        }
    }
    assert_eq!(ann.tags("api").await.unwrap(), ["t"]);
    let new = ann.blob("api", &Digest::of(b"new"), 10).await;
    assert_eq!(new.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_is_refused_is_never_left_out() {
    // Anyone may read here, so that leaving it out would work.
    let office = Office::start(true).await;
    put(&office.client("ann"), "api", "t", b"x").await;
    office.asked();
    let wrong = client_as(
        &office.registry.base("acme"),
        login("ann", "wrong-password"),
    );
    for error in [
        wrong.ping().await.unwrap_err(),
        wrong.manifest("api", "t").await.unwrap_err(),
        wrong.tags("api").await.unwrap_err(),
    ] {
        assert_eq!(error.code(), "credential-refused", "{error}");
        assert!(error.to_string().contains("/token"), "{error}");
        assert!(
            !format!("{error:?}").contains("wrong-password"),
            "{error:?}"
        );
    }
    assert_eq!(office.asked(), [], "no token was given to anyone");
    let anyone = client(&office.registry.base("acme"));
    assert_eq!(anyone.tags("api").await.unwrap(), ["t"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_expire_on_the_way_are_replaced_once() {
    let office = Office::start(false).await;
    put(&office.client("ann"), "api", "t", b"x").await;
    office.lasting(1);
    office.asked();
    let ann = office.client("ann");
    let start = Instant::now();
    let readers = (0..8).map(|_| async {
        while start.elapsed() < Duration::from_secs(4) {
            assert!(ann.manifest("api", "t").await.unwrap().is_some());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    futures_util::future::join_all(readers).await;
    // Good for one or two seconds each (whole seconds count): one for all readers each time.
    let given = office.asked().len();
    assert!((3..=5).contains(&given), "{given}");
    assert!(ann.requests_by_kind().of(Kind::ManifestGet) > 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_request_outlives_its_token() {
    let office = Office::start(false).await;
    office.lasting(1);
    let (lists, puts_blobs, puts) = (
        office.client("ann"),
        office.client("ann"),
        office.client("ann"),
    );
    // Each has a token for what it is about to do.
    put(&puts_blobs, "api", "t", b"x").await;
    put(&puts, "api", "t", b"y").await;
    assert_eq!(lists.tags("api").await.unwrap(), ["t"]);
    office.asked();
    tokio::time::sleep(Duration::from_millis(2200)).await;
    assert_eq!(lists.tags("api").await.unwrap(), ["t"]);
    assert_eq!(office.asked().len(), 1);
    puts_blobs.put_blob("api", "z".into()).await.unwrap();
    assert_eq!(office.asked().len(), 1);
    let done = puts.put_manifest("api", "u", OCI_MANIFEST, manifest_of(b"y"));
    done.await.unwrap();
    assert_eq!(office.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_server_in_trouble_is_told_from_one_that_refuses() {
    let office = Office::start(true).await;
    put(&office.client("ann"), "api", "t", b"x").await;
    for (instead, code) in [
        ((500, "trouble"), "registry-refused"),
        ((429, ""), "registry-throttled"),
        ((200, "<html>"), "registry-corrupt"),
        ((200, "{}"), "registry-corrupt"),
        ((200, "{\"token\": \"\"}"), "registry-corrupt"),
        ((200, "{\"token\": \"made up\"}"), "credential-refused"),
        ((403, ""), "credential-refused"),
        ((404, ""), "registry-refused"),
    ] {
        *office.desk.instead.lock().unwrap() = Some(instead);
        let error = office.client("ann").manifest("api", "t").await.unwrap_err();
        assert_eq!(error.code(), code, "{instead:?}: {error}");
    }
    *office.desk.instead.lock().unwrap() = None;
    assert!(
        office
            .client("ann")
            .manifest("api", "t")
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_ask_for_both_repositories_and_outlive_an_expiry() {
    let office = Office::start(false).await;
    let ann = office.client("ann");
    let digest = put(&ann, "api", "t", b"x").await;
    office.asked();
    let target = client_as(
        &office.registry.base("prod"),
        login("ann", &password("ann")),
    );
    let origin = Origin {
        client: &ann,
        repository: "api",
        digest,
    };
    let copied = target
        .copy("api", origin, &CopyOptions::default())
        .await
        .unwrap();
    assert_eq!((copied.mounted, copied.streamed), (1, 0));
    let both = ["repository:prod/api:pull,push", "repository:acme/api:pull"];
    assert!(office.asked().iter().any(|(_, scopes)| *scopes == both));

    // To another registry, whose token ends while the blob is on its way.
    let there = Office::start(false).await;
    let front = Front::start(there.registry.address);
    let target = client_as(&front.base("acme"), login("ann", &password("ann")));
    target.ping().await.unwrap();
    there.lasting(1);
    let late = Rule::on("PUT", "/uploads/").nth(1);
    front.add(late.does(Fault::Delay(Duration::from_millis(2200))));
    let copied = target
        .copy("api", origin, &CopyOptions::default())
        .await
        .unwrap();
    assert_eq!((copied.digest, copied.streamed), (Some(digest), 1));
    assert_eq!(front.count("PUT", front::Kind::Upload), 2);
}

#[tokio::test]
async fn nobody_is_told_apart_from_somebody() {
    let office = Office::start(false).await;
    let nobody = client_as(&office.registry.base("acme"), Credentials::Anonymous);
    let error = nobody.manifest("api", "t").await.unwrap_err();
    assert_eq!(error.code(), "credential-missing", "{error}");
}

#[test]
fn a_build_outlives_the_end_of_its_tokens() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let office = runtime.block_on(Office::start(false));
    let front = Front::start(office.registry.address);
    let base = front.base("acme");
    let ann = |base: &str| client_as(base, login("ann", &password("ann")));
    let marker = Marker {
        id: "of tokens".to_owned(),
        upstream: false,
    };
    let made = Ledger::create(ann(&base), marker, "2026-01-01T00:00:00Z");
    runtime.block_on(made).unwrap();
    office.lasting(2);
    office.asked();
    front.add(Rule::on("*", ".").does(Fault::Delay(Duration::from_millis(150))));
    let world = World::shop();
    let done = world.run().base(base).through(ann).build();
    assert_eq!(done.built().len(), 5);
    let verdicts = done.verdicts();
    let are_built = verdicts
        .split(' ')
        .all(|verdict| verdict.ends_with("=built"));
    assert!(are_built, "{verdicts}: {:?}", done.report);
    // The same scope was asked for again, and nobody else's.
    let asked = office.asked();
    let again: BTreeSet<_> = asked.iter().map(|(_, scopes)| scopes).collect();
    assert!(again.len() < asked.len(), "{asked:?}");
    assert!(asked.iter().all(|(user, _)| user == "ann"));
}
