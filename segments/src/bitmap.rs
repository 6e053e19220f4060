//! Bitmaps over the rows of a segment: arrow's `BooleanBuffer`, least significant bit first, offset 0.
//!
//! Invariant: bitmaps made here start at bit offset 0 and have no set bit behind their length.

use arrow::buffer::{BooleanBuffer, Buffer};

/// Bits of a word.
pub const WORD: usize = 64;

/// The number of words that hold `rows` bits.
#[must_use]
pub const fn word_count(rows: usize) -> usize {
    rows.div_ceil(WORD)
}

/// Words with the first `rows` bits set.
#[must_use]
pub fn all_set(rows: usize) -> Vec<u64> {
    let mut words = vec![u64::MAX; word_count(rows)];
    if let (Some(last), tail @ 1..) = (words.last_mut(), rows % WORD) {
        *last = (1 << tail) - 1;
    }
    words
}

/// A bitmap of `rows` bits from words.
#[must_use]
pub fn from_words(words: Vec<u64>, rows: usize) -> BooleanBuffer {
    BooleanBuffer::new(Buffer::from_vec(words), 0, rows)
}

/// A bitmap with the given ordinals set; ordinals at or behind `rows` are ignored.
#[must_use]
pub fn from_ordinals(ordinals: impl IntoIterator<Item = u32>, rows: usize) -> BooleanBuffer {
    let mut words = vec![0_u64; word_count(rows)];
    for ordinal in ordinals {
        let ordinal = ordinal as usize;
        if ordinal < rows {
            words[ordinal / WORD] |= 1 << (ordinal % WORD);
        }
    }
    from_words(words, rows)
}

/// Clears one bit.
pub fn clear(words: &mut [u64], ordinal: usize) {
    if let Some(word) = words.get_mut(ordinal / WORD) {
        *word &= !(1 << (ordinal % WORD));
    }
}

/// Calls `visit` with the position of every set bit of a word.
#[inline]
pub fn each_bit(mut word: u64, mut visit: impl FnMut(usize)) {
    while word != 0 {
        visit(word.trailing_zeros() as usize);
        word &= word - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bit_is_set_behind_the_length() {
        for rows in [0, 1, 63, 64, 65, 200] {
            let words = all_set(rows);
            let ones: u32 = words.iter().map(|word| word.count_ones()).sum();
            assert_eq!(ones as usize, rows);
            assert_eq!(from_words(words, rows).count_set_bits(), rows);
        }
    }

    #[test]
    fn ordinals_and_bits_agree() {
        let bitmap = from_ordinals([0, 5, 64, 129, 500], 130);
        assert_eq!(bitmap.set_indices().collect::<Vec<_>>(), [0, 5, 64, 129]);
        let mut seen = Vec::new();
        each_bit(0b1010_0001, |bit| seen.push(bit));
        assert_eq!(seen, [0, 5, 7]);
    }
}
