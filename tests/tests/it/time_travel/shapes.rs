//! A table whose columns come, go and change type: what was read of it at each commit is what is read as of it later.

use tests::server::Server;
use tests::wire::Connection;

use super::Draws;

const ALL: &str = "SELECT * FROM shapes";
const NEAR: &str = "SELECT id FROM shapes";

/// What a reader saw.
#[derive(Debug, PartialEq)]
struct Sight {
    columns: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
    /// The nearest rows, when there are vectors.
    near: Option<Vec<String>>,
    by_key: Option<String>,
}

/// The columns that a table has beside `id`, by the kind of their values.
#[derive(Clone, Default)]
struct Shape {
    numbers: Vec<String>,
    texts: Vec<String>,
    /// Name and dimensions.
    vector: Option<(String, u64)>,
    next: u64,
}

impl Shape {
    fn name(&mut self, draws: &mut Draws) -> String {
        // Few names, so that one comes back for another column.
        let name = ["a", "b", "c"][draws.below(3) as usize].to_owned();
        if self.numbers.iter().chain(&self.texts).any(|known| *known == name) {
            self.next += 1;
            return format!("x{}", self.next);
        }
        name
    }

    fn row(&self, id: u64, draws: &mut Draws) -> (String, String) {
        let (mut names, mut values) = (vec!["id".to_owned()], vec![id.to_string()]);
        for name in &self.numbers {
            names.push(name.clone());
            values.push(draws.below(100).to_string());
        }
        for name in &self.texts {
            names.push(name.clone());
            values.push(format!("'t{}'", draws.below(100)));
        }
        if let Some((name, dimensions)) = &self.vector {
            names.push(name.clone());
            let parts: Vec<String> = (0..*dimensions).map(|_| draws.below(1_000).to_string()).collect();
            values.push(format!("'[{}]'", parts.join(",")));
        }
        (names.join(", "), values.join(", "))
    }

    /// One change of the table's columns.
    fn change(&mut self, draws: &mut Draws) -> String {
        let pick = |list: &Vec<String>, draws: &mut Draws| {
            (!list.is_empty()).then(|| draws.below(list.len() as u64) as usize)
        };
        match draws.below(8) {
            0 if self.numbers.len() > 1 => {
                let at = pick(&self.numbers, draws).expect("some");
                format!("DROP COLUMN {}", self.numbers.remove(at))
            }
            1 if !self.texts.is_empty() => {
                let at = pick(&self.texts, draws).expect("some");
                format!("DROP COLUMN {}", self.texts.remove(at))
            }
            2 => match self.vector.take() {
                Some((name, _)) => format!("DROP COLUMN {name}"),
                None => {
                    let dimensions = 2 + draws.below(3);
                    self.vector = Some(("v".to_owned(), dimensions));
                    let zeros = vec!["5"; dimensions as usize].join(",");
                    format!("ADD COLUMN v vector({dimensions}) DEFAULT '[{zeros}]'")
                }
            },
            3 if !self.numbers.is_empty() => {
                // The same column id with another type.
                let at = pick(&self.numbers, draws).expect("some");
                let name = self.numbers.remove(at);
                self.texts.push(name.clone());
                format!("ALTER COLUMN {name} TYPE text USING 'was ' || {name}::text")
            }
            4 if !self.numbers.is_empty() => {
                let at = pick(&self.numbers, draws).expect("some");
                format!("ALTER COLUMN {} TYPE numeric", self.numbers[at])
            }
            5 if !self.texts.is_empty() => {
                let at = pick(&self.texts, draws).expect("some");
                self.next += 1;
                let (from, to) = (self.texts[at].clone(), format!("y{}", self.next));
                self.texts[at].clone_from(&to);
                format!("RENAME COLUMN {from} TO {to}")
            }
            6 => {
                let name = self.name(draws);
                self.texts.push(name.clone());
                format!("ADD COLUMN {name} text DEFAULT 'given'")
            }
            _ => {
                let name = self.name(draws);
                self.numbers.push(name.clone());
                let default = ["", " DEFAULT 7", " DEFAULT (random() * 100)::int4"][draws.below(3) as usize];
                format!("ADD COLUMN {name} int4{default}")
            }
        }
    }
}

/// What the table is at an instant; none for the newest.
fn look(connection: &mut Connection, shape: &Shape, at: Option<&str>) -> Sight {
    let clause = at.map(|at| format!(" FOR SYSTEM_TIME AS OF {at}")).unwrap_or_default();
    let all = connection.run(&format!("{ALL}{clause} ORDER BY id")).expect("a read");
    let near = shape.vector.as_ref().map(|(name, dimensions)| {
        let query = vec!["3.5"; *dimensions as usize].join(",");
        let sql = format!("{NEAR}{clause} ORDER BY {name} <-> '[{query}]', id LIMIT 5");
        connection.run(&sql).expect("a search").first_column()
    });
    let middle = all.rows.get(all.rows.len() / 2).and_then(|row| row[0].clone());
    let by_key = middle.map(|id| {
        let found = connection.run(&format!("{ALL}{clause} WHERE id = {id}")).expect("a lookup");
        format!("{:?}", found.rows)
    });
    Sight {
        columns: all.columns.iter().map(|column| column.name.clone()).collect(),
        rows: all.rows,
        near,
        by_key,
    }
}

struct World {
    shape: Shape,
    next: u64,
    entries: Vec<(String, Shape, Sight)>,
}

impl World {
    fn step(&mut self, connection: &mut Connection, draws: &mut Draws) {
        let sql = match draws.below(20) {
            0 => "CHECKPOINT".to_owned(),
            1 => "VACUUM FULL shapes".to_owned(),
            2 => "VACUUM shapes".to_owned(),
            3 | 4 if self.next > 1 => format!("DELETE FROM shapes WHERE id % 5 = {}", draws.below(5)),
            5..=7 if !self.shape.numbers.is_empty() => {
                let name = &self.shape.numbers[0];
                format!("UPDATE shapes SET {name} = {} WHERE id % 3 = {}", draws.below(90), draws.below(3))
            }
            8..=11 => {
                let change = self.shape.change(draws);
                // Now and then with rows in the same transaction, before and behind it.
                if draws.below(3) == 0 {
                    let (names, values) = self.shape.row(self.next, draws);
                    self.next += 1;
                    format!(
                        "BEGIN; UPDATE shapes SET id = id WHERE id % 4 = 1; ALTER TABLE shapes {change}; \
                         INSERT INTO shapes ({names}) VALUES ({values}); COMMIT"
                    )
                } else {
                    format!("ALTER TABLE shapes {change}")
                }
            }
            _ => {
                let mut statements = Vec::new();
                for _ in 0..=draws.below(8) {
                    let (names, values) = self.shape.row(self.next, draws);
                    self.next += 1;
                    statements.push(format!("INSERT INTO shapes ({names}) VALUES ({values})"));
                }
                format!("BEGIN; {}; COMMIT", statements.join("; "))
            }
        };
        let reply = connection.query(&sql).expect("an answer");
        assert!(reply.error.is_none(), "{sql}: {:?}", reply.error);
        let ts = connection.value("SELECT elanus.last_commit_ts()").expect("a timestamp");
        // A session that has only moved rows about since a restart has no commit of its own.
        if ts != "NULL" {
            let sight = look(connection, &self.shape, None);
            self.entries.push((ts, self.shape.clone(), sight));
        }
    }

    fn check(&self, connection: &mut Connection) {
        for (ts, shape, sight) in &self.entries {
            assert_eq!(look(connection, shape, Some(ts)), *sight, "as of {ts}");
        }
    }
}

#[test]
fn a_table_is_read_in_the_shape_of_then() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x0dd_5eed_u64);
    println!("SEED={seed}");
    let mut draws = Draws(seed | 1);
    let mut server = Server::start();
    let mut connection = server.connect();
    connection.run("CREATE TABLE shapes (id int8 PRIMARY KEY, n int4, t text, v vector(3))").expect("create");
    connection.run("CREATE INDEX ON shapes USING hnsw (v vector_l2_ops)").expect("an index");
    let shape = Shape {
        numbers: vec!["n".to_owned()],
        texts: vec!["t".to_owned()],
        vector: Some(("v".to_owned(), 3)),
        next: 0,
    };
    let mut world = World { shape, next: 1, entries: Vec::new() };
    for round in 0..3 {
        for _ in 0..25 {
            world.step(&mut connection, &mut draws);
        }
        world.check(&mut connection);
        if round == 0 {
            connection.run("CHECKPOINT").expect("a checkpoint");
            world.check(&mut connection);
        }
        server.kill();
        server = server.restart().expect("the server again");
        connection = server.connect();
        world.check(&mut connection);
        connection.run("VACUUM FULL shapes").expect("a vacuum");
        world.check(&mut connection);
    }
    // Behind the horizon dropped columns go with the next merge, and what is left is what there is.
    let newest = look(&mut connection, &world.shape, None);
    connection.run("ALTER TABLE shapes SET (retention = '0')").expect("altered");
    for sql in ["UPDATE shapes SET id = id WHERE id % 2 = 0", "CHECKPOINT", "VACUUM FULL shapes"] {
        connection.run(sql).expect(sql);
    }
    assert_eq!(look(&mut connection, &world.shape, None), newest);
    let refused = connection.refusal(&format!("{ALL} AS OF SYSTEM TIME {}", world.entries[0].0));
    assert_eq!(refused.code, "72000", "{}", refused.message);
}
