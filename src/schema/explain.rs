//! The schemas of what the commands that explain print with `--json`.

use serde_json::{Value, json};

use super::documents::{
    commit, count, digest, document, flag, hexadecimal, list, object, or_null, problem, reason,
    text,
};

/// `waybill why --json`.
pub(super) fn why() -> Value {
    let taint = object(&[
        ("project", text()),
        ("key", key()),
        ("reason", reason()),
        ("reasonCommit", or_null(known_commit())),
        ("base", or_null(text())),
        ("written", or_null(text())),
    ]);
    document(
        "why",
        &[
            ("commit", commit()),
            ("project", text()),
            ("action", json!({"enum": ["build", "reuse", "none"]})),
            ("key", key()),
            ("tainted", list(key())),
            ("reason", reason()),
            ("reasonCommit", or_null(known_commit())),
            ("lastChanges", list(last_change())),
            ("taints", list(taint)),
            ("image", or_null(text())),
            ("proof", or_null(proof())),
            ("inputs", or_null(inputs())),
            ("warnings", list(problem())),
        ],
    )
}

/// `waybill history --json`.
pub(super) fn history() -> Value {
    let taint = object(&[
        ("reason", reason()),
        ("base", text()),
        ("written", or_null(text())),
    ]);
    let stands = json!([
        "built",
        "reused",
        "adopted",
        "failed",
        "tainted",
        "forced",
        "not-recorded",
        "record-unreadable",
        "none",
        "no-project",
        "no-manifest",
    ]);
    let line = object(&[
        ("commit", commit()),
        ("time", text()),
        ("author", text()),
        ("subject", text()),
        ("key", or_null(key())),
        ("stands", json!({ "enum": stands })),
        ("builtAt", or_null(commit())),
        ("detail", or_null(text())),
        ("taint", or_null(taint)),
        ("tags", list(object(&[("base", text()), ("tag", text())]))),
    ]);
    let fields = [
        ("commit", commit()),
        ("project", text()),
        ("commits", list(line)),
    ];
    document("history", &fields)
}

/// `waybill log --json`.
pub(super) fn log() -> Value {
    document(
        "log",
        &[
            ("commit", commit()),
            ("project", text()),
            ("task", or_null(text())),
            ("key", key()),
            ("failed", flag()),
            ("builtAt", commit()),
            ("written", text()),
            ("text", text()),
        ],
    )
}

/// `waybill image --json`.
pub(super) fn image() -> Value {
    let project = object(&[
        ("name", text()),
        ("image", text()),
        ("digest", digest()),
        ("base", text()),
        ("builtAt", commit()),
    ]);
    let fields = [("commit", commit()), ("projects", list(project))];
    document("image", &fields)
}

/// `waybill taint --json`.
pub(super) fn taint() -> Value {
    let project = object(&[
        ("name", text()),
        ("key", key()),
        ("builtAt", or_null(commit())),
        ("dependents", list(text())),
    ]);
    let fields = [
        ("commit", commit()),
        ("registry", text()),
        ("projects", list(project)),
    ];
    document("taint", &fields)
}

fn key() -> Value {
    hexadecimal(64)
}

fn known_commit() -> Value {
    object(&[
        ("commit", commit()),
        ("author", text()),
        ("time", text()),
        ("subject", text()),
    ])
}

pub(super) fn last_change() -> Value {
    object(&[
        ("path", text()),
        ("commit", commit()),
        ("author", text()),
        ("time", text()),
        ("subject", text()),
    ])
}

fn proof() -> Value {
    let used = object(&[
        ("project", text()),
        ("recorded", digest()),
        ("current", or_null(digest())),
    ]);
    let record = object(&[
        ("written", text()),
        ("adopted", flag()),
        ("reason", reason()),
        ("reasonCommit", or_null(known_commit())),
        ("lastChanges", list(last_change())),
        ("external", map(&digest())),
        ("durations", map(&count())),
        ("builder", text()),
    ]);
    object(&[
        ("name", text()),
        ("base", text()),
        ("commit", commit()),
        ("builtAt", or_null(known_commit())),
        ("isAncestor", or_null(flag())),
        ("uses", list(used)),
        ("record", or_null(record)),
    ])
}

/// The inputs of a key, as `docs/key.md` has them.
fn inputs() -> Value {
    let source = || {
        let modes = ["040000", "100644", "100755", "120000", "160000"];
        let fields = [
            ("path", text()),
            ("mode", json!({ "enum": modes })),
            ("id", hexadecimal(40)),
        ];
        with_optional(object(&fields), "pathBytes")
    };
    let fields = object(&[
        ("project", text()),
        ("epoch", count()),
        ("buildDir", text()),
        ("dockerfile", or_null(source())),
        ("ignoreFile", or_null(source())),
        ("links", list(source())),
        ("target", or_null(text())),
        ("buildArgs", map(&text())),
        ("secrets", list(text())),
        ("platforms", list(text())),
        ("hermetic", flag()),
        ("registry", or_null(text())),
        ("imageAliases", list(text())),
        ("releaseTag", or_null(text())),
        ("sources", list(source())),
        ("dependencies", map(&key())),
        ("keyVersion", count()),
    ]);
    with_optional(fields, "buildDirBytes")
}

/// A field that holds a path's bytes, where its text is not the path itself.
fn with_optional(mut schema: Value, name: &str) -> Value {
    schema["properties"][name] = json!({"type": "string", "pattern": "^([0-9a-f]{2})*$"});
    schema
}

fn map(of: &Value) -> Value {
    json!({"type": "object", "additionalProperties": of})
}
