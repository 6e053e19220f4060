//! What several sessions see of each other, step by step, beside what PostgreSQL shows in the same steps.
//!
//! `isolation/*.steps` are the steps, `*.expected` what PostgreSQL answered: this program plays them there and writes
//! the answers when `ISOLATION_URL` names a server (`scripts/record-isolation`). A line `A: SQL` is a statement of
//! session A, `wait A` waits for the end of one that waits, `setup: SQL` comes before all.
//!
//! Invariant: nothing sleeps. A statement counts as waiting when `pg_locks` says that its session waits.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tests::server::Server;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error, NoTls, SimpleQueryMessage};

type Answer = Result<Vec<SimpleQueryMessage>, Error>;

struct Player {
    client: Arc<Client>,
    pid: i32,
    running: Option<JoinHandle<Answer>>,
}

async fn connect(url: &str) -> Arc<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("connect");
    tokio::spawn(async move {
        // A session that the server ends fails its next statement, which is what the steps look at.
        let _ = connection.await;
    });
    Arc::new(client)
}

fn told(answer: Answer) -> String {
    let messages = match answer {
        Ok(messages) => messages,
        Err(error) => {
            let Some(error) = error.as_db_error() else { return format!("connection lost: {error}") };
            return format!("ERROR {} {}", error.code().code(), error.message());
        }
    };
    let mut text = String::new();
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) => {
                let cells: Vec<&str> = (0..row.len()).map(|at| row.get(at).unwrap_or("NULL")).collect();
                write!(text, "[{}] ", cells.join(" ")).expect("text");
            }
            SimpleQueryMessage::CommandComplete(count) => write!(text, "done {count}").expect("text"),
            _ => {}
        }
    }
    text
}

/// One play of a file's steps.
struct Play {
    url: String,
    control: Arc<Client>,
    players: BTreeMap<String, Player>,
    transcript: String,
}

impl Play {
    /// The answer of a session's statement, or none when it waits for a lock.
    async fn settled(&mut self, name: &str) -> Option<String> {
        let player = self.players.get_mut(name).expect("a known session");
        let pid = player.pid;
        let waits = format!("SELECT count(*) FROM pg_locks WHERE pid = {pid} AND NOT granted");
        loop {
            let running = player.running.as_ref()?;
            let before = running.is_finished();
            let row = self.control.simple_query(&waits).await.expect("pg_locks");
            let waiting = row
                .iter()
                .any(|message| matches!(message, SimpleQueryMessage::Row(row) if row.get(0) != Some("0")));
            if before {
                return Some(told(player.running.take()?.await.expect("a statement's task")));
            }
            if waiting && !running.is_finished() {
                return None;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn step(&mut self, name: &str, sql: &str) {
        if !self.players.contains_key(name) {
            let client = connect(&self.url).await;
            let row = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("a pid");
            self.players.insert(name.to_owned(), Player { client, pid: row.get(0), running: None });
        }
        let player = self.players.get_mut(name).expect("just added");
        assert!(player.running.is_none(), "{name} still waits; it cannot run {sql}");
        let (client, text) = (Arc::clone(&player.client), sql.to_owned());
        player.running = Some(tokio::spawn(async move { client.simple_query(&text).await }));
        writeln!(self.transcript, "{name}: {sql}").expect("text");
        let answer = self.settled(name).await.unwrap_or_else(|| "waits".to_owned());
        writeln!(self.transcript, "  {answer}").expect("text");
        self.others(name).await;
    }

    /// What a step has let go on elsewhere.
    async fn others(&mut self, name: &str) {
        let names: Vec<String> = self.players.keys().filter(|other| *other != name).cloned().collect();
        for other in names {
            if self.players[&other].running.is_some()
                && let Some(answer) = self.settled(&other).await
            {
                writeln!(self.transcript, "{other} goes on\n  {answer}").expect("text");
            }
        }
    }

    async fn wait(&mut self, name: &str) {
        let player = self.players.get_mut(name).expect("a known session");
        let running = player.running.take().expect("a statement that waits");
        let answer = told(running.await.expect("a statement's task"));
        writeln!(self.transcript, "wait {name}\n  {answer}").expect("text");
        self.others(name).await;
    }
}

/// Plays a file in a database of its own; the transcript.
async fn play(url: &str, name: &str, steps: &str) -> String {
    let admin = connect(url).await;
    admin.batch_execute(&format!("DROP DATABASE IF EXISTS isolation_{name}")).await.expect("drop");
    admin.batch_execute(&format!("CREATE DATABASE isolation_{name}")).await.expect("create");
    let base = url.rsplit_once('/').expect("a URL with a database").0;
    let url = format!("{base}/isolation_{name}");
    let control = connect(&url).await;
    let mut play = Play { url, control, players: BTreeMap::new(), transcript: String::new() };
    for line in steps.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(sql) = line.strip_prefix("setup: ") {
            play.control.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        } else if let Some(name) = line.strip_prefix("wait ") {
            play.wait(name).await;
        } else {
            let (name, sql) = line.split_once(": ").unwrap_or_else(|| panic!("no step: {line}"));
            play.step(name, sql).await;
        }
    }
    assert!(play.players.values().all(|player| player.running.is_none()), "a statement still waits");
    play.transcript
}

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("isolation");
    let entries = std::fs::read_dir(&directory).expect("the folder of steps");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|e| e == "steps")).collect();
    files.sort();
    files
}

#[test]
fn sessions_see_of_each_other_what_postgresql_shows() {
    let recording = std::env::var("ISOLATION_URL").ok();
    let server = recording.is_none().then(Server::start);
    let url = recording.clone().unwrap_or_else(|| server.as_ref().expect("a server").address().url());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let only = std::env::var("ISOLATION_ONLY").ok();
    let mut wrong = Vec::new();
    let mut played = 0;
    for path in files() {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let steps = std::fs::read_to_string(&path).expect("readable steps");
        let transcript = runtime.block_on(play(&url, &name, &steps));
        let expected = path.with_extension("expected");
        if recording.is_some() {
            std::fs::write(&expected, &transcript).expect("writable answers");
        }
        let recorded = std::fs::read_to_string(&expected).expect("recorded answers");
        played += 1;
        if transcript != recorded {
            let lines = transcript.lines().zip(recorded.lines()).enumerate();
            let first = lines.into_iter().find(|(_, (one, other))| one != other);
            wrong.push(format!("{name}: {first:?}\n{transcript}"));
        }
    }
    assert!(played > 0, "no steps were played");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
