//! How many sessions each database has: a database in use is not dropped.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use proto::DatabaseId;

/// Sessions by database.
#[derive(Debug, Default)]
pub struct Connections(Mutex<BTreeMap<DatabaseId, usize>>);

/// One session's place in the count; it is given back when dropped.
#[derive(Debug)]
pub(super) struct Connection {
    of: Arc<Connections>,
    database: DatabaseId,
}

impl Connections {
    /// Counts a session in.
    pub(super) fn enter(self: &Arc<Self>, database: DatabaseId) -> Connection {
        *self.0.lock().entry(database).or_insert(0) += 1;
        Connection { of: Arc::clone(self), database }
    }

    /// Sessions of a database now.
    pub(super) fn count(&self, database: DatabaseId) -> usize {
        self.0.lock().get(&database).copied().unwrap_or(0)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(count) = self.of.0.lock().get_mut(&self.database) {
            *count -= 1;
        }
    }
}
