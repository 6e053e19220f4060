//! Type names in SQL text to PostgreSQL types with modifiers.

use proto::types::MAX_VECTOR_DIMENSIONS;
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};
use sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, ObjectName, ObjectNamePart, TimezoneInfo,
};

use crate::error::{At, Result, undefined_type, unsupported};
use crate::names::fold;

/// Types that PostgreSQL has and we do not yet.
const LATER: [&str; 27] = [
    "halfvec",
    "sparsevec",
    "bit",
    "varbit",
    "money",
    "inet",
    "cidr",
    "macaddr",
    "point",
    "line",
    "box",
    "path",
    "polygon",
    "circle",
    "xml",
    "tsvector",
    "tsquery",
    "timetz",
    "lseg",
    "int4range",
    "int8range",
    "numrange",
    "tsrange",
    "tstzrange",
    "daterange",
    "pg_lsn",
    "hstore",
];

/// The longest `varchar(n)`.
const MAX_TEXT_LENGTH: u64 = 10_485_760;

/// The type a column, cast or parameter names.
///
/// # Errors
/// 42704 for unknown types, 0A000 for types of a later capability, 22023 for bad modifiers.
pub(crate) fn column_type(data_type: &DataType) -> Result<ColumnType> {
    Ok(match data_type {
        DataType::Array(
            ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element),
        ) => {
            let element = column_type(element)?;
            if element.array {
                // PostgreSQL's array types do not tell dimensions apart.
                return Ok(element);
            }
            ColumnType { kind: element.kind, array: true, typmod: element.typmod }
        }
        DataType::Character(length) | DataType::Char(length) => text(
            TypeKind::Bpchar,
            Some(length.unwrap_or(CharacterLength::IntegerLength { length: 1, unit: None })),
        )?,
        DataType::CharacterVarying(length) | DataType::CharVarying(length) | DataType::Varchar(length) => {
            text(TypeKind::Varchar, *length)?
        }
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => numeric(*info)?,
        DataType::Float(ExactNumberInfo::None) => ColumnType::FLOAT8,
        DataType::Float(ExactNumberInfo::Precision(bits)) => float(*bits)?,
        DataType::Timestamp(precision, zone) => {
            let zoned = matches!(zone, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz);
            seconds(if zoned { TypeKind::Timestamptz } else { TypeKind::Timestamp }, *precision)
        }
        DataType::Time(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => {
            return Err(unsupported("type time with time zone"));
        }
        DataType::Time(precision, _) => seconds(TypeKind::Time, *precision),
        DataType::Interval { fields: None, precision } => interval(*precision),
        DataType::Interval { .. } => return Err(unsupported("an interval of some fields only")),
        DataType::Bit(_) => return Err(unsupported("type bit")),
        DataType::BitVarying(_) | DataType::VarBit(_) => return Err(unsupported("type bit varying")),
        DataType::TsVector => return Err(unsupported("type tsvector")),
        DataType::TsQuery => return Err(unsupported("type tsquery")),
        DataType::Custom(name, modifiers) => custom(name, modifiers)?,
        simple => return simple_type(simple),
    })
}

fn simple_type(data_type: &DataType) -> Result<ColumnType> {
    let kind = match data_type {
        DataType::Bool | DataType::Boolean => TypeKind::Bool,
        DataType::SmallInt(None) | DataType::Int2(None) => TypeKind::Int2,
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => TypeKind::Int4,
        DataType::BigInt(None) | DataType::Int8(None) => TypeKind::Int8,
        DataType::Real | DataType::Float4 => TypeKind::Float4,
        DataType::DoublePrecision | DataType::Float8 => TypeKind::Float8,
        DataType::Text => TypeKind::Text,
        DataType::Bytea => TypeKind::Bytea,
        DataType::Date => TypeKind::Date,
        DataType::Uuid => TypeKind::Uuid,
        DataType::JSON => TypeKind::Json,
        DataType::JSONB => TypeKind::Jsonb,
        DataType::Regclass => TypeKind::Regclass,
        other => return Err(undefined_type(&other.to_string().to_lowercase())),
    };
    Ok(kind.into())
}

fn custom(name: &ObjectName, modifiers: &[String]) -> Result<ColumnType> {
    let (schema, bare, quoted, span) = match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => (None, fold(name), name.quote_style.is_some(), name.span),
        [ObjectNamePart::Identifier(schema), ObjectNamePart::Identifier(name)] => {
            (Some(fold(schema)), fold(name), name.quote_style.is_some(), schema.span)
        }
        _ => return Err(undefined_type(&name.to_string())),
    };
    let shown = schema.as_ref().map_or_else(|| bare.clone(), |schema| format!("{schema}.{bare}"));
    if schema.as_deref().is_some_and(|schema| !matches!(schema, "pg_catalog" | "public")) {
        return Err(undefined_type(&shown).at(span));
    }
    // Quoted, or in a schema, "char" is the one-byte type.
    let ty = if bare == "char" && (quoted || schema.is_some()) {
        Some(TypeKind::Char.into())
    } else {
        ColumnType::from_name(&bare)
    };
    let Some(ty) = ty.filter(|ty| !matches!(ty.kind, TypeKind::Record | TypeKind::Void | TypeKind::Unknown))
    else {
        if LATER.contains(&bare.as_str()) {
            return Err(unsupported(format!("type {bare}")).at(span));
        }
        return Err(undefined_type(&shown).at(span));
    };
    match (ty.kind, modifiers) {
        (_, []) => Ok(ty),
        (TypeKind::Vector, modifiers) if !ty.array => vector(modifiers).at(span),
        (TypeKind::Varchar | TypeKind::Bpchar, [length]) => {
            let length = modifier(length)?;
            text(ty.kind, Some(CharacterLength::IntegerLength { length: length.max(0) as u64, unit: None }))
        }
        (TypeKind::Timestamp | TypeKind::Timestamptz, [digits]) => {
            Ok(seconds(ty.kind, Some(modifier(digits)?.unsigned_abs())))
        }
        (TypeKind::Numeric, [precision]) => {
            numeric(ExactNumberInfo::Precision(modifier(precision)?.unsigned_abs()))
        }
        (TypeKind::Numeric, [precision, scale]) => {
            let precision = modifier(precision)?.unsigned_abs();
            numeric(ExactNumberInfo::PrecisionAndScale(precision, modifier(scale)?))
        }
        _ => Err(crate::error::syntax(format!("type modifier is not allowed for type \"{shown}\"")).at(span)),
    }
}

/// `vector(n)` with pgvector's checks.
fn vector(modifiers: &[String]) -> Result<ColumnType> {
    let invalid = |message: &str| SqlError::new(ErrorKind::InvalidParameterValue, message);
    let [dimensions] = modifiers else { return Err(invalid("invalid type modifier")) };
    let dimensions = modifier(dimensions)?;
    if dimensions < 1 {
        return Err(invalid("dimensions for type vector must be at least 1"));
    }
    if dimensions > MAX_VECTOR_DIMENSIONS as i64 {
        return Err(invalid(&format!("dimensions for type vector cannot exceed {MAX_VECTOR_DIMENSIONS}")));
    }
    Ok(ColumnType::vector(dimensions as i32))
}

fn modifier(text: &str) -> Result<i64> {
    let bare = text.trim().trim_matches('\'');
    bare.parse::<i64>().map_err(|_| {
        SqlError::new(
            ErrorKind::InvalidTextRepresentation,
            format!("invalid input syntax for type integer: \"{bare}\""),
        )
    })
}

fn text(kind: TypeKind, length: Option<CharacterLength>) -> Result<ColumnType> {
    let Some(CharacterLength::IntegerLength { length, .. }) = length else { return Ok(kind.into()) };
    let name = if kind == TypeKind::Varchar { "varchar" } else { "char" };
    let error = |message: String| Err(SqlError::new(ErrorKind::InvalidParameterValue, message));
    if length < 1 {
        return error(format!("length for type {name} must be at least 1"));
    }
    if length > MAX_TEXT_LENGTH {
        return error(format!("length for type {name} cannot exceed {MAX_TEXT_LENGTH}"));
    }
    Ok(ColumnType { kind, array: false, typmod: length as i32 + 4 })
}

fn numeric(info: ExactNumberInfo) -> Result<ColumnType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(TypeKind::Numeric.into()),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    if !(1..=1000).contains(&precision) {
        return Err(SqlError::new(
            ErrorKind::InvalidParameterValue,
            format!("NUMERIC precision {precision} must be between 1 and 1000"),
        ));
    }
    if !(-1000..=1000).contains(&scale) {
        return Err(SqlError::new(
            ErrorKind::InvalidParameterValue,
            format!("NUMERIC scale {scale} must be between -1000 and 1000"),
        ));
    }
    if precision > 38 || !(0..=38).contains(&scale) {
        return Err(unsupported("numeric with more than 38 digits or a negative scale"));
    }
    Ok(ColumnType {
        kind: TypeKind::Numeric,
        array: false,
        typmod: ((precision as i32) << 16 | scale as i32) + 4,
    })
}

fn float(bits: u64) -> Result<ColumnType> {
    match bits {
        0 => Err(SqlError::new(
            ErrorKind::InvalidParameterValue,
            "precision for type float must be at least 1 bit",
        )),
        1..=24 => Ok(TypeKind::Float4.into()),
        25..=53 => Ok(TypeKind::Float8.into()),
        _ => Err(SqlError::new(
            ErrorKind::InvalidParameterValue,
            "precision for type float must be less than 54 bits",
        )),
    }
}

/// A type whose modifier is the number of digits of a second; more than six are six, as PostgreSQL warns.
fn seconds(kind: TypeKind, precision: Option<u64>) -> ColumnType {
    ColumnType { kind, array: false, typmod: precision.map_or(-1, |digits| digits.min(6) as i32) }
}

/// `interval(n)`: all fields, n digits of a second.
fn interval(precision: Option<u64>) -> ColumnType {
    const ALL_FIELDS: i32 = 0x7fff << 16;
    let typmod = precision.map_or(-1, |digits| ALL_FIELDS | digits.min(6) as i32);
    ColumnType { kind: TypeKind::Interval, array: false, typmod }
}
