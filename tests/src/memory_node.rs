//! A node over back ends in memory that outlive it: it is stopped or crashes, is started again, or is rebuilt from the
//! object store alone.
//!
//! What it is not: a node whose back ends fail; that is the simulation.

use std::sync::Arc;

use cluster::clock::{SeededDice, SimClock};
use cluster::log::MemoryLog;
use cluster::meta::MemoryMeta;
use cluster::oracle::WindowOracle;
use cluster::rebuild::{self, Target};
use cluster::{CommitRequest, Node, NodeParts, Settings};
use object_store::ObjectStore;
use proto::{DatabaseId, Timestamp};

/// See the file header.
pub(crate) struct MemoryNode {
    pub(crate) parts: NodeParts,
    pub(crate) clock: Arc<SimClock>,
    log: Arc<MemoryLog>,
    /// `None` only between a stop and the next start.
    node: Option<Arc<Node>>,
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl MemoryNode {
    /// Starts a node on a store; log and meta store are empty.
    pub(crate) async fn start(
        seed: u64,
        store: Arc<dyn ObjectStore>,
        settings: Settings,
    ) -> Result<Self, String> {
        let clock = Arc::new(SimClock::new(1_700_000_000_000));
        let log = MemoryLog::new();
        let meta = Arc::new(MemoryMeta::new(Arc::<SimClock>::clone(&clock)));
        let oracle = WindowOracle::open(Arc::<MemoryMeta>::clone(&meta), Arc::<SimClock>::clone(&clock));
        let parts = NodeParts {
            oracle: Arc::new(oracle.await.map_err(words)?),
            meta,
            log: Arc::<MemoryLog>::clone(&log),
            store,
            clock: Arc::<SimClock>::clone(&clock),
            dice: Arc::new(SeededDice::new(seed)),
            lease: cluster::lease::Lease::of_directory(),
            settings,
        };
        let node = Some(Node::start(parts.clone()).await.map_err(words)?);
        Ok(Self { parts, clock, log, node })
    }

    /// The node that runs.
    pub(crate) fn node(&self) -> Arc<Node> {
        Arc::clone(self.node.as_ref().expect("a node runs between operations"))
    }

    /// Takes the node away, to be stopped or dropped.
    pub(crate) fn take(&mut self) -> Option<Arc<Node>> {
        self.node.take()
    }

    /// Starts a node on what is durable; the last one is gone, or stopped here.
    pub(crate) async fn start_again(&mut self) -> Result<(), String> {
        if let Some(node) = self.node.take() {
            node.stop().await.map_err(words)?;
        }
        // Dropping a node aborts its tasks at whatever they were waiting for.
        tokio::task::yield_now().await;
        self.log.crash();
        let oracle = WindowOracle::open(Arc::clone(&self.parts.meta), Arc::<SimClock>::clone(&self.clock));
        self.parts.oracle = Arc::new(oracle.await.map_err(words)?);
        self.node = Some(Node::start(self.parts.clone()).await.map_err(|error| format!("start: {error}"))?);
        Ok(())
    }

    /// Loses meta store and log, and starts a node on what the object store alone gives back.
    pub(crate) async fn rebuild(&mut self) -> Result<rebuild::Report, String> {
        if let Some(node) = self.node.take() {
            node.stop().await.map_err(words)?;
        }
        tokio::task::yield_now().await;
        self.log = MemoryLog::new();
        self.parts.log = Arc::<MemoryLog>::clone(&self.log);
        self.parts.meta = Arc::new(MemoryMeta::new(Arc::<SimClock>::clone(&self.clock)));
        let target = Target {
            meta: Arc::clone(&self.parts.meta),
            log: Arc::clone(&self.parts.log),
            store: Arc::clone(&self.parts.store),
            clock: Arc::clone(&self.parts.clock),
            dice: Arc::clone(&self.parts.dice),
        };
        let report = rebuild::rebuild(&target, &|_, _| ()).await;
        let report = report.map_err(|error| format!("rebuild: {error}"))?;
        self.start_again().await?;
        Ok(report)
    }

    /// A request that has nothing in it yet.
    pub(crate) fn request(&self, database: DatabaseId, read_ts: Timestamp) -> CommitRequest {
        CommitRequest::new(database, self.node().draw_txn(), read_ts)
    }
}
