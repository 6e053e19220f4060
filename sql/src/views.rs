//! The views of schema `elanus`: what the storage engine holds, for operators and tests.
//!
//! What it is not: a source of facts. The rows are handed in by whoever holds them, as plain values.

use crate::pg_catalog::Computed;

mod channels;
mod compactions;
mod copies;
mod indexes;
mod segments;
mod snapshots;
mod statistics;

pub use segments::SegmentRow;

/// The relations with rows.
pub(crate) const RELATIONS: &[&Computed] = &[
    &channels::CHANNELS,
    &compactions::COMPACTIONS,
    &compactions::GARBAGE,
    &compactions::PG_STAT_PROGRESS_VACUUM,
    &copies::PG_STAT_PROGRESS_COPY,
    &indexes::INDEX_BUILDS,
    &indexes::INDEX_STATUS,
    &indexes::PG_STAT_PROGRESS_CREATE_INDEX,
    &segments::SEGMENTS,
    &snapshots::SNAPSHOTS,
    &statistics::PG_STAT_ALL_TABLES,
    &statistics::PG_STAT_USER_TABLES,
];
