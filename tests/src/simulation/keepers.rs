//! Who asks for flushes, merges, indexes and collections, and who kills the process and starts it again.

use std::sync::Arc;
use std::time::Duration;

use cluster::tasks::sleep;
use cluster::{CompactionGoal, Node};
use proto::catalog::{CatalogChange, TableMeta};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::world::{World, words};
use crate::rows;

/// Tries to start with failing back ends before they stop failing.
const TRIES: u32 = 4;

/// Asks for maintenance until the run ends.
pub(super) async fn keep(world: Arc<World>, seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    while !world.has_ended() {
        let (table, drawn) = (dice.random_range(0..2), dice.random_range(0..12));
        let outcome = world.with_node(|node| chore(&world, node, table, drawn)).await;
        if let Some(Some((name, outcome))) = outcome {
            let told = outcome.as_ref().map_or_else(words, |()| "done".to_owned());
            world.trace.add("keeper", format!("{name} {table}: {told}"));
            if outcome.is_ok() {
                world.deeds.count(|counts| match name {
                    "flush" | "checkpoint" => &mut counts.flushes,
                    "merge" | "purge" => &mut counts.asked_merges,
                    "index" => &mut counts.indexes,
                    _ => &mut counts.collections,
                });
            }
        }
        let millis = dice.random_range(1..=20 + world.plan.pause_millis);
        sleep(Some(Duration::from_millis(millis))).await;
    }
}

async fn chore(
    world: &World,
    node: Arc<Node>,
    table: usize,
    drawn: u32,
) -> Option<(&'static str, cluster::Result<()>)> {
    let meta = Arc::clone(&world.tables(&node.catalog())?[table]);
    let id = meta.id;
    Some(match drawn {
        0..2 => ("flush", node.flush(id).await),
        2..4 => {
            let acknowledged = world.ledger().acknowledged();
            let outcome = node.checkpoint().await;
            if outcome.is_ok() {
                world.ledger().checkpoint_done(acknowledged);
            }
            ("checkpoint", outcome)
        }
        4..7 => ("merge", node.compact(id, CompactionGoal::Full).await),
        7..9 => ("purge", node.compact(id, CompactionGoal::Vacuum).await),
        9..11 => ("collection", node.collect().await),
        _ => ("index", index(world, &node, table, &meta).await),
    })
}

/// Creates the table's index and waits for it, or drops it.
async fn index(world: &World, node: &Node, table: usize, meta: &TableMeta) -> cluster::Result<()> {
    let (id, index) = (meta.id, rows::index_meta(table, meta, 8, 64));
    let oid = index.oid;
    if meta.index(oid).is_some() {
        return world.change_catalog(node, vec![CatalogChange::DropIndex(id, oid)]).await;
    }
    world.change_catalog(node, vec![CatalogChange::PutIndex(id, index)]).await?;
    node.build_index(id, oid).await
}

/// Kills the process now and then and starts it again, until the run ends.
pub(super) async fn kill(world: Arc<World>, seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    loop {
        // At one of the next operations of a back end, or at any time.
        sleep(Some(Duration::from_millis(dice.random_range(20..200)))).await;
        if dice.random_ratio(2, 3) {
            world.faults.light(dice.random_range(0..400));
        } else {
            world.light_disk();
        }
        tokio::select! {
            biased;
            () = world.ended() => break,
            () = world.faults.killed.notified() => {}
            () = sleep(Some(Duration::from_millis(dice.random_range(50..1_500)))) => {}
        }
        world.trace.add("killer", "the process dies");
        world.deeds.count(|counts| &mut counts.kills);
        if let Err(why) = revive(&world, &mut dice).await {
            world.judge("killer", Err(why));
            break;
        }
    }
    // What the clients still wait for is not answered any more.
    let killed = world.kill().await;
    world.judge("killer", killed);
}

/// Lets back ends fail for a while and work for a while, until the run ends.
pub(super) async fn change_weather(world: Arc<World>, seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut is_bad = true;
    while !world.has_ended() {
        world.faults.switch(is_bad);
        is_bad = !is_bad;
        sleep(Some(Duration::from_millis(dice.random_range(100..2_000)))).await;
    }
}

/// Kills what lives and starts it again, dying now and then on the way; now and then only the objects are left.
async fn revive(world: &World, dice: &mut StdRng) -> Result<(), String> {
    let mut loses = dice.random_ratio(1, 4);
    for attempt in 0..=TRIES {
        world.kill().await?;
        world.faults.light(if attempt < TRIES && dice.random_ratio(1, 4) {
            dice.random_range(0..60)
        } else {
            -1
        });
        if loses {
            // What the dead process had sent is where it was going.
            sleep(Some(Duration::from_secs(1))).await;
        }
        if attempt == TRIES {
            world.faults.switch(false);
        }
        let started = tokio::select! {
            biased;
            () = world.faults.killed.notified() => Err("it died on the way".to_owned()),
            started = begin(world, &mut loses) => started,
        };
        match started {
            Ok(()) => {
                world.trace.add("killer", "the process is back");
                return Ok(());
            }
            Err(error) if attempt < TRIES => world.trace.add("killer", format!("no start: {error}")),
            Err(error) => return Err(format!("it does not start again: {error}")),
        }
    }
    Ok(())
}

/// Starts a process, on a meta store and a log that are rebuilt from the objects when the old ones are lost.
async fn begin(world: &World, loses: &mut bool) -> Result<(), String> {
    if *loses {
        world.rebuild().await?;
        *loses = false;
    }
    world.start().await
}

/// The end of a run: nothing fails any more, everything is read again and again.
pub(super) async fn rest(world: &World) -> Result<(), String> {
    world.faults.light(-1);
    world.faults.switch(false);
    world.kill().await?;
    // What is still on its way arrives or is refused.
    sleep(Some(Duration::from_secs(2))).await;
    let report = cluster::verify::verify(&world.stores().await?, &|_, _| {}).await.map_err(words)?;
    if !report.damage.is_empty() {
        return Err(format!("what is stored is damaged: {:?}", report.damage));
    }
    world.start().await.map_err(|error| format!("it does not start at the end: {error}"))?;
    match world.node().filter(|node| world.tables(&node.catalog()).is_none()) {
        Some(node) => world.make_missing_tables(&node).await.map_err(words),
        None => Ok(()),
    }
}
