//! The state of planning one statement, and the value that binding an expression gives.
//!
//! What it is not: it looks nothing up outside the `PlanContext`; two binders of equal contexts give equal plans.
//!
//! Invariants: a parameter has one type for the whole statement; a qualifier is handed out once.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use exec::step::step_source;
use proto::{ColumnType, ErrorKind, SqlError, TableId, TypeKind};
use sqlparser::tokenizer::Span;

use crate::context::PlanContext;
use crate::error::{At, Result, from_datafusion, internal};
use crate::plan::{Step, StepWork};
use crate::query::{LockedColumns, Locking, Planned, QueryColumn, UniqueNames};
use crate::syntax::too_deep;

/// The largest parameter number, as in the wire protocol.
const MAX_PARAMETERS: usize = 65_535;

/// An expression and its PostgreSQL type. `unknown` is the type of string literals, NULL and parameters that
/// nothing has given a type yet.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub expr: Expr,
    pub ty: ColumnType,
}

impl Bound {
    pub(crate) const fn new(expr: Expr, ty: ColumnType) -> Self {
        Self { expr, ty }
    }

    pub(crate) const fn is_unknown(&self) -> bool {
        matches!(self.ty.kind, TypeKind::Unknown) && !self.ty.array
    }

    /// The type as overload resolution wants it: `None` for unknown.
    pub(crate) fn known(&self) -> Option<ColumnType> {
        (!self.is_unknown()).then_some(self.ty)
    }

    pub(crate) fn boolean(expr: Expr) -> Self {
        Self { expr, ty: ColumnType::BOOL }
    }

    /// NULL of no type yet.
    pub(crate) fn null() -> Self {
        Self { expr: Expr::Literal(ScalarValue::Null, None), ty: TypeKind::Unknown.into() }
    }

    /// A string literal of no type yet.
    pub(crate) fn unknown_text(text: String) -> Self {
        Self { expr: Expr::Literal(ScalarValue::Utf8(Some(text)), None), ty: TypeKind::Unknown.into() }
    }
}

/// Planning of one statement.
pub(crate) struct Binder<'a> {
    pub context: &'a PlanContext,
    parameters: RefCell<Vec<Parameter>>,
    qualifiers: RefCell<HashMap<String, usize>>,
    tables: RefCell<BTreeSet<TableId>>,
    relations: Cell<usize>,
    columns: Cell<usize>,
    steps: RefCell<Vec<Step>>,
    /// The query around all others is yet to come.
    pub(crate) outermost: Cell<bool>,
    /// The locking clauses of the SELECT that is planned next.
    pub(crate) locking: RefCell<Option<Vec<Locking>>>,
    /// What the last SELECT with locking clauses has added to its columns.
    pub(crate) locked: RefCell<Option<LockedColumns>>,
    /// Tables of the FROM clause show where their rows are.
    pub(crate) identified: Cell<bool>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Parameter {
    ty: Option<ColumnType>,
    used: bool,
}

impl<'a> Binder<'a> {
    pub(crate) fn new(context: &'a PlanContext) -> Self {
        let parameters =
            context.parameter_types.iter().map(|&ty| Parameter { ty, used: false }).collect::<Vec<_>>();
        Self {
            context,
            parameters: RefCell::new(parameters),
            qualifiers: RefCell::default(),
            tables: RefCell::default(),
            relations: Cell::new(0),
            columns: Cell::new(0),
            steps: RefCell::default(),
            outermost: Cell::new(true),
            locking: RefCell::default(),
            locked: RefCell::default(),
            identified: Cell::new(false),
        }
    }

    /// `$n` as an expression.
    pub(crate) fn parameter(&self, text: &str, span: Span) -> Result<Bound> {
        let number = text.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
        let number = number.filter(|number| (1..=MAX_PARAMETERS).contains(number)).ok_or_else(|| {
            SqlError::new(ErrorKind::UndefinedParameter, format!("there is no parameter {text}")).at(span)
        })?;
        let mut parameters = self.parameters.borrow_mut();
        if parameters.len() < number {
            parameters.resize_with(number, Parameter::default);
        }
        parameters[number - 1].used = true;
        let ty = parameters[number - 1].ty.unwrap_or_else(|| TypeKind::Unknown.into());
        Ok(placeholder(&format!("${number}"), ty))
    }

    /// Gives a parameter its type; the first use decides.
    ///
    /// # Errors
    /// 42P08 when another use of the parameter gave it another type.
    pub(crate) fn set_parameter(&self, id: &str, ty: ColumnType) -> Result<Bound> {
        let index = parameter_index(id).ok_or_else(|| internal(format!("odd parameter {id}")))?;
        let mut parameters = self.parameters.borrow_mut();
        let slot = parameters.get_mut(index).ok_or_else(|| internal(format!("odd parameter {id}")))?;
        let ty = ty.without_typmod();
        match slot.ty {
            Some(before) if before.without_typmod() != ty => Err(SqlError::new(
                ErrorKind::AmbiguousParameter,
                format!("inconsistent types deduced for parameter {id}"),
            )
            .with_detail(format!("{} versus {}", before.display(), ty.display()))),
            _ => {
                slot.ty = Some(ty);
                Ok(placeholder(id, ty))
            }
        }
    }

    /// The types of all parameters.
    ///
    /// # Errors
    /// 42P18 for one that nothing gave a type.
    pub(crate) fn parameter_types(&self) -> Result<Vec<ColumnType>> {
        self.parameters
            .borrow()
            .iter()
            .enumerate()
            .map(|(index, parameter)| {
                parameter.ty.ok_or_else(|| {
                    SqlError::new(
                        ErrorKind::IndeterminateDatatype,
                        format!("could not determine data type of parameter ${}", index + 1),
                    )
                })
            })
            .collect()
    }

    /// A qualifier nothing else in the plan has, like the wanted name.
    pub(crate) fn qualifier(&self, wanted: &str) -> String {
        let mut qualifiers = self.qualifiers.borrow_mut();
        let mut name = wanted.to_owned();
        loop {
            let uses = qualifiers.entry(name.clone()).or_insert(0);
            *uses += 1;
            if *uses == 1 {
                return name;
            }
            name = format!("{wanted}_{}", *uses - 1);
        }
    }

    /// A column name that starts with two underscores and that nothing else in the plan has.
    pub(crate) fn column_name(&self, what: &str) -> String {
        format!("__{what}_{}", self.next_number())
    }

    /// A number that no column or call of the statement has yet.
    pub(crate) fn next_number(&self) -> usize {
        let number = self.columns.get();
        self.columns.set(number + 1);
        number
    }

    /// Remembers that the statement reads a table.
    pub(crate) fn use_table(&self, table: TableId) {
        self.tables.borrow_mut().insert(table);
    }

    /// The tables the statement reads or writes.
    pub(crate) fn tables(&self) -> Vec<TableId> {
        self.tables.borrow().iter().copied().collect()
    }

    /// What must run before the statement's own plan.
    pub(crate) fn steps(&self) -> Vec<Step> {
        self.steps.borrow().clone()
    }

    /// How many steps there are so far.
    pub(crate) fn step_count(&self) -> usize {
        self.steps.borrow().len()
    }

    /// A step, as the relation of its rows.
    pub(crate) fn step(&self, work: StepWork, columns: Vec<QueryColumn>) -> Result<Planned> {
        let mut unique = UniqueNames::default();
        let fields: Vec<_> =
            columns.iter().map(|column| column.ty.arrow_field(&unique.pick(&column.name), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let number = self.steps.borrow().len();
        let source = step_source(number, Arc::clone(&schema));
        let plan = LogicalPlanBuilder::scan(self.qualifier("step"), source, None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        self.steps.borrow_mut().push(Step { number, schema, work });
        let places = plan.schema().columns();
        let columns = columns.into_iter().zip(places);
        let columns = columns.map(|(known, column)| QueryColumn { column, ..known }).collect();
        Ok(Planned { plan, columns })
    }

    /// Relations named so far, with those of CTEs counted at each use.
    pub(crate) const fn relation_count(&self) -> usize {
        self.relations.get()
    }

    /// Counts relations that enter the plan.
    ///
    /// # Errors
    /// 54001 when the statement has too many.
    pub(crate) fn add_relations(&self, count: usize) -> Result<()> {
        let total = self.relations.get().saturating_add(count);
        self.relations.set(total);
        if total > self.context.settings.max_relations { Err(too_deep()) } else { Ok(()) }
    }
}

/// The position of `$n` in a parameter list.
pub(crate) fn parameter_index(id: &str) -> Option<usize> {
    id.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

fn placeholder(id: &str, ty: ColumnType) -> Bound {
    let field = (ty.kind != TypeKind::Unknown).then(|| ty.arrow_field(id, true));
    Bound { expr: Expr::Placeholder(Placeholder::new_with_field(id.to_owned(), field)), ty }
}
