//! The schemas of what `waybill run` prints.

use serde_json::{Value, json};

use super::documents::{
    commit, count, document, hexadecimal, list, object, or_null, problem, text,
};

/// `waybill run --json`.
pub(super) fn run() -> Value {
    let verdicts = json!([
        "passed",
        "flaky",
        "already-passed",
        "failed",
        "timed-out",
        "error",
        "blocked",
        "skipped",
        "interrupted"
    ]);
    let task = object(&[
        ("project", text()),
        ("task", text()),
        ("key", hexadecimal(64)),
        ("verdict", json!({"enum": verdicts})),
        ("passedAt", or_null(commit())),
        ("blockedBy", or_null(text())),
        ("error", or_null(problem())),
        ("milliseconds", count()),
    ]);
    document("run", &[("commit", commit()), ("tasks", list(task))])
}

/// `waybill run --dry-run --json`.
pub(super) fn run_plan() -> Value {
    let id = object(&[("project", text()), ("task", text())]);
    let task = object(&[
        ("project", text()),
        ("task", text()),
        ("key", hexadecimal(64)),
        ("action", json!({"enum": ["run", "none", "blocked"]})),
        ("passedAt", or_null(commit())),
        ("blockedBy", or_null(text())),
        ("needs", list(id)),
    ]);
    document("run-plan", &[("commit", commit()), ("tasks", list(task))])
}
