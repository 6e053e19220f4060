//! Reading columns of text as any type: the one path behind `'…'::type`, COPY and text parameters.
//!
//! Invariant: null in, null out; the first bad value ends with PostgreSQL's message for it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, FixedSizeBinaryBuilder, FixedSizeListArray,
    ListArray, PrimitiveArray, StringArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
    UInt32Type,
};
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};

use super::number;
use super::zone::TimeZone;
use super::{array, datetime_input, interval};
use crate::functions::numerics;

/// What reading dates depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct InputContext {
    pub zone: TimeZone,
    /// Start of the transaction, microseconds since 1970, for `'now'` and `'today'`.
    pub now_micros: i64,
}

/// Reads every text as a value of `ty`, applying its modifier.
///
/// # Errors
/// The input error of the type (22P02, 22003, 22007, 22008, 22000), 0A000 for types without text input.
pub fn parse_column(
    texts: &StringArray,
    ty: ColumnType,
    context: &InputContext,
) -> Result<ArrayRef, SqlError> {
    if ty.array {
        return parse_arrays(texts, ty, context);
    }
    let parsed: ArrayRef = match ty.kind {
        TypeKind::Bool => Arc::new(parse_bools(texts)?),
        TypeKind::Int2 | TypeKind::Int4 | TypeKind::Int8 => parse_integers(texts, ty.kind)?,
        TypeKind::Regtype => Arc::new(primitive::<UInt32Type>(texts, parse_regtype)?),
        // Names of other objects need a catalog: the cast function looks them up.
        TypeKind::Oid
        | TypeKind::Xid
        | TypeKind::Regclass
        | TypeKind::Regproc
        | TypeKind::Regprocedure
        | TypeKind::Regoper
        | TypeKind::Regoperator
        | TypeKind::Regnamespace
        | TypeKind::Regrole
        | TypeKind::Regcollation => Arc::new(primitive::<UInt32Type>(texts, parse_oid)?),
        TypeKind::Float4 => Arc::new(primitive::<Float32Type>(texts, number::parse_float4)?),
        TypeKind::Float8 => Arc::new(primitive::<Float64Type>(texts, number::parse_float8)?),
        TypeKind::Numeric => parse_numerics(texts, ty)?,
        TypeKind::Date => {
            Arc::new(primitive::<Date32Type>(texts, |text| datetime_input::parse_date(text, context))?)
        }
        TypeKind::Time => Arc::new(primitive::<Time64MicrosecondType>(texts, |text| {
            datetime_input::parse_time(text, context)
        })?),
        TypeKind::Timestamp => Arc::new(primitive::<TimestampMicrosecondType>(texts, |text| {
            datetime_input::parse_timestamp(text, context)
        })?),
        TypeKind::Timestamptz => Arc::new(
            primitive::<TimestampMicrosecondType>(texts, |text| {
                datetime_input::parse_timestamptz(text, context)
            })?
            .with_timezone("UTC"),
        ),
        TypeKind::Interval => Arc::new(primitive::<IntervalMonthDayNanoType>(texts, interval::parse)?),
        TypeKind::Bytea => parse_byteas(texts)?,
        TypeKind::Uuid => parse_uuids(texts)?,
        TypeKind::Vector => parse_vectors(texts, ty)?,
        TypeKind::Varchar | TypeKind::Bpchar | TypeKind::Name | TypeKind::Char => {
            Arc::new(fit_text(texts, ty, true)?)
        }
        TypeKind::Text | TypeKind::Unknown | TypeKind::Aclitem => Arc::new(texts.clone()),
        TypeKind::Json => {
            texts.iter().flatten().try_for_each(proto::json::validate)?;
            Arc::new(texts.clone())
        }
        TypeKind::Jsonb => Arc::new(
            texts
                .iter()
                .map(|text| text.map(proto::json::canonical).transpose())
                .collect::<Result<StringArray, SqlError>>()?,
        ),
        TypeKind::Record
        | TypeKind::Void
        | TypeKind::PgNodeTree
        | TypeKind::Int2vector
        | TypeKind::Oidvector => {
            return Err(SqlError::unsupported(format!("input of type {}", ty.display())));
        }
    };
    round_seconds(parsed, ty)
}

fn parse_integers(texts: &StringArray, kind: TypeKind) -> Result<ArrayRef, SqlError> {
    Ok(match kind {
        TypeKind::Int2 => Arc::new(primitive::<Int16Type>(texts, |text| {
            parse_ranged(text, kind, i128::from(i16::MIN), i128::from(i16::MAX)).map(|v| v as i16)
        })?),
        TypeKind::Int4 => Arc::new(primitive::<Int32Type>(texts, |text| {
            parse_ranged(text, kind, i128::from(i32::MIN), i128::from(i32::MAX)).map(|v| v as i32)
        })?),
        _ => Arc::new(primitive::<Int64Type>(texts, |text| {
            parse_ranged(text, kind, i128::from(i64::MIN), i128::from(i64::MAX))
        })?),
    })
}

/// Rounds times to the digits of a second that the type's modifier allows.
pub(crate) fn round_seconds(array: ArrayRef, ty: ColumnType) -> Result<ArrayRef, SqlError> {
    let digits = match ty.kind {
        TypeKind::Time | TypeKind::Timestamp | TypeKind::Timestamptz => ty.typmod,
        TypeKind::Interval if ty.typmod >= 0 => ty.typmod & 0xffff,
        _ => return Ok(array),
    };
    let Ok(missing @ 1..=6) = u32::try_from(6 - digits) else { return Ok(array) };
    let unit = 10_i64.pow(missing);
    let round = |micros: i64, origin: i64| {
        let distance = micros - origin;
        let rounded = (distance.abs() + unit / 2) / unit * unit;
        origin + if distance < 0 { -rounded } else { rounded }
    };
    Ok(match array.data_type() {
        DataType::Time64(_) => {
            let values = array.as_primitive::<Time64MicrosecondType>();
            Arc::new(values.unary::<_, Time64MicrosecondType>(|value| round(value, 0)))
        }
        DataType::Timestamp(_, zone) => {
            // PostgreSQL counts from 2000, and halves go away from there.
            const ORIGIN: i64 = 946_684_800_000_000;
            let values = array.as_primitive::<TimestampMicrosecondType>();
            let rounded = values.unary::<_, TimestampMicrosecondType>(|value| match value {
                i64::MIN | i64::MAX => value,
                finite => round(finite, ORIGIN),
            });
            Arc::new(rounded.with_timezone_opt(zone.clone()))
        }
        DataType::Interval(_) => {
            let values = array.as_primitive::<IntervalMonthDayNanoType>();
            Arc::new(values.try_unary::<_, IntervalMonthDayNanoType, SqlError>(|value| {
                interval::make(value.months, value.days, round(value.nanoseconds / 1000, 0))
            })?)
        }
        _ => array,
    })
}

fn primitive<T: ArrowPrimitiveType>(
    texts: &StringArray,
    parse: impl Fn(&str) -> Result<T::Native, SqlError>,
) -> Result<PrimitiveArray<T>, SqlError> {
    let mut values = Vec::with_capacity(texts.len());
    for row in 0..texts.len() {
        values.push(if texts.is_null(row) { T::Native::default() } else { parse(texts.value(row))? });
    }
    Ok(PrimitiveArray::new(ScalarBuffer::from(values), texts.nulls().cloned()))
}

fn parse_ranged(text: &str, kind: TypeKind, minimum: i128, maximum: i128) -> Result<i64, SqlError> {
    number::parse_int(text, kind, minimum, maximum)
}

fn parse_oid(text: &str) -> Result<u32, SqlError> {
    let value = number::parse_int(text, TypeKind::Oid, i128::from(i32::MIN), i128::from(u32::MAX))?;
    Ok(value as u32)
}

fn parse_regtype(text: &str) -> Result<u32, SqlError> {
    if let Ok(oid) = text.trim().parse::<u32>() {
        return Ok(oid);
    }
    ColumnType::from_name(&text.trim().to_ascii_lowercase())
        .map(|ty| ty.oid().0)
        .ok_or_else(|| SqlError::new(ErrorKind::UndefinedObject, format!("type \"{text}\" does not exist")))
}

fn parse_bools(texts: &StringArray) -> Result<BooleanArray, SqlError> {
    texts.iter().map(|text| text.map(number::parse_bool).transpose()).collect()
}

fn parse_numerics(texts: &StringArray, ty: ColumnType) -> Result<ArrayRef, SqlError> {
    if let DataType::Decimal128(precision, scale) = ty.data_type() {
        return parse_numerics_scaled(texts, ty, precision, scale);
    }
    numerics::column((0..texts.len()).map(|row| {
        if texts.is_null(row) {
            return Ok(None);
        }
        let decimal = number::parse_decimal(texts.value(row))?;
        Ok(Some((decimal.unscaled, decimal.scale)))
    }))
}

/// Reads numerics at a given scale; the modifier's precision is checked.
pub(crate) fn parse_numerics_scaled(
    texts: &StringArray,
    ty: ColumnType,
    precision: u8,
    scale: i8,
) -> Result<ArrayRef, SqlError> {
    let values = primitive::<Decimal128Type>(texts, |text| {
        let decimal = number::parse_decimal(text)?;
        let value = number::to_i128(number::rescale(decimal.unscaled, decimal.scale, i32::from(scale))?)?;
        check_precision(value, ty)?;
        Ok(value)
    })?;
    let values = values
        .with_precision_and_scale(precision, scale)
        .map_err(|error| SqlError::new(ErrorKind::Internal, error.to_string()))?;
    Ok(Arc::new(values))
}

/// 22003 with PostgreSQL's detail when a value has more digits than `numeric(p,s)` allows.
pub(crate) fn check_precision(unscaled: i128, ty: ColumnType) -> Result<(), SqlError> {
    if ty.typmod < 4 {
        return Ok(());
    }
    let precision = ((ty.typmod - 4) >> 16) as u32;
    let scale = (ty.typmod - 4) & 0x7ff;
    let limit = 10_u128.checked_pow(precision).unwrap_or(u128::MAX);
    if unscaled.unsigned_abs() < limit {
        return Ok(());
    }
    let whole = i64::from(precision) - i64::from(scale);
    Err(SqlError::new(ErrorKind::NumericValueOutOfRange, "numeric field overflow").with_detail(format!(
        "A field with precision {precision}, scale {scale} must round to an absolute value less than {}.",
        if whole > 0 { format!("10^{whole}") } else { "1".to_owned() }
    )))
}

fn parse_byteas(texts: &StringArray) -> Result<ArrayRef, SqlError> {
    let mut builder = BinaryBuilder::new();
    for text in texts {
        match text {
            Some(text) => builder.append_value(number::parse_bytea(text)?),
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn parse_uuids(texts: &StringArray) -> Result<ArrayRef, SqlError> {
    let mut builder = FixedSizeBinaryBuilder::with_capacity(texts.len(), 16);
    for text in texts {
        match text {
            Some(text) => builder
                .append_value(number::parse_uuid(text)?)
                .map_err(|error| SqlError::new(ErrorKind::Internal, error.to_string()))?,
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn parse_vectors(texts: &StringArray, ty: ColumnType) -> Result<ArrayRef, SqlError> {
    let mut builder = VectorBuilder::new(ty, texts.len());
    for text in texts {
        match text {
            Some(text) => {
                let count = proto::vector::parse_text(text, &mut builder.elements)?;
                builder.finish_row(count)?;
            }
            None => builder.append_null(),
        }
    }
    builder.finish()
}

/// Collects vectors of a `vector` or `vector(n)` type.
#[derive(Debug)]
pub struct VectorBuilder {
    ty: ColumnType,
    /// The elements of all rows so far; push a row's here, then call `finish_row`.
    pub elements: Vec<f32>,
    offsets: Vec<i32>,
    valid: Vec<bool>,
}

impl VectorBuilder {
    /// A builder for rows of a type.
    #[must_use]
    pub fn new(ty: ColumnType, capacity: usize) -> Self {
        let mut offsets = Vec::with_capacity(capacity + 1);
        offsets.push(0);
        Self {
            ty,
            elements: Vec::with_capacity(capacity * ty.dimensions().unwrap_or(0)),
            offsets,
            valid: Vec::with_capacity(capacity),
        }
    }

    /// Ends a row whose last `count` elements were pushed to `elements`.
    ///
    /// # Errors
    /// 22000 when the type has other dimensions, 54000 beyond Arrow's 2^31 elements per batch.
    pub fn finish_row(&mut self, count: usize) -> Result<(), SqlError> {
        if let Some(expected) = self.ty.dimensions() {
            proto::vector::check_dimensions(expected, count)?;
        }
        self.close(true)
    }

    fn close(&mut self, valid: bool) -> Result<(), SqlError> {
        let end = i32::try_from(self.elements.len()).map_err(|_| {
            SqlError::new(ErrorKind::ProgramLimitExceeded, "array size exceeds the maximum allowed")
        })?;
        self.offsets.push(end);
        self.valid.push(valid);
        Ok(())
    }

    /// Adds a NULL.
    pub fn append_null(&mut self) {
        if let Some(dimensions) = self.ty.dimensions() {
            self.elements.extend(std::iter::repeat_n(0.0, dimensions));
        }
        self.offsets.push(self.elements.len() as i32);
        self.valid.push(false);
    }

    /// The column.
    ///
    /// # Errors
    /// XX000 when the parts do not fit together.
    pub fn finish(self) -> Result<ArrayRef, SqlError> {
        let item = Arc::new(Field::new("item", DataType::Float32, false));
        let values = Arc::new(PrimitiveArray::<Float32Type>::from(self.elements));
        let nulls = Some(NullBuffer::from(self.valid)).filter(|nulls| nulls.null_count() > 0);
        let invalid = |error: arrow::error::ArrowError| SqlError::new(ErrorKind::Internal, error.to_string());
        Ok(match self.ty.dimensions() {
            Some(dimensions) => Arc::new(
                FixedSizeListArray::try_new(item, dimensions as i32, values, nulls).map_err(invalid)?,
            ),
            None => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
                Arc::new(ListArray::try_new(item, offsets, values, nulls).map_err(invalid)?)
            }
        })
    }
}

fn parse_arrays(texts: &StringArray, ty: ColumnType, context: &InputContext) -> Result<ArrayRef, SqlError> {
    let element = ColumnType { array: false, ..ty };
    let mut elements: Vec<Option<String>> = Vec::new();
    let mut offsets = vec![0_i32];
    for text in texts {
        if let Some(text) = text {
            elements.extend(array::split_array(text)?);
        }
        offsets.push(elements.len() as i32);
    }
    let values = parse_column(&StringArray::from(elements), element, context)?;
    let DataType::List(item) = ty.data_type() else {
        return Err(SqlError::new(ErrorKind::Internal, "arrays are not carried by lists"));
    };
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    ListArray::try_new(item, offsets, values, texts.nulls().cloned())
        .map(|list| Arc::new(list) as ArrayRef)
        .map_err(|error| SqlError::new(ErrorKind::Internal, error.to_string()))
}

/// Applies `varchar(n)`, `character(n)`, `name` and `"char"` lengths. Explicit casts cut, assignments refuse
/// what is too long unless only blanks are lost.
///
/// # Errors
/// 22001 `value too long for type character varying(n)`.
pub fn fit_text(texts: &StringArray, ty: ColumnType, explicit: bool) -> Result<StringArray, SqlError> {
    let limit = match ty.kind {
        TypeKind::Varchar | TypeKind::Bpchar if ty.typmod >= 5 => (ty.typmod - 4) as usize,
        TypeKind::Name => 63,
        TypeKind::Char => 1,
        _ => return Ok(texts.clone()),
    };
    let bytes = matches!(ty.kind, TypeKind::Name | TypeKind::Char);
    texts
        .iter()
        .map(|text| {
            let Some(text) = text else { return Ok(None) };
            let cut = if bytes {
                (0..=limit.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
            } else {
                text.char_indices().nth(limit).map_or(text.len(), |(at, _)| at)
            };
            if cut < text.len() && !explicit && !bytes && !text[cut..].bytes().all(|byte| byte == b' ') {
                return Err(SqlError::new(
                    ErrorKind::StringDataRightTruncation,
                    format!("value too long for type {}", ty.display()),
                ));
            }
            let kept = &text[..cut];
            if ty.kind == TypeKind::Bpchar {
                let missing = limit.saturating_sub(kept.chars().count());
                return Ok(Some(format!("{kept}{}", " ".repeat(missing))));
            }
            Ok(Some(kept.to_owned()))
        })
        .collect()
}
