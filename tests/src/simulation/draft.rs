//! What a writer wants to change, drawn from what it has seen: rows of both tables, with codes that others may want
//! too and references to rows that others may be deleting.
//!
//! Most drafts are right as far as the writer knows. Some take a code that is there, refer to nothing, or leave rows behind
//! that refer to what they delete: whoever accepts one of those is found out by the ledger.

use std::collections::BTreeSet;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;

use super::ledger::Ledger;
use super::world::Plan;
use crate::rows::{self, Rows};

/// See the file header.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Numbers and versions by table.
    pub(super) inserts: [Vec<(u32, u32)>; 2],
    /// Numbers by table.
    pub(super) deletes: [Vec<u32>; 2],
    /// The second table is emptied first.
    pub(super) truncates: bool,
    /// No row that was seen refers to what is deleted, unless it is deleted too.
    pub(super) has_looked: bool,
}

/// Numbers by table, before it is known what becomes of them.
#[derive(Default)]
struct Picked {
    added: [Vec<u32>; 2],
    updated: [Vec<u32>; 2],
    deleted: [Vec<u32>; 2],
}

/// Draws the changes of a transaction; a row of the first table is new in each.
pub(super) fn draw(dice: &mut StdRng, plan: &Plan, ledger: &mut Ledger, seen: &[Rows; 2]) -> Changes {
    let mut picked = pick(dice, plan, ledger, seen);
    let mut changes = Changes { truncates: dice.random_ratio(1, 30), ..Changes::default() };
    if changes.truncates {
        picked.deleted[1].clear();
    }
    // A mark of its own, so that whoever looks sees whether it has happened.
    picked.added[0].push(ledger.new_number());
    let mut wanted = Codes::of(&seen[0], picked.ended(0));
    let before = wanted.there.clone();
    for (numbers, is_new) in [(&picked.updated[0], false), (&picked.added[0], true)] {
        for number in numbers {
            let known = seen[0].get(number).filter(|_| !is_new && dice.random_ratio(2, 3));
            let code =
                known.and_then(|version| rows::code(*version)).filter(|code| wanted.there.insert(*code));
            let code = code.unwrap_or_else(|| wanted.draw(dice, plan));
            changes.inserts[0].push((*number, ledger.new_version(0, *number, (code, 0))));
        }
    }
    changes.deletes[0] = picked.ended(0).copied().collect();
    follow(dice, seen, &before, &wanted.there, &mut picked, &mut changes);
    let mut own = Codes::of(&seen[1], picked.ended(1));
    for number in picked.updated[1].iter().chain(&picked.added[1]) {
        let reference = reference(dice, plan, &wanted.there);
        let code = own.draw(dice, plan);
        changes.inserts[1].push((*number, ledger.new_version(1, *number, (code, reference))));
    }
    if !changes.truncates {
        changes.deletes[1] = picked.ended(1).copied().collect();
    }
    // Now and then a key that is there, unless somebody else deletes it first.
    let table = plan.table(dice);
    if dice.random_ratio(1, 20)
        && let Some(number) = seen[table].keys().find(|number| !changes.deletes[table].contains(*number))
    {
        changes.inserts[table].push((*number, ledger.new_version(table, *number, (0, 0))));
    }
    changes
}

fn pick(dice: &mut StdRng, plan: &Plan, ledger: &mut Ledger, seen: &[Rows; 2]) -> Picked {
    let mut picked = Picked::default();
    for _ in 0..dice.random_range(1..4) {
        let table = plan.table(dice);
        let crowded = seen[table].len() > plan.rows;
        let most = if crowded { 20 } else { 5 };
        let some: Vec<u32> = seen[table].keys().copied().choose_multiple(dice, most);
        let some = some.into_iter().filter(|number| !picked.ended(table).any(|other| other == number));
        let some: Vec<u32> = some.collect();
        match dice.random_range(0..10) {
            0..4 if !crowded => {
                let adds = if dice.random_ratio(1, 6) { 60 } else { dice.random_range(1..6) };
                picked.added[table].extend((0..adds).map(|_| ledger.new_number()));
            }
            4..7 if !crowded => picked.updated[table].extend(some),
            _ => picked.deleted[table].extend(some),
        }
    }
    picked
}

impl Picked {
    /// The rows of a table that end.
    fn ended(&self, table: usize) -> impl Iterator<Item = &u32> {
        self.deleted[table].iter().chain(&self.updated[table])
    }
}

/// Rows that refer to a code that is not there any more go with it, most of the time.
fn follow(
    dice: &mut StdRng,
    seen: &[Rows; 2],
    before: &BTreeSet<u32>,
    after: &BTreeSet<u32>,
    picked: &mut Picked,
    changes: &mut Changes,
) {
    let left: BTreeSet<u32> = seen[0].values().filter_map(|version| rows::code(*version)).collect();
    let gone: BTreeSet<u32> = left.difference(before).filter(|code| !after.contains(code)).copied().collect();
    changes.has_looked = !gone.is_empty() && dice.random_ratio(9, 10);
    if !changes.has_looked || changes.truncates {
        return;
    }
    let refers = |version: u32| rows::reference(version).is_some_and(|code| gone.contains(&code));
    let of = seen[1].iter().filter(|(_, version)| refers(**version)).map(|(number, _)| *number);
    let of: Vec<u32> = of.filter(|number| !picked.ended(1).any(|other| other == number)).collect();
    picked.deleted[1].extend(of);
}

/// The codes of a table as a transaction leaves them, as far as it knows.
struct Codes {
    there: BTreeSet<u32>,
}

impl Codes {
    fn of<'a>(seen: &Rows, ended: impl Iterator<Item = &'a u32>) -> Self {
        let ended: BTreeSet<u32> = ended.copied().collect();
        let stay = seen.iter().filter(|(number, _)| !ended.contains(number));
        Self { there: stay.filter_map(|(_, version)| rows::code(*version)).collect() }
    }

    /// A code that is free, now and then one that may not be; 0, which is none, when there is hardly one.
    fn draw(&mut self, dice: &mut StdRng, plan: &Plan) -> u32 {
        if dice.random_ratio(1, 60) {
            return dice.random_range(1..=plan.codes);
        }
        let drawn = (0..4).map(|_| dice.random_range(1..=plan.codes)).find(|code| !self.there.contains(code));
        if let Some(code) = drawn {
            self.there.insert(code);
        }
        drawn.unwrap_or_default()
    }
}

/// A code to refer to: one that is there, now and then one that may not be, or none.
fn reference(dice: &mut StdRng, plan: &Plan, there: &BTreeSet<u32>) -> u32 {
    match dice.random_range(0..60) {
        0 => dice.random_range(1..=plan.codes),
        1..20 => 0,
        _ => there.iter().copied().choose(dice).unwrap_or_default(),
    }
}
