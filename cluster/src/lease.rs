//! The right to serve: one process at a time owns what the back ends hold.
//!
//! On a local meta store the lock on the data directory is that right. On a shared one it is a lease in the meta
//! store: the key `lease/node` lives for `TTL_MILLIS` behind the last renewal, and its holder trusts it for
//! `TRUST_MILLIS` only, by its own monotonic clock from before it asked. So a holder that was stopped or cut off
//! knows that it may have been replaced before anyone can have replaced it.
//!
//! A holder writes who it is: a process that finds itself there is the restart of a dead one on the same data
//! directory, whose lock it holds, and need not wait.
//!
//! What it is not: what fences an old owner's writes. That are the epochs (`channel.rs`), which need no clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use proto::time::Clock;
use tokio::sync::watch;

use crate::error::{Error, Result};
use crate::meta::{Change, Guard, LeaseId, MetaStore, Outcome, Revision, Write};
use crate::tasks::{Stop, sleep};

/// Where the holder is written.
pub const LEASE_KEY: &str = "lease/node";
/// The lease lives this long behind its last renewal.
pub const TTL_MILLIS: u64 = 8_000;
/// It is renewed this often.
const RENEWAL: Duration = Duration::from_secs(2);
/// It is renewed this often when the last try failed.
const RETRY: Duration = Duration::from_millis(500);
/// Its holder trusts it this long behind the beginning of the last renewal.
pub const TRUST_MILLIS: u64 = 5_000;

/// Whether this process may serve. Cheap to clone and to ask.
#[derive(Clone, Debug, Default)]
pub struct Lease(Option<Arc<Held>>);

#[derive(Debug)]
struct Held {
    clock: Arc<dyn Clock>,
    trusted_until_micros: AtomicU64,
    lost: watch::Sender<bool>,
}

impl Lease {
    /// The right that the lock on the data directory gives: it lasts as long as the process.
    #[must_use]
    pub fn of_directory() -> Self {
        Self(None)
    }

    /// Whether nobody else can serve now.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.0.as_ref().is_none_or(|held| {
            held.clock.monotonic_micros() < held.trusted_until_micros.load(Ordering::SeqCst)
        })
    }

    /// Refuses when somebody else may serve.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn check(&self) -> Result<()> {
        if self.is_held() {
            return Ok(());
        }
        let reason = "its lease could not be renewed, another server may have taken over";
        Err(Error::Unavailable { what: "this server".into(), reason: reason.into() })
    }

    /// Waits until the lease is gone for good.
    pub async fn lost(&self) {
        match &self.0 {
            // The sender is part of what is borrowed here.
            Some(held) => drop(held.lost.subscribe().wait_for(|lost| *lost).await),
            None => std::future::pending().await,
        }
    }
}

/// Renews a lease; what holds it for this process.
#[derive(Debug)]
pub struct Keeper {
    meta: Arc<dyn MetaStore>,
    id: LeaseId,
    held: Arc<Held>,
}

impl Keeper {
    /// Takes the lease, waiting until its holder has let it go or has lost it. `identity` names the data directory.
    ///
    /// # Errors
    /// When the meta store does not answer.
    pub async fn acquire(meta: Arc<dyn MetaStore>, clock: Arc<dyn Clock>, identity: &str) -> Result<Self> {
        let mut told = false;
        loop {
            let asked = clock.monotonic_micros();
            let id = meta.grant(TTL_MILLIS).await?;
            let holder = meta.get(LEASE_KEY).await?;
            let guard = match &holder {
                None => Some(Guard::Absent { key: LEASE_KEY.into() }),
                Some(entry) if entry.value == identity.as_bytes() => {
                    Some(Guard::WrittenAt { key: LEASE_KEY.into(), revision: entry.revision })
                }
                Some(_) => None,
            };
            if let Some(guard) = guard {
                let value = Bytes::copy_from_slice(identity.as_bytes());
                let write = Write::PutLeased { key: LEASE_KEY.into(), value, lease: id };
                if let Outcome::Committed(_) = meta.commit(vec![guard], vec![write]).await? {
                    let trusted_until_micros = AtomicU64::new(asked + TRUST_MILLIS * 1000);
                    let lost = watch::Sender::new(false);
                    let held = Arc::new(Held { clock, trusted_until_micros, lost });
                    return Ok(Self { meta, id, held });
                }
                continue;
            }
            meta.revoke(id).await?;
            let Some(entry) = holder else { continue };
            if !told {
                tracing::info!("another server holds the lease: waiting until it is gone");
                told = true;
            }
            await_release(meta.as_ref(), entry.revision).await?;
        }
    }

    /// What the lease allows, to be asked before every answer.
    #[must_use]
    pub fn lease(&self) -> Lease {
        Lease(Some(Arc::clone(&self.held)))
    }

    /// Renews the lease until asked to stop, and lets it go then.
    pub async fn run(self, stop: Stop) {
        let mut pause = RENEWAL;
        loop {
            tokio::select! {
                biased;
                () = stop.requested() => break,
                () = sleep(Some(pause)) => {}
            }
            let asked = self.held.clock.monotonic_micros();
            match self.meta.renew(self.id).await {
                Ok(()) => {
                    let until = asked + TRUST_MILLIS * 1000;
                    self.held.trusted_until_micros.store(until, Ordering::SeqCst);
                    pause = RENEWAL;
                }
                Err(Error::LeaseLost(_)) => {
                    tracing::error!("the lease is lost");
                    self.held.trusted_until_micros.store(0, Ordering::SeqCst);
                    self.held.lost.send_replace(true);
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "the lease could not be renewed");
                    pause = RETRY;
                }
            }
        }
        self.held.trusted_until_micros.store(0, Ordering::SeqCst);
        if let Err(error) = self.meta.revoke(self.id).await {
            tracing::warn!(%error, "the lease could not be given back and will run out");
        }
    }
}

/// Waits until the holder written at a revision is gone.
async fn await_release(meta: &dyn MetaStore, written: Revision) -> Result<()> {
    let mut changes = meta.watch(LEASE_KEY, written + 1).await?;
    loop {
        let gone = |change: &Change| matches!(change, Change::Deleted { key, .. } if key == LEASE_KEY);
        match changes.next().await {
            Ok(changed) if changed.iter().any(gone) => return Ok(()),
            Ok(_) => {}
            // What happened is not known any more: look again.
            Err(Error::Compacted { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::clock::SimClock;
    use crate::meta::MemoryMeta;
    use crate::tasks::TaskSet;

    fn bench() -> (Arc<dyn MetaStore>, Arc<SimClock>) {
        let clock = Arc::new(SimClock::new(1_000_000));
        (Arc::new(MemoryMeta::new(Arc::clone(&clock) as _)), clock)
    }

    async fn acquire(bench: &(Arc<dyn MetaStore>, Arc<SimClock>), identity: &str) -> Keeper {
        let (meta, clock) = bench;
        Keeper::acquire(Arc::clone(meta), Arc::clone(clock) as _, identity).await.expect("the store answers")
    }

    #[tokio::test]
    async fn a_holder_doubts_before_anyone_else_can_hold() {
        let bench = bench();
        let first = acquire(&bench, "one").await.lease();
        assert!(first.is_held());
        assert!(Lease::of_directory().is_held());
        bench.1.advance(TRUST_MILLIS - 1);
        assert!(first.is_held() && first.check().is_ok());
        assert!(acquire(&bench, "two").now_or_never().is_none(), "the first one's lease lives");
        bench.1.advance(1);
        assert!(!first.is_held());
        assert!(first.check().is_err_and(|error| error.to_string().contains("lease")));
        assert!(acquire(&bench, "two").now_or_never().is_none(), "it lives longer than it is trusted");
        bench.1.advance(TTL_MILLIS - TRUST_MILLIS);
        let second = acquire(&bench, "two").await.lease();
        assert!(second.is_held() && !first.is_held());
    }

    #[tokio::test]
    async fn a_restart_on_the_same_directory_does_not_wait() {
        let bench = bench();
        let _dead = acquire(&bench, "one").await;
        let again = acquire(&bench, "one").await;
        assert!(again.lease().is_held());
    }

    #[tokio::test]
    async fn a_lease_is_lost_once_and_given_back_at_the_end() {
        let bench = bench();
        let keeper = acquire(&bench, "one").await;
        let (lease, id) = (keeper.lease(), keeper.id);
        let tasks = TaskSet::new();
        tasks.spawn("lease", |stop| keeper.run(stop));
        bench.0.revoke(id).await.expect("it was there");
        lease.lost().await;
        assert!(!lease.is_held());
        let keeper = acquire(&bench, "two").await;
        let lease = keeper.lease();
        let tasks = TaskSet::new();
        tasks.spawn("lease", |stop| keeper.run(stop));
        tasks.shutdown().await;
        assert!(!lease.is_held());
        assert_eq!(bench.0.get(LEASE_KEY).await.expect("the store answers"), None);
    }
}
