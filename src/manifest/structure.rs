//! The first look at the tree: duplicate keys, unknown fields, values of the wrong type. What is
//! right here may still be wrong in meaning.

use std::collections::BTreeMap;

use super::fields::{BASE, BASE_REQUIRED, Field, Kind, PROJECT, TASK};
use super::node::{Member, Node, Value};
use super::report::Report;
use crate::problem::Problem;

/// The name of the object that is looked at; `None` for the manifest as a whole.
type Owner<'a> = Option<&'a str>;

fn called(owner: Owner) -> String {
    owner.map_or_else(|| "the manifest".into(), |name| format!("'{name}'"))
}

/// Reports every key that stands twice in one object, however deep.
pub(super) fn check_duplicates(report: &mut Report, node: &Node) {
    let mut first = BTreeMap::new();
    for member in node.members() {
        if let Some(line) = first.get(member.name.as_str()) {
            report.add(
                member.position,
                Problem::error(
                    "duplicate-key",
                    format!(
                        "'{}' stands here again; it is in line {line} already",
                        member.name
                    ),
                )
                .hint("keep one of the two: which of them counts differs from tool to tool"),
            );
        } else {
            first.insert(member.name.as_str(), member.position.line);
        }
        check_duplicates(report, &member.node);
    }
    for item in node.items() {
        check_duplicates(report, item);
    }
}

/// Checks that a node is an object of projects.
pub(super) fn check_projects(report: &mut Report, owner: Owner, node: &Node) {
    if !expect_object(report, owner, node) {
        return;
    }
    for member in node.members() {
        report.about(Some(&member.name));
        check_object(report, Some(&member.name), &member.node, PROJECT);
    }
    report.about(None);
}

/// Reports the fields that an object must have and has not.
pub(super) fn check_required(report: &mut Report, owner: Owner, node: &Node, required: &[&str]) {
    if !matches!(node.value, Value::Object(_)) {
        return;
    }
    for field in required.iter().filter(|field| node.get(field).is_none()) {
        let hint = match *field {
            "version" => "add \"version\": 1",
            "url" => "add \"url\": \"host[:port]/prefix\"",
            _ => "add it; it may be empty",
        };
        report.add(
            node.position,
            Problem::error(
                "missing-field",
                format!("{} has no '{field}'", called(owner)),
            )
            .hint(hint),
        );
    }
}

/// Checks that a node is an object that has only these fields, each of its kind.
pub(super) fn check_object(report: &mut Report, owner: Owner, node: &Node, fields: &[Field]) {
    if !expect_object(report, owner, node) {
        return;
    }
    for member in node.members() {
        match fields.iter().find(|field| field.name == member.name) {
            Some(field) => check_value(report, field.name, &member.node, field.kind),
            None => unknown_field(report, owner, member, fields),
        }
    }
}

fn unknown_field(report: &mut Report, owner: Owner, member: &Member, fields: &[Field]) {
    let problem = Problem::error(
        "unknown-field",
        format!("{} has no field '{}'", called(owner), member.name),
    );
    let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
    let all = format!("the fields are {}", names.join(", "));
    let problem = report.suggest(problem, &member.name, names, &all);
    report.add(member.position, problem);
}

fn check_value(report: &mut Report, what: &str, node: &Node, kind: Kind) {
    match (kind, &node.value) {
        (Kind::Text | Kind::TextsOrFile | Kind::Base, Value::Text(_))
        | (Kind::Flag, Value::Bool(_))
        | (Kind::AnyArray, Value::Array(_))
        | (Kind::AnyObject, Value::Object(_)) => {}
        (Kind::Texts | Kind::TextsOrFile | Kind::TextsNotScript, Value::Array(items)) => {
            for item in items {
                if item.text().is_none() {
                    wrong_type(report, &format!("an item of '{what}'"), "a string", item);
                }
            }
        }
        (Kind::TextsNotScript, Value::Text(_)) => refuse_script(report, what, node),
        (Kind::Whole { code }, Value::Number(text)) => {
            if text.parse::<u64>().is_err() {
                let message = format!("'{what}' must be a whole number, 0 or more, and is {text}");
                report.add(node.position, Problem::error(code, message));
            }
        }
        (Kind::Version, Value::Number(text)) => check_version(report, node, text),
        (Kind::Choice { words, code }, Value::Text(text)) => {
            check_choice(report, what, node, text.as_str(), words, code);
        }
        (Kind::TextMap { code }, Value::Object(members)) => {
            check_text_map(report, what, members, code);
        }
        (Kind::Tasks { shared }, Value::Object(members)) => check_tasks(report, members, shared),
        (Kind::Sequences, Value::Object(members)) => {
            for member in members {
                check_value(report, &member.name, &member.node, Kind::Texts);
            }
        }
        (Kind::Base, Value::Object(_)) => {
            check_object(report, Some(what), node, BASE);
            check_required(report, Some(what), node, BASE_REQUIRED);
        }
        (Kind::Object(fields), Value::Object(_)) => check_object(report, Some(what), node, fields),
        (Kind::Projects, Value::Object(_)) => check_projects(report, Some(what), node),
        (Kind::Runs, Value::Object(members)) => check_runs(report, members),
        _ => wrong_type(report, &format!("'{what}'"), wanted(kind), node),
    }
}

const fn wanted(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Choice { .. } => "a string",
        Kind::Flag => "true or false",
        Kind::Whole { .. } => "a whole number",
        Kind::Version => "the number 1",
        Kind::Texts | Kind::TextsNotScript => "an array of strings",
        Kind::TextsOrFile => "an array of strings, or the name of a file",
        Kind::Base => "a string, or an object with 'url'",
        Kind::AnyArray => "an array",
        Kind::TextMap { .. }
        | Kind::Object(_)
        | Kind::Projects
        | Kind::Tasks { .. }
        | Kind::Sequences
        | Kind::AnyObject
        | Kind::Runs => "an object",
    }
}

fn wrong_type(report: &mut Report, what: &str, wanted: &str, node: &Node) {
    let problem = Problem::error(
        "wrong-type",
        format!("{what} must be {wanted}, and is {}", node.describe()),
    );
    let problem = match &node.value {
        Value::Null => problem.hint("leave the field out, or give it a value"),
        Value::Number(_) | Value::Bool(_) if wanted == "a string" => {
            problem.hint("put the value in quotes")
        }
        Value::Text(_) if wanted.starts_with("an array") => {
            problem.hint("put the value in square brackets")
        }
        Value::Text(_) if wanted == "true or false" => problem.hint("remove the quotes"),
        _ => problem,
    };
    report.add(node.position, problem);
}

fn expect_object(report: &mut Report, owner: Owner, node: &Node) -> bool {
    let is_object = matches!(node.value, Value::Object(_));
    if !is_object {
        wrong_type(report, &called(owner), "an object", node);
    }
    is_object
}

fn refuse_script(report: &mut Report, what: &str, node: &Node) {
    report.add(
        node.position,
        Problem::error(
            "script-dependencies",
            format!("'{what}' names a script, and planning runs no scripts"),
        )
        .hint("`waybill init --from-aztec` runs it once and writes the list here"),
    );
}

fn check_version(report: &mut Report, node: &Node, text: &str) {
    if text != "1" {
        report.add(
            node.position,
            Problem::error(
                "unsupported-version",
                format!("this manifest is of version {text}, and this waybill reads version 1"),
            )
            .hint("write \"version\": 1, or use a newer waybill"),
        );
    }
}

fn check_choice(
    report: &mut Report,
    what: &str,
    node: &Node,
    text: &str,
    words: &'static [&'static str],
    code: &'static str,
) {
    if words.contains(&text) {
        return;
    }
    let all = format!("'{what}' is one of {}", words.join(", "));
    let problem = Problem::error(code, format!("'{text}' is no value of '{what}'"));
    let problem = report.suggest(problem, text, words.iter().copied(), &all);
    report.add(node.position, problem);
}

fn check_text_map(report: &mut Report, what: &str, members: &[Member], code: &'static str) {
    for member in members {
        if member.node.text().is_none() {
            // The value itself is not shown: it may be a secret that should not be here.
            report.add(
                member.node.position,
                Problem::error(
                    code,
                    format!(
                        "'{}' in '{what}' must be a string, and is {}",
                        member.name,
                        member.node.describe()
                    ),
                )
                .hint("put the value in quotes"),
            );
        }
    }
}

fn check_tasks(report: &mut Report, members: &[Member], shared: bool) {
    for task in members {
        // The name of a task at the top; whether there is one is looked at later.
        if !(shared && task.node.text().is_some()) {
            check_object(report, Some(&task.name), &task.node, TASK);
        }
    }
}

fn check_runs(report: &mut Report, members: &[Member]) {
    for job in members {
        if !expect_object(report, Some(&job.name), &job.node) {
            continue;
        }
        if let Some(dependencies) = job.node.get("dependencies") {
            check_value(report, "dependencies", dependencies, Kind::TextsNotScript);
        }
    }
}
