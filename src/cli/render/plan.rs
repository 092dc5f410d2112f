//! A plan, for people in a line each, and as JSON.

use serde_json::{Value, json};

use crate::cli::output::{Output, Style, problem_json};
use crate::cli::session::OpenBases;
use crate::model::Reason;
use crate::plan::{Action, Place, Plan, Planned};

/// The plan as the document `waybill.plan/1`.
pub(in crate::cli) fn document(plan: &Plan, bases: &OpenBases) -> Value {
    let projects: Vec<Value> = plan
        .projects
        .values()
        .map(|planned| project(planned, bases))
        .collect();
    json!({
        "schema": "waybill.plan/1",
        "commit": plan.commit,
        "registry": bases.name(Place::Registry),
        "projects": projects,
    })
}

fn project(planned: &Planned, bases: &OpenBases) -> Value {
    let image = match &planned.action {
        Action::Reuse {
            image,
            place,
            facts,
            ..
        } => Some(bases.lasting_reference(&planned.name, image, *place, facts.commit)),
        Action::Build(_) | Action::None => None,
    };
    let warnings: Vec<Value> = planned.warnings.iter().map(problem_json).collect();
    let mut document = json!({
        "name": planned.name,
        "action": planned.action.name(),
        "key": planned.key.key,
        "image": image,
        "reason": planned.reason,
        "warnings": warnings,
    });
    if let (Action::Build(_), Some(fields)) = (&planned.action, document.as_object_mut()) {
        fields.insert("uses".to_owned(), json!(planned.uses));
        fields.insert("triggers".to_owned(), json!(planned.triggers));
    }
    document
}

/// The plan for people: a line for each project that is built, and how many are reused.
pub(in crate::cli) fn text(plan: &Plan, all: bool, output: &Output) -> String {
    let mut text = String::new();
    let shown = |planned: &&Planned| all || matches!(planned.action, Action::Build(_));
    let width = plan
        .projects
        .values()
        .filter(shown)
        .map(|planned| planned.name.as_str().len());
    let width = width.max().unwrap_or(0);
    for planned in plan.projects.values().filter(shown) {
        let style = match planned.action {
            Action::Build(_) => Style::Yellow,
            Action::Reuse { .. } => Style::Green,
            Action::None => Style::Dim,
        };
        let action = output.paint(style, format!("{:<5}", planned.action.name()));
        let name = output.paint(Style::Bold, format!("{:<width$}", planned.name));
        text.push_str(&format!(
            "{action}  {name}  {}\n",
            sentence(&planned.reason)
        ));
        for warning in &planned.warnings {
            let place = warning
                .location
                .as_ref()
                .map(|location| format!(" ({location})"));
            let word = output.paint(Style::Yellow, "warning");
            let line = format!("{word}: {}{}", warning.message, place.unwrap_or_default());
            text.push_str(&format!("{:width$}         {line}\n", ""));
        }
    }
    text.push_str(&summary(plan));
    text.push('\n');
    text
}

/// How many are built, reused, and neither.
pub(in crate::cli) fn summary(plan: &Plan) -> String {
    let count = |name: &str| {
        plan.projects
            .values()
            .filter(|planned| planned.action.name() == name)
            .count()
    };
    let (build, reuse, none) = (count("build"), count("reuse"), count("none"));
    let mut text = format!("{build} to build, {reuse} reused");
    if none > 0 {
        text.push_str(&format!(", {none} with nothing to build"));
    }
    format!("{text} at {}", plan.commit.short())
}

/// A reason in one line.
pub(in crate::cli) fn sentence(reason: &Reason) -> String {
    match reason {
        Reason::Recorded { commit } => format!("recorded at {}", commit.short()),
        Reason::UnchangedSince { commit } => format!("unchanged since {}", commit.short()),
        Reason::InputsChanged {
            ancestor,
            files,
            files_total,
            fields,
            refused,
        } => {
            if let Some(refused) = refused {
                return format!("nothing changed since {}, but {refused}", ancestor.short());
            }
            let mut parts = Vec::new();
            if let Some(first) = files.first() {
                let more = match files_total - 1 {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                let via = if first.via.len() > 1 {
                    let names: Vec<&str> = first.via[1..].iter().map(AsRef::as_ref).collect();
                    format!(" (via {})", names.join(" → "))
                } else {
                    String::new()
                };
                parts.push(format!("{}{via}{more}", first.path));
            }
            if !fields.is_empty() {
                parts.push(fields.join(", "));
            }
            if parts.is_empty() {
                parts.push("inputs".to_owned());
            }
            format!("{} changed since {}", parts.join("; "), ancestor.short())
        }
        Reason::NeverBuilt { searched: 0, .. } => "never built".to_owned(),
        Reason::NeverBuilt {
            searched,
            limit_reached,
        } => {
            let limit = if *limit_reached { ", the limit" } else { "" };
            format!("never built in the last {searched} commits{limit}")
        }
        Reason::HistoryUnavailable { missing } => format!("history unavailable: {missing}"),
        Reason::Tainted { by, why, commit } => {
            format!("tainted at {} by {by}: {why}", commit.short())
        }
        Reason::Forced { why, commit, .. } => format!("forced at {}: {why}", commit.short()),
        Reason::ImageGone { image } => format!("the recorded image is gone: {image}"),
        Reason::RecordUnreadable { why } => format!("the record cannot be read: {why}"),
        Reason::RecordLost { why } => format!("the record is lost: {why}"),
        Reason::DependencyReplaced {
            project,
            current: None,
            ..
        } => {
            format!("{project}, whose image went in, is built again")
        }
        Reason::DependencyReplaced { project, .. } => {
            format!("the image of {project}, which went in, was replaced")
        }
        Reason::NoDockerfile => "no Dockerfile at this commit".to_owned(),
        Reason::NoSources => "no file matches its patterns".to_owned(),
    }
}
