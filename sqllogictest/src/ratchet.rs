//! Files that are not complete yet: a list beside each names the records that must pass.
//!
//! `x.passing` holds one line per record, `<line>: <start of the statement>`. A listed record that fails is a
//! failure; one that passes without being listed is reported, and `slt --update` adds it. Lines are only ever
//! added: `--update` keeps a listed record that fails now.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{FileReport, Outcome};

/// The list that belongs to a file.
#[must_use]
pub fn list_path(file: &Path) -> PathBuf {
    file.with_extension("passing")
}

/// The records that must pass, by line; empty when there is no list.
///
/// # Errors
/// When the list exists and cannot be read.
pub fn load(file: &Path) -> Result<BTreeMap<u32, String>, String> {
    let path = list_path(file);
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter_map(|(number, sql)| number.parse().ok().map(|number| (number, sql.to_owned())))
        .collect())
}

/// What a report means against its list.
#[derive(Debug)]
pub struct Verdict<'a> {
    /// Listed records that fail.
    pub lost: Vec<&'a Outcome>,
    /// Records that pass and are not listed.
    pub gained: Vec<&'a Outcome>,
}

/// Compares a report with the list.
#[must_use]
pub fn judge<'a>(report: &'a FileReport, list: &BTreeMap<u32, String>) -> Verdict<'a> {
    let mut verdict = Verdict { lost: Vec::new(), gained: Vec::new() };
    for outcome in &report.outcomes {
        match (list.contains_key(&outcome.line), outcome.difference.is_some()) {
            (true, true) => verdict.lost.push(outcome),
            (false, false) => verdict.gained.push(outcome),
            _ => {}
        }
    }
    verdict
}

/// Adds what passes to the list.
///
/// # Errors
/// When the list cannot be written.
pub fn update(report: &FileReport) -> Result<(), String> {
    let mut list = load(&report.path)?;
    for outcome in report.outcomes.iter().filter(|outcome| outcome.difference.is_none()) {
        list.insert(outcome.line, start(&outcome.sql));
    }
    let text: String = list.iter().map(|(line, sql)| format!("{line}: {sql}\n")).collect();
    let path = list_path(&report.path);
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn start(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(72).collect()
}
