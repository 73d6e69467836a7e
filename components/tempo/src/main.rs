//! The process: allocator, environment, exit code. Everything else is in the library, so that tests can start several
//! apps in one process.
//!
//! Exit codes: 0 stopped cleanly; 1 could not start, or a part of the process failed; 2 wrong flags or configuration;
//! 3 the stop deadline passed with something unflushed (it is in the WAL and will be replayed).

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_else(|| "tempo".to_owned());
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    tempo::process::main(&program, arguments.collect(), &environment)
}
