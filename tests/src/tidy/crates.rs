//! The crates: which exist, which may depend on which, where versions are written, what the lock file holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use super::Finding;

/// The crates' folders.
pub const NAMES: [&str; 8] =
    ["proto", "segments", "exec", "planner", "cluster", "sql", "tests", "sqllogictest"];

/// Everything else the top level may hold.
const TOP_LEVEL: [&str; 18] = [
    ".cargo",
    ".ci",
    ".config",
    ".git",
    ".gitignore",
    "ARCHITECTURE.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "deploy",
    "docs",
    "examples",
    "rust-toolchain.toml",
    "rustfmt.toml",
];

/// Folders that runs leave behind and git ignores.
const LEFT_BEHIND: [&str; 6] =
    ["target", "elanus-data", "scripts", ".venv", ".gitattributes", "node_modules"];

/// Each crate and the crates it may know.
const EDGES: [(&str, &[&str]); 8] = [
    ("proto", &[]),
    ("segments", &["proto"]),
    ("exec", &["segments", "proto"]),
    ("planner", &["exec", "proto"]),
    ("cluster", &["segments", "proto"]),
    ("sql", &["planner", "exec", "cluster", "segments", "proto"]),
    ("tests", &["sql", "planner", "exec", "cluster", "segments", "proto"]),
    ("slt", &["tests"]),
];

/// Crates of which the lock file may hold one version.
const ONE_VERSION: [&str; 7] =
    ["arrow", "datafusion", "sqlparser", "object_store", "tonic", "prost", "rustls"];

/// All rules of this file.
#[must_use]
pub fn check(root: &Path) -> Vec<Finding> {
    let metadata = metadata(root);
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap_or_default();
    let mut findings = edges(&packages(&metadata));
    for name in NAMES {
        findings.extend(inherited(&format!("{name}/Cargo.toml"), &read(&format!("{name}/Cargo.toml"))));
        findings.extend(planted(name, &read(&format!("{name}/Cargo.toml"))));
        if !root.join(name).join("README.md").is_file() {
            findings.push(finding("map", name, "has no README.md"));
        }
    }
    findings.extend(one_version(&read("Cargo.lock")));
    findings.extend(top_level(root));
    findings
}

fn finding(rule: &'static str, place: &str, what: impl Into<String>) -> Finding {
    Finding { rule, place: place.to_owned(), what: what.into() }
}

fn metadata(root: &Path) -> serde_json::Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

/// A workspace package's dependencies within the workspace.
#[derive(Clone, Debug, Default)]
pub(super) struct Dependencies {
    /// Of the crate itself and its build.
    pub(super) own: BTreeSet<String>,
    /// Of its tests only.
    pub(super) tests: BTreeSet<String>,
}

/// Each workspace package with the workspace packages it depends on.
fn packages(metadata: &serde_json::Value) -> BTreeMap<String, Dependencies> {
    let list = metadata["packages"].as_array().expect("a list of packages");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let names: BTreeSet<String> = list.iter().map(|package| text(&package["name"])).collect();
    let of = |package: &serde_json::Value| {
        let mut found = Dependencies::default();
        for dependency in package["dependencies"].as_array().expect("a list of dependencies") {
            let (name, kind) = (text(&dependency["name"]), text(&dependency["kind"]));
            if names.contains(&name) {
                if kind == "dev" {
                    found.tests.insert(name)
                } else {
                    found.own.insert(name)
                };
            }
        }
        found
    };
    list.iter().map(|package| (text(&package["name"]), of(package))).collect()
}

/// What a crate reaches over allowed edges.
fn reach<'a>(allowed: &BTreeMap<&'a str, &[&'a str]>, name: &str, reached: &mut BTreeSet<&'a str>) {
    for next in allowed.get(name).copied().unwrap_or_default() {
        if reached.insert(next) {
            reach(allowed, next, reached);
        }
    }
}

/// Edges that DESIGN does not draw, and crates it does not know. Tests may use what the crate reaches anyway.
pub(super) fn edges(packages: &BTreeMap<String, Dependencies>) -> Vec<Finding> {
    let allowed: BTreeMap<&str, &[&str]> = EDGES.into_iter().collect();
    let mut findings = Vec::new();
    for (name, dependencies) in packages {
        let Some(known) = allowed.get(name.as_str()) else {
            findings.push(finding("edge", name, "is not a crate of the house"));
            continue;
        };
        let mut reached = BTreeSet::new();
        reach(&allowed, name, &mut reached);
        let own = dependencies.own.iter().filter(|dependency| !known.contains(&dependency.as_str()));
        let tests = dependencies.tests.iter().filter(|dependency| !reached.contains(dependency.as_str()));
        let forbidden = own.chain(tests);
        findings.extend(
            forbidden.map(|dependency| finding("edge", name, format!("must not depend on {dependency}"))),
        );
    }
    for name in allowed.keys().filter(|name| !packages.contains_key(**name)) {
        findings.push(finding("edge", name, "is missing"));
    }
    findings
}

/// Dependencies that do not inherit their version, and crates outside the workspace's lints.
pub(super) fn inherited(place: &str, manifest: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut section = String::new();
    let mut lints = false;
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
        } else if section == "lints" && line.replace(' ', "") == "workspace=true" {
            lints = true;
        } else if section.ends_with("dependencies")
            && line.contains('=')
            && !line.starts_with('#')
            && !line.replace(' ', "").contains("workspace=true")
        {
            findings.push(finding("inherit", place, format!("`{line}` names its own version")));
        }
    }
    if !lints {
        findings.push(finding("inherit", place, "has no `[lints] workspace = true`"));
    }
    findings
}

/// Ways for planted bugs into a binary: only `cluster` has the feature, only `tests` may ask for it, nobody by default.
pub(super) fn planted(name: &str, manifest: &str) -> Vec<Finding> {
    let is_allowed = |line: &str| match name {
        "cluster" => line == "planted-bugs = []",
        "tests" => line.starts_with("planted-bugs = ") || line == r#"required-features = ["planted-bugs"]"#,
        _ => false,
    };
    let lines = manifest.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let wrong = lines.filter(|line| line.contains("planted-bugs") && !is_allowed(line));
    wrong.map(|line| finding("planted", name, format!("`{line}` lets planted bugs into a binary"))).collect()
}

/// Heavy crates that the lock file holds twice.
pub(super) fn one_version(lock: &str) -> Vec<Finding> {
    let count = |name: &str| lock.lines().filter(|line| *line == format!("name = \"{name}\"")).count();
    ONE_VERSION
        .into_iter()
        .filter(|name| count(name) > 1)
        .map(|name| finding("version", "Cargo.lock", format!("holds {} versions of {name}", count(name))))
        .collect()
}

fn top_level(root: &Path) -> Vec<Finding> {
    let entries = std::fs::read_dir(root).expect("the root can be read");
    entries
        .map(|entry| entry.expect("an entry of a folder").file_name().to_string_lossy().into_owned())
        .filter(|name| {
            ![&NAMES[..], &TOP_LEVEL[..], &LEFT_BEHIND[..]].iter().any(|list| list.contains(&name.as_str()))
        })
        .map(|name| finding("top", &name, "does not belong at the top level"))
        .collect()
}
