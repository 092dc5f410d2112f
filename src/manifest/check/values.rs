//! Values that are strings with a form of their own: paths, registries, ids.

use super::Context;
use crate::manifest::node::Node;
use crate::model::{Platform, RepoPath, is_repository};
use crate::problem::Problem;

/// The value of a string in a list, or what is wrong with it.
type Parsed<T> = Result<T, Box<Problem>>;

/// The values of an array of strings in their order, each once; a repetition is a warning.
pub(super) fn distinct<T: PartialEq>(
    context: &mut Context,
    list: Option<&Node>,
    parse: impl Fn(&str) -> Parsed<T>,
) -> Vec<T> {
    let mut values = Vec::new();
    for item in list.map_or(&[][..], Node::items) {
        let Some(text) = item.text() else { continue };
        match parse(text) {
            Err(problem) => context.report.add(item.position, *problem),
            Ok(value) if values.contains(&value) => context.report.add(
                item.position,
                Problem::warning("duplicate-entry", format!("'{text}' stands here twice"))
                    .hint("remove one of the two"),
            ),
            Ok(value) => values.push(value),
        }
    }
    values
}

/// A path in the repository, resolved against a directory in it.
pub(super) fn path(
    context: &mut Context,
    field: &str,
    directory: &RepoPath,
    node: &Node,
) -> Option<RepoPath> {
    let text = node.text()?;
    if text.is_empty() {
        context.report.add(
            node.position,
            Problem::error("empty-path", format!("'{field}' is empty"))
                .hint("write \".\" for the repository's root"),
        );
        return None;
    }
    let path = directory.join(text.as_bytes());
    if path.is_none() {
        context
            .report
            .add(node.position, leaves_repository(field, text));
    }
    path
}

/// A path that points outside.
pub(super) fn leaves_repository(field: &str, text: &str) -> Problem {
    Problem::error(
        "path-leaves-repository",
        format!("'{field}' is '{text}', which is outside the repository"),
    )
    .hint("paths are relative, and '..' may not lead above the repository's root")
}

/// A registry's base, as written; what more it must be is for the registry's own module.
pub(super) fn base(context: &mut Context, field: &str, node: &Node) -> Option<String> {
    let text = node.text()?;
    match fault_of_base(text) {
        None => Some(text.to_owned()),
        Some(fault) => {
            // The text is not repeated: it may hold a password.
            context.report.add(
                node.position,
                Problem::error("invalid-registry", format!("'{field}' {fault}"))
                    .hint("write host[:port]/prefix, such as registry.example.com/acme"),
            );
            None
        }
    }
}

/// A region of AWS, such as `eu-west-2`.
pub(super) fn region(context: &mut Context, field: &str, node: &Node) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let hint = "write it as AWS does, such as eu-west-2";
    let valid = |text: &str| !text.is_empty() && text.bytes().all(plain);
    of_form(context, node, valid, ("invalid-region", field, hint))
}

/// The id of an AWS account.
pub(super) fn account(context: &mut Context, field: &str, node: &Node) -> Option<String> {
    let hint = "an account's id is 12 digits, in quotes";
    let valid = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    of_form(context, node, valid, ("invalid-account", field, hint))
}

/// A text that must be valid; else a problem with this code, field and hint.
fn of_form(
    context: &mut Context,
    node: &Node,
    valid: impl Fn(&str) -> bool,
    (code, field, hint): (&'static str, &str, &str),
) -> Option<String> {
    let text = node.text()?;
    if valid(text) {
        return Some(text.to_owned());
    }
    let problem = Problem::error(code, format!("'{text}' is no value of '{field}'"));
    context.report.add(node.position, problem.hint(hint));
    None
}

/// What `registry::Base` would refuse (a test holds the two together): this module may not depend on
/// one that does I/O, and the fault should have a line.
fn fault_of_base(text: &str) -> Option<&'static str> {
    if text == "embedded" {
        return None;
    }
    if text.contains('@') {
        return Some("holds a user name; credentials come from the engine's configuration");
    }
    let given_scheme = text.split_once("://");
    let rest = given_scheme.map_or(text, |(_, rest)| rest);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if given_scheme.is_some_and(|(scheme, _)| scheme != "http" && scheme != "https") {
        Some("has a scheme other than http:// and https://")
    } else if !is_host(host) {
        Some("does not begin with a host's name")
    } else if given_scheme.is_none() && !names_a_host(host) {
        Some("begins with what could be a host or a part of a prefix")
    } else if !prefix.is_empty() && !is_repository(prefix) {
        Some("has a prefix that no repository can have (lower-case letters, digits, . _ - /)")
    } else {
        None
    }
}

/// `host`, `host:port` or `[address]:port`.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (text, None),
    };
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let is_label = |label: &str| {
        let plain = |one: char| one.is_ascii_alphanumeric() || "-_".contains(one);
        !label.is_empty() && label.chars().all(plain)
    };
    let is_name = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.split('.').all(is_label),
    };
    is_name && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn names_a_host(text: &str) -> bool {
    text.contains(['.', ':']) || text.eq_ignore_ascii_case("localhost")
}

/// A prefix of image names: no tag, no digest, no slash at its end.
pub(super) fn image_alias(text: &str) -> Parsed<String> {
    let last = text.rsplit('/').next().unwrap_or_default();
    let fault = if text.is_empty() {
        "is empty"
    } else if text.chars().any(char::is_whitespace) {
        "holds white space"
    } else if text.contains("://") {
        "begins with a scheme"
    } else if text.ends_with('/') {
        "ends in '/'"
    } else if text.contains('@') || (text.contains('/') && last.contains(':')) {
        "has a tag or a digest"
    } else {
        return Ok(text.to_owned());
    };
    Err(Box::new(
        Problem::error("invalid-image-alias", format!("'{text}' {fault}"))
            .hint("write the part of an image name before the project's name, such as acme"),
    ))
}

/// The id of a build secret, as `--mount=type=secret,id=…` names it.
pub(super) fn secret(text: &str) -> Parsed<String> {
    let plain = |one: char| one.is_ascii_alphanumeric() || "._-".contains(one);
    if !text.is_empty() && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    // The text is not repeated: it may be the secret itself.
    Err(Box::new(
        Problem::error(
            "invalid-secret",
            "a secret's id is letters, digits, '.', '_' and '-', and at least one of them",
        )
        .hint("name the id only; its value is given when waybill is called"),
    ))
}

/// Platforms that a near miss may have meant.
const KNOWN_PLATFORMS: [&str; 8] = [
    "linux/amd64",
    "linux/arm64",
    "linux/arm/v7",
    "linux/arm/v6",
    "linux/386",
    "linux/ppc64le",
    "linux/s390x",
    "linux/riscv64",
];

/// A platform; a bare architecture gets a suggestion.
pub(super) fn platform(text: &str) -> Parsed<Platform> {
    text.parse().map_err(|error: crate::model::ParseError| {
        let suffix = format!("/{}", text.to_lowercase());
        let meant = match text {
            "x86_64" | "x64" => Some("linux/amd64"),
            "aarch64" => Some("linux/arm64"),
            _ => KNOWN_PLATFORMS
                .into_iter()
                .find(|known| known.ends_with(&suffix) || known.eq_ignore_ascii_case(text)),
        };
        let problem = Problem::error("invalid-platform", error.to_string());
        Box::new(match meant {
            Some(known) => problem.hint(format!("did you mean '{known}'?")),
            None => problem,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Base;

    #[test]
    fn bases_are_those_of_the_registry_module() {
        for good in [
            "127.0.0.1:5000",
            "127.0.0.1:5000/acme",
            "http://registry/a/b_c",
            "https://ghcr.io/acme/",
            "localhost/acme",
            "[::1]:5000/acme",
            "Registry.example.com/waybill-x",
            "123456789012.dkr.ecr.us-east-2.amazonaws.com/acme",
        ] {
            assert_eq!(fault_of_base(good), None, "{good}");
            assert!(good.parse::<Base>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "acme",
            "acme/web",
            "ftp://a.b/c",
            "me:secret@host.example/acme",
            "https://me:sec/ret@host.example/acme",
            "host.example/Acme",
            "host.example/a//b",
            "host.example:port/a",
            "host.example:/a",
            "host.example/a b",
            "host .example/a",
            "host.example/a:tag",
            "host.example/a@sha256:00",
            "https://",
        ] {
            assert!(fault_of_base(bad).is_some(), "{bad}");
            assert!(bad.parse::<Base>().is_err(), "{bad}");
        }
        assert_eq!(fault_of_base("embedded"), None);
    }

    #[test]
    fn suggests_platforms() {
        let hint = |text: &str| platform(text).unwrap_err().hint;
        assert_eq!(hint("arm64").unwrap(), "did you mean 'linux/arm64'?");
        assert_eq!(hint("x86_64").unwrap(), "did you mean 'linux/amd64'?");
        assert_eq!(hint("Linux/AMD64").unwrap(), "did you mean 'linux/amd64'?");
        assert_eq!(hint("what"), None);
        assert!(platform("linux/arm/v7").is_ok());
    }
}
