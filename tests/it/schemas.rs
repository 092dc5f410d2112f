//! The JSON Schemas that `waybill schema` prints, held against what commands really print.

use std::process::Stdio;

use jsonschema::Validator;
use serde::Deserialize as _;
use serde_json::{Value, json};
use waybill::model::{ChangedFile, Digest, Reason};
use waybill::schema;

use crate::program::{Ran, command, waybill};
use crate::repo::Repo;

fn validator(name: &str) -> Validator {
    let schema = schema::by_name(name).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

#[track_caller]
fn is_valid(name: &str, document: &Value) {
    let errors: Vec<String> = validator(name)
        .iter_errors(document)
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{name}: {errors:?}\n{document:#}");
}

/// The schema demands every field that the document has, and takes no other.
#[track_caller]
fn is_strict(name: &str, document: &Value) {
    for field in document.as_object().unwrap().keys() {
        let mut less = document.clone();
        less.as_object_mut().unwrap().remove(field);
        assert!(!validator(name).is_valid(&less), "{name} without {field}");
    }
    let mut more = document.clone();
    more["more"] = json!(1);
    assert!(!validator(name).is_valid(&more), "{name} with more");
}

fn printed(name: &str, code: i32, ran: &Ran) -> Value {
    assert_eq!(ran.code, code, "{}{}", ran.out, ran.err);
    let document = ran.json();
    is_valid(name, &document);
    is_strict(name, &document);
    document
}

#[test]
fn every_document_is_as_its_schema_says() {
    let repo = Repo::new();
    repo.write("api/Dockerfile", "FROM alpine:3\nCOPY --from=log / /\n");
    repo.write("log/Dockerfile", "FROM scratch\n");
    repo.write("gone/Dockerfile", "FRUM x\n");
    printed("init", 0, &waybill(&repo, &["init", "--json"]));
    let text = std::fs::read(repo.path().join("build_manifest.json")).unwrap();
    is_valid("manifest", &serde_json::from_slice(&text).unwrap());
    let check = printed("check", 2, &waybill(&repo, &["check", "--json"]));
    assert!(!check["problems"].as_array().unwrap().is_empty());
    repo.remove("gone/Dockerfile");
    repo.commit("First");
    let plan = printed("plan", 0, &waybill(&repo, &["plan", "--json"]));
    let actions = plan["projects"].as_array().unwrap().iter();
    let actions: Vec<&Value> = actions.map(|project| &project["action"]).collect();
    assert_eq!(actions, ["build", "none", "build"]);
    let changes = [
        "plan",
        "--json",
        "--if",
        "log/x",
        "api/Dockerfile",
        "build_manifest.json",
    ];
    printed("plan-if", 0, &waybill(&repo, &changes));
    printed("error", 2, &waybill(&repo, &["plan", "nobody", "--json"]));
    printed(
        "error",
        2,
        &waybill(&repo, &["plan", "--nonsense", "--json"]),
    );
}

/// A build of nothing needs no engine.
#[test]
fn a_build_is_as_its_schema_says() {
    let repo = Repo::new();
    let manifest = r#"{"version": 1, "projects": {"gone": {"buildDir": "gone"}}}"#;
    repo.write("build_manifest.json", manifest);
    repo.commit("First");
    let document = printed("build", 0, &waybill(&repo, &["build", "--json"]));
    assert_eq!(document["projects"][0]["verdict"], "none");
}

/// Setting up a base, here the embedded one.
#[test]
fn a_base_is_as_its_schema_says() {
    let repo = Repo::new();
    let manifest = r#"{"version": 1, "projects": {}}"#;
    repo.write("build_manifest.json", manifest);
    repo.commit("First");
    let init = waybill(&repo, &["registry", "init", "--json"]);
    let document = printed("registry-init", 0, &init);
    assert_eq!(document["base"], "embedded");
    let mut serve = command(&repo);
    serve.args(["registry", "serve", "--json", "--listen", "127.0.0.1:0"]);
    let mut serving = serve.stdout(Stdio::piped()).spawn().unwrap();
    let mut printed = serde_json::Deserializer::from_reader(serving.stdout.take().unwrap());
    let document = Value::deserialize(&mut printed);
    serving.kill().unwrap();
    serving.wait().unwrap();
    let document = document.unwrap();
    is_valid("registry-serve", &document);
    is_strict("registry-serve", &document);
}

/// Every reason, in a plan's place for it.
#[test]
fn every_reason_is_in_the_schema_of_a_plan() {
    let commit = || "1111111111111111111111111111111111111111".parse().unwrap();
    let text = || "x".to_owned();
    let project = || "api".parse().unwrap();
    let file = ChangedFile {
        path: text(),
        pattern: text(),
        via: vec![project()],
    };
    let digest = Digest::of(b"x");
    let reasons = [
        Reason::Recorded { commit: commit() },
        Reason::UnchangedSince { commit: commit() },
        Reason::InputsChanged {
            ancestor: commit(),
            files: vec![file],
            files_total: 1,
            fields: vec![text()],
            refused: Some(text()),
        },
        Reason::NeverBuilt {
            searched: 1,
            limit_reached: false,
        },
        Reason::HistoryUnavailable { missing: text() },
        Reason::Tainted {
            by: text(),
            why: text(),
            commit: commit(),
        },
        Reason::Forced {
            by: text(),
            why: text(),
            commit: commit(),
        },
        Reason::ImageGone { image: text() },
        Reason::RecordUnreadable { why: text() },
        Reason::RecordLost { why: text() },
        Reason::DependencyReplaced {
            project: project(),
            recorded: digest,
            current: None,
        },
        Reason::NoDockerfile,
        Reason::NoSources,
    ];
    let schema = schema::by_name("plan").unwrap();
    let kinds = "/properties/projects/items/properties/reason/oneOf";
    let kinds = schema.pointer(kinds).unwrap().as_array().unwrap();
    assert_eq!(
        kinds.len(),
        reasons.len(),
        "a kind is in one and not in the other"
    );
    for reason in reasons {
        let document = json!({
            "schema": "waybill.plan/1",
            "commit": "1111111111111111111111111111111111111111",
            "registry": "embedded",
            "projects": [{
                "name": "api",
                "action": "build",
                "key": "0".repeat(64),
                "image": null,
                "uses": [],
                "triggers": [],
                "reason": reason,
                "warnings": [],
            }],
        });
        is_valid("plan", &document);
    }
}
