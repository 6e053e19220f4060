//! A full disk: whoever waits is told, nothing is lost, reads and writes go on, and the work is done when there is space.

use cluster::CompactionGoal;
use proto::catalog::CatalogChange;
use proto::{Classify, ErrorKind};

use super::cell::World;
use super::gate::Way;

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The work must have ended for want of space.
fn refused<T: std::fmt::Debug>(what: &str, outcome: cluster::Result<T>) -> Result<(), String> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::DiskFull => Ok(()),
        other => Err(format!("{what} on a full disk: {other:?}")),
    }
}

/// See the file header.
pub(super) async fn run(seed: u64) -> Result<(), String> {
    let mut world = World::start(seed).await?;
    let table = world.table.id;
    for _ in 0..3 {
        world.insert().await?;
        world.node().flush(table).await.map_err(words)?;
    }
    world.delete().await?;
    let older = world.barrier().await?;

    world.gate.set(Way::Full);
    world.insert().await?;
    refused("a flush", world.node().flush(table).await)?;
    world.check(older, "after a flush that failed").await?;
    world.delete().await?;
    refused("a checkpoint", world.node().checkpoint().await)?;
    world.check(older, "after a checkpoint that failed").await?;
    // The flush before a merge has something to write, the merge itself too.
    refused("a merge", world.node().compact(table, CompactionGoal::Full).await)?;
    world.check(older, "after a merge that failed").await?;
    world.change_catalog(CatalogChange::PutIndex(table, world.index.clone())).await?;
    refused("an index build", world.node().build_index(table, world.index.oid).await)?;
    world.check(older, "after an index build that failed").await?;
    world.restart().await?;
    world.check(older, "after a restart").await?;

    // Now everything is in files, and only the merge and the build need space.
    world.node().checkpoint().await.map_err(words)?;
    world.node().build_index(table, world.index.oid).await.map_err(words)?;
    world.gate.set(Way::Full);
    refused("a merge of stored segments", world.node().compact(table, CompactionGoal::Full).await)?;
    world.check(older, "after a merge that failed").await?;
    world.delete().await?;
    refused("a checkpoint of deletes", world.node().checkpoint().await)?;
    world.check(older, "after a checkpoint that failed").await?;

    world.gate.set(Way::Open);
    world.node().compact(table, CompactionGoal::Full).await.map_err(words)?;
    world.check(older, "once there is space").await?;
    world.node().checkpoint().await.map_err(words)?;
    world.node().collect().await.map_err(words)?;
    world.restart().await?;
    world.check(older, "after another restart").await?;
    world.node().stop().await.map_err(words)
}
