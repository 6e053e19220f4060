//! PostgreSQL function signatures: argument types, polymorphic ones among them, and the result type.

use arrow::datatypes::DataType;
use proto::{ColumnType, TypeKind};

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// Exactly one type.
    Is(ColumnType),
    /// `anyelement`: all such parameters and results have one type.
    Element,
    /// `anyarray`: the array type over `anyelement`.
    Array,
    /// `"any"`: every type, unrelated to others.
    Any,
}

/// One overload's parameters and result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub parameters: Vec<Parameter>,
    /// The last parameter may repeat.
    pub variadic: bool,
    pub result: Parameter,
}

impl Signature {
    /// Reads `text,int4` or `variadic anyelement`; an unknown name would be a mistake in our own tables and
    /// reads as `"any"`, which the table tests refuse.
    #[must_use]
    pub fn parse(arguments: &str, result: &str) -> Self {
        let mut variadic = false;
        let parameters = arguments
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(|name| match name.strip_prefix("variadic ") {
                Some(element) => {
                    variadic = true;
                    Parameter::parse(element)
                }
                None => Parameter::parse(name),
            })
            .collect();
        Self { parameters, variadic, result: Parameter::parse(result) }
    }

    /// The parameter behind an argument position; none when there are too many arguments.
    #[must_use]
    pub fn parameter(&self, position: usize) -> Option<Parameter> {
        match self.parameters.get(position) {
            Some(parameter) => Some(*parameter),
            None if self.variadic => self.parameters.last().copied(),
            None => None,
        }
    }

    /// Whether a number of arguments fits.
    #[must_use]
    pub fn takes(&self, count: usize) -> bool {
        if self.variadic { count >= self.parameters.len() } else { count == self.parameters.len() }
    }

    /// Whether every argument's type passes a test against its parameter's.
    #[must_use]
    pub fn accepts(&self, types: &[ColumnType], test: fn(ColumnType, ColumnType) -> bool) -> bool {
        self.takes(types.len())
            && types.iter().enumerate().all(|(position, ty)| match self.parameter(position) {
                Some(Parameter::Is(wanted)) => test(*ty, wanted),
                Some(Parameter::Array) => ty.array,
                Some(Parameter::Element | Parameter::Any) => true,
                None => false,
            })
    }

    /// Equal types, modifiers aside.
    #[must_use]
    pub fn same(left: ColumnType, right: ColumnType) -> bool {
        left.kind == right.kind && left.array == right.array
    }

    /// Whether the arguments' Arrow types can carry the parameters.
    #[must_use]
    pub fn accepts_carriers(&self, types: &[&DataType]) -> bool {
        self.takes(types.len())
            && types.iter().enumerate().all(|(position, data_type)| match self.parameter(position) {
                Some(Parameter::Is(wanted)) => carries(data_type, wanted),
                Some(Parameter::Array) => {
                    matches!(
                        data_type,
                        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..)
                    )
                }
                Some(Parameter::Element | Parameter::Any) => true,
                None => false,
            })
    }

    /// The result type for argument types.
    #[must_use]
    pub fn result_type(&self, types: &[ColumnType]) -> ColumnType {
        match self.result {
            Parameter::Is(ty) => ty,
            Parameter::Element => self.element(types),
            Parameter::Array => ColumnType { array: true, ..self.element(types) },
            Parameter::Any => ColumnType::TEXT,
        }
    }

    /// What `anyelement` stands for.
    fn element(&self, types: &[ColumnType]) -> ColumnType {
        types
            .iter()
            .enumerate()
            .find_map(|(position, ty)| match self.parameter(position) {
                Some(Parameter::Element) => Some(*ty),
                Some(Parameter::Array) => Some(ColumnType { array: false, ..*ty }),
                _ => None,
            })
            .unwrap_or(ColumnType::TEXT)
    }

    /// Whether the result has the type of an `anyelement` argument.
    #[must_use]
    pub fn is_polymorphic_result(&self) -> bool {
        self.polymorphic_position().is_some()
    }

    /// The argument whose type the result has.
    #[must_use]
    pub fn polymorphic_position(&self) -> Option<usize> {
        if !matches!(self.result, Parameter::Element | Parameter::Array) {
            return None;
        }
        self.parameters.iter().position(|parameter| *parameter == self.result)
    }
}

impl Parameter {
    fn parse(name: &str) -> Self {
        match name {
            "anyelement" => Self::Element,
            "anyarray" => Self::Array,
            name => ColumnType::from_name(name).map_or(Self::Any, Self::Is),
        }
    }
}

/// Whether an Arrow type can carry values of a PostgreSQL type.
#[must_use]
pub fn carries(data_type: &DataType, ty: ColumnType) -> bool {
    let own = ty.data_type();
    match (data_type, &own) {
        (
            DataType::List(left) | DataType::FixedSizeList(left, _),
            DataType::List(right) | DataType::FixedSizeList(right, _),
        ) => {
            carries(left.data_type(), ColumnType { array: false, ..element_type(ty) })
                || left.data_type() == right.data_type()
        }
        (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, DataType::Utf8) => true,
        (_, own) if ty.kind == TypeKind::Numeric && !matches!(own, DataType::List(_)) => {
            matches!(data_type, DataType::Decimal128(..) | DataType::Decimal256(..))
                || proto::numeric::is_carrier(data_type)
        }
        (DataType::Timestamp(_, left), DataType::Timestamp(_, right)) => left.is_some() == right.is_some(),
        (left, right) => left == right,
    }
}

const fn element_type(ty: ColumnType) -> ColumnType {
    match ty.kind {
        TypeKind::Vector if !ty.array => ColumnType::scalar(TypeKind::Float4),
        kind => ColumnType::scalar(kind),
    }
}
