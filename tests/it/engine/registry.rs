//! Pushing to a registry, pulling from it, and using the layer cache in it.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;

use waybill::build::engine::BuildEvent;
use waybill::build::tar::ContextStream;
use waybill::model::Platform;
use waybill::problem::{Class, Diagnose};
use waybill::registry::{Client, Credential, Credentials, Options, Put, Secret};

use super::{Tag, build, context, docker, engine, nothing_more};
use crate::front::{Fault, Front, Rule, Seen};
use crate::program::output;
use crate::servers::{DockerRegistry, Setup};

const USER: &str = "tester";

const PASSWORD: &str = "correct-horse";

/// A registry, for anyone or for the one user.
fn registry(auth: bool) -> DockerRegistry {
    DockerRegistry::start_with(&Setup {
        login: auth.then_some((USER, PASSWORD)),
        ..Setup::default()
    })
}

fn login(password: &str) -> Credential {
    Credential::Basic {
        user: USER.into(),
        password: Secret::new(password),
    }
}

fn skopeo(args: &[&str]) -> String {
    output("skopeo", &[&["inspect"], args].concat())
}

#[tokio::test]
async fn a_push_returns_the_registrys_digest() {
    let (engine, tag, registry) = (engine().await, Tag::new(), registry(false));
    let mut request = tag.build();
    // An image like no other test's, which would be one with this in the engine's store, with all
    // the names that it was pushed under.
    request.labels.insert("test".into(), tag.0.clone());
    build(&engine, &request, context("", nothing_more))
        .await
        .0
        .unwrap();
    let remote = Tag(format!("{}/some/name:v1", registry.address));
    assert_eq!(engine.look_up(&remote.0, None).await.unwrap(), None);
    engine.tag(&tag.0, &remote.0).await.unwrap();
    let events = Mutex::new(Vec::new());
    let listener = |event| events.lock().unwrap().push(event);
    let digest = engine.push(&remote.0, None, &listener).await.unwrap();
    let image = format!("docker://{}", remote.0);
    let held = skopeo(&["--tls-verify=false", "--format", "{{.Digest}}", &image]);
    assert_eq!(digest.to_string(), held);
    let found = engine.look_up(&remote.0, None).await.unwrap().unwrap();
    assert_eq!(
        (found.digest, found.platforms),
        (digest, vec![Platform::default()])
    );
    let events = events.into_inner().unwrap();
    assert!(
        events
            .iter()
            .any(|event| event.layer.is_some() && event.total.is_some()),
        "{events:?}"
    );
    let info = engine.inspect(&remote.0).await.unwrap().unwrap();
    assert_eq!(
        info.repo_digests,
        [format!("{}/some/name@{digest}", registry.address)]
    );
    engine.remove(&remote.0).await.unwrap();
    assert_eq!(engine.inspect(&remote.0).await.unwrap(), None);
    assert!(
        engine.inspect(&tag.0).await.unwrap().is_some(),
        "only the name went"
    );
    engine.remove(&remote.0).await.unwrap();
}

#[tokio::test]
async fn a_registry_that_the_engine_does_not_reach_is_said_so() {
    let error = engine()
        .await
        .look_up("127.0.0.1:1/x:y", None)
        .await
        .unwrap_err();
    assert_eq!(
        (error.class(), error.problems()[0].code),
        (Class::Unreachable, "engine-remote")
    );
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn a_push_that_is_refused_names_what_and_never_shows_the_password() {
    let (engine, tag, registry) = (engine().await, Tag::new(), registry(true));
    build(&engine, &tag.build(), context("", nothing_more))
        .await
        .0
        .unwrap();
    let remote = Tag(format!("{}/name:v1", registry.address));
    engine.tag(&tag.0, &remote.0).await.unwrap();
    for login in [None, Some(login("wrong-horse"))] {
        let error = engine
            .push(&remote.0, login.as_ref(), &|_| ())
            .await
            .unwrap_err();
        assert_eq!(error.problems()[0].code, "push-failed");
        assert!(error.to_string().contains(&remote.0), "{error}");
        assert!(!format!("{error:?}{login:?}").contains("wrong-horse"));
    }
    engine
        .push(&remote.0, Some(&login(PASSWORD)), &|_| ())
        .await
        .unwrap();
    let absent = format!("{}/name:absent", registry.address);
    let error = engine
        .push(&absent, Some(&login(PASSWORD)), &|_| ())
        .await
        .unwrap_err();
    assert_eq!(error.problems()[0].code, "push-failed", "{error}");
}

/// An identity token is shown to the token server alone, in a form (distribution's "Token Refresh
/// using OAuth 2.0"); a password would come in a header of a GET.
#[tokio::test]
async fn an_identity_token_goes_to_the_registrys_token_server() {
    let (engine, tag, registry) = (engine().await, Tag::new(), registry(false));
    build(&engine, &tag.build(), context("", nothing_more))
        .await
        .0
        .unwrap();
    let front = Front::start(registry.address);
    let token = front.base("token");
    let realm = format!("Bearer realm=\"http://{token}\",service=\"s\"");
    let asks = Fault::error(401, "UNAUTHORIZED", "who?").header("www-authenticate", &realm);
    front.add(Rule::on("GET", "^/v2/$").does(asks));
    let token = r#"{"access_token": "access", "refresh_token": "next"}"#;
    let gives = Fault::answer(200, "application/json", token);
    front.add(Rule::on("POST", "^/token").does(gives));
    let remote = Tag(front.base("identity:v1"));
    engine.tag(&tag.0, &remote.0).await.unwrap();
    let identity = Credential::Identity(Secret::new("the-refresh-token"));
    let pushed = engine.push(&remote.0, Some(&identity), &|_| ()).await;
    let log = front.log();
    assert!(pushed.is_ok(), "{pushed:?}: {log:#?}");
    let asked = log.iter().filter(|seen| seen.path.starts_with("/token"));
    assert!(asked.clone().count() > 0, "the token server was not asked");
    assert!(asked.clone().all(|seen| seen.method == "POST"), "{log:?}");
    let authorized = |seen: &&Seen| {
        seen.headers
            .get("authorization")
            .is_some_and(|value| value == "Bearer access")
    };
    assert!(log.iter().filter(authorized).count() > 0, "{log:?}");
}

#[tokio::test]
async fn bases_are_pulled_with_the_credentials_of_their_registry() {
    let (engine, tag, registry) = (engine().await, Tag::new(), registry(true));
    let base = Tag(format!("{}/base:v1", registry.address));
    let mut request = tag.build();
    request.labels.insert("base".into(), tag.0.clone());
    build(&engine, &request, context("", nothing_more))
        .await
        .0
        .unwrap();
    engine.tag(&tag.0, &base.0).await.unwrap();
    let digest = engine
        .push(&base.0, Some(&login(PASSWORD)), &|_| ())
        .await
        .unwrap();
    engine.remove(&base.0).await.unwrap();
    engine.remove(&tag.0).await.unwrap();
    let from = format!(
        "FROM {}/base@{digest}\nRUN /bin/busybox true\n",
        registry.address
    );
    let on_base = || {
        let from = from.clone();
        ContextStream::spawn(move |tar| tar.bytes(b"Dockerfile", false, from.as_bytes()))
    };
    let mut request = tag.build();
    for logins in [vec![], vec![("elsewhere:1".to_owned(), login(PASSWORD))]] {
        request.logins = logins.into_iter().collect();
        let error = build(&engine, &request, on_base()).await.0.unwrap_err();
        assert_eq!(error.problems()[0].code, "build-failed", "{error}");
    }
    request.logins = [(registry.address.to_string(), login(PASSWORD))].into();
    build(&engine, &request, on_base()).await.0.unwrap();
}

#[tokio::test]
async fn an_inline_cache_is_exported_and_used() {
    let (engine, tag, registry) = (engine().await, Tag::new(), registry(false));
    let mark = tag.0.replace(':', "-");
    let dockerfile = format!("RUN /bin/busybox date > /{mark}\n");
    let remote = Tag(format!("{}/cached:v1", registry.address));
    let mut request = tag.build();
    (request.no_cache, request.inline_cache) = (false, true);
    let first = build(&engine, &request, context(&dockerfile, nothing_more))
        .await
        .0
        .unwrap();
    engine.tag(&tag.0, &remote.0).await.unwrap();
    engine.push(&remote.0, None, &|_| ()).await.unwrap();
    let config = skopeo(&[
        "--tls-verify=false",
        "--raw",
        "--config",
        &format!("docker://{}", remote.0),
    ]);
    assert!(config.contains("moby.buildkit.cache"), "{config}");
    engine.remove(&remote.0).await.unwrap();
    engine.remove(&tag.0).await.unwrap();
    forget_step(&mark);

    let cached = |events: &[BuildEvent]| {
        events.iter().any(|event| matches!(event, BuildEvent::Step(step) if step.cached && step.name.contains(&mark)))
    };
    let alone = Tag::new();
    let (result, _, events) =
        build(&engine, &alone.build(), context(&dockerfile, nothing_more)).await;
    assert_ne!(result.unwrap().id, first.id);
    assert!(!cached(&events));
    drop(alone);
    forget_step(&mark);
    request.cache_from = vec![remote.0.clone()];
    let (result, _, events) = build(&engine, &request, context(&dockerfile, nothing_more)).await;
    result.unwrap();
    assert!(cached(&events), "{events:#?}");
}

#[tokio::test]
async fn an_inline_cache_is_found_through_an_index() {
    let (engine, registry) = (engine().await, registry(false));
    let mark = Tag::new().0.replace(':', "-");
    let dockerfile = format!("RUN /bin/busybox date > /{mark}\n");
    let platforms: [Platform; 2] = ["linux/386", "linux/amd64"].map(|name| name.parse().unwrap());
    let request = |platform: &Platform, tag: &Tag| {
        let mut request = tag.build();
        request.platform = platform.clone();
        (request.no_cache, request.inline_cache) = (false, true);
        request
    };
    let mut images = BTreeMap::new();
    for platform in &platforms {
        let tag = Tag::new();
        let request = request(platform, &tag);
        let built = build(&engine, &request, context(&dockerfile, nothing_more)).await;
        built.0.unwrap();
        let architecture = &platform.architecture;
        let remote = Tag(format!("{}/cached:{architecture}", registry.address));
        engine.tag(&tag.0, &remote.0).await.unwrap();
        let digest = engine.push(&remote.0, None, &|_| ()).await.unwrap();
        images.insert(platform.clone(), digest);
    }
    let base = registry.address.to_string().parse().unwrap();
    let client = Client::new(base, Credentials::Anonymous, Options::default()).unwrap();
    let put = client.put_index("cached", "all", &images).await.unwrap();
    let Put::Done(index) = put else {
        panic!("{put:?}");
    };
    for platform in &platforms {
        forget_step(&mark);
        let tag = Tag::new();
        let mut request = request(platform, &tag);
        request.cache_from = vec![format!("{}/cached@{index}", registry.address)];
        let (result, _, events) =
            build(&engine, &request, context(&dockerfile, nothing_more)).await;
        result.unwrap();
        let is_cached = |event: &BuildEvent| matches!(event, BuildEvent::Step(step) if step.cached && step.name.contains(&mark));
        assert!(events.iter().any(is_cached), "{platform}: {events:#?}");
    }
}

/// Removes the steps whose command holds `mark` from the engine's own build cache.
fn forget_step(mark: &str) {
    let socket = [
        "-s",
        "--unix-socket",
        "/var/run/docker.sock",
        "http://docker/system/df",
    ];
    let answer = Command::new("curl").args(socket).output().unwrap().stdout;
    let usage: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    let records = usage["BuildCache"].as_array().unwrap().iter();
    let marked =
        |record: &&serde_json::Value| record["Description"].as_str().unwrap().contains(mark);
    for record in records.filter(marked) {
        let filter = format!("id={}", record["ID"].as_str().unwrap());
        let out = docker(&["builder", "prune", "--all", "--force", "--filter", &filter]);
        assert!(out.contains("Deleted build cache objects"), "{out}");
    }
}
