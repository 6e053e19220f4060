//! Which rows of a segment ended when: a persistent set (cloning costs pointers, clones never change).
//!
//! Deletes arrive in commit order and may arrive twice (replay); a row ends at the earliest timestamp told.
//! A TRUNCATE is one entry that ends every row the segment held at that moment, not one entry per row.
//!
//! What it is not: it does not know when rows began; `SegmentView` combines both.
//!
//! Invariants: pages hold 1024 ordinals with their entries ascending; `max_ts` is at or above every entry's ts,
//! which is what lets a reader behind all deletes use the bitmaps without looking at timestamps.

use std::sync::{Arc, OnceLock};

use arrow::buffer::BooleanBuffer;
use proto::{RowId, Timestamp};

use crate::bitmap;

const PAGE_ROWS: usize = 1024;
const PAGE_WORDS: usize = PAGE_ROWS / bitmap::WORD;

/// One row that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeleteEntry {
    pub ordinal: u32,
    pub row: RowId,
    /// The row is invisible to readers at or after this instant.
    pub ts: Timestamp,
}

/// All rows at ordinals below `rows` ended at `ts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndOfRows {
    pub rows: u32,
    pub ts: Timestamp,
}

#[derive(Clone, Debug)]
struct Page {
    bits: [u64; PAGE_WORDS],
    entries: Vec<DeleteEntry>,
}

/// A visible bitmap computed for a number of rows when nothing was in the future.
type Cached = OnceLock<(usize, BooleanBuffer)>;

/// The deletes of one segment.
#[derive(Clone, Debug, Default)]
pub struct DeleteSet {
    pages: Arc<Vec<Option<Arc<Page>>>>,
    ends: Arc<Vec<EndOfRows>>,
    len: usize,
    max_ts: Timestamp,
    cache: Arc<Cached>,
}

impl DeleteSet {
    /// A set with nothing deleted.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends a row at `ts`; an earlier end that is already known stays.
    pub fn insert(&mut self, ordinal: u32, row: RowId, ts: Timestamp) {
        self.forget_cache();
        let pages = Arc::make_mut(&mut self.pages);
        let position = ordinal as usize / PAGE_ROWS;
        if pages.len() <= position {
            pages.resize(position + 1, None);
        }
        let page = pages[position]
            .get_or_insert_with(|| Arc::new(Page { bits: [0; PAGE_WORDS], entries: Vec::new() }));
        let page = Arc::make_mut(page);
        let entry = DeleteEntry { ordinal, row, ts };
        match page.entries.binary_search_by_key(&ordinal, |entry| entry.ordinal) {
            Ok(known) => {
                if page.entries[known].ts <= ts {
                    return;
                }
                page.entries[known] = entry;
            }
            Err(place) => {
                page.entries.insert(place, entry);
                let bit = ordinal as usize % PAGE_ROWS;
                page.bits[bit / bitmap::WORD] |= 1 << (bit % bitmap::WORD);
                self.len += 1;
            }
        }
        self.max_ts = self.max_ts.max(ts);
    }

    /// Ends all rows at ordinals below `rows` at `ts` (TRUNCATE).
    pub fn end_all(&mut self, rows: u32, ts: Timestamp) {
        if rows == 0 || self.ends.iter().any(|end| end.rows >= rows && end.ts <= ts) {
            return;
        }
        self.forget_cache();
        Arc::make_mut(&mut self.ends).push(EndOfRows { rows, ts });
        self.max_ts = self.max_ts.max(ts);
    }

    /// When the row at `ordinal` ended.
    #[must_use]
    pub fn delete_ts(&self, ordinal: u32) -> Option<Timestamp> {
        let own = self.page(ordinal).and_then(|page| {
            let entry = page.entries.binary_search_by_key(&ordinal, |entry| entry.ordinal).ok()?;
            Some(page.entries[entry].ts)
        });
        let end = self.ends.iter().filter(|end| ordinal < end.rows).map(|end| end.ts).min();
        own.into_iter().chain(end).min()
    }

    /// Whether the row at `ordinal` is hidden from a reader at `read_ts`.
    #[must_use]
    pub fn is_deleted(&self, ordinal: u32, read_ts: Timestamp) -> bool {
        self.delete_ts(ordinal).is_some_and(|ts| ts <= read_ts)
    }

    /// Number of the first `rows` rows that ended at or before `ts`.
    #[must_use]
    pub fn ended(&self, rows: usize, ts: Timestamp) -> usize {
        if self.is_empty() {
            return 0;
        }
        let mut words = bitmap::all_set(rows);
        self.hide(&mut words, rows, ts);
        rows - words.iter().map(|word| word.count_ones() as usize).sum::<usize>()
    }

    /// Whether each of a segment's rows has ended.
    #[must_use]
    pub fn has_ended_all(&self, rows: usize) -> bool {
        !self.is_empty() && self.all_undeleted(rows).count_set_bits() == 0
    }

    /// The greatest timestamp at or before `ts` at which a row ended.
    #[must_use]
    pub fn last_end(&self, ts: Timestamp) -> Option<Timestamp> {
        let all = self.entries().map(|entry| entry.ts).chain(self.ends.iter().map(|end| end.ts));
        all.filter(|end| *end <= ts).max()
    }

    /// Every single-row entry, ascending by ordinal.
    pub fn entries(&self) -> impl Iterator<Item = DeleteEntry> {
        self.pages.iter().flatten().flat_map(|page| page.entries.iter().copied())
    }

    /// Every TRUNCATE.
    #[must_use]
    pub fn ends(&self) -> &[EndOfRows] {
        &self.ends
    }

    /// Number of single-row entries.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no row ended, at any time.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0 && self.ends.is_empty()
    }

    /// At or above the timestamp of every delete; zero without deletes.
    #[must_use]
    pub const fn max_ts(&self) -> Timestamp {
        self.max_ts
    }

    /// Clears the bits of rows hidden from a reader at `read_ts`.
    pub fn hide(&self, words: &mut [u64], rows: usize, read_ts: Timestamp) {
        for end in self.ends.iter().filter(|end| end.ts <= read_ts) {
            clear_prefix(words, rows.min(end.rows as usize));
        }
        for (position, page) in self.pages.iter().enumerate() {
            let Some(page) = page else { continue };
            if self.max_ts <= read_ts {
                let start = position * PAGE_WORDS;
                for (word, bits) in words.iter_mut().skip(start).zip(page.bits) {
                    *word &= !bits;
                }
            } else {
                for entry in page.entries.iter().filter(|entry| entry.ts <= read_ts) {
                    bitmap::clear(words, entry.ordinal as usize);
                }
            }
        }
    }

    /// The bitmap of rows not deleted at all, kept for the next reader behind all deletes.
    #[must_use]
    pub fn all_undeleted(&self, rows: usize) -> BooleanBuffer {
        if let Some((cached_rows, bitmap)) = self.cache.get()
            && *cached_rows == rows
        {
            return bitmap.clone();
        }
        let mut words = bitmap::all_set(rows);
        self.hide(&mut words, rows, Timestamp::MAX);
        let bitmap = bitmap::from_words(words, rows);
        // Another reader may have been first, or the segment grew since: then this one is not kept.
        let _ = self.cache.set((rows, bitmap.clone()));
        bitmap
    }

    fn page(&self, ordinal: u32) -> Option<&Page> {
        self.pages.get(ordinal as usize / PAGE_ROWS)?.as_deref()
    }

    /// Detaches from the cache cell that clones made before still share.
    fn forget_cache(&mut self) {
        match Arc::get_mut(&mut self.cache) {
            Some(cell) => drop(cell.take()),
            None => self.cache = Arc::default(),
        }
    }
}

fn clear_prefix(words: &mut [u64], rows: usize) {
    let whole = rows / bitmap::WORD;
    words[..whole].fill(0);
    if let (Some(word), tail @ 1..) = (words.get_mut(whole), rows % bitmap::WORD) {
        *word &= !((1 << tail) - 1);
    }
}

#[cfg(test)]
mod tests;
