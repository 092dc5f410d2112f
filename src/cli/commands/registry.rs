//! `waybill registry init` and `waybill registry serve`.

use serde_json::json;

use crate::cli::args::ServeArgs;
use crate::cli::exit;
use crate::cli::output::Output;
use crate::cli::session::{Session, serve_base};
use crate::cli::settings::Settings;
use crate::cli::signal;
use crate::cli::stopped::Ended;
use crate::git::Repository;
use crate::problem::Problem;

/// Writes the markers of a base.
pub(in crate::cli) async fn init(session: &Session) -> Ended {
    let (name, marker) = session.init_base().await?;
    if session.output.json {
        session.output.document(&json!({
            "schema": "waybill.registry-init/1",
            "base": name,
            "id": marker.id,
            "upstream": marker.upstream,
        }))?;
    } else {
        let with = if marker.upstream { "with" } else { "without" };
        let line = format!(
            "{name} is a base, made {with} an upstream; its id is {}\n",
            marker.id
        );
        session.output.data(&line)?;
    }
    Ok(exit::DONE)
}

/// Serves the embedded registry until Ctrl-C or SIGTERM.
pub(in crate::cli) async fn serve(settings: &Settings, args: &ServeArgs, output: Output) -> Ended {
    let stop = signal::stop();
    let repository = Repository::open(&settings.directory)?;
    let (ledger, server) = serve_base(&repository, args.listen).await?;
    let base = ledger.client().base().to_string();
    if !args.listen.ip().is_loopback() {
        let message = format!(
            "whoever reaches {} can read and write there",
            server.address()
        );
        output.problems(&[Problem::warning("open-registry", message)]);
    }
    if output.json {
        output.document(&json!({
            "schema": "waybill.registry-serve/1",
            "address": server.address(),
            "base": base,
        }))?;
    } else {
        let address = server.address();
        let line = format!("serving on {address}: use --registry {base}; Ctrl-C ends it\n");
        output.data(&line)?;
    }
    stop.cancelled().await;
    server.stop().await;
    Ok(exit::DONE)
}
