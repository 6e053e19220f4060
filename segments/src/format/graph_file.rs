//! The graph file: the links of an HNSW index over one column of a segment; vectors stay in the vector file.
//!
//! Envelope of kind 5. Its numbers: nodes | upper nodes << 32; entry node | rows of upper links << 32; m | layer of
//! the entry node << 16 | 1 << 32 when node i is row i. Body, every number 4 bytes:
//!
//! ```text
//! nodes × 2m           neighbours in the lowest layer, nearest part of the list first, 0xffffffff fills up
//! upper nodes          the nodes that are in further layers, ascending
//! upper nodes + 1      where each one's rows of links begin in what follows
//! rows × m             neighbours in layers 1, 2, … of each upper node, one row a layer, filled up alike
//! nodes                the row of each node, ascending; absent when node i is row i
//! 2                    format version 2: low and high half of the timestamp since which the graph is complete
//! ```
//! Rows without a node have no vector, or under cosine a zero vector, or ended at or before that timestamp. The structure is that of Malkov and Yashunin,
//! "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World graphs".

use std::sync::Arc;

use arrow::buffer::ScalarBuffer;
use bytes::Bytes;
use proto::{SegmentId, Timestamp};

use super::complete_since::{at_end, since_bytes, version_of};
use super::header::{Header, Kind, Opened, enclose_as};
use crate::error::Result;
use crate::faiss::RawGraph;
use crate::index::Verify as _;
use crate::store::ObjectBytes;

const NONE: u32 = u32::MAX;

/// The bytes of a graph file; `ordinals` are the nodes' rows unless node i is row i. Rows that were left out because
/// they had ended did so by `complete_since`, which is zero when there are none.
pub(crate) fn encode(
    segment: SegmentId,
    rows: usize,
    m: usize,
    graph: &RawGraph,
    ordinals: Option<&[u32]>,
    complete_since: Timestamp,
) -> Bytes {
    let nodes = graph.levels.len();
    let upper: Vec<usize> = (0..nodes).filter(|node| graph.levels[*node] > 1).collect();
    let link_rows: usize = upper.iter().map(|node| graph.levels[*node] as usize - 1).sum();
    let dense = u64::from(ordinals.is_none()) << 32;
    let header = Header {
        kind: Kind::Graph,
        owner: segment.0,
        rows: rows as u64,
        numbers: [
            nodes as u64 | (upper.len() as u64) << 32,
            u64::from(graph.entry.max(0) as u32) | (link_rows as u64) << 32,
            m as u64 | (graph.top_layer.max(0) as u64) << 16 | dense,
        ],
    };
    let count = nodes * 2 * m + upper.len() * 2 + 1 + link_rows * m + ordinals.map_or(0, <[u32]>::len);
    let since = since_bytes(complete_since);
    enclose_as(version_of(complete_since), header, count * 4 + since.len(), |out| {
        let mut put = |number: u32| out.extend_from_slice(&number.to_le_bytes());
        for node in 0..nodes {
            let start = graph.offsets[node];
            graph.neighbours[start..start + 2 * m].iter().for_each(|neighbour| put(*neighbour as u32));
        }
        upper.iter().for_each(|node| put(*node as u32));
        let mut row = 0;
        for node in &upper {
            put(row);
            row += graph.levels[*node] as u32 - 1;
        }
        put(row);
        for node in &upper {
            let places = graph.offsets[*node] + 2 * m..graph.offsets[*node + 1];
            graph.neighbours[places].iter().for_each(|neighbour| put(*neighbour as u32));
        }
        ordinals.into_iter().flatten().for_each(|ordinal| put(*ordinal));
        out.extend_from_slice(&since);
    })
}

/// An open graph file.
#[derive(Clone, Debug)]
pub(crate) struct GraphFile {
    object: Arc<Opened>,
    nodes: usize,
    m: usize,
    entry: u32,
    top_layer: usize,
    /// The whole body.
    numbers: ScalarBuffer<u32>,
    /// Positions in `numbers`.
    upper_at: usize,
    upper: usize,
    links_at: usize,
    ordinals_at: Option<usize>,
    complete_since: Timestamp,
}

impl GraphFile {
    /// Checks the envelope and that its parts fit; blocks are verified when touched.
    ///
    /// # Errors
    /// `Corrupted` when the object is damaged or of another segment.
    pub(crate) fn open(bytes: ObjectBytes, segment: SegmentId, rows: usize) -> Result<Self> {
        let object = Opened::open(bytes, Kind::Graph)?;
        let header = *object.header();
        if header.owner != segment.0 || header.rows != rows as u64 {
            return Err(object.corrupted("it is the graph of another segment"));
        }
        let low = |number: u64| (number & u64::from(u32::MAX)) as usize;
        let high = |number: u64| (number >> 32) as usize;
        let [a, b, c] = header.numbers;
        let (nodes, upper, entry, link_rows) = (low(a), high(a), low(b), high(b));
        let (m, top_layer, dense) = ((c & 0xffff) as usize, (c >> 16 & 0xffff) as usize, high(c) == 1);
        let upper_at = nodes.saturating_mul(2 * m);
        let links_at = upper_at.saturating_add(upper * 2 + 1);
        let ordinals_at = links_at.saturating_add(link_rows.saturating_mul(m));
        let end = ordinals_at.saturating_add(if dense { 0 } else { nodes });
        let fits = nodes <= rows && upper <= nodes && (nodes == 0 || entry < nodes) && m > 0;
        let (complete_since, length) = at_end(&object)?;
        if !fits || length != end.saturating_mul(4) {
            return Err(object.corrupted("its parts do not fit"));
        }
        let numbers = object.elements::<u32>(0, end)?;
        let ordinals_at = (!dense).then_some(ordinals_at);
        let entry = entry as u32;
        Ok(Self {
            object,
            nodes,
            m,
            entry,
            top_layer,
            numbers,
            upper_at,
            upper,
            links_at,
            ordinals_at,
            complete_since,
        })
    }

    /// Rows that were left out because they had ended did so at or before this instant.
    pub(crate) const fn complete_since(&self) -> Timestamp {
        self.complete_since
    }

    /// Number of nodes.
    pub(crate) const fn nodes(&self) -> usize {
        self.nodes
    }

    /// Neighbours per node and layer; twice as many in the lowest.
    pub(crate) const fn m(&self) -> usize {
        self.m
    }

    /// Where a search begins: a node and its layer. Without nodes it means nothing.
    pub(crate) const fn entry(&self) -> (u32, usize) {
        (self.entry, self.top_layer)
    }

    /// Bytes of the file's body.
    pub(crate) fn bytes(&self) -> usize {
        self.object.body_length()
    }

    /// An error about this file.
    pub(crate) fn corrupted(&self, reason: &str) -> crate::Error {
        self.object.corrupted(reason)
    }

    /// The neighbours of a node in the lowest layer; the node must exist.
    #[inline]
    pub(crate) fn lowest(&self, node: u32) -> Result<&[u32]> {
        let start = node as usize * 2 * self.m;
        self.list(start, 2 * self.m)
    }

    /// The neighbours of a node in a layer above the lowest; none when the node is not in it.
    pub(crate) fn upper(&self, node: u32, layer: usize) -> Result<&[u32]> {
        let nodes = self.verified(self.upper_at, self.upper)?;
        let Ok(position) = nodes.binary_search(&node) else { return Ok(&[]) };
        let rows = self.verified(self.upper_at + self.upper + position, 2)?;
        let (first, end) = (rows[0] as usize, rows[1] as usize);
        let row = first + layer - 1;
        if row >= end {
            return Ok(&[]);
        }
        if self.links_at + (row + 1) * self.m > self.numbers.len() {
            return Err(self.corrupted("it points outside"));
        }
        self.list(self.links_at + row * self.m, self.m)
    }

    /// The row of a node; the node must exist.
    #[inline]
    pub(crate) fn ordinal(&self, node: u32) -> Result<u32> {
        match self.ordinals_at {
            None => Ok(node),
            Some(start) => Ok(self.verified(start + node as usize, 1)?[0]),
        }
    }

    #[inline]
    fn list(&self, start: usize, places: usize) -> Result<&[u32]> {
        let list = self.verified(start, places)?;
        let used = list.iter().position(|neighbour| *neighbour == NONE).unwrap_or(places);
        Ok(&list[..used])
    }

    #[inline]
    fn verified(&self, start: usize, count: usize) -> Result<&[u32]> {
        self.object.verify(start * 4, (start + count) * 4)?;
        Ok(&self.numbers[start..start + count])
    }
}
