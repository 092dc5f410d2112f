//! `waybill plan`.

use crate::cli::args::PlanArgs;
use crate::cli::exit;
use crate::cli::plan_file;
use crate::cli::render;
use crate::cli::session::Session;
use crate::cli::stopped::{Ended, Stopped};

pub(in crate::cli) async fn run(session: &Session, args: &PlanArgs) -> Ended {
    let mut request = session.request(&args.projects, args.history.limit)?;
    let bases = session.bases().await?;
    request.verify = args.verify;
    let planning = session.plan(&bases, &request).await?;
    let plan = &planning.plan;
    if let Some(file) = &args.output {
        plan_file::write(file, &planning, session, &bases)?;
    }
    if session.output.json {
        session
            .output
            .document(&render::plan::document(plan, &bases))?;
    } else {
        session
            .output
            .data(&render::plan::text(plan, args.all, &session.output))?;
    }
    let would_build = args.exit_code && plan.builds().next().is_some();
    session.close(bases).await;
    Ok::<u8, Stopped>(if would_build {
        exit::WOULD_BUILD
    } else {
        exit::DONE
    })
}
