//! Columns of every relation: tables, key indexes, sequences, and the system relations.

use exec::functions::catalog::builtin::{self, SystemRelation};
use exec::functions::catalog::{Index, Relation};
use proto::ColumnType;
use proto::catalog::{Column, Identity, TableMeta};

use super::pg_attrdef::has_default;
use super::{Computed, Facts, Row, Value, row};

/// `pg_catalog.pg_attribute`.
pub(crate) const PG_ATTRIBUTE: Computed = Computed {
    schema: "pg_catalog",
    name: "pg_attribute",
    columns: &[
        "attrelid",
        "attname",
        "atttypid",
        "attlen",
        "attnum",
        "attcacheoff",
        "atttypmod",
        "attndims",
        "attbyval",
        "attalign",
        "attstorage",
        "attcompression",
        "attnotnull",
        "atthasdef",
        "atthasmissing",
        "attidentity",
        "attgenerated",
        "attisdropped",
        "attislocal",
        "attinhcount",
        "attstattarget",
        "attcollation",
        "attacl",
        "attoptions",
        "attfdwoptions",
        "attmissingval",
    ],
    rows,
};

/// What differs from column to column.
struct Attribute<'a> {
    relation: u32,
    name: &'a str,
    ty: u32,
    number: i64,
    typmod: i32,
    dimensions: i16,
    not_null: bool,
    has_default: bool,
    has_missing: bool,
    identity: &'static str,
    collation: u32,
}

impl Attribute<'_> {
    fn row(self) -> Row {
        let ty = builtin::type_of_oid(self.ty);
        row![
            self.relation,
            Value::name(self.name),
            self.ty,
            ty.map_or(-1, |ty| ty.length),
            self.number,
            -1,
            self.typmod,
            self.dimensions,
            ty.is_some_and(|ty| ty.by_value),
            ty.map_or("i", |ty| ty.align),
            ty.map_or("x", |ty| ty.storage),
            "",
            self.not_null,
            self.has_default,
            self.has_missing,
            self.identity,
            "",
            false,
            true,
            0,
            -1,
            self.collation,
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
        ]
    }
}

/// The collation of values of a type; 0 when it has none.
pub(super) fn collation(ty: ColumnType) -> u32 {
    builtin::type_of_oid(ty.oid().0).map_or(0, |ty| ty.collation)
}

fn of_column(relation: u32, column: &Column, number: i64, is_index: bool) -> Row {
    let identity = match column.identity {
        Some(Identity::Always) => "a",
        Some(Identity::ByDefault) => "d",
        None => "",
    };
    Attribute {
        relation,
        name: &column.name,
        ty: column.ty.oid().0,
        number,
        typmod: column.ty.typmod,
        dimensions: i16::from(column.ty.array),
        not_null: !column.nullable && !is_index,
        has_default: has_default(column) && !is_index,
        has_missing: column.missing.is_some() && !is_index,
        identity: if is_index { "" } else { identity },
        collation: collation(column.ty),
    }
    .row()
}

fn of_table(table: &TableMeta) -> Vec<Row> {
    let oid = table.id.oid().0;
    table.columns.iter().map(|column| of_column(oid, column, column.id.into(), false)).collect()
}

fn of_index(index: Index<'_>) -> Vec<Row> {
    (1..).zip(index.columns()).map(|(number, column)| of_column(index.oid(), column, number, true)).collect()
}

fn of_sequence(relation: u32) -> Vec<Row> {
    [("last_value", 20), ("log_cnt", 20), ("is_called", 16)]
        .into_iter()
        .zip(1..)
        .map(|((name, ty), number)| {
            Attribute {
                relation,
                name,
                ty,
                number,
                typmod: -1,
                dimensions: 0,
                not_null: true,
                has_default: false,
                has_missing: false,
                identity: "",
                collation: 0,
            }
            .row()
        })
        .collect()
}

fn of_system(relation: &'static SystemRelation) -> Vec<Row> {
    relation
        .columns
        .iter()
        .zip(1..)
        .map(|(column, number)| {
            Attribute {
                relation: relation.oid,
                name: column.name,
                ty: column.type_oid,
                number,
                typmod: column.typmod,
                dimensions: column.dimensions,
                not_null: column.not_null,
                has_default: false,
                has_missing: false,
                identity: "",
                collation: column.collation,
            }
            .row()
        })
        .collect()
}

fn rows(facts: &Facts) -> Vec<Row> {
    facts
        .scope()
        .relations()
        .flat_map(|relation| match relation {
            Relation::Table(table) => of_table(table),
            Relation::Index(index) => of_index(index),
            Relation::Sequence(sequence) => of_sequence(sequence.id.oid().0),
            Relation::System(relation) => of_system(relation),
        })
        .collect()
}
