//! Function calls: lookup in exec's list, overload resolution, aggregates, functions that return rows.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment, Sort, Unnest};
use datafusion::logical_expr::{AggregateUDF, Expr, Operator, ScalarUDF, lit, when};
use exec::functions::resolve::no_such_function_for;
use exec::functions::{Choice, Function, FunctionKind, find, sequence};
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};
use sqlparser::ast::{
    self, DuplicateTreatment, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
    ObjectNamePart,
};

use super::window::WindowCall;
use crate::binder::{Binder, Bound};
use crate::calls;
use crate::environment::{Env, Place};
use crate::error::{At, Result, from_datafusion, syntax, undefined_function, unsupported};
use crate::names::fold;

/// Names that SQL uses for functions that PostgreSQL knows under another name.
const KEYWORD_NAMES: [(&str, &str); 6] = [
    ("current_timestamp", "now"),
    ("transaction_timestamp", "now"),
    ("user", "current_user"),
    ("current_role", "current_user"),
    ("current_catalog", "current_database"),
    ("char_length", "length"),
];

/// The function that gives records: rows of `x`, an element of its array, and `n`, the element's number.
pub(crate) const EXPAND_ARRAY: &str = "_pg_expandarray";
/// Which tables a partition belongs to.
pub(crate) const PARTITION_ANCESTORS: &str = "pg_partition_ancestors";

/// A call taken apart.
pub(super) struct Call {
    pub name: String,
    pub arguments: Vec<Bound>,
    pub star: bool,
    pub distinct: bool,
    pub filter: Option<Expr>,
    pub order_by: Vec<Sort>,
    pub null_treatment: Option<NullTreatment>,
}

impl Binder<'_> {
    pub(super) fn function(&self, function: &ast::Function, env: &Env<'_>) -> Result<Bound> {
        let (name, span) = function_name(&function.name)?;
        self.function_named(function, name, env).at(span)
    }

    fn function_named(&self, function: &ast::Function, name: String, env: &Env<'_>) -> Result<Bound> {
        if !matches!(function.parameters, FunctionArguments::None) {
            return Err(unsupported("a function with parameters"));
        }
        if name == "array"
            && let FunctionArguments::Subquery(query) = &function.args
        {
            return self.array_subquery(query, env);
        }
        let found = find(&name);
        let aggregate = found.is_some_and(|found| matches!(found.kind, FunctionKind::Aggregate(_)));
        let window = function.over.is_some();
        if aggregate && !window {
            env.place.check_aggregate()?;
        }
        if window {
            env.place.check_window()?;
        }
        let inner =
            if aggregate && !window { env.at(Place::AggregateArgument) } else { inside(*env, window) };
        let call = self.take_apart(function, name, &inner)?;
        if !function.within_group.is_empty() {
            return Err(unsupported("WITHIN GROUP"));
        }
        if let Some(over) = &function.over {
            return self.window_call(WindowCall { call, found }, over, env);
        }
        match found.map(|found| &found.kind) {
            Some(FunctionKind::Aggregate(udf)) => self.aggregate_call(found, udf, call),
            Some(FunctionKind::Window(_)) => Err(SqlError::new(
                ErrorKind::WrongObjectType,
                format!("window function {} requires an OVER clause", call.name),
            )),
            _ => {
                self.refuse_aggregate_syntax(&call)?;
                self.scalar_call(call, env)
            }
        }
    }

    fn refuse_aggregate_syntax(&self, call: &Call) -> Result<()> {
        let name = &call.name;
        let what = if call.star {
            format!("{name}(*) specified, but {name} is not an aggregate function")
        } else if call.distinct {
            format!("DISTINCT specified, but {name} is not an aggregate function")
        } else if !call.order_by.is_empty() {
            format!("ORDER BY specified, but {name} is not an aggregate function")
        } else if call.filter.is_some() {
            format!("FILTER specified, but {name} is not an aggregate function")
        } else {
            return Ok(());
        };
        if find(name).is_none() {
            return Err(undefined_function(name, &types(&call.arguments)));
        }
        Err(SqlError::new(ErrorKind::WrongObjectType, what))
    }

    fn take_apart(&self, function: &ast::Function, name: String, env: &Env<'_>) -> Result<Call> {
        let mut call = Call {
            name,
            arguments: Vec::new(),
            star: false,
            distinct: false,
            filter: None,
            order_by: Vec::new(),
            null_treatment: None,
        };
        if let Some(filter) = &function.filter {
            call.filter = Some(self.bind_condition(filter, "FILTER", &env.at(Place::Filter))?);
        }
        let list = match &function.args {
            FunctionArguments::None => return Ok(call),
            FunctionArguments::Subquery(_) => {
                return Err(unsupported("a subquery as a function's only argument"));
            }
            FunctionArguments::List(list) => list,
        };
        call.distinct = matches!(list.duplicate_treatment, Some(DuplicateTreatment::Distinct));
        for argument in &list.args {
            match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => {
                    call.arguments.push(self.bind(expression, env)?);
                }
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => call.star = true,
                FunctionArg::Unnamed(_) => return Err(unsupported("a whole row as an argument")),
                _ => return Err(unsupported("named arguments")),
            }
        }
        for clause in &list.clauses {
            match clause {
                FunctionArgumentClause::OrderBy(items) => call.order_by = self.sort_items(items, env)?,
                FunctionArgumentClause::IgnoreOrRespectNulls(treatment) => {
                    call.null_treatment = Some(null_treatment(*treatment));
                }
                _ => return Err(unsupported("this clause of a function call")),
            }
        }
        if let Some(treatment) = function.null_treatment {
            call.null_treatment = Some(null_treatment(treatment));
        }
        Ok(call)
    }

    /// ORDER BY inside a call or a window.
    pub(super) fn sort_items(&self, items: &[ast::OrderByExpr], env: &Env<'_>) -> Result<Vec<Sort>> {
        items
            .iter()
            .map(|item| {
                let expr = self.bind_any(&item.expr, env)?;
                let ascending = item.options.asc.unwrap_or(true);
                Ok(Sort::new(expr, ascending, item.options.nulls_first.unwrap_or(!ascending)))
            })
            .collect()
    }

    fn aggregate_call(
        &self,
        found: Option<&'static Function>,
        udf: &Arc<AggregateUDF>,
        call: Call,
    ) -> Result<Bound> {
        let (args, ty) = self.aggregate_arguments(found, &call)?;
        let filter = call.filter.map(Box::new);
        let function = AggregateFunction::new_udf(
            Arc::clone(udf),
            args,
            call.distinct,
            filter,
            call.order_by,
            call.null_treatment,
        );
        Ok(Bound::new(Expr::AggregateFunction(function), ty))
    }

    /// The arguments in the types of the chosen overload; `count(*)` counts a constant.
    pub(super) fn aggregate_arguments(
        &self,
        found: Option<&'static Function>,
        call: &Call,
    ) -> Result<(Vec<Expr>, ColumnType)> {
        if call.star {
            if call.name != "count" {
                return Err(undefined_function(&call.name, &[]));
            }
            return Ok((vec![lit(1_i64)], ColumnType::INT8));
        }
        let found = found.ok_or_else(|| undefined_function(&call.name, &types(&call.arguments)))?;
        if call.arguments.is_empty() && call.name == "count" {
            return Err(SqlError::new(
                ErrorKind::WrongObjectType,
                "count(*) must be used to call a parameterless aggregate function",
            ));
        }
        let choice = found.resolve(&known(&call.arguments))?;
        let args = self.cast_arguments(&choice, call.arguments.clone())?;
        Ok((args, choice.result))
    }

    fn scalar_call(&self, call: Call, env: &Env<'_>) -> Result<Bound> {
        match call.name.as_str() {
            "unnest" | "generate_series" | "generate_subscripts" | PARTITION_ANCESTORS | EXPAND_ARRAY => {
                env.place.check_set_returning()?;
                let (array, ty) = self.row_array(&call.name, call.arguments)?;
                let rows = Expr::Unnest(Unnest::new(array));
                let element = ColumnType { array: false, ..ty };
                if call.name.starts_with("generate_") && element != ColumnType::INT8 {
                    let narrow = exec::functions::cast(rows, element, exec::functions::CastContext::Explicit);
                    return Ok(Bound::new(narrow, element));
                }
                Ok(Bound::new(rows, element))
            }
            "coalesce" | "greatest" | "least" => {
                let function = calls::scalar(&call.name)
                    .ok_or_else(|| undefined_function(&call.name, &types(&call.arguments)))?;
                if call.arguments.is_empty() {
                    return Err(syntax(format!("syntax error at or near \"{}\"", call.name)));
                }
                let (args, ty) = self.unify(&call.name.to_uppercase(), call.arguments)?;
                if call.name != "coalesce" && ty.compares_by_key() {
                    return self.extreme(&call.name, args, ty);
                }
                Ok(Bound::new(calls::call(function, args), ty))
            }
            "nullif" if call.arguments.len() == 2 => self.nullif(call.arguments),
            _ => self.call(&call.name, call.arguments),
        }
    }

    /// The array whose elements a function that returns rows returns, and the array's type.
    pub(crate) fn row_array(&self, name: &str, arguments: Vec<Bound>) -> Result<(Expr, ColumnType)> {
        if name == EXPAND_ARRAY {
            let arguments = arguments.into_iter().map(|array| self.as_array(array)).collect::<Result<_>>()?;
            let records = self.call(name, arguments)?;
            return Ok((records.expr, records.ty));
        }
        if name == PARTITION_ANCESTORS {
            return self.partition_ancestors(arguments);
        }
        if name == "unnest" {
            let no_such = undefined_function(name, &types(&arguments));
            let mut arguments = arguments.into_iter();
            return match (arguments.next(), arguments.next()) {
                (Some(array), None) => {
                    let array = self.as_array(array)?;
                    if array.ty.array { Ok((array.expr, array.ty)) } else { Err(no_such) }
                }
                (Some(_), Some(_)) => Err(unsupported("unnest of several arrays")),
                _ => Err(no_such),
            };
        }
        if name == "generate_subscripts" {
            let bounds = self.subscripts(arguments)?;
            return self.row_array("generate_series", bounds);
        }
        let kinds: Vec<TypeKind> = arguments.iter().filter_map(Bound::known).map(|ty| ty.kind).collect();
        let wide = kinds.contains(&TypeKind::Int8);
        let integers =
            kinds.iter().all(|kind| matches!(kind, TypeKind::Int2 | TypeKind::Int4 | TypeKind::Int8));
        if !integers || !(2..=3).contains(&arguments.len()) {
            return Err(no_such_function_for(name, &known(&arguments)));
        }
        let mut bounds = arguments
            .into_iter()
            .map(|argument| self.implicit(argument, ColumnType::INT8).map(|bound| bound.expr))
            .collect::<Result<Vec<_>>>()?;
        if bounds.len() == 2 {
            bounds.push(lit(1_i64));
        }
        let series = datafusion::functions_nested::range::gen_series_udf().call(bounds);
        Ok((series, ColumnType::array_of(if wide { TypeKind::Int8 } else { TypeKind::Int4 })))
    }

    /// No table is a partition, so that none has ancestors.
    fn partition_ancestors(&self, arguments: Vec<Bound>) -> Result<(Expr, ColumnType)> {
        let no_such = no_such_function_for(PARTITION_ANCESTORS, &known(&arguments));
        let [relation] = <[Bound; 1]>::try_from(arguments).map_err(|_| no_such)?;
        let ty = ColumnType::from(TypeKind::Regclass);
        self.implicit(relation, ty)?;
        let none = ScalarValue::List(ScalarValue::new_list(&[], &ty.data_type(), true));
        Ok((lit(none), ColumnType::array_of(TypeKind::Regclass)))
    }

    /// The bounds of the subscripts of an array; those of int2vector and oidvector begin at 0.
    fn subscripts(&self, arguments: Vec<Bound>) -> Result<Vec<Bound>> {
        let no_such = no_such_function_for("generate_subscripts", &known(&arguments));
        let [array, dimension] = <[Bound; 2]>::try_from(arguments).map_err(|_| no_such.clone())?;
        let first = i32::from(array.ty.array);
        let array = self.as_array(array)?;
        if !array.ty.array {
            return Err(no_such);
        }
        let number = |value: i32| Bound::new(lit(value), ColumnType::INT4);
        let count = self.call("cardinality", vec![array])?;
        let last = self.apply(&ast::BinaryOperator::Plus, count, number(first - 1))?;
        // Arrays have one dimension.
        let is_first = self.compare(dimension, Operator::Eq, number(1))?;
        let last = when(is_first.expr, last.expr).otherwise(lit(first - 1)).map_err(from_datafusion)?;
        Ok(vec![number(first), Bound::new(last, ColumnType::INT4)])
    }

    /// A scalar function by name on bound arguments.
    ///
    /// # Errors
    /// 42883 when exec has no such function or overload, 42725 when several fit.
    pub(crate) fn call(&self, name: &str, arguments: Vec<Bound>) -> Result<Bound> {
        let known = known(&arguments);
        let Some(found) = find(name) else { return Err(no_such_function_for(name, &known)) };
        let FunctionKind::Scalar(function) = &found.kind else {
            return Err(no_such_function_for(name, &known));
        };
        let choice = found.resolve(&known)?;
        self.call_chosen(sequence::as_call(Arc::clone(function), || self.next_number()), &choice, arguments)
    }

    /// A call of a chosen overload.
    pub(super) fn call_chosen(
        &self,
        function: Arc<ScalarUDF>,
        choice: &Choice,
        arguments: Vec<Bound>,
    ) -> Result<Bound> {
        let args = self.cast_arguments(choice, arguments)?;
        Ok(Bound::new(calls::call(function, args), choice.result))
    }

    fn cast_arguments(&self, choice: &Choice, arguments: Vec<Bound>) -> Result<Vec<Expr>> {
        arguments
            .into_iter()
            .zip(&choice.arguments)
            .map(|(argument, ty)| {
                // An unknown literal takes the type, not the modifier, of its neighbour.
                let ty = if argument.is_unknown() { ty.without_typmod() } else { *ty };
                self.implicit(argument, ty).map(|bound| bound.expr)
            })
            .collect()
    }
}

/// Inside a window function's arguments aggregates are fine, other window functions are not.
const fn inside(env: Env<'_>, window: bool) -> Env<'_> {
    if window { env.at(Place::Window) } else { env }
}

const fn null_treatment(treatment: ast::NullTreatment) -> NullTreatment {
    match treatment {
        ast::NullTreatment::IgnoreNulls => NullTreatment::IgnoreNulls,
        ast::NullTreatment::RespectNulls => NullTreatment::RespectNulls,
    }
}

fn known(arguments: &[Bound]) -> Vec<Option<ColumnType>> {
    arguments.iter().map(Bound::known).collect()
}

fn types(arguments: &[Bound]) -> Vec<ColumnType> {
    arguments.iter().map(|argument| argument.ty).collect()
}

/// The function's name in lower case; `pg_catalog.` and `public.` are where ours live.
pub(crate) fn function_name(name: &ast::ObjectName) -> Result<(String, sqlparser::tokenizer::Span)> {
    let mut parts = Vec::with_capacity(2);
    for part in &name.0 {
        let ObjectNamePart::Identifier(identifier) = part else {
            return Err(unsupported("a function call as part of a name"));
        };
        parts.push(identifier);
    }
    let (name, span) = match parts.as_slice() {
        [name] => (fold(name), name.span),
        [schema, name] => {
            let schema_name = fold(schema);
            let own = schema_name == "information_schema" && fold(name) == EXPAND_ARRAY;
            if !own && !matches!(schema_name.as_str(), "pg_catalog" | "public" | "elanus") {
                let message = format!("schema \"{schema_name}\" does not exist");
                return Err(SqlError::new(ErrorKind::InvalidSchemaName, message).at(schema.span));
            }
            (fold(name), schema.span)
        }
        _ => return Err(unsupported("a function of another database")),
    };
    let name =
        KEYWORD_NAMES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, real)| (*real).to_owned());
    Ok((name, span))
}
