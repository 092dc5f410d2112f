//! `waybill registry init` and `waybill registry serve`.

use serde_json::{Value, json};

use crate::cli::args::{RegistryInitArgs, ServeArgs};
use crate::cli::exit;
use crate::cli::output::Output;
use crate::cli::session::{MadeBase, Session, serve_base};
use crate::cli::settings::Settings;
use crate::cli::signal;
use crate::cli::stopped::Ended;
use crate::git::Repository;
use crate::ledger::upkeep;
use crate::problem::Problem;

/// Sets up a base, or shows what its repositories would be made with.
pub(in crate::cli) async fn init(session: &Session, args: &RegistryInitArgs) -> Ended {
    if args.print_policy {
        session.output.document(&policies())?;
        return Ok(exit::DONE);
    }
    let MadeBase {
        name,
        marker,
        repositories,
    } = session.init_base().await?;
    if session.output.json {
        session.output.document(&json!({
            "schema": "waybill.registry-init/1",
            "base": name,
            "id": marker.id,
            "upstream": marker.upstream,
            "repositories": repositories,
        }))?;
    } else {
        let with = if marker.upstream { "with" } else { "without" };
        let line = format!(
            "{name} is a base, made {with} an upstream; its id is {}\n",
            marker.id
        );
        session.output.data(&line)?;
        if let Some(made) = repositories {
            let count = made.len();
            let plural = if count == 1 { "y was" } else { "ies were" };
            session
                .output
                .data(&format!("{count} repositor{plural} made\n"))?;
        }
    }
    Ok(exit::DONE)
}

/// The settings of each kind of repository, as Amazon ECR takes them.
fn policies() -> Value {
    let settings = |(name, repository): (&str, &str)| {
        let mut settings = upkeep::of(repository).ecr_settings();
        settings["repository"] = name.into();
        settings
    };
    let own = upkeep::OWN.map(|name| (name, name));
    let repositories = own.into_iter().chain([("<project>", "")]).map(settings);
    json!({
        "schema": "waybill.registry-policy/1",
        "repositories": repositories.collect::<Vec<Value>>(),
    })
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
