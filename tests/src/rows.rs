//! Two tables for tests of nodes, the content of a row, computed from its key number and version, and distances by
//! their definition.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type};
use proto::catalog::{Column, PrimaryKey, TableMeta};
use proto::{ChannelId, ColumnType, DatabaseId, DistanceMetric, Oid, TableId};

/// Dimensions of the vector column of each table.
pub(crate) const DIMENSIONS: [usize; 2] = [5, 33];
/// Position of the vector column of each table.
pub(crate) const VECTOR_COLUMN: [usize; 2] = [2, 3];

fn column(id: u32, name: &str, ty: ColumnType, nullable: bool) -> Column {
    Column { id, name: name.to_owned(), ty, nullable, default: None, identity: None, missing: None }
}

/// Table 0 has an integer key, table 1 a key of text and integer; `first_oid` and the two behind it are theirs.
pub(crate) fn table_meta(
    table: usize,
    database: DatabaseId,
    channel: ChannelId,
    first_oid: Oid,
) -> TableMeta {
    let vector = ColumnType::vector(DIMENSIONS[table] as i32);
    let (columns, key) = if table == 0 {
        let columns = vec![
            column(1, "id", ColumnType::INT8, false),
            column(2, "note", ColumnType::TEXT, true),
            column(3, "v", vector, true),
        ];
        (columns, vec![1])
    } else {
        let columns = vec![
            column(1, "name", ColumnType::TEXT, false),
            column(2, "part", ColumnType::INT4, false),
            column(3, "weight", ColumnType::FLOAT8, true),
            column(4, "v", vector, true),
        ];
        (columns, vec![1, 2])
    };
    let name = ["numbers", "parts"][table];
    TableMeta {
        id: TableId(u64::from(first_oid.0)),
        database,
        namespace: "public".to_owned(),
        name: name.to_owned(),
        type_oid: Oid(first_oid.0 + 1),
        schema_version: 1,
        next_column_id: columns.len() as u32 + 1,
        columns,
        primary_key: Some(PrimaryKey {
            oid: Oid(first_oid.0 + 2),
            index_oid: Oid(first_oid.0 + 3),
            name: format!("{name}_pkey"),
            columns: key,
        }),
        uniques: Vec::new(),
        foreign_keys: Vec::new(),
        indexes: Vec::new(),
        checks: Vec::new(),
        former: Vec::new(),
        rewritten: 0,
        options: proto::catalog::TableOptions::default(),
        channel,
    }
}

/// The vector of a row; every seventh is NULL, every eleventh zero.
pub(crate) fn vector(table: usize, number: u32, version: u32) -> Option<Vec<f32>> {
    let mark = number.wrapping_mul(31).wrapping_add(version.wrapping_mul(17));
    if mark % 7 == 3 {
        return None;
    }
    if mark % 11 == 5 {
        return Some(vec![0.0; DIMENSIONS[table]]);
    }
    Some((0..DIMENSIONS[table] as u32).map(|at| ((mark + at * at * 13) % 97) as f32 / 8.0 - 5.0).collect())
}

fn note(number: u32, version: u32) -> Option<String> {
    (!(number + version).is_multiple_of(5))
        .then(|| format!("{number} at {version} {}", "é".repeat((number % 9) as usize)))
}

fn weight(number: u32, version: u32) -> Option<f64> {
    (!(number + version).is_multiple_of(4)).then(|| f64::from(number) + f64::from(version) / 16.0)
}

fn name(number: u32) -> String {
    format!("n{}", number % 13)
}

/// A row as one text, for comparison.
pub(crate) fn text(table: usize, number: u32, version: u32) -> String {
    let vector = vector(table, number, version);
    if table == 0 {
        format!("{number} {:?} {vector:?}", note(number, version))
    } else {
        format!("{} {number} {:?} {vector:?}", name(number), weight(number, version))
    }
}

/// Rows as a batch in the table's column order.
pub(crate) fn batch(meta: &TableMeta, table: usize, rows: &[(u32, u32)]) -> RecordBatch {
    let schema = meta.arrow_schema();
    let vectors = vectors(schema.field(VECTOR_COLUMN[table]).data_type(), table, rows);
    let numbers = rows.iter().map(|row| row.0);
    let columns: Vec<ArrayRef> = if table == 0 {
        let notes = rows.iter().map(|(number, version)| note(*number, *version));
        vec![
            Arc::new(Int64Array::from_iter_values(numbers.map(i64::from))),
            Arc::new(notes.collect::<StringArray>()),
            vectors,
        ]
    } else {
        let weights = rows.iter().map(|(number, version)| weight(*number, *version));
        vec![
            Arc::new(StringArray::from_iter_values(numbers.clone().map(name))),
            Arc::new(Int32Array::from_iter_values(numbers.map(|number| number as i32))),
            Arc::new(weights.collect::<Float64Array>()),
            vectors,
        ]
    };
    RecordBatch::try_new(schema, columns).expect("columns of the table's types")
}

fn vectors(data_type: &DataType, table: usize, rows: &[(u32, u32)]) -> ArrayRef {
    let DataType::FixedSizeList(item, size) = data_type else {
        panic!("a vector column is a fixed-size list")
    };
    let vectors: Vec<Option<Vec<f32>>> = rows.iter().map(|row| vector(table, row.0, row.1)).collect();
    let nulls: NullBuffer = vectors.iter().map(Option::is_some).collect();
    let values: Vec<f32> =
        vectors.into_iter().flat_map(|vector| vector.unwrap_or_else(|| vec![0.0; *size as usize])).collect();
    let values = Arc::new(Float32Array::from(values));
    Arc::new(FixedSizeListArray::new(Arc::clone(item), *size, values, Some(nulls)))
}

/// The key number of each row of a batch, with the row as text.
pub(crate) fn read(table: usize, batch: &RecordBatch) -> Vec<(u32, String)> {
    (0..batch.num_rows()).map(|row| read_row(table, batch, row)).collect()
}

fn read_row(table: usize, batch: &RecordBatch, row: usize) -> (u32, String) {
    let vectors = batch.column(VECTOR_COLUMN[table]).as_fixed_size_list();
    let vector: Option<Vec<f32>> =
        vectors.is_valid(row).then(|| vectors.value(row).as_primitive::<Float32Type>().values().to_vec());
    if table == 0 {
        let number = batch.column(0).as_primitive::<Int64Type>().value(row) as u32;
        let notes = batch.column(1).as_string::<i32>();
        let note = notes.is_valid(row).then(|| notes.value(row).to_owned());
        (number, format!("{number} {note:?} {vector:?}"))
    } else {
        let number = batch.column(1).as_primitive::<Int32Type>().value(row) as u32;
        let weights = batch.column(2).as_primitive::<Float64Type>();
        let weight = weights.is_valid(row).then(|| weights.value(row));
        let name = batch.column(0).as_string::<i32>().value(row);
        (number, format!("{name} {number} {weight:?} {vector:?}"))
    }
}

/// A number that stands for all of a row's values: equal for equal rows.
pub(crate) fn fingerprint(table: usize, number: u32, version: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    number.hash(&mut hasher);
    if table == 0 {
        note(number, version).as_deref().hash(&mut hasher);
    } else {
        name(number).hash(&mut hasher);
        weight(number, version).map(f64::to_bits).hash(&mut hasher);
    }
    hash_vector(vector(table, number, version).as_deref(), &mut hasher);
    hasher.finish()
}

fn hash_vector(vector: Option<&[f32]>, hasher: &mut DefaultHasher) {
    vector.is_some().hash(hasher);
    vector.unwrap_or_default().iter().for_each(|element| element.to_bits().hash(hasher));
}

/// The key number of each row of a batch that begins with the table's columns.
pub(crate) fn numbers(table: usize, batch: &RecordBatch) -> Vec<u32> {
    if table == 0 {
        batch.column(0).as_primitive::<Int64Type>().values().iter().map(|number| *number as u32).collect()
    } else {
        batch.column(1).as_primitive::<Int32Type>().values().iter().map(|number| *number as u32).collect()
    }
}

/// The key number and fingerprint of a row of a batch.
pub(crate) fn identify(table: usize, batch: &RecordBatch, row: usize) -> (u32, u64) {
    let mut hasher = DefaultHasher::new();
    let number = if table == 0 {
        let number = batch.column(0).as_primitive::<Int64Type>().value(row) as u32;
        number.hash(&mut hasher);
        let notes = batch.column(1).as_string::<i32>();
        notes.is_valid(row).then(|| notes.value(row)).hash(&mut hasher);
        number
    } else {
        let number = batch.column(1).as_primitive::<Int32Type>().value(row) as u32;
        number.hash(&mut hasher);
        batch.column(0).as_string::<i32>().value(row).hash(&mut hasher);
        let weights = batch.column(2).as_primitive::<Float64Type>();
        weights.is_valid(row).then(|| weights.value(row).to_bits()).hash(&mut hasher);
        number
    };
    let vectors = batch.column(VECTOR_COLUMN[table]).as_fixed_size_list();
    let value = vectors.is_valid(row).then(|| vectors.value(row));
    let elements = value.as_ref().map(|value| value.as_primitive::<Float32Type>().values().as_ref());
    hash_vector(elements, &mut hasher);
    (number, hasher.finish())
}

/// The distance by its definition.
pub(crate) fn distance(metric: DistanceMetric, left: &[f32], right: &[f32]) -> f64 {
    let pairs = || left.iter().zip(right).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    match metric {
        DistanceMetric::L2 => pairs().map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt(),
        DistanceMetric::InnerProduct => -pairs().map(|(a, b)| a * b).sum::<f64>(),
        DistanceMetric::L1 => pairs().map(|(a, b)| (a - b).abs()).sum(),
        DistanceMetric::Cosine => {
            let norm = |values: &[f32]| values.iter().map(|a| f64::from(*a) * f64::from(*a)).sum::<f64>();
            1.0 - pairs().map(|(a, b)| a * b).sum::<f64>() / (norm(left) * norm(right)).sqrt()
        }
    }
}
