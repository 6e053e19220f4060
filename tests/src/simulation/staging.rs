//! Rows of a drawn transaction that are in files before its commit, with one among them that it ends itself.

use cluster::{CommitRequest, Node};
use proto::key::encode_unique_keys;
use proto::record::RowRef;
use proto::{DatabaseId, RowId};
use segments::{TableOverlay, TableSnapshot};

use super::clients::Trouble;
use crate::rows;

/// Puts the overlay's new rows in files. `doomed` is a number that no row has.
pub(super) async fn stage(
    node: &Node,
    database: DatabaseId,
    (table, doomed): (usize, u32),
    overlay: &mut TableOverlay,
    request: &mut CommitRequest,
) -> Result<(), Trouble> {
    let (segment, ordinal) = (overlay.growing().id(), overlay.growing().rows() as u32);
    let batch = rows::batch(overlay.table(), table, &[(doomed, 0)]);
    overlay.insert(&batch)?;
    let staged = node.stage(database, overlay.growing()).await?;
    overlay.stage(std::sync::Arc::clone(staged.segment()));
    overlay.delete(RowRef { segment, ordinal, row: RowId(u64::from(ordinal)) }, bytes::Bytes::new());
    request.staged.push(staged);
    Ok(())
}

/// Whether no row of a snapshot has a value of a unique key that new rows have, nor two of these the same.
pub(super) fn are_free(
    snapshot: &TableSnapshot,
    table: usize,
    inserts: &[(u32, u32)],
) -> Result<bool, Trouble> {
    let batch = rows::batch(&snapshot.table, table, inserts);
    for key in snapshot.table.keys() {
        let positions = snapshot.table.positions(key.columns);
        let values = encode_unique_keys(&batch, &positions, key.nulls_distinct);
        let values = values.map_err(|error| Trouble::Error(error.to_string()))?;
        let mut seen = std::collections::BTreeSet::new();
        if !values.iter().flatten().all(|value| seen.insert(value)) {
            return Ok(false);
        }
        let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
        if snapshot.find(key, &values)?.iter().any(Option::is_some) {
            return Ok(false);
        }
    }
    Ok(true)
}
