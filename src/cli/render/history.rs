//! A project commit by commit, a line each, and as JSON.

use serde_json::{Value, json};

use super::plain::{line, whole};
use super::plan::sentence;
use crate::cli::output::{Output, Style};
use crate::cli::session::{OpenBases, timestamp};
use crate::gather::{HistoryLine, HistoryRequest, Stand};
use crate::ledger::names;

/// The most characters of a subject, and of what went wrong, that a line shows.
const SUBJECT: usize = 50;
const FAULT: usize = 60;

/// The history as the document `waybill.history/1`.
pub(in crate::cli) fn document(
    request: &HistoryRequest,
    lines: &[HistoryLine],
    bases: &OpenBases,
) -> Value {
    let commits: Vec<Value> = lines.iter().map(|line| row(line, bases)).collect();
    json!({
        "schema": "waybill.history/1",
        "commit": request.commit,
        "project": request.project,
        "commits": commits,
    })
}

fn row(line: &HistoryLine, bases: &OpenBases) -> Value {
    let from = match &line.stand {
        Stand::Built => Some(line.commit.id),
        Stand::Reused { commit } | Stand::Adopted { commit } => Some(*commit),
        _ => None,
    };
    let detail = match &line.stand {
        Stand::Failed(failed) => Some(failed.message.clone()),
        Stand::Forced { why } | Stand::Unreadable { why } | Stand::NoManifest { why } => {
            Some(why.clone())
        }
        Stand::Nothing(reason) => Some(reason.kind().to_owned()),
        _ => None,
    };
    let tags = line
        .tags
        .iter()
        .map(|(place, tag)| json!({ "base": bases.name(*place), "tag": tag }));
    let taint = line.taint.as_ref().map(|taint| {
        json!({
            "reason": taint.taint.reason,
            "base": bases.name(taint.place),
            "written": taint.created,
        })
    });
    json!({
        "commit": line.commit.id,
        "time": timestamp(line.commit.time),
        "author": line.commit.author,
        "subject": line.commit.subject(),
        "key": line.key,
        "stands": kind(&line.stand),
        "builtAt": from,
        "detail": detail,
        "taint": taint,
        "tags": tags.collect::<Vec<_>>(),
    })
}

fn kind(stand: &Stand) -> &'static str {
    match stand {
        Stand::Built => "built",
        Stand::Reused { .. } => "reused",
        Stand::Adopted { .. } => "adopted",
        Stand::Failed(_) => "failed",
        Stand::Tainted => "tainted",
        Stand::Forced { .. } => "forced",
        Stand::NotRecorded => "not-recorded",
        Stand::Unreadable { .. } => "record-unreadable",
        Stand::Nothing(_) => "none",
        Stand::NoProject => "no-project",
        Stand::NoManifest { .. } => "no-manifest",
    }
}

/// The history for people.
pub(in crate::cli) fn text(lines: &[HistoryLine], output: &Output) -> String {
    let width = lines.iter().map(|line| stands(line).chars().count());
    let width = width.filter(|width| *width <= FAULT).max().unwrap_or(0);
    lines
        .iter()
        .map(|line| text_line(line, width, output))
        .collect()
}

fn text_line(entry: &HistoryLine, width: usize, output: &Output) -> String {
    let style = match &entry.stand {
        Stand::Built => Style::Green,
        Stand::Reused { .. } | Stand::Adopted { .. } => Style::Cyan,
        Stand::Failed(_) | Stand::Unreadable { .. } => Style::Red,
        Stand::Tainted | Stand::Forced { .. } => Style::Yellow,
        _ => Style::Dim,
    };
    let date = timestamp(entry.commit.time);
    let date = date.split('T').next().unwrap_or_default();
    let key = entry.key.map(|key| key.short()).unwrap_or_default();
    let stands = output.paint(style, format!("{:<width$}", stands(entry)));
    let tags: Vec<String> = entry.tags.iter().map(|(_, tag)| short_tag(tag)).collect();
    let tags = if tags.is_empty() {
        String::new()
    } else {
        format!("  [{}]", tags.join(" "))
    };
    let subject = line(entry.commit.subject(), SUBJECT);
    format!(
        "{}  {date}  {key:<12}  {stands}  {subject}{tags}\n",
        entry.commit.id.short()
    )
}

fn stands(entry: &HistoryLine) -> String {
    let text = match &entry.stand {
        Stand::Built => "built".to_owned(),
        Stand::Reused { commit } => format!("reused, built at {}", commit.short()),
        Stand::Adopted { commit } => format!("adopted from {}", commit.short()),
        Stand::Failed(failed) => format!("failed: {}", line(&failed.message, FAULT)),
        Stand::Tainted => "tainted".to_owned(),
        Stand::Forced { why } => format!("not built yet, forced: {}", line(why, FAULT)),
        Stand::NotRecorded => "not recorded".to_owned(),
        Stand::Unreadable { why } => format!("unreadable record: {}", line(why, FAULT)),
        Stand::Nothing(reason) => format!("nothing to build: {}", sentence(reason)),
        Stand::NoProject => "not in the manifest".to_owned(),
        Stand::NoManifest { why } => format!("not readable: {}", line(why, FAULT)),
    };
    match &entry.taint {
        Some(taint) if entry.stand == Stand::Tainted => whole(&sentence(&taint.taint.reason)),
        Some(_) => format!("{text} (after a taint)"),
        None => text,
    }
}

/// A tag with its commit or key cut.
fn short_tag(tag: &str) -> String {
    if let Some(commit) = names::alias_commit(tag) {
        return format!("cache-{}", commit.short());
    }
    let key = tag.strip_prefix("in-").and_then(|key| key.get(..12));
    key.map_or_else(|| tag.to_owned(), |key| format!("in-{key}"))
}
