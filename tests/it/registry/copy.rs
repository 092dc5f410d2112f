//! Images copied by digest: between registries, within one, past faults, with and without what
//! stands beside them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use waybill::model::Digest;
use waybill::registry::{
    Base, Client, Copied, CopyOptions, Credentials, Extras, Kind, Options, Origin, RegistryError,
};

use crate::front::{self, Fault, Front, Rule};
use crate::program::output;
use crate::servers::DockerRegistry;

use super::environment::in_child;
use super::shipment::{OCI_INDEX, Shipment, descriptor, noise, put_image, put_json, ship};
use super::{Embedded, OCI_MANIFEST, client, quick};

/// The usual copy.
async fn copy(target: &Client, origin: Origin<'_>) -> Result<Copied, RegistryError> {
    target.copy("api", origin, &tagged("t")).await
}

fn tagged(tag: &str) -> CopyOptions {
    CopyOptions {
        tags: vec![tag.to_owned()],
        ..CopyOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_keeps_every_digest_between_two_registries() {
    let (from, to) = (DockerRegistry::start(), DockerRegistry::start());
    let (source, target) = (client(&from.base("acme")), client(&to.base("prod/eu")));
    let shipment = ship(&source, "api", "t").await;
    let before = target.requests();
    let copied = target
        .copy("shop/api", shipment.at(&source, "api"), &tagged("live"))
        .await
        .unwrap();
    let expected = Copied {
        digest: Some(shipment.index),
        manifests: 4,
        streamed: 7,
        bytes: copied.bytes,
        ..Copied::default()
    };
    assert_eq!(copied, expected);
    assert!(copied.bytes > 3_000_000 && target.requests() - before < 40);

    let raw = |address: &str, name: &str| {
        let image = format!("docker://{address}/{name}");
        output(
            "skopeo",
            &["inspect", "--raw", "--tls-verify=false", &image],
        )
    };
    let (there, here) = (from.address.to_string(), to.address.to_string());
    assert_eq!(
        raw(&there, "acme/api:t"),
        raw(&here, "prod/eu/shop/api:live")
    );
    for digest in shipment.children.iter().chain([&shipment.index]) {
        let copy = raw(&here, &format!("prod/eu/shop/api@{digest}"));
        assert_eq!(raw(&there, &format!("acme/api@{digest}")), copy);
        assert_eq!(Digest::of(copy.as_bytes()), *digest);
    }
    shipment.check(&target, "shop/api").await;

    // A second time: everything stands.
    let copied = target
        .copy("shop/api", shipment.at(&source, "api"), &tagged("live"))
        .await
        .unwrap();
    assert_eq!((copied.present, copied.streamed), (7, 0));
}

#[tokio::test]
async fn blobs_are_mounted_within_a_registry() {
    let (docker, embedded) = (DockerRegistry::start(), Embedded::start().await);
    for host in [docker.address, embedded.address()] {
        let source = client(&format!("{host}/acme"));
        // Another client, as another base has.
        let target = client(&format!("{host}/prod"));
        let shipment = ship(&source, "api", "t").await;
        let read = source.requests_by_kind().of(Kind::BlobGet);
        let copied = target
            .copy("api", shipment.at(&source, "api"), &tagged("t"))
            .await
            .unwrap();
        // In the embedded registry all repositories share their blobs.
        assert_eq!((copied.mounted + copied.present, copied.streamed), (7, 0));
        assert_eq!(source.requests_by_kind().of(Kind::BlobGet), read);
        shipment.check(&target, "api").await;
        // The same client on both sides, one request at a time.
        let options = Options {
            concurrency: Some(1),
            ..quick()
        };
        let base: Base = format!("{host}/acme").parse().unwrap();
        let one = Client::new(base, Credentials::Anonymous, options).unwrap();
        let copied = one
            .copy("web", shipment.at(&one, "api"), &tagged("t"))
            .await;
        assert_eq!(copied.unwrap().digest, Some(shipment.index));
    }
}

#[tokio::test]
async fn a_mount_that_is_not_done_is_an_upload() {
    let registry = DockerRegistry::start();
    let front = Front::start(registry.address);
    let source = client(&front.base("acme"));
    let shipment = ship(&source, "api", "t").await;
    for (number, fault) in [
        Fault::status(401),
        Fault::error(401, "UNAUTHORIZED", "").header("www-authenticate", "Basic realm=\"r\""),
        Fault::error(403, "DENIED", ""),
        Fault::error(404, "NAME_UNKNOWN", ""),
        Fault::status(405),
        Fault::status(400),
        Fault::status(500),
        Fault::Cut,
    ]
    .into_iter()
    .enumerate()
    {
        front.reset();
        front.add(Rule::on("POST", "[?&]mount=").does(fault.clone()));
        let target = client(&front.base(&format!("prod-{number}")));
        let copied = copy(&target, shipment.at(&source, "api"))
            .await
            .unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!((copied.streamed, copied.mounted), (7, 0), "{fault:?}");
        shipment.check(&target, "api").await;
    }
    // 202: the place that it opens is used.
    front.reset();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    let uploads = format!("http://{}/v2/prod-202/api/blobs/uploads/", front.address);
    let opened = http.build().unwrap().post(uploads).send().await.unwrap();
    let place = opened.headers()["location"].to_str().unwrap();
    let accepted = Fault::status(202).header("location", place);
    front.reset();
    front.add(Rule::on("POST", "[?&]mount=").nth(1).does(accepted));
    let target = client(&front.base("prod-202"));
    let copied = copy(&target, shipment.at(&source, "api")).await.unwrap();
    assert_eq!((copied.mounted, copied.streamed), (6, 1));
    assert_eq!(
        front.count("POST", front::Kind::Upload),
        7,
        "no other is opened"
    );
    shipment.check(&target, "api").await;
}

/// Copies from behind one front to behind another.
struct Road {
    from: Front,
    to: Front,
    source: Client,
    shipment: Shipment,
    _registries: (DockerRegistry, DockerRegistry),
}

impl Road {
    async fn start() -> Self {
        let registries = (DockerRegistry::start(), DockerRegistry::start());
        let from = Front::start(registries.0.address);
        let to = Front::start(registries.1.address);
        let source = road_client(&from.base("acme"));
        let shipment = ship(&source, "api", "t").await;
        Self {
            from,
            to,
            source,
            shipment,
            _registries: registries,
        }
    }

    async fn copy(&self, prefix: &str) -> Result<Copied, RegistryError> {
        let target = road_client(&self.to.base(prefix));
        let origin = self.shipment.at(&self.source, "api");
        target.copy("api", origin, &tagged("t")).await
    }

    /// Nothing that was asked for can be seen.
    async fn nothing_arrived(&self, prefix: &str, why: &str) {
        self.to.reset();
        let target = road_client(&self.to.base(prefix));
        let index = self.shipment.index.to_string();
        assert_eq!(target.manifest("api", &index).await.unwrap(), None, "{why}");
        assert_eq!(target.tags("api").await.unwrap(), Vec::<String>::new());
    }
}

fn road_client(base: &str) -> Client {
    let options = Options {
        idle_timeout: Duration::from_secs(1),
        ..quick()
    };
    Client::new(base.parse().unwrap(), Credentials::Anonymous, options).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_outlives_what_passes_on_either_side() {
    let road = Road::start().await;
    let (get, put) = ("/blobs/sha256", "/blobs/uploads/");
    let upload_gone = Fault::error(404, "BLOB_UPLOAD_UNKNOWN", "");
    for (number, (name, from, rule)) in [
        (
            "cut on the way down",
            true,
            Rule::on("GET", get).nth(2).does(Fault::CutBody(500)),
        ),
        (
            "stalled on the way down",
            true,
            Rule::on("GET", get).nth(1).does(Fault::Stall(500)),
        ),
        (
            "503 for a blob",
            true,
            Rule::on("GET", get).times(2).does(Fault::status(503)),
        ),
        (
            "429 for a manifest",
            true,
            Rule::on("GET", "/manifests/")
                .nth(1)
                .does(Fault::status(429)),
        ),
        (
            "cut on the way up",
            false,
            Rule::on("PUT", put).nth(1).does(Fault::CutUpload(500)),
        ),
        (
            "stalled on the way up",
            false,
            Rule::on("PUT", put).nth(1).does(Fault::StallUpload(500)),
        ),
        (
            "answer lost",
            false,
            Rule::on("PUT", put).nth(1).does(Fault::LoseAnswer),
        ),
        (
            "500 to an upload",
            false,
            Rule::on("PUT", put).nth(1).does(Fault::status(500)),
        ),
        (
            "another server",
            false,
            Rule::on("PUT", put).nth(1).does(upload_gone),
        ),
        (
            "reset",
            false,
            Rule::on("POST", put).nth(1).does(Fault::Cut),
        ),
        (
            "blob not seen yet",
            false,
            Rule::on("PUT", "/manifests/sha256")
                .nth(1)
                .does(Fault::error(400, "MANIFEST_BLOB_UNKNOWN", "")),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        road.from.reset();
        road.to.reset();
        let front = if from { &road.from } else { &road.to };
        front.add(rule);
        let prefix = format!("p{number}");
        let copied = road
            .copy(&prefix)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(copied.digest, Some(road.shipment.index), "{name}");
        let target = client(&road.to.base(&prefix));
        road.shipment.check(&target, "api").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_cannot_be_whole_is_an_error_and_not_there() {
    let road = Road::start().await;
    let blob = road.shipment.blobs[1];
    let (get, put) = (format!("/blobs/{blob}"), "/blobs/uploads/");
    let from = |fault| (true, Rule::on("GET", &get).does(fault));
    let to = |fault| (false, Rule::on("PUT", put).does(fault));
    for (number, (name, (is_from, rule), code)) in [
        (
            "missing",
            from(Fault::error(404, "BLOB_UNKNOWN", "")),
            "image-incomplete",
        ),
        (
            "404 of a proxy",
            from(Fault::status(404)),
            "registry-refused",
        ),
        ("corrupted", from(Fault::Corrupt), "registry-corrupt"),
        (
            "truncated",
            from(Fault::Truncate(60_000)),
            "registry-corrupt",
        ),
        ("empty", from(Fault::Truncate(0)), "registry-corrupt"),
        (
            "longer",
            from(Fault::answer(200, "", noise(9, 80_000))),
            "registry-corrupt",
        ),
        ("forbidden", from(Fault::status(403)), "registry-refused"),
        (
            "always cut",
            from(Fault::CutBody(10)),
            "registry-unreachable",
        ),
        ("no room", to(Fault::status(507)), "registry-refused"),
        (
            "always cut up",
            to(Fault::CutUpload(10)),
            "registry-unreachable",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        road.from.reset();
        road.to.reset();
        let front = if is_from { &road.from } else { &road.to };
        front.add(rule);
        let prefix = format!("p{number}");
        let error = road.copy(&prefix).await.unwrap_err();
        assert_eq!(error.code(), code, "{name}: {error}");
        if is_from {
            assert!(
                error.to_string().contains(&blob.to_string()),
                "{name}: {error}"
            );
        }
        road.nothing_arrived(&prefix, name).await;
    }
    road.from.reset();
    let child = road.shipment.children[1];
    let gone = Fault::error(404, "MANIFEST_UNKNOWN", "");
    road.from
        .add(Rule::on("GET", &child.to_string()).does(gone));
    // A client that has not put it itself.
    let stranger = road_client(&road.from.base("acme"));
    let target = road_client(&road.to.base("gone"));
    let error = copy(&target, road.shipment.at(&stranger, "api"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "image-incomplete");
    assert!(
        error.to_string().contains(&format!("the manifest {child}")),
        "{error}"
    );
}

#[tokio::test]
async fn silence_on_the_way_up_is_not_waited_out() {
    let road = Road::start().await;
    road.to
        .add(Rule::on("PUT", "/uploads/").does(Fault::StallUpload(100)));
    let start = Instant::now();
    let error = road.copy("p").await.unwrap_err();
    assert_eq!(error.code(), "registry-unreachable", "{error}");
    // Five attempts of one and a half seconds, and of some more for the size of the blob.
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn attestations_are_dropped_by_choice_and_the_digest_says_so() {
    let (from, to) = (Embedded::start().await, DockerRegistry::start());
    let (source, target) = (client(&from.base("acme")), client(&to.base("prod")));
    let shipment = ship(&source, "api", "t").await;
    let options = CopyOptions {
        attestations: Extras::Drop,
        ..tagged("t")
    };
    let copied = target
        .copy("api", shipment.at(&source, "api"), &options)
        .await
        .unwrap();
    assert_ne!(copied.digest, Some(shipment.index));
    assert_eq!((copied.manifests, copied.streamed), (3, 5));
    let index = target.manifest("api", "t").await.unwrap().unwrap();
    assert_eq!(Some(index.digest), copied.digest);
    let json: Value = serde_json::from_slice(&index.bytes).unwrap();
    let digests: Vec<&str> = json["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|child| child["digest"].as_str().unwrap())
        .collect();
    let kept: Vec<String> = shipment.children[..2]
        .iter()
        .map(Digest::to_string)
        .collect();
    assert_eq!(digests, kept);
    assert_eq!(json["org.example.unknown"], json!([1, {"b": 2, "a": 1}]));
    let attestation = shipment.children[2].to_string();
    assert_eq!(target.manifest("api", &attestation).await.unwrap(), None);
    // Nothing to drop: the bytes are the same.
    let origin = Origin {
        client: &target,
        repository: "api",
        digest: index.digest,
    };
    let again = target.copy("again", origin, &options).await.unwrap();
    assert_eq!(again.digest, copied.digest);
}

#[tokio::test]
async fn companions_come_along_by_choice() {
    let (from, to) = (Embedded::start().await, DockerRegistry::start());
    let (source, target) = (client(&from.base("acme")), client(&to.base("prod")));
    let shipment = ship(&source, "api", "t").await;
    let companion = put_image(&source, "api", &json!({}), &[noise(5, 100)]).await;
    let signature = put_image(&source, "api", &json!({}), &[noise(6, 100)]).await;
    let index = json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor(OCI_MANIFEST, &companion)],
    });
    let hex = shipment.index.hex();
    let (fallback, signed) = (format!("sha256-{hex}"), format!("sha256-{hex}.sig"));
    put_json(&source, "api", Some(&fallback), &index).await;
    source
        .retag("api", &Digest::of(&signature), &signed)
        .await
        .unwrap();

    target
        .copy("plain", shipment.at(&source, "api"), &tagged("t"))
        .await
        .unwrap();
    assert_eq!(target.tags("plain").await.unwrap(), ["t"]);
    let options = CopyOptions {
        companions: Extras::Keep,
        ..tagged("t")
    };
    let copied = target
        .copy("api", shipment.at(&source, "api"), &options)
        .await
        .unwrap();
    assert_eq!(copied.digest, Some(shipment.index));
    assert_eq!(
        target.tags("api").await.unwrap(),
        [fallback.as_str(), &signed, "t"]
    );
    for tag in [&fallback, &signed] {
        let there = source.manifest("api", tag).await.unwrap();
        assert_eq!(target.manifest("api", tag).await.unwrap(), there);
    }
    let blob = target.blob("api", &Digest::of(&noise(5, 100)), 1000).await;
    assert!(blob.unwrap().is_some());
}

#[tokio::test]
async fn nested_indexes_are_copied_and_looked_through() {
    let (from, to) = (DockerRegistry::start(), DockerRegistry::start());
    let (source, target) = (client(&from.base("acme")), client(&to.base("prod")));
    let shipment = ship(&source, "api", "t").await;
    let inner = source.manifest("api", "t").await.unwrap().unwrap();
    // The second child stands in the outer index too, before and after the inner one.
    let child = shipment.children[1].to_string();
    let child = source.manifest("api", &child).await.unwrap().unwrap();
    let mut entry = descriptor(OCI_MANIFEST, &child.bytes);
    entry["annotations"] = json!({"vnd.docker.reference.type": "other"});
    let outer = json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [entry, descriptor(OCI_INDEX, &inner.bytes), entry],
    });
    let outer = Digest::of(&put_json(&source, "api", Some("outer"), &outer).await);
    let origin = Origin {
        client: &source,
        repository: "api",
        digest: outer,
    };
    let copied = target.copy("api", origin, &tagged("outer")).await.unwrap();
    assert_eq!((copied.digest, copied.manifests), (Some(outer), 5));
    shipment.check(&target, "api").await;

    let image = async |reference: &str, platform: &str| {
        let offer = target.offer("api", reference).await.unwrap()?;
        offer.image_for(&platform.parse().unwrap())
    };
    for reference in ["outer", &shipment.index.to_string()] {
        for (platform, child) in ["linux/amd64", "linux/arm64"]
            .iter()
            .zip(&shipment.children)
        {
            assert_eq!(image(reference, platform).await.as_ref(), Some(child));
        }
        assert_eq!(image(reference, "linux/s390x").await, None);
    }
}

#[tokio::test]
async fn a_tag_that_stands_for_good_is_told() {
    let road = Road::start().await;
    road.copy("p").await.unwrap();
    let other = road_client(&road.to.base("p"));
    let digest = super::put(&other, "api", "mine", b"other").await;
    road.to
        .add(Rule::on("PUT", "/manifests/mine").does(Fault::error(409, "CONFLICT", "")));
    let origin = road.shipment.at(&road.source, "api");
    let error = other
        .copy("api", origin, &tagged("mine"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "tag-stands", "{error}");
    assert!(error.to_string().contains("/p/api:mine"), "{error}");
    assert_eq!(other.digest_of("api", "mine").await.unwrap(), Some(digest));
}

/// How much of a large blob is held at once is seen in a process of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_blob_is_never_held_whole() {
    let (from, to) = (DockerRegistry::start(), DockerRegistry::start());
    let (source, target) = (from.base("acme"), to.base("prod"));
    let here = client(&source);
    let large = noise(7, 200_000_000);
    let image = put_image(&here, "api", &json!({}), &[large]).await;
    let digest = Digest::of(&image).to_string();
    let child = move || {
        in_child(
            "copy::child_that_copies",
            &[
                ("TEST_FROM", &source),
                ("TEST_TO", &target),
                ("TEST_DIGEST", &digest),
            ],
        );
    };
    tokio::task::spawn_blocking(child).await.unwrap();
}

#[tokio::test]
#[ignore = "run by other tests, with an environment"]
async fn child_that_copies() {
    let variable = |name: &str| std::env::var(name).unwrap();
    let options = Options {
        idle_timeout: Duration::from_secs(60),
        ..quick()
    };
    let at = |base: &str| {
        Client::new(
            base.parse().unwrap(),
            Credentials::Anonymous,
            options.clone(),
        )
        .unwrap()
    };
    let (source, target) = (at(&variable("TEST_FROM")), at(&variable("TEST_TO")));
    let digest = variable("TEST_DIGEST").parse().unwrap();
    let origin = Origin {
        client: &source,
        repository: "api",
        digest,
    };
    let copied = target.copy("api", origin, &tagged("t")).await.unwrap();
    assert!(copied.bytes > 200_000_000);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kilobytes: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kilobytes < 100_000, "{kilobytes} kB were held at the most");
}
