//! The process: arguments, environment, exit code. Everything else is in the library, so that tests can drive it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    tempo_operator::cli::main(std::env::args().skip(1).collect(), &environment)
}
