//! `waybill why`.

use crate::cli::args::WhyArgs;
use crate::cli::session::Session;
use crate::cli::stopped::Ended;
use crate::cli::{exit, render};
use crate::gather::why;

pub(in crate::cli) async fn run(session: &Session, args: &WhyArgs) -> Ended {
    let request = session.request(std::slice::from_ref(&args.project), args.history.limit)?;
    let bases = session.bases().await?;
    let planning = session.plan(&bases, &request).await?;
    for project in request.projects.iter().flatten() {
        let why = why(&session.repository, &bases.bases, &planning, project).await?;
        let Some(why) = why else { continue };
        if session.output.json {
            let document = render::why::document(&why, &bases, args.inputs);
            session.output.document(&document)?;
        } else {
            let text = render::why::text(&why, &bases, args.inputs, &session.output);
            session.output.data(&text)?;
        }
    }
    session.close(bases).await;
    Ok(exit::DONE)
}
