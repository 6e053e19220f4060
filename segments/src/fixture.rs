//! A table, random rows and naive answers for the tests of this crate.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeListBuilder, Float32Builder, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field};
use proto::catalog::{Column, PrimaryKey, TableMeta};
use proto::{ChannelId, ColumnType, DatabaseId, DistanceMetric, Oid, TableId};
use rand::Rng;

use crate::distance::distance;

pub(crate) const DIMENSIONS: usize = 5;
/// Position of the vector column.
pub(crate) const VECTOR: usize = 3;

/// `t(id bigint primary key, title text, price double precision, v vector(5), flag boolean, at timestamptz)`.
pub(crate) fn table() -> Arc<TableMeta> {
    let types = [
        ("id", ColumnType::INT8),
        ("title", ColumnType::TEXT),
        ("price", ColumnType::FLOAT8),
        ("v", ColumnType::vector(DIMENSIONS as i32)),
        ("flag", ColumnType::BOOL),
        ("at", ColumnType::TIMESTAMPTZ),
    ];
    let columns = types.into_iter().zip(1..).map(|((name, ty), id)| Column {
        id,
        name: name.to_owned(),
        ty,
        nullable: name != "id",
        default: None,
        identity: None,
        missing: None,
    });
    Arc::new(TableMeta {
        id: TableId(16_400),
        database: DatabaseId(5),
        namespace: "public".to_owned(),
        name: "t".to_owned(),
        type_oid: Oid(16_402),
        schema_version: 3,
        next_column_id: 7,
        columns: columns.collect(),
        primary_key: Some(PrimaryKey {
            oid: Oid(16_403),
            index_oid: Oid(16_404),
            name: "t_pkey".to_owned(),
            columns: vec![1],
        }),
        uniques: Vec::new(),
        foreign_keys: Vec::new(),
        indexes: Vec::new(),
        checks: Vec::new(),
        former: Vec::new(),
        rewritten: 0,
        options: proto::catalog::TableOptions::default(),
        channel: ChannelId(1),
    })
}

/// The table with another list of columns (ids ascend with the position), without a key.
pub(crate) fn table_of(types: &[ColumnType]) -> Arc<TableMeta> {
    let columns = types.iter().zip(1..).map(|(ty, id)| Column {
        id,
        name: format!("c{id}"),
        ty: *ty,
        nullable: true,
        default: None,
        identity: None,
        missing: None,
    });
    Arc::new(TableMeta { columns: columns.collect(), primary_key: None, ..(*table()).clone() })
}

/// One row of the table, as the twin keeps it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) title: Option<String>,
    pub(crate) price: Option<f64>,
    pub(crate) vector: Option<Vec<f32>>,
}

impl Row {
    pub(crate) fn random(id: i64, random: &mut impl Rng) -> Self {
        let vector = match random.random_range(0..10) {
            0 => None,
            1 => Some(vec![0.0; DIMENSIONS]),
            // Few different numbers, so that ties are common.
            _ => Some((0..DIMENSIONS).map(|_| random.random_range(-2..3) as f32).collect()),
        };
        Self {
            id,
            title: random.random_bool(0.9).then(|| format!("title {}", random.random_range(0..50))),
            price: random.random_bool(0.9).then(|| random.random_range(0.0..9.0)),
            vector,
        }
    }

    /// The distance as `Hit` tells it.
    pub(crate) fn distance(&self, metric: DistanceMetric, query: &[f32]) -> Option<f64> {
        self.vector.as_ref().map(|vector| distance(metric, query, vector))
    }
}

/// Rows as a batch of the table.
pub(crate) fn batch(rows: &[Row]) -> RecordBatch {
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let mut vectors = FixedSizeListBuilder::new(Float32Builder::new(), DIMENSIONS as i32).with_field(item);
    for row in rows {
        let elements = row.vector.clone().unwrap_or_else(|| vec![f32::NAN; DIMENSIONS]);
        vectors.values().append_slice(&elements);
        vectors.append(row.vector.is_some());
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| Some(row.id)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.title.as_deref()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.price).collect::<Float64Array>()),
        Arc::new(vectors.finish()),
        Arc::new(rows.iter().map(|row| row.price.map(|price| price > 4.0)).collect::<BooleanArray>()),
        Arc::new(
            rows.iter()
                .map(|row| Some(row.id * 1000))
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        ),
    ];
    RecordBatch::try_new(table().arrow_schema(), columns).expect("columns of the table")
}

/// The key bytes of an id.
pub(crate) fn key(id: i64) -> Box<[u8]> {
    (id ^ i64::MIN).to_be_bytes().into()
}

/// The ids in a batch whose first column is `id`.
pub(crate) fn ids(batch: &RecordBatch) -> Vec<i64> {
    use arrow::array::AsArray;
    batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec()
}
