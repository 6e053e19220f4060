//! What every database holds from its birth: PostgreSQL 16's catalog relations with their columns, its types
//! and the functions behind them, plus what Elanus adds (type `vector`, schema `elanus`).
//!
//! The facts stand in tab-separated files beside this one, written by `scripts/catalog-data` from a real
//! PostgreSQL; what Elanus adds stands in `own_*.tsv`, written by hand with OIDs from 16200 to 16399, and
//! pgvector's functions in `vector_procedures.tsv`, with OIDs from 14000.
//! Whether a type can be used is not said here (`proto::TypeKind` says that); catalogs show the columns of
//! PostgreSQL's own relations, so all of its types have a row.
//!
//! Invariants: OIDs are PostgreSQL's; a relation's columns stand in attnum order, from 1, without gaps.

use std::collections::HashMap;
use std::sync::LazyLock;

use proto::catalog::PUBLIC_NAMESPACE_OID;

/// Schema `pg_catalog`.
pub const PG_CATALOG_OID: u32 = 11;
/// Schema `pg_toast`.
pub const PG_TOAST_OID: u32 = 99;
/// Schema `information_schema`.
pub const INFORMATION_SCHEMA_OID: u32 = 12404;
/// Schema `elanus`, the product's own views.
pub const ELANUS_OID: u32 = 16_380;
/// The user that owns everything.
pub const OWNER_OID: u32 = 10;
/// Role `pg_database_owner`, which schema `public` belongs to.
pub const DATABASE_OWNER_OID: u32 = 6171;
/// Access method `heap`.
pub const HEAP_OID: u32 = 2;
/// Access method `btree`.
pub const BTREE_OID: u32 = 403;

/// A schema that always exists.
#[derive(Clone, Copy, Debug)]
pub struct Namespace {
    pub oid: u32,
    pub name: &'static str,
}

/// Every schema of a database: there are no others yet.
pub const NAMESPACES: [Namespace; 5] = [
    Namespace { oid: PG_CATALOG_OID, name: "pg_catalog" },
    Namespace { oid: PG_TOAST_OID, name: "pg_toast" },
    Namespace { oid: PUBLIC_NAMESPACE_OID, name: "public" },
    Namespace { oid: INFORMATION_SCHEMA_OID, name: "information_schema" },
    Namespace { oid: ELANUS_OID, name: "elanus" },
];

/// The OID of a schema's name.
#[must_use]
pub fn namespace_oid(name: &str) -> Option<u32> {
    NAMESPACES.iter().find(|namespace| namespace.name == name).map(|namespace| namespace.oid)
}

/// The name of a schema.
#[must_use]
pub fn namespace_name(oid: u32) -> Option<&'static str> {
    NAMESPACES.iter().find(|namespace| namespace.oid == oid).map(|namespace| namespace.name)
}

/// A column of a system relation.
#[derive(Clone, Debug)]
pub struct SystemColumn {
    pub name: &'static str,
    pub type_oid: u32,
    pub not_null: bool,
    pub typmod: i32,
    pub dimensions: i16,
    pub collation: u32,
}

/// A relation of schema pg_catalog, information_schema or elanus.
#[derive(Clone, Debug)]
pub struct SystemRelation {
    pub oid: u32,
    pub namespace: &'static str,
    pub name: &'static str,
    /// `pg_class.relkind`: `r` or `v`.
    pub kind: &'static str,
    /// OID of the row type.
    pub type_oid: u32,
    /// `pg_class.relhasrules`.
    pub has_rules: bool,
    /// Whether all databases share it.
    pub is_shared: bool,
    /// `pg_class.relreplident`.
    pub replica_identity: &'static str,
    /// In attnum order.
    pub columns: Vec<SystemColumn>,
}

/// A type; the fields are `pg_type`'s, regproc columns as OIDs of [`Procedure`]s.
#[derive(Clone, Debug)]
pub struct BuiltinType {
    pub oid: u32,
    pub name: &'static str,
    pub namespace: &'static str,
    pub length: i16,
    pub by_value: bool,
    pub kind: &'static str,
    pub category: &'static str,
    pub is_preferred: bool,
    pub delimiter: &'static str,
    pub relation: u32,
    pub subscript: u32,
    pub element: u32,
    pub array: u32,
    pub input: u32,
    pub output: u32,
    pub receive: u32,
    pub send: u32,
    pub modifier_in: u32,
    pub modifier_out: u32,
    pub analyze: u32,
    pub align: &'static str,
    pub storage: &'static str,
    pub not_null: bool,
    pub base: u32,
    pub typmod: i32,
    pub dimensions: i32,
    pub collation: u32,
}

/// A function behind a type or operator.
#[derive(Clone, Debug)]
pub struct Procedure {
    pub oid: u32,
    pub name: &'static str,
    pub namespace: &'static str,
    pub kind: &'static str,
    pub volatility: &'static str,
    pub is_strict: bool,
    pub returns_set: bool,
    pub result: u32,
    pub arguments: Vec<u32>,
}

/// A role that PostgreSQL predefines; nobody logs in as one.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    pub oid: u32,
    pub name: &'static str,
}

/// What PostgreSQL says of an object of its own.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    pub object: u32,
    /// The catalog that the object stands in.
    pub catalog: u32,
    pub text: &'static str,
}

/// The lines of a tab-separated file behind its header.
fn lines(text: &'static str) -> impl Iterator<Item = Fields> {
    text.lines().skip(1).map(|line| Fields(line.split('\t')))
}

/// The fields of one line, taken from the left.
struct Fields(std::str::Split<'static, char>);

impl Fields {
    fn text(&mut self) -> &'static str {
        self.0.next().unwrap_or_default()
    }

    fn flag(&mut self) -> bool {
        self.text() == "t"
    }

    /// A number; the test of this module reads every field of every file, so a bad one never ships.
    fn number<N: std::str::FromStr + Default>(&mut self) -> N {
        self.text().parse().unwrap_or_default()
    }
}

fn load_relations() -> Vec<SystemRelation> {
    let mut columns: HashMap<u32, Vec<SystemColumn>> = HashMap::new();
    for mut fields in
        lines(include_str!("builtin/columns.tsv")).chain(lines(include_str!("builtin/own_columns.tsv")))
    {
        columns.entry(fields.number()).or_default().push(SystemColumn {
            name: fields.text(),
            type_oid: fields.number(),
            not_null: fields.flag(),
            typmod: fields.number(),
            dimensions: fields.number(),
            collation: fields.number(),
        });
    }
    lines(include_str!("builtin/relations.tsv"))
        .chain(lines(include_str!("builtin/own_relations.tsv")))
        .map(|mut fields| {
            let oid = fields.number();
            SystemRelation {
                oid,
                namespace: fields.text(),
                name: fields.text(),
                kind: fields.text(),
                type_oid: fields.number(),
                has_rules: fields.flag(),
                is_shared: fields.flag(),
                replica_identity: fields.text(),
                columns: columns.remove(&oid).unwrap_or_default(),
            }
        })
        .collect()
}

fn load_types() -> Vec<BuiltinType> {
    lines(include_str!("builtin/types.tsv"))
        .chain(lines(include_str!("builtin/own_types.tsv")))
        .map(|mut fields| BuiltinType {
            oid: fields.number(),
            name: fields.text(),
            namespace: fields.text(),
            length: fields.number(),
            by_value: fields.flag(),
            kind: fields.text(),
            category: fields.text(),
            is_preferred: fields.flag(),
            delimiter: fields.text(),
            relation: fields.number(),
            subscript: fields.number(),
            element: fields.number(),
            array: fields.number(),
            input: fields.number(),
            output: fields.number(),
            receive: fields.number(),
            send: fields.number(),
            modifier_in: fields.number(),
            modifier_out: fields.number(),
            analyze: fields.number(),
            align: fields.text(),
            storage: fields.text(),
            not_null: fields.flag(),
            base: fields.number(),
            typmod: fields.number(),
            dimensions: fields.number(),
            collation: fields.number(),
        })
        .collect()
}

fn load_procedures() -> Vec<Procedure> {
    let own = lines(include_str!("builtin/own_procedures.tsv")).map(|fields| (fields, "public"));
    let mut all: Vec<Procedure> = lines(include_str!("builtin/procedures.tsv"))
        .map(|fields| (fields, "pg_catalog"))
        .chain(own)
        .filter_map(|(fields, namespace)| procedure(fields, namespace, |oid| oid.parse().ok()))
        .collect();
    // Functions on types that do not exist here, and those that stand above already, are left out.
    for fields in lines(include_str!("builtin/vector_procedures.tsv")) {
        let Some(found) = procedure(fields, "public", type_oid_of_name) else { continue };
        if !all.iter().any(|known| known.name == found.name && known.arguments == found.arguments) {
            all.push(found);
        }
    }
    all
}

/// The OID of a type of pgvector or PostgreSQL by its bare name.
fn type_oid_of_name(name: &str) -> Option<u32> {
    type_of_name("pg_catalog", name).or_else(|| type_of_name("public", name)).map(|ty| ty.oid)
}

/// A line of a file of functions; `ty` reads its types.
fn procedure(
    mut fields: Fields,
    namespace: &'static str,
    ty: impl Fn(&str) -> Option<u32>,
) -> Option<Procedure> {
    Some(Procedure {
        namespace,
        oid: fields.number(),
        name: fields.text(),
        kind: fields.text(),
        volatility: fields.text(),
        is_strict: fields.flag(),
        returns_set: fields.flag(),
        result: ty(fields.text())?,
        arguments: fields.text().split_whitespace().map(ty).collect::<Option<_>>()?,
    })
}

static RELATIONS: LazyLock<Vec<SystemRelation>> = LazyLock::new(load_relations);
static TYPES: LazyLock<Vec<BuiltinType>> = LazyLock::new(load_types);
static TYPE_POSITIONS: LazyLock<HashMap<u32, usize>> =
    LazyLock::new(|| TYPES.iter().enumerate().map(|(position, ty)| (ty.oid, position)).collect());
static TYPE_NAMES: LazyLock<HashMap<(&str, &str), usize>> = LazyLock::new(|| {
    TYPES.iter().enumerate().map(|(position, ty)| ((ty.namespace, ty.name), position)).collect()
});
static RELATION_NAMES: LazyLock<HashMap<(&str, &str), usize>> = LazyLock::new(|| {
    let names = RELATIONS.iter().enumerate();
    names.map(|(position, relation)| ((relation.namespace, relation.name), position)).collect()
});
static RELATION_POSITIONS: LazyLock<HashMap<u32, usize>> =
    LazyLock::new(|| RELATIONS.iter().enumerate().map(|(position, one)| (one.oid, position)).collect());
static PROCEDURES: LazyLock<Vec<Procedure>> = LazyLock::new(load_procedures);
static PROCEDURE_POSITIONS: LazyLock<HashMap<u32, usize>> =
    LazyLock::new(|| PROCEDURES.iter().enumerate().map(|(position, one)| (one.oid, position)).collect());

static ROLES: LazyLock<Vec<Role>> = LazyLock::new(|| {
    lines(include_str!("builtin/roles.tsv"))
        .map(|mut fields| Role { oid: fields.number(), name: fields.text() })
        .collect()
});
static DESCRIPTIONS: LazyLock<Vec<Description>> = LazyLock::new(|| {
    lines(include_str!("builtin/descriptions.tsv"))
        .chain(lines(include_str!("builtin/own_descriptions.tsv")))
        .map(|mut fields| Description {
            object: fields.number(),
            catalog: fields.number(),
            text: fields.text(),
        })
        .collect()
});

/// The predefined roles, in OID order.
#[must_use]
pub fn roles() -> &'static [Role] {
    &ROLES
}

/// The comments on built-in objects.
#[must_use]
pub fn descriptions() -> &'static [Description] {
    &DESCRIPTIONS
}

/// Every system relation.
#[must_use]
pub fn relations() -> &'static [SystemRelation] {
    &RELATIONS
}

/// Every built-in type, in OID order, then Elanus' own.
#[must_use]
pub fn types() -> &'static [BuiltinType] {
    &TYPES
}

/// Every function behind a type, access method or operator.
#[must_use]
pub fn procedures() -> &'static [Procedure] {
    &PROCEDURES
}

/// The system relation of a schema and name.
#[must_use]
pub fn relation(namespace: &str, name: &str) -> Option<&'static SystemRelation> {
    RELATION_NAMES.get(&(namespace, name)).and_then(|&position| RELATIONS.get(position))
}

/// The system relation of an OID.
#[must_use]
pub fn relation_of_oid(oid: u32) -> Option<&'static SystemRelation> {
    RELATION_POSITIONS.get(&oid).and_then(|&position| RELATIONS.get(position))
}

/// The built-in type of an OID.
#[must_use]
pub fn type_of_oid(oid: u32) -> Option<&'static BuiltinType> {
    TYPE_POSITIONS.get(&oid).and_then(|&position| TYPES.get(position))
}

/// The built-in type of a schema and `pg_type` name.
#[must_use]
pub fn type_of_name(namespace: &str, name: &str) -> Option<&'static BuiltinType> {
    TYPE_NAMES.get(&(namespace, name)).and_then(|&position| TYPES.get(position))
}

/// The function of an OID.
#[must_use]
pub fn procedure_of_oid(oid: u32) -> Option<&'static Procedure> {
    PROCEDURE_POSITIONS.get(&oid).and_then(|&position| PROCEDURES.get(position))
}

#[cfg(test)]
mod tests;
