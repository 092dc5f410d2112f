//! The fields of a project that say how its image is built.

use std::collections::BTreeMap;

use super::{Context, values};
use crate::manifest::model::LayerCache;
use crate::manifest::node::{Node, Value};
use crate::model::Platform;
use crate::problem::Problem;

/// `target`.
pub(super) fn target(context: &mut Context, project: &Node) -> Option<String> {
    let node = project.get("target")?;
    let text = node.text()?;
    if text.is_empty() || text.contains(char::is_whitespace) {
        context.report.add(
            node.position,
            Problem::error("invalid-target", format!("'{text}' is no name of a stage"))
                .hint("leave 'target' out to build the last stage"),
        );
    }
    Some(text.to_owned())
}

/// Arguments that waybill itself gives where a Dockerfile declares them.
const OWN_ARGUMENTS: [&str; 4] = [
    "COMMIT_TAG",
    "ARG_COMMIT_HASH",
    "WAYBILL_COMMIT",
    "WAYBILL_KEY",
];

/// `buildArgs`.
pub(super) fn build_args(context: &mut Context, project: &Node) -> BTreeMap<String, String> {
    let mut arguments = BTreeMap::new();
    for member in project.get("buildArgs").map_or(&[][..], Node::members) {
        let name = &member.name;
        if name.is_empty() || name.contains(|one: char| one == '=' || one.is_whitespace()) {
            context.report.add(
                member.position,
                Problem::error(
                    "invalid-build-arg",
                    format!("'{name}' is no name of an argument"),
                )
                .hint("write {\"NAME\": \"value\"}"),
            );
        } else if OWN_ARGUMENTS.contains(&name.as_str()) {
            context.report.add(
                member.position,
                Problem::error(
                    "reserved-build-arg",
                    format!("waybill itself gives '{name}'"),
                )
                .hint("declare it in the Dockerfile with ARG, and leave it out here"),
            );
        } else if sounds_secret(name) {
            context.report.add(
                member.position,
                Problem::warning(
                    "build-arg-named-like-secret",
                    format!("'{name}' sounds like a secret, and build arguments stay in the image"),
                )
                .hint("use 'secrets' and RUN --mount=type=secret"),
            );
        }
        if let Some(value) = member.node.text() {
            arguments
                .entry(name.clone())
                .or_insert_with(|| value.to_owned());
        }
    }
    arguments
}

/// Whether one of the words that make up a name is one that secrets go by.
fn sounds_secret(name: &str) -> bool {
    const WORDS: [&str; 12] = [
        "TOKEN",
        "TOKENS",
        "SECRET",
        "SECRETS",
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "KEY",
        "APIKEY",
        "CREDENTIAL",
        "CREDENTIALS",
        "AUTH",
    ];
    let upper = name.to_uppercase();
    let words: Vec<&str> = upper.split(|one: char| !one.is_alphanumeric()).collect();
    !words.contains(&"PUBLIC") && words.iter().any(|word| WORDS.contains(word))
}

/// `platforms`, or what `multiarch` stands for, sorted; never empty.
pub(super) fn platforms(context: &mut Context, project: &Node) -> Vec<Platform> {
    let multiarch = project.get("multiarch");
    let Some(node) = project.get("platforms") else {
        return match multiarch {
            Some(_) => vec![Platform::default(), arm64()],
            None => vec![Platform::default()],
        };
    };
    if let Some(multiarch) = multiarch {
        context.report.add(
            multiarch.position,
            Problem::error(
                "conflicting-fields",
                "'multiarch' and 'platforms' say the same thing",
            )
            .hint("keep 'platforms'"),
        );
    }
    if matches!(&node.value, Value::Array(items) if items.is_empty()) {
        context.report.add(
            node.position,
            Problem::error("invalid-platform", "'platforms' is empty")
                .hint("leave it out for linux/amd64"),
        );
    }
    let mut platforms = values::distinct(context, Some(node), values::platform);
    platforms.sort();
    platforms
}

fn arm64() -> Platform {
    Platform {
        architecture: "arm64".into(),
        ..Platform::default()
    }
}

/// `layerCache`, or its default.
pub(super) fn layer_cache(project: &Node) -> LayerCache {
    match project.get("layerCache").and_then(Node::text) {
        Some("none") => LayerCache::None,
        Some("stages") => LayerCache::Stages,
        _ => LayerCache::default(),
    }
}

/// `epoch`, or 0.
pub(super) fn epoch(project: &Node) -> u64 {
    match project.get("epoch").map(|node| &node.value) {
        Some(Value::Number(text)) => text.parse().unwrap_or_default(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::sounds_secret;

    #[test]
    fn secrets_are_known_by_whole_words() {
        for secret in ["NPM_TOKEN", "token", "AWS_SECRET_ACCESS_KEY", "db-password"] {
            assert!(sounds_secret(secret), "{secret}");
        }
        for plain in [
            "MONKEY",
            "TOKENIZER",
            "KEYBOARD_LAYOUT",
            "SIGNING_PUBLIC_KEY",
            "",
        ] {
            assert!(!sounds_secret(plain), "{plain}");
        }
    }
}
