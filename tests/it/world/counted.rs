//! How much a plan of a large repository asks.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use waybill::ledger::{Ledger, Marker, Release, Shipped, names};
use waybill::model::Digest;

use super::{NOW, client, runtime};
use crate::front::{Front, Kind};
use crate::program::{report, waybill};
use crate::repo::Repo;
use crate::servers::DockerRegistry;

const PROJECTS: usize = 2000;
const TAINTS: usize = 1000;
/// More commits than are asked one by one whether they are sealed.
const COMMITS: usize = 80;

/// A repository of many projects that stand alone.
fn large() -> Repo {
    let repo = Repo::new();
    let mut projects = serde_json::Map::new();
    for number in 0..PROJECTS {
        let name = format!("p{number:04}");
        repo.write(format!("{name}/Dockerfile"), "FROM scratch\nCOPY file /\n");
        repo.write(format!("{name}/file"), &name);
        projects.insert(name.clone(), json!({"buildDir": name}));
    }
    let manifest = json!({"version": 1, "projects": projects});
    repo.write("build_manifest.json", manifest.to_string());
    repo.commit("First");
    for number in 1..COMMITS {
        let message = format!("Nothing {number}");
        repo.git(&["commit", "-q", "--allow-empty", "-m", &message]);
    }
    repo
}

/// The projects of a plan, and how many of each kind of request it took.
fn planned(repo: &Repo, front: &Front) -> (Vec<Value>, usize) {
    front.reset();
    let base = front.base("acme");
    let arguments = ["plan", "--json", "--registry", &base, "--upstream", "none"];
    let plan = waybill(repo, &arguments);
    assert_eq!(plan.code, 0, "{}", plan.out);
    let projects = plan.json()["projects"].as_array().unwrap().clone();
    assert_eq!(projects.len(), PROJECTS);
    let count = |kind| front.count("*", kind);
    let (manifests, blobs, lists) = (count(Kind::Manifest), count(Kind::Blob), count(Kind::Tags));
    let all = front.log().len();
    report(&format!(
        "{all} requests: {manifests} manifests, {blobs} blobs, {lists} lists"
    ));
    (projects, all)
}

/// The waybill of the planned keys.
fn release(repo: &Repo, projects: &[Value]) -> Release {
    let commit = repo.head().parse().unwrap();
    let shipped = projects.iter().map(|project| {
        let key = project["key"].as_str().unwrap();
        let shipped = Shipped {
            key: key.parse().unwrap(),
            image: Digest::of(key.as_bytes()),
            commit,
            uses: BTreeSet::new(),
            adopted: false,
            tasks: BTreeMap::new(),
        };
        (project["name"].as_str().unwrap().parse().unwrap(), shipped)
    });
    Release {
        commit,
        tag: None,
        projects: shipped.collect(),
        absent: BTreeSet::new(),
    }
}

/// Tags of taints, of keys that no plan here comes to. Whatever stands there is a taint.
async fn taint_others(base: &str) {
    let client = client(base);
    let found = client.manifest(names::TAINTS, names::MARKER).await;
    let manifest = found.unwrap().unwrap();
    let tag =
        |number: usize| names::taint(Digest::of(&number.to_le_bytes()).hex().parse().unwrap());
    let put = stream::iter((0..TAINTS).map(tag)).map(|tag| {
        let (client, kind, bytes) = (&client, &manifest.media_type, manifest.bytes.clone());
        async move { put(client, &tag, kind, bytes).await }
    });
    let put: Vec<()> = put.buffer_unordered(16).try_collect().await.unwrap();
    assert_eq!(put.len(), TAINTS);
}

async fn put(
    client: &waybill::registry::Client,
    tag: &str,
    kind: &str,
    bytes: Bytes,
) -> Result<(), waybill::registry::RegistryError> {
    let put = client.put_manifest(names::TAINTS, tag, kind, bytes);
    put.await.map(|_| ())
}

#[test]
fn a_sealed_commit_is_planned_by_five_requests_however_many_taints_there_are() {
    let registry = DockerRegistry::start();
    let front = Front::start(registry.address);
    let runtime = runtime();
    let repo = large();
    let marker = Marker {
        id: "a large base".to_owned(),
        upstream: false,
    };
    let ledger = runtime
        .block_on(Ledger::create(client(&registry.base("acme")), marker, NOW))
        .unwrap();
    runtime.block_on(taint_others(&registry.base("acme")));

    let (projects, asked) = planned(&repo, &front);
    assert!(projects.iter().all(|project| project["action"] == "build"));
    // Two markers, the taints, the commit and ten before it; one list of the ledger says that
    // nothing else stands, neither waybills nor records. To be explained, each project is asked for
    // its tags.
    assert!(asked <= 15 + PROJECTS, "{asked}");

    let release = release(&repo, &projects);
    runtime.block_on(ledger.seal(&release, NOW)).unwrap();
    let (projects, asked) = planned(&repo, &front);
    assert!(projects.iter().all(|project| project["action"] == "reuse"));
    assert!(asked <= 5, "{asked}");
}
