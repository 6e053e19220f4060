//! PostgreSQL types as Elanus knows them, their OIDs, and how each is carried in Arrow.
//!
//! A `ColumnType` is a type kind, whether it is an array of it, and PostgreSQL's type modifier. Arrow data
//! types alone cannot tell `text` from `name` or `vector` from `float4[]`, so fields carry the PostgreSQL
//! type name and modifier as metadata; `ColumnType::of_field` reads it back.
//!
//! Invariant: `of_field(arrow_field(t)) == t` for every storable type.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};

use crate::id::Oid;

/// Metadata key that carries the PostgreSQL type name (`vector`, `oid`, `name`, `int4[]`, …).
pub const TYPE_KEY: &str = "elanus.type";
/// Metadata key that carries the type modifier when it is not -1.
pub const TYPMOD_KEY: &str = "elanus.typmod";
/// pgvector's bound on `vector` dimensions.
pub const MAX_VECTOR_DIMENSIONS: usize = 16_000;
/// The digits of the Arrow decimals that carry `numeric(p,s)`.
pub const NUMERIC_PRECISION: u8 = 38;

macro_rules! type_kinds {
    ($($variant:ident, $name:literal, $display:literal, $oid:literal, $array_oid:literal, $length:literal;)*) => {
        /// The element type; every row is (variant, pg_type name, format_type name, OID, array OID, typlen).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum TypeKind { $($variant,)* }

        impl TypeKind {
            /// Every kind once.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// `pg_type.typname`.
            #[must_use]
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name,)* } }
            /// What `format_type` prints without a modifier.
            #[must_use]
            pub const fn display_name(self) -> &'static str { match self { $(Self::$variant => $display,)* } }
            /// `pg_type.oid`.
            #[must_use]
            pub const fn oid(self) -> Oid { match self { $(Self::$variant => Oid($oid),)* } }
            /// `pg_type.typarray`; 0 when there is no array type.
            #[must_use]
            pub const fn array_oid(self) -> Oid { match self { $(Self::$variant => Oid($array_oid),)* } }
            /// `pg_type.typlen`: bytes, -1 variable, -2 C string.
            #[must_use]
            pub const fn length(self) -> i16 { match self { $(Self::$variant => $length,)* } }
        }
    };
}

type_kinds! {
    Bool, "bool", "boolean", 16, 1000, 1;
    Bytea, "bytea", "bytea", 17, 1001, -1;
    Char, "char", "\"char\"", 18, 1002, 1;
    Name, "name", "name", 19, 1003, 64;
    Int8, "int8", "bigint", 20, 1016, 8;
    Int2, "int2", "smallint", 21, 1005, 2;
    Int2vector, "int2vector", "int2vector", 22, 1006, -1;
    Int4, "int4", "integer", 23, 1007, 4;
    Regproc, "regproc", "regproc", 24, 1008, 4;
    Text, "text", "text", 25, 1009, -1;
    Oid, "oid", "oid", 26, 1028, 4;
    Xid, "xid", "xid", 28, 1011, 4;
    Oidvector, "oidvector", "oidvector", 30, 1013, -1;
    Json, "json", "json", 114, 199, -1;
    PgNodeTree, "pg_node_tree", "pg_node_tree", 194, 0, -1;
    Float4, "float4", "real", 700, 1021, 4;
    Float8, "float8", "double precision", 701, 1022, 8;
    Unknown, "unknown", "unknown", 705, 0, -2;
    Aclitem, "aclitem", "aclitem", 1033, 1034, 16;
    Bpchar, "bpchar", "character", 1042, 1014, -1;
    Varchar, "varchar", "character varying", 1043, 1015, -1;
    Date, "date", "date", 1082, 1182, 4;
    Time, "time", "time without time zone", 1083, 1183, 8;
    Timestamp, "timestamp", "timestamp without time zone", 1114, 1115, 8;
    Timestamptz, "timestamptz", "timestamp with time zone", 1184, 1185, 8;
    Interval, "interval", "interval", 1186, 1187, 16;
    Numeric, "numeric", "numeric", 1700, 1231, -1;
    Regprocedure, "regprocedure", "regprocedure", 2202, 2207, 4;
    Regoper, "regoper", "regoper", 2203, 2208, 4;
    Regoperator, "regoperator", "regoperator", 2204, 2209, 4;
    Regclass, "regclass", "regclass", 2205, 2210, 4;
    Regtype, "regtype", "regtype", 2206, 2211, 4;
    Record, "record", "record", 2249, 2287, -1;
    Void, "void", "void", 2278, 0, 4;
    Uuid, "uuid", "uuid", 2950, 2951, 16;
    Jsonb, "jsonb", "jsonb", 3802, 3807, -1;
    Regnamespace, "regnamespace", "regnamespace", 4089, 4090, 4;
    Regrole, "regrole", "regrole", 4096, 4097, 4;
    Regcollation, "regcollation", "regcollation", 4191, 4192, 4;
    Vector, "vector", "vector", 16385, 16386, -1;
}

/// A PostgreSQL type with its modifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ColumnType {
    pub kind: TypeKind,
    /// Whether this is the array type over `kind`.
    pub array: bool,
    /// PostgreSQL's `atttypmod`: -1 none; for `vector` the dimensions; for `varchar` length + 4; for times the digits
    /// of a second.
    pub typmod: i32,
}

impl From<TypeKind> for ColumnType {
    fn from(kind: TypeKind) -> Self {
        Self { kind, array: false, typmod: -1 }
    }
}

impl ColumnType {
    pub const BOOL: Self = Self::scalar(TypeKind::Bool);
    pub const INT4: Self = Self::scalar(TypeKind::Int4);
    pub const INT8: Self = Self::scalar(TypeKind::Int8);
    pub const FLOAT8: Self = Self::scalar(TypeKind::Float8);
    pub const TEXT: Self = Self::scalar(TypeKind::Text);
    pub const TIMESTAMPTZ: Self = Self::scalar(TypeKind::Timestamptz);

    /// The plain type of a kind.
    #[must_use]
    pub const fn scalar(kind: TypeKind) -> Self {
        Self { kind, array: false, typmod: -1 }
    }

    /// `vector(dimensions)`.
    #[must_use]
    pub const fn vector(dimensions: i32) -> Self {
        Self { kind: TypeKind::Vector, array: false, typmod: dimensions }
    }

    /// The array type over a kind.
    #[must_use]
    pub const fn array_of(kind: TypeKind) -> Self {
        Self { kind, array: true, typmod: -1 }
    }

    /// The type without its modifier.
    #[must_use]
    pub const fn without_typmod(self) -> Self {
        Self { typmod: -1, ..self }
    }

    /// Declared dimensions of a `vector(n)` column.
    #[must_use]
    pub fn dimensions(self) -> Option<usize> {
        (self.kind == TypeKind::Vector && !self.array && self.typmod > 0).then_some(self.typmod as usize)
    }

    /// The type's OID on the wire and in `pg_type`.
    #[must_use]
    pub const fn oid(self) -> Oid {
        if self.array { self.kind.array_oid() } else { self.kind.oid() }
    }

    /// `pg_type.typname`; array names start with an underscore.
    #[must_use]
    pub fn name(self) -> String {
        if self.array { format!("_{}", self.kind.name()) } else { self.kind.name().to_owned() }
    }

    /// The type of an OID.
    #[must_use]
    pub fn from_oid(oid: Oid) -> Option<Self> {
        TypeKind::ALL.iter().find_map(|&kind| {
            if kind.oid() == oid {
                Some(Self::scalar(kind))
            } else if oid.0 != 0 && kind.array_oid() == oid {
                Some(Self::array_of(kind))
            } else {
                None
            }
        })
    }

    /// The type of a SQL name in lower case: `pg_type` names, SQL spellings, `name[]` and `_name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.trim();
        let name = name.strip_prefix("pg_catalog.").or_else(|| name.strip_prefix("public.")).unwrap_or(name);
        if let Some(element) = name.strip_suffix("[]") {
            return Self::from_name(element).filter(|ty| !ty.array).map(|ty| Self::array_of(ty.kind));
        }
        if let Some(element) = name.strip_prefix('_') {
            return TypeKind::ALL.iter().copied().find(|kind| kind.name() == element).map(Self::array_of);
        }
        let kind = match name {
            "int" => TypeKind::Int4,
            "decimal" => TypeKind::Numeric,
            "char" | "character" => TypeKind::Bpchar,
            "\"char\"" => TypeKind::Char,
            "time" => TypeKind::Time,
            "timestamp" => TypeKind::Timestamp,
            "float" => TypeKind::Float8,
            _ => TypeKind::ALL
                .iter()
                .copied()
                .find(|kind| kind.name() == name || kind.display_name() == name)?,
        };
        Some(Self::scalar(kind))
    }

    /// What `format_type(oid, typmod)` prints.
    #[must_use]
    pub fn display(self) -> String {
        let base = self.kind.display_name();
        let shown = match (self.kind, self.typmod) {
            (_, -1) => base.to_owned(),
            (TypeKind::Vector, dimensions) => format!("{base}({dimensions})"),
            (TypeKind::Varchar | TypeKind::Bpchar, typmod) => format!("{base}({})", typmod - 4),
            (TypeKind::Numeric, typmod) => {
                format!("{base}({},{})", (typmod - 4) >> 16, (typmod - 4) & 0xffff)
            }
            (TypeKind::Time | TypeKind::Timestamp | TypeKind::Timestamptz, digits) => {
                let (name, zone) = base.split_once(' ').unwrap_or((base, ""));
                format!("{name}({digits}) {zone}")
            }
            (TypeKind::Interval, typmod) if typmod & 0xffff != 0xffff => {
                format!("{base}({})", typmod & 0xffff)
            }
            _ => base.to_owned(),
        };
        if self.array { format!("{shown}[]") } else { shown }
    }

    /// Whether tables may have columns of this type.
    #[must_use]
    pub const fn is_storable(self) -> bool {
        matches!(
            self.kind,
            TypeKind::Bool
                | TypeKind::Bytea
                | TypeKind::Char
                | TypeKind::Name
                | TypeKind::Int2
                | TypeKind::Int4
                | TypeKind::Int8
                | TypeKind::Oid
                | TypeKind::Float4
                | TypeKind::Float8
                | TypeKind::Numeric
                | TypeKind::Text
                | TypeKind::Varchar
                | TypeKind::Bpchar
                | TypeKind::Date
                | TypeKind::Time
                | TypeKind::Timestamp
                | TypeKind::Timestamptz
                | TypeKind::Interval
                | TypeKind::Uuid
                | TypeKind::Json
                | TypeKind::Jsonb
                | TypeKind::Vector
        )
    }

    /// Whether values that PostgreSQL calls equal may be carried differently, so that they compare by a key.
    #[must_use]
    pub const fn compares_by_key(self) -> bool {
        !self.array
            && match self.kind {
                TypeKind::Bpchar | TypeKind::Interval | TypeKind::Jsonb => true,
                TypeKind::Numeric => self.typmod < 4,
                _ => false,
            }
    }

    /// Whether values are text inside (collatable, `||` concatenates).
    #[must_use]
    pub const fn is_textual(self) -> bool {
        !self.array
            && matches!(
                self.kind,
                TypeKind::Text | TypeKind::Varchar | TypeKind::Bpchar | TypeKind::Name | TypeKind::Unknown
            )
    }

    /// The Arrow data type that carries values. Vectors with dimensions are fixed-size lists of float32
    /// (dense, non-null items), without dimensions plain lists.
    #[must_use]
    pub fn data_type(self) -> DataType {
        let element = match self.kind {
            TypeKind::Bool => DataType::Boolean,
            TypeKind::Int2 => DataType::Int16,
            TypeKind::Int4 => DataType::Int32,
            TypeKind::Int8 => DataType::Int64,
            TypeKind::Float4 => DataType::Float32,
            TypeKind::Float8 => DataType::Float64,
            TypeKind::Numeric if self.typmod < 4 => DataType::FixedSizeBinary(crate::numeric::WIDTH),
            TypeKind::Numeric => DataType::Decimal128(NUMERIC_PRECISION, ((self.typmod - 4) & 0x7ff) as i8),
            TypeKind::Bytea => DataType::Binary,
            TypeKind::Date => DataType::Date32,
            TypeKind::Time => DataType::Time64(TimeUnit::Microsecond),
            TypeKind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            TypeKind::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            TypeKind::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            TypeKind::Uuid => DataType::FixedSizeBinary(16),
            TypeKind::Oid
            | TypeKind::Xid
            | TypeKind::Regproc
            | TypeKind::Regprocedure
            | TypeKind::Regoper
            | TypeKind::Regoperator
            | TypeKind::Regclass
            | TypeKind::Regtype
            | TypeKind::Regnamespace
            | TypeKind::Regrole
            | TypeKind::Regcollation => DataType::UInt32,
            // Catalogs only; subscripts of these two count from 0 and their text form is `1 2`.
            TypeKind::Int2vector => DataType::List(Arc::new(Field::new("item", DataType::Int16, true))),
            TypeKind::Oidvector => DataType::List(Arc::new(Field::new("item", DataType::UInt32, true))),
            TypeKind::Void => DataType::Utf8,
            TypeKind::Vector => {
                let item = Arc::new(Field::new("item", DataType::Float32, false));
                match self.dimensions() {
                    Some(dimensions) => DataType::FixedSizeList(item, dimensions as i32),
                    None => DataType::List(item),
                }
            }
            TypeKind::Char
            | TypeKind::Name
            | TypeKind::Text
            | TypeKind::Json
            | TypeKind::Jsonb
            | TypeKind::Unknown
            | TypeKind::Bpchar
            | TypeKind::Varchar
            | TypeKind::PgNodeTree
            | TypeKind::Aclitem
            | TypeKind::Record => DataType::Utf8,
        };
        if self.array { DataType::List(Arc::new(Field::new("item", element, true))) } else { element }
    }

    /// The metadata that lets `of_field` find this type again.
    #[must_use]
    pub fn metadata(self) -> HashMap<String, String> {
        // Bare, the name is SQL's spelling of another type.
        let name = if self == Self::scalar(TypeKind::Char) { "\"char\"".to_owned() } else { self.name() };
        let mut metadata = HashMap::from([(TYPE_KEY.to_owned(), name)]);
        if self.typmod != -1 {
            metadata.insert(TYPMOD_KEY.to_owned(), self.typmod.to_string());
        }
        metadata
    }

    /// An Arrow field of this type, with metadata.
    #[must_use]
    pub fn arrow_field(self, name: &str, nullable: bool) -> FieldRef {
        Arc::new(Field::new(name, self.data_type(), nullable).with_metadata(self.metadata()))
    }

    /// The PostgreSQL type of an Arrow field: by metadata, else by data type.
    #[must_use]
    pub fn of_field(field: &Field) -> Self {
        if let Some(mut ty) = field.metadata().get(TYPE_KEY).and_then(|name| Self::from_name(name)) {
            ty.typmod = field.metadata().get(TYPMOD_KEY).and_then(|text| text.parse().ok()).unwrap_or(-1);
            // A cast may have changed the data type below stale metadata: believe the data type.
            if same_carrier(&ty.data_type(), field.data_type()) {
                return ty;
            }
        }
        Self::of_data_type(field.data_type())
    }

    /// The PostgreSQL type that an Arrow data type means when nothing else is known.
    #[must_use]
    pub fn of_data_type(data_type: &DataType) -> Self {
        Self::scalar(match data_type {
            DataType::Boolean => TypeKind::Bool,
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => TypeKind::Int2,
            DataType::Int32 | DataType::UInt16 => TypeKind::Int4,
            DataType::Int64 | DataType::UInt64 => TypeKind::Int8,
            DataType::UInt32 => TypeKind::Oid,
            DataType::Float16 | DataType::Float32 => TypeKind::Float4,
            DataType::Float64 => TypeKind::Float8,
            DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => TypeKind::Numeric,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => TypeKind::Bytea,
            DataType::FixedSizeBinary(16) => TypeKind::Uuid,
            DataType::FixedSizeBinary(crate::numeric::WIDTH) => TypeKind::Numeric,
            DataType::FixedSizeBinary(_) => TypeKind::Bytea,
            DataType::Date32 | DataType::Date64 => TypeKind::Date,
            DataType::Time32(_) | DataType::Time64(_) => TypeKind::Time,
            DataType::Timestamp(_, None) => TypeKind::Timestamp,
            DataType::Timestamp(_, Some(_)) => TypeKind::Timestamptz,
            DataType::Interval(_) | DataType::Duration(_) => TypeKind::Interval,
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                let element = Self::of_field(item);
                return Self::array_of(element.kind);
            }
            DataType::Dictionary(_, value) => return Self::of_data_type(value),
            DataType::Struct(_) => TypeKind::Record,
            _ => TypeKind::Text,
        })
    }
}

/// Whether two data types are carried by the same kind of Arrow array, sizes and names aside.
fn same_carrier(left: &DataType, right: &DataType) -> bool {
    use DataType::{
        Decimal128, Decimal256, FixedSizeBinary, FixedSizeList, LargeUtf8, List, Timestamp, Utf8, Utf8View,
    };
    match (left, right) {
        (FixedSizeList(a, _) | List(a), FixedSizeList(b, _) | List(b)) => {
            same_carrier(a.data_type(), b.data_type())
        }
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View)
        | (
            Decimal128(..) | Decimal256(..) | FixedSizeBinary(crate::numeric::WIDTH),
            Decimal128(..) | Decimal256(..) | FixedSizeBinary(crate::numeric::WIDTH),
        ) => true,
        (Timestamp(_, a), Timestamp(_, b)) => a.is_some() == b.is_some(),
        _ => left == right,
    }
}

#[cfg(test)]
mod tests;
