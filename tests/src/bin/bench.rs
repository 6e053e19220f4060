//! `bench`: prints figures beside PostgreSQL's. `ORACLE_URL` names the PostgreSQL, `DATA` the larger data sets.
#![expect(clippy::print_stdout, reason = "a command line program prints its result")]

use std::process::ExitCode;

use tests::wire::Address;

fn main() -> ExitCode {
    let Ok(url) = std::env::var("ORACLE_URL") else {
        eprintln!("bench: ORACLE_URL is not set; `make bench` starts one");
        return ExitCode::from(2);
    };
    match Address::parse(&url).map_err(tests::wire::Failure::Protocol).and_then(tests::bench::run) {
        Ok(misses) if misses.is_empty() => {
            println!("\nevery goal is met");
            ExitCode::SUCCESS
        }
        Ok(misses) => {
            println!("\n{} goals are missed:\n  {}", misses.len(), misses.join("\n  "));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("\nbench failed: {failure}");
            ExitCode::FAILURE
        }
    }
}
