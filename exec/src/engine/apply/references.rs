//! What a subquery refers to outside itself, and other expressions in its place.
//!
//! Invariant: a reference that a nested subquery finds in the subquery around it is not one to the outside.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result as DfResult};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan::Subquery;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Something of an enclosing query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outer {
    Column(Column),
    /// A value from further out, which the enclosing query has as a parameter.
    Parameter(String),
}

impl Outer {
    pub(super) const fn is_column(&self) -> bool {
        matches!(self, Self::Column(_))
    }

    /// The reference as the enclosing query writes it.
    pub(super) fn in_enclosing_query(&self, field: &FieldRef) -> Expr {
        match self {
            Self::Column(column) => Expr::Column(column.clone()),
            Self::Parameter(id) => parameter(id.clone(), field),
        }
    }
}

/// A parameter that any value of a field's type may come for.
pub(super) fn parameter(id: String, field: &FieldRef) -> Expr {
    let field = Arc::new(field.as_ref().clone().with_nullable(true));
    Expr::Placeholder(Placeholder::new_with_field(id, Some(field)))
}

/// The subquery inside an expression node.
pub(super) const fn subquery_of(expression: &Expr) -> Option<&Subquery> {
    match expression {
        Expr::ScalarSubquery(subquery) => Some(subquery),
        Expr::Exists(exists) => Some(&exists.subquery),
        Expr::InSubquery(search) => Some(&search.subquery),
        _ => None,
    }
}

/// What a plan refers to outside, each once, what its own subqueries find in it left out.
pub(super) fn free_references(plan: &LogicalPlan) -> DfResult<Vec<(Outer, FieldRef)>> {
    let mut found: Vec<(Outer, FieldRef)> = Vec::new();
    let mut seen = HashSet::new();
    plan.apply(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                let references = match part {
                    Expr::OuterReferenceColumn(field, column) => {
                        vec![(Outer::Column(column.clone()), Arc::clone(field))]
                    }
                    Expr::Placeholder(Placeholder { id, field: Some(field) }) => {
                        vec![(Outer::Parameter(id.clone()), Arc::clone(field))]
                    }
                    _ => match subquery_of(part) {
                        Some(subquery) => free_references(&subquery.subquery)?
                            .into_iter()
                            .filter(|(outer, _)| !sees(node, outer))
                            .collect(),
                        None => Vec::new(),
                    },
                };
                found.extend(references.into_iter().filter(|(outer, _)| seen.insert(outer.clone())));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// Whether a reference is to one of the columns that a node's expressions can name.
fn sees(node: &LogicalPlan, outer: &Outer) -> bool {
    match outer {
        Outer::Column(column) => node.inputs().iter().any(|input| input.schema().has_column(column)),
        Outer::Parameter(_) => false,
    }
}

/// The plan with other expressions in the place of references to the outside.
pub(super) fn substitute(plan: LogicalPlan, values: &HashMap<Outer, Expr>) -> DfResult<LogicalPlan> {
    let plan = plan.transform_up(|node| {
        let names = NamePreserver::new(&node);
        let visible: HashMap<Outer, Expr> = values
            .iter()
            .filter(|(outer, _)| !sees(&node, outer))
            .map(|(outer, value)| (outer.clone(), value.clone()))
            .collect();
        let rewritten = node.map_expressions(|expression| {
            let name = names.save(&expression);
            let put = expression.transform_up(|part| substitute_in(part, values, &visible))?;
            Ok(put.update_data(|expression| name.restore(expression)))
        })?;
        rewritten.map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(plan.data)
}

/// One expression node with its values put in; `inner` are the values that nested subqueries may take.
fn substitute_in(
    expression: Expr,
    values: &HashMap<Outer, Expr>,
    inner: &HashMap<Outer, Expr>,
) -> DfResult<Transformed<Expr>> {
    let nested = |subquery: Subquery| -> DfResult<Subquery> {
        let plan = substitute(subquery.subquery.as_ref().clone(), inner)?;
        let outer_ref_columns = free_references(&plan)?
            .into_iter()
            .filter_map(|(outer, field)| match outer {
                Outer::Column(column) => Some(Expr::OuterReferenceColumn(field, column)),
                Outer::Parameter(_) => None,
            })
            .collect();
        Ok(Subquery { outer_ref_columns, subquery: Arc::new(plan), ..subquery })
    };
    let outer = match &expression {
        Expr::OuterReferenceColumn(_, column) => Some(Outer::Column(column.clone())),
        Expr::Placeholder(placeholder) => Some(Outer::Parameter(placeholder.id.clone())),
        _ => None,
    };
    if let Some(value) = outer.and_then(|outer| values.get(&outer)) {
        return Ok(Transformed::yes(value.clone()));
    }
    Ok(match expression {
        Expr::ScalarSubquery(subquery) => Transformed::yes(Expr::ScalarSubquery(nested(subquery)?)),
        Expr::Exists(mut exists) => {
            exists.subquery = nested(exists.subquery)?;
            Transformed::yes(Expr::Exists(exists))
        }
        Expr::InSubquery(mut search) => {
            search.subquery = nested(search.subquery)?;
            Transformed::yes(Expr::InSubquery(search))
        }
        other => Transformed::no(other),
    })
}
