//! Keys as the catalog knows them: the primary key, other unique keys, and foreign keys.
//!
//! What it is not: the bytes of a key (`crate::key`) and the places of its rows (the segments).
//!
//! Invariants: the OID of the index behind a key is never reused, and a key never changes its columns, so the OID
//! stands for the columns; a foreign key names the index of the unique key that it refers to.

use super::TableMeta;
use crate::id::{Oid, TableId};

/// The primary key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrimaryKey {
    /// OID of the constraint.
    pub oid: Oid,
    /// OID of the index relation behind it.
    pub index_oid: Oid,
    /// Constraint and index name, `<table>_pkey` unless given.
    pub name: String,
    /// Column ids in key order.
    pub columns: Vec<u32>,
}

/// A UNIQUE constraint, or a unique index without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniqueKey {
    /// OID of the constraint; none for what CREATE UNIQUE INDEX made.
    pub constraint: Option<Oid>,
    /// OID of the index relation.
    pub index_oid: Oid,
    /// Constraint and index name.
    pub name: String,
    /// Column ids in key order.
    pub columns: Vec<u32>,
    /// Whether NULLs differ from one another: a row with a NULL in the key is then like no other.
    pub nulls_distinct: bool,
}

/// What happens to referring rows when the row they refer to goes or gets another key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReferentialAction {
    /// An error, unless another row has the key at the end of the statement.
    #[default]
    NoAction,
    /// An error.
    Restrict,
    Cascade,
    SetNull,
    SetDefault,
}

/// When a row with NULLs in its foreign key refers to nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MatchType {
    /// When any column is NULL.
    #[default]
    Simple,
    /// When all are; NULLs beside values are an error.
    Full,
}

/// A FOREIGN KEY constraint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    pub oid: Oid,
    pub name: String,
    /// Ids of the referring columns.
    pub columns: Vec<u32>,
    /// The table referred to, in the same database.
    pub target: TableId,
    /// Ids of its columns, in the order of `columns`.
    pub target_columns: Vec<u32>,
    /// The index of the unique key over `target_columns`, whose own order may be another.
    pub target_index: Oid,
    pub match_type: MatchType,
    pub on_delete: ReferentialAction,
    pub on_update: ReferentialAction,
}

/// A key whose values no two rows of a table share, primary or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyMeta<'a> {
    /// OID of the index relation: the key's identity.
    pub index_oid: Oid,
    pub name: &'a str,
    /// OID of the constraint, when there is one.
    pub constraint: Option<Oid>,
    /// Column ids in key order.
    pub columns: &'a [u32],
    pub nulls_distinct: bool,
    pub is_primary: bool,
}

impl PrimaryKey {
    /// The key as one among others.
    #[must_use]
    pub fn as_key(&self) -> KeyMeta<'_> {
        KeyMeta {
            index_oid: self.index_oid,
            name: &self.name,
            constraint: Some(self.oid),
            columns: &self.columns,
            nulls_distinct: true,
            is_primary: true,
        }
    }
}

impl UniqueKey {
    /// The key as one among others.
    #[must_use]
    pub fn as_key(&self) -> KeyMeta<'_> {
        KeyMeta {
            index_oid: self.index_oid,
            name: &self.name,
            constraint: self.constraint,
            columns: &self.columns,
            nulls_distinct: self.nulls_distinct,
            is_primary: false,
        }
    }
}

impl TableMeta {
    /// All unique keys, the primary one first.
    pub fn keys(&self) -> impl Iterator<Item = KeyMeta<'_>> {
        let primary = self.primary_key.iter().map(PrimaryKey::as_key);
        primary.chain(self.uniques.iter().map(UniqueKey::as_key))
    }

    /// The key of an index.
    #[must_use]
    pub fn key(&self, index_oid: Oid) -> Option<KeyMeta<'_>> {
        self.keys().find(|key| key.index_oid == index_oid)
    }

    /// Positions of columns by their ids, in the order of the ids; columns that are gone fall away.
    #[must_use]
    pub fn positions(&self, ids: &[u32]) -> Vec<usize> {
        let position = |id: &u32| self.columns.iter().position(|column| column.id == *id);
        ids.iter().filter_map(position).collect()
    }

    /// Positions of the primary key's columns in key order; empty without a key.
    #[must_use]
    pub fn key_positions(&self) -> Vec<usize> {
        self.primary_key.as_ref().map_or_else(Vec::new, |key| self.positions(&key.columns))
    }

    /// Positions of all columns that are part of a key or foreign key, each once, the primary key's first: what must be
    /// known of a row that ends.
    #[must_use]
    pub fn tracked_positions(&self) -> Vec<usize> {
        let mut tracked = self.key_positions();
        let others = self.uniques.iter().map(|key| &key.columns);
        for columns in others.chain(self.foreign_keys.iter().map(|key| &key.columns)) {
            for position in self.positions(columns) {
                if !tracked.contains(&position) {
                    tracked.push(position);
                }
            }
        }
        tracked
    }

    /// The OID of a constraint; 0 while it has none.
    #[must_use]
    pub fn constraint(&self, name: &str) -> Option<Oid> {
        let checks = self.checks.iter().map(|check| (check.name.as_str(), check.oid));
        let foreign = self.foreign_keys.iter().map(|key| (key.name.as_str(), key.oid));
        let keys = self.keys().filter_map(|key| Some((key.name, key.constraint?)));
        checks.chain(foreign).chain(keys).find(|(known, _)| *known == name).map(|(_, oid)| oid)
    }

    /// Whether a constraint of the table has a name.
    #[must_use]
    pub fn has_constraint(&self, name: &str) -> bool {
        self.constraint(name).is_some()
    }
}
