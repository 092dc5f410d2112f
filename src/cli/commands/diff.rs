//! `waybill diff`.

use crate::cli::args::DiffArgs;
use crate::cli::session::Session;
use crate::cli::stopped::Ended;
use crate::cli::{exit, render};
use crate::gather::{DiffSide, diff};
use crate::ledger::names;
use crate::problem::Failure;

pub(in crate::cli) async fn run(session: &Session, args: &DiffArgs) -> Ended {
    let first = side(session, &args.first)?;
    let second = match &args.second {
        Some(second) => side(session, second)?,
        None => DiffSide {
            commit: session.commit,
            edition: None,
        },
    };
    let bases = session.bases().await?;
    let options = session.commit_options();
    let lines = diff(&session.repository, &bases.bases, &options, &first, &second).await?;
    if session.output.json {
        let document = render::diff::document(&first, &second, &lines);
        session.output.document(&document)?;
    } else {
        let text = render::diff::text(&first, &second, &lines, args.all, &session.output);
        session.output.data(&text)?;
    }
    session.close(bases).await;
    Ok(exit::DONE)
}

/// A commit by any name that git knows, or a waybill by its tag or its whole name.
fn side(session: &Session, name: &str) -> Result<DiffSide, Failure> {
    let tag = name.rsplit([':', '/']).next().unwrap_or(name);
    if let Some((commit, edition)) = names::release_edition(tag) {
        return Ok(DiffSide {
            commit,
            edition: Some(edition),
        });
    }
    Ok(DiffSide {
        commit: session.repository.resolve(name)?,
        edition: None,
    })
}
