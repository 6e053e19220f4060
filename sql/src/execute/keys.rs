//! The values of a table's unique keys in rows that a statement writes or ends.
//!
//! What it is not: no lookup and no decision (`duplicates`), no lock (`locking`).

use arrow::array::RecordBatch;
use proto::catalog::{KeyMeta, TableMeta};
use proto::key::encode_unique_keys;
use proto::{ErrorKind, SqlError};

use super::rows;

/// The value of a key in each row, `None` where the row is in no key because of a NULL.
type Values = Vec<Option<Box<[u8]>>>;

/// The values of all unique keys in the rows of a batch.
#[derive(Debug)]
pub(crate) struct KeyValues {
    /// Of the primary key; without one the bytes are empty.
    pub(crate) primary: Vec<Box<[u8]>>,
    /// Of the other keys, in the order of `TableMeta::uniques`.
    pub(crate) others: Vec<Values>,
}

impl KeyValues {
    /// The values in rows of the table.
    ///
    /// # Errors
    /// 0A000 for a column type that cannot be part of a key.
    pub(crate) fn of(batch: &RecordBatch, table: &TableMeta) -> Result<Self, SqlError> {
        Self::encode(batch, table, Ok)
    }

    /// The values in rows of which a batch has the tracked columns only, from `first` on.
    ///
    /// # Errors
    /// As `of`.
    pub(crate) fn tracked(batch: &RecordBatch, table: &TableMeta, first: usize) -> Result<Self, SqlError> {
        Self::encode(batch, table, |positions| {
            Ok(tracked_places(table, &positions)?.into_iter().map(|place| first + place).collect())
        })
    }

    fn encode(
        batch: &RecordBatch,
        table: &TableMeta,
        places: impl Fn(Vec<usize>) -> Result<Vec<usize>, SqlError>,
    ) -> Result<Self, SqlError> {
        let places = |ids: &[u32]| places(table.positions(ids));
        let primary =
            table.primary_key.as_ref().map_or_else(|| Ok(Vec::new()), |key| places(&key.columns))?;
        let mut others = Vec::with_capacity(table.uniques.len());
        for key in &table.uniques {
            others.push(encode_unique_keys(batch, &places(&key.columns)?, key.nulls_distinct)?);
        }
        Ok(Self { primary: rows::keys(batch, &primary)?, others })
    }

    /// Every key with its values.
    pub(crate) fn each<'a>(
        &'a self,
        table: &'a TableMeta,
    ) -> impl Iterator<Item = (KeyMeta<'a>, Vec<Option<&'a [u8]>>)> {
        let primary = table.primary_key.iter();
        let primary = primary.map(|key| (key.as_key(), self.primary.iter().map(|k| Some(&**k)).collect()));
        let others = table.uniques.iter().zip(&self.others);
        primary
            .chain(others.map(|(key, values)| (key.as_key(), values.iter().map(Option::as_deref).collect())))
    }

    /// Whether a row has other keys than it had.
    pub(crate) fn differs(&self, old: &Self, row: usize) -> bool {
        let pairs = self.others.iter().zip(&old.others);
        self.primary[row] != old.primary[row] || pairs.into_iter().any(|(new, old)| new[row] != old[row])
    }
}

/// Where a batch of tracked columns has the columns at `positions`, which are columns of keys and so tracked.
///
/// # Errors
/// XX000 when one is not: any other place would be the values of another column.
pub(crate) fn tracked_places(table: &TableMeta, positions: &[usize]) -> Result<Vec<usize>, SqlError> {
    let tracked = table.tracked_positions();
    let place = |position: &usize| tracked.iter().position(|known| known == position);
    let places: Option<Vec<usize>> = positions.iter().map(place).collect();
    places.ok_or_else(|| SqlError::new(ErrorKind::Internal, "a column of a key is not among those read"))
}
