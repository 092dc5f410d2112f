//! The client against ECR's ways.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use waybill::ledger::upkeep;
use waybill::model::Digest;
use waybill::problem::{Class, Diagnose as _};
use waybill::registry::{
    AwsAccess, Client, CopyOptions, Credentials, Kind, Options, Origin, Put, RegistryError, Secret,
};

use super::moto::REGION;
use super::service::{ACCESS_KEY, MOST_TAGS, SECRET_KEY, Service};
use crate::program::report;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn client(service: &Service) -> Client {
    client_waiting(service, Duration::from_millis(5))
}

/// A client that waits so long before it tries again, and longer each time.
fn client_waiting(service: &Service, base_delay: Duration) -> Client {
    let aws = AwsAccess {
        endpoint: format!("http://{}", service.address),
        access_key_id: ACCESS_KEY.into(),
        secret_access_key: Secret::new(SECRET_KEY),
    };
    let options = Options {
        base_delay,
        aws: Some(aws),
        ..Options::default()
    };
    let api = waybill::model::RegistryApi {
        region: Some(REGION.into()),
        ..Default::default()
    };
    let base = service.base().parse::<waybill::registry::Base>().unwrap();
    Client::new(base.with_api(&api), Credentials::Docker, options).unwrap()
}

/// A manifest with no layers, told apart by a number; its config is pushed.
async fn manifest(client: &Client, repository: &str, number: usize) -> Bytes {
    let config = Bytes::from("{}");
    let digest = client.put_blob(repository, config.clone()).await.unwrap();
    let text = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest,
            "size": config.len(),
        },
        "layers": [],
        "annotations": {"number": number.to_string()},
    });
    text.to_string().into()
}

/// Puts manifests past the service, so that no quota is in the way.
pub(super) async fn seed(service: &Service, repository: &str, tags: &[String]) -> Vec<Digest> {
    let base = service.registry.base("acme").parse().unwrap();
    let plain = Client::new(base, Credentials::Anonymous, Options::default()).unwrap();
    let mut digests = Vec::new();
    for (number, tag) in tags.iter().enumerate() {
        let bytes = manifest(&plain, repository, number).await;
        digests.push(Digest::of(&bytes));
        plain
            .put_manifest(repository, tag, MANIFEST, bytes)
            .await
            .unwrap();
    }
    digests
}

async fn made(client: &Client, repository: &str) {
    let made = client
        .make_repository(repository, upkeep::of(repository))
        .await;
    made.unwrap();
}

fn tags(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("cache-{number:04}"))
        .collect()
}

#[tokio::test]
async fn manifests_come_by_the_hundred_and_what_is_left_out_is_asked_for_again() {
    let service = Service::start();
    let client = client(&service);
    made(&client, "api").await;
    let stored = tags(230);
    let digests = seed(&service, "api", &stored).await;
    let asked: Vec<String> = stored
        .iter()
        .cloned()
        .chain(["in-none".to_owned()])
        .collect();
    service.forget_log();
    let found = client.manifests("api", &asked).await.unwrap();
    assert_eq!(service.count("BatchGetImage"), 3);
    assert_eq!(service.log().len(), 3, "{:?}", service.log());
    let expected: Vec<Digest> = found.values().map(|manifest| manifest.digest).collect();
    assert_eq!(expected, digests, "in the order of the tags");
    assert!(
        found
            .values()
            .all(|manifest| manifest.media_type == MANIFEST)
    );

    service.forget_log();
    service.behave(|ways| {
        ways.half_batches = 4;
        ways.throttled.insert("BatchGetImage".into(), 2);
    });
    assert_eq!(client.manifests("api", &asked).await.unwrap(), found);
    let batches = service.count("BatchGetImage");
    assert!((7..=12).contains(&batches), "{batches}");
    let requests = client.requests_by_kind();
    assert_eq!(requests.of(Kind::ManifestBatch), 3 + batches as u64);
}

#[tokio::test]
async fn only_ecrs_own_words_make_an_image_absent() {
    let service = Service::start();
    let client = client(&service);
    let asked = tags(3);
    assert!(
        client.manifests("api", &asked).await.unwrap().is_empty(),
        "no repository"
    );
    made(&client, "api").await;
    seed(&service, "api", &asked).await;
    assert!(client.manifest("api", &asked[0]).await.unwrap().is_some());
    // A repository that was read from does not cease to be.
    service.behave(|ways| ways.no_repositories = true);
    let error = client.manifests("api", &asked).await.unwrap_err();
    assert_eq!(
        (error.code(), error.class()),
        ("aws-refused", Class::Unreachable)
    );
    assert!(error.to_string().contains("RepositoryNotFound"), "{error}");
    let error = client.manifest("api", &asked[0]).await.unwrap_err();
    assert_eq!(error.code(), "repository-gone");
    service.behave(|ways| ways.no_repositories = false);
    for (code, expected) in [
        ("ImageInaccessible", "aws-refused"),
        ("KmsError", "aws-refused"),
    ] {
        service.behave(|ways| {
            ways.failing = [(asked[1].clone(), code.to_owned())].into();
        });
        let error = client.manifests("api", &asked).await.unwrap_err();
        assert_eq!(error.code(), expected);
        assert!(error.to_string().contains(code), "{error}");
    }
    service.behave(|ways| {
        ways.failing = [(asked[1].clone(), "UpstreamTooManyRequests".to_owned())].into();
    });
    let error = client.manifests("api", &asked).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::Throttled { .. }),
        "{error:?}"
    );
    service.behave(|ways| {
        ways.failing.clear();
        ways.altered.insert(asked[2].clone());
    });
    let error = client.manifests("api", &asked).await.unwrap_err();
    assert!(matches!(error, RegistryError::Corrupt { .. }), "{error:?}");
    service.behave(|ways| {
        ways.altered.clear();
        ways.throttled.insert("BatchGetImage".into(), 100);
    });
    let error = client.manifests("api", &asked).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::Throttled { .. }),
        "{error:?}"
    );
    service.behave(|ways| {
        ways.throttled.clear();
        ways.denied.insert("BatchGetImage".into());
    });
    let error = client.manifests("api", &asked).await.unwrap_err();
    assert_eq!(
        (error.code(), error.class()),
        ("aws-refused", Class::Unreachable)
    );
}

#[tokio::test]
async fn a_token_that_ends_is_replaced_before_and_after_its_end() {
    for status in [401, 403] {
        let service = Service::start();
        service.behave(|ways| {
            ways.token_uses = 5;
            ways.expired_status = status;
        });
        let client = client(&service);
        made(&client, "api").await;
        for number in 0..8 {
            let bytes = manifest(&client, "api", number).await;
            client
                .put_manifest("api", &format!("in-{number}"), MANIFEST, bytes)
                .await
                .unwrap();
        }
        let (tokens, asked) = (
            service.tokens().len(),
            service.count("GetAuthorizationToken"),
        );
        assert!(tokens > 2 && tokens == asked, "{tokens} {asked}");
    }
    let service = Service::start();
    service.behave(|ways| ways.token_lifetime = Duration::from_secs(2));
    let client = client(&service);
    made(&client, "api").await;
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(2500) {
        assert_eq!(client.manifest("api", "in-none").await.unwrap(), None);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(service.count("GetAuthorizationToken"), 2);
    assert!(
        service
            .log()
            .iter()
            .all(|seen| seen.status != 401 && seen.status != 403)
    );
    // Of the two, one has come to its end.
    let mut answers: Vec<(u16, String)> = service
        .tokens()
        .iter()
        .map(|token| service.show(token))
        .collect();
    answers.sort();
    let expired = "Your authorization token has expired. Reauthenticate and try again.";
    assert_eq!((answers[0].0, answers[1].0), (200, 403), "{answers:?}");
    assert!(answers[1].1.contains(expired), "{answers:?}");
}

/// A new token that is refused too ends it.
#[tokio::test]
async fn a_token_that_is_never_good_is_an_error_and_not_shown() {
    let service = Service::start();
    service.behave(|ways| {
        ways.token_uses = 0;
        ways.expired_words = "authorization token has expired: {token}".into();
    });
    let client = client(&service);
    let error = client.manifest("api", "in-none").await.unwrap_err();
    assert_eq!(
        (error.code(), error.class()),
        ("credential-refused", Class::Unreachable)
    );
    assert_eq!(service.tokens().len(), 2, "one more try");
    let text = error.to_string();
    assert!(text.contains("has expired: [secret]"), "{text}");
    assert!(
        service.tokens().iter().all(|token| !text.contains(token)),
        "{text}"
    );
}

#[tokio::test]
async fn manifests_are_put_within_the_quota() {
    let service = Service::start();
    let client = client_waiting(&service, Duration::from_millis(150));
    made(&client, "api").await;
    let bytes = manifest(&client, "api", 0).await;
    let started = Instant::now();
    let puts = (0..25).map(|number| {
        let (client, bytes) = (client.clone(), bytes.clone());
        async move {
            let tag = format!("in-{number}");
            client.put_manifest("api", &tag, MANIFEST, bytes).await
        }
    });
    for put in futures_util::future::join_all(puts).await {
        assert!(matches!(put, Ok(Put::Done(_))), "{put:?}");
    }
    let (took, refused) = (started.elapsed(), service.log());
    let refused = refused.iter().filter(|seen| seen.status == 429).count();
    report(&format!(
        "25 manifests were put in {took:?}, {refused} refused as too fast"
    ));
    assert!(took >= Duration::from_millis(2_400), "{took:?}");
    assert!(refused <= 1, "{refused}");
    service.behave(|ways| ways.puts = 2);
    let put = client.put_manifest("api", "in-last", MANIFEST, bytes).await;
    assert!(
        matches!(put, Ok(Put::Done(_))),
        "what is refused is tried again: {put:?}"
    );
}

#[tokio::test]
async fn tags_that_stand_are_not_moved_and_those_that_move_are() {
    let service = Service::start();
    let client = client(&service);
    made(&client, "api").await;
    let (first, second) = (
        manifest(&client, "api", 1).await,
        manifest(&client, "api", 2).await,
    );
    let put = |tag: &'static str, bytes: &Bytes| {
        let (client, bytes) = (client.clone(), bytes.clone());
        async move {
            client
                .put_manifest("api", tag, MANIFEST, bytes)
                .await
                .unwrap()
        }
    };
    let done = |bytes: &Bytes| Put::Done(Digest::of(bytes));
    assert_eq!(put("in-1", &first).await, done(&first));
    assert_eq!(put("in-1", &second).await, Put::TagStands);
    assert_eq!(put("in-1", &first).await, done(&first), "a rerun of a push");
    for tag in [
        "cache-1",
        "stage-1-a",
        "next-prod",
        "live-prod",
        "prev-prod",
    ] {
        assert_eq!(put(tag, &first).await, done(&first));
        assert_eq!(put(tag, &second).await, done(&second), "{tag}");
    }
}

#[tokio::test]
async fn one_tag_too_many_is_told_so() {
    let service = Service::start();
    let client = client(&service);
    made(&client, "api").await;
    let bytes = manifest(&client, "api", 0).await;
    let digest = Digest::of(&bytes).to_string();
    service.learn("acme/api", tags(MOST_TAGS - 1), &digest);
    let put = |tag: &'static str| client.put_manifest("api", tag, MANIFEST, bytes.clone());
    assert!(matches!(put("in-1000").await, Ok(Put::Done(_))));
    let error = put("in-1001").await.unwrap_err();
    assert_eq!(
        (error.code(), error.class()),
        ("tag-limit", Class::Unreachable)
    );
    let problem = error.problems().remove(0);
    assert!(
        problem.message.contains("LimitExceededException"),
        "{problem:?}"
    );
    assert!(problem.hint.unwrap().contains("1,000 tags"));
    assert!(
        matches!(put("in-1000").await, Ok(Put::Done(_))),
        "one that it has"
    );
}

#[tokio::test]
async fn a_refused_push_says_what_to_allow_or_which_limit_is_reached() {
    let service = Service::start();
    let client = client(&service);
    made(&client, "api").await;
    let bytes = manifest(&client, "api", 0).await;
    let put = || client.put_manifest("api", "in-1", MANIFEST, bytes.clone());
    service.behave(|ways| ways.full = true);
    let problem = put().await.unwrap_err().problems().remove(0);
    assert_eq!(problem.code, "repository-limit");
    assert!(problem.hint.unwrap().contains("100,000 images"));
    service.behave(|ways| {
        ways.full = false;
        ways.denied.insert("PutImage".into());
    });
    let problem = put().await.unwrap_err().problems().remove(0);
    assert_eq!(problem.code, "credential-refused");
    let hint = problem.hint.unwrap();
    assert!(hint.starts_with("allow ecr:PutImage to"), "{hint}");
    service.behave(|ways| {
        ways.denied.insert("BatchGetImage".into());
    });
    let error = client.manifests("api", &tags(1)).await.unwrap_err();
    let hint = error.problems().remove(0).hint.unwrap();
    assert!(hint.starts_with("allow ecr:BatchGetImage to"), "{hint}");
}

/// Who reads an image of the base's own registry has the base's credential, and who said that it
/// is to be spoken to by the OCI protocol alone has none of AWS's.
#[tokio::test]
async fn the_credential_of_the_bases_registry_serves_its_other_images() {
    let service = Service::start();
    let own = client(&service);
    made(&own, "tools").await;
    seed(&service, "tools", &tags(1)).await;
    let image = format!("{}/acme/tools:{}", service.address, tags(1)[0]);
    let image: waybill::registry::ImageReference = image.parse().unwrap();
    let reader = Client::new(
        image.registry().unwrap(),
        Credentials::Docker,
        Options::default(),
    );
    let tag = image.tag().unwrap();
    let found = reader.unwrap().digest_of(image.repository(), tag).await;
    assert!(found.unwrap().is_some());
    assert_eq!(service.count("BatchGetImage"), 0);
    let calls = service.count("GetAuthorizationToken");
    let alone = format!("oci://{}/acme", service.address).parse().unwrap();
    let alone = Client::new(alone, Credentials::Docker, Options::default()).unwrap();
    let error = alone.digest_of("tools", tag).await.unwrap_err();
    assert_eq!(error.code(), "credential-missing");
    assert!(alone.login().await.unwrap().is_none());
    assert_eq!(service.count("GetAuthorizationToken"), calls);
}

/// As a first push does, a copy makes the repository that it goes into.
#[tokio::test]
async fn a_copy_makes_its_repository() {
    let service = Service::start();
    let client = client(&service);
    made(&client, "api").await;
    let digest = seed(&service, "api", &tags(1)).await.remove(0);
    let origin = Origin {
        client: &client,
        repository: "api",
        digest,
    };
    let options = CopyOptions {
        tags: vec!["live-prod".to_owned()],
        upkeep: Some(*upkeep::of("shipped")),
        ..CopyOptions::default()
    };
    let without = CopyOptions {
        upkeep: None,
        ..options.clone()
    };
    let error = client.copy("shipped", origin, &without).await.unwrap_err();
    assert_eq!(error.code(), "registry-refused");
    let copied = client.copy("shipped", origin, &options).await.unwrap();
    assert_eq!(copied.digest, Some(digest));
    let live = client.digest_of("shipped", "live-prod").await.unwrap();
    assert_eq!(live, Some(digest));
    assert_eq!(service.count("PutLifecyclePolicy"), 2);
}

#[tokio::test]
async fn lists_are_followed_by_their_links_alone() {
    let service = Service::start();
    let client = client(&service);
    made(&client, "api").await;
    for count in [100, 250, 300] {
        seed(&service, "api", &tags(count)).await;
        service.forget_log();
        assert_eq!(client.tags("api").await.unwrap(), tags(count));
        assert_eq!(service.count("GET"), count.div_ceil(100), "{count}");
    }
    assert!(client.tags("none").await.unwrap().is_empty());
}

#[tokio::test]
async fn an_archived_image_is_absent_and_known_to_be_archived() {
    let service = Service::start();
    let client = client(&service);
    made(&client, "api").await;
    let digest = seed(&service, "api", &tags(1)).await.remove(0);
    let reference = digest.to_string();
    assert_eq!(
        client.digest_of("api", &reference).await.unwrap(),
        Some(digest)
    );
    assert!(!client.is_archived("api", &digest).await.unwrap());
    service.archive(&reference, true);
    assert_eq!(client.digest_of("api", &reference).await.unwrap(), None);
    assert!(client.manifests("api", &tags(1)).await.unwrap().is_empty());
    assert!(client.is_archived("api", &digest).await.unwrap());
    assert!(
        !client
            .is_archived("api", &Digest::of(b"none"))
            .await
            .unwrap()
    );
}
