//! A key computed from what `waybill why --inputs --json` prints, by an encoder written from
//! `docs/key.md` that shares no code with waybill's.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{build, document, monorepo, prints};
use crate::repo::Repo;

#[test]
fn a_third_party_can_compute_the_key() {
    let repo = Repo::new();
    repo.write("base/Dockerfile", "FROM debian:12\n");
    repo.write("base/.dockerignore", "tmp\n");
    repo.link("link", "base");
    repo.write(*b"odd/\xff\xfe", "bytes");
    repo.write("odd/new\nline", "control");
    repo.write("odd/new%0Aline", "what the text of the other looks like");
    repo.write_executable("odd/run.sh", "#!/bin/sh\n");
    repo.link("odd/there", "nowhere");
    repo.write("all/Dockerfile", "FROM base\nARG COMMIT_TAG\n");
    repo.write(
        "build_manifest.json",
        r#"{
  "version": 1,
  "registry": "127.0.0.1:9/x",
  "upstream": "127.0.0.1:9/x",
  "imageAliases": ["b.example/x", "a.example/x"],
  "rebuildAll": ["^odd/.*$"],
  "projects": {
    "base": {"buildDir": "link", "projectDir": "base", "epoch": 3},
    "all": {
      "buildDir": ".", "dockerfile": "all/Dockerfile", "dependencies": ["base"],
      "buildArgs": {"Z": "1", "A": "é"}, "secrets": ["npm", "git"], "target": "base-stage",
      "platforms": ["linux/arm64", "linux/amd64"], "hermetic": false
    }
  }
}
"#,
    );
    repo.write(
        "all/Dockerfile",
        "FROM base AS base-stage\nARG COMMIT_TAG\n",
    );
    repo.commit("First");
    let args = ["--upstream", "none", "--tag", "v1", "--inputs"];
    for project in ["base", "all"] {
        let why = document(&repo, &[&["why", project][..], &args].concat());
        assert_eq!(recompute(&why), why["key"].as_str().unwrap(), "{project}");
    }
    let why = document(&repo, &[&["why", "base"][..], &args].concat());
    let odd: Vec<_> = why["inputs"]["sources"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    let bytes = |index: usize| odd[index].get("pathBytes").and_then(Value::as_str);
    assert_eq!(odd[0]["path"], "base");
    assert_eq!(
        (&odd[1]["path"], bytes(1)),
        (&"odd/new%0Aline".into(), Some("6f64642f6e65770a6c696e65"))
    );
    assert_eq!(
        (&odd[2]["path"], bytes(2)),
        (&"odd/new%0Aline".into(), None)
    );
    assert_eq!(bytes(5), Some("6f64642ffffe"));
    let why = document(&repo, &[&["why", "all"][..], &args].concat());
    assert_eq!(why["inputs"]["buildDirBytes"], "");
    assert_eq!(why["inputs"]["releaseTag"], "v1");
}

#[test]
fn taints_lead_from_key_to_key() {
    let repo = monorepo();
    repo.commit("First");
    for why in ["one", "two"] {
        prints(&repo, &["taint", "base", "--why", why]);
    }
    build(&repo);
    for project in ["base", "api", "web"] {
        let why = document(&repo, &["why", project, "--inputs"]);
        assert_eq!(recompute(&why), why["key"].as_str().unwrap(), "{project}");
        let chain = why["tainted"].as_array().unwrap().len();
        assert_eq!(chain, if project == "base" { 2 } else { 0 });
    }
    let text = prints(&repo, &["why", "api", "--inputs"]);
    let inputs = text
        .split_once("\nInputs of the key (format version 1)\n")
        .unwrap()
        .1;
    let labels: Vec<&str> = inputs
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(
        labels,
        [
            "project",
            "epoch",
            "buildDir",
            "dockerfile",
            "ignoreFile",
            "target",
            "platform",
            "hermetic",
            "registry",
            "releaseTag",
            "source",
            "dependency",
            "dependency"
        ]
    );
}

fn recompute(why: &Value) -> String {
    let inputs = &why["inputs"];
    let mut bytes = text("waybill-key");
    bytes.extend(number(inputs["keyVersion"].as_u64().unwrap()));
    bytes.extend(string(&inputs["project"]));
    bytes.extend(number(inputs["epoch"].as_u64().unwrap()));
    bytes.extend(path(inputs, "buildDir"));
    bytes.extend(optional(&inputs["dockerfile"], source));
    bytes.extend(optional(&inputs["ignoreFile"], source));
    bytes.extend(items(&inputs["links"], source));
    bytes.extend(optional(&inputs["target"], string));
    bytes.extend(pairs(&inputs["buildArgs"], string));
    bytes.extend(items(&inputs["secrets"], string));
    bytes.extend(items(&inputs["platforms"], string));
    bytes.extend(number(u64::from(inputs["hermetic"].as_bool().unwrap())));
    bytes.extend(optional(&inputs["registry"], string));
    bytes.extend(items(&inputs["imageAliases"], string));
    bytes.extend(optional(&inputs["releaseTag"], string));
    bytes.extend(items(&inputs["sources"], source));
    bytes.extend(pairs(&inputs["dependencies"], |key| raw(&unhex(key))));
    let mut key = Sha256::digest(&bytes).to_vec();
    for tainted in why["tainted"].as_array().unwrap() {
        assert_eq!(unhex(tainted), key);
        let mut next = text("taint");
        next.extend(raw(&key));
        key = Sha256::digest(&next).to_vec();
    }
    hex::encode(key)
}

fn number(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn raw(bytes: &[u8]) -> Vec<u8> {
    [&number(bytes.len() as u64), bytes].concat()
}

fn text(text: &str) -> Vec<u8> {
    raw(text.as_bytes())
}

fn string(value: &Value) -> Vec<u8> {
    text(value.as_str().unwrap())
}

fn unhex(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn path(of: &Value, name: &str) -> Vec<u8> {
    match of.get(format!("{name}Bytes")) {
        Some(bytes) => raw(&unhex(bytes)),
        None => string(&of[name]),
    }
}

fn source(source: &Value) -> Vec<u8> {
    [
        path(source, "path"),
        string(&source["mode"]),
        unhex(&source["id"]),
    ]
    .concat()
}

fn optional(value: &Value, encode: impl Fn(&Value) -> Vec<u8>) -> Vec<u8> {
    if value.is_null() {
        number(0)
    } else {
        [number(1), encode(value)].concat()
    }
}

fn items(value: &Value, encode: impl Fn(&Value) -> Vec<u8>) -> Vec<u8> {
    let items = value.as_array().unwrap();
    let mut bytes = number(items.len() as u64);
    bytes.extend(items.iter().flat_map(encode));
    bytes
}

fn pairs(value: &Value, encode: impl Fn(&Value) -> Vec<u8>) -> Vec<u8> {
    let pairs = value.as_object().unwrap();
    let mut bytes = number(pairs.len() as u64);
    for (name, value) in pairs {
        bytes.extend(text(name));
        bytes.extend(encode(value));
    }
    bytes
}
