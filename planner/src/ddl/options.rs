//! The options of tables: `WITH (retention = '1 h', consistency = 'bounded')`.

use exec::text::interval;
use proto::catalog::{Consistency, TableOptions};
use proto::{ErrorKind, SqlError};
use sqlparser::ast::{self, CreateTableOptions, SqlOption};

use crate::error::{Result, unsupported};
use crate::names::fold;

/// Options of DESIGN and of PostgreSQL that have no meaning here yet.
const LATER: [&str; 9] = [
    "shards",
    "channel",
    "replicas",
    "resource_group",
    "segment_size",
    "load",
    "fillfactor",
    "parallel_workers",
    "toast_tuple_target",
];

/// The options of CREATE TABLE.
pub(super) fn table_options(given: &CreateTableOptions) -> Result<TableOptions> {
    let mut options = TableOptions::default();
    match given {
        CreateTableOptions::None => {}
        CreateTableOptions::With(with) => set_options(&mut options, with)?,
        _ => return Err(unsupported("this clause of CREATE TABLE")),
    }
    Ok(options)
}

/// What `SET (…)` and WITH make of a table's options.
pub(super) fn set_options(options: &mut TableOptions, given: &[SqlOption]) -> Result<()> {
    for option in given {
        let SqlOption::KeyValue { key, value } = option else {
            return Err(unsupported("this table option"));
        };
        let name = fold(key);
        match name.as_str() {
            "retention" => options.retention_millis = Some(retention(&text(value)?)?),
            "consistency" => options.consistency = Some(consistency(&text(value)?)?),
            later if LATER.contains(&later) || later.starts_with("autovacuum") => {
                return Err(unsupported(format!("the table option \"{later}\"")));
            }
            _ => {
                return Err(SqlError::new(
                    ErrorKind::InvalidParameterValue,
                    format!("unrecognized parameter \"{name}\""),
                ));
            }
        }
    }
    Ok(())
}

/// The value of an option as text.
fn text(value: &ast::Expr) -> Result<String> {
    match value {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Number(number, _) => Ok(number.clone()),
            ast::Value::SingleQuotedString(text) => Ok(text.clone()),
            _ => Err(unsupported("this value of a table option")),
        },
        ast::Expr::Identifier(name) => Ok(fold(name)),
        _ => Err(unsupported("this value of a table option")),
    }
}

/// An interval, or a number of seconds.
fn retention(written: &str) -> Result<u64> {
    let wrong = || {
        SqlError::new(
            ErrorKind::InvalidParameterValue,
            format!("invalid value for option \"retention\": \"{written}\""),
        )
        .with_hint("Write an interval that is not negative, such as '1 hour'.")
    };
    if let Ok(seconds) = written.trim().parse::<u64>() {
        return seconds.checked_mul(1000).ok_or_else(wrong);
    }
    let value = interval::parse(written).map_err(|_| wrong())?;
    let days = i64::from(value.months) * 30 + i64::from(value.days);
    let millis =
        days.checked_mul(86_400_000).and_then(|days| days.checked_add(value.nanoseconds / 1_000_000));
    millis.and_then(|millis| u64::try_from(millis).ok()).ok_or_else(wrong)
}

fn consistency(written: &str) -> Result<Consistency> {
    Consistency::of_word(written).ok_or_else(|| {
        SqlError::new(
            ErrorKind::InvalidParameterValue,
            format!("invalid value for option \"consistency\": \"{written}\""),
        )
        .with_hint("Available values: strong, session, bounded, eventual.")
    })
}
