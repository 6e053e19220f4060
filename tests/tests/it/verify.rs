//! `elanus verify`, and single changed bits in every kind of file: each is found, or does no harm.
//!
//! `FLIPS` and `SEED` lengthen or repeat the run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tests::server::{Options, Server, binary};
use tests::wire::Connection;

use crate::lifecycle::files;

fn verify(directory: &Path) -> Output {
    Command::new(binary()).args(["verify", "--data-dir"]).arg(directory).output().expect("the binary runs")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A server killed with rows in files, deletes in objects, an index, a dropped table, and rows that only the log has.
fn killed_server() -> Server {
    let mut server = Server::start();
    let mut connection = server.connect();
    for sql in [
        "CREATE EXTENSION IF NOT EXISTS vector",
        "CREATE TABLE items (id int4 PRIMARY KEY, name text, price numeric(10,2), v vector(8))",
        "INSERT INTO items SELECT g, 'item ' || g, g / 7.0, ARRAY[g % 13, g % 7, g % 5, g % 3, 1, 2, 3, g]::vector \
         FROM generate_series(1, 3000) g",
        "CREATE INDEX items_v ON items USING hnsw (v vector_l2_ops)",
        "DELETE FROM items WHERE id % 10 = 0",
        "CREATE TABLE dropped (id int4)",
        "INSERT INTO dropped VALUES (1)",
        "CHECKPOINT",
        "UPDATE items SET price = 1 WHERE id < 20",
        "DROP TABLE dropped",
        "CREATE TABLE last (id int4)",
        // The last append cannot be told from one that a power failure tore: nothing is asked of it.
        "INSERT INTO last VALUES (1)",
    ] {
        connection.run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    server.kill();
    server
}

/// What the rows say, by scan, by key and by index.
fn answers(connection: &mut Connection) -> Vec<String> {
    [
        "SELECT md5(string_agg(i::text, '|' ORDER BY id)) FROM items i",
        "SELECT count(*) FROM items",
        "SELECT price FROM items WHERE id = 7",
        "SELECT string_agg(id::text, ',') FROM \
         (SELECT id FROM items ORDER BY v <-> '[1,2,3,1,1,2,3,500]' LIMIT 5) nearest",
    ]
    .iter()
    .map(|sql| connection.value(sql).unwrap_or_else(|error| format!("{error}")))
    .collect()
}

fn copy(from: &Path, to: &Path) {
    for path in files(from, &[""]) {
        let target = to.join(path.strip_prefix(from).expect("below the folder"));
        std::fs::create_dir_all(target.parent().expect("a folder")).expect("create");
        std::fs::copy(&path, target).expect("copy");
    }
}

#[test]
fn verify_tells_what_it_looked_at_and_what_is_damaged() {
    let server = killed_server();
    let output = verify(&server.data_dir());
    let printed = text(&output);
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("verified 2 tables, 2 segments, 6 objects"), "{printed}");
    // Files that UNDROP needs are looked at and belong to something.
    assert!(printed.contains("with 1 dropped tables"), "{printed}");
    assert!(!printed.contains("belong to nothing"), "{printed}");
    let missing = verify(Path::new("/nonexistent"));
    assert!(
        !missing.status.success() && text(&missing).contains("there is no data in"),
        "{}",
        text(&missing)
    );
    for path in files(&server.data_dir().join("objects"), &["-keys"]) {
        std::fs::remove_file(path).expect("remove");
    }
    let output = verify(&server.data_dir());
    let printed = text(&output);
    assert!(!output.status.success() && printed.contains("-keys: it is missing"), "{printed}");
    let server = Server::start();
    let output = verify(&server.data_dir());
    assert!(!output.status.success() && text(&output).contains("in use"), "{}", text(&output));
}

#[test]
fn a_changed_bit_is_found_or_does_no_harm() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let (seed, flips) = (number("SEED").unwrap_or(7), number("FLIPS").unwrap_or(60));
    println!("SEED={seed} FLIPS={flips}");
    let mut random = StdRng::seed_from_u64(seed);
    let server = killed_server();
    let whole = server.data_dir();
    let paths: Vec<PathBuf> = files(&whole, &[""])
        .into_iter()
        .filter(|path| std::fs::metadata(path).is_ok_and(|data| data.len() > 0))
        .collect();
    let (mut found, mut harmless) = (0, 0);
    let mut right: Option<Vec<String>> = None;
    for _ in 0..flips {
        let home = tempfile::tempdir().expect("a temporary directory");
        let data = home.path().join("data");
        copy(&whole, &data);
        let expected = right.get_or_insert_with(|| {
            let fresh = tempfile::tempdir().expect("a temporary directory");
            copy(&whole, &fresh.path().join("data"));
            let server = Server::start_on(fresh.path(), Options::default()).expect("the copy starts");
            answers(&mut server.connect())
        });
        let name = paths[random.random_range(0..paths.len())].strip_prefix(&whole).expect("below").to_owned();
        let mut bytes = std::fs::read(data.join(&name)).expect("a file");
        let (byte, bit) = (random.random_range(0..bytes.len()), random.random_range(0..8));
        bytes[byte] ^= 1 << bit;
        std::fs::remove_file(data.join(&name)).expect("remove");
        std::fs::write(data.join(&name), bytes).expect("write");
        let output = verify(&data);
        if !output.status.success() {
            assert!(output.status.code() == Some(1), "{name:?} byte {byte} bit {bit}: {}", text(&output));
            found += 1;
            continue;
        }
        let server = Server::start_on(home.path(), Options::default());
        let server = server.unwrap_or_else(|error| panic!("{name:?} byte {byte} bit {bit}: {error}"));
        let given = answers(&mut server.connect());
        assert_eq!(&given, expected, "{name:?} byte {byte} bit {bit} was not found");
        harmless += 1;
    }
    println!("{flips} changed bits in {} files: {found} found, {harmless} without harm", paths.len());
    assert!(found > flips / 2, "hardly anything was found");
}
