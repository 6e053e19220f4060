//! What the clients of a run asked for, what they were told, and what they saw: the judge of the run.
//!
//! Each transaction inserts a row of a new version, so whoever sees rows learns which transactions have happened, and by
//! `_ts` of the row at which instant. A transaction whose answer was lost is settled by the first who sees it; until then
//! it must be invisible at every instant that is looked at, and it may never appear at such an instant later.
//! Everything else is exact: what is visible at an instant is what the transactions up to it have left, no code is there
//! twice, and no row refers to one that is not there.
//!
//! A table that is emptied, or dropped and made anew, ends whatever is in it by then. So that a row of each transaction
//! is seen all the same, the first table is only ever emptied by who knows that nobody has written to it since it was read.
//!
//! What it is not: knowledge of how Elanus works. It knows instants, rows and answers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

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
    /// Taken back by a rebuild as of an earlier instant.
    Undone,
}

#[derive(Debug)]
struct Transaction {
    answer: Answer,
    /// When it happened, once that is known.
    ts: Option<Timestamp>,
    /// The latest instant at which it was not there.
    unseen_at: Timestamp,
    /// A rebuild has taken back everything later.
    latest: Timestamp,
    asked: Asked,
}

/// What a transaction is to do.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) begins: Vec<RowVersion>,
    pub(super) ends: Vec<RowVersion>,
    /// Tables that are emptied before rows begin.
    pub(super) clears: Vec<usize>,
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
    /// Taken back by rebuilds.
    pub(super) undone: u64,
}

/// See the file header.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    transactions: Vec<Transaction>,
    versions: BTreeMap<RowVersion, Version>,
    by_fingerprint: HashMap<(usize, u64), RowVersion>,
    /// When each table was emptied.
    cleared: [BTreeSet<Timestamp>; 2],
    last_number: u32,
    serials: HashMap<(usize, u32), u32>,
    /// The latest instant that was acknowledged.
    acknowledged: Timestamp,
    /// What is known to be in files up to.
    in_files: Timestamp,
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

    /// A version of a row with a code and a reference, whose values say which it is.
    pub(super) fn new_version(&mut self, table: usize, number: u32, (code, reference): (u32, u32)) -> u32 {
        let serial = self.serials.entry((table, number)).or_default();
        loop {
            *serial += 1;
            let version = rows::version(*serial, code, reference);
            if !(number.wrapping_add(version)).is_multiple_of([5, 4][table]) {
                return version;
            }
        }
    }

    /// What every strong read from now on must show.
    pub(super) const fn acknowledged(&self) -> Timestamp {
        self.acknowledged
    }

    /// A checkpoint was answered that began when this was acknowledged.
    pub(super) fn checkpoint_done(&mut self, acknowledged: Timestamp) {
        self.in_files = self.in_files.max(acknowledged);
    }

    /// Log and meta store were lost, and everything came back as of an instant, but for the tables that are `missing`.
    pub(super) fn roll_back(&mut self, at: Timestamp, missing: &[usize]) -> Result<(), String> {
        if at < self.in_files {
            return Err(format!("a rebuild as of {at}, and a checkpoint has covered {}", self.in_files));
        }
        for transaction in &mut self.transactions {
            transaction.latest = transaction.latest.min(at);
            if transaction.ts.is_some_and(|ts| ts > at) {
                (transaction.ts, transaction.answer) = (None, Answer::Undone);
            }
        }
        for ((table, ..), version) in &mut self.versions {
            // A table that is made anew can be read at the instant itself, where it is empty.
            version.from = version.from.filter(|from| *from <= at && !missing.contains(table));
            version.until = version.until.filter(|until| *until <= at);
        }
        for cleared in &mut self.cleared {
            cleared.retain(|ts| *ts <= at);
        }
        for table in missing {
            self.cleared[*table].insert(at.next());
        }
        self.acknowledged = self.acknowledged.min(at);
        Ok(())
    }

    /// How often somebody has looked.
    pub(super) const fn looks(&self) -> u64 {
        self.looks
    }

    /// A transaction is sent.
    pub(super) fn ask(&mut self, asked: Asked) -> usize {
        let by = self.transactions.len();
        for &(table, number, version) in &asked.begins {
            self.versions.insert((table, number, version), Version { by, from: None, until: None });
            self.by_fingerprint
                .insert((table, rows::fingerprint(table, number, version)), (table, number, version));
        }
        let unseen_at = Timestamp::ZERO;
        self.transactions.push(Transaction {
            answer: Answer::Awaited,
            ts: None,
            unseen_at,
            latest: Timestamp::MAX,
            asked,
        });
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
        if ts > found.latest {
            let latest = found.latest;
            return Err(format!(
                "resurrected: transaction {transaction} of {ts}, behind a rebuild as of {latest}"
            ));
        }
        if ts <= found.unseen_at {
            let (unseen, answer) = (found.unseen_at, found.answer);
            return Err(format!(
                "transaction {transaction} ({answer:?}) of {ts} was not visible at {unseen}: lost, or come up later"
            ));
        }
        let Asked { begins, ends, clears } = found.asked.clone();
        for table in clears {
            let of_table = self.versions.range((table, 0, 0)..(table + 1, 0, 0));
            let late = of_table.clone().find(|(_, version)| {
                version.from.is_some_and(|from| from < ts) && version.until.is_some_and(|until| until > ts)
            });
            if let Some((row, version)) = late {
                return Err(format!(
                    "table {table} was emptied at {ts}, row {row:?} ended at {:?}",
                    version.until
                ));
            }
            self.cleared[table].insert(ts);
        }
        for version in begins {
            self.versions.get_mut(&version).expect("put by `ask`").from = Some(ts);
        }
        for version in ends {
            let ended = self.versions.get_mut(&version).expect("seen before it is ended");
            let cleared = self.cleared[version.0].range(ended.from.unwrap_or_default().next()..ts).next();
            if let Some(before) = cleared.copied().or(ended.until.replace(ts)) {
                return Err(format!("row {version:?} was ended at {before} and again at {ts}"));
            }
        }
        self.unsettled.retain(|one| *one != transaction);
        Ok(())
    }

    /// The rows of a table at an instant, as far as is known.
    pub(super) fn rows_at(&self, table: usize, at: Timestamp) -> Rows {
        let of_table = self.versions.range((table, 0, 0)..(table + 1, 0, 0));
        let since = self.cleared[table].range(..=at).next_back().copied().unwrap_or_default();
        let visible = of_table.filter(|(_, version)| {
            version.from.is_some_and(|from| (since..=at).contains(&from))
                && version.until.is_none_or(|until| at < until)
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
        let found = [self.compare(0, at, &seen[0])?, self.compare(1, at, &seen[1])?];
        rows::check_keys([&found[0], &found[1]]).map_err(|why| format!("at {at}: {why}"))?;
        for transaction in &self.unsettled {
            let found = &mut self.transactions[*transaction];
            found.unseen_at = found.unseen_at.max(at);
        }
        Ok(())
    }

    fn compare(&self, table: usize, at: Timestamp, rows: &[Seen]) -> Result<Rows, String> {
        let mut found = Rows::new();
        for row in rows {
            let (_, number, version) = self.by_fingerprint[&(table, row.fingerprint)];
            if found.insert(number, version).is_some() {
                return Err(format!("duplicate: table {table}, at {at}: key {number} is there twice"));
            }
        }
        let expected = self.rows_at(table, at);
        if found == expected {
            return Ok(found);
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
                Answer::Undone => tally.undone += 1,
                Answer::Awaited | Answer::Lost => {
                    tally.lost += 1;
                    tally.lost_that_happened += u64::from(transaction.ts.is_some());
                }
            }
            if transaction.ts.is_some() {
                tally.ended_rows += transaction.asked.ends.len() as u64;
            }
        }
        tally
    }
}
