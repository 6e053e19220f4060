//! Whether the source tree is as the house rules say: crate edges, sizes, headers, names, versions, `unsafe`.
//!
//! What it is not: a linter of Rust (clippy is) or of prose. Each rule is a function that gives findings;
//! `check` takes away those that `ratchet.txt` lists and complains about entries that are no longer needed.
//!
//! Invariant: a rule reads the working tree only, never the network, and needs no build.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub mod crates;
pub mod scan;
pub mod sources;

/// One thing that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Name of the rule.
    pub rule: &'static str,
    /// Path from the root of the tree, with a line where there is one.
    pub place: String,
    pub what: String,
}

/// A Rust source of the tree.
#[derive(Clone, Debug)]
pub struct Source {
    /// Path from the root, with `/`.
    pub path: String,
    pub text: String,
}

impl Source {
    /// Whether the file holds tests only.
    #[must_use]
    pub fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/") || self.path.starts_with("tests/")
    }
}

/// The root of the tree.
///
/// # Panics
/// When this crate has been moved out of it.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate has a parent folder").to_owned()
}

/// The Rust sources of all crates, in order of path.
///
/// # Panics
/// When a file cannot be read.
#[must_use]
pub fn rust_sources(root: &Path) -> Vec<Source> {
    let mut sources = Vec::new();
    for name in crates::NAMES {
        collect(root, &root.join(name), &mut sources);
    }
    sources.sort_by(|left, right| left.path.cmp(&right.path));
    assert!(sources.len() > 20, "the tree's sources were not found");
    sources
}

fn collect(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("an entry of a folder").path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(root, &path, sources);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text =
                std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let path = path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
            sources.push(Source { path, text });
        }
    }
}

/// Every finding of every rule that the ratchet list does not excuse, plus the list's needless entries.
#[must_use]
pub fn check(root: &Path) -> Vec<Finding> {
    let sources = rust_sources(root);
    let mut findings = crates::check(root);
    findings.extend(sources::check(&sources));
    findings.sort();
    excuse(findings, include_str!("tidy/ratchet.txt"))
}

/// Applies a ratchet list: lines `<rule> <place>`, `#` for remarks.
fn excuse(findings: Vec<Finding>, list: &str) -> Vec<Finding> {
    let entries: BTreeSet<&str> =
        list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let mut used = BTreeSet::new();
    let mut left: Vec<Finding> = findings
        .into_iter()
        .filter(|finding| {
            let entry = format!("{} {}", finding.rule, finding.place);
            let excused = entries.get(entry.as_str());
            used.extend(excused);
            excused.is_none()
        })
        .collect();
    left.extend(entries.difference(&used).map(|entry| Finding {
        rule: "ratchet",
        place: "tests/src/tidy/ratchet.txt".to_owned(),
        what: format!("`{entry}` is no longer needed: remove it"),
    }));
    left
}

#[cfg(test)]
mod tests;
