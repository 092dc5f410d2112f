//! `waybill history`.

use crate::cli::args::HistoryArgs;
use crate::cli::session::Session;
use crate::cli::stopped::Ended;
use crate::cli::{exit, render};
use crate::gather::{HistoryRequest, history};

pub(in crate::cli) async fn run(session: &Session, args: &HistoryArgs) -> Ended {
    // A project of an earlier commit will do.
    let project = match args.project.parse() {
        Ok(project) => project,
        Err(_) => session.name(&args.project)?,
    };
    let request = HistoryRequest {
        project,
        commit: session.commit,
        options: session.commit_options(),
        number: args.number,
        first_parent: args.first_parent,
    };
    request.require_project(&session.repository)?;
    let bases = session.bases().await?;
    let lines = history(&session.repository, &bases.bases, &request).await?;
    if session.output.json {
        let document = render::history::document(&request, &lines, &bases);
        session.output.document(&document)?;
    } else {
        let text = render::history::text(&lines, &session.output);
        session.output.data(&text)?;
    }
    session.close(bases).await;
    Ok(exit::DONE)
}
