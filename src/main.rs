//! The `waybill` program.

fn main() -> std::process::ExitCode {
    waybill::cli::main()
}
