//! What a client knows of its own rows: what was acknowledged, and the one operation whose fate it does not know.

use std::collections::BTreeMap;

/// The tables; they share the database's channel. `version` and `tag` say which operation wrote a row, `v` is
/// computed from key and version so that a row put together from two versions shows. Both have a vector index and a
/// unique key beside the primary one, and rows of the second go with the row of the first that they refer to.
/// The tables of the crowd (`crowd`) are behind them.
pub(super) const SCHEMA: [&str; 6] = [
    "CREATE TABLE left_rows (id int8 PRIMARY KEY, code int8 NOT NULL UNIQUE, version int4 NOT NULL, \
     tag text NOT NULL, v vector(4))",
    // Here VACUUM purges at once.
    "CREATE TABLE right_rows (id int8 PRIMARY KEY, code int8 NOT NULL UNIQUE, \
     parent int8 REFERENCES left_rows ON DELETE CASCADE, version int4 NOT NULL, tag text NOT NULL, v vector(4)) \
     WITH (retention = '0')",
    "CREATE INDEX left_index ON left_rows USING hnsw (v vector_l2_ops) WITH (m = 6, ef_construction = 24)",
    "CREATE INDEX right_index ON right_rows USING ivfflat (v vector_l2_ops) WITH (lists = 4)",
    "CREATE TABLE hubs (id int4 PRIMARY KEY, code int4 NOT NULL UNIQUE) WITH (retention = '0')",
    "CREATE TABLE spokes (id int8 PRIMARY KEY, code int4 UNIQUE, hub int4 NOT NULL REFERENCES hubs ON DELETE CASCADE, \
     also int4 REFERENCES hubs (code))",
];

/// The tables' names, by the number in a `Key`.
pub(super) const TABLES: [&str; 2] = ["left_rows", "right_rows"];
/// The table whose rows refer to the other.
pub(super) const REFERRING: usize = 1;

/// A row's table and id.
pub type Key = (usize, i64);

/// A row version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub version: i32,
    pub tag: String,
    /// The value of the unique key; negative ones are wanted by every client.
    pub code: i64,
    /// Id of the row in the first table that this one refers to.
    pub parent: Option<i64>,
}

impl Row {
    /// Its values as they are written into a statement.
    pub(super) fn values(&self, key: Key) -> String {
        self.values_as(key, key.1)
    }

    /// The same under another id.
    pub(super) fn values_as(&self, (table, id): Key, written: i64) -> String {
        let (code, version, tag) = (self.code, self.version, &self.tag);
        let parent = self.parent.map_or_else(|| "NULL".to_owned(), |parent| parent.to_string());
        let parent = if table == REFERRING { format!("{parent}, ") } else { String::new() };
        format!("({written}, {code}, {parent}{version}, '{tag}', '{}')", vector_text(id, version))
    }

    /// Its line of a COPY.
    pub(super) fn line(&self, (table, id): Key) -> String {
        let (code, version, tag) = (self.code, self.version, &self.tag);
        let parent = self.parent.map_or_else(|| "\\N".to_owned(), |parent| parent.to_string());
        let parent = if table == REFERRING { format!("{parent}\t") } else { String::new() };
        format!("{id}\t{code}\t{parent}{version}\t{tag}\t{}\n", vector_text(id, version))
    }
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
    /// Statements that had to be refused and were.
    pub refused: u64,
    /// Inserts of a value that somebody else has.
    pub taken: u64,
    /// Rows that went with the row they referred to.
    pub cascaded: u64,
    next: i64,
    tags: u64,
}

impl Ledger {
    /// A client without rows.
    #[must_use]
    pub fn new(client: usize) -> Self {
        Self {
            client,
            rows: BTreeMap::new(),
            doubt: None,
            acknowledged: 0,
            refused: 0,
            taken: 0,
            cascaded: 0,
            next: 0,
            tags: 0,
        }
    }

    /// An id, or a code, that this client never used.
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
