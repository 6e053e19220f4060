//! The way to the real services of tests: `scripts/services` starts what does not run yet.

use std::collections::HashMap;
use std::process::Command;

/// Starts a service (`etcd`, `kafka` or `s3`) unless it runs, and returns the environment that leads to it.
///
/// # Panics
/// When it cannot be installed or started: a test that needs it must not pass without it.
#[must_use]
pub fn service(name: &str) -> HashMap<String, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/services");
    let output = Command::new(script).args(["start", name]).output();
    let output = output.unwrap_or_else(|error| panic!("{script} cannot be run: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{script} start {name} failed: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}
