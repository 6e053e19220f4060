//! `elanus verify` of a data directory and of backups, and single changed bits in every kind of file: each is found, or does
//! no harm.
//!
//! `FLIPS` and `SEED` lengthen or repeat the run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tests::flips::{self, Tally};
use tests::server::{Options, Server, binary};

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
        "CREATE TABLE items (id int4 PRIMARY KEY, name text UNIQUE, price numeric(10,2), v vector(8))",
        "INSERT INTO items SELECT g, 'item ' || g, g / 7.0, ARRAY[g % 13, g % 7, g % 5, g % 3, 1, 2, 3, g]::vector \
         FROM generate_series(1, 3000) g",
        "CREATE INDEX items_v ON items USING hnsw (v vector_l2_ops)",
        "CREATE INDEX items_lists ON items USING ivfflat (v vector_l2_ops) WITH (lists = 5)",
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

#[test]
fn verify_tells_what_it_looked_at_and_what_is_damaged() {
    let server = killed_server();
    let output = verify(&server.data_dir());
    let printed = text(&output);
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("verified 2 tables, 2 segments, 8 objects"), "{printed}");
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

/// A backup of a running server with two tables, and a second one with only what is new.
fn backed_up(to: &Path) -> Server {
    let server = Server::start();
    let mut connection = server.connect();
    for sql in [
        "CREATE TABLE items (id int4 PRIMARY KEY, name text UNIQUE, v vector(3))",
        "INSERT INTO items SELECT g, 'item ' || g, ARRAY[g, 0, 0]::vector FROM generate_series(1, 500) g",
        "CREATE INDEX ON items USING hnsw (v vector_l2_ops)",
        "CREATE TABLE other (id int4)",
        "INSERT INTO other VALUES (1)",
        &format!("CALL elanus.backup('{}')", to.display()),
        "DELETE FROM items WHERE id % 7 = 0",
        "INSERT INTO other VALUES (2)",
        &format!("CALL elanus.backup('{}')", to.display()),
    ] {
        connection.run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    server
}

fn verify_backup(place: &Path) -> Output {
    Command::new(binary()).args(["verify", "--backup"]).arg(place).output().expect("the binary runs")
}

/// The summary's numbers.
fn numbers(printed: &str) -> Vec<u64> {
    printed.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

#[test]
fn backups_are_verified_beside_the_server_that_makes_them() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let place = folder.path().join("backup");
    let server = backed_up(&place);
    // The server is running, and what it is writing there stays.
    let under_way = place.join(".scratch/7");
    std::fs::write(&under_way, "half a file").expect("a file");
    let output = verify_backup(&place);
    let printed = text(&output);
    assert!(output.status.success(), "{printed}");
    assert!(under_way.exists(), "a backup under way is left alone");
    assert!(printed.starts_with("verified 2 backups, 2 tables, "), "{printed}");
    let (segments, objects) = (numbers(&printed)[2], numbers(&printed)[3]);
    assert!(segments >= 3 && objects > segments, "{printed}");
    let whole = |path: &Path| std::fs::read(path).expect("an object");
    let put_back = |path: &Path, bytes: &[u8]| std::fs::write(path, bytes).expect("an object");
    let named = |path: &Path| path.strip_prefix(&place).expect("below").display().to_string();
    // Of each kind one that is damaged, and one that is missing.
    for kind in ["-vectors", "-scalars", "-keys", "-unique", "-deletes", "-index", "manifest/", "backup/0"] {
        let of_kind = |path: &PathBuf| path.to_string_lossy().contains(kind);
        let path = files(&place, &[""]).into_iter().rfind(of_kind);
        let path = path.unwrap_or_else(|| panic!("no {kind} in the backup"));
        let bytes = whole(&path);
        let mut hurt = bytes.clone();
        hurt[bytes.len() / 2] ^= 8;
        std::fs::remove_file(&path).expect("remove");
        let missing = verify_backup(&place);
        let printed = text(&missing);
        // Without its record there is no such backup: the others are whole.
        if kind == "backup/0" {
            assert!(missing.status.success() && printed.starts_with("verified 1 backups"), "{printed}");
        } else {
            assert_eq!(missing.status.code(), Some(1), "{kind}: {printed}");
            assert!(
                printed.contains(&format!("damaged: {}: it is missing", named(&path))),
                "{kind}: {printed}"
            );
        }
        put_back(&path, &hurt);
        let damaged = verify_backup(&place);
        let printed = text(&damaged);
        assert_eq!(damaged.status.code(), Some(1), "{kind}: {printed}");
        assert!(printed.contains(&format!("damaged: {}: ", named(&path))), "{kind}: {printed}");
        std::fs::remove_file(&path).expect("remove");
        put_back(&path, &bytes);
    }
    let output = verify_backup(&place);
    assert!(output.status.success(), "{}", text(&output));
    for (place, reason) in
        [("objects", "a backup (backup/…) at this place does not exist"), ("x", "does not exist")]
    {
        let output = verify_backup(&server.data_dir().join(place));
        assert!(!output.status.success() && text(&output).contains(reason), "{}", text(&output));
        assert_eq!(server.data_dir().join(place).exists(), place == "objects", "nothing is made");
    }
}

#[test]
fn a_meta_store_that_does_not_fit_its_files_is_damage() {
    let server = killed_server();
    let log = server.data_dir().join("log");
    let aside = server.data_dir().join("aside");
    std::fs::rename(&log, &aside).expect("rename");
    let output = verify(&server.data_dir());
    let printed = text(&output);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains(": it is missing") && printed.contains("damaged: log channel "), "{printed}");
    assert!(!log.exists(), "nothing is made");
    // A server says the same, and does not put an empty log in the place of the one that is gone.
    let directory = server.data_dir().parent().expect("the server's folder").to_owned();
    let refused = Server::start_on(&directory, Options::default()).expect_err("its log is gone");
    assert!(refused.contains("log channel") && refused.contains("is damaged: it is missing"), "{refused}");
    std::fs::remove_dir_all(&log).ok();
    std::fs::rename(&aside, &log).expect("rename");
    let server = server.restart().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(server.connect().value("SELECT count(*) FROM last").expect("a count"), "1");
}

#[test]
fn a_changed_bit_is_found_or_does_no_harm() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let (seed, wanted) = (number("SEED").unwrap_or(7), number("FLIPS").unwrap_or(600));
    println!("SEED={seed} FLIPS={wanted}");
    let server = killed_server();
    let tallies = flips::run(&server.data_dir(), seed, wanted);
    for (kind, tally) in &tallies {
        println!("{kind}: {tally}");
        assert!(tally.found > 0 || tally.flips < 30, "nothing in {kind} is ever found");
    }
    let sum = |of: fn(&Tally) -> u64| tallies.values().map(of).sum::<u64>();
    let (flips, found, harmless) =
        (sum(|tally| tally.flips), sum(|tally| tally.found), sum(|tally| tally.harmless));
    println!("{flips} changed bits: {found} found, {harmless} without harm");
    assert_eq!((flips, tallies.len()), (wanted, 11), "every kind of file takes part: {tallies:?}");
}
