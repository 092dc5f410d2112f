//! Every field of the manifest, through the whole way from its text to the key: what the key
//! covers changes it, what it does not cover does not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::world::{Leaf, MemoryTree, World};
use crate::manifest::{KeyRole, manifest_fields};
use crate::model::{Key, RepoPath};

fn tree() -> MemoryTree {
    MemoryTree::of(&[
        ("toolchain.lock", "1"),
        ("docker/base/Dockerfile", "FROM scratch"),
        ("services/api/Dockerfile", "FROM scratch"),
        ("services/api/Dockerfile.slim", "FROM busybox"),
        ("services/api/README.md", "api"),
        ("services/api/src/main.rs", "fn main() {}"),
        ("services/web/Dockerfile", "FROM base"),
        ("services/web/index.html", "web"),
    ])
}

fn manifest() -> Value {
    json!({
        "$schema": "https://example.com/one.json",
        "version": 1,
        "registry": {"url": "127.0.0.1:5000/acme", "kind": "oci"},
        "upstream": {"url": "127.0.0.1:5000/above"},
        "tasks": {"lint": {"run": "./lint.sh"}},
        "projects": {
            "base": {"buildDir": "docker/base"},
            "api": {"buildDir": "services/api", "projectDir": "services/api"},
            "web": {"buildDir": "services/web", "dependencies": ["base"]}
        }
    })
}

/// The value that a field gets; what is set stands in the place that `manifest_fields` names, with
/// `api` for the project.
#[expect(
    clippy::match_same_arms,
    reason = "a table, in the order of the fields"
)]
fn other_value(field: &str) -> Value {
    match field {
        "$schema" => json!("https://example.com/two.json"),
        // There is no other; with the same one, nothing changes.
        "version" => json!(1),
        "registry" => json!("127.0.0.1:5000/other"),
        "registry.url" => json!("127.0.0.1:5000/third"),
        "registry.kind" => json!("ecr"),
        "registry.region" | "upstream.region" => json!("eu-west-2"),
        "registry.account" | "upstream.account" => json!("210987654321"),
        "upstream" => json!({"url": "127.0.0.1:5000/upstream"}),
        "upstream.url" => json!("127.0.0.1:5000/below"),
        "upstream.kind" => json!("ecr"),
        "imageAliases" => json!(["old.example.com/acme"]),
        "rebuildAll" => json!(["^toolchain\\.lock$"]),
        "adopt" => json!(true),
        "tasks" => json!({"lint": {"run": "./other.sh"}}),
        _ if field.contains("tasks.<task>.") => task_value(field),
        "sequences" => json!({"all": ["lint"]}),
        "environments" => json!({"prod": {"registry": "127.0.0.1:5000/prod"}}),
        "builders" => json!({"arm": {"host": "ssh://arm.example.com"}}),
        "retention" => json!({"keep": "90d"}),
        "expect" => json!({"absent": ["base"]}),
        "expect.absent" => json!(["web"]),
        "projects.<name>.buildDir" => json!("services"),
        "projects.<name>.projectDir" => json!("services/api/src"),
        "projects.<name>.dockerfile" => json!("Dockerfile.slim"),
        "projects.<name>.rebuildPatterns" => json!(["^services/api/src/"]),
        "projects.<name>.ignorePatterns" => json!(["\\.md$"]),
        "projects.<name>.dependencies" | "projects.<name>.runDependencies" => json!(["base"]),
        "projects.<name>.run" => json!({"job": {"dependencies": ["base"]}}),
        "projects.<name>.multiarch" => json!("buildx"),
        "projects.<name>.target" => json!("final"),
        "projects.<name>.buildArgs" => json!({"A": "1"}),
        "projects.<name>.secrets" => json!(["token"]),
        "projects.<name>.platforms" => json!(["linux/arm64"]),
        "projects.<name>.hermetic" => json!(false),
        "projects.<name>.layerCache" => json!("none"),
        "projects.<name>.epoch" => json!(1),
        "projects.<name>.tasks" => json!({"unit": {"run": "./unit.sh"}}),
        "projects.<name>.deploy" => json!([{"lambda": {"function": "api", "alias": "live"}}]),
        other => panic!("say here how to change the field {other}"),
    }
}

/// Another value of a task's field. The task is there, so that the manifest is right with it.
fn task_value(field: &str) -> Value {
    let name = field.rsplit('.').next().unwrap();
    match name {
        "use" => json!("lint"),
        "kind" => json!("container"),
        "run" => json!("make test"),
        "args" | "artifacts" | "needs" => json!(["other"]),
        "secrets" => json!(["TOKEN"]),
        "inputs" => json!(["^services/"]),
        "env" => json!({"A": "1"}),
        "timeout" => json!("90s"),
        "retries" => json!(2),
        "required" => json!(false),
        "always" => json!(true),
        "image" => json!("base"),
        "file" => json!("other.yml"),
        "service" => json!("api"),
        other => panic!("say here how to change the task's field {other}"),
    }
}

fn set(manifest: &mut Value, field: &str) {
    if field == "projects" {
        let projects = manifest["projects"].as_object_mut().unwrap();
        let api = projects.remove("api").unwrap();
        projects.insert("renamed".into(), api);
        return;
    }
    let mut place = &mut *manifest;
    for step in field.split('.') {
        let step = match step {
            "<name>" => "api",
            "<task>" => "unit",
            step => step,
        };
        place = &mut place[step];
    }
    *place = other_value(field);
    if let Some(task) = field.strip_suffix(".service") {
        set(manifest, &format!("{task}.file"));
    }
}

fn keys(manifest: &Value) -> BTreeSet<Key> {
    let world = World::new(&manifest.to_string(), &tree());
    world.keys().into_values().collect()
}

#[test]
fn a_manifest_field_changes_the_key_exactly_where_it_should() {
    let before = manifest();
    let mut in_key = 0;
    for (field, role) in manifest_fields() {
        // Refused at the top: only a project's task is made from another.
        if field == "tasks.<task>.use" {
            continue;
        }
        let mut after = manifest();
        set(&mut after, &field);
        let changed = keys(&after) != keys(&before);
        assert_eq!(changed, role == KeyRole::InKey, "{field}: {role:?}");
        in_key += usize::from(changed);
    }
    assert!(in_key > 10);
}

#[test]
fn what_a_field_may_still_hold_counts_too() {
    let with = |field: &str, value: Value| {
        let mut manifest = manifest();
        let mut place = &mut manifest;
        for step in field.split('.') {
            place = &mut place[step];
        }
        *place = value;
        keys(&manifest)
    };
    let values = [
        ("projects.api.epoch", json!(0), json!(2)),
        ("projects.api.buildArgs", json!({"A": ""}), json!({})),
        (
            "projects.api.buildArgs",
            json!({"A": "1"}),
            json!({"B": "1"}),
        ),
        (
            "projects.api.platforms",
            json!(["linux/arm64"]),
            json!(["linux/arm64", "linux/amd64"]),
        ),
        ("projects.api.secrets", json!(["a"]), json!(["a", "b"])),
        (
            "imageAliases",
            json!(["a.example.com"]),
            json!(["b.example.com"]),
        ),
        ("projects.web.dependencies", json!(["base"]), json!(["api"])),
    ];
    for (field, one, other) in values {
        assert_ne!(with(field, one), with(field, other), "{field}");
    }
    // A default that is written down is the default.
    let defaults = [
        ("projects.api.epoch", json!(0)),
        ("projects.api.platforms", json!(["linux/amd64"])),
        ("projects.api.hermetic", json!(true)),
        ("projects.api.dockerfile", json!("Dockerfile")),
        ("projects.api.dockerfile", json!("./Dockerfile")),
        ("projects.api.rebuildPatterns", json!(["^services/api/"])),
        ("projects.api.ignorePatterns", json!([])),
    ];
    for (field, value) in defaults {
        assert_eq!(with(field, value), keys(&manifest()), "{field}");
    }
}

#[test]
fn a_release_tag_counts_where_the_dockerfile_declares_it() {
    let keys = |tag: Option<&str>| {
        let declares = |located: &crate::key::Located| {
            Ok(located.path == RepoPath::from("services/api/Dockerfile"))
        };
        let manifest = manifest().to_string();
        World::try_new(&manifest, &tree(), tag, &declares)
            .unwrap()
            .keys()
    };
    let changed = |one: &BTreeMap<_, Key>, other: &BTreeMap<_, Key>| -> Vec<String> {
        let names = one.keys().filter(|name| one[*name] != other[*name]);
        names.map(ToString::to_string).collect()
    };
    assert_eq!(changed(&keys(None), &keys(Some("v1"))), ["api"]);
    assert_eq!(changed(&keys(Some("v1")), &keys(Some("v2"))), ["api"]);
}

#[test]
fn both_shapes_have_one_key_where_they_say_the_same() {
    let aztec = json!({"api": {"buildDir": "services/api"}}).to_string();
    let full = json!({
        "version": 1,
        "projects": {"api": {"buildDir": "services/api", "hermetic": false}}
    });
    let tree = tree();
    assert_eq!(
        World::new(&aztec, &tree).keys(),
        World::new(&full.to_string(), &tree).keys()
    );
}

#[test]
fn files_that_say_how_to_build_count_wherever_they_are() {
    let manifest = json!({"version": 1, "projects": {"api": {
        "buildDir": "services/api",
        "dockerfile": "../../docker/api",
        "rebuildPatterns": ["^src/"]
    }}});
    let manifest = manifest.to_string();
    let mut tree = MemoryTree::of(&[("src/a", "a"), ("docker/api", "FROM scratch")]);
    let mut seen = BTreeSet::from([World::new(&manifest, &tree).keys()]);
    let mut is_new = |tree: &MemoryTree, what: &str| {
        assert!(seen.insert(World::new(&manifest, tree).keys()), "{what}");
    };
    tree.put(b"docker/api", Leaf::File(b"FROM busybox".to_vec()));
    is_new(&tree, "the Dockerfile's content");
    tree.put(b"docker/api", Leaf::Executable(b"FROM busybox".to_vec()));
    is_new(&tree, "the Dockerfile's mode");
    tree.put(b"services/api/.dockerignore", Leaf::File(b"x".to_vec()));
    is_new(&tree, "an ignore file");
    tree.put(b"docker/api.dockerignore", Leaf::File(b"x".to_vec()));
    is_new(
        &tree,
        "an ignore file that goes before, of the same content",
    );
    tree.put(b"services/api/.dockerignore", Leaf::File(b"y".to_vec()));
    let unused = World::new(&manifest, &tree).keys();
    assert!(
        seen.contains(&unused),
        "an ignore file that is not in force"
    );
    tree.remove(b"docker/api");
    assert!(
        seen.insert(World::new(&manifest, &tree).keys()),
        "no Dockerfile"
    );
}
