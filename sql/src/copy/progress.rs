//! How far each COPY is: what `pg_stat_progress_copy` shows.
//!
//! Invariant: an entry lives as long as somebody counts in it; nothing has to sign off.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use proto::{DatabaseId, TableId};

/// What a COPY is, for its whole life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyWork {
    pub pid: i32,
    pub database: DatabaseId,
    /// The table; none for a query.
    pub table: Option<TableId>,
    /// Whether rows come in.
    pub from: bool,
    /// Whether the data are at a place of the server's, and not on the client's connection.
    pub file: bool,
    /// Bytes of the source; 0 when that is not known.
    pub bytes_total: u64,
}

#[derive(Debug)]
struct Entry {
    work: Option<CopyWork>,
    bytes: AtomicU64,
    rows: AtomicU64,
}

/// Counts what one COPY has done; clones count together.
#[derive(Clone, Debug)]
pub struct CopyProgress(Arc<Entry>);

impl Default for CopyProgress {
    /// Counts that nobody sees.
    fn default() -> Self {
        Self(Arc::new(Entry { work: None, bytes: AtomicU64::new(0), rows: AtomicU64::new(0) }))
    }
}

impl CopyProgress {
    /// More bytes were read or written.
    pub fn add_bytes(&self, bytes: u64) {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// More rows were taken or given.
    pub fn add_rows(&self, rows: u64) {
        self.0.rows.fetch_add(rows, Ordering::Relaxed);
    }
}

/// A row of the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyRow {
    pub work: CopyWork,
    pub bytes_processed: u64,
    pub tuples_processed: u64,
}

/// The COPYs of a process.
#[derive(Debug, Default)]
pub struct CopyRegistry(Mutex<Vec<Weak<Entry>>>);

impl CopyRegistry {
    /// Begins to count a COPY.
    #[must_use]
    pub fn begin(&self, work: CopyWork) -> CopyProgress {
        let entry = Arc::new(Entry { work: Some(work), bytes: AtomicU64::new(0), rows: AtomicU64::new(0) });
        let mut entries = self.0.lock();
        entries.retain(|entry| entry.strong_count() > 0);
        entries.push(Arc::downgrade(&entry));
        CopyProgress(entry)
    }

    /// Those that run now.
    #[must_use]
    pub fn rows(&self) -> Vec<CopyRow> {
        let entries = self.0.lock();
        let row = |entry: &Weak<Entry>| {
            let entry = entry.upgrade()?;
            Some(CopyRow {
                work: entry.work.clone()?,
                bytes_processed: entry.bytes.load(Ordering::Relaxed),
                tuples_processed: entry.rows.load(Ordering::Relaxed),
            })
        };
        entries.iter().filter_map(row).collect()
    }
}
