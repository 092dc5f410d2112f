//! The JSON Schemas of what machines read and write, by the name that `waybill schema` takes.

mod documents;
mod explain;
mod seal;
mod tasks;

use serde_json::Value;

/// A name, and what makes its schema.
type Entry = (&'static str, fn() -> Value);

/// Every schema.
pub const SCHEMAS: &[Entry] = &[
    ("manifest", crate::manifest::manifest_schema),
    ("build", documents::build),
    ("check", documents::check),
    ("diff", seal::diff),
    ("error", documents::error),
    ("history", explain::history),
    ("image", explain::image),
    ("init", documents::init),
    ("log", explain::log),
    ("plan", documents::plan),
    ("plan-if", documents::plan_if),
    ("registry-init", documents::registry_init),
    ("registry-policy", documents::registry_policy),
    ("registry-serve", documents::registry_serve),
    ("run", tasks::run),
    ("run-plan", tasks::run_plan),
    ("seal", seal::seal),
    ("status", seal::status),
    ("taint", explain::taint),
    ("why", explain::why),
];

/// The schema of that name.
#[must_use]
pub fn by_name(name: &str) -> Option<Value> {
    SCHEMAS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, make)| make())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_says_which_draft_it_is() {
        for (name, _) in SCHEMAS {
            let schema = by_name(name).unwrap();
            assert_eq!(
                schema["$schema"], "https://json-schema.org/draft/2020-12/schema",
                "{name}"
            );
        }
        assert_eq!(by_name("nothing"), None);
    }
}
