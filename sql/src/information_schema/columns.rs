//! Columns of tables and system relations.

use exec::functions::catalog::builtin::{self, BuiltinType, SystemRelation};
use exec::functions::catalog::{Relation, types};
use proto::catalog::{Column, Identity, SequenceMeta, TableMeta};

use super::yes_no;
use crate::pg_catalog::{Computed, Facts, Row, Value, column_default, row};

/// `information_schema.columns`.
pub(crate) const COLUMNS: Computed = Computed {
    schema: "information_schema",
    name: "columns",
    columns: &[
        "table_catalog",
        "table_schema",
        "table_name",
        "column_name",
        "ordinal_position",
        "column_default",
        "is_nullable",
        "data_type",
        "character_maximum_length",
        "character_octet_length",
        "numeric_precision",
        "numeric_precision_radix",
        "numeric_scale",
        "datetime_precision",
        "interval_type",
        "interval_precision",
        "character_set_catalog",
        "character_set_schema",
        "character_set_name",
        "collation_catalog",
        "collation_schema",
        "collation_name",
        "domain_catalog",
        "domain_schema",
        "domain_name",
        "udt_catalog",
        "udt_schema",
        "udt_name",
        "scope_catalog",
        "scope_schema",
        "scope_name",
        "maximum_cardinality",
        "dtd_identifier",
        "is_self_referencing",
        "is_identity",
        "identity_generation",
        "identity_start",
        "identity_increment",
        "identity_maximum",
        "identity_minimum",
        "identity_cycle",
        "is_generated",
        "generation_expression",
        "is_updatable",
    ],
    rows,
};

/// What differs from column to column.
struct Described<'a> {
    schema: &'a str,
    table: &'a str,
    name: &'a str,
    number: i64,
    default: Option<String>,
    nullable: bool,
    type_oid: u32,
    typmod: i32,
    collation: u32,
    identity: Option<(Identity, Option<&'a SequenceMeta>)>,
    updatable: bool,
}

/// Length, precision and scale as the standard counts them.
#[derive(Default)]
struct Measures {
    characters: Option<i32>,
    octets: Option<i32>,
    precision: Option<i32>,
    radix: Option<i32>,
    scale: Option<i32>,
    datetime: Option<i32>,
}

impl Measures {
    /// The measures of a type, domains seen through.
    fn of(type_oid: u32, typmod: i32) -> Self {
        const LONGEST: i32 = 1 << 30;
        let binary = |bits: i32, scale: Option<i32>| Self {
            precision: Some(bits),
            radix: Some(2),
            scale,
            ..Self::default()
        };
        let digits = typmod - 4;
        match type_oid {
            21 => binary(16, Some(0)),
            23 => binary(32, Some(0)),
            20 => binary(64, Some(0)),
            700 => binary(24, None),
            701 => binary(53, None),
            1700 if typmod >= 4 => Self {
                precision: Some((digits >> 16) & 0xffff),
                radix: Some(10),
                scale: Some(digits & 0x7ff),
                ..Self::default()
            },
            1700 => Self { radix: Some(10), ..Self::default() },
            1042 | 1043 if typmod >= 4 => {
                Self { characters: Some(digits), octets: Some(digits.saturating_mul(4)), ..Self::default() }
            }
            25 | 1042 | 1043 => Self { octets: Some(LONGEST), ..Self::default() },
            1082 => Self { datetime: Some(0), ..Self::default() },
            1083 | 1114 | 1184 | 1186 | 1266 => {
                Self { datetime: Some(if typmod < 0 { 6 } else { typmod & 0xffff }), ..Self::default() }
            }
            _ => Self::default(),
        }
    }
}

/// The name of a collation that is not the default one.
const fn collation_name(oid: u32) -> Option<&'static str> {
    match oid {
        950 => Some("C"),
        951 => Some("POSIX"),
        _ => None,
    }
}

/// `data_type`: the standard's name, or that there is none.
fn data_type(facts: &Facts, ty: Option<&BuiltinType>) -> String {
    match ty {
        Some(ty) if types::is_array(ty) => "ARRAY".to_owned(),
        Some(ty) if ty.namespace == "pg_catalog" => types::format_type(facts.scope(), ty.oid, None),
        _ => "USER-DEFINED".to_owned(),
    }
}

fn described(facts: &Facts, column: Described<'_>) -> Row {
    let database = facts.database_name();
    let declared = builtin::type_of_oid(column.type_oid);
    let domain = declared.filter(|ty| ty.base != 0);
    let (ty, typmod) = match domain {
        Some(domain) => (builtin::type_of_oid(domain.base), domain.typmod),
        None => (declared, column.typmod),
    };
    let measures = Measures::of(ty.map_or(0, |ty| ty.oid), typmod);
    let collation = collation_name(column.collation);
    let sequence = column.identity.and_then(|(_, sequence)| sequence);
    let number = |read: fn(&SequenceMeta) -> i64| sequence.map(|sequence| read(sequence).to_string());
    row![
        Value::name(database),
        Value::name(column.schema),
        Value::name(column.table),
        Value::name(column.name),
        column.number,
        column.default,
        yes_no(column.nullable),
        data_type(facts, ty),
        measures.characters,
        measures.octets,
        measures.precision,
        measures.radix,
        measures.scale,
        measures.datetime,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        collation.map(|_| Value::name(database)),
        collation.map(|_| "pg_catalog"),
        collation,
        domain.map(|_| Value::name(database)),
        domain.map(|domain| domain.namespace),
        domain.map(|domain| domain.name),
        Value::name(database),
        ty.map(|ty| ty.namespace),
        ty.map(|ty| ty.name),
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        column.number.to_string(),
        "NO",
        yes_no(column.identity.is_some()),
        column.identity.map(|(identity, _)| match identity {
            Identity::Always => "ALWAYS",
            Identity::ByDefault => "BY DEFAULT",
        }),
        number(|sequence| sequence.start),
        number(|sequence| sequence.increment),
        number(|sequence| sequence.maximum),
        number(|sequence| sequence.minimum),
        "NO",
        "NEVER",
        Value::Null,
        yes_no(column.updatable),
    ]
}

fn of_column(facts: &Facts, table: &TableMeta, column: &Column) -> Row {
    let owned =
        || facts.scope().sequences().find(|sequence| sequence.owned_by == Some((table.id, column.id)));
    described(
        facts,
        Described {
            schema: &table.namespace,
            table: &table.name,
            name: &column.name,
            number: column.id.into(),
            default: column_default(facts, column),
            nullable: column.nullable,
            type_oid: column.ty.oid().0,
            typmod: column.ty.typmod,
            collation: builtin::type_of_oid(column.ty.oid().0).map_or(0, |ty| ty.collation),
            identity: column.identity.map(|identity| (identity, owned())),
            updatable: true,
        },
    )
}

fn of_system(facts: &Facts, relation: &'static SystemRelation) -> Vec<Row> {
    relation
        .columns
        .iter()
        .zip(1..)
        .map(|(column, number)| {
            described(
                facts,
                Described {
                    schema: relation.namespace,
                    table: relation.name,
                    name: column.name,
                    number,
                    default: None,
                    nullable: !column.not_null,
                    type_oid: column.type_oid,
                    typmod: column.typmod,
                    collation: column.collation,
                    identity: None,
                    updatable: relation.kind == "r",
                },
            )
        })
        .collect()
}

fn rows(facts: &Facts) -> Vec<Row> {
    facts
        .scope()
        .relations()
        .flat_map(|relation| match relation {
            Relation::Table(table) => {
                table.columns.iter().map(|column| of_column(facts, table, column)).collect()
            }
            Relation::System(relation) => of_system(facts, relation),
            _ => Vec::new(),
        })
        .collect()
}
