//! The schemas of the documents that commands print with `--json`.

use serde_json::{Value, json};

/// A document: its own name, and these fields, all of which are always there.
pub(super) fn document(name: &str, fields: &[(&str, Value)]) -> Value {
    let own = ("schema", json!({"const": format!("waybill.{name}/1")}));
    let fields: Vec<_> = [own].iter().chain(fields).cloned().collect();
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("waybill {name}"),
    });
    if let (Value::Object(schema), Value::Object(object)) = (&mut schema, object(&fields)) {
        schema.extend(object);
    }
    schema
}

/// An object with exactly these fields.
pub(super) fn object(fields: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let properties = fields
        .iter()
        .map(|(name, schema)| ((*name).to_owned(), schema.clone()));
    json!({
        "type": "object",
        "properties": properties.collect::<serde_json::Map<_, _>>(),
        "required": names,
        "additionalProperties": false,
    })
}

pub(super) fn text() -> Value {
    json!({"type": "string"})
}

pub(super) fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

pub(super) fn flag() -> Value {
    json!({"type": "boolean"})
}

pub(super) fn list(of: Value) -> Value {
    let fields = [("type", json!("array")), ("items", of)];
    fields.into_iter().collect()
}

pub(super) fn or_null(schema: Value) -> Value {
    let either = vec![schema, json!({"type": "null"})];
    json!({"anyOf": either})
}

pub(super) fn hexadecimal(digits: usize) -> Value {
    json!({"type": "string", "pattern": format!("^[0-9a-f]{{{digits}}}$")})
}

pub(super) fn commit() -> Value {
    hexadecimal(40)
}

pub(super) fn digest() -> Value {
    json!({"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"})
}

pub(super) fn problem() -> Value {
    object(&[
        ("severity", json!({"enum": ["error", "warning"]})),
        (
            "code",
            json!({"type": "string", "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"}),
        ),
        ("message", text()),
        ("project", or_null(text())),
        ("file", or_null(text())),
        ("line", or_null(count())),
        ("column", or_null(count())),
        ("hint", or_null(text())),
    ])
}

/// `waybill check --json`, also where it finds errors.
pub(super) fn check() -> Value {
    let project = object(&[
        ("name", text()),
        ("dockerfile", or_null(text())),
        ("uses", list(text())),
        ("triggers", list(text())),
    ]);
    document(
        "check",
        &[
            ("manifest", text()),
            ("projects", list(project)),
            ("problems", list(problem())),
        ],
    )
}

/// What any command prints in place of its own document if it fails.
pub(super) fn error() -> Value {
    document(
        "error",
        &[
            ("exit", json!({"enum": [1, 2, 3, 4, 130]})),
            ("errors", list(problem())),
        ],
    )
}

/// `waybill init --json`.
pub(super) fn init() -> Value {
    let project = object(&[
        ("name", text()),
        ("buildDir", text()),
        ("dockerfile", text()),
        ("dependencies", list(text())),
    ]);
    document(
        "init",
        &[
            ("manifest", text()),
            ("projects", list(project)),
            ("problems", list(problem())),
        ],
    )
}

/// `waybill plan --json`.
pub(super) fn plan() -> Value {
    let mut project = object(&[
        ("name", text()),
        ("action", json!({"enum": ["build", "reuse", "none"]})),
        ("key", hexadecimal(64)),
        ("image", or_null(text())),
        ("reason", reason()),
        ("warnings", list(problem())),
    ]);
    // These stand where something is built.
    project["properties"]["uses"] = list(text());
    project["properties"]["triggers"] = list(text());
    project["dependentRequired"] = json!({"uses": ["triggers"], "triggers": ["uses"]});
    document(
        "plan",
        &[
            ("commit", commit()),
            ("registry", text()),
            ("projects", list(project)),
        ],
    )
}

/// `waybill plan --if … --json`.
pub(super) fn plan_if() -> Value {
    let file = object(&[
        ("path", text()),
        ("pattern", or_null(text())),
        (
            "field",
            or_null(json!({"enum": ["dockerfile", "ignoreFile", "links"]})),
        ),
        ("via", list(text())),
    ]);
    let project = object(&[
        ("name", text()),
        ("action", json!({"const": "build"})),
        ("files", list(file)),
        ("filesTotal", count()),
    ]);
    document(
        "plan-if",
        &[
            ("commit", commit()),
            ("projects", list(project)),
            ("warnings", list(problem())),
        ],
    )
}

/// `waybill registry init --json`.
pub(super) fn registry_init() -> Value {
    let fields = [
        ("base", text()),
        ("id", hexadecimal(32)),
        ("upstream", flag()),
        // Null where the registry makes repositories by itself.
        ("repositories", or_null(list(text()))),
    ];
    document("registry-init", &fields)
}

/// `waybill registry init --print-policy`.
pub(super) fn registry_policy() -> Value {
    let filter = object(&[
        ("filterType", json!({"const": "WILDCARD"})),
        ("filter", text()),
    ]);
    let mut repository = object(&[
        ("repository", text()),
        (
            "imageTagMutability",
            json!({"enum": ["IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION"]}),
        ),
        ("imageTagMutabilityExclusionFilters", list(filter)),
        (
            "imageScanningConfiguration",
            object(&[("scanOnPush", flag())]),
        ),
    ]);
    // Amazon's own form; absent where nothing is ever removed.
    repository["properties"]["lifecyclePolicy"] = json!({"type": "object"});
    document("registry-policy", &[("repositories", list(repository))])
}

/// `waybill registry serve --json`, printed once it listens.
pub(super) fn registry_serve() -> Value {
    document("registry-serve", &[("address", text()), ("base", text())])
}

/// `waybill build --json`.
pub(super) fn build() -> Value {
    let verdicts = json!([
        "built",
        "reused",
        "adopted",
        "none",
        "failed",
        "error",
        "blocked",
        "interrupted"
    ]);
    let project = object(&[
        ("name", text()),
        ("verdict", json!({"enum": verdicts})),
        ("image", or_null(text())),
        ("digest", or_null(digest())),
        ("blockedBy", or_null(text())),
        ("error", or_null(problem())),
        ("milliseconds", count()),
    ]);
    document(
        "build",
        &[
            ("commit", commit()),
            ("registry", text()),
            ("projects", list(project)),
        ],
    )
}

/// Why a project is built, or is not: one form for each kind.
pub(super) fn reason() -> Value {
    let file = object(&[("path", text()), ("pattern", text()), ("via", list(text()))]);
    let said = [("by", text()), ("why", text()), ("commit", commit())];
    let kinds = [
        kind("recorded", &[("commit", commit())]),
        kind("unchanged-since", &[("commit", commit())]),
        kind(
            "inputs-changed",
            &[
                ("ancestor", commit()),
                ("files", list(file)),
                ("filesTotal", count()),
                ("fields", list(text())),
                ("refused", or_null(text())),
            ],
        ),
        kind(
            "never-built",
            &[("searched", count()), ("limitReached", flag())],
        ),
        kind("history-unavailable", &[("missing", text())]),
        kind("tainted", &said),
        kind("forced", &said),
        kind("image-gone", &[("image", text())]),
        kind("record-unreadable", &[("why", text())]),
        kind("record-lost", &[("why", text())]),
        kind(
            "dependency-replaced",
            &[
                ("project", text()),
                ("recorded", digest()),
                ("current", or_null(digest())),
            ],
        ),
        kind("no-dockerfile", &[]),
        kind("no-sources", &[]),
    ];
    json!({"oneOf": kinds})
}

fn kind(name: &str, fields: &[(&str, Value)]) -> Value {
    let kind = [("kind", json!({"const": name}))];
    let fields: Vec<_> = kind.iter().chain(fields).cloned().collect();
    object(&fields)
}
