//! The session's settings.

use super::{Computed, Facts, Row, Value, row};

/// `pg_catalog.pg_settings`.
pub(crate) const PG_SETTINGS: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_settings",
    columns: &[
        "name",
        "setting",
        "unit",
        "category",
        "short_desc",
        "extra_desc",
        "context",
        "vartype",
        "source",
        "min_val",
        "max_val",
        "enumvals",
        "boot_val",
        "reset_val",
        "sourcefile",
        "sourceline",
        "pending_restart",
    ],
    rows,
};

fn rows(facts: &Facts) -> Vec<Row> {
    facts
        .settings
        .rows()
        .into_iter()
        .map(|setting| {
            let words =
                setting.words.map(|words| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
            row![
                setting.name,
                setting.setting,
                setting.unit,
                setting.category,
                setting.description,
                setting.extra,
                setting.context,
                setting.vartype,
                setting.source,
                setting.min,
                setting.max,
                words,
                setting.boot,
                setting.reset,
                Value::Null,
                Value::Null,
                false,
            ]
        })
        .collect()
}
