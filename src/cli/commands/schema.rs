//! `waybill schema`.

use crate::cli::args::SchemaArgs;
use crate::cli::exit;
use crate::cli::output::Output;
use crate::cli::stopped::Ended;
use crate::problem::{Class, Failure, Problem};
use crate::schema;

pub(in crate::cli) fn run(args: &SchemaArgs, output: Output) -> Ended {
    let schema = schema::by_name(&args.name).ok_or_else(|| unknown(&args.name))?;
    output.document(&schema)?;
    Ok(exit::DONE)
}

fn unknown(name: &str) -> Failure {
    let names: Vec<&str> = schema::SCHEMAS.iter().map(|(name, _)| *name).collect();
    let problem = Problem::error("unknown-schema", format!("there is no schema '{name}'"))
        .hint(format!("there are {}", names.join(", ")));
    Failure::new(Class::Usage, problem)
}
