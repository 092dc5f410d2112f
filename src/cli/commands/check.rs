//! `waybill check`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cli::args::CheckArgs;
use crate::cli::exit;
use crate::cli::output::{Output, problem_json};
use crate::cli::settings::Settings;
use crate::cli::stopped::Ended;
use crate::gather::{Check, check_commit, check_work_tree};
use crate::git::Repository;
use crate::problem::{Class, Severity};

pub(in crate::cli) fn run(settings: &Settings, args: &CheckArgs, output: Output) -> Ended {
    let repository = Repository::open(&settings.directory)?;
    let manifest = settings.manifest.as_ref();
    let check = match &settings.commit {
        Some(revision) => check_commit(&repository, repository.resolve(revision)?, manifest)?,
        None => check_work_tree(&repository, manifest)?,
    };
    if output.json {
        output.document(&document(&check))?;
    } else {
        output.data(&text(&check, args.strict, output))?;
    }
    Ok(if check.count(Severity::Error) > 0 {
        exit::code(Class::Usage)
    } else if args.strict && check.count(Severity::Warning) > 0 {
        exit::FAILED
    } else {
        exit::DONE
    })
}

fn document(check: &Check) -> Value {
    let projects: Vec<Value> = check
        .projects
        .iter()
        .map(|project| {
            json!({
                "name": project.name,
                "dockerfile": project.dockerfile,
                "uses": project.uses,
                "triggers": project.triggers,
            })
        })
        .collect();
    json!({
        "schema": "waybill.check/1",
        "manifest": check.manifest,
        "projects": projects,
        "problems": check.problems.iter().map(problem_json).collect::<Vec<_>>(),
    })
}

/// The problems, and a line of counts. Warnings are what went wrong only where they fail the check.
fn text(check: &Check, strict: bool, output: Output) -> String {
    let mut text = String::new();
    for problem in &check.problems {
        if problem.severity == Severity::Error || strict || !output.quiet {
            text.push_str(&output.render_data(problem));
            text.push('\n');
        }
    }
    if !output.quiet {
        let errors = counted(check.count(Severity::Error), "error");
        let warnings = counted(check.count(Severity::Warning), "warning");
        let projects = counted(check.project_count, "project");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{errors}, {warnings} in {projects}");
    }
    text
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
