//! Sequence values for expressions: the node hands them out, this adapts it to exec's door. Sequences that only the
//! transaction knows are counted in it, until its commit hands their place over with their definition.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use cluster::Node;
use exec::SequenceSource;
use parking_lot::Mutex;
use proto::catalog::{CatalogSnapshot, SequenceMeta};
use proto::{ErrorKind, SequenceId, SqlError};

use super::node_error;

/// The node, and a transaction's own sequences, as a source of sequence values.
#[derive(Debug)]
pub(super) struct NodeSequences {
    pub(super) node: Arc<Node>,
    pub(super) catalog: Arc<CatalogSnapshot>,
    pub(super) own: Arc<Mutex<BTreeMap<SequenceId, i64>>>,
}

#[async_trait]
impl SequenceSource for NodeSequences {
    async fn next_values(&self, sequence: SequenceId, count: usize) -> Result<Vec<i64>, SqlError> {
        if let Some(next) = self.own.lock().get_mut(&sequence) {
            let meta = self.catalog.sequences.get(&sequence).ok_or_else(|| undefined(sequence))?;
            return (0..count).map(|_| own_value(meta, next)).collect();
        }
        self.node.next_values(sequence, count).await.map_err(|error| node_error(&error))
    }

    async fn set_next(&self, sequence: SequenceId, next: i64) -> Result<(), SqlError> {
        if let Some(own) = self.own.lock().get_mut(&sequence) {
            *own = next;
            return Ok(());
        }
        self.node.set_sequence(sequence, next).await.map_err(|error| node_error(&error))
    }
}

fn own_value(meta: &SequenceMeta, next: &mut i64) -> Result<i64, SqlError> {
    let value = *next;
    let end = if value > meta.maximum {
        ("maximum", meta.maximum)
    } else if value < meta.minimum {
        ("minimum", meta.minimum)
    } else {
        *next = value.saturating_add(meta.increment);
        return Ok(value);
    };
    Err(SqlError::new(
        ErrorKind::SequenceGeneratorLimitExceeded,
        format!("nextval: reached {} value of sequence \"{}\" ({})", end.0, meta.name, end.1),
    ))
}

fn undefined(sequence: SequenceId) -> SqlError {
    SqlError::new(ErrorKind::UndefinedTable, format!("relation with OID {sequence} does not exist"))
}
