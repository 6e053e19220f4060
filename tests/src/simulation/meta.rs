//! The meta store of a simulated node: the one in memory or in a file, with fates.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cluster::meta::{Entry, Guard, LeaseId, Listing, MetaStore, MetaWatch, Outcome, Revision, Write};
use cluster::tasks::sleep;
use cluster::{Error, Result};

use super::faults::{Fate, Faults, Life};
use super::world::Deeds;

/// See the file header.
#[derive(Debug)]
pub(super) struct SimulatedMeta {
    pub(super) inner: Arc<dyn MetaStore>,
    pub(super) faults: Arc<Faults>,
    pub(super) life: Arc<Life>,
    pub(super) deeds: Arc<Deeds>,
}

fn unavailable() -> Error {
    Error::Unavailable { what: "the simulated meta store".into(), reason: "it does not answer".into() }
}

fn unknown() -> Error {
    Error::Unknown { reason: "the simulated meta store did not answer".into() }
}

impl SimulatedMeta {
    async fn ask<T>(&self, what: &str, key: &str, answer: impl Future<Output = Result<T>>) -> Result<T> {
        let fails = self.faults.read(&self.life).await;
        self.faults.trace.add("meta", format!("{what} {key}{}", if fails { ": fails" } else { "" }));
        if fails { Err(unavailable()) } else { answer.await }
    }

    /// Lets a commit arrive after its caller has given it up.
    fn arrive_later(&self, guards: Vec<Guard>, writes: Vec<Write>) {
        let (inner, faults) = (Arc::clone(&self.inner), Arc::clone(&self.faults));
        let millis = u64::from(faults.pick(500));
        tokio::spawn(async move {
            sleep(Some(Duration::from_millis(millis))).await;
            let arrived = inner.commit(guards, writes).await;
            faults.trace.add("meta", format!("late commit: {arrived:?}"));
        });
    }
}

fn key(write: &Write) -> &str {
    match write {
        Write::Put { key, .. } | Write::PutLeased { key, .. } | Write::Delete { key } => key,
    }
}

#[async_trait]
impl MetaStore for SimulatedMeta {
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.ask("get", key, self.inner.get(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Listing> {
        self.ask("list", prefix, self.inner.list(prefix)).await
    }

    async fn commit(&self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<Outcome> {
        let fate = self.faults.begin(&self.life).await;
        let keys: Vec<&str> = writes.iter().map(key).collect();
        self.faults.trace.add("meta", format!("commit {keys:?}: {fate:?}"));
        if fate == Fate::Fine && keys.iter().any(|key| key.ends_with("/manifest")) {
            self.deeds.count(|counts| &mut counts.manifests);
        }
        let outcome = match fate {
            Fate::Fine => self.inner.commit(guards, writes).await,
            Fate::Refused | Fate::Mistaken => {
                let kinds = [std::io::ErrorKind::StorageFull, std::io::ErrorKind::Other];
                let source = kinds[self.faults.pick(2) as usize].into();
                Err(Error::NotWritten { action: "could not commit".into(), source })
            }
            Fate::Lost => Err(unknown()),
            Fate::Unanswered => self.inner.commit(guards, writes).await.and_then(|_| Err(unknown())),
            Fate::Late => {
                self.arrive_later(guards, writes);
                Err(unknown())
            }
        };
        self.faults.end(&self.life).await;
        outcome
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Box<dyn MetaWatch>> {
        self.inner.watch(prefix, from).await
    }

    async fn grant(&self, ttl_millis: u64) -> Result<LeaseId> {
        self.ask("grant", "", self.inner.grant(ttl_millis)).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<()> {
        self.ask("renew", "", self.inner.renew(lease)).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.ask("revoke", "", self.inner.revoke(lease)).await
    }
}
