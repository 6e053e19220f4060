//! One client of the kill loop: draws operations, runs them, keeps its ledger until the connection breaks.

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{Rng, SeedableRng};

use super::ledger::{Effect, Key, Ledger, REFERRING, Row, TABLES, vector_text};
use super::{Phase, Round, crowd};
use crate::wire::{Connection, Failure, Reply};

/// Rows a client keeps at most, so that checks stay quick.
const ROWS_KEPT: usize = 2_500;

/// Codes that every client wants for its rows.
const WANTED_CODES: i64 = 12;

/// A client at work.
pub(super) struct Client<'a> {
    pub(super) ledger: &'a mut Ledger,
    connection: Connection,
    pub(super) dice: StdRng,
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
    Copy {
        sql: String,
        data: Vec<u8>,
    },
    /// It must fail with this SQLSTATE.
    Refused {
        sql: String,
        code: &'static str,
    },
    /// It may fail with one of these, or insert no row, because somebody else has the value it wants.
    Contended {
        sql: String,
        codes: &'static [&'static str],
    },
}

/// What became of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// Refused, as it had to be or may be, or without a row.
    Nothing,
    /// The connection broke.
    Broken,
}

impl<'a> Client<'a> {
    pub(super) fn new(ledger: &'a mut Ledger, connection: Connection, seed: u64, round: &'a Round) -> Self {
        Self { ledger, connection, dice: StdRng::seed_from_u64(seed), round }
    }

    /// Works until the connection breaks; gives what it was in the middle of.
    ///
    /// # Panics
    /// When the server refuses an operation, or does not refuse what it must.
    pub(super) fn run(mut self) -> Phase {
        // Every other client has so little memory for its writes that a COPY goes to files before its commit.
        if self.dice.random() && self.connection.run("SET elanus.write_work_mem = '64kB'").is_err() {
            return Phase::Any;
        }
        loop {
            let mut operation = self.draw();
            self.round.enter(self.ledger.client, operation.phase);
            let last = operation.statements.len() - 1;
            for (position, statement) in operation.statements.iter().enumerate() {
                match self.send(statement) {
                    Outcome::Done => {}
                    Outcome::Nothing if matches!(statement, Statement::Contended { .. }) => {
                        self.ledger.taken += 1;
                        operation.effect.clear();
                    }
                    Outcome::Nothing => self.ledger.refused += 1,
                    Outcome::Broken => {
                        if position == last && operation.commits {
                            self.ledger.doubt = Some(operation.effect);
                        }
                        // Before BEGIN was answered there was no transaction to be inside of.
                        let began = position > 0 || operation.phase != Phase::Transaction;
                        return if began { operation.phase } else { Phase::Any };
                    }
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

    fn send(&mut self, statement: &Statement) -> Outcome {
        let (sql, reply) = match statement {
            Statement::Sql(sql) | Statement::Refused { sql, .. } | Statement::Contended { sql, .. } => {
                (sql, self.connection.query(sql))
            }
            Statement::Copy { sql, data } => (sql, self.connection.copy_in(sql, data)),
        };
        let reply = match reply {
            Ok(reply) => reply,
            Err(Failure::Socket(_)) => return Outcome::Broken,
            Err(failure) => panic!("{failure} at: {}", crate::wire::head(sql)),
        };
        match (statement, &reply.error) {
            (Statement::Refused { code, .. }, Some(error)) if error.code == *code => Outcome::Nothing,
            (Statement::Refused { code, .. }, _) => {
                panic!("{:?}, not {code}, at: {}", reply.error, crate::wire::head(sql))
            }
            (Statement::Contended { codes, .. }, Some(error)) if codes.contains(&error.code.as_str()) => {
                Outcome::Nothing
            }
            (_, Some(error)) => panic!("{error} at: {}", crate::wire::head(sql)),
            (Statement::Contended { .. }, None) if tag(&reply).ends_with(" 0") => Outcome::Nothing,
            (_, None) => Outcome::Done,
        }
    }

    fn draw(&mut self) -> Operation {
        let crowded = self.ledger.rows.len() > ROWS_KEPT;
        match self.dice.random_range(0..100) {
            _ if crowded => self.alone(|client, effect, _| client.delete(effect, ROWS_KEPT / 2)),
            0..14 => self.alone(|client, effect, tag| client.insert(effect, tag, 1)),
            14..24 => self.alone(|client, effect, tag| client.insert(effect, tag, 40)),
            24..39 => self.alone(|client, effect, tag| client.update(effect, tag, 20)),
            39..46 => self.alone(|client, effect, _| client.delete(effect, 15)),
            46..52 => self.alone(|client, effect, tag| client.upsert(effect, tag, 10)),
            52..57 => self.refused(),
            57..61 => self.wanted(),
            61..67 => self.crowd(),
            67..80 => self.transaction(true),
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
        let table = ["left_rows", "right_rows", "hubs", "spokes"][self.dice.random_range(0..4)];
        let sql = format!("VACUUM {full}{table}");
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
            let sql = match self.dice.random_range(0..6) {
                0 | 1 => self.insert(&mut effect, &tag, 10),
                2 => self.update(&mut effect, &tag, 10),
                3 => self.upsert(&mut effect, &tag, 10),
                4 => {
                    if let Some(refused) = self.refusal(&effect, &tag) {
                        let savepoint = |sql: &str| Statement::Sql(sql.to_owned());
                        statements.extend([savepoint("SAVEPOINT before"), refused]);
                        statements.push(savepoint("ROLLBACK TO before"));
                    }
                    continue;
                }
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

    /// A row that nobody has, which refers to one of this client's rows or to none.
    fn fresh_row(&mut self, table: usize, effect: &Effect, tag: &str) -> Row {
        let parent = if table == REFERRING && self.dice.random_ratio(2, 3) {
            self.some(0, effect, 1).pop().map(|(id, _)| id)
        } else {
            None
        };
        Row { version: 0, tag: tag.to_owned(), code: self.ledger.fresh_id(), parent }
    }

    fn insert(&mut self, effect: &mut Effect, tag: &str, most: usize) -> String {
        let table = self.table();
        let mut rows = Vec::new();
        for _ in 0..self.dice.random_range(1..=most) {
            let key = (table, self.ledger.fresh_id());
            let row = self.fresh_row(table, effect, tag);
            rows.push(row.values(key));
            effect.insert(key, Some(row));
        }
        format!("INSERT INTO {} VALUES {}", TABLES[table], rows.join(", "))
    }

    /// New rows, some of which have the code of a row that is there: that one is updated, or nothing happens to it.
    fn upsert(&mut self, effect: &mut Effect, tag: &str, most: usize) -> String {
        let table = self.table();
        let updates = self.dice.random_bool(0.6);
        let mut rows = Vec::new();
        for (id, known) in self.some(table, effect, most) {
            // What is updated takes on all values but its id.
            let row = Row { version: known.version + 1, tag: tag.to_owned(), ..known };
            rows.push(row.values_as((table, id), self.ledger.fresh_id()));
            if updates {
                effect.insert((table, id), Some(row));
            }
        }
        for _ in 0..self.dice.random_range(1..4) {
            let key = (table, self.ledger.fresh_id());
            let row = self.fresh_row(table, effect, tag);
            rows.push(row.values(key));
            effect.insert(key, Some(row));
        }
        let action = if updates {
            "UPDATE SET version = excluded.version, tag = excluded.tag, v = excluded.v"
        } else {
            "NOTHING"
        };
        format!("INSERT INTO {} VALUES {} ON CONFLICT (code) DO {action}", TABLES[table], rows.join(", "))
    }

    /// A statement that a unique key or a foreign key forbids; none when there is no row for it to run into.
    fn refusal(&mut self, effect: &Effect, tag: &str) -> Option<Statement> {
        let table = self.table();
        let (id, known) = self.some(table, effect, 1).pop()?;
        let fresh = (table, self.ledger.fresh_id());
        let row = self.fresh_row(table, effect, tag);
        let (sql, code) = match self.dice.random_range(0..4) {
            0 => {
                let taken = Row { code: known.code, ..row.clone() }.values((table, self.ledger.fresh_id()));
                (format!("INSERT INTO {} VALUES {}, {taken}", TABLES[table], row.values(fresh)), "23505")
            }
            1 => {
                let taken = row.values((table, id));
                (
                    format!("INSERT INTO {} VALUES {taken} ON CONFLICT (code) DO NOTHING", TABLES[table]),
                    "23505",
                )
            }
            2 => {
                let (other, _) = self.some(table, effect, 8).into_iter().find(|(other, _)| *other != id)?;
                (format!("UPDATE {} SET code = {} WHERE id = {other}", TABLES[table], known.code), "23505")
            }
            _ => {
                let key = (REFERRING, fresh.1);
                let orphan = Row { parent: Some(-1), ..row }.values(key);
                (format!("INSERT INTO {} VALUES {orphan}", TABLES[REFERRING]), "23503")
            }
        };
        Some(Statement::Refused { sql, code })
    }

    fn refused(&mut self) -> Operation {
        let tag = self.ledger.fresh_tag();
        match self.refusal(&Effect::new(), &tag) {
            Some(refused) => Operation {
                phase: Phase::Any,
                statements: vec![refused],
                effect: Effect::new(),
                commits: true,
            },
            None => self.alone(|client, effect, tag| client.insert(effect, tag, 1)),
        }
    }

    /// A row with a code that every client wants.
    fn wanted(&mut self) -> Operation {
        let (table, tag) = (self.table(), self.ledger.fresh_tag());
        let key = (table, self.ledger.fresh_id());
        let code = -self.dice.random_range(1..=WANTED_CODES);
        let row = Row { code, ..self.fresh_row(table, &Effect::new(), &tag) };
        let clause = if self.dice.random() { " ON CONFLICT (code) DO NOTHING" } else { "" };
        let sql = format!("INSERT INTO {} VALUES {}{clause}", TABLES[table], row.values(key));
        Operation {
            phase: Phase::Any,
            statements: vec![Statement::Contended { sql, codes: &["23505"] }],
            effect: Effect::from([(key, Some(row))]),
            commits: true,
        }
    }

    fn crowd(&mut self) -> Operation {
        let sql = crowd::statement(self);
        Operation {
            phase: Phase::Any,
            statements: vec![Statement::Contended { sql, codes: &crowd::REFUSALS }],
            effect: Effect::new(),
            commits: true,
        }
    }

    /// COPY of a few hundred rows, now and then of enough for several payload records.
    fn copy(&mut self) -> Operation {
        let tag = self.ledger.fresh_tag();
        let table = self.table();
        let rows = if self.dice.random_ratio(1, 6) { 8_000 } else { self.dice.random_range(1..400) };
        let parents = self.some(0, &Effect::new(), 20);
        let mut effect = Effect::new();
        let mut data = Vec::new();
        for _ in 0..rows {
            let key = (table, self.ledger.fresh_id());
            let parent = if table == REFERRING { parents.choose(&mut self.dice) } else { None };
            let (code, parent) = (self.ledger.fresh_id(), parent.map(|(id, _)| *id));
            let row = Row { version: 0, tag: tag.clone(), code, parent };
            data.extend_from_slice(row.line(key).as_bytes());
            effect.insert(key, Some(row));
        }
        let sql = format!("COPY {} FROM STDIN", TABLES[table]);
        Operation {
            phase: Phase::Copy,
            statements: vec![Statement::Copy { sql, data }],
            effect,
            commits: true,
        }
    }

    /// Some rows of a table that are there at this point of an operation.
    fn some(&mut self, table: usize, effect: &Effect, most: usize) -> Vec<(i64, Row)> {
        let wanted = self.dice.random_range(1..=most);
        let rows = present(self.ledger, table, effect).map(|(id, row)| (id, row.clone()));
        rows.choose_multiple(&mut self.dice, wanted)
    }

    fn update(&mut self, effect: &mut Effect, tag: &str, most: usize) -> String {
        let table = self.table();
        // All rows of one statement get one version, so that the vector can be written as a CASE-free list.
        let mut parts = Vec::new();
        for (id, known) in self.some(table, effect, most) {
            let mut row = Row { version: known.version + 1, tag: tag.to_owned(), ..known };
            if self.dice.random_ratio(1, 3) {
                row.code = self.ledger.fresh_id();
            }
            parts.push(format!(
                "({id}, {}, {}, '{}'::vector)",
                row.version,
                row.code,
                vector_text(id, row.version)
            ));
            effect.insert((table, id), Some(row));
        }
        if parts.is_empty() {
            return format!("UPDATE {} SET tag = '{tag}' WHERE id = -1", TABLES[table]);
        }
        format!(
            "UPDATE {name} SET version = n.version, code = n.code, tag = '{tag}', v = n.v \
             FROM (VALUES {}) AS n(id, version, code, v) WHERE {name}.id = n.id",
            parts.join(", "),
            name = TABLES[table]
        )
    }

    /// Rows, and with those of the first table the rows that refer to them.
    fn delete(&mut self, effect: &mut Effect, most: usize) -> String {
        let table = self.table();
        let mut ids = vec!["-1".to_owned()];
        for (id, _) in self.some(table, effect, most) {
            effect.insert((table, id), None);
            ids.push(id.to_string());
        }
        if table != REFERRING {
            let is_gone = |parent: i64| effect.get(&(0, parent)).is_some_and(Option::is_none);
            let rows = present(self.ledger, REFERRING, effect);
            let gone: Vec<i64> =
                rows.filter(|(_, row)| row.parent.is_some_and(is_gone)).map(|(id, _)| id).collect();
            self.ledger.cascaded += gone.len() as u64;
            effect.extend(gone.into_iter().map(|id| ((REFERRING, id), None)));
        }
        format!("DELETE FROM {} WHERE id IN ({})", TABLES[table], ids.join(", "))
    }
}

/// The rows of a table that are there at this point of an operation.
fn present<'a>(
    ledger: &'a Ledger,
    table: usize,
    effect: &'a Effect,
) -> impl Iterator<Item = (i64, &'a Row)> + 'a {
    let committed = ledger.rows.range((table, i64::MIN)..=(table, i64::MAX));
    let committed = committed.filter(|(key, _)| !effect.contains_key(*key));
    let written = effect.range((table, i64::MIN)..=(table, i64::MAX));
    let written = written.filter_map(|(key, row)| row.as_ref().map(|row| (key, row)));
    committed.chain(written).map(|(key, row): (&Key, &Row)| (key.1, row))
}

/// The command tag of a reply's last statement.
fn tag(reply: &Reply) -> &str {
    reply.results.last().and_then(|result| result.tag.as_deref()).unwrap_or_default()
}
