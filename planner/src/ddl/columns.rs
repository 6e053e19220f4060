//! The columns of CREATE TABLE: types, NOT NULL, defaults, serial and identity, keys.

use exec::functions::catalog::names::quote_identifier;
use proto::catalog::Identity;
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};
use sqlparser::ast::{self, ColumnOption, DataType, GeneratedAs, SequenceOptions, TableConstraint, Value};

use super::checks::WrittenCheck;
use super::foreign::WrittenForeign;
use super::keys::{WrittenKey, key_constraint, refuse_deferrable};
use super::table::free_name;
use crate::binder::Binder;
use crate::context::PlanContext;
use crate::environment::{Ctes, Env, Place};
use crate::error::{At, Result, syntax, unsupported};
use crate::expression::bare_name;
use crate::names::fold;
use crate::plan::{NewColumn, NewSequence};
use crate::scope::Relations;
use crate::syntax::parse_expression;
use crate::types::column_type;

/// Names no column may have: PostgreSQL's system columns and the names of row identities.
const RESERVED: [&str; 10] =
    ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "_segment", "_ordinal", "_row", "_ts"];

/// The longest identifier.
const MAX_NAME_BYTES: usize = 63;

/// Columns, and what was said about them and the table.
pub(super) struct Finished {
    pub columns: Vec<NewColumn>,
    pub keys: Vec<WrittenKey>,
    /// In the order they were written.
    pub checks: Vec<WrittenCheck>,
    pub foreign_keys: Vec<WrittenForeign>,
}

/// Columns being collected.
pub(super) struct Columns<'a> {
    context: &'a PlanContext,
    namespace: &'a str,
    table: &'a str,
    columns: Vec<NewColumn>,
    /// Columns that were said to be NULL outright.
    said_null: Vec<usize>,
    keys: Vec<WrittenKey>,
    checks: Vec<WrittenCheck>,
    foreign_keys: Vec<WrittenForeign>,
}

impl<'a> Columns<'a> {
    pub(super) const fn new(context: &'a PlanContext, namespace: &'a str, table: &'a str) -> Self {
        Self {
            context,
            namespace,
            table,
            columns: Vec::new(),
            said_null: Vec::new(),
            keys: Vec::new(),
            checks: Vec::new(),
            foreign_keys: Vec::new(),
        }
    }

    pub(super) fn finish(mut self) -> Finished {
        for &position in self.keys.iter().filter(|key| key.is_primary).flat_map(|key| &key.columns) {
            self.columns[position].nullable = false;
        }
        let Self { columns, keys, checks, foreign_keys, .. } = self;
        Finished { columns, keys, checks, foreign_keys }
    }

    pub(super) fn add(&mut self, definition: &ast::ColumnDef) -> Result<()> {
        let name = fold(&definition.name);
        let span = definition.name.span;
        if self.columns.iter().any(|column| column.name == name) {
            return Err(SqlError::new(
                ErrorKind::DuplicateColumn,
                format!("column \"{name}\" specified more than once"),
            ));
        }
        refuse_reserved(&name)?;
        let serial = serial_type(&definition.data_type);
        let ty = match serial {
            Some(ty) => ty,
            None => column_type(&definition.data_type).at(span)?,
        };
        if !ty.is_storable() {
            return Err(unsupported(format!("a column of type {}", ty.display())).at(span));
        }
        let column =
            NewColumn { name, ty, nullable: serial.is_none(), default: None, identity: None, sequence: None };
        self.columns.push(column);
        if serial.is_some() {
            self.own_sequence(ty, &[])?;
        }
        for option in &definition.options {
            self.option(&option.option, option.name.as_ref()).at(span)?;
        }
        Ok(())
    }

    fn last(&mut self) -> Result<&mut NewColumn> {
        self.columns.last_mut().ok_or_else(|| syntax("a column option without a column"))
    }

    fn option(&mut self, option: &ColumnOption, constraint: Option<&ast::Ident>) -> Result<()> {
        let position = self.columns.len() - 1;
        match option {
            ColumnOption::Null => {
                if !self.columns[position].nullable {
                    return Err(self.contradiction("conflicting NULL/NOT NULL declarations", position));
                }
                self.said_null.push(position);
                Ok(())
            }
            ColumnOption::NotNull => {
                if self.said_null.contains(&position) {
                    return Err(self.contradiction("conflicting NULL/NOT NULL declarations", position));
                }
                self.last()?.nullable = false;
                Ok(())
            }
            ColumnOption::Default(expression) => {
                if self.columns[position].default.is_some() {
                    return Err(self.contradiction("multiple default values specified", position));
                }
                let column = &self.columns[position];
                let text = default_text(self.context, &column.name, column.ty, expression)?;
                self.last()?.default = text;
                Ok(())
            }
            ColumnOption::PrimaryKey(key) => {
                refuse_deferrable(key.characteristics.as_ref())?;
                self.add_key(constraint.map(fold), vec![position], true, true)
            }
            ColumnOption::Generated { generated_as, sequence_options, generation_expr: None, .. } => {
                self.identity(*generated_as, sequence_options.as_deref().unwrap_or_default(), position)
            }
            ColumnOption::Generated { .. } => Err(unsupported("a generated column")),
            ColumnOption::Unique(key) => {
                refuse_deferrable(key.characteristics.as_ref())?;
                self.add_key(constraint.map(fold), vec![position], false, true)
            }
            ColumnOption::ForeignKey(key) => {
                let column = ast::Ident::with_quote('"', &self.columns[position].name);
                let foreign = WrittenForeign::read(key, key.name.as_ref().or(constraint), &[column])?;
                self.foreign_keys.push(foreign);
                Ok(())
            }
            ColumnOption::Check(check) => {
                let name = check.name.as_ref().or(constraint).map(fold);
                self.checks.push(WrittenCheck { name, condition: (*check.expr).clone() });
                Ok(())
            }
            ColumnOption::Collation(_) => Err(unsupported("COLLATE of a column")),
            _ => Err(syntax("syntax error in column definition")),
        }
    }

    fn contradiction(&self, what: &str, position: usize) -> SqlError {
        let column = &self.columns[position].name;
        syntax(format!("{what} for column \"{column}\" of table \"{}\"", self.table))
    }

    fn add_key(
        &mut self,
        name: Option<String>,
        columns: Vec<usize>,
        is_primary: bool,
        nulls_distinct: bool,
    ) -> Result<()> {
        if is_primary && self.keys.iter().any(|key| key.is_primary) {
            return Err(SqlError::new(
                ErrorKind::InvalidTableDefinition,
                format!("multiple primary keys for table \"{}\" are not allowed", self.table),
            ));
        }
        self.keys.push(WrittenKey { name, columns, is_primary, nulls_distinct });
        Ok(())
    }

    /// A table constraint.
    pub(super) fn constrain(&mut self, table: &str, constraint: &TableConstraint) -> Result<()> {
        if let TableConstraint::Check(check) = constraint {
            let name = check.name.as_ref().map(fold);
            self.checks.push(WrittenCheck { name, condition: (*check.expr).clone() });
            return Ok(());
        }
        if let TableConstraint::ForeignKey(key) = constraint {
            self.foreign_keys.push(WrittenForeign::read(key, key.name.as_ref(), &key.columns)?);
            return Ok(());
        }
        let key = key_constraint(constraint)?;
        let mut positions = Vec::with_capacity(key.columns.len());
        for column in &key.columns {
            let wanted = fold(column);
            let position = self.columns.iter().position(|column| column.name == wanted).ok_or_else(|| {
                SqlError::new(
                    ErrorKind::UndefinedColumn,
                    format!("column \"{wanted}\" named in key does not exist"),
                )
                .at(column.span)
            })?;
            if positions.contains(&position) {
                return Err(SqlError::new(
                    ErrorKind::DuplicateColumn,
                    format!("column \"{wanted}\" appears twice in {} constraint", key.kind()),
                )
                .at(column.span));
            }
            positions.push(position);
        }
        debug_assert_eq!(table, self.table, "constraints belong to the table being made");
        self.add_key(key.name, positions, key.is_primary, key.nulls_distinct)
    }

    fn identity(
        &mut self,
        generated: GeneratedAs,
        options: &[SequenceOptions],
        position: usize,
    ) -> Result<()> {
        let identity = match generated {
            GeneratedAs::Always => Identity::Always,
            GeneratedAs::ByDefault => Identity::ByDefault,
            GeneratedAs::ExpStored => return Err(unsupported("a generated column")),
        };
        let ty = self.columns[position].ty;
        if !matches!(ty.kind, TypeKind::Int2 | TypeKind::Int4 | TypeKind::Int8) {
            return Err(SqlError::new(
                ErrorKind::InvalidParameterValue,
                "identity column type must be smallint, integer, or bigint",
            ));
        }
        if self.columns[position].default.is_some() {
            return Err(self.contradiction("both default and identity specified", position));
        }
        self.own_sequence(ty, options)?;
        let column = self.last()?;
        column.identity = Some(identity);
        column.nullable = false;
        Ok(())
    }

    /// Gives the last column a sequence and the default that draws from it.
    fn own_sequence(&mut self, ty: ColumnType, options: &[SequenceOptions]) -> Result<()> {
        let column = self.columns.last().map_or_else(String::new, |column| column.name.clone());
        let sequence = self.identity_sequence(&column, ty, options)?;
        let default = drawn_from(self.namespace, &sequence.name);
        let column = self.last()?;
        column.default = Some(default);
        column.sequence = Some(sequence);
        Ok(())
    }

    /// A sequence for a column, under a name that is free.
    pub(super) fn identity_sequence(
        &self,
        column: &str,
        ty: ColumnType,
        options: &[SequenceOptions],
    ) -> Result<NewSequence> {
        let mut name =
            free_name(self.context, self.namespace, &bounded_name(self.table, Some(column), "seq"));
        let taken = |name: &str| {
            let sequences = self.columns.iter().filter_map(|column| column.sequence.as_ref());
            sequences.into_iter().any(|sequence| sequence.name == name)
        };
        if taken(&name) {
            name.push('1');
        }
        with_options(NewSequence { name, ..sequence_of(ty) }, options)
    }
}

/// The default that draws from a sequence.
pub(super) fn drawn_from(namespace: &str, sequence: &str) -> String {
    let qualified =
        format!("{}.{}", quote_identifier(namespace), quote_identifier(sequence)).replace('\'', "''");
    format!("nextval('{qualified}'::regclass)")
}

/// # Errors
/// 42701 for the names of system columns.
pub(super) fn refuse_reserved(name: &str) -> Result<()> {
    if !RESERVED.contains(&name) {
        return Ok(());
    }
    Err(SqlError::new(
        ErrorKind::DuplicateColumn,
        format!("column name \"{name}\" conflicts with a system column name"),
    ))
}

/// A default's SQL text, checked against the column's type; none for NULL.
pub(super) fn default_text(
    context: &PlanContext,
    name: &str,
    ty: ColumnType,
    expression: &ast::Expr,
) -> Result<Option<String>> {
    let binder = Binder::new(context);
    let (nothing, ctes) = (Relations::default(), Ctes::default());
    let env = Env::new(&nothing, &ctes, Place::Default);
    let bound = binder.bind(expression, &env).map_err(|error| match error.kind {
        ErrorKind::UndefinedColumn | ErrorKind::UndefinedTable => SqlError {
            position: error.position,
            ..SqlError::new(
                ErrorKind::FeatureNotSupported,
                "cannot use column reference in DEFAULT expression",
            )
        },
        _ => error,
    })?;
    if !bound.is_unknown()
        && !exec::functions::can_cast(bound.ty, ty, exec::functions::CastContext::Assignment)
    {
        return Err(crate::error::datatype_mismatch(format!(
            "column \"{}\" is of type {} but default expression is of type {}",
            name,
            ty.without_typmod().display(),
            bound.ty.without_typmod().display()
        ))
        .with_hint("You will need to rewrite or cast the expression."));
    }
    let unknown = bound.is_unknown();
    binder.assign(bound, name, ty)?;
    if !binder.parameter_types()?.is_empty() {
        return Err(SqlError::new(ErrorKind::UndefinedParameter, "there is no parameter $1"));
    }
    Ok(match expression {
        ast::Expr::Value(value) if value.value == Value::Null => None,
        ast::Expr::Value(_) if unknown => Some(format!("{expression}::{}", bare_name(ty))),
        other => {
            let text = binder.printed(other, &env)?;
            // A text that does not read back is of no use.
            let reads = parse_expression(&text).is_ok_and(|parsed| binder.bind(&parsed, &env).is_ok());
            Some(if reads { text } else { other.to_string() })
        }
    })
}

/// The integer type behind a serial type.
fn serial_type(data_type: &DataType) -> Option<ColumnType> {
    let DataType::Custom(name, modifiers) = data_type else { return None };
    let [ast::ObjectNamePart::Identifier(name)] = name.0.as_slice() else { return None };
    if !modifiers.is_empty() {
        return None;
    }
    match fold(name).as_str() {
        "smallserial" | "serial2" => Some(TypeKind::Int2.into()),
        "serial" | "serial4" => Some(ColumnType::INT4),
        "bigserial" | "serial8" => Some(ColumnType::INT8),
        _ => None,
    }
}

/// `<table>_<column>_<label>`, the longer part cut so that it fits.
pub(super) fn bounded_name(table: &str, column: Option<&str>, label: &str) -> String {
    let (mut table, mut column) = (table.to_owned(), column.map(str::to_owned));
    let length = |table: &str, column: &Option<String>| {
        table.len() + label.len() + 1 + column.as_ref().map_or(0, |column| column.len() + 1)
    };
    while length(&table, &column) > MAX_NAME_BYTES {
        match &mut column {
            Some(column) if column.len() >= table.len() => drop(column.pop()),
            _ => drop(table.pop()),
        }
    }
    match column {
        Some(column) => format!("{table}_{column}_{label}"),
        None => format!("{table}_{label}"),
    }
}

pub(super) fn sequence_of(ty: ColumnType) -> NewSequence {
    let maximum = match ty.kind {
        TypeKind::Int2 => i64::from(i16::MAX),
        TypeKind::Int4 => i64::from(i32::MAX),
        _ => i64::MAX,
    };
    NewSequence { name: String::new(), ty, start: 1, increment: 1, minimum: 1, maximum }
}

pub(super) fn with_options(mut sequence: NewSequence, options: &[SequenceOptions]) -> Result<NewSequence> {
    let mut start = None;
    for option in options {
        match option {
            SequenceOptions::IncrementBy(value, _) => sequence.increment = integer(value)?,
            SequenceOptions::MinValue(value) => {
                if let Some(value) = value {
                    sequence.minimum = integer(value)?;
                }
            }
            SequenceOptions::MaxValue(value) => {
                if let Some(value) = value {
                    sequence.maximum = integer(value)?;
                }
            }
            SequenceOptions::StartWith(value, _) => start = Some(integer(value)?),
            SequenceOptions::Cache(_) => {}
            SequenceOptions::Cycle(no) => {
                if !no {
                    return Err(unsupported("a cycling sequence"));
                }
            }
        }
    }
    let invalid = |message: String| Err(SqlError::new(ErrorKind::InvalidParameterValue, message));
    if sequence.increment == 0 {
        return invalid("INCREMENT must not be zero".to_owned());
    }
    if sequence.increment < 0 {
        return Err(unsupported("a descending sequence"));
    }
    if sequence.minimum >= sequence.maximum {
        return invalid(format!(
            "MINVALUE ({}) must be less than MAXVALUE ({})",
            sequence.minimum, sequence.maximum
        ));
    }
    sequence.start = start.unwrap_or(sequence.minimum);
    if sequence.start < sequence.minimum {
        return invalid(format!(
            "START value ({}) cannot be less than MINVALUE ({})",
            sequence.start, sequence.minimum
        ));
    }
    if sequence.start > sequence.maximum {
        return invalid(format!(
            "START value ({}) cannot be greater than MAXVALUE ({})",
            sequence.start, sequence.maximum
        ));
    }
    Ok(sequence)
}

fn integer(expression: &ast::Expr) -> Result<i64> {
    let text = expression.to_string();
    text.replace(' ', "").parse().map_err(|_| syntax(format!("invalid sequence parameter {text}")))
}
