//! LIKE, ILIKE, SIMILAR TO and the regular-expression operators.

use datafusion::logical_expr::{Expr, Like, Operator, binary_expr, not};
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};
use sqlparser::ast::{self, BinaryOperator, Spanned, Value, ValueWithSpan};

use crate::binder::{Binder, Bound};
use crate::calls;
use crate::environment::Env;
use crate::error::{At, Result, undefined_operator, unsupported};

/// Case-insensitive? and negated? of a regular-expression operator.
pub(super) const fn regex(operator: &BinaryOperator) -> Option<(bool, bool)> {
    Some(match operator {
        BinaryOperator::PGRegexMatch => (false, false),
        BinaryOperator::PGRegexIMatch => (true, false),
        BinaryOperator::PGRegexNotMatch => (false, true),
        BinaryOperator::PGRegexNotIMatch => (true, true),
        _ => return None,
    })
}

/// Case-insensitive? and negated? of `~~` and its like.
pub(super) const fn like_operator(operator: &BinaryOperator) -> Option<(bool, bool)> {
    Some(match operator {
        BinaryOperator::PGLikeMatch => (false, false),
        BinaryOperator::PGILikeMatch => (true, false),
        BinaryOperator::PGNotLikeMatch => (false, true),
        BinaryOperator::PGNotILikeMatch => (true, true),
        _ => return None,
    })
}

impl Binder<'_> {
    pub(super) fn like(
        &self,
        value: &ast::Expr,
        pattern: &ast::Expr,
        negated: bool,
        case_insensitive: bool,
        escape: Option<&ValueWithSpan>,
        env: &Env<'_>,
    ) -> Result<Bound> {
        let span = value.span();
        let escape = escape.map(escape_character).transpose()?;
        let (value, mut pattern) = (self.bind(value, env)?, self.bind(pattern, env)?);
        if let Some(escape) = escape.filter(|escape| *escape != Some('\\')) {
            let escape = Bound::unknown_text(escape.map_or_else(String::new, String::from));
            pattern = self.call("like_escape", vec![pattern, escape]).at(span)?;
        }
        self.like_bound(value, pattern, negated, case_insensitive).at(span)
    }

    pub(super) fn like_bound(
        &self,
        value: Bound,
        pattern: Bound,
        negated: bool,
        case_insensitive: bool,
    ) -> Result<Bound> {
        let symbol = match (case_insensitive, negated) {
            (false, false) => "~~",
            (false, true) => "!~~",
            (true, false) => "~~*",
            (true, true) => "!~~*",
        };
        let (value, pattern) = self.texts(symbol, value, pattern)?;
        Ok(Bound::boolean(Expr::Like(Like {
            negated,
            expr: Box::new(value),
            pattern: Box::new(pattern),
            escape_char: None,
            case_insensitive,
        })))
    }

    pub(super) fn regex_match(
        &self,
        value: Bound,
        pattern: Bound,
        case_insensitive: bool,
        negated: bool,
    ) -> Result<Bound> {
        let (symbol, operator) = match (case_insensitive, negated) {
            (false, false) => ("~", Operator::RegexMatch),
            (true, false) => ("~*", Operator::RegexIMatch),
            (false, true) => ("!~", Operator::RegexNotMatch),
            (true, true) => ("!~*", Operator::RegexNotIMatch),
        };
        let (value, pattern) = self.texts(symbol, value, pattern)?;
        Ok(Bound::boolean(binary_expr(value, operator, pattern)))
    }

    /// SIMILAR TO, as a regular expression when the pattern is a constant.
    pub(super) fn similar(
        &self,
        value: &ast::Expr,
        pattern: &ast::Expr,
        negated: bool,
        escape: Option<&ValueWithSpan>,
        env: &Env<'_>,
    ) -> Result<Bound> {
        let escape = match escape {
            Some(escape) => escape_character(escape)?,
            None => Some('\\'),
        };
        let ast::Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) = pattern else {
            return self.similar_function(value, pattern, negated, env);
        };
        let pattern = Bound::unknown_text(similar_to_regex(text, escape)?);
        let value = self.bind(value, env)?;
        self.regex_match(value, pattern, false, negated)
    }

    fn similar_function(
        &self,
        value: &ast::Expr,
        pattern: &ast::Expr,
        negated: bool,
        env: &Env<'_>,
    ) -> Result<Bound> {
        let Some(function) = calls::scalar("similar_to_escape") else {
            return Err(unsupported("SIMILAR TO with a pattern that is no constant"));
        };
        let pattern = self.bind_to(pattern, ColumnType::TEXT, env)?;
        let regex = calls::call(function, vec![pattern.expr]);
        let value = self.bind(value, env)?;
        let matched = self.regex_match(value, Bound::new(regex, ColumnType::TEXT), false, false)?;
        Ok(if negated { Bound::boolean(not(matched.expr)) } else { matched })
    }

    fn texts(&self, symbol: &str, left: Bound, right: Bound) -> Result<(Expr, Expr)> {
        let textual = |bound: &Bound| {
            bound.is_unknown()
                || !bound.ty.array
                    && matches!(
                        bound.ty.kind,
                        TypeKind::Text | TypeKind::Varchar | TypeKind::Bpchar | TypeKind::Name
                    )
        };
        if !textual(&left) || !textual(&right) {
            return Err(undefined_operator(symbol, Some(left.ty), right.ty));
        }
        let keep = |bound: Bound| {
            if bound.is_unknown() || bound.ty.kind == TypeKind::Bpchar {
                self.implicit(bound, ColumnType::TEXT)
            } else {
                Ok(bound)
            }
        };
        Ok((keep(left)?.expr, keep(right)?.expr))
    }
}

/// The character of an ESCAPE clause; `None` for the empty string, which turns escaping off.
fn escape_character(escape: &ValueWithSpan) -> Result<Option<char>> {
    let Value::SingleQuotedString(text) = &escape.value else {
        return Err(unsupported("ESCAPE with anything but a string literal").at(escape.span));
    };
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (first, None) => Ok(first),
        _ => Err(SqlError::new(ErrorKind::InvalidEscapeSequence, "invalid escape string")
            .with_hint("Escape string must be empty or one character.")
            .at(escape.span)),
    }
}

/// A SIMILAR TO pattern as an anchored regular expression.
fn similar_to_regex(pattern: &str, escape: Option<char>) -> Result<String> {
    let mut out = String::from("^(?:");
    let mut characters = pattern.chars();
    let mut in_brackets = false;
    while let Some(character) = characters.next() {
        if Some(character) == escape {
            let Some(next) = characters.next() else {
                return Err(SqlError::new(ErrorKind::InvalidEscapeSequence, "invalid escape string"));
            };
            if !next.is_alphanumeric() {
                out.push('\\');
            }
            out.push(next);
            continue;
        }
        match character {
            '[' => in_brackets = true,
            ']' => in_brackets = false,
            '%' if !in_brackets => {
                out.push_str(".*");
                continue;
            }
            '_' if !in_brackets => {
                out.push('.');
                continue;
            }
            '.' | '^' | '$' | '\\' if !in_brackets => out.push('\\'),
            _ => {}
        }
        out.push(character);
    }
    out.push_str(")$");
    Ok(out)
}
