//! A list that only grows and is cheap to clone: chunks behind `Arc`, merged geometrically.
//!
//! Invariant: neighbouring chunks differ at least by a factor of two in length, so that there are at most
//! about log2(n) of them and every element is copied at most about log2(n) times.

use std::sync::Arc;

/// The list.
#[derive(Clone, Debug)]
pub(crate) struct AppendList<T> {
    chunks: Vec<Arc<Vec<T>>>,
}

impl<T> Default for AppendList<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T: Clone> AppendList<T> {
    /// Adds an element; clones made before do not see it.
    pub(crate) fn push(&mut self, element: T) {
        if let Some(last) = self.chunks.last_mut().and_then(Arc::get_mut) {
            last.push(element);
        } else {
            self.chunks.push(Arc::new(vec![element]));
        }
        while let [.., previous, last] = self.chunks.as_slice() {
            if previous.len() > last.len() * 2 {
                break;
            }
            let mut merged = Vec::with_capacity((previous.len() + last.len()) * 2);
            merged.extend_from_slice(previous);
            merged.extend_from_slice(last);
            self.chunks.truncate(self.chunks.len() - 2);
            self.chunks.push(Arc::new(merged));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.len()).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_keep_what_they_saw() {
        let mut list = AppendList::default();
        let mut clones = Vec::new();
        for number in 0..1000_usize {
            if number % 7 == 0 {
                clones.push((number, list.clone()));
            }
            list.push(number);
        }
        assert!(list.iter().copied().eq(0..1000));
        assert!(list.chunks.len() < 12, "{} chunks", list.chunks.len());
        for (length, clone) in clones {
            assert_eq!(clone.len(), length);
            assert!(clone.iter().copied().eq(0..length));
        }
    }
}
