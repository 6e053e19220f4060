//! Aggregates with PostgreSQL's result types: our own where DataFusion's differ, DataFusion's otherwise.
//!
//! `sum` and `avg` of integers and numeric are exact, sums of int8 are numeric, `avg` has at least 16 digits;
//! `sum` and `avg` of vectors follow pgvector.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result as DfResult;
use datafusion::functions_aggregate as df;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature as DfSignature, Volatility,
};
use proto::{ColumnType, TypeKind};

use super::overload::scale_of;
use super::signature::Signature;
use super::{Function, FunctionKind};
use crate::error::{internal, raise};

mod distinct;
mod exact;
mod extreme;
mod floats;
mod text;
mod vector;

/// Makes the accumulator of an overload.
type Make = fn(&AccumulatorArgs<'_>) -> Box<dyn Accumulator>;

/// How an overload is computed.
#[derive(Clone, Debug)]
enum Body {
    /// By an accumulator of ours; the state is these types.
    Own { make: Make, state: fn(&FieldRef, &FieldRef) -> Vec<DataType> },
    /// By an accumulator of ours, or by DataFusion when there is an ORDER BY or DISTINCT inside.
    Joined,
    /// By DataFusion.
    DataFusion(Arc<AggregateUDF>),
    /// The least or greatest: by DataFusion where values compare as they are carried, else by their keys.
    Extreme(Arc<AggregateUDF>),
}

#[derive(Clone, Debug)]
struct Overload {
    signature: Signature,
    body: Body,
}

/// One aggregate with its overloads.
#[derive(Clone, Debug)]
struct PgAggregate {
    name: &'static str,
    overloads: Vec<Overload>,
    signature: DfSignature,
}

impl PgAggregate {
    fn new(name: &'static str) -> Self {
        Self { name, overloads: Vec::new(), signature: DfSignature::user_defined(Volatility::Immutable) }
    }

    fn own(
        mut self,
        argument: &str,
        result: &str,
        make: Make,
        state: fn(&FieldRef, &FieldRef) -> Vec<DataType>,
    ) -> Self {
        let body = Body::Own { make, state };
        self.overloads.push(Overload { signature: Signature::parse(argument, result), body });
        self
    }

    fn joined(mut self, arguments: &str, result: &str) -> Self {
        self.overloads.push(Overload { signature: Signature::parse(arguments, result), body: Body::Joined });
        self
    }

    fn delegate(mut self, argument: &str, result: &str, udf: Arc<AggregateUDF>) -> Self {
        let signature = Signature::parse(argument, result);
        self.overloads.push(Overload { signature, body: Body::DataFusion(udf) });
        self
    }

    fn extreme(mut self, udf: Arc<AggregateUDF>) -> Self {
        let signature = Signature::parse("anyelement", "anyelement");
        self.overloads.push(Overload { signature, body: Body::Extreme(udf) });
        self
    }

    fn overload_of(&self, fields: &[FieldRef]) -> DfResult<&Overload> {
        let types: Vec<ColumnType> = fields.iter().map(|field| ColumnType::of_field(field)).collect();
        let exact =
            self.overloads.iter().find(|overload| overload.signature.accepts(&types, Signature::same));
        let carriers: Vec<&DataType> = fields.iter().map(|field| field.data_type()).collect();
        exact
            .or_else(|| self.overloads.iter().find(|overload| overload.signature.accepts_carriers(&carriers)))
            .ok_or_else(|| raise(super::resolve::no_such_function(self.name, &types)))
    }

    fn result_field(&self, fields: &[FieldRef]) -> DfResult<FieldRef> {
        let overload = self.overload_of(fields)?;
        let types: Vec<ColumnType> = fields.iter().map(|field| ColumnType::of_field(field)).collect();
        let result = overload.signature.result_type(&types);
        let field = result.arrow_field(self.name, true);
        let Some(first) = fields.first() else { return Ok(field) };
        let data_type = if overload.signature.is_polymorphic_result() || result.kind == TypeKind::Vector {
            first.data_type().clone()
        } else if proto::numeric::is_carrier(first.data_type()) {
            return Ok(field);
        } else if result.kind == TypeKind::Numeric && !result.array {
            let own = scale_of(first.data_type()).unwrap_or(0);
            let scale = if self.name == "sum" { own } else { own.max(exact::AVERAGE_SCALE) };
            DataType::Decimal128(proto::types::NUMERIC_PRECISION, scale)
        } else {
            return Ok(field);
        };
        Ok(Arc::new(field.as_ref().clone().with_data_type(data_type)))
    }

    fn entry(self) -> Function {
        let signatures = self.overloads.iter().map(|overload| overload.signature.clone()).collect();
        let udf = Arc::new(AggregateUDF::from(self));
        Function { name: udf.name().to_owned(), kind: FunctionKind::Aggregate(udf), signatures }
    }
}

impl PartialEq for PgAggregate {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for PgAggregate {}

impl Hash for PgAggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl AggregateUDFImpl for PgAggregate {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &DfSignature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        let fields: Vec<FieldRef> =
            types.iter().map(|ty| Arc::new(Field::new("a", ty.clone(), true))).collect();
        self.result_field(&fields).map(|field| field.data_type().clone())
    }

    fn return_field(&self, fields: &[FieldRef]) -> DfResult<FieldRef> {
        self.result_field(fields)
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        let carriers: Vec<&DataType> = types.iter().collect();
        if self.overloads.iter().any(|overload| overload.signature.accepts_carriers(&carriers)) {
            return Ok(types.to_vec());
        }
        let known: Vec<Option<ColumnType>> =
            types.iter().map(|ty| (*ty != DataType::Null).then(|| ColumnType::of_data_type(ty))).collect();
        let signatures = self.overloads.iter().map(|overload| &overload.signature);
        let chosen = super::resolve::choose(self.name, signatures, &known).map_err(raise)?;
        Ok(chosen.arguments.iter().map(|ty| ty.data_type()).collect())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        match &self.overload_of(args.expr_fields)?.body {
            Body::Extreme(_) if has_key(args.expr_fields) => Ok(extreme::accumulator(self.name, &args)),
            Body::DataFusion(udf) | Body::Extreme(udf) => udf.accumulator(args),
            Body::Own { make, .. } if args.is_distinct => {
                Ok(Box::new(distinct::Distinct::new(make(&args), args.expr_fields)))
            }
            Body::Own { make, .. } => Ok(make(&args)),
            Body::Joined if args.is_distinct || !args.order_bys.is_empty() => {
                Ok(Box::new(text::AsText(df::string_agg::string_agg_udaf().accumulator(args)?)))
            }
            Body::Joined => Ok(text::joined()),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        match &self.overload_of(args.expr_fields)?.body {
            Body::Extreme(_) if has_key(args.expr_fields) => Ok(extreme::accumulator(self.name, &args)),
            Body::DataFusion(udf) | Body::Extreme(udf) => udf.create_sliding_accumulator(args),
            Body::Own { make, .. } => Ok(make(&args)),
            Body::Joined => Ok(text::joined()),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        match &self.overload_of(args.input_fields)?.body {
            Body::Extreme(_) if has_key(args.input_fields) => {
                Ok(named_state(args.name, vec![args.return_field.data_type().clone()]))
            }
            Body::DataFusion(udf) | Body::Extreme(udf) => udf.state_fields(args),
            Body::Own { .. } if args.is_distinct => Ok(distinct::state_fields(args.name, args.input_fields)),
            Body::Own { state, .. } => {
                let input =
                    args.input_fields.first().ok_or_else(|| internal("aggregate without argument"))?;
                Ok(named_state(args.name, state(input, &args.return_field)))
            }
            Body::Joined if args.is_distinct || !args.ordering_fields.is_empty() => {
                df::string_agg::string_agg_udaf().state_fields(args)
            }
            Body::Joined => Ok(named_state(args.name, text::state())),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        match self.overload_of(args.expr_fields).map(|overload| &overload.body) {
            Ok(Body::DataFusion(udf)) => udf.groups_accumulator_supported(args),
            Ok(Body::Extreme(udf)) => !has_key(args.expr_fields) && udf.groups_accumulator_supported(args),
            _ => false,
        }
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn GroupsAccumulator>> {
        match &self.overload_of(args.expr_fields)?.body {
            Body::DataFusion(udf) | Body::Extreme(udf) => udf.create_groups_accumulator(args),
            Body::Own { .. } | Body::Joined => Err(internal("no groups accumulator")),
        }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        let joined = self.overloads.iter().any(|overload| matches!(overload.body, Body::Joined));
        if joined {
            AggregateOrderSensitivity::HardRequirement
        } else {
            AggregateOrderSensitivity::Insensitive
        }
    }
}

/// Whether the argument's values compare by a key and not as they are carried.
fn has_key(fields: &[FieldRef]) -> bool {
    fields.first().is_some_and(|field| super::keys::is_keyed(field))
}

fn named_state(name: &str, types: Vec<DataType>) -> Vec<FieldRef> {
    types
        .into_iter()
        .enumerate()
        .map(|(position, ty)| Arc::new(Field::new(format!("{name}[{position}]"), ty, true)))
        .collect()
}

fn sum() -> PgAggregate {
    PgAggregate::new("sum")
        .own("int2", "int8", exact::sum, exact::state)
        .own("int4", "int8", exact::sum, exact::state)
        .own("int8", "numeric", exact::sum, exact::state)
        .own("numeric", "numeric", exact::sum, exact::state)
        .own("float4", "float4", floats::sum, floats::state)
        .delegate("float8", "float8", df::sum::sum_udaf())
        .own("interval", "interval", exact::interval_sum, exact::interval_state)
        .own("vector", "vector", vector::sum, vector::state)
}

fn avg() -> PgAggregate {
    PgAggregate::new("avg")
        .own("int2", "numeric", exact::average, exact::state)
        .own("int4", "numeric", exact::average, exact::state)
        .own("int8", "numeric", exact::average, exact::state)
        .own("numeric", "numeric", exact::average, exact::state)
        .own("float4", "float8", floats::average, floats::state)
        .delegate("float8", "float8", df::average::avg_udaf())
        .own("interval", "interval", exact::interval_average, exact::interval_state)
        .own("vector", "vector", vector::average, vector::state)
}

/// Variance and standard deviation: floats as PostgreSQL accumulates them, integers and numeric exact.
fn spread(name: &'static str, float_make: Make, exact_make: Make) -> Function {
    let floats = PgAggregate::new(name).own("float8", "float8", float_make, floats::spread_state);
    ["int2", "int4", "int8", "numeric"]
        .into_iter()
        .fold(floats, |aggregate, ty| aggregate.own(ty, "numeric", exact_make, exact::spread_state))
        .entry()
}

fn delegated(name: &str, udf: Arc<AggregateUDF>, signatures: &[(&str, &str)]) -> Function {
    Function {
        name: name.to_owned(),
        kind: FunctionKind::Aggregate(udf),
        signatures: signatures
            .iter()
            .map(|(arguments, result)| Signature::parse(arguments, result))
            .collect(),
    }
}

/// The aggregates.
#[must_use]
pub(super) fn functions() -> Vec<Function> {
    vec![
        sum().entry(),
        avg().entry(),
        delegated("count", df::count::count_udaf(), &[("any", "int8"), ("", "int8")]),
        PgAggregate::new("min").extreme(df::min_max::min_udaf()).entry(),
        PgAggregate::new("max").extreme(df::min_max::max_udaf()).entry(),
        delegated("bool_and", df::bool_and_or::bool_and_udaf(), &[("bool", "bool")]),
        delegated("bool_or", df::bool_and_or::bool_or_udaf(), &[("bool", "bool")]),
        PgAggregate::new("every").delegate("bool", "bool", df::bool_and_or::bool_and_udaf()).entry(),
        delegated("array_agg", df::array_agg::array_agg_udaf(), &[("anyelement", "anyarray")]),
        PgAggregate::new("string_agg").joined("text,text", "text").entry(),
        spread("stddev", floats::stddev_samp, exact::stddev_samp),
        spread("stddev_samp", floats::stddev_samp, exact::stddev_samp),
        spread("stddev_pop", floats::stddev_pop, exact::stddev_pop),
        spread("variance", floats::var_samp, exact::var_samp),
        spread("var_samp", floats::var_samp, exact::var_samp),
        spread("var_pop", floats::var_pop, exact::var_pop),
    ]
}

#[cfg(test)]
mod tests;
