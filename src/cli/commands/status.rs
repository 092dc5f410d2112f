//! `waybill status` and `waybill seal`.

use serde_json::json;

use crate::cli::args::{SealArgs, StatusArgs};
use crate::cli::session::{Session, now};
use crate::cli::stopped::Ended;
use crate::cli::{exit, render};
use crate::gather::{seal, status};
use crate::plan::Place;
use crate::problem::Class;

/// Shows where every project of the commit stands, and what keeps it from being sealed.
pub(in crate::cli) async fn run(session: &Session, args: &StatusArgs) -> Ended {
    let bases = session.bases().await?;
    let request = session.request(&[], args.history.limit)?;
    let status = status(&session.repository, &bases.bases, &request).await?;
    if session.output.json {
        let document = render::status::document(&status, &bases);
        session.output.document(&document)?;
    } else {
        let text = render::status::text(&status, args.all, &bases, &session.output);
        session.output.data(&text)?;
    }
    let is_blocked = status.is_blocked();
    session.close(bases).await;
    Ok(if args.exit_code && is_blocked {
        exit::code(Class::Gate)
    } else {
        exit::DONE
    })
}

/// Writes the waybill of the commit.
pub(in crate::cli) async fn run_seal(session: &Session, args: &SealArgs) -> Ended {
    let bases = session.bases().await?;
    let request = session.request(&[], args.history.limit)?;
    let (edition, is_new, status) =
        seal(&session.repository, &bases.bases, &request, &now()).await?;
    let name = bases.ledger_name(Place::Registry, &edition.tag);
    if session.output.json {
        session.output.document(&json!({
            "schema": "waybill.seal/1",
            "commit": session.commit,
            "registry": bases.name(Place::Registry),
            "tag": edition.release.tag,
            "waybill": name,
            "edition": edition.number,
            "created": edition.created,
            "new": is_new,
            "projects": render::status::shipped(&edition.release, &bases),
        }))?;
    } else {
        let count = edition.release.projects.len();
        let plural = if count == 1 { "" } else { "s" };
        let said = if is_new { "sealed" } else { "already sealed" };
        let at = status.planning.plan.commit.short();
        let line = format!("{said} {at} with {count} project{plural}: {name}\n");
        session.output.data(&line)?;
    }
    session.close(bases).await;
    Ok(exit::DONE)
}
