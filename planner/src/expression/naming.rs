//! The names PostgreSQL gives to output columns without alias.

use sqlparser::ast::{self, Expr, TrimWhereField, Value};

use crate::names::fold;
use crate::types::column_type;

/// How sure a name is: a cast's type name gives way to a name found inside.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strength {
    Weak,
    Strong,
}

/// PostgreSQL's name for an expression in a select list.
pub(crate) fn output_name(expression: &Expr) -> String {
    name(expression).map_or_else(|| "?column?".to_owned(), |(name, _)| name)
}

fn strong(name: impl Into<String>) -> Option<(String, Strength)> {
    Some((name.into(), Strength::Strong))
}

fn name(expression: &Expr) -> Option<(String, Strength)> {
    match expression {
        Expr::Identifier(name) => strong(fold(name)),
        Expr::CompoundIdentifier(parts) => parts.last().and_then(|part| strong(fold(part))),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => name(inner),
        Expr::Cast { expr, data_type, .. } => cast_name(expr, data_type),
        Expr::TypedString(typed) => weak_type(&typed.data_type),
        Expr::Interval(_) => Some(("interval".to_owned(), Strength::Weak)),
        Expr::Value(value) if matches!(value.value, Value::Boolean(_)) => {
            Some(("bool".to_owned(), Strength::Weak))
        }
        Expr::Function(function) => function_name(function),
        Expr::Case { else_result, .. } => case_name(else_result.as_deref()),
        Expr::Exists { negated: false, .. } => strong("exists"),
        Expr::Array(_) => strong("array"),
        Expr::Subquery(query) => subquery_name(query),
        Expr::Extract { .. } => strong("extract"),
        Expr::Substring { shorthand, .. } => strong(if *shorthand { "substr" } else { "substring" }),
        Expr::Position { .. } => strong("position"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::CompoundFieldAccess { root, .. } => name(root),
        Expr::Tuple(_) => strong("row"),
        _ => None,
    }
}

/// A name found inside a cast wins over the type's, unless it is weak itself.
fn cast_name(inner: &Expr, data_type: &ast::DataType) -> Option<(String, Strength)> {
    match name(inner) {
        Some((name, Strength::Strong)) => strong(name),
        _ => weak_type(data_type),
    }
}

fn weak_type(data_type: &ast::DataType) -> Option<(String, Strength)> {
    let ty = column_type(data_type).ok()?;
    Some((ty.kind.name().to_owned(), Strength::Weak))
}

fn case_name(otherwise: Option<&Expr>) -> Option<(String, Strength)> {
    match otherwise.and_then(name) {
        Some((name, Strength::Strong)) => strong(name),
        _ => Some(("case".to_owned(), Strength::Weak)),
    }
}

fn function_name(function: &ast::Function) -> Option<(String, Strength)> {
    match function.name.0.last() {
        Some(ast::ObjectNamePart::Identifier(name)) => {
            let name = fold(name);
            if name == "array" && matches!(function.args, ast::FunctionArguments::Subquery(_)) {
                return strong("array");
            }
            strong(name)
        }
        _ => None,
    }
}

/// A scalar subquery is called after its only column.
fn subquery_name(query: &ast::Query) -> Option<(String, Strength)> {
    let mut body = query.body.as_ref();
    loop {
        match body {
            ast::SetExpr::Select(select) => {
                return match select.projection.first()? {
                    ast::SelectItem::UnnamedExpr(expression) => strong(output_name(expression)),
                    ast::SelectItem::ExprWithAlias { alias, .. } => strong(fold(alias)),
                    _ => None,
                };
            }
            ast::SetExpr::Query(inner) => body = inner.body.as_ref(),
            ast::SetExpr::SetOperation { left, .. } => body = left.as_ref(),
            ast::SetExpr::Values(_) => return strong("column1"),
            _ => return None,
        }
    }
}
