//! The contract of `meta.rs` as tests; every implementation runs all of it.
//!
//! `Bench::open` called again reopens the same storage. Time passes as the store sees it: a simulated clock where
//! it is given one, else by waiting.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;

use super::{Change, Entry, Guard, MetaStore, Outcome, Write};
use crate::error::{Error, Result};

/// Opens and reopens one storage.
#[async_trait]
pub trait Bench: Send + Sync {
    /// The store; called again it is the store after a restart.
    async fn open(&self) -> Result<Arc<dyn MetaStore>>;
    /// Lets time pass for leases.
    async fn pass(&self, millis: u64);
    /// Whether a reopened store is another process, with which leases end and watches begin anew.
    fn restarts(&self) -> bool;
    /// Lets so much happen that the store forgets what happened before.
    async fn forget_history(&self, store: &dyn MetaStore) -> Result<()> {
        // More revisions than any embedded store keeps; leases make them cheap (no file is written).
        for _ in 0..5000 {
            let lease = store.grant(1000).await?;
            store.revoke(lease).await?;
        }
        Ok(())
    }
}

/// Runs every line of the contract, each on a fresh storage.
///
/// # Errors
/// When the store fails where the contract wants an answer; a broken promise panics.
pub async fn run<B: Bench>(fresh: impl Fn() -> B) -> Result<()> {
    commits_are_atomic_and_revisions_grow(&*fresh().open().await?).await?;
    listings_are_ordered_and_of_one_revision(&*fresh().open().await?).await?;
    guards_see_values_and_revisions(&*fresh().open().await?).await?;
    racing_commits_have_one_winner(&fresh().open().await?).await?;
    watches_skip_nothing(&*fresh().open().await?).await?;
    watches_say_compacted(&fresh()).await?;
    leases_take_their_keys_along(&fresh()).await?;
    commits_survive_reopening(&fresh()).await
}

fn put(key: &str, value: &str) -> Write {
    Write::put(key, value.as_bytes().to_vec())
}

async fn value(store: &dyn MetaStore, key: &str) -> Result<Option<Bytes>> {
    Ok(store.get(key).await?.map(|entry| entry.value))
}

fn committed(outcome: Outcome) -> u64 {
    match outcome {
        Outcome::Committed(revision) => revision,
        Outcome::Refused { guard } => panic!("guard {guard} refused a commit that must happen"),
    }
}

async fn commits_are_atomic_and_revisions_grow(store: &dyn MetaStore) -> Result<()> {
    let first = committed(store.commit(vec![], vec![put("a", "1"), put("b", "1")]).await?);
    assert!(first > 0);
    let absent = |key: &str| Guard::Absent { key: key.into() };
    let refused = store.commit(vec![absent("c"), absent("a")], vec![put("c", "2"), put("d", "2")]).await?;
    assert_eq!(refused, Outcome::Refused { guard: 1 });
    assert_eq!(value(store, "c").await?, None);
    assert_eq!(value(store, "d").await?, None);
    assert_eq!(
        committed(store.commit(vec![absent("c")], vec![]).await?),
        first,
        "nothing written, no revision"
    );
    let second = committed(store.commit(vec![absent("c")], vec![put("c", "3")]).await?);
    assert!(second > first);
    let entry = store.get("a").await?.expect("a was committed");
    assert_eq!(entry, Entry { key: "a".into(), value: "1".into(), revision: first });
    Ok(())
}

async fn listings_are_ordered_and_of_one_revision(store: &dyn MetaStore) -> Result<()> {
    committed(
        store.commit(vec![], ["t/2", "t/10", "u/1", "t", "t/1"].map(|key| put(key, key)).into()).await?,
    );
    let last = committed(store.commit(vec![], vec![Write::Delete { key: "t/2".into() }]).await?);
    let listing = store.list("t/").await?;
    assert_eq!(listing.revision, last);
    let keys: Vec<_> = listing.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["t/1", "t/10"]);
    assert_eq!(store.list("x").await?.entries, []);
    Ok(())
}

async fn guards_see_values_and_revisions(store: &dyn MetaStore) -> Result<()> {
    let first = committed(store.commit(vec![], vec![put("k", "same")]).await?);
    let second = committed(store.commit(vec![], vec![put("k", "same")]).await?);
    let written_at = |revision| Guard::WrittenAt { key: "k".into(), revision };
    let equals = |value: &'static str| Guard::Equals { key: "k".into(), value: value.into() };
    assert_eq!(
        store.commit(vec![written_at(first)], vec![put("x", "")]).await?,
        Outcome::Refused { guard: 0 }
    );
    assert_eq!(store.commit(vec![equals("other")], vec![put("x", "")]).await?, Outcome::Refused { guard: 0 });
    committed(
        store
            .commit(vec![equals("same"), written_at(second)], vec![Write::Delete { key: "k".into() }])
            .await?,
    );
    assert_eq!(store.commit(vec![equals("same")], vec![put("x", "")]).await?, Outcome::Refused { guard: 0 });
    assert_eq!(value(store, "x").await?, None);
    Ok(())
}

async fn racing_commits_have_one_winner(store: &Arc<dyn MetaStore>) -> Result<()> {
    let racers = (0..16).map(|racer| {
        let guard = Guard::Absent { key: "crown".into() };
        let writes = vec![put("crown", &racer.to_string()), put(&format!("racer/{racer}"), "won")];
        store.commit(vec![guard], writes)
    });
    let outcomes = futures::future::try_join_all(racers).await?;
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Committed(_))).count(), 1);
    assert_eq!(store.list("racer/").await?.entries.len(), 1);
    Ok(())
}

async fn watches_skip_nothing(store: &dyn MetaStore) -> Result<()> {
    let first = committed(store.commit(vec![], vec![put("w/a", "1"), put("other", "1")]).await?);
    let mut watch = store.watch("w/", first).await?;
    let second = committed(store.commit(vec![], vec![put("other", "2")]).await?);
    let third =
        committed(store.commit(vec![], vec![put("w/b", "3"), Write::Delete { key: "w/a".into() }]).await?);
    assert!(first < second && second < third);
    let a = Change::Put(Entry { key: "w/a".into(), value: "1".into(), revision: first });
    assert_eq!(watch.next().await?, [a]);
    let b = Change::Put(Entry { key: "w/b".into(), value: "3".into(), revision: third });
    assert_eq!(watch.next().await?, [Change::Deleted { key: "w/a".into(), revision: third }, b]);
    assert!(watch.next().now_or_never().is_none(), "nothing more happened");
    let (changes, outcome) = futures::join!(watch.next(), store.commit(vec![], vec![put("w/c", "4")]));
    let c = Change::Put(Entry { key: "w/c".into(), value: "4".into(), revision: committed(outcome?) });
    assert_eq!(changes?, [c]);
    Ok(())
}

async fn watches_say_compacted(bench: &impl Bench) -> Result<()> {
    let store = &*bench.open().await?;
    let first = committed(store.commit(vec![], vec![put("w", "0")]).await?);
    let mut slow = store.watch("w", first).await?;
    bench.forget_history(store).await?;
    for round in 0..64 {
        committed(store.commit(vec![], vec![put("w", &round.to_string())]).await?);
    }
    let mut seen = 0;
    while seen < 65 {
        match slow.next().await {
            Ok(changes) => seen += changes.len(),
            Err(Error::Compacted { .. }) => {
                assert_eq!(seen, 0, "a watch that skipped something says so at once");
                break;
            }
            Err(other) => return Err(other),
        }
    }
    assert!(slow.next().now_or_never().is_none_or(|next| next.is_err()), "nothing more happened");
    Ok(())
}

async fn leases_take_their_keys_along(bench: &impl Bench) -> Result<()> {
    let store = bench.open().await?;
    let leased = |key: &str, lease| Write::PutLeased { key: key.into(), value: "up".into(), lease };
    let (short, long) = (store.grant(3_000).await?, store.grant(30_000).await?);
    let writes = vec![leased("n/1", short), leased("n/2", short), leased("n/3", long)];
    let first = committed(store.commit(vec![], writes).await?);
    let mut watch = store.watch("n/", first + 1).await?;
    bench.pass(2_000).await;
    store.renew(short).await?;
    bench.pass(2_000).await;
    assert_eq!(store.list("n/").await?.entries.len(), 3, "renewed in time");
    bench.pass(1_000).await;
    let deleted = watch.next().await?;
    assert_eq!(deleted.len(), 2, "both keys in one revision: {deleted:?}");
    assert_eq!(store.list("n/").await?.entries.len(), 1);
    assert!(matches!(store.renew(short).await, Err(Error::LeaseLost(_))));
    assert!(matches!(store.commit(vec![], vec![leased("n/1", short)]).await, Err(Error::LeaseLost(_))));
    store.revoke(long).await?;
    assert_eq!(store.list("n/").await?.entries, []);
    assert!(matches!(store.revoke(long).await, Err(Error::LeaseLost(_))));
    Ok(())
}

async fn commits_survive_reopening(bench: &impl Bench) -> Result<()> {
    let store = bench.open().await?;
    let first = committed(store.commit(vec![], vec![put("kept", "1"), put("gone", "1")]).await?);
    let lease = store.grant(60_000).await?;
    let leased = Write::PutLeased { key: "leased".into(), value: "".into(), lease };
    let last = committed(store.commit(vec![], vec![Write::Delete { key: "gone".into() }, leased]).await?);
    drop(store);
    let store = bench.open().await?;
    let entry = Entry { key: "kept".into(), value: "1".into(), revision: first };
    assert_eq!(store.get("kept").await?, Some(entry.clone()));
    assert_eq!(store.get("gone").await?, None);
    if bench.restarts() {
        assert_eq!(store.list("").await?.entries, [entry]);
        assert!(matches!(store.renew(lease).await, Err(Error::LeaseLost(_))));
        assert!(committed(store.commit(vec![], vec![put("next", "")]).await?) > last);
        assert!(matches!(store.watch("", first).await, Err(Error::Compacted { .. })), "history is not kept");
    }
    Ok(())
}
