//! Two commits compared, for people and as JSON.

use serde_json::{Value, json};

use super::plain::whole;
use super::why::last_changes_json;
use crate::cli::output::{Output, Style};
use crate::gather::{DiffKind, DiffLine, DiffSide, Told};
use crate::model::{Digest, Reason};

/// The comparison as the document `waybill.diff/1`.
pub(in crate::cli) fn document(first: &DiffSide, second: &DiffSide, lines: &[DiffLine]) -> Value {
    let projects: Vec<Value> = lines.iter().map(project).collect();
    json!({
        "schema": "waybill.diff/1",
        "first": side(first),
        "second": side(second),
        "projects": projects,
    })
}

fn side(side: &DiffSide) -> Value {
    json!({"commit": side.commit, "edition": side.edition})
}

fn project(line: &DiffLine) -> Value {
    json!({
        "name": line.name,
        "kind": line.kind.name(),
        "before": line.before,
        "after": line.after,
        "reason": line.told.as_ref().map(|told| &told.reason),
        "lastChanges": line.told.as_ref().map_or_else(|| json!([]), last_changes_json),
    })
}

/// The comparison for people: the projects that differ, with the files and commits behind them.
pub(in crate::cli) fn text(
    first: &DiffSide,
    second: &DiffSide,
    lines: &[DiffLine],
    all: bool,
    output: &Output,
) -> String {
    let mut text = String::new();
    let shown = lines
        .iter()
        .filter(|line| all || line.kind != DiffKind::Same);
    let width = shown.clone().map(|line| line.name.as_str().len()).max();
    for line in shown {
        let style = match line.kind {
            DiffKind::Added => Style::Green,
            DiffKind::Removed => Style::Red,
            DiffKind::Changed => Style::Yellow,
            DiffKind::Same => Style::Dim,
        };
        let word = output.paint(style, format!("{:<7}", line.kind.name()));
        let width = width.unwrap_or(0);
        let name = output.paint(Style::Bold, format!("{:<width$}", line.name));
        text.push_str(&format!("{word}  {name}  {}\n", images(line)));
        if let Some(told) = &line.told {
            behind(&mut text, told);
        }
    }
    text.push_str(&format!(
        "{} between {} and {}\n",
        counts(lines),
        first.commit.short(),
        second.commit.short()
    ));
    text
}

fn images(line: &DiffLine) -> String {
    let short = |image: Option<Digest>| match image {
        Some(image) => image.to_string().chars().take(19).collect(),
        None => "not built".to_owned(),
    };
    match line.kind {
        DiffKind::Added | DiffKind::Same => short(line.after),
        DiffKind::Removed => short(line.before),
        DiffKind::Changed => format!("{} → {}", short(line.before), short(line.after)),
    }
}

/// The files and fields behind a change, with who changed each file last.
fn behind(text: &mut String, told: &Told) {
    let Reason::InputsChanged {
        files,
        files_total,
        fields,
        ..
    } = &told.reason
    else {
        return;
    };
    for file in files {
        let by = told.last_changes.get(&file.path).map(|change| {
            let (author, subject) = (whole(&change.author), whole(&change.subject));
            format!("  {} {author}: {subject}", change.commit.short())
        });
        let by = by.unwrap_or_default();
        text.push_str(&format!("         {}{by}\n", file.path));
    }
    if *files_total > files.len() {
        let more = files_total - files.len();
        text.push_str(&format!("         and {more} more files\n"));
    }
    if !fields.is_empty() {
        text.push_str(&format!("         {}\n", fields.join(", ")));
    }
}

fn counts(lines: &[DiffLine]) -> String {
    let kinds = [
        (DiffKind::Changed, "changed"),
        (DiffKind::Added, "added"),
        (DiffKind::Removed, "removed"),
        (DiffKind::Same, "the same"),
    ];
    let counts = kinds.map(|(kind, word)| {
        let count = lines.iter().filter(|line| line.kind == kind).count();
        format!("{count} {word}")
    });
    counts.join(", ")
}
