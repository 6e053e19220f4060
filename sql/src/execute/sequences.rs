//! Sequence values for expressions: the node hands them out, this adapts it to exec's door.

use std::sync::Arc;

use async_trait::async_trait;
use cluster::Node;
use exec::SequenceSource;
use proto::{SequenceId, SqlError};

use super::node_error;

/// The node as a source of sequence values.
#[derive(Debug)]
pub(super) struct NodeSequences(pub(super) Arc<Node>);

#[async_trait]
impl SequenceSource for NodeSequences {
    async fn next_values(&self, sequence: SequenceId, count: usize) -> Result<Vec<i64>, SqlError> {
        self.0.next_values(sequence, count).await.map_err(|error| node_error(&error))
    }
}
