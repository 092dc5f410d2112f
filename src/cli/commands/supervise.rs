//! `waybill supervise`: what waybill starts between itself and a task. Nobody types it.

use std::io::Write as _;
use std::process::ExitCode;

use crate::cli::exit;
use crate::problem::Class;
use crate::run::process;

/// Supervises one command, and says how to exit: how the command ended goes over the control.
pub(in crate::cli) fn run() -> ExitCode {
    match process::supervise() {
        Ok(()) => ExitCode::from(exit::DONE),
        Err(error) => {
            // Whoever started it may be gone, and then nobody is to be told.
            let _ = writeln!(
                std::io::stderr(),
                "error[command-line]: `waybill {}` is what waybill starts to run a task: {error}",
                process::SUPERVISE
            );
            ExitCode::from(exit::code(Class::Usage))
        }
    }
}
