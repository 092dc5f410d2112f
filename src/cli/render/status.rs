//! Where a commit stands, for people and as JSON.

use serde_json::{Value, json};

use super::plain::line;
use super::plan::sentence;
use crate::cli::output::{Output, Style, problem_json};
use crate::cli::session::OpenBases;
use crate::gather::Status;
use crate::ledger::{Edition, Release};
use crate::model::{ProjectName, TaskId};
use crate::plan::{Action, Place, State, TaskState};
use crate::problem::Problem;

/// How much of a failure's message a line shows.
const MESSAGE: usize = 160;

/// The status as the document `waybill.status/1`.
pub(in crate::cli) fn document(status: &Status, bases: &OpenBases) -> Value {
    let current = status.current().map(|edition| edition.number);
    let waybills: Vec<Value> = status
        .editions
        .iter()
        .map(|edition| {
            json!({
                "waybill": name(status, edition, bases),
                "edition": edition.number,
                "tag": edition.release.tag,
                "created": edition.created,
                "current": current == Some(edition.number),
            })
        })
        .collect();
    let projects: Vec<Value> = status
        .projects
        .iter()
        .map(|(name, state)| project(status, name, state, bases))
        .collect();
    json!({
        "schema": "waybill.status/1",
        "commit": status.planning.plan.commit,
        "registry": bases.name(Place::Registry),
        "sealed": current.is_some(),
        "blocked": status.blockers().count() + status.open_tasks().count(),
        "waybills": waybills,
        "projects": projects,
        "tasks": status.tasks.iter().map(task).collect::<Vec<_>>(),
    })
}

fn task((id, state): (&TaskId, &TaskState)) -> Value {
    let (key, failure) = match state {
        TaskState::Passed { key } => (Some(key), None),
        TaskState::Failed { failure } => {
            let failure = json!({
                "commit": failure.commit,
                "verdict": failure.verdict,
                "message": failure.message,
            });
            (None, Some(failure))
        }
        TaskState::Missing | TaskState::Faulty { .. } => (None, None),
    };
    json!({
        "project": id.project,
        "task": id.task,
        "state": state.name(),
        "blocks": state.blocks(),
        "key": key,
        "failure": failure,
    })
}

fn project(status: &Status, name: &ProjectName, state: &State, bases: &OpenBases) -> Value {
    let planned = status.planning.plan.projects.get(name);
    let image = planned.and_then(|planned| match &planned.action {
        Action::Reuse {
            image,
            place,
            facts,
            ..
        } => Some(bases.lasting_reference(name, image, *place, facts.commit)),
        Action::Build(_) | Action::None => None,
    });
    let failure = match state {
        State::Failed { failure } => {
            let problem =
                Problem::error("last-build-failed", failure.message.clone()).project(name);
            Some(json!({
                "commit": failure.commit,
                "code": failure.code,
                "problem": problem_json(&problem),
            }))
        }
        _ => None,
    };
    json!({
        "name": name,
        "state": state.name(),
        "blocks": state.blocks(),
        "key": planned.map(|planned| planned.key.key),
        "image": image,
        "reason": planned.map(|planned| &planned.reason),
        "failure": failure,
    })
}

/// The projects of a waybill, for JSON.
pub(in crate::cli) fn shipped(release: &Release, bases: &OpenBases) -> Vec<Value> {
    let base = bases.bases.registry.client().base();
    let projects = release.projects.iter();
    projects
        .map(|(name, shipped)| {
            json!({
                "name": name,
                "key": shipped.key,
                "image": base.image(name, &shipped.image),
                "builtAt": shipped.commit,
                "adopted": shipped.adopted,
                "tasks": shipped.tasks,
            })
        })
        .collect()
}

/// The status for people: a line for each project that is not done, and whether it is sealed.
pub(in crate::cli) fn text(
    status: &Status,
    all: bool,
    bases: &OpenBases,
    output: &Output,
) -> String {
    let mut text = String::new();
    let shown: Vec<(&ProjectName, &State)> = status
        .projects
        .iter()
        .filter(|(_, state)| all || !matches!(state, State::Done { .. }))
        .collect();
    let width = shown.iter().map(|(name, _)| name.as_str().len()).max();
    for (name, state) in shown {
        let style = match state {
            State::Done { .. } => Style::Green,
            State::Missing => Style::Yellow,
            State::Failed { .. } | State::Tainted => Style::Red,
            State::Absent { .. } => Style::Dim,
        };
        let word = output.paint(style, format!("{:<7}", state.name()));
        let width = width.unwrap_or(0);
        let name_painted = output.paint(Style::Bold, format!("{name:<width$}"));
        let said = said(status, name, state);
        text.push_str(&format!("{word}  {name_painted}  {said}\n"));
    }
    for (id, state) in status
        .tasks
        .iter()
        .filter(|(_, state)| all || state.blocks())
    {
        text.push_str(&task_line(id, state, output));
    }
    text.push_str(&summary(status, bases));
    text
}

fn task_line(id: &TaskId, state: &TaskState, output: &Output) -> String {
    let (style, said) = match state {
        TaskState::Passed { .. } => (Style::Green, String::new()),
        TaskState::Missing => (Style::Yellow, "  has not passed".to_owned()),
        TaskState::Failed { failure } => {
            let message = line(&failure.message, MESSAGE);
            (
                Style::Red,
                format!("  {message} (at {})", failure.commit.short()),
            )
        }
        TaskState::Faulty { problem } => (Style::Red, format!("  {}", problem.message)),
    };
    let word = output.paint(style, format!("{:<7}", state.name()));
    format!("{word}  {}{said}\n", output.paint(Style::Bold, id))
}

fn said(status: &Status, name: &ProjectName, state: &State) -> String {
    if let State::Failed { failure } = state {
        let message = line(&failure.message, MESSAGE);
        return format!("{message} (at {})", failure.commit.short());
    }
    let planned = status.planning.plan.projects.get(name);
    planned.map_or_else(String::new, |planned| sentence(&planned.reason))
}

fn summary(status: &Status, bases: &OpenBases) -> String {
    let at = status.planning.plan.commit.short();
    let done = |state: &&State| matches!(state, State::Done { .. });
    let done = status.projects.values().filter(done).count();
    let count = status.projects.len();
    let mut text = format!("{done} of {count} done at {at}");
    if !status.tasks.is_empty() {
        let passed = status.tasks.len() - status.open_tasks().count();
        let all = status.tasks.len();
        text.push_str(&format!(", {passed} of {all} required tasks passed"));
    }
    text.push('\n');
    let open = status.open_tasks().count();
    let next = match status.blockers().count() {
        0 if open == 1 => "1 task is in the way".to_owned(),
        0 if open > 1 => format!("{open} tasks are in the way"),
        0 if bases.bases.registry.marker().upstream => {
            "nothing ever is in a base with an upstream".to_owned()
        }
        0 => "`waybill seal` seals it".to_owned(),
        1 => "1 project is in the way".to_owned(),
        many => format!("{many} projects are in the way"),
    };
    let line = match (status.current(), status.editions.last()) {
        (Some(edition), _) => format!(
            "sealed {}: {}",
            edition.created,
            name(status, edition, bases)
        ),
        (None, Some(edition)) => {
            format!(
                "sealed {}, and no longer as it is now: {next}",
                edition.created
            )
        }
        (None, None) => format!("not sealed: {next}"),
    };
    text.push_str(&line);
    text.push('\n');
    text
}

/// The whole name of an edition.
fn name(status: &Status, edition: &Edition, bases: &OpenBases) -> String {
    bases.ledger_name(status.sealed_in, &edition.tag)
}
