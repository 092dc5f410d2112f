//! The command layer: thin, and the only one that prints or exits.

mod args;
mod commands;
mod exit;
mod output;
mod plan_file;
mod render;
mod session;
mod settings;
mod signal;
mod stopped;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::problem::{Class, Failure, Problem};
use crate::run::attend::ATTEND;
use crate::run::process::SUPERVISE;
use args::{Cli, Command, DebugCommand, RegistryCommand};
use output::Output;
use session::Session;
use settings::Settings;
use stopped::{Ended, Stopped};

/// Runs the program with the process's arguments, and says how to exit.
#[must_use]
pub fn main() -> ExitCode {
    // Not a command for people: before the command line and the environment are read for one.
    match std::env::args_os().nth(1) {
        Some(word) if word == SUPERVISE => return commands::supervise::run(),
        Some(word) if word == ATTEND => return commands::attend::run(),
        _ => {}
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    crate::registry::install_tls();
    let output = Output::new(&cli.global);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return end(&output, Err(Stopped::Output(error))),
    };
    let ended = runtime.block_on(run(&cli, output));
    // What still runs in the background (a resolver, a reader of a big file) is not waited for.
    runtime.shutdown_background();
    end(&output, ended)
}

async fn run(cli: &Cli, output: Output) -> Ended {
    let settings = || Settings::new(&cli.global);
    let session = || Session::open(settings()?, output);
    match &cli.command {
        Command::Schema(args) => commands::schema::run(args, output),
        Command::Completions(args) => commands::completions::run(args, output),
        Command::Init(args) => commands::init::run(&settings()?, args, output),
        Command::Check(args) => commands::check::run(&settings()?, args, output),
        Command::Plan(args) if !args.if_changed.is_empty() => {
            commands::plan_if::run(&session()?, args)
        }
        Command::Plan(args) => commands::plan::run(&session()?, args).await,
        Command::Build(args) => commands::build::run(session()?, &cli.global, args).await,
        Command::Run(args) => commands::run::run(session()?, &cli.global, args).await,
        Command::Image(args) => commands::image::run(&session()?, args).await,
        Command::Why(args) => commands::why::run(&session()?, args).await,
        Command::History(args) => commands::history::run(&session()?, args).await,
        Command::Log(args) => commands::log::run(&session()?, args).await,
        Command::Taint(args) => commands::taint::run(&session()?, args).await,
        Command::Status(args) => commands::status::run(&session()?, args).await,
        Command::Seal(args) => commands::status::run_seal(&session()?, args).await,
        Command::Diff(args) => commands::diff::run(&session()?, args).await,
        Command::Registry(RegistryCommand::Init(args)) => {
            commands::registry::init(&session()?, args).await
        }
        Command::Registry(RegistryCommand::Serve(args)) => {
            commands::registry::serve(&settings()?, args, output).await
        }
        Command::Debug(DebugCommand::Keys) => commands::debug::keys(&session()?),
        Command::Debug(DebugCommand::RecordAll(args)) => {
            commands::debug::record_all(&session()?, args).await
        }
        Command::Debug(DebugCommand::Run(args)) => commands::debug::run(args, output).await,
    }
}

/// What clap has to say: help and version go to stdout, errors to stderr with the code for usage.
fn usage(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    if wants_json && error.use_stderr() {
        let text = error.to_string();
        // What is wrong ends at a blank line; usage and tips follow.
        let lines = text
            .lines()
            .map(str::trim)
            .take_while(|line| !line.is_empty());
        let message = lines.collect::<Vec<_>>().join(" ");
        let message = message.strip_prefix("error: ").unwrap_or(&message);
        let problem = Problem::error("command-line", message).hint("`waybill help` lists commands");
        Output::json().failure(&Failure::new(Class::Usage, problem));
    } else {
        // A closed stream is nobody's loss.
        let _ = error.print();
    }
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(exit::code(Class::Usage)),
    }
}

fn end(output: &Output, ended: Ended) -> ExitCode {
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(Stopped::Failure(failure)) => {
            output.failure(&failure);
            ExitCode::from(exit::code(failure.class))
        }
        Err(Stopped::BrokenPipe) => ExitCode::SUCCESS,
        Err(Stopped::Output(error)) => {
            let problem =
                Problem::error("output", format!("the output cannot be written: {error}"));
            output.failure(&Failure::new(Class::Failed, problem));
            ExitCode::from(exit::code(Class::Failed))
        }
    }
}
