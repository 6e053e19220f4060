//! Expressions printed back as PostgreSQL prints them: every operator in parentheses, every literal with the type
//! it was read as, every implicit cast written out.
//!
//! What it is not: complete. What it does not know it prints as it was written, which reads back the same.
//!
//! Invariant: the text, bound again over the same columns, means the same.

use exec::functions::catalog::names::{quote_identifier, quote_literal};
use exec::functions::resolve::common_type;
use exec::functions::{find, resolve_operator};
use proto::{ColumnType, TypeKind};
use sqlparser::ast::{self, BinaryOperator, CastKind, UnaryOperator, Value};

use super::operator::{comparison, symbol};
use crate::binder::Binder;
use crate::environment::Env;
use crate::error::Result;
use crate::names::fold;
use crate::types::column_type;

/// Longer texts are printed as they were written: each level binds its operands anew.
const MAX_PRINTED_BYTES: usize = 4_096;

/// A printed expression and its type; unknown for a literal that nothing has given a type.
struct Printed {
    text: String,
    ty: ColumnType,
}

impl Printed {
    fn unknown(&self) -> bool {
        self.ty.kind == TypeKind::Unknown && !self.ty.array
    }

    fn known(&self) -> Option<ColumnType> {
        (!self.unknown()).then_some(self.ty)
    }

    /// The text as a value of a type.
    fn cast_to(self, ty: ColumnType) -> String {
        if self.unknown() {
            return format!("{}::{}", self.text, bare_name(ty));
        }
        if self.ty.kind == ty.kind && self.ty.array == ty.array {
            return self.text;
        }
        format!("({})::{}", self.text, bare_name(ty))
    }

    fn settled(self) -> String {
        if self.unknown() { self.cast_to(ColumnType::TEXT) } else { self.text }
    }
}

/// A type without its modifier, as a cast names it: bare, "character" would be one character.
pub(crate) fn bare_name(ty: ColumnType) -> String {
    match ty.without_typmod() {
        ColumnType { kind: TypeKind::Bpchar, array: false, .. } => "bpchar".to_owned(),
        other => other.display(),
    }
}

impl Binder<'_> {
    /// The text of an expression that binds in `env`.
    pub(crate) fn printed(&self, expression: &ast::Expr, env: &Env<'_>) -> Result<String> {
        let written = expression.to_string();
        if written.len() > MAX_PRINTED_BYTES {
            return Ok(written);
        }
        self.print(expression, env).map(Printed::settled)
    }

    fn print(&self, expression: &ast::Expr, env: &Env<'_>) -> Result<Printed> {
        use ast::Expr as E;
        let ty = self.bind(expression, env)?.ty;
        let text = match expression {
            E::Nested(inner) => return self.print(inner, env),
            E::Identifier(name) => quote_identifier(&fold(name)),
            E::CompoundIdentifier(parts) => {
                parts.last().map(|name| quote_identifier(&fold(name))).unwrap_or_default()
            }
            E::Value(value) => printed_value(&value.value),
            E::UnaryOp { op: UnaryOperator::Minus, expr } if matches!(expr.as_ref(), E::Value(_)) => {
                format!("'-{expr}'::{}", ty.display())
            }
            E::UnaryOp { op, expr } => format!("({op} {})", self.print(expr, env)?.text),
            E::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } => {
                self.print_chain(expression, op, env)?
            }
            E::BinaryOp { left, op, right } => self.print_operator(left, op, right, env)?,
            E::IsNull(inner) => format!("({} IS NULL)", self.print(inner, env)?.settled()),
            E::IsNotNull(inner) => format!("({} IS NOT NULL)", self.print(inner, env)?.settled()),
            E::Between { expr, negated, low, high } => self.print_between(expr, low, high, *negated, env)?,
            E::InList { expr, list, negated } => self.print_list(expr, list, *negated, env)?,
            E::Like { negated, any: false, expr, pattern, escape_char: None } => {
                self.print_like(expr, if *negated { "!~~" } else { "~~" }, pattern, env)?
            }
            E::ILike { negated, any: false, expr, pattern, escape_char: None } => {
                self.print_like(expr, if *negated { "!~~*" } else { "~~*" }, pattern, env)?
            }
            E::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, .. } => {
                let target = column_type(data_type)?;
                let inner = self.print(expr, env)?;
                if inner.unknown() {
                    format!("{}::{}", inner.text, target.display())
                } else {
                    format!("({})::{}", inner.text, target.display())
                }
            }
            E::Array(array) if !array.elem.iter().any(|item| matches!(item, E::Array(_))) => {
                let element = ColumnType { array: false, ..ty };
                let items = array.elem.iter().map(|item| Ok(self.print(item, env)?.cast_to(element)));
                format!("ARRAY[{}]", items.collect::<Result<Vec<_>>>()?.join(", "))
            }
            E::Function(function) => match self.print_call(function, env)? {
                Some(text) => text,
                None => expression.to_string(),
            },
            other => other.to_string(),
        };
        Ok(Printed { text, ty })
    }

    /// `((a) AND (b) AND (c))`.
    fn print_chain(
        &self,
        expression: &ast::Expr,
        operator: &BinaryOperator,
        env: &Env<'_>,
    ) -> Result<String> {
        let mut terms = Vec::new();
        let mut rest = expression;
        while let ast::Expr::BinaryOp { left, op, right } = rest
            && op == operator
        {
            terms.push(right.as_ref());
            rest = left;
        }
        terms.push(rest);
        let terms = terms.into_iter().rev().map(|term| Ok(self.print(term, env)?.cast_to(ColumnType::BOOL)));
        Ok(format!("({})", terms.collect::<Result<Vec<_>>>()?.join(&format!(" {operator} "))))
    }

    fn print_operator(
        &self,
        left: &ast::Expr,
        operator: &BinaryOperator,
        right: &ast::Expr,
        env: &Env<'_>,
    ) -> Result<String> {
        let (left, right) = (self.print(left, env)?, self.print(right, env)?);
        let symbol = symbol(operator);
        let known = [left.known(), right.known()];
        let same_family =
            matches!(known, [Some(left), Some(right)] if has_own_operator(left.kind, right.kind));
        let (left_type, right_type) = if comparison(operator).is_some() || same_family {
            compared(known)
        } else {
            let chosen = resolve_operator(&symbol, &known);
            let arguments = chosen.map(|(_, choice)| choice.arguments).unwrap_or_default();
            match arguments.as_slice() {
                [left, right] => (*left, *right),
                _ => compared(known),
            }
        };
        Ok(format!("({} {symbol} {})", left.cast_to(left_type), right.cast_to(right_type)))
    }

    fn print_between(
        &self,
        value: &ast::Expr,
        low: &ast::Expr,
        high: &ast::Expr,
        negated: bool,
        env: &Env<'_>,
    ) -> Result<String> {
        let (below, above, join) = if negated {
            (BinaryOperator::Lt, BinaryOperator::Gt, "OR")
        } else {
            (BinaryOperator::GtEq, BinaryOperator::LtEq, "AND")
        };
        let first = self.print_operator(value, &below, low, env)?;
        let second = self.print_operator(value, &above, high, env)?;
        Ok(format!("({first} {join} {second})"))
    }

    /// `(a = ANY (ARRAY[…]))`.
    fn print_list(
        &self,
        value: &ast::Expr,
        list: &[ast::Expr],
        negated: bool,
        env: &Env<'_>,
    ) -> Result<String> {
        let (symbol, quantifier) = if negated { ("<>", "ALL") } else { ("=", "ANY") };
        let value = self.print(value, env)?;
        let items = list.iter().map(|item| self.print(item, env)).collect::<Result<Vec<_>>>()?;
        if let [_] = items.as_slice() {
            let mut items = items;
            let Some(item) = items.pop() else { return Ok(String::new()) };
            let (left, right) = compared([value.known(), item.known()]);
            return Ok(format!("({} {symbol} {})", value.cast_to(left), item.cast_to(right)));
        }
        let types: Vec<_> = std::iter::once(value.known()).chain(items.iter().map(Printed::known)).collect();
        let element = common_type("IN", &types)?.without_typmod();
        let items: Vec<String> = items.into_iter().map(|item| item.cast_to(element)).collect();
        let array = format!("ARRAY[{}]", items.join(", "));
        if element.kind == TypeKind::Varchar {
            let value = value.cast_to(ColumnType::TEXT);
            return Ok(format!("({value} {symbol} {quantifier} (({array})::text[]))"));
        }
        let value = match value.known() {
            Some(known) if has_own_operator(known.kind, element.kind) => value.text,
            _ => value.cast_to(element),
        };
        Ok(format!("({value} {symbol} {quantifier} ({array}))"))
    }

    fn print_like(
        &self,
        value: &ast::Expr,
        symbol: &str,
        pattern: &ast::Expr,
        env: &Env<'_>,
    ) -> Result<String> {
        let (value, pattern) = (self.print(value, env)?, self.print(pattern, env)?);
        let text = ColumnType::TEXT;
        Ok(format!("({} {symbol} {})", value.cast_to(text), pattern.cast_to(text)))
    }

    /// A plain call; none for aggregates, windows and named arguments.
    fn print_call(&self, function: &ast::Function, env: &Env<'_>) -> Result<Option<String>> {
        let ast::FunctionArguments::List(list) = &function.args else { return Ok(None) };
        if function.over.is_some() || function.filter.is_some() || !list.clauses.is_empty() {
            return Ok(None);
        }
        let (name, _) = super::function_name(&function.name)?;
        let mut printed = Vec::with_capacity(list.args.len());
        for argument in &list.args {
            let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(argument)) = argument else {
                return Ok(None);
            };
            printed.push(self.print(argument, env)?);
        }
        let types: Vec<_> = printed.iter().map(Printed::known).collect();
        let choice = find(&name).and_then(|function| function.resolve(&types).ok());
        let arguments = printed.into_iter().enumerate().map(|(position, argument)| {
            let taken = choice.as_ref().and_then(|choice| choice.arguments.get(position)).copied();
            match taken {
                // Text functions take varchar as text.
                _ if argument.ty.kind == TypeKind::Varchar && !argument.ty.array => {
                    argument.cast_to(ColumnType::TEXT)
                }
                Some(taken) if argument.unknown() && taken.kind != TypeKind::Unknown => {
                    argument.cast_to(taken)
                }
                _ => argument.settled(),
            }
        });
        let arguments: Vec<String> = arguments.collect();
        let shown = match name.as_str() {
            "coalesce" | "greatest" | "least" | "nullif" => name.to_uppercase(),
            other => quote_identifier(other),
        };
        Ok(Some(format!("{shown}({})", arguments.join(", "))))
    }
}

fn printed_value(value: &Value) -> String {
    match value {
        Value::SingleQuotedString(text)
        | Value::EscapedStringLiteral(text)
        | Value::UnicodeStringLiteral(text) => quote_literal(text),
        Value::DollarQuotedString(text) => quote_literal(&text.value),
        Value::Boolean(value) => value.to_string(),
        Value::Null => "NULL".to_owned(),
        other => other.to_string(),
    }
}

/// The types a comparison's operands are cast to.
fn compared([left, right]: [Option<ColumnType>; 2]) -> (ColumnType, ColumnType) {
    let as_text = |ty: ColumnType| match ty.kind {
        TypeKind::Varchar if !ty.array => ColumnType::TEXT,
        _ => ty,
    };
    match (left, right) {
        (None, None) => (ColumnType::TEXT, ColumnType::TEXT),
        (Some(known), None) | (None, Some(known)) => (as_text(known), as_text(known)),
        (Some(left), Some(right)) => {
            if left.kind == right.kind || has_own_operator(left.kind, right.kind) {
                return (as_text(left), as_text(right));
            }
            let common = common_type("comparison", &[Some(left), Some(right)]).unwrap_or(left);
            (as_text(common), as_text(common))
        }
    }
}

/// Whether PostgreSQL compares two types without a cast.
fn has_own_operator(left: TypeKind, right: TypeKind) -> bool {
    let of = |kinds: &[TypeKind]| kinds.contains(&left) && kinds.contains(&right);
    of(&[TypeKind::Int2, TypeKind::Int4, TypeKind::Int8])
        || of(&[TypeKind::Float4, TypeKind::Float8])
        || of(&[TypeKind::Date, TypeKind::Timestamp, TypeKind::Timestamptz])
        || of(&[TypeKind::Name, TypeKind::Text])
}
