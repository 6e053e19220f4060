//! Lookups by a unique key: the conjuncts of a predicate that fix every column of one lead to the one row that can
//! pass.
//!
//! What it is not: the predicate. The row found is judged by all of it.
//!
//! Invariant: a table has at most one visible row of a key without NULLs.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};
use datafusion::common::{Result as DfResult, internal_err};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, conjunction, conjunction_opt, split_conjunction};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use proto::catalog::{KeyMeta, TableMeta};
use proto::{Oid, TypeKind};
use segments::TableSnapshot;

use super::Piece;
use crate::engine::Values;
use crate::error::{raise, raise_classified};

/// The key that a predicate asks for.
#[derive(Clone, Debug)]
pub(super) struct KeyProbe {
    /// OID of the key's index.
    index: Oid,
    nulls_distinct: bool,
    /// One value per key column, in key order.
    values: Vec<Arc<dyn PhysicalExpr>>,
    /// The conjuncts that fix the key, and the others.
    conditions: Vec<Arc<dyn PhysicalExpr>>,
    rest: Option<Arc<dyn PhysicalExpr>>,
}

impl KeyProbe {
    /// The probe of a predicate over a table's columns; none when it leaves the key open.
    pub(super) fn of(predicate: &Arc<dyn PhysicalExpr>, table: &TableMeta) -> Option<Self> {
        table.keys().find_map(|key| Self::of_key(key, predicate, table))
    }

    fn of_key(key: KeyMeta<'_>, predicate: &Arc<dyn PhysicalExpr>, table: &TableMeta) -> Option<Self> {
        let schema = table.arrow_schema();
        let mut open = split_conjunction(predicate);
        let mut probe = Self {
            index: key.index_oid,
            nulls_distinct: key.nulls_distinct,
            values: Vec::new(),
            conditions: Vec::new(),
            rest: None,
        };
        for position in table.positions(key.columns) {
            let bytes_decide = matches!(
                table.columns[position].ty.kind,
                TypeKind::Int2 | TypeKind::Int4 | TypeKind::Int8 | TypeKind::Text | TypeKind::Varchar
            );
            if !bytes_decide || table.columns[position].ty.array {
                return None;
            }
            let (at, value) = open.iter().enumerate().find_map(|(at, conjunct)| {
                let value = value_of(conjunct, position)?;
                let same = value.data_type(&schema).ok()? == *schema.field(position).data_type();
                same.then(|| (at, Arc::clone(value)))
            })?;
            probe.values.push(value);
            probe.conditions.push(Arc::clone(open.remove(at)));
        }
        probe.rest = conjunction_opt(open.into_iter().cloned());
        (!probe.values.is_empty()).then_some(probe)
    }

    /// The same probe with a run's values in it.
    pub(super) fn with_values(&self, values: &Values<'_>) -> DfResult<Self> {
        Ok(Self {
            index: self.index,
            nulls_distinct: self.nulls_distinct,
            values: self.values.iter().map(|value| values.values_in(value)).collect::<DfResult<_>>()?,
            conditions: self.conditions.clone(),
            rest: self.rest.clone(),
        })
    }

    /// The conjuncts that fix the key.
    pub(super) fn condition(&self) -> Arc<dyn PhysicalExpr> {
        conjunction(self.conditions.iter().cloned())
    }

    /// OID of the key's index.
    pub(super) const fn index(&self) -> Oid {
        self.index
    }

    /// The other conjuncts.
    pub(super) const fn rest(&self) -> Option<&Arc<dyn PhysicalExpr>> {
        self.rest.as_ref()
    }

    /// Where the row of the key is; none when there is none.
    pub(super) fn piece(&self, snapshot: &TableSnapshot) -> DfResult<Option<Piece>> {
        let Some(key) = self.key()? else { return Ok(None) };
        // The plan is made for this version of the table.
        let Some(meta) = snapshot.table.key(self.index) else {
            return internal_err!("a lookup by a key that is gone");
        };
        let found = snapshot.find(meta, &[Some(&key)]).map_err(|error| raise_classified(&error))?;
        Ok(found.into_iter().flatten().next().and_then(|row| {
            let segment = snapshot.segments.iter().position(|view| view.id() == row.segment)?;
            let ordinal = row.ordinal as usize;
            Some(Piece { segment, rows: ordinal..ordinal + 1 })
        }))
    }

    /// The bytes of the key; none when a value is NULL, which equals nothing.
    fn key(&self) -> DfResult<Option<Box<[u8]>>> {
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let one_row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.values.len());
        for value in &self.values {
            let column = value.evaluate(&one_row)?.into_array(1)?;
            if column.is_null(0) {
                return Ok(None);
            }
            columns.push(column);
        }
        let fields: Vec<Field> =
            columns.iter().map(|c| Field::new("", c.data_type().clone(), false)).collect();
        let positions: Vec<usize> = (0..columns.len()).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        let keys = proto::key::encode_unique_keys(&batch, &positions, self.nulls_distinct);
        Ok(keys.map_err(raise)?.pop().flatten())
    }
}

/// What a conjunct says the column at a position equals, when that is one value for all rows.
fn value_of(conjunct: &Arc<dyn PhysicalExpr>, position: usize) -> Option<&Arc<dyn PhysicalExpr>> {
    let equality = conjunct.downcast_ref::<BinaryExpr>().filter(|binary| *binary.op() == Operator::Eq)?;
    let is_column = |side: &Arc<dyn PhysicalExpr>| {
        side.downcast_ref::<Column>().is_some_and(|column| column.index() == position)
    };
    let value = match (equality.left(), equality.right()) {
        (left, right) if is_column(left) => right,
        (left, right) if is_column(right) => left,
        _ => return None,
    };
    (collect_columns(value).is_empty() && !is_volatile(value)).then_some(value)
}
