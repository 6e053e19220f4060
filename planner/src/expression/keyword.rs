//! Calls that SQL writes with keywords: EXTRACT, SUBSTRING FROM FOR, TRIM, POSITION, OVERLAY, AT TIME ZONE.

use proto::ColumnType;
use sqlparser::ast::{self, CeilFloorKind, DateTimeField, TrimWhereField};

use crate::binder::{Binder, Bound};
use crate::environment::Env;
use crate::error::{Result, unsupported};

impl Binder<'_> {
    pub(super) fn keyword_call(&self, expression: &ast::Expr, env: &Env<'_>) -> Result<Bound> {
        use ast::Expr as E;
        match expression {
            E::Extract { field, expr, .. } => {
                let field = Bound::unknown_text(field_name(field));
                let value = self.bind(expr, env)?;
                self.call("extract", vec![field, value])
            }
            E::Ceil { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                self.call_on("ceil", &[expr], env)
            }
            E::Floor { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                self.call_on("floor", &[expr], env)
            }
            E::Position { expr, r#in } => self.call_on("strpos", &[r#in, expr], env),
            E::Substring { expr, substring_from, substring_for, .. } => {
                let mut arguments = vec![self.bind(expr, env)?];
                match (substring_from, substring_for) {
                    (Some(from), Some(length)) => {
                        arguments.push(self.bind(from, env)?);
                        arguments.push(self.bind(length, env)?);
                    }
                    (Some(from), None) => arguments.push(self.bind(from, env)?),
                    (None, Some(length)) => {
                        arguments.push(Bound::new(datafusion::logical_expr::lit(1_i32), ColumnType::INT4));
                        arguments.push(self.bind(length, env)?);
                    }
                    (None, None) => {}
                }
                self.call("substring", arguments)
            }
            E::Trim { trim_where, trim_what, expr, trim_characters } => {
                let name = match trim_where {
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                    Some(TrimWhereField::Both) | None => "btrim",
                };
                let mut arguments = vec![self.bind(expr, env)?];
                if let Some(what) = trim_what {
                    arguments.push(self.bind(what, env)?);
                }
                for characters in trim_characters.iter().flatten() {
                    arguments.push(self.bind(characters, env)?);
                }
                self.call(name, arguments)
            }
            E::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut parts: Vec<&ast::Expr> = vec![expr, overlay_what, overlay_from];
                parts.extend(overlay_for.as_deref());
                self.call_on("overlay", &parts, env)
            }
            E::AtTimeZone { timestamp, time_zone } => self.call_on("timezone", &[time_zone, timestamp], env),
            other => Err(unsupported(format!("the expression {}", kind_of(other)))),
        }
    }

    fn call_on(&self, name: &str, arguments: &[&ast::Expr], env: &Env<'_>) -> Result<Bound> {
        let arguments =
            arguments.iter().map(|argument| self.bind(argument, env)).collect::<Result<Vec<_>>>()?;
        self.call(name, arguments)
    }
}

/// The field of EXTRACT as text.
fn field_name(field: &DateTimeField) -> String {
    match field {
        DateTimeField::Custom(name) => crate::names::fold(name),
        other => other.to_string().to_lowercase(),
    }
}

/// A few words about an expression, for messages; its text may be long.
fn kind_of(expression: &ast::Expr) -> String {
    let text = expression.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
