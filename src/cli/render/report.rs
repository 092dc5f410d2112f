//! What came of a build, at its end: failures last and whole.

use serde_json::{Value, json};

use crate::cli::output::{Output, Style, problem_json};
use crate::cli::render::progress::{Progress, group};
use crate::cli::session::OpenBases;
use crate::event::{Verdict, milliseconds};
use crate::execute::Report;
use crate::model::{CommitId, ProjectName};
use crate::plan::Place;

/// The report as the document `waybill.build/1`.
pub(in crate::cli) fn document(report: &Report, commit: CommitId, bases: &OpenBases) -> Value {
    let projects: Vec<Value> = report
        .verdicts
        .iter()
        .map(|(name, (verdict, duration))| {
            json!({
                "name": name,
                "verdict": verdict.name(),
                "image": image(name, verdict, commit, bases),
                "digest": verdict.image().map(|(_, digest)| digest),
                "blockedBy": match verdict { Verdict::Blocked { by } => Some(by), _ => None },
                "error": match verdict {
                    Verdict::Failed { problem } | Verdict::Error { problem, .. } => {
                        Some(problem_json(problem))
                    }
                    _ => None,
                },
                "milliseconds": milliseconds(*duration),
            })
        })
        .collect();
    json!({
        "schema": "waybill.build/1",
        "commit": commit,
        "registry": bases.name(Place::Registry),
        "projects": projects,
    })
}

/// The images of these projects by the names that last, a line each.
pub(in crate::cli) fn names(
    projects: &[ProjectName],
    report: &Report,
    commit: CommitId,
    bases: &OpenBases,
) -> String {
    let verdicts = projects
        .iter()
        .filter_map(|name| Some((name, report.verdicts.get(name)?)));
    let images = verdicts.filter_map(|(name, (verdict, _))| image(name, verdict, commit, bases));
    let lines: Vec<String> = images.map(|image| image + "\n").collect();
    lines.concat()
}

/// The image that a verdict stands for, by a name that lasts.
fn image(
    name: &ProjectName,
    verdict: &Verdict,
    commit: CommitId,
    bases: &OpenBases,
) -> Option<String> {
    let (image, _) = verdict.image()?;
    let built_at = match verdict {
        Verdict::Reused { commit, .. } | Verdict::Adopted { commit, .. } => *commit,
        _ => commit,
    };
    let in_upstream = bases
        .bases
        .upstream
        .as_ref()
        .is_some_and(|upstream| image.starts_with(&upstream.client().base().name("")));
    let place = if in_upstream {
        Place::Upstream
    } else {
        Place::Registry
    };
    Some(bases.lasting_reference(name, image, place, built_at))
}

/// The end of a build for people: a line of counts, and the projects that did not succeed, last
/// and whole.
pub(in crate::cli) fn text(report: &Report, progress: &Progress, output: &Output) -> String {
    let mut text = format!("{}\n", counts(report));
    for (name, verdict) in report.of("blocked") {
        if let Verdict::Blocked { by } = verdict {
            let word = output.paint_status(Style::Yellow, "blocked");
            text.push_str(&format!("{word} {name}: {by} did not succeed\n"));
        }
    }
    for kind in ["error", "failed"] {
        for (name, verdict) in report.of(kind) {
            let log = group(name, &progress.log_of(name));
            text.push_str(&String::from_utf8_lossy(&log));
            if let Verdict::Failed { problem } | Verdict::Error { problem, .. } = verdict {
                text.push_str(&output.render(problem));
                text.push('\n');
            }
        }
    }
    text.truncate(text.trim_end().len());
    text
}

fn counts(report: &Report) -> String {
    let kinds = [
        "built",
        "reused",
        "adopted",
        "none",
        "failed",
        "error",
        "blocked",
        "interrupted",
    ];
    let counts: Vec<String> = kinds
        .iter()
        .map(|kind| (kind, report.of(kind).count()))
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    if counts.is_empty() {
        "nothing to do".to_owned()
    } else {
        counts.join(", ")
    }
}
