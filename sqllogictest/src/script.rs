//! A `.slt` file as a list of steps: records with the comment lines that stand before them.
//!
//! `# columns:`, `# tag:` and `# message:` are expectations; `# restart` ends the server and starts it again
//! before the record (nothing against a given URL); every other comment is for the reader.

use std::path::Path;

use sqllogictest::{Connection, DefaultColumnType, QueryExpect, Record, SortMode, StatementExpect};

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub line: u32,
    pub sql: String,
    /// The session, `default` unless named.
    pub session: String,
    pub expected: Expected,
    pub columns: Option<String>,
    pub tag: Option<String>,
    pub message: Option<String>,
    /// Whether the server is restarted before.
    pub restart: bool,
}

/// What a record must give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Success.
    Done,
    /// These lines, one per row.
    Rows { lines: Vec<String>, sorted: bool },
    /// An error with this SQLSTATE (empty: any).
    Error { code: String },
}

#[derive(Default)]
struct Remarks {
    columns: Option<String>,
    tag: Option<String>,
    message: Option<String>,
    restart: bool,
}

impl Remarks {
    fn read(&mut self, lines: &[String]) {
        for line in lines {
            let line = line.trim();
            if let Some(text) = line.strip_prefix("columns:") {
                self.columns = Some(text.trim().to_owned());
            } else if let Some(text) = line.strip_prefix("tag:") {
                self.tag = Some(text.trim().to_owned());
            } else if let Some(text) = line.strip_prefix("message:") {
                self.message = Some(text.trim().to_owned());
            } else if line == "restart" {
                self.restart = true;
            }
        }
    }
}

/// Parses a file.
///
/// # Errors
/// Malformed files and records that this runner does not know.
pub fn parse(text: &str, path: &Path) -> Result<Vec<Step>, String> {
    let name = path.display().to_string();
    let records = sqllogictest::parse_with_name::<DefaultColumnType>(text, name.as_str())
        .map_err(|error| error.to_string())?;
    let mut steps = Vec::new();
    let mut remarks = Remarks::default();
    for record in records {
        let (loc, connection, sql, expected) = match record {
            Record::Comment(lines) => {
                remarks.read(&lines);
                continue;
            }
            // A blank line ends what the comments above it belong to, as at the head of a file.
            Record::Newline => {
                remarks = Remarks::default();
                continue;
            }
            Record::Connection(_) => continue,
            Record::Statement { loc, connection, sql, expected, .. } => {
                (loc, connection, sql, statement_expectation(expected))
            }
            Record::Query { loc, connection, sql, expected, .. } => {
                (loc, connection, sql, query_expectation(expected))
            }
            other => return Err(format!("{name}: record not supported: {other}")),
        };
        let found = std::mem::take(&mut remarks);
        let session = match connection {
            Connection::Default => "default".to_owned(),
            Connection::Named(name) => name,
        };
        steps.push(Step {
            line: loc.line(),
            sql,
            session,
            expected,
            columns: found.columns,
            tag: found.tag,
            message: found.message,
            restart: found.restart,
        });
    }
    Ok(steps)
}

fn statement_expectation(expected: StatementExpect) -> Expected {
    match expected {
        StatementExpect::Ok | StatementExpect::Count(_) => Expected::Done,
        StatementExpect::Error(error) => Expected::Error { code: code_of(&error.to_string()) },
    }
}

fn query_expectation(expected: QueryExpect<DefaultColumnType>) -> Expected {
    match expected {
        QueryExpect::Results { results, sort_mode, .. } => {
            Expected::Rows { lines: results, sorted: sort_mode == Some(SortMode::RowSort) }
        }
        QueryExpect::Error(error) => Expected::Error { code: code_of(&error.to_string()) },
    }
}

/// The SQLSTATE in `error (22003)`, which the parser reads as a regular expression.
fn code_of(displayed: &str) -> String {
    let text = displayed.trim_start_matches("(regex)").trim_start_matches("(any)");
    text.chars().filter(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests;
