//! Functions that return rows: in the select list, and as relations in FROM.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, NullHandling, ScalarValue, TableReference, UnnestOptions};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use exec::functions::catalog::names::{Keyword, keywords};
use exec::functions::{CastContext, cast};
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};
use sqlparser::ast::{self, FunctionArg, FunctionArgExpr};

use super::from::{FromItem, column_aliases};
use super::group::{collect, replaced};
use super::project;
use crate::binder::{Binder, Bound};
use crate::calls;
use crate::environment::{Env, Outside, Place};
use crate::error::{At, Result, from_datafusion, unsupported};
use crate::expression::{EXPAND_ARRAY, PARTITION_ANCESTORS, function_name};
use crate::names::fold;
use crate::scope::{Relation, Relations, Scope, ScopeColumn};

/// A function in FROM, taken apart.
pub(super) struct RowFunction<'a> {
    pub name: &'a ast::ObjectName,
    pub args: &'a [FunctionArg],
    pub alias: Option<&'a ast::TableAlias>,
    pub with_ordinality: bool,
}

impl Binder<'_> {
    /// `SELECT unnest(…)`: every row once per element.
    pub(super) fn rows_of_lists(
        &self,
        plan: LogicalPlan,
        expressions: &mut [&mut Expr],
    ) -> Result<LogicalPlan> {
        let mut calls = Vec::new();
        for expression in expressions.iter() {
            collect(expression, &mut calls, |node| matches!(node, Expr::Unnest(_)))?;
        }
        if calls.is_empty() {
            return Ok(plan);
        }
        let mut outputs: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        let mut replacements = Vec::with_capacity(calls.len());
        for call in calls {
            let Expr::Unnest(unnest) = &call else { continue };
            let name = self.column_name("rows");
            outputs.push(unnest.expr.as_ref().clone().alias(name.clone()));
            replacements.push((call, Column::new_unqualified(name)));
        }
        let columns = replacements.iter().map(|(_, column)| column.clone()).collect();
        let plan = unnest(project(plan, outputs)?, columns, NullHandling::Drop)?;
        for expression in expressions.iter_mut() {
            let old = std::mem::take(*expression);
            **expression = replaced(old, &replacements)?;
        }
        Ok(plan)
    }

    /// A function in FROM; `left` are the relations before it, which its arguments may name.
    pub(super) fn function_relation(
        &self,
        function: &RowFunction<'_>,
        left: Option<&FromItem>,
        outer_join: bool,
        outside: Outside<'_>,
    ) -> Result<FromItem> {
        self.add_relations(1)?;
        let (name, span) = function_name(function.name)?;
        let nothing = Relations::default();
        let relations = left.map_or(&nothing, |item| &item.relations);
        let env = Env {
            scope: Scope { relations, outer: outside.scope },
            ctes: outside.ctes,
            place: Place::FromFunction,
            windows: &[],
        };
        let mut arguments = Vec::with_capacity(function.args.len());
        for argument in function.args {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) = argument else {
                return Err(unsupported("named arguments in FROM").at(span));
            };
            arguments.push(self.bind(expression, &env)?);
        }
        let alias = function.alias.map_or_else(|| name.clone(), |alias| fold(&alias.name));
        let columns = self.row_columns(&name, arguments, &alias).at(span)?;
        let mut columns = columns;
        if function.with_ordinality {
            columns.push(ordinality(&columns).ok_or_else(|| unsupported("WITH ORDINALITY here").at(span))?);
        }
        let lateral = columns.iter().any(|column| !column.value.column_refs().is_empty());
        let base = match left {
            Some(left) if lateral => left.plan.clone(),
            _ => LogicalPlanBuilder::empty(true).build().map_err(from_datafusion)?,
        };
        let handling =
            if lateral && outer_join { NullHandling::PreserveAndExpandEmpty } else { NullHandling::Drop };
        let qualifier = self.qualifier(&alias);
        let keep: Vec<Expr> = if lateral {
            base.schema().columns().into_iter().map(Expr::Column).collect()
        } else {
            Vec::new()
        };
        let plan = row_plan(base, keep, &columns, &qualifier, handling)?;
        let mut names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        column_aliases(&mut names, function.alias, &alias)?;
        let relation = relation_of(alias, &qualifier, &columns, names);
        let mut item = FromItem { plan, relations: Relations::default(), joined: lateral };
        if lateral && let Some(left) = left {
            item.relations = left.relations.clone();
        }
        item.relations.relations.push(relation);
        Ok(item)
    }

    fn row_columns(&self, name: &str, arguments: Vec<Bound>, alias: &str) -> Result<Vec<RowColumn>> {
        if matches!(name, "unnest" | "generate_series" | "generate_subscripts" | PARTITION_ANCESTORS) {
            let (value, array) = self.row_array(name, arguments)?;
            let ty = ColumnType { array: false, ..array };
            let name = alias.to_owned();
            let narrow = name_is_series(name.as_str(), &value, ty);
            return Ok(vec![RowColumn { name, value, ty, is_list: true, cast: narrow }]);
        }
        if name == EXPAND_ARRAY {
            let (value, array) = self.row_array("unnest", arguments)?;
            let ty = ColumnType { array: false, ..array };
            let mut columns = vec![RowColumn { name: "x".to_owned(), value, ty, is_list: true, cast: false }];
            columns.extend(ordinality(&columns).map(|number| RowColumn {
                name: "n".to_owned(),
                ty: ColumnType::INT4,
                cast: true,
                ..number
            }));
            return Ok(columns);
        }
        if name == "pg_get_keywords" && arguments.is_empty() {
            return Ok(keyword_columns());
        }
        let bound = self.call(name, arguments)?;
        Ok(vec![RowColumn {
            name: alias.to_owned(),
            value: bound.expr,
            ty: bound.ty,
            is_list: false,
            cast: false,
        }])
    }
}

/// One column of a function in FROM.
struct RowColumn {
    name: String,
    /// The value, or the list of values.
    value: Expr,
    ty: ColumnType,
    is_list: bool,
    /// Whether the elements are int8 and the column is narrower.
    cast: bool,
}

/// The columns of `pg_get_keywords()`.
fn keyword_columns() -> Vec<RowColumn> {
    let texts = |name: &str, ty: ColumnType, of: fn(&Keyword) -> &'static str| {
        let values: Vec<_> = keywords().map(|keyword| ScalarValue::from(of(&keyword))).collect();
        let value = lit(ScalarValue::List(ScalarValue::new_list(&values, &DataType::Utf8, true)));
        RowColumn { name: name.to_owned(), value, ty, is_list: true, cast: false }
    };
    let flags: Vec<_> = keywords().map(|keyword| ScalarValue::from(keyword.is_bare_label)).collect();
    let bare = RowColumn {
        name: "barelabel".to_owned(),
        value: lit(ScalarValue::List(ScalarValue::new_list(&flags, &DataType::Boolean, true))),
        ty: ColumnType::BOOL,
        is_list: true,
        cast: false,
    };
    vec![
        texts("word", ColumnType::TEXT, |keyword| keyword.word),
        texts("catcode", TypeKind::Char.into(), |keyword| keyword.category),
        bare,
        texts("catdesc", ColumnType::TEXT, |keyword| keyword.category_text),
        texts("baredesc", ColumnType::TEXT, |keyword| keyword.bare_label_text),
    ]
}

/// Whether the elements come as int8 although the column is int4: `generate_series` over int4.
fn name_is_series(_alias: &str, value: &Expr, ty: ColumnType) -> bool {
    matches!(value, Expr::ScalarFunction(function) if function.name() == "generate_series")
        && ty != ColumnType::INT8
}

/// WITH ORDINALITY: numbers from 1, as long as the first list.
fn ordinality(columns: &[RowColumn]) -> Option<RowColumn> {
    let list = columns.first().filter(|column| column.is_list)?;
    let length = calls::call(calls::scalar("cardinality")?, vec![list.value.clone()]);
    let length = cast(length, ColumnType::INT8, CastContext::Implicit);
    let bounds = vec![lit(1_i64), length, lit(1_i64)];
    let value = datafusion::functions_nested::range::gen_series_udf().call(bounds);
    Some(RowColumn { name: "ordinality".to_owned(), value, ty: ColumnType::INT8, is_list: true, cast: false })
}

/// The kept columns, and the function's columns under its qualifier.
fn row_plan(
    base: LogicalPlan,
    keep: Vec<Expr>,
    columns: &[RowColumn],
    qualifier: &str,
    handling: NullHandling,
) -> Result<LogicalPlan> {
    let raw = |position: usize| format!("__{qualifier}_{position}");
    let mut inner = keep.clone();
    for (position, column) in columns.iter().enumerate() {
        inner.push(column.value.clone().alias(raw(position)));
    }
    let lists: Vec<Column> = columns
        .iter()
        .enumerate()
        .filter(|(_, column)| column.is_list)
        .map(|(position, _)| Column::new_unqualified(raw(position)))
        .collect();
    let mut plan = project(base, inner)?;
    if !lists.is_empty() {
        plan = unnest(plan, lists, handling)?;
    }
    let mut outer = keep;
    for (position, column) in columns.iter().enumerate() {
        let value = Expr::Column(Column::new_unqualified(raw(position)));
        let value = if column.cast { cast(value, column.ty, CastContext::Explicit) } else { value };
        outer.push(value.alias_qualified(Some(TableReference::bare(qualifier)), internal_name(position)));
    }
    project(plan, outer)
}

fn internal_name(position: usize) -> String {
    format!("column{}", position + 1)
}

fn relation_of(alias: String, qualifier: &str, columns: &[RowColumn], names: Vec<String>) -> Relation {
    let columns = columns
        .iter()
        .zip(names)
        .enumerate()
        .map(|(position, (column, name))| ScopeColumn {
            name,
            ty: column.ty,
            column: Column::new(Some(TableReference::bare(qualifier)), internal_name(position)),
            origin: None,
            hidden: false,
        })
        .collect();
    Relation { alias, schema: None, columns, table: None }
}

pub(super) fn unnest(
    plan: LogicalPlan,
    columns: Vec<Column>,
    null_handling: NullHandling,
) -> Result<LogicalPlan> {
    let options = UnnestOptions { null_handling, ..UnnestOptions::default() };
    LogicalPlanBuilder::from(plan)
        .unnest_columns_with_options(columns, options)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}

/// 42P10 for too many column aliases.
pub(super) fn too_many_aliases(alias: &str, available: usize, given: usize) -> SqlError {
    SqlError::new(
        ErrorKind::InvalidColumnReference,
        format!("table \"{alias}\" has {available} columns available but {given} columns specified"),
    )
}
