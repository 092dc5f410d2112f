//! The commands that explain, run as a program on real git and the embedded registry. Images come
//! from `waybill debug record-all --images`, which needs no engine.

mod history;
mod key;
mod state;
mod why;

use std::path::Path;

use regex::Regex;
use serde_json::Value;

use super::repo::Repo;

/// Four projects: `api` uses the images of `base` and `log`, `web` is only triggered by `log`.
fn monorepo() -> Repo {
    let repo = Repo::new();
    repo.write("base/Dockerfile", "FROM debian:12\n");
    repo.write("log/Dockerfile", "FROM base\n");
    repo.write("log/log.txt", "1\n");
    repo.write("api/Dockerfile", "FROM base\nCOPY --from=log / /\n");
    repo.write("web/Dockerfile", "FROM scratch\n");
    repo.write(
        "build_manifest.json",
        r#"{
  "version": 1,
  "projects": {
    "base": {"buildDir": "base"},
    "log": {"buildDir": "log", "dependencies": ["base"]},
    "api": {"buildDir": "api", "dependencies": ["base", "log"]},
    "web": {"buildDir": "web", "dependencies": ["log"]}
  }
}
"#,
    );
    repo
}

/// How a run of the program ended.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// Runs waybill where nothing of this machine shows.
fn waybill(repo: &Repo, arguments: &[&str]) -> Ran {
    let output = repo
        .command(env!("CARGO_BIN_EXE_waybill"))
        .env("SOURCE_DATE_EPOCH", "1700009999")
        .args(arguments)
        .output()
        .unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// What a run that succeeds prints.
fn prints(repo: &Repo, arguments: &[&str]) -> String {
    let ran = waybill(repo, arguments);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{arguments:?}");
    ran.out
}

/// The document that a run prints, which its schema must allow.
fn document(repo: &Repo, arguments: &[&str]) -> Value {
    let out = prints(repo, &[arguments, &["--json"]].concat());
    let document: Value = serde_json::from_str(&out).unwrap();
    let schema = waybill::schema::by_name(arguments[0]).unwrap();
    let faults = faults(&schema, &document, arguments[0]);
    assert_eq!(faults, Vec::<String>::new(), "{document:#}");
    document
}

/// The error and exit code that a run ends with.
fn fails(repo: &Repo, arguments: &[&str]) -> (i32, String) {
    let ran = waybill(repo, arguments);
    assert_eq!(ran.out, "", "{arguments:?}");
    (ran.code, ran.err)
}

/// Builds what the plan says, without an engine.
fn build(repo: &Repo) -> String {
    prints(repo, &["debug", "record-all", "--images"])
}

/// A text with commits by name, and every other digest as `#`.
fn named(text: &str, commits: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (name, id) in commits {
        text = text.replace(id, name).replace(&id[..10], name);
    }
    let digests = Regex::new("[0-9a-f]{64}|\\b[0-9a-f]{12}\\b").unwrap();
    digests.replace_all(&text, "#").into_owned()
}

/// Another machine: a clone, with a copy of the registry's directory.
fn another_machine(repo: &Repo, arguments: &[&str]) -> Repo {
    let clone = repo.clone_with(arguments);
    copy(
        &repo.path().join(".waybill"),
        &clone.path().join(".waybill"),
    );
    clone
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// What a document has that its schema does not allow, for the words that waybill's schemas use.
fn faults(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (word, rule) in schema.as_object().unwrap() {
        let ok = match word.as_str() {
            "$schema" | "title" | "description" => true,
            "const" => rule == value,
            "enum" => rule.as_array().unwrap().contains(value),
            "type" => is_of_type(value, rule.as_str().unwrap()),
            "minimum" => value.as_u64().is_some(),
            "pattern" => {
                let pattern = Regex::new(rule.as_str().unwrap()).unwrap();
                value.as_str().is_some_and(|text| pattern.is_match(text))
            }
            "anyOf" | "oneOf" => {
                let rules = rule.as_array().unwrap().iter();
                let fit = rules.filter(|rule| faults(rule, value, at).is_empty());
                let fit = fit.count();
                fit == 1 || (word == "anyOf" && fit > 1)
            }
            "required" => rule
                .as_array()
                .unwrap()
                .iter()
                .all(|name| value.get(name.as_str().unwrap()).is_some()),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(faults(rule, item, &format!("{at}[{index}]")));
                }
                true
            }
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        found.extend(faults(rule, value, &format!("{at}.{name}")));
                    }
                }
                true
            }
            "additionalProperties" => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    if schema.pointer(&format!("/properties/{name}")).is_some() {
                        continue;
                    }
                    match rule {
                        Value::Bool(false) => found.push(format!("{at}.{name}: not known")),
                        rule => found.extend(faults(rule, value, &format!("{at}.{name}"))),
                    }
                }
                true
            }
            _ => panic!("the schema word '{word}' is not known here"),
        };
        if !ok {
            found.push(format!("{at}: {word} {rule}"));
        }
    }
    found
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}
