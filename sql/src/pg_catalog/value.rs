//! Cells of catalog rows, and the Arrow arrays they become.
//!
//! Invariant: the array of a column has the column's Arrow type whatever the cells are; a cell that does not fit
//! is an error (a defect of the relation's file), never another value.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, ListBuilder,
    PrimitiveBuilder, StringArray, StringBuilder, TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, FieldRef, Int16Type, Int64Type, TimeUnit, UInt32Type,
};
use proto::{ErrorKind, SqlError};

/// A row in the order of the relation's columns.
pub(crate) type Row = Vec<Value>;

/// A cell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Flag(bool),
    /// Any integer, OID or number of microseconds.
    Integer(i64),
    Float(f64),
    Text(Cow<'static, str>),
    Texts(Vec<String>),
    Integers(Vec<i64>),
    /// A cell of a file of fixed rows, in the text form of `COPY`.
    Copied(&'static str),
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

macro_rules! integer_cells {
    ($($integer:ty),*) => {$(
        impl From<$integer> for Value {
            fn from(number: $integer) -> Self {
                Self::Integer(number.into())
            }
        }
    )*};
}

integer_cells!(i16, i32, i64, u32);

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(Cow::Owned(text.clone()))
    }
}

impl From<Vec<i64>> for Value {
    fn from(numbers: Vec<i64>) -> Self {
        Self::Integers(numbers)
    }
}

impl From<Vec<String>> for Value {
    fn from(texts: Vec<String>) -> Self {
        Self::Texts(texts)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A catalog row: cells of any type that `Value` is made from.
macro_rules! row {
    ($($cell:expr),* $(,)?) => { vec![$($crate::pg_catalog::Value::from($cell)),*] };
}
pub(crate) use row;

impl Value {
    /// A name that is borrowed for less than the program's life.
    pub(crate) fn name(name: &str) -> Self {
        Self::Text(Cow::Owned(name.to_owned()))
    }

    fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Copied(text) => text.parse().ok(),
            _ => None,
        }
    }

    fn float(&self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(*number),
            Self::Copied(text) => text.parse().ok(),
            _ => None,
        }
    }

    fn flag(&self) -> Option<bool> {
        match self {
            Self::Flag(flag) => Some(*flag),
            Self::Copied(text) => Some(*text == "t"),
            _ => None,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Copied(text) => Some(text),
            _ => None,
        }
    }

    fn integers(&self) -> Option<Vec<i64>> {
        match self {
            Self::Integers(numbers) => Some(numbers.clone()),
            Self::Copied(text) => text
                .trim_matches(['{', '}'])
                .split([' ', ','])
                .filter(|number| !number.is_empty())
                .map(|number| number.parse().ok())
                .collect(),
            _ => None,
        }
    }

    fn texts(&self) -> Option<&[String]> {
        match self {
            Self::Texts(texts) => Some(texts),
            _ => None,
        }
    }

    fn is_null(&self) -> bool {
        matches!(self, Self::Null | Self::Copied("\\N"))
    }
}

/// The column at a position of all rows as an array of the field's type.
///
/// # Errors
/// XX000 when a cell does not fit the column.
pub(super) fn column(rows: &[Row], position: usize, field: &FieldRef) -> Result<ArrayRef, SqlError> {
    let cells = Cells { rows, position, field };
    Ok(match field.data_type() {
        DataType::Boolean => Arc::new(cells.map(Value::flag)?.into_iter().collect::<BooleanArray>()),
        DataType::Int16 => Arc::new(Int16Array::from(cells.narrow::<i16>()?)),
        DataType::Int32 => Arc::new(Int32Array::from(cells.narrow::<i32>()?)),
        DataType::Int64 => Arc::new(Int64Array::from(cells.map(Value::integer)?)),
        DataType::UInt32 => Arc::new(UInt32Array::from(cells.narrow::<u32>()?)),
        DataType::Float32 => {
            let narrow = |value: &Value| value.float().map(|number| number as f32);
            Arc::new(Float32Array::from(cells.map(narrow)?))
        }
        DataType::Float64 => Arc::new(Float64Array::from(cells.map(Value::float)?)),
        DataType::Utf8 => Arc::new(StringArray::from(cells.map(Value::text)?)),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let micros = TimestampMicrosecondArray::from(cells.map(Value::integer)?);
            Arc::new(micros.with_timezone_opt(zone.clone()))
        }
        DataType::List(item) => match item.data_type() {
            DataType::Int16 => cells.lists::<Int16Type>(item)?,
            DataType::Int64 => cells.lists::<Int64Type>(item)?,
            DataType::UInt32 => cells.lists::<UInt32Type>(item)?,
            DataType::Utf8 => {
                let mut builder = ListBuilder::new(StringBuilder::new()).with_field(Arc::clone(item));
                for texts in cells.map(Value::texts)? {
                    builder.append_option(texts.map(|texts| texts.iter().map(Some)));
                }
                Arc::new(builder.finish())
            }
            _ => cells.only_nulls()?,
        },
        _ => cells.only_nulls()?,
    })
}

/// One column of rows on its way to an array.
struct Cells<'a> {
    rows: &'a [Row],
    position: usize,
    field: &'a Field,
}

impl<'a> Cells<'a> {
    fn map<T>(&self, read: impl Fn(&'a Value) -> Option<T>) -> Result<Vec<Option<T>>, SqlError> {
        self.rows
            .iter()
            .map(|row| {
                let value = row.get(self.position).ok_or_else(|| self.misfit())?;
                if value.is_null() { Ok(None) } else { read(value).map(Some).ok_or_else(|| self.misfit()) }
            })
            .collect()
    }

    fn narrow<N: TryFrom<i64>>(&self) -> Result<Vec<Option<N>>, SqlError> {
        self.map(|value| value.integer().and_then(|number| N::try_from(number).ok()))
    }

    fn lists<T>(&self, item: &FieldRef) -> Result<ArrayRef, SqlError>
    where
        T: ArrowPrimitiveType,
        T::Native: TryFrom<i64>,
    {
        let mut builder = ListBuilder::new(PrimitiveBuilder::<T>::new()).with_field(Arc::clone(item));
        for numbers in self.map(Value::integers)? {
            let narrow = |number| T::Native::try_from(number).ok();
            builder.append_option(numbers.map(|numbers| numbers.into_iter().map(narrow).collect::<Vec<_>>()));
        }
        Ok(Arc::new(builder.finish()))
    }

    /// A column of a type that no row has a value for.
    fn only_nulls(&self) -> Result<ArrayRef, SqlError> {
        self.map(|_| None::<()>)?;
        Ok(new_null_array(self.field.data_type(), self.rows.len()))
    }

    fn misfit(&self) -> SqlError {
        SqlError::new(
            ErrorKind::Internal,
            format!("catalog column {} has a value of another type", self.field.name()),
        )
    }
}
