//! The relations a session can name: user tables, their indexes, sequences, and the system's own relations.
//!
//! What it is not: no rows of catalogs (sql's `pg_catalog`), no parsing of names (`names`).
//!
//! Invariant: an object shows only in its own database; `pg_catalog` is searched before the search path.

use proto::DatabaseId;
use proto::catalog::{
    CatalogSnapshot, CheckConstraint, Column, ForeignKey, IndexMeta, KeyMeta, NamespaceMeta, SequenceMeta,
    TableMeta,
};

use super::builtin::{self, SystemRelation};
use super::names::{quote_identifier, quote_qualified};
use crate::statement::SessionValues;

/// What exists and which schemas a bare name is looked up in.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    pub catalog: &'a CatalogSnapshot,
    pub database: DatabaseId,
    /// Schemas in search order, without the implicit `pg_catalog`.
    pub search_path: &'a [String],
    /// The user that owns everything.
    pub owner: &'a str,
}

impl<'a> From<&'a SessionValues> for Scope<'a> {
    fn from(session: &'a SessionValues) -> Self {
        Self {
            catalog: &session.catalog,
            database: session.database_id,
            search_path: &session.search_path,
            owner: &session.user,
        }
    }
}

/// A relation of any kind.
#[derive(Clone, Copy, Debug)]
pub enum Relation<'a> {
    Table(&'a TableMeta),
    Index(Index<'a>),
    Sequence(&'a SequenceMeta),
    System(&'static SystemRelation),
}

/// A primary or other unique key with the index behind it.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    pub table: &'a TableMeta,
    pub key: KeyMeta<'a>,
}

impl<'a> Key<'a> {
    /// The names of the key columns in key order.
    pub fn column_names(self) -> impl Iterator<Item = &'a str> {
        Index::Key(self).columns().map(|column| column.name.as_str())
    }
}

/// An index of a user table.
#[derive(Clone, Copy, Debug)]
pub enum Index<'a> {
    Key(Key<'a>),
    Vector { table: &'a TableMeta, index: &'a IndexMeta },
}

impl<'a> Index<'a> {
    /// `pg_class.oid` of the index.
    #[must_use]
    pub const fn oid(self) -> u32 {
        match self {
            Self::Key(key) => key.key.index_oid.0,
            Self::Vector { index, .. } => index.oid.0,
        }
    }

    #[must_use]
    pub fn name(self) -> &'a str {
        match self {
            Self::Key(key) => key.key.name,
            Self::Vector { index, .. } => &index.name,
        }
    }

    #[must_use]
    pub const fn table(self) -> &'a TableMeta {
        match self {
            Self::Key(key) => key.table,
            Self::Vector { table, .. } => table,
        }
    }

    /// The indexed columns in their order.
    pub fn columns(self) -> impl Iterator<Item = &'a Column> {
        let ids = match self {
            Self::Key(key) => key.key.columns,
            Self::Vector { index, .. } => std::slice::from_ref(&index.column),
        };
        let table = self.table();
        ids.iter().filter_map(move |id| table.columns.iter().find(|column| column.id == *id))
    }
}

/// The indexes of a table: its keys', then the others in the order of their creation.
pub fn indexes(table: &TableMeta) -> impl Iterator<Item = Index<'_>> {
    let keys = table.keys().map(move |key| Index::Key(Key { table, key }));
    keys.chain(table.indexes.iter().map(move |index| Index::Vector { table, index }))
}

impl<'a> Relation<'a> {
    /// `pg_class.oid`.
    #[must_use]
    pub const fn oid(self) -> u32 {
        match self {
            Self::Table(table) => table.id.oid().0,
            Self::Index(index) => index.oid(),
            Self::Sequence(sequence) => sequence.id.oid().0,
            Self::System(relation) => relation.oid,
        }
    }

    /// `pg_class.relname`.
    #[must_use]
    pub fn name(self) -> &'a str {
        match self {
            Self::Table(table) => &table.name,
            Self::Index(index) => index.name(),
            Self::Sequence(sequence) => &sequence.name,
            Self::System(relation) => relation.name,
        }
    }

    /// The schema's name.
    #[must_use]
    pub fn namespace(self) -> &'a str {
        match self {
            Self::Table(table) => &table.namespace,
            Self::Index(index) => &index.table().namespace,
            Self::Sequence(sequence) => &sequence.namespace,
            Self::System(relation) => relation.namespace,
        }
    }

    /// `schema.name` with quotes where needed.
    #[must_use]
    pub fn qualified_name(self) -> String {
        quote_qualified(self.namespace(), self.name())
    }
}

impl<'a> Scope<'a> {
    /// The OID of a schema.
    #[must_use]
    pub fn namespace_oid(self, name: &str) -> Option<u32> {
        builtin::namespace_oid(name)
            .or_else(|| self.catalog.namespace(self.database, name).map(|namespace| namespace.oid.0))
    }

    /// The name of a schema.
    #[must_use]
    pub fn namespace_name(self, oid: u32) -> Option<&'a str> {
        let own = self.namespaces().find(|namespace| namespace.oid.0 == oid);
        builtin::namespace_name(oid).or_else(|| own.map(|namespace| namespace.name.as_str()))
    }

    /// The schemas that users made in the database.
    pub fn namespaces(self) -> impl Iterator<Item = &'a NamespaceMeta> {
        let database = self.database;
        let all = self.catalog.namespaces.values();
        all.map(AsRef::as_ref).filter(move |namespace| namespace.database == database)
    }

    /// The CHECK constraints of the database's tables.
    pub fn checks(self) -> impl Iterator<Item = (&'a TableMeta, &'a CheckConstraint)> {
        self.tables().flat_map(|table| table.checks.iter().map(move |check| (table, check)))
    }

    /// The tables of the database.
    pub fn tables(self) -> impl Iterator<Item = &'a TableMeta> {
        let database = self.database;
        self.catalog.tables.values().map(AsRef::as_ref).filter(move |table| table.database == database)
    }

    /// The unique keys of the database's tables, those of constraints and those of mere indexes.
    pub fn keys(self) -> impl Iterator<Item = Key<'a>> {
        self.tables().flat_map(|table| table.keys().map(move |key| Key { table, key }))
    }

    /// The keys that are constraints, with the OIDs of these.
    pub fn key_constraints(self) -> impl Iterator<Item = (u32, Key<'a>)> {
        self.keys().filter_map(|key| Some((key.key.constraint?.0, key)))
    }

    /// The foreign keys of the database's tables.
    pub fn foreign_keys(self) -> impl Iterator<Item = (&'a TableMeta, &'a ForeignKey)> {
        self.tables().flat_map(|table| table.foreign_keys.iter().map(move |key| (table, key)))
    }

    /// The indexes of the database's tables.
    pub fn indexes(self) -> impl Iterator<Item = Index<'a>> {
        self.tables().flat_map(indexes)
    }

    /// The sequences of the database.
    pub fn sequences(self) -> impl Iterator<Item = &'a SequenceMeta> {
        let database = self.database;
        self.catalog
            .sequences
            .values()
            .map(AsRef::as_ref)
            .filter(move |sequence| sequence.database == database)
    }

    /// User relations, then the system's.
    pub fn relations(self) -> impl Iterator<Item = Relation<'a>> {
        self.own_relations().chain(builtin::relations().iter().map(Relation::System))
    }

    fn own_relations(self) -> impl Iterator<Item = Relation<'a>> {
        self.tables()
            .map(Relation::Table)
            .chain(self.indexes().map(Relation::Index))
            .chain(self.sequences().map(Relation::Sequence))
    }

    /// The relation of an OID.
    #[must_use]
    pub fn relation_of_oid(self, oid: u32) -> Option<Relation<'a>> {
        let system = builtin::relation_of_oid(oid).map(Relation::System);
        system.or_else(|| self.own_relations().find(|relation| relation.oid() == oid))
    }

    /// The relation of a name in one schema.
    #[must_use]
    pub fn relation_in(self, namespace: &str, name: &str) -> Option<Relation<'a>> {
        let system = builtin::relation(namespace, name).map(Relation::System);
        system.or_else(|| {
            let mut own = self.own_relations();
            own.find(|relation| relation.name() == name && relation.namespace() == namespace)
        })
    }

    /// The relation that a bare name means.
    #[must_use]
    pub fn relation_named(self, name: &str) -> Option<Relation<'a>> {
        self.schemas().find_map(|namespace| self.relation_in(namespace, name))
    }

    /// The user table of an OID.
    #[must_use]
    pub fn table_of_oid(self, oid: u32) -> Option<&'a TableMeta> {
        self.tables().find(|table| table.id.oid().0 == oid)
    }

    /// The schemas in the order bare names are looked up.
    pub fn schemas(self) -> impl Iterator<Item = &'a str> {
        let path = self.search_path.iter().map(String::as_str);
        let has_catalog = self.search_path.iter().any(|schema| schema == "pg_catalog");
        (!has_catalog).then_some("pg_catalog").into_iter().chain(path)
    }

    /// Whether a bare name finds this relation and no other first.
    #[must_use]
    pub fn is_visible(self, relation: Relation<'_>) -> bool {
        self.relation_named(relation.name()).is_some_and(|found| found.oid() == relation.oid())
    }

    /// How a relation is printed: bare when visible, else with its schema.
    #[must_use]
    pub fn relation_text(self, relation: Relation<'_>) -> String {
        if self.is_visible(relation) { quote_identifier(relation.name()) } else { relation.qualified_name() }
    }
}
