//! Images of several platforms put together, and what is offered by what stands.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;
use waybill::model::{Digest, Platform};
use waybill::registry::{Client, Put, RegistryError};

use crate::program::output;

use super::{Embedded, OCI_MANIFEST, client};
use crate::front::{Fault, Front, Kind, Rule};
use crate::servers::DockerRegistry;

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

/// Puts an image that states the platform, by its digest alone.
async fn put_image(client: &Client, media_type: &str, stated: &str) -> Digest {
    let stated = platform(stated);
    let mut config = json!({"os": stated.os, "architecture": stated.architecture});
    if let Some(variant) = stated.variant {
        config["variant"] = variant.into();
    }
    let config = Bytes::from(config.to_string());
    client.put_blob("api", config.clone()).await.unwrap();
    let config_type = if media_type == DOCKER_MANIFEST {
        "application/vnd.docker.container.image.v1+json"
    } else {
        "application/vnd.oci.image.config.v1+json"
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {
            "mediaType": config_type,
            "digest": Digest::of(&config),
            "size": config.len(),
        },
        "layers": [],
    });
    let bytes = Bytes::from(manifest.to_string());
    let digest = Digest::of(&bytes);
    let reference = digest.to_string();
    let put = client.put_manifest("api", &reference, media_type, bytes);
    put.await.unwrap();
    digest
}

/// Puts images of these platforms, and an index of them under `in-1`.
async fn put_index(
    client: &Client,
    media_type: &str,
    platforms: &[&str],
) -> (BTreeMap<Platform, Digest>, Result<Put, RegistryError>) {
    let mut images = BTreeMap::new();
    for name in platforms {
        images.insert(platform(name), put_image(client, media_type, name).await);
    }
    let put = client.put_index("api", "in-1", &images).await;
    (images, put)
}

async fn puts_an_index(client: &Client, media_type: &str, expected: &str) {
    let platforms = ["linux/arm64", "linux/arm/v7", "linux/amd64"];
    let (images, put) = put_index(client, media_type, &platforms).await;
    let Ok(Put::Done(digest)) = put else {
        panic!("{put:?}");
    };
    let stands = client.manifest("api", "in-1").await.unwrap().unwrap();
    assert_eq!(
        (stands.digest, stands.media_type.as_str()),
        (digest, expected)
    );
    let json: serde_json::Value = serde_json::from_slice(&stands.bytes).unwrap();
    let entries = json["manifests"].as_array().unwrap().iter();
    let order: Vec<_> = entries
        .map(|entry| entry["platform"]["architecture"].as_str().unwrap())
        .collect();
    assert_eq!(order, ["amd64", "arm", "arm64"], "sorted by platform");
    let offer = client.offer("api", "in-1").await.unwrap().unwrap();
    assert_eq!(offer.digest, digest);
    assert!(offer.platforms().eq(images.keys()));
    for (platform, image) in &images {
        assert_eq!(offer.image_for(platform).as_ref(), Some(image));
    }
    assert_eq!(offer.image_for(&platform("linux/s390x")), None);
    // The same again is the same.
    let again = client.put_index("api", "in-1", &images).await;
    assert_eq!(again, Ok(Put::Done(digest)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indexes_are_of_the_images_form() {
    let (real, embedded) = (DockerRegistry::start(), Embedded::start().await);
    for base in [real.base("acme"), embedded.base("acme")] {
        let client = client(&base);
        puts_an_index(&client, DOCKER_MANIFEST, DOCKER_LIST).await;
        puts_an_index(&client, OCI_MANIFEST, OCI_INDEX).await;
        let image = format!("docker://{base}/api:in-1");
        for (architecture, variant) in [("amd64", ""), ("arm64", ""), ("arm", "v7")] {
            let arguments = [
                "--override-arch",
                architecture,
                "--override-variant",
                variant,
            ];
            let inspect = ["inspect", "--tls-verify=false", "--config", &image];
            let config = output("skopeo", &[&arguments[..], &inspect].concat());
            let config: serde_json::Value = serde_json::from_str(&config).unwrap();
            assert_eq!(config["architecture"], architecture);
        }
    }
}

#[tokio::test]
async fn an_image_of_another_platform_is_not_put_in() {
    let registry = Embedded::start().await;
    let client = client(&registry.base("acme"));
    let right = put_image(&client, DOCKER_MANIFEST, "linux/amd64").await;
    for (stated, asked) in [
        ("linux/amd64", "linux/arm64"),
        ("linux/arm/v6", "linux/arm/v7"),
        ("windows/arm64", "linux/arm64"),
    ] {
        let wrong = put_image(&client, DOCKER_MANIFEST, stated).await;
        let images = [(platform("linux/amd64"), right), (platform(asked), wrong)];
        let error = client.put_index("api", "in-1", &images.into()).await;
        let error = error.unwrap_err();
        assert_eq!(error.code(), "platform-mismatch", "{error}");
        assert!(error.to_string().contains(stated), "{error}");
    }
    let images = [
        (platform("linux/amd64"), right),
        (platform("linux/arm64"), Digest::of(b"nothing")),
    ];
    let error = client.put_index("api", "in-1", &images.into()).await;
    assert_eq!(error.unwrap_err().code(), "image-incomplete");
    assert_eq!(client.digest_of("api", "in-1").await.unwrap(), None);
}

#[tokio::test]
async fn an_index_in_the_way_of_which_a_tag_stands_is_told() {
    let registry = DockerRegistry::start();
    let front = Front::start(registry.address);
    let client = client(&front.base("acme"));
    let platforms = ["linux/amd64", "linux/arm64"];
    let (_, put) = put_index(&client, DOCKER_MANIFEST, &platforms).await;
    assert!(matches!(put, Ok(Put::Done(_))), "{put:?}");
    front.add(Rule::on("PUT", "/manifests/in-1").does(Fault::error(409, "CONFLICT", "")));
    let (_, put) = put_index(&client, DOCKER_MANIFEST, &["linux/amd64"]).await;
    assert_eq!(put, Ok(Put::TagStands));
    front.reset();
    front.add(Rule::on("PUT", "/manifests/in-2").does(Fault::status(403)));
    let none = client.put_index("api", "in-2", &BTreeMap::new()).await;
    assert_eq!(none.unwrap_err().code(), "registry-refused");
    assert_eq!(front.count("PUT", Kind::Manifest), 1);
}

#[tokio::test]
async fn a_single_image_offers_what_it_states() {
    let registry = Embedded::start().await;
    let client = client(&registry.base("acme"));
    let image = put_image(&client, OCI_MANIFEST, "linux/arm/v7").await;
    let offer = client.offer("api", &image.to_string()).await.unwrap();
    let offer = offer.unwrap();
    assert!(offer.platforms().eq([&platform("linux/arm/v7")]));
    assert_eq!(offer.image_for(&platform("linux/arm/v7")), Some(image));
    let silent = super::put(&client, "api", "silent", b"{}").await;
    let offer = client.offer("api", "silent").await.unwrap().unwrap();
    assert_eq!((offer.digest, offer.platforms().count()), (silent, 0));
    assert_eq!(client.offer("api", "none").await, Ok(None));
}
