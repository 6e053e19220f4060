//! Literals: integers are int4, else int8, else numeric; strings and NULL are unknown until something asks.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, ScalarUDF, lit};
use exec::functions::cast::{CastFunction, cast};
use exec::functions::resolve::CastContext;
use proto::types::NUMERIC_PRECISION;
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};
use sqlparser::ast::{self, DateTimeField, Value, ValueWithSpan};

use crate::binder::{Binder, Bound};
use crate::environment::Env;
use crate::error::{At, Result, syntax, unsupported};

/// The digits that a numeric carries.
const MAX_DIGITS: usize = NUMERIC_PRECISION as usize;

impl Binder<'_> {
    pub(crate) fn literal(&self, value: &ValueWithSpan) -> Result<Bound> {
        match &value.value {
            Value::Number(digits, _) => number(digits, false).at(value.span),
            Value::SingleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::UnicodeStringLiteral(text)
            | Value::NationalStringLiteral(text) => Ok(Bound::unknown_text(text.clone())),
            Value::DollarQuotedString(text) => Ok(Bound::unknown_text(text.value.clone())),
            Value::Boolean(value) => Ok(Bound::new(lit(*value), ColumnType::BOOL)),
            Value::Null => Ok(Bound::null()),
            Value::Placeholder(text) => self.parameter(text, value.span),
            Value::SingleQuotedByteStringLiteral(_) | Value::HexStringLiteral(_) => {
                Err(unsupported("type bit").at(value.span))
            }
            other => Err(syntax(format!("syntax error at or near \"{other}\"")).at(value.span)),
        }
    }

    /// `INTERVAL '1' DAY` and its like.
    pub(crate) fn interval(&self, interval: &ast::Interval, env: &Env<'_>) -> Result<Bound> {
        let mut bound = self.bind(&interval.value, env)?;
        if interval.leading_precision.is_some() || interval.fractional_seconds_precision.is_some() {
            return Err(unsupported("interval precision"));
        }
        if let Some(field) = &interval.leading_field {
            let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = &bound.expr else {
                return Err(syntax("interval fields need a string literal"));
            };
            let unit = match field {
                DateTimeField::Year | DateTimeField::Years => "year",
                DateTimeField::Month | DateTimeField::Months => "month",
                DateTimeField::Day | DateTimeField::Days => "day",
                DateTimeField::Hour | DateTimeField::Hours => "hour",
                DateTimeField::Minute | DateTimeField::Minutes => "minute",
                DateTimeField::Second | DateTimeField::Seconds => "second",
                other => return Err(unsupported(format!("interval field {other}"))),
            };
            if interval.last_field.is_some() {
                return Err(unsupported("interval field ranges"));
            }
            if text.trim().parse::<f64>().is_ok() {
                bound = Bound::unknown_text(format!("{} {unit}", text.trim()));
            }
        }
        self.explicit(bound, TypeKind::Interval.into())
    }
}

/// A number with a minus sign in front, folded; `None` for other literals.
pub(super) fn negative(value: &ValueWithSpan) -> Result<Option<Bound>> {
    match &value.value {
        Value::Number(digits, _) => number(digits, true).at(value.span).map(Some),
        _ => Ok(None),
    }
}

fn number(digits: &str, negative: bool) -> Result<Bound> {
    let mut text = digits.replace('_', "");
    if negative {
        text.insert(0, '-');
    }
    if let Ok(small) = text.parse::<i32>() {
        return Ok(Bound::new(lit(small), ColumnType::INT4));
    }
    if let Ok(large) = text.parse::<i64>() {
        return Ok(Bound::new(lit(large), ColumnType::INT8));
    }
    numeric(&text)
}

fn numeric(text: &str) -> Result<Bound> {
    let ty = ColumnType::scalar(TypeKind::Numeric);
    let Some((unscaled, scale)) = decimal(text) else {
        if text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E'))
        {
            let text = Expr::Literal(ScalarValue::Utf8(Some(text.to_owned())), None);
            return Ok(Bound::new(cast(text, ty, CastContext::Explicit), ty));
        }
        return Err(SqlError::new(
            ErrorKind::SyntaxError,
            format!("trailing junk after numeric literal at or near \"{text}\""),
        ));
    };
    let value = ScalarValue::Decimal128(Some(unscaled), NUMERIC_PRECISION, scale);
    Ok(Bound::new(Expr::Literal(value, None), ty))
}

/// The digits of a number that numeric cannot carry: a float may, when it is asked for directly.
pub(super) fn wide_number(expression: &Expr) -> Option<&str> {
    let Expr::ScalarFunction(call) = expression else { return None };
    match call.args.as_slice() {
        [Expr::Literal(ScalarValue::Utf8(Some(digits)), _)] if is_cast_to_numeric(&call.func) => Some(digits),
        _ => None,
    }
}

fn is_cast_to_numeric(function: &ScalarUDF) -> bool {
    function.inner().downcast_ref::<CastFunction>().is_some_and(|cast| {
        let target = cast.target();
        target.kind == TypeKind::Numeric && !target.array && target.typmod == -1
    })
}

/// Digits without point and the number of them behind the point; `None` when they are too many or it is no number.
fn decimal(text: &str) -> Option<(i128, i8)> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = format!("{whole}{fraction}");
    let mut scale = i32::try_from(fraction.len()).ok()? - exponent;
    if scale < 0 {
        if scale < -(MAX_DIGITS as i32) {
            return None;
        }
        digits.extend(std::iter::repeat_n('0', scale.unsigned_abs() as usize));
        scale = 0;
    }
    let significant = digits.trim_start_matches('0');
    if significant.len() > MAX_DIGITS || scale > MAX_DIGITS as i32 || digits.is_empty() {
        return None;
    }
    let unscaled: i128 = if significant.is_empty() { 0 } else { significant.parse().ok()? };
    Some((if negative { -unscaled } else { unscaled }, scale as i8))
}
