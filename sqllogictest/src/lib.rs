//! Runs `.slt` files over a real socket and compares rows, column names, command tags, SQLSTATEs and messages.
//!
//! What it is not: a parser of the format (that is the `sqllogictest` crate's) or a judge of SQL: an
//! expectation is right when PostgreSQL 16 with pgvector gives it (`slt --url` asks one).
//!
//! Invariants: each file has a fresh server or a fresh database; a record that is not understood fails.
#![expect(clippy::disallowed_methods, reason = "a test program reads its files itself")]

pub mod check;
pub mod ratchet;
pub mod script;
pub mod target;

use std::path::{Path, PathBuf};

/// What became of one record.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Line of the record in its file.
    pub line: u32,
    pub sql: String,
    /// `None` when everything was as expected, else what was not.
    pub difference: Option<String>,
}

/// What became of one file.
#[derive(Debug)]
pub struct FileReport {
    pub path: PathBuf,
    pub outcomes: Vec<Outcome>,
    /// Why the file could not be run to its end.
    pub broken: Option<String>,
}

impl FileReport {
    /// Number of records as expected.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.difference.is_none()).count()
    }

    /// Number of records not as expected.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.outcomes.len() - self.passed() + usize::from(self.broken.is_some())
    }
}

/// How a file is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// CHECKPOINT on a second session after every statement.
    pub checkpoint: bool,
}

/// Runs one file.
#[must_use]
pub fn run_file(path: &Path, place: &target::Place, mode: Mode) -> FileReport {
    let mut report = FileReport { path: path.to_owned(), outcomes: Vec::new(), broken: None };
    let outcome = std::fs::read_to_string(path)
        .map_err(|error| error.to_string())
        .and_then(|text| script::parse(&text, path))
        .and_then(|steps| {
            let mut target = place.open(path)?;
            for step in &steps {
                let difference = check::run_step(&mut target, step, mode)?;
                report.outcomes.push(Outcome { line: step.line, sql: step.sql.clone(), difference });
            }
            Ok(())
        });
    report.broken = outcome.err();
    report
}

/// The `.slt` files of a folder (or the file itself), in order of name.
///
/// # Errors
/// When the path cannot be read.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "slt"))
        .collect();
    files.sort();
    Ok(files)
}
