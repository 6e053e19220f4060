//! `elanus rebuild-meta`: meta store and log are lost, and the object store has what the last flush has put there.

use std::path::Path;
use std::process::{Command, Output};

use tests::server::{Options, Server, binary};
use tests::services::Place;
use tests::wire::Connection;

fn run(arguments: &[&str], directory: &Path, options: &Options) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).arg("--data-dir").arg(directory);
    command.args(&options.arguments).envs(options.environment.iter().cloned());
    command.output().expect("the binary runs")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn lose(server: &Server) {
    let data = server.data_dir();
    std::fs::remove_file(data.join("meta.redb")).expect("the meta store");
    std::fs::remove_dir_all(data.join("log")).expect("the log");
}

fn fill(connection: &mut Connection) {
    for sql in [
        "CREATE TABLE items (id serial PRIMARY KEY, name text NOT NULL, v vector(3))",
        "COMMENT ON TABLE items IS 'things'",
        "CREATE SCHEMA shop",
        "CREATE TABLE shop.orders (id int8 PRIMARY KEY, item int4)",
        "CREATE DATABASE second",
        "INSERT INTO items (name, v) SELECT 'item ' || g, ARRAY[g, 0, 0]::vector FROM generate_series(1, 500) g",
        "CREATE INDEX items_v ON items USING hnsw (v vector_l2_ops)",
        "INSERT INTO shop.orders SELECT g, g FROM generate_series(1, 100) g",
        "CREATE TABLE empty (a int4)",
        "UPDATE items SET name = 'updated' WHERE id % 50 = 0",
        "DELETE FROM items WHERE id % 7 = 0",
        "ALTER TABLE shop.orders ADD COLUMN note text DEFAULT 'none'",
    ] {
        connection.run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

const ANSWERS: [&str; 8] = [
    "SELECT md5(string_agg(i::text, '|' ORDER BY id)) || count(*) FROM items i",
    "SELECT md5(string_agg(o::text, '|' ORDER BY id)) || count(*) FROM shop.orders o",
    "SELECT count(*) FROM empty",
    "SELECT obj_description('items'::regclass)",
    "SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database",
    "SELECT string_agg(relname || oid, ',' ORDER BY relname) FROM pg_class WHERE oid >= 16384",
    "SELECT id FROM items ORDER BY v <-> '[300,0,0]' LIMIT 1",
    "SELECT name FROM items WHERE id = 100",
];

fn answers(connection: &mut Connection) -> Vec<String> {
    ANSWERS
        .iter()
        .map(|sql| connection.value(sql).unwrap_or_else(|error| format!("{sql}: {error}")))
        .collect()
}

/// Writes what no flush covers, into old rows and new tables.
fn write_more(connection: &mut Connection) {
    for sql in [
        "BEGIN",
        "UPDATE items SET name = 'lost' WHERE id < 20",
        "DELETE FROM shop.orders WHERE id = 1",
        "COMMIT",
        "INSERT INTO items (name) VALUES ('lost')",
        "CREATE TABLE later (a int4)",
        "INSERT INTO later VALUES (1)",
        "TRUNCATE empty",
    ] {
        connection.run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// What a server answered at its checkpoint, after which it wrote more and was killed.
fn fill_and_kill(server: &mut Server) -> Vec<String> {
    let mut connection = server.connect();
    fill(&mut connection);
    connection.run("CHECKPOINT").expect("checkpoint");
    let expected = answers(&mut connection);
    write_more(&mut connection);
    server.kill();
    expected
}

#[test]
fn a_database_comes_back_as_of_its_last_checkpoint() {
    let mut server = Server::start();
    let expected = fill_and_kill(&mut server);
    let data = server.data_dir();
    let refused = run(&["rebuild-meta"], &data, &Options::default());
    assert!(!refused.status.success() && text(&refused).contains("is in the way"), "{}", text(&refused));
    lose(&server);
    let output = run(&["rebuild-meta"], &data, &Options::default());
    let printed = text(&output);
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("database \"elanus\": 3 tables as of "), "{printed}");
    let again = run(&["rebuild-meta"], &data, &Options::default());
    assert!(text(&again).contains("is in the way"), "{}", text(&again));
    let mut server = server.restart().unwrap_or_else(|error| panic!("{error}\n{printed}"));
    let mut connection = server.connect();
    assert_eq!(answers(&mut connection), expected);
    connection.value("SELECT count(*) FROM later").expect_err("it came later");
    // Sequences, OIDs and time go on above what was used.
    let id = connection.value("INSERT INTO items (name) VALUES ('new') RETURNING id").expect("an insert");
    assert!(id.parse::<i64>().is_ok_and(|id| id > 500), "{id}");
    connection.run("CREATE TABLE later (a int4)").expect("the name is free");
    connection.run("CHECKPOINT").expect("checkpoint");
    connection.run("VACUUM").expect("vacuum");
    let expected = answers(&mut connection);
    server.kill();
    let verified = run(&["verify"], &data, &Options::default());
    assert!(verified.status.success(), "{}", text(&verified));
    // A second time, from what the rebuilt server wrote, with the meta store in the way.
    let output = run(&["rebuild-meta", "--force"], &data, &Options::default());
    assert!(output.status.success(), "{}", text(&output));
    let server = server.restart().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(answers(&mut server.connect()), expected);
}

#[test]
fn without_any_flush_the_catalog_comes_back() {
    let mut server = Server::start();
    let mut connection = server.connect();
    connection.run("CREATE TABLE t (a int4)").expect("create");
    connection.run("INSERT INTO t VALUES (1)").expect("insert");
    server.kill();
    lose(&server);
    let output = run(&["rebuild-meta"], &server.data_dir(), &Options::default());
    assert!(output.status.success(), "{}", text(&output));
    let server = server.restart().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(server.connect().value("SELECT count(*) FROM t").expect("a count"), "0");
}

/// What constraints did not hold for yet, or refer to what is gone, they do not speak of.
#[test]
fn no_constraint_comes_back_that_rows_of_then_do_not_fulfil() {
    let mut server = Server::start();
    let mut connection = server.connect();
    for sql in [
        "CREATE TABLE waits (a int4)",
        "CREATE TABLE p (id int4 PRIMARY KEY)",
        "CREATE TABLE c (id int4 PRIMARY KEY, p int4 REFERENCES p)",
        "CREATE TABLE t (id int4 PRIMARY KEY, code int4, part int4, v vector(2))",
        "INSERT INTO p VALUES (1)",
        "INSERT INTO c VALUES (1, 1)",
        "INSERT INTO t VALUES (1, 1, 1, '[1,1]'), (2, 1, NULL, '[1,2]'), (3, 3, -1, '[1,3]')",
        "CHECKPOINT",
        "INSERT INTO t VALUES (4, 4, 4, '[1,4]')",
        // From here on nothing comes back, though files of t have it.
        "INSERT INTO waits VALUES (1)",
        "DELETE FROM t WHERE id IN (2, 3)",
        "ALTER TABLE t ADD UNIQUE (code), ALTER COLUMN part SET NOT NULL, ADD CHECK (part > 0)",
        "INSERT INTO t VALUES (5, 5, 5, '[1,5]')",
        "CREATE INDEX ON t USING hnsw (v vector_l2_ops)",
        "DROP TABLE p CASCADE",
    ] {
        connection.run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    server.kill();
    lose(&server);
    let output = run(&["rebuild-meta"], &server.data_dir(), &Options::default());
    assert!(output.status.success(), "{}", text(&output));
    let server = server.restart().unwrap_or_else(|error| panic!("{error}"));
    let mut connection = server.connect();
    let ids = "SELECT string_agg(id::text, ',' ORDER BY id) FROM t";
    assert_eq!(connection.value(ids).expect("ids"), "1,2,3,4");
    // Rows of then must be as free as they were: neither unique, nor NOT NULL, nor checked.
    let constraints = "SELECT string_agg(conname, ',' ORDER BY conname) FROM pg_constraint";
    assert_eq!(connection.value(constraints).expect("constraints"), "c_pkey,t_pkey");
    connection.run("INSERT INTO t VALUES (6, 1, NULL, '[1,6]'), (7, 1, -7, '[1,7]')").expect("as then");
    assert_eq!(connection.value("SELECT count(*) FROM t WHERE code = 1").expect("count"), "4");
    // What was dropped stays dropped, and so does what refers to it.
    connection.run("CREATE TABLE p (id int4 PRIMARY KEY)").expect("the name is free");
    connection.run("INSERT INTO p VALUES (1)").expect("insert");
    connection
        .run("ALTER TABLE c ADD CONSTRAINT c_p_fkey FOREIGN KEY (p) REFERENCES p")
        .expect("its name too");
    assert_eq!(connection.refusal("INSERT INTO c VALUES (2, 2)").code, "23503");
}

#[test]
fn everything_comes_back_from_s3_alone() {
    let place = Place::fresh();
    let options = place.options(&["--store"]);
    let mut server = Server::start_with(options.clone());
    let expected = fill_and_kill(&mut server);
    std::fs::remove_dir_all(server.data_dir()).expect("the whole local directory");
    let output = run(&["rebuild-meta"], &server.data_dir(), &options);
    assert!(output.status.success(), "{}", text(&output));
    let server = server.restart().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(answers(&mut server.connect()), expected);
}

fn place(directory: &Path) -> String {
    directory.join("backup").to_str().expect("a name").to_owned()
}

#[test]
fn backups_are_incremental_and_come_back_as_of_any_instant_between() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let to = place(folder.path());
    let mut server = Server::start();
    let mut connection = server.connect();
    fill(&mut connection);
    let first = answers(&mut connection);
    connection.run(&format!("CALL elanus.backup('{to}')")).expect("a backup of a running server");
    let then = connection.value("SELECT elanus.last_commit_ts()").expect("an instant");
    connection.run("UPDATE items SET name = 'once more' WHERE id > 400").expect("update");
    connection.run("DROP INDEX items_v").expect("drop index");
    let second = answers(&mut connection);
    connection.run("INSERT INTO items (name) VALUES ('only in the log')").expect("insert");
    server.kill();
    let output = run(&["backup", "--to", &to], &server.data_dir(), &Options::default());
    let printed = text(&output);
    assert!(output.status.success(), "{printed}");
    assert!(printed.starts_with("backup 2 as of "), "{printed}");
    let counts: Vec<u64> =
        printed.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    assert!(counts[5] < counts[3], "old files are not copied again: {printed}");
    // The newest one, into an empty place and no other.
    let place = |name: &str| folder.path().join(name);
    let output = run(&["restore", "--from", &to], &place("newest/data"), &Options::default());
    assert!(output.status.success(), "{}", text(&output));
    let again = run(&["restore", "--from", &to], &place("newest/data"), &Options::default());
    assert!(!again.status.success() && text(&again).contains("is in the way"), "{}", text(&again));
    let restored =
        Server::start_on(&place("newest"), Options::default()).unwrap_or_else(|error| panic!("{error}"));
    let mut connection = restored.connect();
    let only = "SELECT count(*) FROM items WHERE name = 'only in the log'";
    assert_eq!(connection.value(only).expect("a count"), "1");
    connection.run("DELETE FROM items WHERE name = 'only in the log'").expect("delete");
    assert_eq!(answers(&mut connection), second);
    let id = connection.value("INSERT INTO items (name) VALUES ('new') RETURNING id").expect("an insert");
    assert!(id.parse::<i64>().is_ok_and(|id| id > 501), "{id}");
    // The instant of the first one, though rows have changed and an index has gone since.
    let arguments = ["restore", "--from", &to, "--to-timestamp", &then];
    let output = run(&arguments, &place("then/data"), &Options::default());
    assert!(output.status.success(), "{}", text(&output));
    let restored =
        Server::start_on(&place("then"), Options::default()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(answers(&mut restored.connect()), first);
    let arguments = ["restore", "--from", &to, "--to-timestamp", "2100-01-01 00:00:00+00"];
    let late = run(&arguments, &place("late/data"), &Options::default());
    assert!(
        !late.status.success() && text(&late).contains("later than the newest backup"),
        "{}",
        text(&late)
    );
    let nothing = run(&["restore", "--from", &format!("{to}/x")], &place("x/data"), &Options::default());
    assert!(text(&nothing).contains("does not exist"), "{}", text(&nothing));
}

#[test]
fn rows_that_live_again_are_found_though_an_index_had_left_them_out() {
    const ROWS: usize = 3000;
    let near = |id: usize| {
        let elements: Vec<String> = (0..4).map(|at| ((id * (at + 3)) as f64).sin().to_string()).collect();
        format!("[{}]", elements.join(","))
    };
    let folder = tempfile::tempdir().expect("a temporary directory");
    let to = place(folder.path());
    let mut server = Server::start();
    let mut connection = server.connect();
    connection.run("CREATE TABLE points (id int PRIMARY KEY, v vector(4))").expect("a table");
    let values: Vec<String> = (0..ROWS).map(|id| format!("({id},'{}')", near(id))).collect();
    connection.run(&format!("INSERT INTO points VALUES {}", values.join(","))).expect("rows");
    connection.run("CREATE INDEX near ON points USING hnsw (v vector_l2_ops)").expect("an index");
    connection.run("INSERT INTO points VALUES (-1, NULL)").expect("a commit behind the index");
    let then = connection.value("SELECT elanus.last_commit_ts()").expect("an instant");
    connection.run("DELETE FROM points WHERE id % 2 = 0").expect("delete");
    connection.run("VACUUM FULL points").expect("a merge, which leaves the ended rows out of the index");
    connection.run(&format!("CALL elanus.backup('{to}')")).expect("a backup");
    server.kill();
    let arguments = ["restore", "--from", &to, "--to-timestamp", &then];
    let output = run(&arguments, &folder.path().join("then/data"), &Options::default());
    assert!(output.status.success(), "{}", text(&output));
    let restored = Server::start_on(&folder.path().join("then"), Options::default())
        .unwrap_or_else(|error| panic!("{error}"));
    let mut connection = restored.connect();
    assert_eq!(connection.value("SELECT count(v) FROM points").expect("a count"), ROWS.to_string());
    // From here on readers are behind the ends that the restore has taken back.
    connection.run("INSERT INTO points VALUES (-2, NULL)").expect("a commit");
    connection.run("SET enable_seqscan = off").expect("a setting");
    let plan = connection.run("EXPLAIN SELECT id FROM points ORDER BY v <-> '[0,0,0,0]' LIMIT 1");
    let plan = plan.expect("a plan").first_column().join("\n");
    assert!(plan.contains("Index Scan using near"), "{plan}");
    for id in (0..ROWS).step_by(200) {
        let sql = format!("SELECT id FROM points ORDER BY v <-> '{}' LIMIT 1", near(id));
        assert_eq!(connection.value(&sql).expect("the nearest"), id.to_string());
    }
}

#[test]
fn a_backup_goes_to_s3_and_comes_back() {
    let service = Place::fresh();
    let environment = Options { arguments: Vec::new(), ..service.options(&[]) };
    let to = service.address("S3");
    let mut server = Server::start_with(environment.clone());
    let mut connection = server.connect();
    fill(&mut connection);
    let expected = answers(&mut connection);
    connection.run(&format!("CALL elanus.backup('{to}')")).expect("a backup");
    server.kill();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let output = run(&["restore", "--from", &to], &folder.path().join("data"), &environment);
    assert!(output.status.success(), "{}", text(&output));
    let restored =
        Server::start_on(folder.path(), Options::default()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(answers(&mut restored.connect()), expected);
}
