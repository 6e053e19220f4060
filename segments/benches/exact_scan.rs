//! The exact scan of a sealed segment beside a streaming read of the same memory, one thread, in one run.
//!
//! `cargo bench -p segments`; arguments `rows=50000 dimensions=384 rounds=40` may change the shape. The ratio is the
//! figure that matters: how much of what this machine can read the scan uses.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark reads the clock and prints")]
#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first error")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field};
use futures::executor::block_on;
use proto::catalog::{Column, TableMeta};
use proto::{
    ChannelId, ColumnType, DatabaseId, DistanceMetric, Epoch, Oid, RowId, SegmentId, TableId, Timestamp,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use segments::flush::{store_objects, write_segment};
use segments::store::read_object;
use segments::{
    DeleteSet, GrowingRows, LocalStore, ObjectKind, SealedSegment, SegmentView, SystemDoor, top_k,
};

fn argument(name: &str, default: usize) -> usize {
    let found =
        std::env::args().find_map(|argument| argument.strip_prefix(&format!("{name}="))?.parse().ok());
    found.unwrap_or(default)
}

fn table(dimensions: usize) -> Arc<TableMeta> {
    let column = |id, name: &str, ty| Column {
        id,
        name: name.to_owned(),
        ty,
        nullable: true,
        default: None,
        identity: None,
        missing: None,
    };
    Arc::new(TableMeta {
        id: TableId(1),
        database: DatabaseId(1),
        namespace: "public".to_owned(),
        name: "bench".to_owned(),
        type_oid: Oid(2),
        schema_version: 1,
        next_column_id: 3,
        columns: vec![
            column(1, "id", ColumnType::INT8),
            column(2, "v", ColumnType::vector(dimensions as i32)),
        ],
        primary_key: None,
        uniques: Vec::new(),
        foreign_keys: Vec::new(),
        indexes: Vec::new(),
        checks: Vec::new(),
        former: Vec::new(),
        rewritten: 0,
        options: proto::catalog::TableOptions::default(),
        channel: ChannelId(1),
    })
}

fn vectors(rows: usize, dimensions: usize, random: &mut ChaCha8Rng) -> RecordBatch {
    let values: Vec<f32> = (0..rows * dimensions).map(|_| random.random_range(-1.0..1.0)).collect();
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let values = Arc::new(Float32Array::from(values));
    let list = FixedSizeListArray::new(item, dimensions as i32, values, None);
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
    RecordBatch::try_from_iter([("id", ids), ("v", Arc::new(list))]).unwrap()
}

/// A read of every cache line with wide independent sums: what one thread can stream here.
#[inline(never)]
fn stream(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn wide(bytes: &[u8]) -> u64 {
        plain(bytes)
    }
    #[inline(always)]
    fn plain(bytes: &[u8]) -> u64 {
        let mut sums = [0_u64; 32];
        for block in bytes.as_chunks::<256>().0 {
            for (sum, word) in sums.iter_mut().zip(block.as_chunks::<8>().0) {
                *sum = sum.wrapping_add(u64::from_le_bytes(*word));
            }
        }
        sums.iter().fold(0, |all, sum| all.wrapping_add(*sum))
    }
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[allow(unsafe_code, reason = "a function compiled for a CPU level that was detected")]
        // SAFETY: AVX2 was detected in the line above.
        return unsafe { wide(bytes) };
    }
    plain(bytes)
}

/// Seconds of the fastest call: the others measure what else the machine does.
fn time(rounds: usize, mut call: impl FnMut()) -> f64 {
    let seconds = (0..rounds).map(|_| {
        let start = Instant::now();
        call();
        start.elapsed().as_secs_f64()
    });
    seconds.fold(f64::INFINITY, f64::min)
}

fn main() {
    let (rows, dimensions) = (argument("rows", 50_000), argument("dimensions", 384));
    let rounds = argument("rounds", 40);
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut growing = GrowingRows::new(SegmentId(1), table(dimensions));
    growing.append(&vectors(rows, dimensions, &mut random), Timestamp(1), RowId(1)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::open(Arc::new(SystemDoor), directory.path()).unwrap();
    let start = Instant::now();
    let (files, objects) = write_segment(&growing, &DeleteSet::new(), Epoch(1), 1).unwrap();
    let encoded = start.elapsed().as_secs_f64();
    block_on(store_objects(&store, &objects)).unwrap();
    println!("flush: encode {encoded:.3} s, store durably {:.3} s", start.elapsed().as_secs_f64() - encoded);
    drop(objects);
    let vector_key = files.object(ObjectKind::Vectors(2)).unwrap().key.clone();
    let start = Instant::now();
    let state = block_on(SealedSegment::open_state(&store, table(dimensions), files)).unwrap();
    println!("open: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let view: SegmentView = state.at(Timestamp::MAX);
    let query: Vec<f32> = (0..dimensions).map(|_| random.random_range(-1.0..1.0)).collect();
    let gigabytes = (rows * dimensions * 4) as f64 / 1e9;
    let search = |metric, admit: &BooleanBuffer| {
        black_box(top_k(&view, 1, metric, black_box(&query), 10, admit).unwrap());
    };
    let start = Instant::now();
    search(DistanceMetric::L2, view.visible());
    let first = start.elapsed().as_secs_f64();
    println!("first scan, checksums verified: {:.2} ms, {:.1} GB/s", first * 1e3, gigabytes / first);
    let object = block_on(read_object(&store, &vector_key)).unwrap();
    let bytes = &object.buffer().as_slice()[4096..4096 + rows * dimensions * 4];
    let streamed = time(rounds, || {
        let _ = black_box(stream(black_box(bytes)));
    });
    println!(
        "{rows} x {dimensions}, streaming read: {:.2} ms, {:.1} GB/s",
        streamed * 1e3,
        gigabytes / streamed
    );
    for metric in DistanceMetric::ALL {
        let scanned = time(rounds, || search(metric, view.visible()));
        println!(
            "exact scan {metric:?}: {:.2} ms, {:.1} GB/s, ratio to streaming {:.2}",
            scanned * 1e3,
            gigabytes / scanned,
            streamed / scanned
        );
    }
    for density in [0.9, 0.5, 0.1, 0.01] {
        let admit: BooleanBuffer = (0..rows).map(|_| random.random_bool(density)).collect();
        let scanned = time(rounds, || search(DistanceMetric::L2, &admit));
        let share = admit.count_set_bits() as f64 / rows as f64;
        println!("exact scan L2, {:.0} % admitted: {:.2} ms", share * 100.0, scanned * 1e3);
    }
}
