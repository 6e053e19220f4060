//! Runs one step and says what is not as expected.

use ::tests::wire::{Failure, Reply, ResultSet};

use crate::Mode;
use crate::script::{Expected, Step};
use crate::target::Target;

/// Runs a step; `None` when everything is as expected.
///
/// # Errors
/// When the file cannot go on: the server is gone.
pub fn run_step(target: &mut Target, step: &Step, mode: Mode) -> Result<Option<String>, String> {
    if step.restart {
        target.restart()?;
    }
    let session = target.session(&step.session)?;
    let difference = match session.query(&step.sql) {
        Ok(reply) => compare(step, &reply),
        Err(failure) => {
            target.forget(&step.session);
            if let Failure::Socket(_) = failure {
                target
                    .session(&step.session)
                    .map_err(|error| format!("after line {}: {error}", step.line))?;
            }
            Some(failure.to_string())
        }
    };
    if mode.checkpoint && matches!(step.expected, Expected::Done) {
        target
            .session("checkpointer")?
            .run("CHECKPOINT")
            .map_err(|failure| format!("CHECKPOINT: {failure}"))?;
    }
    Ok(difference)
}

/// Compares a reply with what a step expects.
#[must_use]
pub fn compare(step: &Step, reply: &Reply) -> Option<String> {
    if let Expected::Error { code } = &step.expected {
        return compare_error(step, code, reply);
    }
    if let Some(error) = &reply.error {
        return Some(format!("failed with {error}"));
    }
    let nothing = ResultSet::default();
    let result = reply.results.last().unwrap_or(&nothing);
    if let Some(columns) = &step.columns {
        let names: Vec<&str> = result.columns.iter().map(|column| column.name.as_str()).collect();
        let names = names.join(", ");
        if names != *columns {
            return Some(format!("columns are `{names}`, not `{columns}`"));
        }
    }
    if let Some(tag) = &step.tag {
        let actual = result.tag.as_deref().unwrap_or_default();
        if actual != tag {
            return Some(format!("tag is `{actual}`, not `{tag}`"));
        }
    }
    match &step.expected {
        Expected::Rows { lines, sorted } => compare_rows(lines, *sorted, result),
        Expected::Done | Expected::Error { .. } => None,
    }
}

fn compare_error(step: &Step, code: &str, reply: &Reply) -> Option<String> {
    let Some(error) = &reply.error else {
        return Some(format!("succeeded, but must fail with {code}"));
    };
    if !code.is_empty() && error.code != code {
        return Some(format!("failed with {error}, not with {code}"));
    }
    match &step.message {
        Some(message) if error.message != *message => {
            Some(format!("message is `{}`, not `{message}`", error.message))
        }
        _ => None,
    }
}

fn compare_rows(expected: &[String], sorted: bool, result: &ResultSet) -> Option<String> {
    let mut actual: Vec<String> = result.rows.iter().map(|row| row_text(row)).collect();
    let mut expected = expected.to_vec();
    if sorted {
        actual.sort();
        expected.sort();
    } else {
        // A value with line ends is several lines of the file.
        actual =
            actual.iter().flat_map(|row| row.split('\n')).map(|line| line.trim_end().to_owned()).collect();
        expected = expected.iter().map(|line| line.trim_end().to_owned()).collect();
    }
    if actual == expected {
        return None;
    }
    Some(format!("rows are\n{}\n  not\n{}", indented(&actual), indented(&expected)))
}

fn row_text(row: &[Option<String>]) -> String {
    let values: Vec<&str> = row
        .iter()
        .map(|value| match value.as_deref() {
            None => "NULL",
            Some("") => "(empty)",
            Some(text) => text,
        })
        .collect();
    values.join(" ")
}

fn indented(lines: &[String]) -> String {
    let mut text: Vec<String> = lines.iter().take(20).map(|line| format!("    {line}")).collect();
    if lines.len() > 20 {
        text.push(format!("    … {} more", lines.len() - 20));
    }
    text.join("\n")
}

#[cfg(test)]
mod tests;
