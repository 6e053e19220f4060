//! The `elanus` binary: reads the command line and hands over to the assembly.

use std::process::ExitCode;

use clap::Parser as _;
use sql::assembly;
use sql::cli::{Command, CommandLine};

/// Counts what the process holds, so that a memory limit can be kept.
#[global_allocator]
static ALLOCATOR: exec::memory::CountingAllocator = exec::memory::CountingAllocator;

fn main() -> ExitCode {
    exec::memory::limit_free_memory();
    let result = match CommandLine::parse().command {
        Command::Serve(options) => assembly::serve(&options),
        Command::Version(options) => {
            assembly::print_version(options.libraries);
            Ok(())
        }
        Command::Verify(options) => assembly::verify(&options),
        Command::RebuildMeta(options) => assembly::rebuild_meta(&options),
        Command::Backup(options) => assembly::backup(&options),
        Command::Restore(options) => assembly::restore(&options),
        Command::Sizing => assembly::not_available("sizing"),
        Command::IndexWorker => assembly::not_available("index-worker"),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("elanus: {error}");
            ExitCode::FAILURE
        }
    }
}
