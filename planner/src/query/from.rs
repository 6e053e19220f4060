//! FROM: tables, CTEs, subqueries and functions as relations with qualifiers of their own.

use std::sync::Arc;

use datafusion::common::{Column, ScalarValue, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableSource};
use exec::functions::catalog::builtin;
use exec::table::{Columns as TableColumns, past_table_source, table_source};
use proto::catalog::TableMeta;
use proto::{ColumnType, ErrorKind, SqlError, Timestamp, TypeKind};
use sqlparser::ast::{self, TableFactor, TableWithJoins};

use super::rows::{RowFunction, too_many_aliases};
use super::{Columns, Planned};
use crate::binder::Binder;
use crate::environment::{Ctes, Outside};
use crate::error::{At, Result, from_datafusion, syntax, unsupported};
use crate::expression::constant;
use crate::instants::Clause;
use crate::names::{NamedRelation, fold, qualified, relation_of};
use crate::scope::{Relation, Relations, Scope, ScopeColumn, TABLEOID};

/// A plan and the columns it offers.
#[derive(Clone, Debug)]
pub(crate) struct FromItem {
    pub plan: LogicalPlan,
    pub relations: Relations,
    /// The plan contains the relations before it already (a lateral item).
    pub joined: bool,
}

impl FromItem {
    const fn new(plan: LogicalPlan, relations: Relations) -> Self {
        Self { plan, relations, joined: false }
    }
}

impl Binder<'_> {
    /// The relations of a FROM clause; one empty row without one.
    pub(crate) fn relations_of(
        &self,
        tables: &[TableWithJoins],
        outside: Outside<'_>,
    ) -> Result<(LogicalPlan, Relations)> {
        let item = self.beside_items(None, tables, outside)?;
        match item {
            Some(item) => Ok((item.plan, item.relations)),
            None => {
                let plan = LogicalPlanBuilder::empty(true).build().map_err(from_datafusion)?;
                Ok((plan, Relations::default()))
            }
        }
    }

    /// Comma-separated FROM items behind `start`.
    pub(crate) fn beside_items(
        &self,
        start: Option<FromItem>,
        tables: &[TableWithJoins],
        outside: Outside<'_>,
    ) -> Result<Option<FromItem>> {
        let mut all = start;
        for table in tables {
            let first = self.factor(&table.relation, all.as_ref(), false, outside)?;
            let mut item = first;
            // A join tree is planned by itself unless its first part is lateral and holds the rest already.
            for join in &table.joins {
                item = self.join(item, join, all.as_ref(), outside)?;
            }
            all = Some(match all {
                Some(left) if !item.joined => self.cross(left, item)?,
                _ => item,
            });
        }
        Ok(all)
    }

    /// One relation; `left` is what a lateral one may name.
    pub(super) fn factor(
        &self,
        factor: &TableFactor,
        left: Option<&FromItem>,
        outer_join: bool,
        outside: Outside<'_>,
    ) -> Result<FromItem> {
        match factor {
            TableFactor::Table { name, alias, args, version, sample, with_ordinality, .. } => {
                if version.is_some() {
                    return Err(unsupported("this form of AS OF"));
                }
                if sample.is_some() {
                    return Err(unsupported("TABLESAMPLE"));
                }
                if let Some(args) = args {
                    let function = RowFunction {
                        name,
                        args: &args.args,
                        alias: alias.as_ref(),
                        with_ordinality: *with_ordinality,
                    };
                    return self.function_relation(&function, left, outer_join, outside);
                }
                let (plan, relations) = self.named_relation(name, alias.as_ref(), outside)?;
                Ok(FromItem::new(plan, relations))
            }
            TableFactor::Derived { lateral, subquery, alias, sample } => {
                if sample.is_some() {
                    return Err(unsupported("TABLESAMPLE"));
                }
                if *lateral && let Some(left) = left {
                    return self.lateral(left, subquery, alias.as_ref(), outer_join, outside);
                }
                let planned = self.query(subquery, outside)?;
                self.derived(planned, alias.as_ref())
            }
            TableFactor::Function { name, args, alias, with_ordinality, .. } => {
                let function =
                    RowFunction { name, args, alias: alias.as_ref(), with_ordinality: *with_ordinality };
                self.function_relation(&function, left, outer_join, outside)
            }
            TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality, .. } => {
                let args: Vec<ast::FunctionArg> = array_exprs
                    .iter()
                    .map(|array| ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(array.clone())))
                    .collect();
                let name = ast::ObjectName::from(vec![ast::Ident::new("unnest")]);
                let function = RowFunction {
                    name: &name,
                    args: &args,
                    alias: alias.as_ref(),
                    with_ordinality: *with_ordinality,
                };
                self.function_relation(&function, left, outer_join, outside)
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                let mut item = self.factor(&table_with_joins.relation, left, outer_join, outside)?;
                for join in &table_with_joins.joins {
                    item = self.join(item, join, left, outside)?;
                }
                Ok(item)
            }
            other => Err(unsupported(format!("the FROM item {}", kind_of(other)))),
        }
    }

    /// A table, system relation or CTE by name.
    pub(crate) fn named_relation(
        &self,
        name: &ast::ObjectName,
        alias: Option<&ast::TableAlias>,
        outside: Outside<'_>,
    ) -> Result<(LogicalPlan, Relations)> {
        self.add_relations(1)?;
        let clause = self.clause_of(name, alias)?;
        let name = qualified(name, self.context)?;
        let shown = alias.map_or_else(|| name.name.clone(), |alias| fold(&alias.name));
        if name.schema.is_none()
            && let Some(planned) = self.cte(outside.ctes, &name.name)?
        {
            if let Clause::Own(_) = clause {
                return Err(unsupported("FOR SYSTEM_TIME AS OF on a WITH query"));
            }
            let item = self.derived_as(planned, shown, alias)?;
            return Ok((item.plan, item.relations));
        }
        let (instant, own) = match clause {
            Clause::Own(instant) => (instant, true),
            Clause::Absent => (self.context.instants.statement.clone(), false),
        };
        let catalog = instant.as_ref().map_or(&self.context.catalog, |instant| &instant.catalog);
        let (plan, mut relation) = match relation_of(catalog, &name, self.context)? {
            NamedRelation::Table(table) => match &instant {
                Some(instant) => self.past_table(&table, &shown, instant.ts)?,
                None if self.identified.get() => self.table(&table, &shown, TableColumns::WithIdentity)?,
                None => self.table(&table, &shown, TableColumns::User)?,
            },
            NamedRelation::System(_) if own => {
                return Err(unsupported("FOR SYSTEM_TIME AS OF on a system relation"));
            }
            NamedRelation::System(provider) => {
                let scanned = self.scan(&shown, provider_as_source(provider))?;
                let schema = name.schema.as_deref().unwrap_or("pg_catalog");
                with_tableoid(scanned, builtin::relation(schema, &name.name).map(|found| found.oid))?
            }
        };
        if alias.is_none() {
            relation.schema = relation.table.as_ref().map(|table| table.namespace.clone()).or(name.schema);
        }
        rename(&mut relation, alias)?;
        Ok((plan, Relations { relations: vec![relation], merged: Vec::new() }))
    }

    fn cte(&self, ctes: &Ctes, name: &str) -> Result<Option<Planned>> {
        let Some(cte) = ctes.find(name) else { return Ok(None) };
        if !cte.returns {
            return Err(SqlError::new(
                ErrorKind::FeatureNotSupported,
                format!("WITH query \"{name}\" does not have a RETURNING clause"),
            ));
        }
        self.add_relations(cte.relations)?;
        Ok(Some(Planned { plan: cte.plan.clone(), columns: cte.columns.clone() }))
    }

    /// A scan of a user table.
    pub(crate) fn table(
        &self,
        table: &Arc<TableMeta>,
        alias: &str,
        columns: TableColumns,
    ) -> Result<(LogicalPlan, Relation)> {
        self.use_table(table.id);
        self.scanned(table, alias, table_source(Arc::clone(table), columns))
    }

    /// A scan of a user table as it was at an instant.
    fn past_table(
        &self,
        table: &Arc<TableMeta>,
        alias: &str,
        at: Timestamp,
    ) -> Result<(LogicalPlan, Relation)> {
        self.scanned(table, alias, past_table_source(Arc::clone(table), at))
    }

    fn scanned(
        &self,
        table: &Arc<TableMeta>,
        alias: &str,
        source: Arc<dyn TableSource>,
    ) -> Result<(LogicalPlan, Relation)> {
        let (plan, mut relation) = self.scan(alias, source)?;
        for (column, meta) in relation.columns.iter_mut().zip(&table.columns) {
            column.origin = Some((table.id, meta.id));
            column.ty = meta.ty;
        }
        for column in relation.columns.iter_mut().skip(table.columns.len()) {
            column.hidden = true;
        }
        relation.table = Some(Arc::clone(table));
        Ok((plan, relation))
    }

    fn scan(&self, alias: &str, source: Arc<dyn TableSource>) -> Result<(LogicalPlan, Relation)> {
        let qualifier = self.qualifier(alias);
        let reference = TableReference::bare(qualifier);
        let schema = source.schema();
        let columns = schema
            .fields()
            .iter()
            .map(|field| ScopeColumn {
                name: field.name().clone(),
                ty: ColumnType::of_field(field),
                column: Column::new(Some(reference.clone()), field.name().clone()),
                origin: None,
                hidden: false,
            })
            .collect();
        let plan = LogicalPlanBuilder::scan(reference, source, None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        Ok((plan, Relation { alias: alias.to_owned(), schema: None, columns, table: None }))
    }

    fn derived(&self, planned: Planned, alias: Option<&ast::TableAlias>) -> Result<FromItem> {
        let name = alias.map_or_else(String::new, |alias| fold(&alias.name));
        self.derived_as(planned, name, alias)
    }

    /// A planned query as a relation.
    pub(super) fn derived_as(
        &self,
        planned: Planned,
        name: String,
        alias: Option<&ast::TableAlias>,
    ) -> Result<FromItem> {
        let qualifier = self.qualifier(if name.is_empty() { "unnamed_subquery" } else { &name });
        let reference = TableReference::bare(qualifier);
        let plan = LogicalPlanBuilder::from(distinctly_named(planned.plan, &planned.columns)?)
            .alias(reference.clone())
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        let columns = planned
            .columns
            .into_iter()
            .zip(plan.schema().columns())
            .map(|(column, placed)| ScopeColumn {
                name: column.name,
                ty: column.ty,
                column: placed,
                origin: None,
                hidden: false,
            })
            .collect();
        let mut relation = Relation { alias: name, schema: None, columns, table: None };
        rename(&mut relation, alias)?;
        Ok(FromItem::new(plan, Relations { relations: vec![relation], merged: Vec::new() }))
    }

    /// What a query inside FROM sees outside itself, when it may look at the relations before it.
    pub(super) const fn beside<'s>(scope: &'s Scope<'s>, outside: Outside<'s>) -> Outside<'s> {
        Outside { ctes: outside.ctes, scope: Some(scope) }
    }
}

/// A query whose columns differ by qualifier only needs other names before it gets one qualifier.
fn distinctly_named(plan: LogicalPlan, columns: &Columns) -> Result<LogicalPlan> {
    let mut unique = super::UniqueNames::default();
    let picked: Vec<String> = columns.iter().map(|column| unique.pick(&column.column.name)).collect();
    let same = columns.iter().zip(&picked).all(|(column, name)| column.column.name == *name);
    if same && plan.schema().fields().len() == columns.len() {
        return Ok(plan);
    }
    let outputs = columns
        .iter()
        .zip(picked)
        .map(|(column, name)| datafusion::logical_expr::Expr::Column(column.column.clone()).alias(name))
        .collect();
    super::project(plan, outputs)
}

/// A system relation with its OID as the hidden column `tableoid`.
fn with_tableoid(
    (plan, mut relation): (LogicalPlan, Relation),
    oid: Option<u32>,
) -> Result<(LogicalPlan, Relation)> {
    let reference = relation.columns.first().and_then(|column| column.column.relation.clone());
    let (Some(oid), Some(reference)) = (oid, reference) else { return Ok((plan, relation)) };
    let mut outputs: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let ty: ColumnType = TypeKind::Oid.into();
    let value = constant(ScalarValue::UInt32(Some(oid)), ty);
    outputs.push(value.alias_qualified(Some(reference.clone()), TABLEOID));
    relation.columns.push(ScopeColumn {
        name: TABLEOID.to_owned(),
        ty,
        column: Column::new(Some(reference), TABLEOID),
        origin: None,
        hidden: true,
    });
    Ok((super::project(plan, outputs)?, relation))
}

/// Gives a relation the column names of its alias.
pub(super) fn rename(relation: &mut Relation, alias: Option<&ast::TableAlias>) -> Result<()> {
    let mut names: Vec<String> = relation.columns.iter().map(|column| column.name.clone()).collect();
    column_aliases(&mut names, alias, &relation.alias)?;
    for (column, name) in relation.columns.iter_mut().zip(names) {
        column.name = name;
    }
    Ok(())
}

/// Puts the column names of an alias over a relation's own.
pub(super) fn column_aliases(
    names: &mut [String],
    alias: Option<&ast::TableAlias>,
    shown: &str,
) -> Result<()> {
    let Some(alias) = alias else { return Ok(()) };
    if alias.columns.len() > names.len() {
        return Err(too_many_aliases(shown, names.len(), alias.columns.len()).at(alias.name.span));
    }
    for (name, given) in names.iter_mut().zip(&alias.columns) {
        if given.data_type.is_some() {
            return Err(unsupported("a column definition list"));
        }
        *name = fold(&given.name);
    }
    Ok(())
}

/// # Errors
/// 42712 when two relations of one FROM clause have one name.
pub(super) fn check_aliases(left: &Relations, right: &Relations) -> Result<()> {
    for relation in &right.relations {
        let taken = |other: &Relation| {
            other.alias == relation.alias
                && !relation.alias.is_empty()
                && (other.schema.is_none() || relation.schema.is_none() || other.schema == relation.schema)
        };
        if left.relations.iter().any(taken) {
            return Err(SqlError::new(
                ErrorKind::DuplicateAlias,
                format!("table name \"{}\" specified more than once", relation.alias),
            ));
        }
    }
    Ok(())
}

fn kind_of(factor: &TableFactor) -> &'static str {
    match factor {
        TableFactor::NestedJoin { .. } => "with an alias over a join",
        TableFactor::JsonTable { .. } => "JSON_TABLE",
        TableFactor::XmlTable { .. } => "XMLTABLE",
        TableFactor::Pivot { .. } | TableFactor::Unpivot { .. } => "PIVOT",
        _ => "of this kind",
    }
}

/// A FROM item that must be there.
pub(crate) fn required(item: Option<FromItem>) -> Result<FromItem> {
    item.ok_or_else(|| syntax("syntax error: empty FROM"))
}
