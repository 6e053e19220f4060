//! The door to FAISS: graphs and centroids are built through the C++ shim in `segments/shim`.
//!
//! What it is not: no search and no stored bytes. FAISS gets rows that were verified and gives back plain numbers;
//! what is stored and searched is ours (`index`, `format`), so no damaged file can reach C++ code.
//!
//! Invariant: nothing of FAISS outlives the call that made it.
#![allow(unsafe_code, reason = "calls of the C++ shim")]

use std::ffi::{CStr, c_char, c_int, c_void};

use proto::DistanceMetric;

// The package that builds and links FAISS; all calls go through the shim.
use faiss as _;

/// Why FAISS did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaissError {
    /// The progress callback asked to stop.
    #[error("the build was canceled")]
    Canceled,
    /// FAISS' own words.
    #[error("FAISS: {0}")]
    Failed(String),
}

/// A proximity graph as FAISS leaves it, copied out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawGraph {
    /// Layers of each node; 1 is the lowest alone.
    pub levels: Vec<i32>,
    /// Where each node's places begin in `neighbours`; one more than nodes.
    pub offsets: Vec<usize>,
    /// Per node 2m places of the lowest layer, then m per further layer; -1 is empty.
    pub neighbours: Vec<i32>,
    /// The node where a search begins; -1 without nodes.
    pub entry: i32,
    /// Its layer, from 0; -1 without nodes.
    pub top_layer: i32,
}

/// How a graph is built.
#[derive(Clone, Copy, Debug)]
pub struct GraphParameters {
    pub metric: DistanceMetric,
    pub m: u32,
    pub ef_construction: u32,
    pub threads: usize,
}

/// Rows that nodes stand for.
#[derive(Clone, Copy, Debug)]
pub struct NodeRows<'a> {
    /// Rows of `dimensions` elements without gaps.
    pub values: &'a [f32],
    pub dimensions: usize,
    /// The row of each node, ascending; without it node i is row i of all rows.
    pub ordinals: Option<&'a [u32]>,
}

impl NodeRows<'_> {
    /// Number of nodes.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.ordinals.map_or(self.values.len() / self.dimensions.max(1), <[u32]>::len)
    }
}

const ERROR_BYTES: usize = 256;

#[repr(C)]
struct ShimRows {
    values: *const f32,
    dimensions: usize,
    ordinals: *const u32,
    count: usize,
}

#[repr(C)]
struct ShimGraphParts {
    levels: *const i32,
    offsets: *const usize,
    neighbours: *const i32,
    neighbour_count: usize,
    entry: i32,
    top_layer: i32,
}

type ShimProgress = extern "C" fn(*mut c_void, usize) -> c_int;

unsafe extern "C" {
    fn elanus_graph_build(
        rows: *const ShimRows,
        metric: c_int,
        m: c_int,
        ef_construction: c_int,
        threads: c_int,
        progress: ShimProgress,
        context: *mut c_void,
        graph: *mut *mut c_void,
        error: *mut c_char,
    ) -> c_int;
    fn elanus_graph_free(graph: *mut c_void);
    fn elanus_graph_parts(graph: *const c_void, parts: *mut ShimGraphParts);
    fn elanus_centroids(
        values: *const f32,
        dimensions: usize,
        count: usize,
        lists: usize,
        spherical: c_int,
        threads: c_int,
        centroids: *mut f32,
        error: *mut c_char,
    ) -> c_int;
    fn elanus_assign(
        centroids: *const f32,
        dimensions: usize,
        lists: usize,
        inner_product: c_int,
        values: *const f32,
        count: usize,
        threads: c_int,
        assigned: *mut u32,
        error: *mut c_char,
    ) -> c_int;
    fn elanus_faiss_options() -> *const c_char;
    fn elanus_faiss_version() -> c_int;
}

/// What is handed through C++ to the progress callback.
struct Reporter<'a> {
    report: &'a mut dyn FnMut(usize) -> bool,
    canceled: bool,
}

extern "C" fn report_progress(context: *mut c_void, done: usize) -> c_int {
    // SAFETY: `context` is the `Reporter` that `build_graph` lends for the duration of its call, from one thread.
    let reporter = unsafe { &mut *context.cast::<Reporter<'_>>() };
    let go_on = (reporter.report)(done);
    reporter.canceled |= !go_on;
    c_int::from(!go_on)
}

/// Builds a graph. `report` gets the number of nodes linked so far and says whether to go on. Under cosine no node's
/// row may be zero.
///
/// # Errors
/// `Canceled` when `report` said so, `Failed` in FAISS' words.
///
/// # Panics
/// When an ordinal lies outside the rows; a defect of the caller.
pub fn build_graph(
    rows: NodeRows<'_>,
    parameters: GraphParameters,
    report: &mut dyn FnMut(usize) -> bool,
) -> Result<RawGraph, FaissError> {
    let (nodes, available) = (rows.nodes(), rows.values.len() / rows.dimensions.max(1));
    // Ascending ordinals: the last is the largest, and C++ reads at all of them.
    let inside = rows.ordinals.is_none_or(|ordinals| {
        ordinals.is_sorted() && ordinals.last().is_none_or(|last| (*last as usize) < available)
    });
    assert!(inside, "the nodes' rows lie inside the rows");
    let shim_rows = ShimRows {
        values: rows.values.as_ptr(),
        dimensions: rows.dimensions,
        ordinals: rows.ordinals.map_or(std::ptr::null(), <[u32]>::as_ptr),
        count: nodes,
    };
    let mut reporter = Reporter { report, canceled: false };
    let mut graph: *mut c_void = std::ptr::null_mut();
    let mut error = [0; ERROR_BYTES];
    // SAFETY: the rows outlive the call and were checked to hold every node; the reporter lives until it returns;
    // `error` has the size the shim writes at most; `graph` is read only on success.
    let failed = unsafe {
        elanus_graph_build(
            &raw const shim_rows,
            metric_number(parameters.metric),
            parameters.m as c_int,
            parameters.ef_construction as c_int,
            parameters.threads as c_int,
            report_progress,
            (&raw mut reporter).cast(),
            &raw mut graph,
            error.as_mut_ptr(),
        )
    };
    if failed != 0 {
        return Err(if reporter.canceled { FaissError::Canceled } else { reason(&error) });
    }
    // SAFETY: the graph was just made; it is copied out and freed once.
    unsafe {
        let copy = copy_parts(graph, nodes);
        elanus_graph_free(graph);
        Ok(copy)
    }
}

/// # Safety
/// `graph` was made by `elanus_graph_build` over `nodes` nodes and not freed.
unsafe fn copy_parts(graph: *const c_void, nodes: usize) -> RawGraph {
    let mut parts = ShimGraphParts {
        levels: std::ptr::null(),
        offsets: std::ptr::null(),
        neighbours: std::ptr::null(),
        neighbour_count: 0,
        entry: -1,
        top_layer: -1,
    };
    // SAFETY: the graph is alive, `parts` has the shim's layout.
    unsafe { elanus_graph_parts(graph, &raw mut parts) };
    if nodes == 0 {
        return RawGraph { entry: -1, top_layer: -1, offsets: vec![0], ..RawGraph::default() };
    }
    // SAFETY: FAISS keeps one level per node, one more offset, and the number of places it says.
    unsafe {
        RawGraph {
            levels: std::slice::from_raw_parts(parts.levels, nodes).to_vec(),
            offsets: std::slice::from_raw_parts(parts.offsets, nodes + 1).to_vec(),
            neighbours: std::slice::from_raw_parts(parts.neighbours, parts.neighbour_count).to_vec(),
            entry: parts.entry,
            top_layer: parts.top_layer,
        }
    }
}

/// k-means: `lists` centroids of the vectors in `values`, one after the other. `spherical` keeps them at length 1, for
/// directions rather than places.
///
/// # Errors
/// `Failed` in FAISS' words, also when there are fewer vectors than lists.
pub fn centroids(
    values: &[f32],
    dimensions: usize,
    lists: usize,
    spherical: bool,
    threads: usize,
) -> Result<Vec<f32>, FaissError> {
    let mut centroids = vec![0.0; lists * dimensions];
    let mut error = [0; ERROR_BYTES];
    // SAFETY: sizes are those of the slices; `error` has the size the shim writes at most.
    let failed = unsafe {
        elanus_centroids(
            values.as_ptr(),
            dimensions,
            values.len() / dimensions.max(1),
            lists,
            c_int::from(spherical),
            threads as c_int,
            centroids.as_mut_ptr(),
            error.as_mut_ptr(),
        )
    };
    if failed == 0 { Ok(centroids) } else { Err(reason(&error)) }
}

/// The number of the nearest centroid of each vector in `values`, by inner product or else by L2.
///
/// # Errors
/// `Failed` in FAISS' words.
pub fn assign(
    centroids: &[f32],
    values: &[f32],
    dimensions: usize,
    inner_product: bool,
    threads: usize,
) -> Result<Vec<u32>, FaissError> {
    let mut assigned = vec![0; values.len() / dimensions.max(1)];
    let mut error = [0; ERROR_BYTES];
    // SAFETY: sizes are those of the slices; `error` has the size the shim writes at most.
    let failed = unsafe {
        elanus_assign(
            centroids.as_ptr(),
            dimensions,
            centroids.len() / dimensions.max(1),
            c_int::from(inner_product),
            values.as_ptr(),
            assigned.len(),
            threads as c_int,
            assigned.as_mut_ptr(),
            error.as_mut_ptr(),
        )
    };
    if failed == 0 { Ok(assigned) } else { Err(reason(&error)) }
}

/// FAISS' version and the instruction sets it was compiled for.
#[must_use]
pub fn library() -> String {
    // SAFETY: the shim gives a static zero-terminated string.
    let (options, version) =
        unsafe { (CStr::from_ptr(elanus_faiss_options()).to_string_lossy(), elanus_faiss_version()) };
    format!("{}.{}.{} ({})", version / 10000, version / 100 % 100, version % 100, options.trim())
}

/// The instructions that FAISS was compiled with and this CPU does not have; the process would end at the first of
/// them, so it must not start.
#[must_use]
pub fn missing_instructions() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        // The set behind `-march=x86-64-v3` in `.cargo/config.toml`.
        let all = [
            ("avx2", std::arch::is_x86_feature_detected!("avx2")),
            ("bmi1", std::arch::is_x86_feature_detected!("bmi1")),
            ("bmi2", std::arch::is_x86_feature_detected!("bmi2")),
            ("f16c", std::arch::is_x86_feature_detected!("f16c")),
            ("fma", std::arch::is_x86_feature_detected!("fma")),
            ("lzcnt", std::arch::is_x86_feature_detected!("lzcnt")),
        ];
        all.into_iter().filter(|(_, present)| !present).map(|(name, _)| name).collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    Vec::new()
}

const fn metric_number(metric: DistanceMetric) -> c_int {
    match metric {
        DistanceMetric::L2 => 0,
        DistanceMetric::InnerProduct => 1,
        DistanceMetric::Cosine => 2,
        DistanceMetric::L1 => 3,
    }
}

fn reason(error: &[c_char; ERROR_BYTES]) -> FaissError {
    let bytes: Vec<u8> = error.iter().take_while(|byte| **byte != 0).map(|byte| *byte as u8).collect();
    FaissError::Failed(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;
