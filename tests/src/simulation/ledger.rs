//! What the clients of a run asked for, what they were told, and what they saw: the judge of the run.
//!
//! Each transaction inserts a row of a new version, so whoever sees rows learns which transactions have happened, and by
//! `_ts` of the row at which instant. A transaction whose answer was lost is settled by the first who sees it; until then
//! it must be invisible at every instant that is looked at, and it may never appear at such an instant later.
//! Everything else is exact: what is visible at an instant is what the transactions up to it have left.
//!
//! What it is not: knowledge of how Elanus works. It knows instants, rows and answers.

use std::collections::{BTreeMap, HashMap};

use proto::Timestamp;

use crate::reads::{Rows, Seen};
use crate::rows;

/// Table, key number and version of a row.
pub(super) type RowVersion = (usize, u32, u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Not answered yet.
    Awaited,
    Done,
    Refused,
    /// Never to be answered.
    Lost,
}

#[derive(Debug)]
struct Transaction {
    answer: Answer,
    /// When it happened, once that is known.
    ts: Option<Timestamp>,
    /// The latest instant at which it was not there.
    unseen_at: Timestamp,
    begins: Vec<RowVersion>,
    ends: Vec<RowVersion>,
}

/// What may be visible, and from when to when.
#[derive(Debug)]
struct Version {
    by: usize,
    from: Option<Timestamp>,
    /// The instant of the transaction that has ended it.
    until: Option<Timestamp>,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) done: u64,
    pub(super) refused: u64,
    pub(super) lost: u64,
    pub(super) lost_that_happened: u64,
    pub(super) ended_rows: u64,
}

/// See the file header.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    transactions: Vec<Transaction>,
    versions: BTreeMap<RowVersion, Version>,
    by_fingerprint: HashMap<(usize, u64), RowVersion>,
    last_number: u32,
    last_version: u32,
    /// The latest instant that was acknowledged.
    acknowledged: Timestamp,
    /// Transactions that nobody has seen.
    unsettled: Vec<usize>,
    looks: u64,
}

impl Ledger {
    /// A key that nobody has used.
    pub(super) fn new_number(&mut self) -> u32 {
        self.last_number += 1;
        self.last_number
    }

    /// The highest key that was used.
    pub(super) const fn last_number(&self) -> u32 {
        self.last_number
    }

    /// A version of a row whose values say which it is.
    pub(super) fn new_version(&mut self, table: usize, number: u32) -> u32 {
        loop {
            self.last_version += 1;
            if !(number + self.last_version).is_multiple_of([5, 4][table]) {
                return self.last_version;
            }
        }
    }

    /// What every strong read from now on must show.
    pub(super) const fn acknowledged(&self) -> Timestamp {
        self.acknowledged
    }

    /// How often somebody has looked.
    pub(super) const fn looks(&self) -> u64 {
        self.looks
    }

    /// A transaction is sent.
    pub(super) fn ask(&mut self, begins: Vec<RowVersion>, ends: Vec<RowVersion>) -> usize {
        let by = self.transactions.len();
        for &(table, number, version) in &begins {
            self.versions.insert((table, number, version), Version { by, from: None, until: None });
            self.by_fingerprint
                .insert((table, rows::fingerprint(table, number, version)), (table, number, version));
        }
        let unseen_at = Timestamp::ZERO;
        self.transactions.push(Transaction { answer: Answer::Awaited, ts: None, unseen_at, begins, ends });
        self.unsettled.push(by);
        by
    }

    /// It was answered: done.
    pub(super) fn done(&mut self, transaction: usize, ts: Timestamp) -> Result<(), String> {
        self.transactions[transaction].answer = Answer::Done;
        self.acknowledged = self.acknowledged.max(ts);
        self.settle(transaction, ts)
    }

    /// It was answered: it has not happened.
    pub(super) fn refused(&mut self, transaction: usize, why: &str) -> Result<(), String> {
        self.transactions[transaction].answer = Answer::Refused;
        match self.transactions[transaction].ts {
            Some(ts) => {
                Err(format!("transaction {transaction} was refused ({why}) and is visible since {ts}"))
            }
            None => Ok(()),
        }
    }

    /// Its answer was lost.
    pub(super) fn lost(&mut self, transaction: usize) {
        self.transactions[transaction].answer = Answer::Lost;
    }

    /// Nobody waits for its answer any more.
    pub(super) fn lost_unless_answered(&mut self, transaction: usize) {
        if self.transactions[transaction].answer == Answer::Awaited {
            self.lost(transaction);
        }
    }

    /// It has happened at an instant.
    fn settle(&mut self, transaction: usize, ts: Timestamp) -> Result<(), String> {
        let found = &mut self.transactions[transaction];
        match found.ts {
            Some(known) if known == ts => return Ok(()),
            Some(known) => {
                return Err(format!("transaction {transaction} of {known} is said to be of {ts}"));
            }
            None => found.ts = Some(ts),
        }
        if found.answer == Answer::Refused {
            return Err(format!("failed and visible: transaction {transaction} at {ts}"));
        }
        if ts <= found.unseen_at {
            let (unseen, answer) = (found.unseen_at, found.answer);
            return Err(format!(
                "transaction {transaction} ({answer:?}) of {ts} was not visible at {unseen}: lost, or come up later"
            ));
        }
        let (begins, ends) = (found.begins.clone(), found.ends.clone());
        for version in begins {
            self.versions.get_mut(&version).expect("put by `ask`").from = Some(ts);
        }
        for version in ends {
            let ended = self.versions.get_mut(&version).expect("seen before it is ended");
            if let Some(before) = ended.until.replace(ts) {
                return Err(format!("row {version:?} was ended at {before} and again at {ts}"));
            }
        }
        self.unsettled.retain(|one| *one != transaction);
        Ok(())
    }

    /// The rows of a table at an instant, as far as is known.
    pub(super) fn rows_at(&self, table: usize, at: Timestamp) -> Rows {
        let of_table = self.versions.range((table, 0, 0)..(table + 1, 0, 0));
        let visible = of_table.filter(|(_, version)| {
            version.from.is_some_and(|from| from <= at) && version.until.is_none_or(|until| at < until)
        });
        visible.map(|((_, number, version), _)| (*number, *version)).collect()
    }

    /// Judges what a reader saw of both tables at an instant. `least` is what it had to show.
    pub(super) fn look(
        &mut self,
        at: Timestamp,
        least: Timestamp,
        seen: &[Vec<Seen>; 2],
    ) -> Result<(), String> {
        self.looks += 1;
        if at < least {
            return Err(format!("a strong read shows {at}, and {least} was acknowledged before"));
        }
        for (table, rows) in seen.iter().enumerate() {
            for row in rows {
                let Some(version) = self.by_fingerprint.get(&(table, row.fingerprint)).copied() else {
                    return Err(format!("table {table}, at {at}: nobody has written {row:?}"));
                };
                let by = self.versions[&version].by;
                self.settle(by, row.ts).map_err(|why| format!("table {table}, at {at}: {row:?}: {why}"))?;
            }
        }
        for (table, rows) in seen.iter().enumerate() {
            self.compare(table, at, rows)?;
        }
        for transaction in &self.unsettled {
            let found = &mut self.transactions[*transaction];
            found.unseen_at = found.unseen_at.max(at);
        }
        Ok(())
    }

    fn compare(&self, table: usize, at: Timestamp, rows: &[Seen]) -> Result<(), String> {
        let mut found = Rows::new();
        for row in rows {
            let (_, number, version) = self.by_fingerprint[&(table, row.fingerprint)];
            if found.insert(number, version).is_some() {
                return Err(format!("duplicate: table {table}, at {at}: key {number} is there twice"));
            }
        }
        let expected = self.rows_at(table, at);
        if found == expected {
            return Ok(());
        }
        let missing: Vec<_> =
            expected.iter().filter(|(key, version)| found.get(key) != Some(version)).collect();
        let extra: Vec<_> =
            found.iter().filter(|(key, version)| expected.get(key) != Some(version)).collect();
        let story = |list: &[(&u32, &u32)]| -> Vec<String> {
            let first = list.iter().take(3);
            first.map(|(number, version)| self.story((table, **number, **version))).collect()
        };
        Err(format!(
            "table {table}, at {at}: {} of {} rows lost: {:?}; {} resurrected or too early: {:?}",
            missing.len(),
            expected.len(),
            story(&missing),
            extra.len(),
            story(&extra)
        ))
    }

    fn story(&self, row: RowVersion) -> String {
        let version = &self.versions[&row];
        let by = &self.transactions[version.by];
        format!(
            "{row:?} by {} ({:?}) from {:?} until {:?}",
            version.by, by.answer, version.from, version.until
        )
    }

    /// What the run came to.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for transaction in &self.transactions {
            match transaction.answer {
                Answer::Done => tally.done += 1,
                Answer::Refused => tally.refused += 1,
                Answer::Awaited | Answer::Lost => {
                    tally.lost += 1;
                    tally.lost_that_happened += u64::from(transaction.ts.is_some());
                }
            }
            if transaction.ts.is_some() {
                tally.ended_rows += transaction.ends.len() as u64;
            }
        }
        tally
    }
}
