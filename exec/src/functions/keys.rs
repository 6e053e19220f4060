//! Comparison keys: for types whose equal values may be carried differently, a value that compares as they do.
//!
//! numeric becomes a decimal of one scale, interval its length, character(n) loses the blanks at its end, jsonb and
//! arrays become the bytes of `proto::key`. Comparisons, sorts, groups and joins use the key in place of the value.
//!
//! Invariant: two values are equal, or in order, in PostgreSQL exactly when their keys are.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, IntervalMonthDayNanoType, Schema};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};

use super::numerics::Numerics;
use crate::error::{internal, raise};

/// Whether values of a column compare by a key and not as they are carried.
#[must_use]
pub fn is_keyed(field: &Field) -> bool {
    match field.data_type() {
        DataType::Interval(_) => true,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            ColumnType::of_field(field).compares_by_key()
        }
        DataType::List(item) if !matches!(item.data_type(), DataType::Float32) => {
            let ty = ColumnType::of_field(field);
            ty.array && (is_keyed(item) || ColumnType { array: false, ..ty }.compares_by_key())
        }
        other => proto::numeric::is_carrier(other),
    }
}

/// The key of an expression.
#[must_use]
pub fn comparison_key(expression: Expr) -> Expr {
    static KEY: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::from(Key::new())));
    Expr::ScalarFunction(ScalarFunction { func: Arc::clone(&KEY), args: vec![expression] })
}

const NAME: &str = "pg_comparison_key";

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    signature: Signature,
}

impl Key {
    fn new() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Key {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        let first = types.first().ok_or_else(|| internal("key without a value"))?;
        Ok(key_type(ColumnType::of_data_type(first), first))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let field = args.arg_fields.first().ok_or_else(|| internal("key without a value"))?;
        let data_type = key_type(ColumnType::of_field(field), field.data_type());
        Ok(Arc::new(Field::new(NAME, data_type, field.is_nullable())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let ty = ColumnType::of_field(&args.arg_fields[0]);
        match &args.args[0] {
            ColumnarValue::Array(array) => key_of(array, ty).map(ColumnarValue::Array).map_err(raise),
            ColumnarValue::Scalar(value) => {
                let key = key_of(&value.to_array_of_size(1)?, ty).map_err(raise)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&key, 0)?))
            }
        }
    }
}

fn key_type(ty: ColumnType, carrier: &DataType) -> DataType {
    if ty.array {
        return DataType::Binary;
    }
    match ty.kind {
        TypeKind::Numeric => proto::numeric::COMPARABLE,
        TypeKind::Interval => DataType::Decimal128(38, 0),
        TypeKind::Bpchar => DataType::Utf8,
        TypeKind::Jsonb => DataType::Binary,
        _ => carrier.clone(),
    }
}

fn key_of(array: &ArrayRef, ty: ColumnType) -> Result<ArrayRef, SqlError> {
    if *array.data_type() == DataType::Null {
        return Ok(arrow::array::new_null_array(&key_type(ty, array.data_type()), array.len()));
    }
    if ty.array {
        return key_bytes(array, ty);
    }
    Ok(match ty.kind {
        TypeKind::Numeric => Numerics::of(array)?.comparable()?,
        TypeKind::Interval => {
            let values = array.as_primitive::<IntervalMonthDayNanoType>();
            let lengths: PrimitiveArray<Decimal128Type> = values.unary(proto::key::interval_micros);
            Arc::new(lengths.with_data_type(DataType::Decimal128(38, 0)))
        }
        TypeKind::Bpchar => super::cast::without_blanks(array)?,
        TypeKind::Jsonb => key_bytes(&super::overload::cast_to(array, &DataType::Utf8)?, ty)?,
        _ => Arc::clone(array),
    })
}

/// The key as bytes, for any type.
pub(crate) fn key_bytes(array: &ArrayRef, ty: ColumnType) -> Result<ArrayRef, SqlError> {
    let field = Field::new("key", array.data_type().clone(), true).with_metadata(ty.metadata());
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::clone(array)])
        .map_err(|error| SqlError::new(ErrorKind::Internal, error.to_string()))?;
    let keys = proto::key::encode_keys(&batch, &[0])?;
    let keys = keys.iter().enumerate().map(|(row, key)| (!array.is_null(row)).then_some(key.as_ref()));
    Ok(Arc::new(keys.collect::<BinaryArray>()))
}
