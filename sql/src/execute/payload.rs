//! Cutting streamed rows into Payload parts of about 1 MB, so that no append blocks the channel for long and none
//! passes a broker's message limit. What is left at the end the node itself cuts or puts into the Commit.
//!
//! Invariant: the pieces in order are the rows in order.

use arrow::array::{Array, RecordBatch};

/// Aimed-at size of one Payload part.
pub(crate) const PART_TARGET_BYTES: usize = 1 << 20;
/// Bytes that the rows of a batch occupy, slices counted by what they show.
pub(crate) fn batch_bytes(batch: &RecordBatch) -> usize {
    batch
        .columns()
        .iter()
        .map(|column| {
            column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
        })
        .sum()
}

/// Slices a batch into pieces of at most about `target` bytes, at least one row each.
pub(crate) fn split_batch(batch: &RecordBatch, target: usize) -> Vec<RecordBatch> {
    let rows = batch.num_rows();
    if rows == 0 {
        return Vec::new();
    }
    let per_row = batch_bytes(batch).div_ceil(rows).max(1);
    let rows_per_piece = (target / per_row).max(1);
    (0..rows)
        .step_by(rows_per_piece)
        .map(|start| batch.slice(start, rows_per_piece.min(rows - start)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;

    use super::*;

    #[test]
    fn pieces_keep_every_row_in_order() {
        let rows = Arc::new(Int64Array::from_iter_values(0..300_000)) as _;
        let batch = RecordBatch::try_from_iter([("id", rows)]).expect("one column");
        let pieces = split_batch(&batch, PART_TARGET_BYTES);
        assert!(pieces.len() > 2);
        assert!(pieces.iter().all(|piece| batch_bytes(piece) <= PART_TARGET_BYTES));
        let together = arrow::compute::concat_batches(&batch.schema(), &pieces).expect("same schema");
        assert_eq!(together, batch);
        assert!(split_batch(&batch.slice(0, 0), PART_TARGET_BYTES).is_empty());
    }
}
