//! COPY between tables and places that the server reaches: files in every format, Parquet of other tools, S3; what is
//! refused, how far it is, and what is left when it is broken off.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use tests::server::Server;
use tests::services::Place;
use tests::wire::{self, Connection, Failure};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/data");

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("elanus-copy-").tempdir().expect("a temporary directory")
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn tag(connection: &mut Connection, sql: &str) -> String {
    let result = connection.run(sql).unwrap_or_else(|failure| panic!("{sql}: {failure}"));
    result.tag.unwrap_or_default()
}

fn lines(connection: &mut Connection, sql: &str) -> Vec<String> {
    let result = connection.run(sql).unwrap_or_else(|failure| panic!("{sql}: {failure}"));
    let line = |row: &Vec<Option<String>>| {
        row.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect::<Vec<_>>().join("|")
    };
    result.rows.iter().map(line).collect()
}

fn with_vectors(server: &Server) -> Connection {
    let mut connection = server.connect();
    connection.run("CREATE EXTENSION IF NOT EXISTS vector").expect("extension");
    connection
}

/// Waits until a statement gives a value that is wanted.
fn wait_for(connection: &mut Connection, sql: &str, wanted: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let value = connection.value(sql).expect("the view");
        if wanted(&value) {
            return;
        }
        assert!(Instant::now() < deadline, "{sql} stays {value}");
        std::thread::yield_now();
    }
}

#[test]
fn rows_go_to_files_and_come_back() {
    let (server, folder) = (Server::start(), folder());
    let mut connection = with_vectors(&server);
    connection
        .run("CREATE TABLE t (id int4 PRIMARY KEY, name text, f float8, at timestamptz, v vector(3))")
        .expect("create");
    connection
        .run(
            "INSERT INTO t SELECT g, CASE WHEN g % 7 = 0 THEN NULL ELSE 'name, \"' || g || E'\\n' END, g / 3.0, \
             '2024-01-01 00:00:00+00', ('[' || g || ',0.5,-1]')::vector FROM generate_series(1, 20000) g",
        )
        .expect("fill");
    for format in ["text", "csv", "binary", "parquet"] {
        let path = shown(&folder.path().join(format));
        assert_eq!(tag(&mut connection, &format!("COPY t TO '{path}' (FORMAT {format})")), "COPY 20000");
        connection.run("CREATE TABLE back AS SELECT * FROM t WHERE false").expect("create");
        assert_eq!(tag(&mut connection, &format!("COPY back FROM '{path}' (FORMAT {format})")), "COPY 20000");
        let differ = "SELECT count(*) FROM (SELECT * FROM t EXCEPT SELECT * FROM back) d";
        assert_eq!(connection.value(differ).expect("compare"), "0", "{format}");
        assert_eq!(connection.value("SELECT count(*) FROM back").expect("count"), "20000");
        connection.run("DROP TABLE back").expect("drop");
    }
    let path = shown(&folder.path().join("query.csv"));
    let sql =
        format!("COPY (SELECT id, name FROM t WHERE id < 3 ORDER BY id) TO '{path}' (FORMAT csv, HEADER)");
    assert_eq!(tag(&mut connection, &sql), "COPY 2");
    let text = std::fs::read_to_string(&path).expect("the file");
    assert_eq!(text, "id,name\n1,\"name, \"\"1\n\"\n2,\"name, \"\"2\n\"\n");
    // Inside a block nobody else sees the rows before its end, and ROLLBACK takes them away.
    connection.run("CREATE TABLE u (id int4 DEFAULT 7, name text)").expect("create");
    connection.run("BEGIN").expect("begin");
    let sql = format!("COPY u (name) FROM '{}' (FORMAT parquet)", shown(&folder.path().join("parquet")));
    assert_eq!(tag(&mut connection, &sql), "COPY 20000");
    assert_eq!(connection.value("SELECT count(*) FROM u WHERE id = 7").expect("own rows"), "20000");
    assert_eq!(server.connect().value("SELECT count(*) FROM u").expect("nothing yet"), "0");
    connection.run("ROLLBACK").expect("rollback");
    assert_eq!(connection.value("SELECT count(*) FROM u").expect("nothing"), "0");
}

#[test]
fn refusals_are_postgresqls() {
    let (server, folder) = (Server::start(), folder());
    let mut connection = with_vectors(&server);
    connection.run("CREATE TABLE t (id int4 PRIMARY KEY, name text)").expect("create");
    let missing = shown(&folder.path().join("missing"));
    let directory = shown(folder.path());
    let refused = [
        (
            format!("COPY t FROM '{missing}'"),
            "58P01",
            format!("could not open file \"{missing}\" for reading: No such file or directory"),
        ),
        (
            format!("COPY t FROM '{missing}' (FORMAT parquet)"),
            "58P01",
            format!("could not open file \"{missing}\" for reading: No such file or directory"),
        ),
        (
            format!("COPY t TO '{missing}/x'"),
            "58P01",
            format!("could not open file \"{missing}/x\" for writing: No such file or directory"),
        ),
        (format!("COPY t FROM '{directory}'"), "42809", format!("\"{directory}\" is a directory")),
        (
            format!("COPY t TO '{directory}'"),
            "42809",
            format!("could not open file \"{directory}\" for writing: Is a directory"),
        ),
        ("COPY t TO 'here'".to_owned(), "42602", "relative path not allowed for COPY to file".to_owned()),
        (
            "COPY t FROM 'no such file here'".to_owned(),
            "58P01",
            "could not open file \"no such file here\" for reading: No such file or directory".to_owned(),
        ),
        (
            format!("COPY t FROM '{missing}' (FORMAT orc)"),
            "22023",
            "COPY format \"orc\" not recognized".to_owned(),
        ),
        (
            "COPY t FROM PROGRAM 'cat'".to_owned(),
            "0A000",
            "COPY with a program on the server is not supported".to_owned(),
        ),
        (
            "COPY t TO STDOUT (FORMAT parquet)".to_owned(),
            "0A000",
            "COPY TO STDOUT with FORMAT parquet is not supported".to_owned(),
        ),
        (
            "COPY t FROM 's3://bucket' (FORMAT csv)".to_owned(),
            "22023",
            "\"s3://bucket\" is not an address of an object: the key is missing".to_owned(),
        ),
        (
            "COPY t FROM 'ftp://host/x'".to_owned(),
            "0A000",
            "COPY with an address of ftp:// is not supported".to_owned(),
        ),
        (
            format!("COPY t FROM '{missing}' (FORMAT parquet, DELIMITER ',')"),
            "42601",
            "cannot specify DELIMITER in PARQUET mode".to_owned(),
        ),
        (
            "COPY t FROM '/dev/null' (FORMAT parquet)".to_owned(),
            "42809",
            "\"/dev/null\" is not a regular file, which Parquet needs".to_owned(),
        ),
    ];
    for (sql, code, message) in refused {
        let error = connection.refusal(&sql);
        assert_eq!((error.code.as_str(), error.message.as_str()), (code, message.as_str()), "{sql}");
    }
    let hint = connection.refusal(&format!("COPY t FROM '{missing}'")).hint.expect("a hint");
    assert!(hint.starts_with("COPY FROM instructs the PostgreSQL server process to read a file."), "{hint}");
    // What the rows themselves do wrong says where, and leaves nothing.
    let csv = folder.path().join("rows.csv");
    for (rows, code, context) in [
        ("1,a\n2,b\nx,c\n", "22P02", "COPY t, line 3, column id: \"x\""),
        ("1,a\n2,b\n,c\n", "23502", "COPY t, line 3"),
        ("1,a\n2\n", "22P04", "COPY t, line 2: \"2\""),
    ] {
        std::fs::write(&csv, rows).expect("write");
        let error = connection.refusal(&format!("COPY t FROM '{}' CSV", shown(&csv)));
        assert_eq!((error.code.as_str(), error.context.as_deref()), (code, Some(context)));
        assert_eq!(connection.value("SELECT count(*) FROM t").expect("count"), "0");
    }
    std::fs::write(&csv, "1,a\n1,b\n").expect("write");
    assert_eq!(connection.refusal(&format!("COPY t FROM '{}' CSV", shown(&csv))).code, "23505");
    assert_eq!(connection.value("SELECT count(*) FROM t").expect("count"), "0");
}

#[test]
fn parquet_of_pyarrow_is_read() {
    let server = Server::start();
    let mut connection = with_vectors(&server);
    connection
        .run(
            "CREATE TABLE t (id int4 PRIMARY KEY, small int2, big numeric, name text, large varchar(2), price numeric(10,2), \
             ts_ms timestamp, ts_us timestamptz, ts_ns timestamptz, day date, clock time, flag bool, f float4, \
             raw bytea, tags text[], numbers int4[], v vector(3), w vector, half vector(2))",
        )
        .expect("create");
    let columns = "id, small, big, name, large, price, ts_ms, ts_us, ts_ns, day, clock, flag, f, raw, tags, numbers, v, w, half";
    let file = format!("{DATA}/pyarrow.parquet");
    let sql = format!("COPY t ({columns}) FROM '{file}' (FORMAT parquet)");
    assert_eq!(tag(&mut connection, &sql), "COPY 4");
    assert_eq!(
        lines(&mut connection, "SELECT * FROM t ORDER BY id"),
        [
            "1|1|9223372036854775808|a|l1|12.35|1970-01-01 00:00:00|1970-01-01 00:00:00+00|\
             1970-01-01 00:00:00.000001+00|2020-01-02|01:02:03.000004|t|1.5|\\x0001|{x,y}|{1,2}|[0,1,2]|[1,2]|[0.5,0.5]",
            "2|255|NULL|b|NULL|-0.01|1969-12-31 23:59:59.999|1969-12-31 23:59:59.999999+00|\
             1969-12-31 23:59:59.999999+00|NULL|NULL|f|NULL|NULL|{}|{}|[3,4,5]|NULL|[0.5,0.5]",
            "3|NULL|3|NULL||0.00|NULL|NULL|NULL|1969-12-31|00:00:00|NULL|NaN|\\x|NULL|NULL|[6,7,8]|[3]|[0.5,0.5]",
            "4|4|4|é\"x|l4|1.00|2023-11-14 22:13:20.123|2023-11-14 22:13:20.123456+00|\
             2023-11-14 22:13:20.123457+00|9999-12-31|23:59:59.999999|t|-Infinity|\\xff|{NULL,z}|{NULL}|[9,10,11]|[4.5,5.5,6.5]|[0.5,0.5]",
        ]
    );
    let refused = [
        ("t (id, small)", "", "23505", "duplicate key value violates unique constraint \"t_pkey\"", None),
        ("t", "", "22P04", "extra data after last expected column", None),
        ("a (v)", "v vector(2)", "22000", "expected 2 dimensions, not 3", Some("COPY a, row 1, column v")),
        (
            "a (name)",
            "name int4",
            "22P02",
            "invalid input syntax for type integer: \"a\"",
            Some("COPY a, row 1, column name"),
        ),
        ("a (big)", "big int8", "22003", "bigint out of range", Some("COPY a, row 1, column big")),
        (
            "a (name)",
            "name text NOT NULL",
            "23502",
            "null value in column \"name\" of relation \"a\" violates not-null constraint",
            Some("COPY a, row 3"),
        ),
        (
            "a (id)",
            "id int4 CHECK (id < 3)",
            "23514",
            "new row for relation \"a\" violates check constraint \"a_id_check\"",
            Some("COPY a, row 3"),
        ),
        (
            "a (name)",
            "name varchar(1)",
            "22001",
            "value too long for type character varying(1)",
            Some("COPY a, row 4, column name"),
        ),
        (
            "a (day)",
            "day int4",
            "42804",
            "column \"day\" is of type integer but the file's column is of Parquet type Date32",
            None,
        ),
        (
            "a (pair)",
            "pair text",
            "42804",
            "column \"pair\" is of type text but the file's column is of Parquet type Struct",
            None,
        ),
        (
            "a (nested)",
            "nested int4[]",
            "42804",
            "column \"nested\" is of type integer[] but the file's column is of Parquet type list of list of Int32",
            None,
        ),
        (
            "a (tags)",
            "tags vector",
            "42804",
            "column \"tags\" is of type vector but the file's column is of Parquet type list of Utf8",
            None,
        ),
        ("a (other)", "other int4", "22P04", "missing data for column \"other\"", None),
    ];
    for (target, table, code, message, context) in refused {
        connection.run("DROP TABLE IF EXISTS a").expect("drop");
        if !table.is_empty() {
            connection.run(&format!("CREATE TABLE a ({table})")).expect("create");
        }
        let error = connection.refusal(&format!("COPY {target} FROM '{file}' (FORMAT parquet)"));
        assert_eq!(error.code, code, "{target}: {}", error.message);
        assert!(error.message.starts_with(message), "{target}: {}", error.message);
        assert_eq!(error.context.as_deref(), context, "{target}");
        if !table.is_empty() {
            assert_eq!(connection.value("SELECT count(*) FROM a").expect("count"), "0");
        }
    }
}

#[test]
fn parquet_of_duckdb_is_read() {
    let server = Server::start();
    let mut connection = with_vectors(&server);
    connection
        .run(
            "CREATE TABLE t (id int8 PRIMARY KEY, name text, price numeric, ts timestamp, tz timestamptz, v vector(2), \
             tags text[], huge float8, u uuid)",
        )
        .expect("create");
    let sql = format!("COPY t FROM '{DATA}/duckdb.parquet' (FORMAT parquet)");
    assert_eq!(tag(&mut connection, &sql), "COPY 50");
    assert_eq!(
        lines(&mut connection, "SELECT * FROM t WHERE id = 49"),
        [
            "49|n1|73.50|2024-01-01 00:00:49|2024-01-01 00:00:00+00|[49,50]|{a,b}|49|00000000-0000-0000-0000-00000000000a"
        ]
    );
}

/// A file with a column `id` in two row groups, and where the second begins.
fn two_row_groups(rows: i64) -> (Vec<u8>, usize) {
    let batch = |from: i64| {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + rows));
        RecordBatch::try_from_iter([("id", ids)]).expect("one column")
    };
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch(0).schema(), None).expect("a writer");
    for from in [0, rows] {
        writer.write(&batch(from)).expect("rows");
        writer.flush().expect("a row group");
    }
    let metadata = writer.close().expect("the footer");
    let (second, _) = metadata.row_group(1).column(0).byte_range();
    (bytes, second as usize)
}

#[test]
fn damaged_parquet_shows_nothing() {
    let (server, folder) = (Server::start(), folder());
    let mut connection = with_vectors(&server);
    connection.run("CREATE TABLE t (id int8, v vector(8))").expect("create");
    connection
        .run("INSERT INTO t SELECT g, ('[' || g || ',1,2,3,4,5,6,7]')::vector FROM generate_series(1, 30000) g")
        .expect("fill");
    let whole = folder.path().join("whole");
    tag(&mut connection, &format!("COPY t TO '{}' (FORMAT parquet)", shown(&whole)));
    connection.run("TRUNCATE t").expect("empty");
    let bytes = std::fs::read(&whole).expect("the file");
    let broken = folder.path().join("broken");
    let copy = format!("COPY t FROM '{}' (FORMAT parquet)", shown(&broken));
    for cut in [0, 3, 4, 8, bytes.len() / 2, bytes.len() - 9, bytes.len() - 1] {
        std::fs::write(&broken, &bytes[..cut]).expect("write");
        let error = connection.refusal(&copy);
        assert_eq!(error.code, "22P04", "cut at {cut}: {}", error.message);
        assert!(error.message.contains("is not a Parquet file that can be read"), "{}", error.message);
        assert_eq!(connection.value("SELECT count(*) FROM t").expect("count"), "0");
    }
    // The first row group is whole, the header of a page in the second is not: rows have been taken by then.
    connection.run("CREATE TABLE numbers (id int8)").expect("create");
    let copy_numbers = format!("COPY numbers FROM '{}' (FORMAT parquet)", shown(&broken));
    let (mut holed, second) = two_row_groups(20_000);
    std::fs::write(&broken, &holed).expect("write");
    assert_eq!(tag(&mut connection, &copy_numbers), "COPY 40000");
    connection.run("TRUNCATE numbers").expect("empty");
    holed[second..second + 16].fill(0xff);
    std::fs::write(&broken, &holed).expect("write");
    let error = connection.refusal(&copy_numbers);
    assert_eq!(error.code, "22P04", "{}", error.message);
    assert_eq!(connection.value("SELECT count(*) FROM numbers").expect("count"), "0");
    std::fs::write(&broken, &bytes).expect("write");
    assert_eq!(tag(&mut connection, &copy), "COPY 30000");
}

#[test]
fn objects_of_s3_are_written_and_read() {
    let place = Place::fresh();
    let environment = place.options(&[]).environment;
    let server = Server::start_with(tests::server::Options { environment, ..Default::default() });
    let mut connection = with_vectors(&server);
    let base = place.address("S3");
    connection.run("CREATE TABLE t (id int8 PRIMARY KEY, name text, v vector(256))").expect("create");
    connection
        .run(
            "INSERT INTO t SELECT g, 'row ' || g, ('[' || repeat(g % 1000 || ',', 255) || '0]')::vector \
             FROM generate_series(1, 20000) g",
        )
        .expect("fill");
    for format in ["parquet", "csv", "text", "binary"] {
        let address = format!("{base}/{format}");
        assert_eq!(tag(&mut connection, &format!("COPY t TO '{address}' (FORMAT {format})")), "COPY 20000");
        connection.run("CREATE TABLE back AS SELECT * FROM t WHERE false").expect("create");
        assert_eq!(
            tag(&mut connection, &format!("COPY back FROM '{address}' (FORMAT {format})")),
            "COPY 20000"
        );
        let differ = "SELECT count(*) FROM (SELECT * FROM t EXCEPT SELECT * FROM back) d";
        assert_eq!(connection.value(differ).expect("compare"), "0", "{format}");
        connection.run("DROP TABLE back").expect("drop");
    }
    let error = connection.refusal(&format!("COPY t FROM '{base}/missing' (FORMAT parquet)"));
    let message = format!("could not open file \"{base}/missing\" for reading: No such file or directory");
    assert_eq!((error.code.as_str(), error.message), ("58P01", message));
    // A query that fails on its way leaves no object.
    let failing =
        format!("COPY (SELECT 1 / (g - 900000) FROM generate_series(1, 1000000) g) TO '{base}/half'");
    assert_eq!(connection.refusal(&failing).code, "22012");
    assert_eq!(connection.refusal(&format!("COPY t FROM '{base}/half'")).code, "58P01");
}

/// A pipe that a COPY reads while the test writes it.
struct Pipe {
    path: PathBuf,
    file: Option<File>,
}

impl Pipe {
    fn new(folder: &Path) -> Self {
        let path = folder.join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
        Self { path, file: None }
    }

    fn write(&mut self, rows: std::ops::Range<u32>) {
        let path = &self.path;
        let file = self
            .file
            .get_or_insert_with(|| File::options().write(true).open(path).expect("the COPY reads the pipe"));
        let data: String = rows.map(|row| format!("{row},\"row {row}\"\n")).collect();
        file.write_all(data.as_bytes()).expect("the COPY still reads");
    }
}

type Reply = JoinHandle<(Connection, Result<wire::ResultSet, Failure>)>;

fn begin(mut connection: Connection, sql: String) -> Reply {
    std::thread::spawn(move || {
        let result = connection.run(&sql);
        (connection, result)
    })
}

const PROGRESS: &str = "SELECT tuples_processed FROM pg_stat_progress_copy WHERE command = 'COPY FROM'";

#[test]
fn progress_is_seen_and_a_cancel_leaves_nothing() {
    let (server, folder) = (Server::start(), folder());
    let mut watcher = server.connect();
    watcher.run("CREATE TABLE t (id int4 PRIMARY KEY, name text)").expect("create");
    let copying = server.connect();
    let key = copying.backend_key;
    let mut pipe = Pipe::new(folder.path());
    let sql = format!("COPY t FROM '{}' CSV", shown(&pipe.path));
    let reply = begin(copying, sql);
    pipe.write(0..200_000);
    wait_for(&mut watcher, PROGRESS, |rows| rows.parse::<u32>().is_ok_and(|rows| rows > 100_000));
    let row = lines(
        &mut watcher,
        "SELECT pid, datname, relid::regclass, command, type, bytes_processed > 1000000, bytes_total, tuples_excluded \
         FROM pg_stat_progress_copy",
    );
    assert_eq!(row, [format!("{}|elanus|t|COPY FROM|FILE|t|0|0", key.0)]);
    assert_eq!(watcher.value("SELECT count(*) FROM t").expect("count"), "0");
    wire::cancel(server.address(), key).expect("cancel");
    let (mut copying, result) = reply.join().expect("no panic");
    let error = result.expect_err("it was cancelled").to_string();
    assert!(error.contains("57014"), "{error}");
    assert_eq!(copying.value("SELECT count(*) FROM pg_stat_progress_copy").expect("view"), "0");
    assert_eq!(copying.value("SELECT count(*) FROM t").expect("count"), "0");
    assert_eq!(
        copying.value("SELECT count(*) FROM pg_locks WHERE pid <> pg_backend_pid()").expect("locks"),
        "0"
    );
    // A time-out does the same.
    copying.run("SET statement_timeout = '300ms'").expect("set");
    drop(pipe);
    std::fs::remove_file(folder.path().join("pipe")).expect("remove");
    let mut pipe = Pipe::new(folder.path());
    let sql = format!("COPY t FROM '{}' CSV", shown(&pipe.path));
    let reply = begin(copying, sql);
    pipe.write(0..1000);
    let (mut copying, result) = reply.join().expect("no panic");
    assert!(result.expect_err("it took too long").to_string().contains("57014"));
    assert_eq!(copying.value("SELECT count(*) FROM t").expect("count"), "0");
    copying.run("INSERT INTO t VALUES (1, 'free')").expect("no lock is left");
}

#[test]
fn a_kill_in_the_middle_leaves_nothing() {
    let (mut server, folder) = (Server::start(), folder());
    let mut watcher = server.connect();
    watcher.run("CREATE TABLE t (id int4 PRIMARY KEY, name text)").expect("create");
    watcher.run("INSERT INTO t VALUES (-1, 'before')").expect("insert");
    let mut pipe = Pipe::new(folder.path());
    let reply = begin(server.connect(), format!("COPY t FROM '{}' CSV", shown(&pipe.path)));
    pipe.write(0..300_000);
    wait_for(&mut watcher, PROGRESS, |rows| rows.parse::<u32>().is_ok_and(|rows| rows > 200_000));
    server.kill();
    assert!(reply.join().expect("no panic").1.is_err());
    let server = server.restart().expect("restart");
    let mut connection = server.connect();
    assert_eq!(lines(&mut connection, "SELECT * FROM t"), ["-1|before"]);
    let path = folder.path().join("rows.csv");
    let data: String = (0..300_000).map(|row| format!("{row},\"row {row}\"\n")).collect();
    std::fs::write(&path, data).expect("write");
    assert_eq!(tag(&mut connection, &format!("COPY t FROM '{}' CSV", shown(&path))), "COPY 300000");
    assert_eq!(connection.value("SELECT count(*) FROM t").expect("count"), "300001");
}
