//! The schemas of what the commands about waybills print with `--json`.

use serde_json::{Value, json};

use super::documents::{
    commit, count, digest, document, flag, hexadecimal, list, object, or_null, problem, reason,
    text,
};
use super::explain::last_change;

/// `waybill status --json`.
pub(super) fn status() -> Value {
    let waybill = object(&[
        ("waybill", text()),
        ("edition", count()),
        ("tag", or_null(text())),
        ("created", text()),
        ("current", flag()),
    ]);
    let failure = object(&[
        ("commit", commit()),
        ("code", text()),
        ("problem", problem()),
    ]);
    let states = json!(["done", "missing", "failed", "tainted", "absent"]);
    let project = object(&[
        ("name", text()),
        ("state", json!({ "enum": states })),
        ("blocks", flag()),
        ("key", hexadecimal(64)),
        ("image", or_null(text())),
        ("reason", reason()),
        ("failure", or_null(failure)),
    ]);
    let failure = object(&[
        ("commit", commit()),
        (
            "verdict",
            json!({"enum": ["failed", "timed-out", "interrupted"]}),
        ),
        ("message", text()),
    ]);
    let task = object(&[
        ("project", text()),
        ("task", text()),
        (
            "state",
            json!({"enum": ["passed", "missing", "failed", "faulty"]}),
        ),
        ("blocks", flag()),
        ("key", or_null(hexadecimal(64))),
        ("failure", or_null(failure)),
    ]);
    document(
        "status",
        &[
            ("commit", commit()),
            ("registry", text()),
            ("sealed", flag()),
            ("blocked", count()),
            ("waybills", list(waybill)),
            ("projects", list(project)),
            ("tasks", list(task)),
        ],
    )
}

/// `waybill seal --json`.
pub(super) fn seal() -> Value {
    let project = object(&[
        ("name", text()),
        ("key", hexadecimal(64)),
        ("image", text()),
        ("builtAt", commit()),
        ("adopted", flag()),
        (
            "tasks",
            json!({"type": "object", "additionalProperties": hexadecimal(64)}),
        ),
    ]);
    document(
        "seal",
        &[
            ("commit", commit()),
            ("registry", text()),
            ("tag", or_null(text())),
            ("waybill", text()),
            ("edition", count()),
            ("created", text()),
            ("new", flag()),
            ("projects", list(project)),
        ],
    )
}

/// `waybill diff --json`.
pub(super) fn diff() -> Value {
    let side = object(&[("commit", commit()), ("edition", or_null(count()))]);
    let kinds = json!(["added", "removed", "changed", "same"]);
    let project = object(&[
        ("name", text()),
        ("kind", json!({ "enum": kinds })),
        ("before", or_null(digest())),
        ("after", or_null(digest())),
        ("reason", or_null(reason())),
        ("lastChanges", list(last_change())),
    ]);
    document(
        "diff",
        &[
            ("first", side.clone()),
            ("second", side),
            ("projects", list(project)),
        ],
    )
}
