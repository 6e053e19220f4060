//! Making an expression be of a type: unknown literals and parameters take it, other values are cast by exec.

use arrow::array::{ArrayRef, StringArray};
use datafusion::common::ScalarValue;
use datafusion::common::metadata::FieldMetadata;
use datafusion::logical_expr::Expr;
use exec::functions::cast::{cast, cast_array};
use exec::functions::resolve::{CastContext, can_cast, common_type};
use exec::text::InputContext;
use proto::{ColumnType, TypeKind};
use std::sync::Arc;

use super::literal;
use crate::binder::{Binder, Bound};
use crate::error::{Result, cannot_cast, datatype_mismatch, from_datafusion};

/// A constant of a type.
pub(crate) fn constant(value: ScalarValue, ty: ColumnType) -> Expr {
    let metadata = (ColumnType::of_data_type(&value.data_type()) != ty).then(|| {
        FieldMetadata::from(ty.metadata().into_iter().collect::<std::collections::BTreeMap<_, _>>())
    });
    Expr::Literal(value, metadata)
}

/// NULL of a type.
pub(crate) fn typed_null(ty: ColumnType) -> Result<Expr> {
    let value = ScalarValue::try_new_null(&ty.data_type()).map_err(from_datafusion)?;
    Ok(constant(value, ty))
}

/// Whether text of this type reads the same in every session, so that literals are converted while planning.
const fn reads_the_same_everywhere(ty: ColumnType) -> bool {
    !ty.array
        && matches!(
            ty.kind,
            TypeKind::Bool
                | TypeKind::Int2
                | TypeKind::Int4
                | TypeKind::Int8
                | TypeKind::Float4
                | TypeKind::Float8
                | TypeKind::Uuid
                | TypeKind::Bytea
                | TypeKind::Jsonb
                | TypeKind::Json
                | TypeKind::Vector
        )
}

/// Whether text of this type is well-formed, or not, in every session, though what it means may differ.
const fn is_well_formed_everywhere(ty: ColumnType) -> bool {
    match ty.kind {
        TypeKind::Date
        | TypeKind::Time
        | TypeKind::Timestamp
        | TypeKind::Timestamptz
        | TypeKind::Interval
        | TypeKind::Numeric => true,
        TypeKind::Text | TypeKind::Varchar | TypeKind::Bpchar => ty.array,
        _ => ty.array && reads_the_same_everywhere(ColumnType { array: false, ..ty }),
    }
}

impl Binder<'_> {
    /// Casts where PostgreSQL casts by itself.
    pub(crate) fn implicit(&self, bound: Bound, ty: ColumnType) -> Result<Bound> {
        self.coerce(bound, ty, CastContext::Implicit)
    }

    /// Casts as `::` does.
    pub(crate) fn explicit(&self, bound: Bound, ty: ColumnType) -> Result<Bound> {
        self.coerce(bound, ty, CastContext::Explicit)
    }

    /// Casts a value that goes into a column.
    ///
    /// # Errors
    /// 42804 when there is no assignment cast.
    pub(crate) fn assign(&self, bound: Bound, column: &str, ty: ColumnType) -> Result<Bound> {
        let from = bound.ty;
        if !bound.is_unknown() && !can_cast(from, ty, CastContext::Assignment) {
            return Err(datatype_mismatch(format!(
                "column \"{column}\" is of type {} but expression is of type {}",
                ty.without_typmod().display(),
                from.without_typmod().display()
            ))
            .with_hint("You will need to rewrite or cast the expression."));
        }
        self.coerce(bound, ty, CastContext::Assignment)
    }

    fn coerce(&self, bound: Bound, ty: ColumnType, context: CastContext) -> Result<Bound> {
        if bound.is_unknown() {
            return self.convert_unknown(bound, ty, context);
        }
        let from = bound.ty;
        let same = from.kind == ty.kind && from.array == ty.array;
        // What goes into a numeric column brings its own scale, whatever carried it.
        let into_numeric =
            context == CastContext::Assignment && is_free_numeric(ty) && !is_own_scaled(&bound.expr);
        if same && !into_numeric && (ty.typmod == -1 || from.typmod == ty.typmod) {
            return Ok(bound);
        }
        if !same && !can_cast(from, ty, context) {
            return Err(cannot_cast(from, ty));
        }
        if let Some(expr) = widened(&bound.expr, ty) {
            return Ok(Bound::new(expr, ty));
        }
        if let Some(digits) = literal::wide_number(&bound.expr)
            && matches!(ty.kind, TypeKind::Float4 | TypeKind::Float8)
        {
            return self.convert_unknown(Bound::unknown_text(digits.to_owned()), ty, context);
        }
        Ok(Bound::new(cast(bound.expr, ty, context), ty))
    }

    fn convert_unknown(&self, bound: Bound, ty: ColumnType, context: CastContext) -> Result<Bound> {
        match bound.expr {
            Expr::Placeholder(placeholder) => {
                let typed = self.set_parameter(&placeholder.id, ty)?;
                self.coerce(typed, ty, context)
            }
            Expr::Literal(ScalarValue::Null, _) => Ok(Bound::new(typed_null(ty)?, ty)),
            Expr::Literal(ScalarValue::Utf8(Some(text)), metadata) => {
                if ty.kind == TypeKind::Text && !ty.array {
                    return Ok(Bound::new(Expr::Literal(ScalarValue::Utf8(Some(text)), None), ty));
                }
                if reads_the_same_everywhere(ty) {
                    let texts: ArrayRef = Arc::new(StringArray::from(vec![text]));
                    let explicit = context == CastContext::Explicit;
                    let from = TypeKind::Unknown.into();
                    let (plain, input) = (ty.without_typmod(), InputContext::default());
                    let array = cast_array(&texts, from, plain, explicit, &input)?;
                    // What does not fit the modifier is found when the statement runs, and has no position then.
                    let (array, fits) = match cast_array(&array, plain, ty, explicit, &input) {
                        Ok(array) => (array, true),
                        Err(_) => (array, false),
                    };
                    let value = ScalarValue::try_from_array(&array, 0).map_err(from_datafusion)?;
                    if fits {
                        return Ok(Bound::new(constant(value, ty), ty));
                    }
                    return Ok(Bound::new(cast(constant(value, plain), ty, context), ty));
                }
                if is_well_formed_everywhere(ty) {
                    let texts: ArrayRef = Arc::new(StringArray::from(vec![text.as_str()]));
                    let explicit = context == CastContext::Explicit;
                    let (from, input) = (TypeKind::Unknown.into(), InputContext::default());
                    cast_array(&texts, from, ty.without_typmod(), explicit, &input)?;
                }
                let text = Expr::Literal(ScalarValue::Utf8(Some(text)), metadata);
                Ok(Bound::new(cast(text, ty, context), ty))
            }
            other => Ok(Bound::new(cast(other, ty, context), ty)),
        }
    }

    /// Gives an unknown value the type it has when nothing asks for another: text.
    pub(crate) fn settle(&self, bound: Bound) -> Result<Bound> {
        if bound.is_unknown() { self.implicit(bound, ColumnType::TEXT) } else { Ok(bound) }
    }

    /// Casts all values to the type PostgreSQL finds for them together.
    ///
    /// # Errors
    /// 42804 `<what> types <a> and <b> cannot be matched`.
    pub(crate) fn unify(&self, what: &str, values: Vec<Bound>) -> Result<(Vec<Expr>, ColumnType)> {
        let types: Vec<_> = values.iter().map(Bound::known).collect();
        let ty = common_type(what, &types)?;
        let values = values
            .into_iter()
            .map(|value| self.implicit(value, ty).map(|bound| bound.expr))
            .collect::<Result<Vec<_>>>()?;
        Ok((carried_alike(values, ty), ty))
    }

    /// A boolean, or PostgreSQL's message.
    pub(crate) fn condition(&self, bound: Bound, what: &str) -> Result<Expr> {
        if bound.is_unknown() || bound.ty == ColumnType::BOOL {
            return Ok(self.implicit(bound, ColumnType::BOOL)?.expr);
        }
        Err(datatype_mismatch(format!(
            "argument of {what} must be type boolean, not type {}",
            bound.ty.without_typmod().display()
        )))
    }
}

/// An integer constant in a wider type, without a cast.
fn widened(expr: &Expr, ty: ColumnType) -> Option<Expr> {
    let Expr::Literal(value, None) = expr else { return None };
    let number = match value {
        ScalarValue::Int16(Some(number)) => i64::from(*number),
        ScalarValue::Int32(Some(number)) => i64::from(*number),
        _ => return None,
    };
    let value = match (ty.kind, ty.array) {
        (TypeKind::Int8, false) => ScalarValue::Int64(Some(number)),
        (TypeKind::Float8, false) => ScalarValue::Float64(Some(number as f64)),
        (TypeKind::Int2, false) => ScalarValue::Int16(Some(i16::try_from(number).ok()?)),
        _ => return None,
    };
    Some(Expr::Literal(value, None))
}

const fn is_free_numeric(ty: ColumnType) -> bool {
    matches!(ty.kind, TypeKind::Numeric) && !ty.array && ty.typmod < 4
}

/// Whether an expression is a numeric constant that brings its own scale.
fn is_own_scaled(value: &Expr) -> bool {
    matches!(value, Expr::Literal(ScalarValue::FixedSizeBinary(..), _))
}

/// Numerics in one carrier, which arrays and CASE need: constants of one scale as they are, others with their own.
pub(crate) fn carried_alike(values: Vec<Expr>, ty: ColumnType) -> Vec<Expr> {
    let scale = |value: &Expr| match value {
        Expr::Literal(ScalarValue::Decimal128(_, _, scale), _) => Some(*scale),
        _ => None,
    };
    let first = values.first().and_then(scale);
    if !is_free_numeric(ty) || first.is_some() && values.iter().all(|value| scale(value) == first) {
        return values;
    }
    let own = |value| if is_own_scaled(&value) { value } else { cast(value, ty, CastContext::Assignment) };
    values.into_iter().map(own).collect()
}

/// Whether a numeric surely has one scale for all rows.
pub(super) fn has_one_scale(value: &Expr, ty: ColumnType) -> bool {
    let integer = |argument: &Expr| {
        matches!(
            argument,
            Expr::Literal(ScalarValue::Int16(_) | ScalarValue::Int32(_) | ScalarValue::Int64(_), _)
        )
    };
    match value {
        _ if ty.typmod >= 4 => true,
        Expr::Literal(ScalarValue::Decimal128(..), _) => true,
        Expr::ScalarFunction(call) => call.func.name() == "pg_cast" && call.args.iter().all(integer),
        _ => false,
    }
}
