//! Physical expressions in PostgreSQL's spelling, for EXPLAIN: names without positions, typed literals,
//! operators between their operands.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use proto::{ColumnType, TypeKind};

use crate::functions::{CastFunction, find_operator};
use crate::text::{TimeZone, write_value};

/// Longest literal that is printed whole; a 1024-dimensional query vector is cut.
const LITERAL_CHARACTERS: usize = 200;

/// The text of an expression.
pub(crate) fn text(expression: &Arc<dyn PhysicalExpr>) -> String {
    if let Some(column) = expression.downcast_ref::<Column>() {
        return column.name().to_owned();
    }
    if let Some(literal) = expression.downcast_ref::<Literal>() {
        return literal_text(literal.value());
    }
    if let Some(binary) = expression.downcast_ref::<BinaryExpr>() {
        return format!(
            "({} {} {})",
            text(binary.left()),
            operator(&binary.op().to_string()),
            text(binary.right())
        );
    }
    if let Some(inner) = expression.downcast_ref::<NotExpr>() {
        return format!("(NOT {})", text(inner.arg()));
    }
    if let Some(inner) = expression.downcast_ref::<IsNullExpr>() {
        return format!("({} IS NULL)", text(inner.arg()));
    }
    if let Some(inner) = expression.downcast_ref::<IsNotNullExpr>() {
        return format!("({} IS NOT NULL)", text(inner.arg()));
    }
    if let Some(inner) = expression.downcast_ref::<CastExpr>() {
        return text(inner.expr());
    }
    if let Some(like) = expression.downcast_ref::<LikeExpr>() {
        let operator = match (like.negated(), like.case_insensitive()) {
            (false, false) => "~~",
            (true, false) => "!~~",
            (false, true) => "~~*",
            (true, true) => "!~~*",
        };
        return format!("({} {operator} {})", text(like.expr()), text(like.pattern()));
    }
    if let Some(list) = expression.downcast_ref::<InListExpr>() {
        let items: Vec<String> = list.list().iter().map(text).collect();
        let (operator, quantifier) = if list.negated() { ("<>", "ALL") } else { ("=", "ANY") };
        return format!("({} {operator} {quantifier} ({}))", text(list.expr()), items.join(", "));
    }
    if let Some(function) = expression.downcast_ref::<ScalarFunctionExpr>() {
        return function_text(function);
    }
    without_positions(&expression.to_string())
}

fn operator(name: &str) -> &str {
    match name {
        "!=" => "<>",
        name => name,
    }
}

fn function_text(function: &ScalarFunctionExpr) -> String {
    let arguments: Vec<String> = function.args().iter().map(text).collect();
    if let Some(cast) = function.fun().inner().downcast_ref::<CastFunction>() {
        return format!("({})::{}", arguments.join(", "), cast.target().display());
    }
    let name = function.fun().name();
    let metric = proto::DistanceMetric::ALL.into_iter().find(|metric| metric.operator_function() == name);
    let symbol = metric.map_or(name, |metric| metric.operator());
    match (find_operator(symbol), arguments.as_slice()) {
        (Some(_), [left, right]) => format!("({left} {symbol} {right})"),
        (Some(_), [only]) => format!("({symbol} {only})"),
        _ => format!("{name}({})", arguments.join(", ")),
    }
}

fn literal_text(value: &ScalarValue) -> String {
    let ty = match value {
        ScalarValue::FixedSizeList(_) | ScalarValue::List(_)
            if ColumnType::of_data_type(&value.data_type()) == ColumnType::array_of(TypeKind::Float4) =>
        {
            ColumnType::from(TypeKind::Vector)
        }
        _ => ColumnType::of_data_type(&value.data_type()),
    };
    if value.is_null() {
        return format!("NULL::{}", ty.display());
    }
    let mut printed = String::new();
    let written = value
        .to_array_of_size(1)
        .is_ok_and(|array| write_value(array.as_ref(), 0, ty, &TimeZone::UTC, &mut printed).is_ok());
    if !written {
        return value.to_string();
    }
    if let Some((cut, _)) = printed.char_indices().nth(LITERAL_CHARACTERS) {
        printed.truncate(cut);
        printed.push('…');
    }
    match ty.kind {
        TypeKind::Bool => if printed == "t" { "true" } else { "false" }.to_owned(),
        TypeKind::Int2 | TypeKind::Int4 | TypeKind::Int8 | TypeKind::Numeric if !ty.array => printed,
        _ => format!("'{}'::{}", printed.replace('\'', "''"), ty.display()),
    }
}

/// DataFusion prints `name@3`: the position says nothing to a reader.
fn without_positions(printed: &str) -> String {
    let mut out = String::with_capacity(printed.len());
    let mut characters = printed.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '@' && characters.peek().is_some_and(char::is_ascii_digit) {
            while characters.next_if(char::is_ascii_digit).is_some() {}
            continue;
        }
        out.push(character);
    }
    out
}
