//! What a client knows of its own rows: what was acknowledged, and the one operation whose fate it does not know.

use std::collections::BTreeMap;

/// The tables; they share the database's channel. `version` and `tag` say which operation wrote a row, `v` is
/// computed from key and version so that a row put together from two versions shows. Both have a vector index.
pub(super) const SCHEMA: [&str; 4] = [
    "CREATE TABLE left_rows (id int8 PRIMARY KEY, version int4 NOT NULL, tag text NOT NULL, v vector(4))",
    // Here VACUUM purges at once.
    "CREATE TABLE right_rows (id int8 PRIMARY KEY, version int4 NOT NULL, tag text NOT NULL, v vector(4)) \
     WITH (retention = '0')",
    "CREATE INDEX left_index ON left_rows USING hnsw (v vector_l2_ops) WITH (m = 6, ef_construction = 24)",
    "CREATE INDEX right_index ON right_rows USING ivfflat (v vector_l2_ops) WITH (lists = 4)",
];

/// The tables' names, by the number in a `Key`.
pub(super) const TABLES: [&str; 2] = ["left_rows", "right_rows"];

/// A row's table and id.
pub type Key = (usize, i64);

/// A row version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub version: i32,
    pub tag: String,
}

/// What an operation leaves at each key it touches; `None` is no row.
pub type Effect = BTreeMap<Key, Option<Row>>;

/// The text of the vector that belongs to a key and a version.
#[must_use]
pub(super) fn vector_text(id: i64, version: i32) -> String {
    format!("[{},{},{},{}]", id % 1009, version, (id * 31 + i64::from(version)) % 997, 1)
}

/// One client's rows.
#[derive(Debug)]
pub struct Ledger {
    /// Which client; its ids are congruent to it.
    pub client: usize,
    pub rows: BTreeMap<Key, Row>,
    /// The operation that was under way when the server died.
    pub doubt: Option<Effect>,
    pub acknowledged: u64,
    next: i64,
    tags: u64,
}

impl Ledger {
    /// A client without rows.
    #[must_use]
    pub fn new(client: usize) -> Self {
        Self { client, rows: BTreeMap::new(), doubt: None, acknowledged: 0, next: 0, tags: 0 }
    }

    /// An id that this client never used.
    pub fn fresh_id(&mut self) -> i64 {
        self.next += 1;
        self.next * 3 + self.client as i64
    }

    /// A mark that all rows written by one operation share.
    pub fn fresh_tag(&mut self) -> String {
        self.tags += 1;
        format!("c{}-{}", self.client, self.tags)
    }

    /// An operation was answered.
    pub fn apply(&mut self, effect: Effect) {
        for (key, row) in effect {
            match row {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
    }
}
