use std::sync::Arc;

use async_trait::async_trait;

use super::suite::Bench;
use super::*;
use crate::clock::SimClock;
use crate::meta::{MemoryMeta, RedbMeta};

struct Window {
    meta: Arc<dyn MetaStore>,
    clock: Arc<SimClock>,
    _directory: Option<tempfile::TempDir>,
}

#[async_trait]
impl Bench for Window {
    async fn open(&self) -> Result<Arc<dyn TimestampOracle>> {
        Ok(Arc::new(WindowOracle::open(Arc::clone(&self.meta), Arc::clone(&self.clock) as _).await?))
    }
    fn clock(&self) -> Arc<SimClock> {
        Arc::clone(&self.clock)
    }
    async fn writes(&self) -> u64 {
        self.meta.list("").await.expect("a listing").revision
    }
}

#[tokio::test]
async fn the_window_oracle_keeps_the_contract_on_memory() {
    let fresh = |start| {
        let clock = Arc::new(SimClock::new(start));
        let meta = Arc::new(MemoryMeta::new(Arc::clone(&clock) as _));
        Window { meta, clock, _directory: None }
    };
    suite::run(fresh).await.expect("the oracle answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_oracle_keeps_the_contract_on_redb() {
    let fresh = |start| {
        let clock = Arc::new(SimClock::new(start));
        let directory = tempfile::tempdir().expect("a directory");
        let open = RedbMeta::open(
            Arc::new(segments::SystemDoor),
            directory.path().join("meta.redb"),
            Arc::clone(&clock) as _,
        );
        let meta = tokio::task::block_in_place(|| futures::executor::block_on(open)).expect("a new file");
        Window { meta: Arc::new(meta), clock, _directory: Some(directory) }
    };
    suite::run(fresh).await.expect("the oracle answers");
}
