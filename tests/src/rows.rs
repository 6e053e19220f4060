//! Two tables for tests of nodes, the content of a row, computed from its key number and version, and distances by
//! their definition.
//!
//! A version says which values of the second unique key and of the foreign key its row has (`version`), so that a map
//! from numbers to versions says everything about a table. Rows of the second table refer to the code of the first.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type};
use proto::catalog::{
    Column, ForeignKey, IndexMeta, IndexMethod, MatchType, PrimaryKey, ReferentialAction, TableMeta,
    UniqueKey,
};
use proto::key::encode_unique_keys;
use proto::{ChannelId, ColumnType, DatabaseId, DistanceMetric, Oid, TableId};

/// Dimensions of the vector column of each table.
pub(crate) const DIMENSIONS: [usize; 2] = [5, 33];
/// Position of the vector column of each table.
pub(crate) const VECTOR_COLUMN: [usize; 2] = [2, 3];

/// OIDs of a table, its constraints and its indexes.
pub(crate) const OIDS: u32 = 8;
/// Names of the tables.
pub(crate) const NAMES: [&str; 2] = ["numbers", "parts"];
/// Codes are numbers from 1 to this one.
pub(crate) const CODES: u32 = (1 << CODE_BITS) - 1;
/// Versions of one row that can be told apart.
pub(crate) const SERIALS: u32 = 1 << (32 - 2 * CODE_BITS);
const CODE_BITS: u32 = 10;

/// Key number to version.
pub(crate) type Rows = BTreeMap<u32, u32>;

/// The version with a serial number, a code and the code of the row that is referred to; 0 is NULL.
pub(crate) fn version(serial: u32, code: u32, reference: u32) -> u32 {
    assert!(serial < SERIALS && code <= CODES && reference <= CODES, "{serial} {code} {reference}");
    code << (32 - CODE_BITS) | reference << (32 - 2 * CODE_BITS) | serial
}

/// The value of the second unique key.
pub(crate) fn code(version: u32) -> Option<u32> {
    Some(version >> (32 - CODE_BITS)).filter(|code| *code > 0)
}

/// The code that a row of the second table refers to.
pub(crate) fn reference(version: u32) -> Option<u32> {
    Some(version >> (32 - 2 * CODE_BITS) & CODES).filter(|reference| *reference > 0)
}

/// The codes of rows.
pub(crate) fn codes(rows: &Rows) -> BTreeSet<u32> {
    rows.values().filter_map(|version| code(*version)).collect()
}

/// Whether no code is there twice in a table, and every row refers to one that is there.
pub(crate) fn check_keys(tables: [&Rows; 2]) -> Result<(), String> {
    for (table, rows) in tables.iter().enumerate() {
        let mut seen = BTreeMap::new();
        for (number, version) in *rows {
            if let Some(code) = code(*version)
                && let Some(other) = seen.insert(code, number)
            {
                return Err(format!("duplicate: table {table}: rows {other} and {number} have code {code}"));
            }
        }
    }
    let there = codes(tables[0]);
    let refers =
        |(_, version): &(&u32, &u32)| reference(**version).is_some_and(|code| !there.contains(&code));
    tables[1].iter().find(refers).map_or(Ok(()), |(number, version)| {
        Err(format!(
            "orphan: row {number} of table 1 refers to code {:?}, which is not there",
            reference(*version)
        ))
    })
}

fn column(id: u32, name: &str, ty: ColumnType, nullable: bool) -> Column {
    Column { id, name: name.to_owned(), ty, nullable, default: None, identity: None, missing: None }
}

/// Both tables, with OIDs from the first one on.
pub(crate) fn table_metas(database: DatabaseId, channel: ChannelId, first_oid: Oid) -> [TableMeta; 2] {
    let numbers = table_meta(0, database, channel, first_oid, None);
    let parts = table_meta(1, database, channel, Oid(first_oid.0 + OIDS), Some(&numbers));
    [numbers, parts]
}

/// Table 0 has an integer key, table 1 a key of text and integer, and refers to `target`; `OIDS` OIDs are theirs.
pub(crate) fn table_meta(
    table: usize,
    database: DatabaseId,
    channel: ChannelId,
    first_oid: Oid,
    target: Option<&TableMeta>,
) -> TableMeta {
    let vector = ColumnType::vector(DIMENSIONS[table] as i32);
    let (columns, key) = if table == 0 {
        let columns = vec![
            column(1, "id", ColumnType::INT8, false),
            column(2, "note", ColumnType::TEXT, true),
            column(3, "v", vector, true),
            column(4, "code", ColumnType::INT8, true),
        ];
        (columns, vec![1])
    } else {
        let columns = vec![
            column(1, "name", ColumnType::TEXT, false),
            column(2, "part", ColumnType::INT4, false),
            column(3, "weight", ColumnType::FLOAT8, true),
            column(4, "v", vector, true),
            column(5, "code", ColumnType::TEXT, true),
            column(6, "whole", ColumnType::INT4, true),
        ];
        (columns, vec![1, 2])
    };
    let (name, oid) = (NAMES[table], |n: u32| Oid(first_oid.0 + n));
    TableMeta {
        id: TableId(u64::from(first_oid.0)),
        database,
        namespace: "public".to_owned(),
        name: name.to_owned(),
        type_oid: oid(1),
        schema_version: 1,
        next_column_id: columns.len() as u32 + 1,
        columns,
        primary_key: Some(PrimaryKey {
            oid: oid(2),
            index_oid: oid(3),
            name: format!("{name}_pkey"),
            columns: key,
        }),
        uniques: vec![UniqueKey {
            constraint: Some(oid(4)),
            index_oid: oid(5),
            name: format!("{name}_code_key"),
            columns: vec![[4, 5][table]],
            nulls_distinct: true,
        }],
        foreign_keys: target.map(|target| foreign_key(target, oid(6))).into_iter().collect(),
        indexes: Vec::new(),
        checks: Vec::new(),
        former: Vec::new(),
        rewritten: 0,
        options: proto::catalog::TableOptions::default(),
        channel,
    }
}

fn foreign_key(target: &TableMeta, oid: Oid) -> ForeignKey {
    ForeignKey {
        oid,
        name: "parts_whole_fkey".to_owned(),
        columns: vec![6],
        target: target.id,
        target_columns: vec![4],
        target_index: target.uniques[0].index_oid,
        match_type: MatchType::Simple,
        on_delete: ReferentialAction::Cascade,
        on_update: ReferentialAction::NoAction,
    }
}

/// OID of the index of a table's vectors.
pub(crate) const fn index_oid(meta: &TableMeta) -> Oid {
    Oid(meta.id.oid().0 + OIDS - 1)
}

/// The index of a table's vectors.
pub(crate) fn index_meta(table: usize, meta: &TableMeta, m: u32, ef_construction: u32) -> IndexMeta {
    IndexMeta {
        oid: index_oid(meta),
        name: format!("v_{table}_idx"),
        column: VECTOR_COLUMN[table] as u32 + 1,
        metric: DistanceMetric::L2,
        method: IndexMethod::Hnsw { m, ef_construction },
        written_options: Vec::new(),
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
    Some(
        (0..DIMENSIONS[table] as u32)
            .map(|at| (mark.wrapping_add(at * at * 13) % 97) as f32 / 8.0 - 5.0)
            .collect(),
    )
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
    let (vector, code) = (vector(table, number, version), code(version));
    if table == 0 {
        format!("{number} {:?} {vector:?} {code:?}", note(number, version))
    } else {
        let (weight, reference) = (weight(number, version), reference(version));
        format!("{} {number} {weight:?} {vector:?} {code:?} {reference:?}", name(number))
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
            Arc::new(rows.iter().map(|row| code(row.1).map(i64::from)).collect::<Int64Array>()),
        ]
    } else {
        let weights = rows.iter().map(|(number, version)| weight(*number, *version));
        vec![
            Arc::new(StringArray::from_iter_values(numbers.clone().map(name))),
            Arc::new(Int32Array::from_iter_values(numbers.map(|number| number as i32))),
            Arc::new(weights.collect::<Float64Array>()),
            vectors,
            Arc::new(
                rows.iter().map(|row| code(row.1).map(|code| format!("c{code}"))).collect::<StringArray>(),
            ),
            Arc::new(rows.iter().map(|row| reference(row.1).map(|code| code as i32)).collect::<Int32Array>()),
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

/// The values of the second unique key that codes stand for.
pub(crate) fn unique_values(
    meta: &TableMeta,
    table: usize,
    codes: &[u32],
) -> Result<Vec<Option<Box<[u8]>>>, String> {
    let rows: Vec<(u32, u32)> = codes.iter().map(|code| (1, version(0, *code, 0))).collect();
    let key = &meta.uniques[0];
    encode_unique_keys(&batch(meta, table, &rows), &meta.positions(&key.columns), key.nulls_distinct)
        .map_err(|error| error.to_string())
}

/// The code and the reference of a row of a batch.
fn read_codes(table: usize, batch: &RecordBatch, row: usize) -> (Option<u32>, Option<u32>) {
    if table == 0 {
        let codes = batch.column(3).as_primitive::<Int64Type>();
        return (codes.is_valid(row).then(|| codes.value(row) as u32), None);
    }
    let (codes, references) =
        (batch.column(4).as_string::<i32>(), batch.column(5).as_primitive::<Int32Type>());
    let code = codes.is_valid(row).then(|| codes.value(row)[1..].parse().unwrap_or_default());
    (code, references.is_valid(row).then(|| references.value(row) as u32))
}

/// The key number of each row of a batch, with the row as text.
pub(crate) fn read(table: usize, batch: &RecordBatch) -> Vec<(u32, String)> {
    (0..batch.num_rows()).map(|row| read_row(table, batch, row)).collect()
}

fn read_row(table: usize, batch: &RecordBatch, row: usize) -> (u32, String) {
    let vectors = batch.column(VECTOR_COLUMN[table]).as_fixed_size_list();
    let vector: Option<Vec<f32>> =
        vectors.is_valid(row).then(|| vectors.value(row).as_primitive::<Float32Type>().values().to_vec());
    let (code, reference) = read_codes(table, batch, row);
    if table == 0 {
        let number = batch.column(0).as_primitive::<Int64Type>().value(row) as u32;
        let notes = batch.column(1).as_string::<i32>();
        let note = notes.is_valid(row).then(|| notes.value(row).to_owned());
        (number, format!("{number} {note:?} {vector:?} {code:?}"))
    } else {
        let number = batch.column(1).as_primitive::<Int32Type>().value(row) as u32;
        let weights = batch.column(2).as_primitive::<Float64Type>();
        let weight = weights.is_valid(row).then(|| weights.value(row));
        let name = batch.column(0).as_string::<i32>().value(row);
        (number, format!("{name} {number} {weight:?} {vector:?} {code:?} {reference:?}"))
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
    let reference = if table == 0 { None } else { reference(version) };
    (code(version), reference).hash(&mut hasher);
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
    read_codes(table, batch, row).hash(&mut hasher);
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
