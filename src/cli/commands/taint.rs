//! `waybill taint`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cli::args::TaintArgs;
use crate::cli::exit;
use crate::cli::output::Style;
use crate::cli::session::{OpenBases, Session, now};
use crate::cli::stopped::Ended;
use crate::ledger::TaintRecord;
use crate::model::{CommitId, Key, ProjectName, Reason};
use crate::plan::{Lookup, Place};
use crate::problem::{Class, Failure, Problem};

/// A taint that was written.
struct Tainted {
    project: ProjectName,
    key: Key,
    /// The commit of the record that stands under the key, if one does.
    recorded: Option<CommitId>,
    dependents: BTreeSet<ProjectName>,
}

pub(in crate::cli) async fn run(session: &Session, args: &TaintArgs) -> Ended {
    if args.why.trim().is_empty() {
        return Err(no_reason().into());
    }
    let names = session.names(&args.projects)?;
    let bases = session.bases().await?;
    let standing = session.standing(&bases, &names).await?;
    let mut written = Vec::new();
    // Every name is known before the first taint is written.
    for name in &names {
        written.push((name, standing.key(name)?.key));
    }
    let mut tainted = Vec::new();
    for (name, key) in written {
        let recorded = write(session, &bases, name, key, &args.why).await?;
        tainted.push(Tainted {
            project: name.clone(),
            key,
            recorded,
            dependents: standing.facts.graph.all_dependents(name),
        });
    }
    if session.output.json {
        session
            .output
            .document(&document(session, &tainted, &bases))?;
    } else {
        let text = tainted.iter().map(|tainted| text(session, tainted, &bases));
        session.output.data(&text.collect::<String>())?;
    }
    session.close(bases).await;
    Ok(exit::DONE)
}

/// Writes a taint of one key, and says from which commit the record under it is, if there is one.
async fn write(
    session: &Session,
    bases: &OpenBases,
    project: &ProjectName,
    key: Key,
    why: &str,
) -> Result<Option<CommitId>, Failure> {
    let by = session.repository.identity();
    let taint = TaintRecord {
        reason: Reason::Tainted {
            by: by.clone(),
            why: why.to_owned(),
            commit: session.commit,
        },
        commit: session.commit,
        by,
    };
    let recorded = match bases.bases.built(key, project).await? {
        Lookup::Found(found) => Some(found.facts.commit),
        Lookup::Absent | Lookup::Unreadable { .. } => None,
    };
    let registry = &bases.bases.registry;
    registry.write_taint(key, project, &taint, &now()).await?;
    Ok(recorded)
}

fn document(session: &Session, tainted: &[Tainted], bases: &OpenBases) -> Value {
    let projects = tainted.iter().map(|tainted| {
        json!({
            "name": tainted.project,
            "key": tainted.key,
            "builtAt": tainted.recorded,
            "dependents": tainted.dependents,
        })
    });
    json!({
        "schema": "waybill.taint/1",
        "commit": session.commit,
        "registry": bases.name(Place::Registry),
        "projects": projects.collect::<Vec<_>>(),
    })
}

fn text(session: &Session, tainted: &Tainted, bases: &OpenBases) -> String {
    let name = session.output.paint(Style::Bold, &tainted.project);
    let base = bases.name(Place::Registry);
    let head = format!("{name} is tainted in {base}: key {}\n", tainted.key);
    let image = match tainted.recorded {
        Some(commit) => format!(
            "  the image built at {} is not used again\n",
            commit.short()
        ),
        None => "  no image was recorded under this key\n".to_owned(),
    };
    let names: Vec<&str> = tainted.dependents.iter().map(AsRef::as_ref).collect();
    if names.is_empty() {
        return head + &image;
    }
    head + &image + &format!("  built again with it: {}\n", names.join(", "))
}

fn no_reason() -> Failure {
    let problem = Problem::error("no-reason", "a taint without a reason helps nobody")
        .hint("say with --why what is wrong with the image");
    Failure::new(Class::Usage, problem)
}
