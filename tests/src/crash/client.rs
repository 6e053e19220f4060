//! One client of the kill loop: draws operations, runs them, keeps its ledger until the connection breaks.

use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};

use super::ledger::{Effect, Key, Ledger, Row, TABLES, vector_text};
use super::{Phase, Round};
use crate::wire::{Connection, Failure, Reply};

/// Rows a client keeps at most, so that checks stay quick.
const ROWS_KEPT: usize = 2_500;

/// A client at work.
pub(super) struct Client<'a> {
    ledger: &'a mut Ledger,
    connection: Connection,
    dice: StdRng,
    round: &'a Round,
}

/// What is left to do after an operation was drawn.
struct Operation {
    phase: Phase,
    statements: Vec<Statement>,
    effect: Effect,
    /// False for a transaction that ends with ROLLBACK: no outcome of it is in doubt.
    commits: bool,
}

enum Statement {
    Sql(String),
    Copy { sql: String, data: Vec<u8> },
}

impl<'a> Client<'a> {
    pub(super) fn new(ledger: &'a mut Ledger, connection: Connection, seed: u64, round: &'a Round) -> Self {
        Self { ledger, connection, dice: StdRng::seed_from_u64(seed), round }
    }

    /// Works until the connection breaks; gives what it was in the middle of.
    ///
    /// # Panics
    /// When the server refuses an operation.
    pub(super) fn run(mut self) -> Phase {
        loop {
            let operation = self.draw();
            self.round.enter(self.ledger.client, operation.phase);
            let last = operation.statements.len() - 1;
            for (position, statement) in operation.statements.iter().enumerate() {
                let reply = match statement {
                    Statement::Sql(sql) => self.connection.query(sql),
                    Statement::Copy { sql, data } => self.connection.copy_in(sql, data),
                };
                if broke(reply, statement) {
                    if position == last && operation.commits {
                        self.ledger.doubt = Some(operation.effect);
                    }
                    // Before BEGIN was answered there was no transaction to be inside of.
                    let began = position > 0 || operation.phase != Phase::Transaction;
                    return if began { operation.phase } else { Phase::Any };
                }
            }
            self.round.enter(self.ledger.client, Phase::Any);
            if operation.commits {
                self.ledger.apply(operation.effect);
            }
            self.ledger.acknowledged += 1;
            self.round.acknowledge();
        }
    }

    fn draw(&mut self) -> Operation {
        let crowded = self.ledger.rows.len() > ROWS_KEPT;
        match self.dice.random_range(0..100) {
            _ if crowded => self.alone(|client, effect, _| client.delete(effect, ROWS_KEPT / 2)),
            0..20 => self.alone(|client, effect, tag| client.insert(effect, tag, 1)),
            20..35 => self.alone(|client, effect, tag| client.insert(effect, tag, 40)),
            35..55 => self.alone(|client, effect, tag| client.update(effect, tag, 20)),
            55..65 => self.alone(|client, effect, _| client.delete(effect, 15)),
            65..80 => self.transaction(true),
            80..84 => self.transaction(false),
            84..93 => self.copy(),
            93..97 => self.vacuum(),
            _ => Operation {
                phase: Phase::Checkpoint,
                statements: vec![Statement::Sql("CHECKPOINT".to_owned())],
                effect: Effect::new(),
                commits: true,
            },
        }
    }

    fn vacuum(&mut self) -> Operation {
        let full = if self.dice.random_bool(0.5) { "FULL " } else { "" };
        let sql = format!("VACUUM {full}{}", TABLES[self.table()]);
        let (phase, effect) = (Phase::Vacuum, Effect::new());
        Operation { phase, statements: vec![Statement::Sql(sql)], effect, commits: true }
    }

    fn alone(&mut self, write: impl Fn(&mut Self, &mut Effect, &str) -> String) -> Operation {
        let tag = self.ledger.fresh_tag();
        let mut effect = Effect::new();
        let sql = write(self, &mut effect, &tag);
        Operation { phase: Phase::Any, statements: vec![Statement::Sql(sql)], effect, commits: true }
    }

    fn transaction(&mut self, commits: bool) -> Operation {
        let tag = self.ledger.fresh_tag();
        let mut effect = Effect::new();
        let mut statements = vec![Statement::Sql("BEGIN".to_owned())];
        for _ in 0..self.dice.random_range(2..6) {
            let sql = match self.dice.random_range(0..4) {
                0 | 1 => self.insert(&mut effect, &tag, 10),
                2 => self.update(&mut effect, &tag, 10),
                _ => self.delete(&mut effect, 5),
            };
            statements.push(Statement::Sql(sql));
        }
        statements.push(Statement::Sql(if commits { "COMMIT" } else { "ROLLBACK" }.to_owned()));
        Operation { phase: Phase::Transaction, statements, effect, commits }
    }

    fn table(&mut self) -> usize {
        self.dice.random_range(0..TABLES.len())
    }

    fn insert(&mut self, effect: &mut Effect, tag: &str, most: usize) -> String {
        let table = self.table();
        let rows: Vec<String> = (0..self.dice.random_range(1..=most))
            .map(|_| {
                let id = self.ledger.fresh_id();
                effect.insert((table, id), Some(Row { version: 0, tag: tag.to_owned() }));
                format!("({id}, 0, '{tag}', '{}')", vector_text(id, 0))
            })
            .collect();
        format!("INSERT INTO {} VALUES {}", TABLES[table], rows.join(", "))
    }

    /// COPY of a few hundred rows, now and then of enough for several payload records.
    fn copy(&mut self) -> Operation {
        let tag = self.ledger.fresh_tag();
        let table = self.table();
        let rows = if self.dice.random_ratio(1, 6) { 8_000 } else { self.dice.random_range(1..400) };
        let mut effect = Effect::new();
        let mut data = Vec::new();
        for _ in 0..rows {
            let id = self.ledger.fresh_id();
            effect.insert((table, id), Some(Row { version: 0, tag: tag.clone() }));
            data.extend_from_slice(format!("{id}\t0\t{tag}\t{}\n", vector_text(id, 0)).as_bytes());
        }
        let sql = format!("COPY {} FROM STDIN", TABLES[table]);
        Operation {
            phase: Phase::Copy,
            statements: vec![Statement::Copy { sql, data }],
            effect,
            commits: true,
        }
    }

    /// Rows that are there at this point of the operation, chosen at random from one table.
    fn present(&mut self, effect: &Effect, most: usize) -> (usize, Vec<(i64, i32)>) {
        let table = self.table();
        let wanted = self.dice.random_range(1..=most);
        let committed =
            self.ledger.rows.iter().filter(|(key, _)| key.0 == table && !effect.contains_key(*key));
        let written = effect.iter().filter_map(|(key, row)| row.as_ref().map(|row| (key, row)));
        let all = committed.chain(written.filter(|(key, _)| key.0 == table));
        let rows = all.map(|(key, row): (&Key, &Row)| (key.1, row.version));
        (table, rows.choose_multiple(&mut self.dice, wanted))
    }

    fn update(&mut self, effect: &mut Effect, tag: &str, most: usize) -> String {
        let (table, rows) = self.present(effect, most);
        // All rows of one statement get one version, so that the vector can be written as a CASE-free list.
        let mut parts = Vec::new();
        for (id, version) in &rows {
            effect.insert((table, *id), Some(Row { version: version + 1, tag: tag.to_owned() }));
            parts.push(format!("({id}, {}, '{}'::vector)", version + 1, vector_text(*id, version + 1)));
        }
        if parts.is_empty() {
            return format!("UPDATE {} SET tag = '{tag}' WHERE id = -1", TABLES[table]);
        }
        format!(
            "UPDATE {name} SET version = n.version, tag = '{tag}', v = n.v FROM (VALUES {}) AS n(id, version, v) \
             WHERE {name}.id = n.id",
            parts.join(", "),
            name = TABLES[table]
        )
    }

    fn delete(&mut self, effect: &mut Effect, most: usize) -> String {
        let (table, rows) = self.present(effect, most);
        let mut ids = vec!["-1".to_owned()];
        for (id, _) in rows {
            effect.insert((table, id), None);
            ids.push(id.to_string());
        }
        format!("DELETE FROM {} WHERE id IN ({})", TABLES[table], ids.join(", "))
    }
}

/// Whether the connection broke; an error from the server that is not its end is a failure of the test.
fn broke(reply: Result<Reply, Failure>, statement: &Statement) -> bool {
    let sql = match statement {
        Statement::Sql(sql) | Statement::Copy { sql, .. } => sql,
    };
    match reply {
        Ok(Reply { error: None, .. }) => false,
        Ok(Reply { error: Some(error), .. }) => panic!("{error} at: {}", crate::wire::head(sql)),
        Err(Failure::Socket(_)) => true,
        Err(failure) => panic!("{failure} at: {}", crate::wire::head(sql)),
    }
}
