//! The limit: the pool's own count, and a query that passes it while the process lives.

use std::sync::Arc;

use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{LogicalPlanBuilder, col, lit};
use proto::ErrorKind;

use super::*;
use crate::functions::series::{Bounds, series_provider};
use crate::testing::{context, run_with};
use crate::{Engine, EngineSettings, to_sql_error};
use datafusion::datasource::provider_as_source;
use proto::TypeKind;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn the_allocator_counts_live_bytes() {
    // Other tests allocate at the same time, so the block is larger than what they hold.
    const BLOCK: usize = 1 << 30;
    let before = allocated_bytes();
    let block: Vec<u8> = Vec::with_capacity(BLOCK);
    assert!(allocated_bytes() >= BLOCK, "{before}");
    drop(block);
    assert!(allocated_bytes() < BLOCK, "{}", allocated_bytes());
}

#[test]
fn the_pool_refuses_beyond_its_limit() {
    let pool: Arc<dyn MemoryPool> = Arc::new(LimitedPool::new(Some(allocated_bytes() + (8 << 30))));
    let reservation = MemoryConsumer::new("sort").register(&pool);
    reservation.try_grow(6 << 30).expect("within the limit");
    let error = to_sql_error(reservation.try_grow(6 << 30).expect_err("beyond the limit"));
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::OutOfMemory, "out of memory"));
    drop(reservation);
    assert_eq!(pool.reserved(), 0);
}

/// `generate_series(1, 20000)` under a name.
fn numbers(name: &str, stop: i64) -> LogicalPlanBuilder {
    let bounds = Bounds::Integers { kind: TypeKind::Int8, start: 1, stop, step: 1 };
    let provider = series_provider(Some(bounds), "g").expect("a series");
    LogicalPlanBuilder::scan(name, provider_as_source(provider), None).expect("a scan")
}

#[tokio::test]
async fn a_sorted_cross_join_ends_with_53200_and_the_process_lives() {
    let limit = allocated_bytes() + (1_200 << 20);
    let settings = EngineSettings { memory_limit_bytes: Some(limit), target_partitions: 2 };
    let engine = Engine::new(settings, Vec::new()).expect("an engine");
    let huge = numbers("a", 40_000)
        .cross_join(numbers("b", 40_000).build().expect("a plan"))
        .and_then(|builder| {
            builder.sort([Sort::new(col("b.g"), false, true), Sort::new(col("a.g"), true, true)])
        })
        .and_then(LogicalPlanBuilder::build)
        .expect("a plan");
    let error = run_with(&engine, huge, Arc::new(context())).await.expect_err("too large");
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::OutOfMemory, "out of memory"));
    let small =
        numbers("a", 3).filter(col("g").gt(lit(1_i64))).and_then(LogicalPlanBuilder::build).expect("a plan");
    assert_eq!(run_with(&engine, small, Arc::new(context())).await.expect("rows"), ["2", "3"]);
}
