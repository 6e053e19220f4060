//! The meta store in etcd: our transactions are etcd's, our revisions its mod revisions, our leases its leases.
//!
//! Every key lies under a prefix, so several installations share one etcd. A commit that etcd did not answer is
//! `Unknown`: whoever needs certainty compares a key that the commit would have changed (takeovers write the
//! channel's epoch, which every later commit of the old owner compares).
//!
//! What it is not: leases do not end with this process, they run out; etcd keeps time in whole seconds and gives
//! a lease no less than its election takes (2 s by default).
//!
//! Invariants: no call waits longer than `PATIENCE` except `MetaWatch::next`; a watch whose connection breaks
//! goes on at the revision behind the last one it gave.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, EventType, GetOptions, KeyValue, KvClient, PutOptions, Txn,
    TxnOp, TxnOpResponse, TxnResponse, WatchOptions, WatchStream,
};

use super::{Change, Entry, Guard, LeaseId, Listing, MetaStore, MetaWatch, Outcome, Revision, Write};
use crate::error::{Error, Result};

/// How long a call waits for etcd's answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// Largest answer that is decoded, bytes.
const MAX_ANSWER: usize = 1 << 30;

/// gRPC codes of answers that say for certain that nothing was written.
const REFUSALS: [i32; 6] = [3, 7, 8, 9, 11, 16];

/// See the file header.
#[derive(Clone)]
pub struct EtcdMeta {
    client: Client,
    address: String,
    /// Ends with a slash.
    prefix: String,
}

impl std::fmt::Debug for EtcdMeta {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "EtcdMeta({}/{})", self.address, self.prefix)
    }
}

impl EtcdMeta {
    /// A client of the etcd at `endpoints` (`host:port`), for keys under `prefix`. It connects when it is used.
    ///
    /// # Errors
    /// When an endpoint is no address.
    pub async fn connect(endpoints: &[String], prefix: &str) -> Result<Self> {
        let address = endpoints.join(",");
        let options = ConnectOptions::new()
            .with_connect_timeout(PATIENCE)
            .with_keep_alive(Duration::from_secs(10), PATIENCE)
            .with_tcp_keepalive(Duration::from_secs(10));
        let client = Client::connect(endpoints, Some(options))
            .await
            .map_err(|error| unavailable(&address, &error.to_string()))?;
        Ok(Self { client, address, prefix: format!("{}/", prefix.trim_matches('/')) })
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn kv(&self) -> KvClient {
        self.client.kv_client().max_decoding_message_size(MAX_ANSWER)
    }

    /// Waits for an answer to a question that changes nothing.
    async fn ask<T>(
        &self,
        question: impl Future<Output = Result<T, etcd_client::Error>> + Send,
    ) -> Result<T> {
        match tokio::time::timeout(PATIENCE, question).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(unavailable(&self.address, &error.to_string())),
            Err(_) => Err(unavailable(&self.address, "no answer")),
        }
    }

    fn entry(&self, found: &KeyValue) -> Result<Entry> {
        let key = std::str::from_utf8(found.key()).ok().and_then(|key| key.strip_prefix(&self.prefix));
        let key = key.ok_or_else(|| Error::corrupted("etcd", "a key that is not ours"))?;
        Ok(Entry {
            key: key.to_owned(),
            value: Bytes::copy_from_slice(found.value()),
            revision: found.mod_revision() as Revision,
        })
    }

    fn compare(&self, guard: &Guard) -> Compare {
        match guard {
            Guard::Absent { key } => Compare::create_revision(self.key(key), CompareOp::Equal, 0),
            Guard::Equals { key, value } => Compare::value(self.key(key), CompareOp::Equal, value.to_vec()),
            Guard::WrittenAt { key, revision } => {
                Compare::mod_revision(self.key(key), CompareOp::Equal, *revision as i64)
            }
        }
    }

    fn operation(&self, write: &Write) -> TxnOp {
        match write {
            Write::Put { key, value } => TxnOp::put(self.key(key), value.to_vec(), None),
            Write::PutLeased { key, value, lease } => {
                let options = PutOptions::new().with_lease(lease.0 as i64);
                TxnOp::put(self.key(key), value.to_vec(), Some(options))
            }
            Write::Delete { key } => TxnOp::delete(self.key(key), None),
        }
    }

    /// The position of the first guard that did not hold, from the values that the transaction saw.
    fn refused_by(&self, guards: &[Guard], answer: &TxnResponse) -> Result<usize> {
        let mut seen = Vec::with_capacity(guards.len());
        for response in answer.op_responses() {
            let TxnOpResponse::Get(found) = response else { continue };
            seen.push(found.kvs().first().map(|found| self.entry(found)).transpose()?);
        }
        let holds = |(guard, entry): (&Guard, &Option<Entry>)| match (guard, entry) {
            (Guard::Absent { .. }, entry) => entry.is_none(),
            (Guard::Equals { value, .. }, Some(entry)) => entry.value == *value,
            (Guard::WrittenAt { revision, .. }, Some(entry)) => entry.revision == *revision,
            (_, None) => false,
        };
        let refused = guards.iter().zip(&seen).position(|pair| !holds(pair));
        refused.ok_or_else(|| Error::Internal("etcd refused a transaction whose guards hold".into()))
    }

    async fn open_watch(&self, prefix: &str, from: Revision) -> Result<WatchStream> {
        let options = WatchOptions::new().with_prefix().with_start_revision(from.max(1) as i64);
        let mut client = self.client.watch_client().max_decoding_message_size(MAX_ANSWER);
        self.ask(client.watch(self.key(prefix), Some(options))).await
    }
}

/// What an error of a write means: a lost lease, a refusal, or nobody knows.
fn write_error(address: &str, writes: &[Write], error: &etcd_client::Error) -> Error {
    let etcd_client::Error::GRpcStatus(status) = error else {
        return Error::Unknown { reason: format!("etcd at {address}: {error}") };
    };
    let code = i32::from(status.code());
    let lease = writes.iter().find_map(|write| match write {
        Write::PutLeased { lease, .. } => Some(*lease),
        _ => None,
    });
    if let (true, Some(lease)) = (is_lease_missing(status.message()), lease) {
        return Error::LeaseLost(lease.0);
    }
    if REFUSALS.contains(&code) {
        let source = std::io::Error::other(status.message().to_owned());
        return Error::NotWritten { action: format!("etcd at {address} refused the change"), source };
    }
    Error::Unknown { reason: format!("etcd at {address}: {}", status.message()) }
}

fn is_lease_missing(message: &str) -> bool {
    message.contains("requested lease not found") || message.contains("lease not found")
}

fn unavailable(address: &str, reason: &str) -> Error {
    Error::Unavailable { what: format!("etcd at {address}"), reason: reason.to_owned() }
}

fn revision_of(header: Option<&etcd_client::ResponseHeader>) -> Revision {
    header.map_or(0, |header| header.revision() as Revision)
}

#[async_trait]
impl MetaStore for EtcdMeta {
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        let answer = self.ask(self.kv().get(self.key(key), None)).await?;
        answer.kvs().first().map(|found| self.entry(found)).transpose()
    }

    async fn list(&self, prefix: &str) -> Result<Listing> {
        let options = GetOptions::new().with_prefix();
        let answer = self.ask(self.kv().get(self.key(prefix), Some(options))).await?;
        let entries = answer.kvs().iter().map(|found| self.entry(found)).collect::<Result<_>>()?;
        Ok(Listing { revision: revision_of(answer.header()), entries })
    }

    async fn commit(&self, guards: Vec<Guard>, writes: Vec<Write>) -> Result<Outcome> {
        // etcd refuses a transaction that writes a key twice; here the last write counts.
        let mut last: BTreeMap<&str, &Write> = BTreeMap::new();
        for write in &writes {
            let (Write::Put { key, .. } | Write::PutLeased { key, .. } | Write::Delete { key }) = write;
            last.insert(key, write);
        }
        let keys = guards.iter().map(|guard| {
            let (Guard::Absent { key } | Guard::Equals { key, .. } | Guard::WrittenAt { key, .. }) = guard;
            TxnOp::get(self.key(key), None)
        });
        let txn = Txn::new()
            .when(guards.iter().map(|guard| self.compare(guard)).collect::<Vec<_>>())
            .and_then(last.into_values().map(|write| self.operation(write)).collect::<Vec<_>>())
            .or_else(keys.collect::<Vec<_>>());
        let answer = match tokio::time::timeout(PATIENCE, self.kv().txn(txn)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(write_error(&self.address, &writes, &error)),
            Err(_) => return Err(Error::Unknown { reason: format!("etcd at {}: no answer", self.address) }),
        };
        if answer.succeeded() {
            return Ok(Outcome::Committed(revision_of(answer.header())));
        }
        Ok(Outcome::Refused { guard: self.refused_by(&guards, &answer)? })
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Box<dyn MetaWatch>> {
        let stream = Some(self.open_watch(prefix, from).await?);
        let store = self.clone();
        Ok(Box::new(EtcdWatch { store, prefix: prefix.into(), from, stream, ready: VecDeque::new() }))
    }

    async fn grant(&self, ttl_millis: u64) -> Result<LeaseId> {
        let seconds = ttl_millis.div_ceil(1000) as i64;
        let answer = self.ask(self.client.lease_client().grant(seconds, None)).await?;
        Ok(LeaseId(answer.id() as u64))
    }

    async fn renew(&self, lease: LeaseId) -> Result<()> {
        let mut client = self.client.lease_client();
        let renewed = tokio::time::timeout(PATIENCE, client.keep_alive(lease.0 as i64)).await;
        match renewed {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if is_lease_missing(&error.to_string()) => Err(Error::LeaseLost(lease.0)),
            Ok(Err(error)) => Err(unavailable(&self.address, &error.to_string())),
            Err(_) => Err(unavailable(&self.address, "no answer")),
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        let mut client = self.client.lease_client();
        match tokio::time::timeout(PATIENCE, client.revoke(lease.0 as i64)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if is_lease_missing(&error.to_string()) => Err(Error::LeaseLost(lease.0)),
            Ok(Err(error)) => Err(unavailable(&self.address, &error.to_string())),
            Err(_) => Err(unavailable(&self.address, "no answer")),
        }
    }
}

#[derive(Debug)]
struct EtcdWatch {
    store: EtcdMeta,
    prefix: String,
    /// The revision behind the last one given.
    from: Revision,
    stream: Option<WatchStream>,
    /// Revisions that arrived together, in order.
    ready: VecDeque<(Revision, Vec<Change>)>,
}

impl EtcdWatch {
    /// Splits an answer into its revisions.
    fn take(&mut self, answer: &etcd_client::WatchResponse) -> Result<()> {
        let mut revisions: BTreeMap<Revision, BTreeMap<String, Change>> = BTreeMap::new();
        for event in answer.events() {
            let Some(found) = event.kv() else { continue };
            let entry = self.store.entry(found)?;
            let (key, revision) = (entry.key.clone(), entry.revision);
            let change = match event.event_type() {
                EventType::Put => Change::Put(entry),
                EventType::Delete => Change::Deleted { key: entry.key, revision },
            };
            revisions.entry(revision).or_default().insert(key, change);
        }
        let changes = revisions.into_iter().map(|(revision, keys)| (revision, keys.into_values().collect()));
        self.ready.extend(changes.filter(|(revision, _)| *revision >= self.from));
        Ok(())
    }
}

#[async_trait]
impl MetaWatch for EtcdWatch {
    async fn next(&mut self) -> Result<Vec<Change>> {
        loop {
            if let Some((revision, changes)) = self.ready.pop_front() {
                self.from = revision + 1;
                return Ok(changes);
            }
            if self.stream.is_none() {
                self.stream = Some(self.store.open_watch(&self.prefix, self.from).await?);
            }
            let Some(stream) = &mut self.stream else { continue };
            match stream.message().await {
                Ok(Some(answer)) if answer.compact_revision() > 0 => {
                    return Err(Error::Compacted { first: answer.compact_revision() as Revision });
                }
                Ok(Some(answer)) if answer.canceled() => {
                    self.stream = None;
                    return Err(unavailable(&self.store.address, answer.cancel_reason()));
                }
                Ok(Some(answer)) => self.take(&answer)?,
                // The connection broke: the next round opens another one, and fails when nobody answers.
                Ok(None) | Err(_) => self.stream = None,
            }
        }
    }
}
