//! The manifest's JSON Schema (draft 2020-12), for editors and other programs, made from the list
//! of fields that the reader goes by.

use serde_json::{Map, Value, json};

use super::fields::{BASE, BASE_REQUIRED, Field, Kind, PROJECT, TASK, TOP, TOP_REQUIRED};

/// The schema of both shapes: the full one where `version` is no project, else Aztec's.
#[must_use]
pub fn manifest_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "waybill manifest",
        "if": {
            "required": ["version"],
            "properties": {"version": {"not": {"type": "object"}}},
        },
        "then": {"$ref": "#/$defs/full"},
        "else": {"$ref": "#/$defs/projects"},
        "$defs": {
            "full": object(TOP, TOP_REQUIRED),
            "projects": {
                "type": "object",
                "propertyNames": {"$ref": "#/$defs/name"},
                "additionalProperties": {"$ref": "#/$defs/project"},
            },
            "project": project(),
            "name": {
                "type": "string",
                "maxLength": 128,
                "pattern": name_pattern(),
                "not": {"pattern": "^waybill-"},
            },
            "base": object(BASE, BASE_REQUIRED),
            "taskName": {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,31}$"},
            "task": object(TASK, &[]),
        },
    })
}

fn project() -> Value {
    let mut schema = object(PROJECT, &[]);
    schema["anyOf"] = json!([{"required": ["buildDir"]}, {"required": ["projectDir"]}]);
    schema
}

/// The form of a repository's name (see `ProjectName`).
fn name_pattern() -> String {
    let component = "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*";
    format!("^{component}(/{component})*$")
}

fn object(fields: &[Field], required: &[&str]) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|field| {
            let mut schema = value(field.kind);
            schema["description"] = field.about.into();
            (field.name.to_owned(), schema)
        })
        .collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn value(kind: Kind) -> Value {
    let texts = json!({"type": "array", "items": {"type": "string"}});
    match kind {
        Kind::Text => json!({"type": "string"}),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Whole { .. } => json!({"type": "integer", "minimum": 0, "maximum": u64::MAX}),
        Kind::Version => json!({"const": 1}),
        Kind::Choice { words, .. } => json!({"enum": words}),
        Kind::Texts | Kind::TextsNotScript => texts,
        Kind::TextsOrFile => json!({"anyOf": [texts, {"type": "string", "minLength": 1}]}),
        Kind::TextMap { .. } => {
            json!({"type": "object", "additionalProperties": {"type": "string"}})
        }
        Kind::Base => json!({"anyOf": [{"type": "string"}, {"$ref": "#/$defs/base"}]}),
        Kind::Object(fields) => object(fields, &[]),
        Kind::Projects => json!({"$ref": "#/$defs/projects"}),
        Kind::Tasks { shared } => tasks(shared),
        Kind::Sequences => json!({
            "type": "object",
            "propertyNames": {"$ref": "#/$defs/taskName"},
            "additionalProperties": texts,
        }),
        Kind::AnyObject => json!({"type": "object"}),
        Kind::AnyArray => json!({"type": "array"}),
        Kind::Runs => json!({
            "type": "object",
            "additionalProperties": {"type": "object", "properties": {"dependencies": texts}},
        }),
    }
}

fn tasks(shared: bool) -> Value {
    let task = json!({"$ref": "#/$defs/task"});
    let task = if shared {
        json!({"anyOf": [task, {"$ref": "#/$defs/taskName"}]})
    } else {
        task
    };
    json!({
        "type": "object",
        "propertyNames": {"$ref": "#/$defs/taskName"},
        "additionalProperties": task,
    })
}

#[cfg(test)]
mod tests {
    use super::super::manifest_fields;
    use super::*;

    /// Every path of properties in a schema, references followed.
    fn paths(root: &Value, schema: &Value, prefix: &str, found: &mut Vec<String>) {
        if let Some(reference) = schema["$ref"].as_str() {
            let pointer = reference.trim_start_matches('#');
            paths(root, root.pointer(pointer).unwrap(), prefix, found);
        }
        for choice in schema["anyOf"].as_array().into_iter().flatten() {
            paths(root, choice, prefix, found);
        }
        if schema["propertyNames"].is_object() {
            let each = &schema["additionalProperties"];
            let names = schema["propertyNames"]["$ref"].as_str().unwrap();
            let key = if names.ends_with("taskName") {
                "task"
            } else {
                "name"
            };
            paths(root, each, &format!("{prefix}<{key}>."), found);
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            found.push(format!("{prefix}{name}"));
            paths(root, property, &format!("{prefix}{name}."), found);
        }
    }

    #[test]
    fn has_the_fields_that_the_reader_knows() {
        let schema = manifest_schema();
        let mut in_schema = Vec::new();
        paths(&schema, &schema["$defs"]["full"], "", &mut in_schema);
        let mut known: Vec<String> = manifest_fields()
            .into_iter()
            .map(|(path, _)| path)
            .collect();
        in_schema.sort();
        known.sort();
        assert_eq!(in_schema, known);
    }

    /// A required field is missed by the reader too, under its name.
    #[test]
    fn requires_what_the_reader_requires() {
        let schema = manifest_schema();
        assert_eq!(
            schema["$defs"]["full"]["required"],
            json!(["version", "projects"])
        );
        assert_eq!(schema["$defs"]["base"]["required"], json!(["url"]));
    }

    #[test]
    fn names_are_those_of_the_model() {
        let pattern = regex::Regex::new(&name_pattern()).unwrap();
        for name in [
            "api",
            "a/b",
            "a.b_c__d---e",
            "0",
            "",
            "A",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "a//b",
            "a b",
        ] {
            let valid = name.parse::<crate::model::ProjectName>().is_ok();
            assert_eq!(pattern.is_match(name), valid, "{name}");
        }
    }
}
