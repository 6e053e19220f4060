//! Sorts, groups, DISTINCT, windows and joins over types whose equal values may be carried differently: the nodes
//! get comparison keys in place of the values, and the first value of every group stands for it.
//!
//! What it is not: comparisons in expressions have their keys from the binder.
//!
//! Invariant: the plan's columns keep their names, types and order.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, internal_err};
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, GroupingSet, WindowFunction};
use datafusion::logical_expr::logical_plan::{Aggregate, Distinct, Join, Projection, Sort, Window};
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, when};
use exec::functions::keys::{comparison_key, is_keyed};

/// The plan with keys where they are needed.
pub(super) fn keyed(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(node).map(|transformed| transformed.data)
}

fn node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Sort(sort) if sort.expr.iter().any(|key| needs_key(&key.expr, sort.input.schema())) => {
            let schema = Arc::clone(sort.input.schema());
            let expr = sort.expr.into_iter().map(|mut key| {
                key.expr = key_of(key.expr, &schema);
                key
            });
            let expr = expr.collect();
            Ok(Transformed::yes(LogicalPlan::Sort(Sort { expr, ..sort })))
        }
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
            if !columns.iter().any(|column| needs_key(column, input.schema())) {
                return Ok(Transformed::no(LogicalPlan::Distinct(Distinct::All(input))));
            }
            let aggregate = Aggregate::try_new(input, columns, Vec::new())?;
            grouped(aggregate).map(Transformed::yes)
        }
        LogicalPlan::Aggregate(aggregate) => {
            let schema = aggregate.input.schema();
            if !aggregate.group_expr.iter().any(|key| any_needs_key(key, schema)) {
                return distinct_arguments(aggregate);
            }
            grouped(aggregate).map(Transformed::yes)
        }
        LogicalPlan::Window(window) => windowed(window),
        LogicalPlan::Join(join) => joined(join),
        other => Ok(Transformed::no(other)),
    }
}

fn needs_key(expression: &Expr, schema: &DFSchema) -> bool {
    expression.to_field(schema).is_ok_and(|(_, field)| is_keyed(&field))
}

/// Whether a grouping expression, or one inside a grouping set, needs a key.
fn any_needs_key(expression: &Expr, schema: &DFSchema) -> bool {
    match expression {
        Expr::GroupingSet(sets) => {
            sets.distinct_expr().iter().any(|expression| needs_key(expression, schema))
        }
        other => needs_key(other, schema),
    }
}

fn key_of(expression: Expr, schema: &DFSchema) -> Expr {
    if needs_key(&expression, schema) { comparison_key(expression) } else { expression }
}

/// Groups by keys; the first value of a group is what it shows.
fn grouped(aggregate: Aggregate) -> Result<LogicalPlan> {
    if aggregate.group_expr.iter().any(|key| matches!(key, Expr::GroupingSet(_))) {
        return grouped_in_sets(aggregate);
    }
    let LogicalPlan::Aggregate(aggregate) = distinct_arguments(aggregate)?.data else {
        return internal_err!("an aggregate became another node");
    };
    let Aggregate { input, group_expr, aggr_expr, schema, .. } = aggregate;
    let groups = group_expr.len();
    let mut firsts = Vec::new();
    let mut shown: Vec<Option<String>> = Vec::with_capacity(groups);
    let mut keys = Vec::with_capacity(groups);
    for (position, expression) in group_expr.into_iter().enumerate() {
        if !needs_key(&expression, input.schema()) {
            shown.push(None);
            keys.push(expression);
            continue;
        }
        let bare = expression.unalias();
        let name = format!("__first_{position}");
        firsts.push(first_value_udaf().call(vec![bare.clone()]).alias(&name));
        shown.push(Some(name));
        keys.push(comparison_key(bare).alias(format!("__key_{position}")));
    }
    let mut aggregates = aggr_expr;
    let own = aggregates.len();
    aggregates.extend(firsts);
    let plan = Aggregate::try_new(input, keys, aggregates)?;
    let columns = plan.schema.columns();
    let outputs = (0..groups + own).map(|position| {
        let source = match shown.get(position) {
            Some(Some(name)) => Column::new_unqualified(name),
            _ => columns[position].clone(),
        };
        let (qualifier, field) = schema.qualified_field(position);
        if source.relation.as_ref() == qualifier && source.name == *field.name() {
            Expr::Column(source)
        } else {
            Expr::Column(source).alias_qualified(qualifier.cloned(), field.name())
        }
    });
    let outputs = outputs.collect();
    Projection::try_new(outputs, Arc::new(LogicalPlan::Aggregate(plan))).map(LogicalPlan::Projection)
}

/// Groups every set by keys, which a projection below computes; the first value of a group is shown where its column
/// is part of the set, NULL elsewhere.
fn grouped_in_sets(aggregate: Aggregate) -> Result<LogicalPlan> {
    let LogicalPlan::Aggregate(aggregate) = distinct_arguments(aggregate)?.data else {
        return internal_err!("an aggregate became another node");
    };
    let Aggregate { input, group_expr, aggr_expr, schema, .. } = aggregate;
    let values: Vec<Expr> = grouping_set_to_exprlist(&group_expr)?.into_iter().cloned().collect();
    let mut keys: Vec<(Expr, Expr)> = Vec::new();
    let mut below: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    for value in values.iter().filter(|value| needs_key(value, input.schema())) {
        let name = format!("__set_key_{}", keys.len());
        below.push(comparison_key(value.clone()).alias(&name));
        keys.push((value.clone(), Expr::Column(Column::new_unqualified(name))));
    }
    let key_of = |value: &Expr| keys.iter().find(|(keyed, _)| keyed == value).map(|(_, key)| key.clone());
    let in_set = |set: &Vec<Expr>| -> Vec<Expr> {
        set.iter().map(|value| key_of(value).unwrap_or_else(|| value.clone())).collect()
    };
    let sets = group_expr.iter().map(|group| match group {
        Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => {
            Ok(Expr::GroupingSet(GroupingSet::GroupingSets(sets.iter().map(in_set).collect())))
        }
        _ => internal_err!("grouping sets that are not spelt out"),
    });
    let sets = sets.collect::<Result<Vec<_>>>()?;
    let mut aggregates = aggr_expr;
    let firsts = keys.iter().enumerate().map(|(position, (value, _))| {
        first_value_udaf().call(vec![value.clone()]).alias(format!("__first_{position}"))
    });
    aggregates.extend(firsts);
    let input = Arc::new(LogicalPlan::Projection(Projection::try_new(below, input)?));
    let plan = Aggregate::try_new(input, sets, aggregates)?;
    let columns = plan.schema.columns();
    let outputs = (0..schema.fields().len()).map(|position| {
        let (qualifier, field) = schema.qualified_field(position);
        let column = &columns[position];
        let keyed = values.get(position).and_then(|value| keys.iter().position(|(keyed, _)| keyed == value));
        let shown = match keyed {
            Some(key) => {
                let first = Expr::Column(Column::new_unqualified(format!("__first_{key}")));
                when(Expr::Column(column.clone()).is_not_null(), first).end()?
            }
            None if column.relation.as_ref() == qualifier && column.name == *field.name() => {
                return Ok(Expr::Column(column.clone()));
            }
            None => Expr::Column(column.clone()),
        };
        Ok(shown.alias_qualified(qualifier.cloned(), field.name()))
    });
    let outputs = outputs.collect::<Result<Vec<_>>>()?;
    Projection::try_new(outputs, Arc::new(LogicalPlan::Aggregate(plan))).map(LogicalPlan::Projection)
}

/// `count(DISTINCT x)` counts keys.
fn distinct_arguments(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let schema = Arc::clone(aggregate.input.schema());
    let counts = |expression: &Expr| {
        expression.exists(|node| {
            Ok(matches!(node, Expr::AggregateFunction(AggregateFunction { func, params })
                if func.name() == "count" && params.distinct
                    && params.args.iter().any(|argument| needs_key(argument, &schema))))
        })
    };
    if !aggregate.aggr_expr.iter().map(counts).collect::<Result<Vec<_>>>()?.contains(&true) {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let rewritten = aggregate.aggr_expr.iter().map(|expression| {
        expression.clone().transform_down(|node| match node {
            Expr::AggregateFunction(mut call) if call.func.name() == "count" && call.params.distinct => {
                let args = std::mem::take(&mut call.params.args);
                call.params.args = args.into_iter().map(|argument| key_of(argument, &schema)).collect();
                let node = Expr::AggregateFunction(call);
                Ok(Transformed::new(node, true, TreeNodeRecursion::Jump))
            }
            other => Ok(Transformed::no(other)),
        })
    });
    let aggr_expr = rewritten.map(|result| result.map(|t| t.data)).collect::<Result<Vec<_>>>()?;
    let plan = Aggregate::try_new(aggregate.input, aggregate.group_expr, aggr_expr)?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(plan)))
}

fn windowed(window: Window) -> Result<Transformed<LogicalPlan>> {
    let schema = Arc::clone(window.input.schema());
    let needs = |expression: &Expr| match expression.clone().unalias() {
        Expr::WindowFunction(call) => {
            let params = &call.params;
            params.partition_by.iter().any(|key| needs_key(key, &schema))
                || params.order_by.iter().any(|key| needs_key(&key.expr, &schema))
        }
        _ => false,
    };
    if !window.window_expr.iter().any(needs) {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    let expressions = window.window_expr.iter().map(|expression| {
        let name = expression.schema_name().to_string();
        let Expr::WindowFunction(call) = expression.clone().unalias() else { return expression.clone() };
        let WindowFunction { fun, mut params } = *call;
        params.partition_by = params.partition_by.into_iter().map(|key| key_of(key, &schema)).collect();
        for key in &mut params.order_by {
            key.expr = key_of(std::mem::take(&mut key.expr), &schema);
        }
        Expr::from(WindowFunction { fun, params }).alias(name)
    });
    let expressions = expressions.collect();
    Ok(Transformed::yes(LogicalPlan::Window(Window::try_new(expressions, window.input)?)))
}

fn joined(mut join: Join) -> Result<Transformed<LogicalPlan>> {
    let needs = |(left, right): &(Expr, Expr)| {
        needs_key(left, join.left.schema()) || needs_key(right, join.right.schema())
    };
    if !join.on.iter().any(needs) {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    let on = std::mem::take(&mut join.on);
    for (left, right) in on {
        let keyed = needs_key(&left, join.left.schema()) || needs_key(&right, join.right.schema());
        join.on.push(if keyed { (comparison_key(left), comparison_key(right)) } else { (left, right) });
    }
    Ok(Transformed::yes(LogicalPlan::Join(join)))
}
