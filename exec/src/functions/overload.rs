//! How a scalar function is declared: PostgreSQL signatures, each with the code that computes it.
//!
//! A `PgFunction` is one name with all its overloads; DataFusion sees it as one `ScalarUDF`. The planner picks
//! the overload with `functions::resolve` and casts the arguments, so that here carriers already fit.
//!
//! Invariants: results have exactly the declared type and its metadata; an overload's code sees arrays of equal
//! length (`Call::rows`), one row when all arguments are constants.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, StringArray, make_array, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{ArrowPrimitiveType, DataType, FieldRef};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature as DfSignature,
    Volatility,
};
use proto::{ColumnType, SqlError, TypeKind};

use crate::error::{internal, raise};
use crate::functions::numerics::Numerics;
use crate::functions::signature::Signature;
use crate::statement::{SessionValues, StatementContext, of_config};

/// The code of an overload.
pub type Compute = fn(&Call<'_>) -> Result<ArrayRef, SqlError>;
/// Finds the scale of a numeric result; none for a scale per row.
pub type ScaleRule = fn(&ReturnFieldArgs<'_>) -> Option<i8>;

/// One signature and its code.
#[derive(Clone, Debug)]
pub struct Overload {
    pub signature: Signature,
    compute: Compute,
    scale: Option<ScaleRule>,
}

/// One SQL function with all its overloads.
#[derive(Clone, Debug)]
pub struct PgFunction {
    name: &'static str,
    overloads: Vec<Overload>,
    signature: DfSignature,
}

impl PgFunction {
    /// A function that always gives the same result for the same arguments.
    #[must_use]
    pub fn immutable(name: &'static str) -> Self {
        Self::new(name, Volatility::Immutable)
    }

    /// A function that depends on the statement's context.
    #[must_use]
    pub fn stable(name: &'static str) -> Self {
        Self::new(name, Volatility::Stable)
    }

    /// A function that must be called for every row.
    #[must_use]
    pub fn volatile(name: &'static str) -> Self {
        Self::new(name, Volatility::Volatile)
    }

    fn new(name: &'static str, volatility: Volatility) -> Self {
        Self { name, overloads: Vec::new(), signature: DfSignature::user_defined(volatility) }
    }

    /// Adds an overload: argument types separated by commas (`text,int4`, `anyelement`, `variadic text`) and
    /// the result type.
    #[must_use]
    pub fn on(mut self, arguments: &str, result: &str, compute: Compute) -> Self {
        self.overloads.push(Overload {
            signature: Signature::parse(arguments, result),
            compute,
            scale: None,
        });
        self
    }

    /// Adds an overload with a numeric result whose scale a rule decides.
    #[must_use]
    pub fn on_numeric(mut self, arguments: &str, scale: ScaleRule, compute: Compute) -> Self {
        let signature = Signature::parse(arguments, "numeric");
        self.overloads.push(Overload { signature, compute, scale: Some(scale) });
        self
    }

    /// The function as DataFusion takes it.
    #[must_use]
    pub fn build(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(self))
    }

    /// The signatures, for resolution.
    pub fn signatures(&self) -> impl Iterator<Item = &Signature> {
        self.overloads.iter().map(|overload| &overload.signature)
    }

    fn overload_of(&self, fields: &[FieldRef]) -> DfResult<&Overload> {
        let types: Vec<ColumnType> = fields.iter().map(|field| ColumnType::of_field(field)).collect();
        let exact =
            self.overloads.iter().find(|overload| overload.signature.accepts(&types, Signature::same));
        let carried = || {
            self.overloads.iter().find(|overload| {
                overload.signature.accepts_carriers(&fields.iter().map(|f| f.data_type()).collect::<Vec<_>>())
            })
        };
        exact.or_else(carried).ok_or_else(|| raise(super::resolve::no_such_function(self.name, &types)))
    }
}

impl PartialEq for PgFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for PgFunction {}

impl Hash for PgFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for PgFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &DfSignature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DfResult<DataType> {
        Err(internal("result types are found from fields"))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let overload = self.overload_of(args.arg_fields)?;
        let types: Vec<ColumnType> =
            args.arg_fields.iter().map(|field| ColumnType::of_field(field)).collect();
        let result = overload.signature.result_type(&types);
        let field = result.arrow_field(self.name, true);
        let data_type = match (result.kind, result.array) {
            (TypeKind::Numeric, false) => {
                match overload.scale.map_or_else(|| first_scale(args.arg_fields), |rule| rule(&args)) {
                    Some(scale) => DataType::Decimal128(proto::types::NUMERIC_PRECISION, scale),
                    None => field.data_type().clone(),
                }
            }
            // Vectors keep the dimensions that their argument has.
            _ if overload.signature.is_polymorphic_result() => overload
                .signature
                .polymorphic_position()
                .and_then(|position| args.arg_fields.get(position))
                .map_or_else(|| field.data_type().clone(), |argument| argument.data_type().clone()),
            _ => return Ok(field),
        };
        Ok(Arc::new(field.as_ref().clone().with_data_type(data_type)))
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        let carriers: Vec<&DataType> = types.iter().collect();
        if self.overloads.iter().any(|overload| overload.signature.accepts_carriers(&carriers)) {
            return Ok(types.to_vec());
        }
        let known: Vec<Option<ColumnType>> =
            types.iter().map(|ty| (*ty != DataType::Null).then(|| ColumnType::of_data_type(ty))).collect();
        let chosen = super::resolve::choose(self.name, self.signatures(), &known).map_err(raise)?;
        Ok(chosen
            .arguments
            .iter()
            .zip(types)
            .map(
                |(wanted, given)| {
                    if super::signature::carries(given, *wanted) { given.clone() } else { wanted.data_type() }
                },
            )
            .collect())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let overload = self.overload_of(&args.arg_fields)?;
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)))
            && (!args.args.is_empty() || self.signature.volatility != Volatility::Volatile);
        let call = Call { args: &args, rows: if constant { 1 } else { args.number_rows } };
        let result = (overload.compute)(&call).map_err(raise)?;
        let result = retype(result, args.return_field.data_type())?;
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

/// Gives an array the exact type it was promised as: time zone, decimal scale, list field names.
pub(crate) fn retype(array: ArrayRef, wanted: &DataType) -> DfResult<ArrayRef> {
    if array.data_type() == wanted {
        return Ok(array);
    }
    if *array.data_type() == DataType::Null {
        return Ok(new_null_array(wanted, array.len()));
    }
    let compatible = match (array.data_type(), wanted) {
        (DataType::Timestamp(left, _), DataType::Timestamp(right, _)) => left == right,
        (DataType::Decimal128(..), DataType::Decimal128(..)) => true,
        _ => false,
    };
    if !compatible {
        return Ok(cast(&array, wanted)?);
    }
    Ok(make_array(array.to_data().into_builder().data_type(wanted.clone()).build()?))
}

/// The scale of the first decimal argument, or of an array's elements.
fn first_scale(fields: &[FieldRef]) -> Option<i8> {
    fields.iter().find_map(|field| match field.data_type() {
        DataType::List(item) => scale_of(item.data_type()),
        other => scale_of(other),
    })
}

/// Whether an argument is a numeric column with a scale per row.
pub(crate) fn has_own_scales(fields: &[FieldRef]) -> bool {
    fields.iter().any(|field| proto::numeric::is_carrier(field.data_type()))
}

/// The scale of a decimal type.
pub(crate) const fn scale_of(data_type: &DataType) -> Option<i8> {
    match data_type {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => Some(*scale),
        _ => None,
    }
}

/// The arguments of one evaluation.
#[derive(Debug)]
pub struct Call<'a> {
    args: &'a ScalarFunctionArgs,
    rows: usize,
}

impl Call<'_> {
    /// Rows to produce.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Number of arguments.
    #[must_use]
    pub fn count(&self) -> usize {
        self.args.args.len()
    }

    /// The PostgreSQL type of an argument.
    #[must_use]
    pub fn argument_type(&self, position: usize) -> ColumnType {
        ColumnType::of_field(&self.args.arg_fields[position])
    }

    /// The Arrow type promised for the result.
    #[must_use]
    pub fn result_type(&self) -> &DataType {
        self.args.return_field.data_type()
    }

    /// Whether an argument is the same for all rows.
    #[must_use]
    pub fn is_constant(&self, position: usize) -> bool {
        matches!(self.args.args[position], ColumnarValue::Scalar(_))
    }

    /// An argument as an array of one row if constant, else of all rows.
    ///
    /// # Errors
    /// XX000 when the constant has no array form.
    pub fn compact(&self, position: usize) -> Result<ArrayRef, SqlError> {
        match &self.args.args[position] {
            ColumnarValue::Array(array) => Ok(Arc::clone(array)),
            ColumnarValue::Scalar(value) => value.to_array_of_size(1).map_err(crate::to_sql_error),
        }
    }

    /// An argument as an array of `rows()` rows.
    ///
    /// # Errors
    /// XX000 when the constant has no array form.
    pub fn array(&self, position: usize) -> Result<ArrayRef, SqlError> {
        match &self.args.args[position] {
            ColumnarValue::Array(array) => Ok(Arc::clone(array)),
            ColumnarValue::Scalar(value) => value.to_array_of_size(self.rows).map_err(crate::to_sql_error),
        }
    }

    /// An argument as text.
    ///
    /// # Errors
    /// XX000 when it is not carried by an Arrow string type.
    pub fn text(&self, position: usize) -> Result<StringArray, SqlError> {
        let array = self.array(position)?;
        if *array.data_type() == DataType::Utf8 {
            return Ok(array.as_string::<i32>().clone());
        }
        Ok(cast_to(&array, &DataType::Utf8)?.as_string::<i32>().clone())
    }

    /// An argument as a primitive array.
    ///
    /// # Errors
    /// XX000 when it is carried by another type that does not convert.
    pub fn primitive<T: ArrowPrimitiveType>(&self, position: usize) -> Result<PrimitiveArray<T>, SqlError> {
        let array = self.array(position)?;
        if let Some(values) = array.as_primitive_opt::<T>() {
            return Ok(values.clone());
        }
        Ok(cast_to(&array, &T::DATA_TYPE)?.as_primitive::<T>().clone())
    }

    /// An argument as booleans.
    ///
    /// # Errors
    /// XX000 when it is carried by another type that does not convert.
    pub fn boolean(&self, position: usize) -> Result<BooleanArray, SqlError> {
        let array = self.array(position)?;
        if let Some(values) = array.as_boolean_opt() {
            return Ok(values.clone());
        }
        Ok(cast_to(&array, &DataType::Boolean)?.as_boolean().clone())
    }

    /// An argument as numerics.
    ///
    /// # Errors
    /// XX000 when it is no number.
    pub(crate) fn numerics(&self, position: usize) -> Result<Numerics, SqlError> {
        Numerics::of(&self.array(position)?)
    }

    /// Lets a function of DataFusion compute the result, then gives it the promised type.
    ///
    /// # Errors
    /// Whatever that function fails with.
    pub fn delegate(&self, udf: &ScalarUDF) -> Result<ArrayRef, SqlError> {
        let fields = self.args.arg_fields.clone();
        let scalars = vec![None; fields.len()];
        let own = ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &scalars };
        let return_field = udf.return_field_from_args(own).map_err(crate::to_sql_error)?;
        let args = ScalarFunctionArgs {
            args: self.args.args.clone(),
            arg_fields: fields,
            number_rows: self.rows,
            return_field,
            config_options: Arc::clone(&self.args.config_options),
        };
        let result = udf
            .invoke_with_args(args)
            .and_then(|value| value.into_array(self.rows))
            .map_err(crate::to_sql_error)?;
        cast_to(&result, self.result_type())
    }

    /// The statement.
    ///
    /// # Errors
    /// XX000 outside `Engine::execute`.
    pub fn statement(&self) -> Result<&Arc<StatementContext>, SqlError> {
        of_config(&self.args.config_options).map_err(crate::to_sql_error)
    }

    /// The session's values.
    ///
    /// # Errors
    /// XX000 outside `Engine::execute`.
    pub fn session(&self) -> Result<&SessionValues, SqlError> {
        self.statement().map(|context| context.session.as_ref())
    }
}

/// Arrow's cast with our error.
pub(crate) fn cast_to(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, SqlError> {
    cast(array, data_type).map_err(|error| crate::to_sql_error(error.into()))
}

/// Computes row by row from one argument; null in, null out.
pub(crate) fn unary<A, R>(
    call: &Call<'_>,
    compute: impl Fn(A::Native) -> Result<R::Native, SqlError>,
) -> Result<ArrayRef, SqlError>
where
    A: ArrowPrimitiveType,
    R: ArrowPrimitiveType,
{
    let values = call.primitive::<A>(0)?;
    let result: PrimitiveArray<R> = values.try_unary(compute)?;
    Ok(Arc::new(result))
}

/// Computes row by row from two arguments; null in, null out.
pub(crate) fn binary<A, B, R>(
    call: &Call<'_>,
    compute: impl Fn(A::Native, B::Native) -> Result<R::Native, SqlError>,
) -> Result<ArrayRef, SqlError>
where
    A: ArrowPrimitiveType,
    B: ArrowPrimitiveType,
    R: ArrowPrimitiveType,
{
    let (left, right) = (call.primitive::<A>(0)?, call.primitive::<B>(1)?);
    let mut values = Vec::with_capacity(call.rows());
    let nulls = arrow::buffer::NullBuffer::union(left.nulls(), right.nulls());
    for row in 0..call.rows() {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            values.push(R::Native::default());
        } else {
            values.push(compute(left.value(row), right.value(row))?);
        }
    }
    Ok(Arc::new(PrimitiveArray::<R>::new(values.into(), nulls)))
}

/// Computes text from one text argument; null in, null out.
pub(crate) fn text_unary(
    call: &Call<'_>,
    compute: impl Fn(&str) -> Result<String, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let texts = call.text(0)?;
    let result: StringArray =
        texts.iter().map(|text| text.map(&compute).transpose()).collect::<Result<_, SqlError>>()?;
    Ok(Arc::new(result))
}

/// Computes any values from rows that must not be null in the given arguments.
pub(crate) fn rows<T>(
    call: &Call<'_>,
    arguments: &[&dyn Array],
    compute: impl Fn(usize) -> Result<T, SqlError>,
) -> Result<Vec<Option<T>>, SqlError> {
    (0..call.rows())
        .map(|row| {
            if arguments.iter().any(|argument| argument.is_null(row)) {
                Ok(None)
            } else {
                compute(row).map(Some)
            }
        })
        .collect()
}
