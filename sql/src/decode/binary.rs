//! Columns built from PostgreSQL's binary forms: one builder per type, chosen once per column.
//!
//! Invariant: a builder that refused a value is as it was before.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, ListArray, PrimitiveBuilder,
    StringBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type,
};
use exec::text::InputContext;
use exec::text::input::VectorBuilder;
use exec::text::interval;
use proto::{ColumnType, ErrorKind, Oid, SqlError, TypeKind};

use super::{column_of_texts, text};
use crate::encode::numeric;
use crate::encode::{EPOCH_DAYS, EPOCH_MICROS};

/// The message for a value that is longer than its type.
pub const LEFT_OVER: &str = "incorrect binary data format";

/// A column under construction.
pub trait BinaryColumn: Send + fmt::Debug {
    /// Adds a value.
    ///
    /// # Errors
    /// 08P01 too short, 22P03 too long or malformed, 22021, and the type's own errors.
    fn append(&mut self, bytes: &[u8]) -> Result<(), SqlError>;

    /// Adds a NULL.
    fn append_null(&mut self);

    /// The column; the builder is empty again.
    ///
    /// # Errors
    /// Errors of types that are read when the column is complete.
    fn finish(&mut self) -> Result<ArrayRef, SqlError>;
}

/// The builder of a type.
///
/// # Errors
/// 0A000 for a type without binary input.
pub fn column(
    ty: ColumnType,
    capacity: usize,
    context: InputContext,
) -> Result<Box<dyn BinaryColumn>, SqlError> {
    if ty.array {
        let element = ColumnType { array: false, ..ty };
        let elements = column(element, capacity, context)?;
        return Ok(Box::new(Arrays { ty, element, elements, offsets: vec![0], valid: Vec::new() }));
    }
    Ok(match ty.kind {
        TypeKind::Bool => Box::new(Booleans(BooleanBuilder::with_capacity(capacity))),
        TypeKind::Int2 => fixed::<Int16Type>(capacity, |bytes| exactly(bytes).map(i16::from_be_bytes)),
        TypeKind::Int4 => fixed::<Int32Type>(capacity, |bytes| exactly(bytes).map(i32::from_be_bytes)),
        TypeKind::Int8 => fixed::<Int64Type>(capacity, |bytes| exactly(bytes).map(i64::from_be_bytes)),
        TypeKind::Float4 => fixed::<Float32Type>(capacity, |bytes| exactly(bytes).map(f32::from_be_bytes)),
        TypeKind::Float8 => fixed::<Float64Type>(capacity, |bytes| exactly(bytes).map(f64::from_be_bytes)),
        TypeKind::Date => fixed::<Date32Type>(capacity, date),
        TypeKind::Time => fixed::<Time64MicrosecondType>(capacity, time),
        TypeKind::Timestamp => fixed::<TimestampMicrosecondType>(capacity, timestamp),
        TypeKind::Timestamptz => Box::new(Fixed {
            builder: PrimitiveBuilder::<TimestampMicrosecondType>::with_capacity(capacity)
                .with_timezone("UTC"),
            read: timestamp,
        }),
        TypeKind::Interval => fixed::<IntervalMonthDayNanoType>(capacity, |bytes| {
            let bytes: [u8; 16] = exactly(bytes)?;
            let [a, b, c, d, e, f, g, h, days @ ..] = bytes;
            let [i, j, k, l, months @ ..] = days;
            let micros = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
            interval::make(i32::from_be_bytes(months), i32::from_be_bytes([i, j, k, l]), micros)
        }),
        TypeKind::Uuid => Box::new(Uuids(FixedSizeBinaryBuilder::with_capacity(capacity, 16))),
        TypeKind::Bytea => Box::new(Bytes(BinaryBuilder::with_capacity(capacity, 0))),
        TypeKind::Vector => Box::new(Vectors { ty, capacity, builder: VectorBuilder::new(ty, capacity) }),
        TypeKind::Numeric => Box::new(Texts::new(ty, capacity, context, numeric::text_of_binary)),
        TypeKind::Jsonb => {
            Box::new(Texts::new(ty, capacity, context, |bytes: &[u8]| match bytes.split_first() {
                Some((1, json)) => text(json).map(str::to_owned),
                _ => Err(malformed("unsupported jsonb version number")),
            }))
        }
        TypeKind::Text
        | TypeKind::Varchar
        | TypeKind::Bpchar
        | TypeKind::Name
        | TypeKind::Char
        | TypeKind::Json
        | TypeKind::Unknown => {
            Box::new(Texts::new(ty, capacity, context, |bytes: &[u8]| text(bytes).map(str::to_owned)))
        }
        _ if ty.data_type() == DataType::UInt32 => {
            fixed::<UInt32Type>(capacity, |bytes| exactly(bytes).map(u32::from_be_bytes))
        }
        _ => return Err(SqlError::unsupported(format!("binary input of type {}", ty.display()))),
    })
}

fn malformed(message: &str) -> SqlError {
    SqlError::new(ErrorKind::InvalidBinaryRepresentation, message)
}

/// The bytes of a type of fixed length.
fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], SqlError> {
    bytes.try_into().map_err(|_| {
        if bytes.len() < N {
            SqlError::new(ErrorKind::ProtocolViolation, "insufficient data left in message")
        } else {
            malformed(LEFT_OVER)
        }
    })
}

fn out_of_range(what: &str) -> SqlError {
    SqlError::new(ErrorKind::DatetimeFieldOverflow, format!("{what} out of range"))
}

fn date(bytes: &[u8]) -> Result<i32, SqlError> {
    let days = i32::from_be_bytes(exactly(bytes)?);
    if days == i32::MAX || days == i32::MIN {
        return Ok(days);
    }
    days.checked_add(EPOCH_DAYS).ok_or_else(|| out_of_range("date"))
}

fn time(bytes: &[u8]) -> Result<i64, SqlError> {
    let micros = i64::from_be_bytes(exactly(bytes)?);
    if (0..=86_400_000_000).contains(&micros) { Ok(micros) } else { Err(out_of_range("time")) }
}

fn timestamp(bytes: &[u8]) -> Result<i64, SqlError> {
    let micros = i64::from_be_bytes(exactly(bytes)?);
    if micros == i64::MAX || micros == i64::MIN {
        return Ok(micros);
    }
    micros.checked_add(EPOCH_MICROS).ok_or_else(|| out_of_range("timestamp"))
}

/// Types of one fixed length over Arrow primitives.
struct Fixed<T: ArrowPrimitiveType, F> {
    builder: PrimitiveBuilder<T>,
    read: F,
}

fn fixed<T: ArrowPrimitiveType>(
    capacity: usize,
    read: impl Fn(&[u8]) -> Result<T::Native, SqlError> + Send + 'static,
) -> Box<dyn BinaryColumn> {
    Box::new(Fixed { builder: PrimitiveBuilder::<T>::with_capacity(capacity), read })
}

impl<T: ArrowPrimitiveType, F> fmt::Debug for Fixed<T, F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Fixed").finish_non_exhaustive()
    }
}

impl<T, F> BinaryColumn for Fixed<T, F>
where
    T: ArrowPrimitiveType,
    F: Fn(&[u8]) -> Result<T::Native, SqlError> + Send,
{
    fn append(&mut self, bytes: &[u8]) -> Result<(), SqlError> {
        self.builder.append_value((self.read)(bytes)?);
        Ok(())
    }

    fn append_null(&mut self) {
        self.builder.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef, SqlError> {
        Ok(Arc::new(self.builder.finish()))
    }
}

#[derive(Debug)]
struct Booleans(BooleanBuilder);

impl BinaryColumn for Booleans {
    fn append(&mut self, bytes: &[u8]) -> Result<(), SqlError> {
        let [byte] = exactly(bytes)?;
        self.0.append_value(byte != 0);
        Ok(())
    }

    fn append_null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef, SqlError> {
        Ok(Arc::new(self.0.finish()))
    }
}

#[derive(Debug)]
struct Uuids(FixedSizeBinaryBuilder);

impl BinaryColumn for Uuids {
    fn append(&mut self, bytes: &[u8]) -> Result<(), SqlError> {
        let uuid: [u8; 16] = exactly(bytes)?;
        self.0.append_value(uuid).map_err(|error| SqlError::new(ErrorKind::Internal, error.to_string()))
    }

    fn append_null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef, SqlError> {
        Ok(Arc::new(self.0.finish()))
    }
}

#[derive(Debug)]
struct Bytes(BinaryBuilder);

impl BinaryColumn for Bytes {
    fn append(&mut self, bytes: &[u8]) -> Result<(), SqlError> {
        self.0.append_value(bytes);
        Ok(())
    }

    fn append_null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef, SqlError> {
        Ok(Arc::new(self.0.finish()))
    }
}

/// Vectors: big-endian floats straight into the column, dimensions checked once per row.
#[derive(Debug)]
struct Vectors {
    ty: ColumnType,
    capacity: usize,
    builder: VectorBuilder,
}

impl BinaryColumn for Vectors {
    fn append(&mut self, bytes: &[u8]) -> Result<(), SqlError> {
        let before = self.builder.elements.len();
        let count = proto::vector::parse_binary(bytes, &mut self.builder.elements)?;
        self.builder.finish_row(count).inspect_err(|_| self.builder.elements.truncate(before))
    }

    fn append_null(&mut self) {
        self.builder.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef, SqlError> {
        std::mem::replace(&mut self.builder, VectorBuilder::new(self.ty, self.capacity)).finish()
    }
}

/// Types that are read as text: strings, json, numeric.
struct Texts<F> {
    ty: ColumnType,
    context: InputContext,
    builder: StringBuilder,
    read: F,
}

impl<F> Texts<F> {
    fn new(ty: ColumnType, capacity: usize, context: InputContext, read: F) -> Self {
        Self { ty, context, builder: StringBuilder::with_capacity(capacity, 0), read }
    }
}

impl<F> fmt::Debug for Texts<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Texts").field("ty", &self.ty).finish_non_exhaustive()
    }
}

impl<F: Fn(&[u8]) -> Result<String, SqlError> + Send> BinaryColumn for Texts<F> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), SqlError> {
        self.builder.append_value((self.read)(bytes)?);
        Ok(())
    }

    fn append_null(&mut self) {
        self.builder.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef, SqlError> {
        column_of_texts(&self.builder.finish(), self.ty, &self.context)
    }
}

/// Arrays of at most one dimension.
#[derive(Debug)]
struct Arrays {
    ty: ColumnType,
    element: ColumnType,
    elements: Box<dyn BinaryColumn>,
    offsets: Vec<i32>,
    valid: Vec<bool>,
}

impl Arrays {
    fn close(&mut self, elements: usize, valid: bool) {
        let last = self.offsets.last().copied().unwrap_or(0);
        self.offsets.push(last.saturating_add(elements as i32));
        self.valid.push(valid);
    }
}

impl BinaryColumn for Arrays {
    fn append(&mut self, bytes: &[u8]) -> Result<(), SqlError> {
        let values = split_array(bytes, self.element)?;
        // Every value is tried alone first, so that a bad one leaves no half array behind.
        for value in values.iter().flatten() {
            column(self.element, 1, InputContext::default())?.append(value)?;
        }
        for value in &values {
            match value {
                Some(value) => self.elements.append(value)?,
                None => self.elements.append_null(),
            }
        }
        self.close(values.len(), true);
        Ok(())
    }

    fn append_null(&mut self) {
        self.close(0, false);
    }

    fn finish(&mut self) -> Result<ArrayRef, SqlError> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(&mut self.offsets, vec![0])));
        let nulls = NullBuffer::from(std::mem::take(&mut self.valid));
        let internal = |what: String| SqlError::new(ErrorKind::Internal, what);
        let DataType::List(item) = self.ty.data_type() else {
            return Err(internal(format!("{} is not carried by lists", self.ty.display())));
        };
        let list = ListArray::try_new(item, offsets, self.elements.finish()?, Some(nulls));
        list.map(|list| Arc::new(list) as ArrayRef).map_err(|error| internal(error.to_string()))
    }
}

/// The elements of an array's binary form.
fn split_array(bytes: &[u8], element: ColumnType) -> Result<Vec<Option<&[u8]>>, SqlError> {
    let mut rest = bytes;
    let dimensions = take_i32(&mut rest)?;
    let flags = take_i32(&mut rest)?;
    let oid = Oid(take_i32(&mut rest)? as u32);
    if !(0..=6).contains(&dimensions) {
        return Err(malformed(&format!("invalid number of dimensions: {dimensions}")));
    }
    if !(0..=1).contains(&flags) {
        return Err(malformed("invalid array flags"));
    }
    if oid != element.oid() {
        return Err(SqlError::new(
            ErrorKind::DatatypeMismatch,
            format!("binary data has array element type {oid} instead of expected {}", element.oid()),
        ));
    }
    if dimensions > 1 {
        return Err(SqlError::unsupported("an array of more than one dimension"));
    }
    let mut values = Vec::new();
    if dimensions == 1 {
        let count = take_i32(&mut rest)?;
        take_i32(&mut rest)?;
        for _ in 0..count {
            values.push(match take_i32(&mut rest)? {
                -1 => None,
                length => Some(take(&mut rest, length)?),
            });
        }
    }
    if rest.is_empty() { Ok(values) } else { Err(malformed(LEFT_OVER)) }
}

fn take<'a>(rest: &mut &'a [u8], length: i32) -> Result<&'a [u8], SqlError> {
    let split = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
    let Some((value, after)) = split else {
        return Err(SqlError::new(ErrorKind::ProtocolViolation, "insufficient data left in message"));
    };
    *rest = after;
    Ok(value)
}

fn take_i32(rest: &mut &[u8]) -> Result<i32, SqlError> {
    let value = take(rest, 4)?;
    Ok(i32::from_be_bytes([value[0], value[1], value[2], value[3]]))
}
