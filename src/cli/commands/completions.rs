//! `waybill completions`.

use clap::CommandFactory as _;

use crate::cli::args::{Cli, CompletionsArgs};
use crate::cli::exit;
use crate::cli::output::Output;
use crate::cli::stopped::Ended;

pub(in crate::cli) fn run(args: &CompletionsArgs, output: Output) -> Ended {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "waybill", &mut script);
    output.data(&String::from_utf8_lossy(&script))?;
    Ok(exit::DONE)
}
