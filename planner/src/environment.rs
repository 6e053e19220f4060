//! What surrounds an expression: the columns in scope, the CTEs, the clause it stands in.

use std::rc::Rc;

use datafusion::logical_expr::LogicalPlan;
use proto::SqlError;
use sqlparser::ast::NamedWindowDefinition;

use crate::error::{grouping, unsupported};
use crate::query::Columns;
use crate::scope::{Relations, Scope};

/// A query named by WITH.
#[derive(Debug)]
pub(crate) struct Cte {
    pub name: String,
    pub plan: LogicalPlan,
    pub columns: Columns,
    /// Relations inside, counted at each use.
    pub relations: usize,
    /// Whether it gives rows: a data-modifying one without RETURNING does not.
    pub returns: bool,
}

/// The CTEs that a query may name; inner ones come last and win.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ctes(Vec<Rc<Cte>>);

impl Ctes {
    pub(crate) fn find(&self, name: &str) -> Option<&Rc<Cte>> {
        self.0.iter().rev().find(|cte| cte.name == name)
    }

    pub(crate) fn push(&mut self, cte: Cte) {
        self.0.push(Rc::new(cte));
    }
}

/// The clause an expression stands in; it decides which kinds of functions it may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Select,
    Where,
    JoinCondition,
    GroupBy,
    Having,
    OrderBy,
    DistinctOn,
    Limit,
    Offset,
    Values,
    FromFunction,
    Default,
    Check,
    /// USING of ALTER COLUMN TYPE.
    Transform,
    Update,
    ConflictUpdate,
    Returning,
    Window,
    Filter,
    AggregateArgument,
    /// What AS OF takes.
    Instant,
}

impl Place {
    /// The clause's name in PostgreSQL's messages.
    const fn name(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Where => "WHERE",
            Self::JoinCondition => "JOIN conditions",
            Self::GroupBy => "GROUP BY",
            Self::Having => "HAVING",
            Self::OrderBy => "ORDER BY",
            Self::DistinctOn => "DISTINCT ON",
            Self::Limit => "LIMIT",
            Self::Offset => "OFFSET",
            Self::Instant => "AS OF",
            Self::Values => "VALUES",
            Self::FromFunction => "functions in FROM",
            Self::Default => "DEFAULT expressions",
            Self::Check => "check constraints",
            Self::Transform => "transform expressions",
            Self::Update => "UPDATE",
            Self::ConflictUpdate => "ON CONFLICT DO UPDATE",
            Self::Returning => "RETURNING",
            Self::Window => "window definitions",
            Self::Filter => "FILTER",
            Self::AggregateArgument => "aggregate arguments",
        }
    }

    /// # Errors
    /// 42803 where aggregates make no sense.
    pub(crate) fn check_aggregate(self) -> Result<(), SqlError> {
        match self {
            Self::Select | Self::Having | Self::OrderBy | Self::DistinctOn | Self::Window => Ok(()),
            Self::AggregateArgument | Self::Filter => Err(grouping(if self == Self::Filter {
                "aggregate functions are not allowed in FILTER"
            } else {
                "aggregate function calls cannot be nested"
            })),
            _ => Err(grouping(format!("aggregate functions are not allowed in {}", self.name()))),
        }
    }

    /// # Errors
    /// 42P20 in PostgreSQL, the nearest kind here, where window functions make no sense.
    pub(crate) fn check_window(self) -> Result<(), SqlError> {
        match self {
            Self::Select | Self::OrderBy | Self::DistinctOn => Ok(()),
            Self::AggregateArgument => {
                Err(grouping("aggregate function calls cannot contain window function calls"))
            }
            _ => Err(grouping(format!("window functions are not allowed in {}", self.name()))),
        }
    }

    /// # Errors
    /// 0A000 where a set of rows makes no sense.
    pub(crate) fn check_set_returning(self) -> Result<(), SqlError> {
        if self == Self::Select {
            return Ok(());
        }
        Err(SqlError::new(
            proto::ErrorKind::FeatureNotSupported,
            format!("set-returning functions are not allowed in {}", self.name()),
        ))
    }

    /// # Errors
    /// 0A000 where a subquery makes no sense.
    pub(crate) fn check_subquery(self) -> Result<(), SqlError> {
        if self == Self::Default {
            return Err(SqlError::new(
                proto::ErrorKind::FeatureNotSupported,
                "cannot use subquery in DEFAULT expression",
            ));
        }
        if self == Self::Check {
            return Err(SqlError::new(
                proto::ErrorKind::FeatureNotSupported,
                "cannot use subquery in check constraint",
            ));
        }
        if self == Self::Transform {
            return Err(SqlError::new(
                proto::ErrorKind::FeatureNotSupported,
                "cannot use subquery in transform expression",
            ));
        }
        if matches!(self, Self::Returning | Self::ConflictUpdate | Self::Instant) {
            return Err(unsupported(format!("a subquery in {}", self.name())));
        }
        Ok(())
    }
}

/// Everything around an expression.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Env<'s> {
    pub scope: Scope<'s>,
    pub ctes: &'s Ctes,
    pub place: Place,
    pub windows: &'s [NamedWindowDefinition],
}

impl<'s> Env<'s> {
    /// Columns of one FROM clause, with nothing outside.
    pub(crate) const fn new(relations: &'s Relations, ctes: &'s Ctes, place: Place) -> Self {
        Self { scope: Scope { relations, outer: None }, ctes, place, windows: &[] }
    }

    /// The same surroundings in another clause.
    pub(crate) const fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }
}

/// What surrounds a query: CTEs and the scope of the enclosing query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outside<'s> {
    pub ctes: &'s Ctes,
    pub scope: Option<&'s Scope<'s>>,
}
