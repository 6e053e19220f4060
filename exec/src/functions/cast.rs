//! Casts between PostgreSQL types, with PostgreSQL's rounding, ranges and messages.
//!
//! A cast is a function of one argument whose target is part of the function (`cast`); `cast_array` is the same
//! over plain arrays.
//!
//! Invariants: the result has the target's Arrow type; a cast to numeric without a modifier that fills no column
//! is the exception and keeps the one scale of its argument where it has one (integers, decimals, constants of text).

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder, new_null_array};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};

use super::overload::{cast_to, retype, scale_of};
use super::resolve::CastContext;
use crate::error::{internal, raise};
use crate::statement::of_config;
use crate::text::{InputContext, TimeZone, input, number, write_value};

mod dates;
mod lists;
mod names;
mod numbers;

pub(crate) use dates::{
    date_to_timestamp, local_to_utc, timestamp_out_of_range, timestamp_to_date, utc_to_local,
};
pub(crate) use numbers::{decimal_to_float8, integer_out_of_range};

/// The expression cast to a type. The context decides what too long text does: explicit casts cut it,
/// assignments refuse it (22001).
#[must_use]
pub fn cast(expression: Expr, target: ColumnType, context: CastContext) -> Expr {
    Expr::ScalarFunction(ScalarFunction { func: cast_function(target, context), args: vec![expression] })
}

/// The function behind `cast`.
#[must_use]
pub fn cast_function(target: ColumnType, context: CastContext) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(CastFunction::new(target, context)))
}

/// A cast to one type.
#[derive(Clone, Debug)]
pub struct CastFunction {
    target: ColumnType,
    explicit: bool,
    /// Whether the value goes into a column.
    assigned: bool,
    signature: Signature,
}

impl CastFunction {
    fn new(target: ColumnType, context: CastContext) -> Self {
        // Text and dates depend on the session's time zone, reg* types on the catalog.
        let stable = target.array
            || matches!(
                target.kind,
                TypeKind::Text
                    | TypeKind::Varchar
                    | TypeKind::Bpchar
                    | TypeKind::Name
                    | TypeKind::Date
                    | TypeKind::Time
                    | TypeKind::Timestamp
                    | TypeKind::Timestamptz
                    | TypeKind::Regclass
                    | TypeKind::Regtype
                    | TypeKind::Regproc
                    | TypeKind::Regnamespace
            );
        let volatility = if stable { Volatility::Stable } else { Volatility::Immutable };
        let signature = Signature::any(1, volatility);
        Self {
            target,
            explicit: context == CastContext::Explicit,
            assigned: context == CastContext::Assignment,
            signature,
        }
    }

    /// What is cast to.
    #[must_use]
    pub const fn target(&self) -> ColumnType {
        self.target
    }

    fn data_type(&self, source: &DataType, constant: Option<&ScalarValue>) -> DataType {
        // What goes into a column, or beside values of other scales, is carried as columns are.
        if !self.assigned && is_free_numeric(self.target) {
            return free_carrier(source, constant);
        }
        self.target.data_type()
    }
}

fn is_free_numeric(ty: ColumnType) -> bool {
    ty.kind == TypeKind::Numeric && !ty.array && ty.typmod < 4
}

/// The carrier of numeric without a modifier: one scale where all values must have it.
fn free_carrier(source: &DataType, constant: Option<&ScalarValue>) -> DataType {
    let scale = match constant {
        Some(ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text))) => {
            number::parse_decimal(text).ok().map(|decimal| decimal.scale)
        }
        _ if source.is_integer() => Some(0),
        _ => scale_of(source).map(i32::from),
    };
    match scale {
        Some(scale @ 0..=37) => DataType::Decimal128(proto::types::NUMERIC_PRECISION, scale as i8),
        _ => ColumnType::scalar(TypeKind::Numeric).data_type(),
    }
}

impl PartialEq for CastFunction {
    fn eq(&self, other: &Self) -> bool {
        self.target == other.target && self.explicit == other.explicit && self.assigned == other.assigned
    }
}

impl Eq for CastFunction {}

impl Hash for CastFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.target.hash(state);
        self.explicit.hash(state);
        self.assigned.hash(state);
    }
}

impl ScalarUDFImpl for CastFunction {
    fn name(&self) -> &str {
        "pg_cast"
    }

    fn display_name(&self, args: &[Expr]) -> DfResult<String> {
        self.schema_name(args)
    }

    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        let arguments: Vec<String> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        Ok(format!("({})::{}", arguments.join(","), self.target.display()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        Ok(self.data_type(types.first().unwrap_or(&DataType::Null), None))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let source = args.arg_fields.first().ok_or_else(|| internal("cast without argument"))?;
        let constant = args.scalar_arguments.first().copied().flatten();
        let field = self.target.arrow_field(self.name(), source.is_nullable());
        let data_type = self.data_type(source.data_type(), constant);
        Ok(Arc::new(field.as_ref().clone().with_data_type(data_type)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let source = ColumnType::of_field(&args.arg_fields[0]);
        let session = of_config(&args.config_options).ok().map(|context| context.session.as_ref());
        let context = session.map_or_else(InputContext::default, |session| InputContext {
            zone: session.time_zone,
            now_micros: session.transaction_micros,
        });
        let wanted = args.return_field.data_type();
        let convert = |array: &ArrayRef| -> DfResult<ArrayRef> {
            if let Some(session) = session
                && let Some(named) = names::convert(array, source, self.target, session).map_err(raise)?
            {
                return Ok(named);
            }
            let converted =
                convert_to(array, source, self.target, wanted, self.explicit, &context).map_err(raise)?;
            retype(converted, wanted)
        };
        match &args.args[0] {
            ColumnarValue::Array(array) => Ok(ColumnarValue::Array(convert(array)?)),
            ColumnarValue::Scalar(value) => {
                let array = convert(&value.to_array_of_size(1)?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
        }
    }
}

/// Casts an array from one PostgreSQL type to another.
///
/// # Errors
/// The cast's own (22P02, 22003, 22000, …), 42846 when there is no such cast.
pub fn cast_array(
    array: &ArrayRef,
    from: ColumnType,
    to: ColumnType,
    explicit: bool,
    context: &InputContext,
) -> Result<ArrayRef, SqlError> {
    convert_to(array, from, to, &to.data_type(), explicit, context)
}

fn convert_to(
    array: &ArrayRef,
    from: ColumnType,
    to: ColumnType,
    wanted: &DataType,
    explicit: bool,
    context: &InputContext,
) -> Result<ArrayRef, SqlError> {
    if *array.data_type() == DataType::Null {
        return Ok(new_null_array(wanted, array.len()));
    }
    if is_textual(from) && !(from.kind == to.kind && !to.array && is_json(to)) {
        let trimmed = matches!((from.kind, to.kind), (TypeKind::Bpchar, kind) if kind != TypeKind::Bpchar);
        let array = if trimmed { &without_blanks(array)? } else { array };
        return from_text(array, to, wanted, explicit, context);
    }
    if to.array || from.array || to.kind == TypeKind::Vector {
        if is_textual(to) {
            return to_text(array, from, to, explicit, &context.zone);
        }
        return lists::convert(array, from, to, wanted, explicit, context);
    }
    if is_textual(to) {
        return to_text(array, from, to, explicit, &context.zone);
    }
    if let Some(result) = numbers::convert(array, from.kind, to, wanted)? {
        return Ok(result);
    }
    if let Some(result) = dates::convert(array, from.kind, to.kind, &context.zone)? {
        return input::round_seconds(result, to);
    }
    if from.kind == to.kind {
        return input::round_seconds(Arc::clone(array), to);
    }
    Err(SqlError::new(
        ErrorKind::CannotCoerce,
        format!("cannot cast type {} to {}", from.without_typmod().display(), to.without_typmod().display()),
    ))
}

fn is_textual(ty: ColumnType) -> bool {
    !ty.array && (ty.is_textual() || matches!(ty.kind, TypeKind::Char | TypeKind::Json | TypeKind::Jsonb))
}

const fn is_json(ty: ColumnType) -> bool {
    matches!(ty.kind, TypeKind::Json | TypeKind::Jsonb)
}

fn from_text(
    array: &ArrayRef,
    to: ColumnType,
    wanted: &DataType,
    explicit: bool,
    context: &InputContext,
) -> Result<ArrayRef, SqlError> {
    let texts = if *array.data_type() == DataType::Utf8 {
        Arc::clone(array)
    } else {
        cast_to(array, &DataType::Utf8)?
    };
    let texts = texts.as_string::<i32>();
    if is_textual(to) && !is_json(to) {
        return Ok(Arc::new(input::fit_text(texts, to, explicit)?));
    }
    if let (TypeKind::Numeric, false, DataType::Decimal128(precision, scale)) = (to.kind, to.array, wanted) {
        return input::parse_numerics_scaled(texts, to, *precision, *scale);
    }
    input::parse_column(texts, to, context)
}

/// character(n) as any other type sees it: the blanks at its end mean nothing.
pub(crate) fn without_blanks(array: &ArrayRef) -> Result<ArrayRef, SqlError> {
    let texts = cast_to(array, &DataType::Utf8)?;
    let trimmed = texts.as_string::<i32>().iter().map(|text| text.map(|text| text.trim_end_matches(' ')));
    Ok(Arc::new(trimmed.collect::<StringArray>()))
}

fn to_text(
    array: &ArrayRef,
    from: ColumnType,
    to: ColumnType,
    explicit: bool,
    zone: &TimeZone,
) -> Result<ArrayRef, SqlError> {
    let texts = text_of(array, from, zone)?;
    Ok(Arc::new(input::fit_text(&texts, to, explicit)?))
}

/// The text of every value as `::text` gives it (bool prints as `true` and `false` here).
///
/// # Errors
/// XX000 for arrays without a text form.
pub fn text_of(array: &ArrayRef, from: ColumnType, zone: &TimeZone) -> Result<StringArray, SqlError> {
    let mut builder = StringBuilder::with_capacity(array.len(), array.len() * 8);
    let mut text = String::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
            continue;
        }
        text.clear();
        if *array.data_type() == DataType::Boolean {
            text.push_str(if array.as_boolean().value(row) { "true" } else { "false" });
        } else {
            write_value(array.as_ref(), row, from, zone, &mut text)?;
        }
        builder.append_value(&text);
    }
    Ok(builder.finish())
}
