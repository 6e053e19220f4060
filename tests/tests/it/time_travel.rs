//! Reading the past: a ledger of what was there at each commit, and what the server says it was.

use std::collections::BTreeMap;

use tests::server::{Options, Server};
use tests::wire::Connection;

mod shapes;

/// Numbers from a seed that a failure prints.
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// The rows of an instant: tag and version by id.
type Rows = BTreeMap<u64, (u64, u64)>;

/// The vector of a row's version; no two are alike.
fn vector(id: u64, version: u64) -> [f64; 4] {
    [1.0, 2.0, 3.0, 4.0].map(|part: f64| {
        let angle = part * 0.7 + (id as f64 * 1.37 + version as f64 * 2.11);
        (angle.sin() * 1000.0).round() / 100.0
    })
}

fn literal(vector: [f64; 4]) -> String {
    format!("[{}]", vector.map(|part| part.to_string()).join(","))
}

/// A table that is written, and what it held at each commit.
struct Ledger {
    rows: Rows,
    next: u64,
    entries: Vec<(String, Rows)>,
}

impl Ledger {
    fn note(&mut self, connection: &mut Connection) {
        let ts = connection.value("SELECT elanus.last_commit_ts()").expect("a timestamp");
        self.entries.push((ts, self.rows.clone()));
    }

    /// One random change, or something that moves rows and changes nothing.
    fn step(&mut self, connection: &mut Connection, draws: &mut Draws) {
        match draws.below(20) {
            0 => drop(connection.run("CHECKPOINT").expect("a checkpoint")),
            1 => drop(connection.run("VACUUM items").expect("a vacuum")),
            2 if self.rows.len() > 150 => {
                connection.run("TRUNCATE items").expect("truncated");
                self.rows.clear();
            }
            3..=6 => {
                let (tag, version) = (draws.below(4), draws.below(1_000));
                let chosen = draws.below(7);
                let sql = format!(
                    "UPDATE items SET version = {version}, v = ARRAY[{}]::vector WHERE tag = {tag} AND id % 7 = {chosen}",
                    (1..=4)
                        .map(|part| format!(
                            "round((sin({part}.0::float8 * 0.7 + (id * 1.37::float8 + {version} * 2.11::float8)) * 1000.0::float8))/100.0::float8"
                        ))
                        .collect::<Vec<_>>()
                        .join(", ")
                );
                connection.run(&sql).expect("updated");
                let hit = self.rows.iter_mut().filter(|(id, row)| row.0 == tag && *id % 7 == chosen);
                hit.for_each(|(_, row)| row.1 = version);
            }
            7..=9 => {
                let chosen = draws.below(11);
                connection.run(&format!("DELETE FROM items WHERE id % 11 = {chosen}")).expect("deleted");
                self.rows.retain(|id, _| id % 11 != chosen);
            }
            _ => {
                let values: Vec<String> = (0..=draws.below(12))
                    .map(|_| {
                        let (id, tag) = (self.next, draws.below(4));
                        self.next += 1;
                        self.rows.insert(id, (tag, 0));
                        format!("({id}, {tag}, 0, '{}')", literal(vector(id, 0)))
                    })
                    .collect();
                connection.run(&format!("INSERT INTO items VALUES {}", values.join(", "))).expect("inserted");
            }
        }
    }

    /// Reads at random entries, in every way there is.
    fn read(&self, connection: &mut Connection, draws: &mut Draws, reads: usize) {
        connection.run("SET enable_seqscan = off").expect("set");
        connection.run("SET hnsw.ef_search = 1000").expect("set");
        for _ in 0..reads {
            let (ts, rows) = &self.entries[draws.below(self.entries.len() as u64) as usize];
            let id = draws.below(self.next);
            match draws.below(4) {
                0 => {
                    let sql = format!("SELECT count(*) FROM items AS OF SYSTEM TIME {ts}");
                    let count = connection.value(&sql).expect("a count");
                    assert_eq!(count, rows.len().to_string(), "{sql}");
                }
                1 => {
                    let sql = format!("SELECT version FROM items FOR SYSTEM_TIME AS OF {ts} WHERE id = {id}");
                    let found = connection.run(&sql).expect("a lookup").first_column();
                    let known: Vec<String> = rows.get(&id).map(|row| row.1.to_string()).into_iter().collect();
                    assert_eq!(found, known, "{sql}");
                }
                2 => {
                    let tag = draws.below(4);
                    let sql =
                        format!("SELECT id FROM items AS OF SYSTEM TIME {ts} WHERE tag = {tag} ORDER BY id");
                    let found = connection.run(&sql).expect("a filtered read").first_column();
                    let known = rows.iter().filter(|(_, row)| row.0 == tag).map(|(id, _)| id.to_string());
                    assert_eq!(found, known.collect::<Vec<_>>(), "{sql}");
                }
                _ => {
                    let query = vector(id, 7).map(|part| part + 0.003);
                    let sql = format!(
                        "SELECT id FROM items FOR SYSTEM_TIME AS OF {ts} ORDER BY v <-> '{}' LIMIT 5",
                        literal(query)
                    );
                    let found = connection.run(&sql).expect("a search").first_column();
                    let distance = |id: u64, version: u64| {
                        let parts = vector(id, version).into_iter().zip(query);
                        parts.map(|(left, right)| (left - right).powi(2)).sum::<f64>()
                    };
                    let mut near: Vec<(f64, u64)> =
                        rows.iter().map(|(id, row)| (distance(*id, row.1), *id)).collect();
                    near.sort_by(|left, right| left.0.total_cmp(&right.0));
                    let known: Vec<String> = near.iter().take(5).map(|(_, id)| id.to_string()).collect();
                    assert_eq!(found, known, "{sql}");
                }
            }
        }
    }
}

#[test]
fn reads_of_the_past_are_what_the_ledger_says_also_after_a_kill() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed_u64);
    println!("SEED={seed}");
    let mut draws = Draws(seed | 1);
    let mut server = Server::start();
    let mut connection = server.connect();
    connection
        .run("CREATE TABLE items (id int8 PRIMARY KEY, tag int4, version int8, v vector(4))")
        .expect("create");
    connection.run("CREATE INDEX ON items USING hnsw (v vector_l2_ops)").expect("an index");
    let mut ledger = Ledger { rows: Rows::new(), next: 1, entries: Vec::new() };
    ledger.note(&mut connection);
    for _ in 0..150 {
        ledger.step(&mut connection, &mut draws);
        ledger.note(&mut connection);
    }
    ledger.read(&mut connection, &mut draws, 700);
    connection.run("CREATE SNAPSHOT kept").expect("a snapshot");
    let kept = ledger.rows.len().to_string();
    server.kill();
    let server = server.restart().expect("the server again");
    let mut connection = server.connect();
    ledger.read(&mut connection, &mut draws, 300);
    // A dropped table is read as it was, and comes back whole.
    let last = ledger.entries.last().expect("entries").clone();
    connection.run("DROP TABLE items").expect("dropped");
    assert_eq!(connection.refusal("SELECT 1 FROM items").code, "42P01");
    ledger.read(&mut connection, &mut draws, 50);
    connection.run("UNDROP TABLE items AS again").expect("undropped");
    assert_eq!(connection.value("SELECT count(*) FROM again").expect("a count"), last.1.len().to_string());
    connection.run("INSERT INTO again (id, tag) VALUES (1000000, 1)").expect("it takes rows");
    // Behind the horizon only the named snapshot is left.
    connection.run("DELETE FROM again").expect("deleted");
    connection.run("ALTER TABLE again SET (retention = '0')").expect("altered");
    connection.run("VACUUM FULL again").expect("a vacuum");
    let sql = format!("SELECT count(*) FROM items AS OF SYSTEM TIME {}", ledger.entries[0].0);
    let refused = connection.refusal(&sql);
    assert_eq!(refused.code, "72000", "{}", refused.message);
    assert!(refused.message.contains("oldest readable time"), "{}", refused.message);
    let snapshot = "SELECT count(*) FROM items FOR SYSTEM_TIME AS OF SNAPSHOT 'kept'";
    assert_eq!(connection.value(snapshot).expect("a count"), kept);
    connection.run("DROP SNAPSHOT kept").expect("dropped");
    connection.run("VACUUM FULL again").expect("a vacuum");
    assert_eq!(connection.refusal(snapshot).code, "42704");
}

#[test]
fn instants_are_resolved_and_what_cannot_be_is_refused() {
    let server = Server::start_with(Options::default());
    let mut connection = server.connect();
    connection.run("CREATE TABLE t (id int4 PRIMARY KEY, a text)").expect("create");
    connection.run("INSERT INTO t VALUES (1, 'one'), (2, 'two')").expect("insert");
    let then = connection.value("SELECT elanus.last_commit_ts()").expect("a timestamp");
    connection.run("DELETE FROM t WHERE id = 1").expect("delete");
    connection.run("ALTER TABLE t RENAME TO u").expect("rename");
    connection.run("ALTER TABLE u ADD COLUMN b int4 DEFAULT 7").expect("add");
    let value = |connection: &mut Connection, sql: &str| connection.value(sql).expect(sql);
    // Now and then side by side; the names are those of then.
    let joined = format!(
        "SELECT string_agg(old.a, ',' ORDER BY old.id) FROM t FOR SYSTEM_TIME AS OF {then} old \
         LEFT JOIN u ON u.id = old.id WHERE u.id IS NULL"
    );
    assert_eq!(value(&mut connection, &joined), "one");
    let star = connection.run(&format!("SELECT * FROM t AS OF SYSTEM TIME {then}")).expect("a read");
    assert_eq!(star.columns.len(), 2, "the columns of then");
    let copied =
        format!("INSERT INTO u (id, a) SELECT id, a FROM t FOR SYSTEM_TIME AS OF {then} WHERE id = 1");
    connection.run(&copied).expect("rows come back");
    assert_eq!(value(&mut connection, "SELECT count(*) FROM u"), "2");
    // Transactions and sessions.
    connection.run(&format!("BEGIN AS OF SYSTEM TIME {then}")).expect("begin");
    assert_eq!(value(&mut connection, "SELECT count(*) FROM t"), "2");
    assert_eq!(connection.refusal("INSERT INTO u VALUES (9, 'x')").code, "25006");
    connection.run("ROLLBACK").expect("rollback");
    connection.run(&format!("BEGIN; SET TRANSACTION AS OF SYSTEM TIME {then}")).expect("begin");
    assert_eq!(value(&mut connection, "SELECT a FROM t WHERE id = 1"), "one");
    connection.run("COMMIT").expect("commit");
    connection.run(&format!("SET elanus.read_time = '{then}'")).expect("set");
    assert_eq!(value(&mut connection, "SELECT count(*) FROM t"), "2");
    assert_eq!(connection.refusal("DELETE FROM u").code, "25006");
    connection.run("RESET elanus.read_time").expect("reset");
    let explained = connection.run(&format!("EXPLAIN SELECT * FROM t AS OF SYSTEM TIME {then}"));
    let explained = explained.expect("a plan").first_column().join("\n");
    assert!(explained.contains("As Of: ") && explained.contains(&then), "{explained}");
    // What cannot be.
    for (sql, code) in [
        ("SELECT * FROM u AS OF SYSTEM TIME '2999-01-01'", "22023"),
        ("SELECT * FROM u AS OF SYSTEM TIME '10s'", "22023"),
        ("SELECT * FROM u AS OF SYSTEM TIME '-2 days'", "72000"),
        ("SELECT * FROM u AS OF SYSTEM TIME 'neverday'", "22023"),
        ("SELECT * FROM u FOR SYSTEM_TIME AS OF SNAPSHOT 'none'", "42704"),
        ("SELECT * FROM (SELECT * FROM u AS OF SYSTEM TIME '-1 second') x", "42601"),
        ("DELETE FROM u AS OF SYSTEM TIME '-1 second'", "25006"),
        ("DELETE FROM u FOR SYSTEM_TIME AS OF '-1 second'", "0A000"),
        ("SELECT * FROM u FOR SYSTEM_TIME AS OF '-1 second' FOR UPDATE", "25006"),
        ("SELECT * FROM pg_class FOR SYSTEM_TIME AS OF '-1 second'", "0A000"),
        ("SET elanus.read_time = 'neverday'", "22023"),
        ("SET elanus.retention = '2h'", "55P02"),
        ("SET elanus.guarantee_ts = '-1'", "22023"),
        ("SET elanus.consistency_level = 'lax'", "22023"),
    ] {
        let refused = connection.refusal(sql);
        assert_eq!(refused.code, code, "{sql}: {}", refused.message);
    }
    connection.run("ALTER TABLE u DROP COLUMN a").expect("drop");
    let star = connection.run(&format!("SELECT * FROM t AS OF SYSTEM TIME {then}")).expect("a read");
    assert_eq!(star.columns.len(), 2, "the columns of then");
    assert_eq!(
        value(&mut connection, &format!("SELECT a FROM t AS OF SYSTEM TIME {then} WHERE id = 2")),
        "two"
    );
}

#[test]
fn a_hint_says_what_one_statement_must_see() {
    let server = Server::start();
    let mut connection = server.connect();
    connection.run("CREATE TABLE t (id int4)").expect("create");
    let mut level = |sql: &str| {
        let plan = connection.run(sql).expect("a plan").first_column().join("\n");
        plan.lines().find_map(|line| line.trim().strip_prefix("Consistency: ").map(str::to_owned))
    };
    let hinted = "/*+ Set(elanus.consistency_level bounded) Set(elanus.staleness 250ms) */";
    assert_eq!(level(&format!("{hinted} EXPLAIN ANALYZE SELECT * FROM t")).as_deref(), Some("bounded"));
    assert_eq!(level("EXPLAIN ANALYZE SELECT * FROM t"), None, "the next statement is as before");
    let inside = "EXPLAIN ANALYZE SELECT /*+ SeqScan(t) set(elanus.consistency_level 'eventual') */ * FROM t";
    assert_eq!(level(inside).as_deref(), Some("eventual"));
    assert_eq!(level("/* Set(elanus.consistency_level lax) */ EXPLAIN ANALYZE SELECT * FROM t"), None);
    let strict = "/*+ Set(elanus.consistency_level strong) */";
    let first =
        level(&format!("SET elanus.consistency_level = session; {strict} EXPLAIN ANALYZE SELECT * FROM t"));
    assert_eq!(first, None, "the hint is stronger than the session's setting");
    // Far in the future: the hint was read, and the statement is refused.
    let guarantee = "/*+ Set(elanus.guarantee_ts 9223372036854775807) */ SELECT * FROM t";
    assert_eq!(connection.refusal(guarantee).code, "22023");
    for wrong in ["consistency_level lax", "staleness soon", "guarantee_ts -1"] {
        let refused = connection.refusal(&format!("/*+ Set(elanus.{wrong}) */ SELECT * FROM t"));
        assert_eq!(refused.code, "22023", "{wrong}: {}", refused.message);
    }
}

#[test]
fn a_guarantee_is_waited_for_and_no_longer_than_the_statement_may() {
    let server = Server::start();
    let mut writer = server.connect();
    writer.run("CREATE TABLE t (id int4)").expect("create");
    writer.run("INSERT INTO t VALUES (1)").expect("insert");
    let ts: i64 =
        writer.value("SELECT elanus.last_commit_ts()").expect("a timestamp").parse().expect("digits");
    let mut reader = server.connect();
    assert_eq!(reader.value("SELECT elanus.last_commit_ts()").expect("none"), "NULL");
    reader.run("SET elanus.consistency_level = eventual").expect("set");
    reader.run(&format!("SET elanus.guarantee_ts = {ts}")).expect("set");
    assert_eq!(reader.value("SELECT count(*) FROM t").expect("a count"), "1");
    let plan = reader.run("EXPLAIN ANALYZE SELECT * FROM t").expect("a plan").first_column().join("\n");
    assert!(plan.contains("Consistency: eventual") && plan.contains("Guarantee Wait: "), "{plan}");
    // A little ahead of the clock: waited for. Far ahead: refused.
    let millis = |reader: &mut Connection| -> i64 {
        let now =
            reader.value("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8").expect("a time");
        now.parse().expect("milliseconds")
    };
    let soon = (millis(&mut reader) + 700) << 18;
    reader.run(&format!("SET elanus.guarantee_ts = {soon}")).expect("set");
    reader.run("SET statement_timeout = '50ms'").expect("set");
    assert_eq!(reader.refusal("SELECT count(*) FROM t").code, "57014");
    reader.run("SET statement_timeout = 0").expect("set");
    assert_eq!(reader.value("SELECT count(*) FROM t").expect("a count"), "1");
    let far = (millis(&mut reader) + 3_600_000) << 18;
    reader.run(&format!("SET elanus.guarantee_ts = {far}")).expect("set");
    let refused = reader.refusal("SELECT count(*) FROM t");
    assert_eq!(refused.code, "22023");
    assert!(refused.message.contains("in the future"), "{}", refused.message);
}
