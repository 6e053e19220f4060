//! Many clients at once: nothing is lost, nothing is done twice, and nobody is told of it.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tests::server::Server;
use tokio_postgres::{Client, Error, NoTls};

const CLIENTS: usize = 8;

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("connect");
    tokio::spawn(async move { connection.await.expect("the connection ends in order") });
    client
}

fn run<F: Future<Output = ()>>(test: impl FnOnce(String) -> F) {
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(test(server.address().url()));
}

/// Runs `work` for every number below `count`, each with a client of its own, and waits for all.
async fn all<T, F>(url: &str, count: usize, work: impl Fn(usize, Client) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let mut running = Vec::new();
    for number in 0..count {
        running.push(tokio::spawn(work(number, connect(url).await)));
    }
    let mut results = Vec::new();
    for one in running {
        results.push(one.await.expect("a client's task"));
    }
    results
}

fn code(error: &Error) -> &str {
    error.code().map_or("", |code| code.code())
}

#[test]
fn counters_end_exact_without_an_error() {
    const ROUNDS: usize = 25;
    run(|url| async move {
        let admin = connect(&url).await;
        let setup = "CREATE TABLE c (id int PRIMARY KEY, n int); INSERT INTO c VALUES (1, 0), (2, 0), (3, 0);
            CREATE TABLE bare (n int); INSERT INTO bare VALUES (0)";
        admin.batch_execute(setup).await.expect("set up");
        all(&url, CLIENTS, |number, client| async move {
            for round in 0..ROUNDS {
                // Every client takes the rows in another order.
                let id = (number + round) % 3 + 1;
                let block = format!("UPDATE c SET n = n + 1 WHERE id = {id}");
                client.batch_execute("BEGIN").await.expect("begin");
                assert_eq!(client.execute(&block, &[]).await.expect("update in a block"), 1);
                client.batch_execute("COMMIT").await.expect("commit");
                let three = "UPDATE c SET n = n + 1 WHERE id < 9";
                assert_eq!(client.execute(three, &[]).await.expect("update"), 3);
                assert_eq!(client.execute("UPDATE bare SET n = n + 1", &[]).await.expect("update"), 1);
                let upsert = "INSERT INTO c VALUES (9, 1) ON CONFLICT (id) DO UPDATE SET n = c.n + 1";
                client.batch_execute(upsert).await.expect("upsert");
            }
        })
        .await;
        let sums = "SELECT sum(n) FILTER (WHERE id < 9), sum(n) FILTER (WHERE id = 9), (SELECT sum(n) FROM bare) FROM c";
        let row = admin.query_one(sums, &[]).await.expect("sums");
        let rounds = (CLIENTS * ROUNDS) as i64;
        assert_eq!([0, 1, 2].map(|at| row.get::<_, i64>(at)), [rounds * 4, rounds, rounds]);
    });
}

/// The timestamp of a session's last commit.
const LAST_COMMIT: &str = "SELECT elanus.last_commit_ts()";
const ACCOUNTS: i32 = 10;

/// Moves money as one of the bank's clients; how many deadlocks there were.
async fn transfer_all(number: usize, client: Client, transfers: usize, newest: Arc<AtomicI64>) -> i32 {
    let (mut done, mut deadlocks) = (0, 0);
    client.batch_execute("SET deadlock_timeout = '20ms'").await.expect("set");
    while done < transfers {
        let from = (number * 7 + done * 3) as i32 % ACCOUNTS + 1;
        let to = (number * 5 + done * 11) as i32 % ACCOUNTS + 1;
        let (give, take) = if (number + done).is_multiple_of(2) { ("a", "b") } else { ("b", "a") };
        let steps = [
            "BEGIN".to_owned(),
            format!("UPDATE {give} SET n = n - 5 WHERE id = {from}"),
            format!("UPDATE {take} SET n = n + 5 WHERE id = {to}"),
            "COMMIT".to_owned(),
        ];
        let mut failed = false;
        for step in steps {
            if let Err(error) = client.batch_execute(&step).await {
                assert_eq!(code(&error), "40P01", "{step}: {error}");
                client.batch_execute("ROLLBACK").await.expect("roll back");
                failed = true;
                break;
            }
        }
        if failed {
            deadlocks += 1;
        } else {
            let ts = client.query_one(LAST_COMMIT, &[]).await.expect("a timestamp");
            newest.fetch_max(ts.get(0), Ordering::Relaxed);
            done += 1;
        }
    }
    deadlocks
}

fn number_of(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(otherwise)
}

/// What both tables of the bank held at an instant.
async fn past_sum(client: &Client, at: i64) -> i64 {
    let of = |table| format!("(SELECT sum(n) FROM {table} FOR SYSTEM_TIME AS OF {at})");
    let sql = format!("SELECT {} + {}", of("a"), of("b"));
    client.query_one(&sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error}")).get(0)
}

#[test]
fn money_moves_and_none_is_made() {
    const TRANSFERS: usize = 30;
    run(|url| async move {
        let admin = connect(&url).await;
        let setup = format!(
            "CREATE TABLE a (id int PRIMARY KEY, n int); CREATE TABLE b (id int PRIMARY KEY, n int);
            INSERT INTO a SELECT i, 100 FROM generate_series(1, {ACCOUNTS}) i;
            INSERT INTO b SELECT i, 100 FROM generate_series(1, {ACCOUNTS}) i"
        );
        admin.batch_execute(&setup).await.expect("set up");
        let total = i64::from(ACCOUNTS) * 200;
        let first = admin.query_one(LAST_COMMIT, &[]).await.expect("a timestamp").get::<_, i64>(0);
        let newest = Arc::new(AtomicI64::new(first));
        let seed = number_of("SEED", 7) as u64;
        println!("bank: SEED={seed}");
        let audit = "SELECT (SELECT sum(n) FROM a) + (SELECT sum(n) FROM b)";
        let auditor = connect(&url).await;
        let (done, mut stop) = tokio::sync::oneshot::channel::<()>();
        let known = Arc::clone(&newest);
        let auditing = tokio::spawn(async move {
            let (mut audits, mut dice) = (0, StdRng::seed_from_u64(seed));
            while stop.try_recv().is_err() {
                let sum = auditor.query_one(audit, &[]).await.expect("an audit");
                assert_eq!(sum.get::<_, i64>(0), total, "one statement");
                auditor.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.expect("begin");
                let one = auditor.query_one("SELECT sum(n) FROM a", &[]).await.expect("a").get::<_, i64>(0);
                let other = auditor.query_one("SELECT sum(n) FROM b", &[]).await.expect("b").get::<_, i64>(0);
                auditor.batch_execute("COMMIT").await.expect("commit");
                assert_eq!(one + other, total, "two statements of one snapshot");
                for _ in 0..4 {
                    // Any instant, that of a commit or between two.
                    let at = dice.random_range(first..=known.load(Ordering::Relaxed));
                    assert_eq!(past_sum(&auditor, at).await, total, "at {at}");
                }
                if audits % 16 == 8 {
                    for merge in ["VACUUM FULL a", "VACUUM FULL b"] {
                        auditor.batch_execute(merge).await.expect("a merge");
                    }
                }
                audits += 1;
            }
            audits
        });
        let (to_newest, transfers) = (Arc::clone(&newest), number_of("TRANSFERS", TRANSFERS));
        let deadlocks = all(&url, CLIENTS, move |number, client| {
            transfer_all(number, client, transfers, Arc::clone(&to_newest))
        })
        .await;
        done.send(()).expect("the auditor listens");
        let audits = auditing.await.expect("the auditor");
        let last = admin.query_one(audit, &[]).await.expect("the last audit");
        assert_eq!(last.get::<_, i64>(0), total);
        assert!(audits > 0, "nothing was audited");
        let (mut dice, last) = (StdRng::seed_from_u64(seed + 1), newest.load(Ordering::Relaxed));
        for _ in 0..200 {
            let at = dice.random_range(first..=last);
            assert_eq!(past_sum(&admin, at).await, total, "at {at}");
        }
        println!("{audits} audits, each with four of the past, {} deadlocks", deadlocks.iter().sum::<i32>());
    });
}

#[test]
fn one_of_two_inserters_of_a_key_wins() {
    const KEYS: i32 = 40;
    run(|url| async move {
        let admin = connect(&url).await;
        admin.batch_execute("CREATE TABLE t (id int PRIMARY KEY, who int)").await.expect("create");
        let won = all(&url, 4, |number, client| async move {
            let mut won = 0;
            for id in 0..KEYS {
                let simple = format!("INSERT INTO t VALUES ({id}, {number})");
                let who = number as i32;
                let inserted = match number {
                    0 => client.batch_execute(&simple).await,
                    1 => client.batch_execute(&format!("BEGIN; {simple}; COMMIT")).await,
                    _ => client.execute("INSERT INTO t VALUES ($1, $2)", &[&id, &who]).await.map(|_| ()),
                };
                match inserted {
                    Ok(()) => won += 1,
                    Err(error) => {
                        assert_eq!(code(&error), "23505", "{error}");
                        client.batch_execute("ROLLBACK").await.expect("roll back");
                    }
                }
            }
            won
        })
        .await;
        assert_eq!(won.iter().sum::<i32>(), KEYS, "{won:?}");
        let count = admin.query_one("SELECT count(*) FROM t", &[]).await.expect("count");
        assert_eq!(count.get::<_, i64>(0), i64::from(KEYS));
    });
}

#[test]
fn every_job_of_a_queue_is_done_once() {
    const JOBS: i32 = 60;
    run(|url| async move {
        let admin = connect(&url).await;
        let setup = format!(
            "CREATE TABLE jobs (id int PRIMARY KEY, done bool); INSERT INTO jobs SELECT i, false FROM generate_series(1, {JOBS}) i"
        );
        admin.batch_execute(&setup).await.expect("set up");
        let done = all(&url, 4, |number, client| async move {
            let mut done = Vec::new();
            let next = "SELECT id FROM jobs WHERE NOT done ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED";
            loop {
                if number % 2 == 0 {
                    client.batch_execute("BEGIN").await.expect("begin");
                    let Some(job) = client.query_opt(next, &[]).await.expect("a job") else {
                        client.batch_execute("COMMIT").await.expect("commit");
                        break;
                    };
                    let id: i32 = job.get(0);
                    let finish = "UPDATE jobs SET done = true WHERE id = $1";
                    assert_eq!(client.execute(finish, &[&id]).await.expect("finish"), 1);
                    client.batch_execute("COMMIT").await.expect("commit");
                    done.push(id);
                } else {
                    let take = format!("UPDATE jobs SET done = true WHERE id = ({next}) RETURNING id");
                    let Some(job) = client.query_opt(&take, &[]).await.expect("a job") else { break };
                    done.push(job.get(0));
                }
            }
            done
        })
        .await;
        let all: Vec<i32> = done.iter().flatten().copied().collect();
        let distinct: BTreeSet<i32> = all.iter().copied().collect();
        assert_eq!((all.len(), distinct.len()), (JOBS as usize, JOBS as usize), "{done:?}");
    });
}

#[test]
fn a_lost_session_gives_its_locks_back() {
    run(|url| async move {
        let admin = connect(&url).await;
        let setup = "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)";
        admin.batch_execute(setup).await.expect("set up");
        let (lost, connection) = tokio_postgres::connect(&url, NoTls).await.expect("connect");
        let alive = tokio::spawn(connection);
        let hold = "SELECT pg_advisory_lock(1); BEGIN; DELETE FROM t; LOCK TABLE t";
        lost.batch_execute(hold).await.expect("hold");
        alive.abort();
        drop(lost);
        admin.batch_execute("SELECT pg_advisory_lock(1); UPDATE t SET id = 2").await.expect("all is free");
        let idle = connect_idle(&url).await;
        idle.batch_execute("SET idle_in_transaction_session_timeout = '50ms'; BEGIN; DELETE FROM t")
            .await
            .expect("hold");
        assert_eq!(admin.execute("UPDATE t SET id = 3", &[]).await.expect("the session was ended"), 1);
        idle.batch_execute("SELECT 1").await.expect_err("the session is gone");
    });
}

/// A client whose connection may be ended by the server.
async fn connect_idle(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("connect");
    tokio::spawn(async move {
        let _ = connection.await;
    });
    client
}

#[test]
fn nobody_refers_to_a_row_that_is_gone() {
    const PARENTS: i32 = 6;
    const ROUNDS: usize = 40;
    run(|url| async move {
        let admin = connect(&url).await;
        let setup = "CREATE TABLE p (id int PRIMARY KEY, code int UNIQUE);
            CREATE TABLE kept (id serial PRIMARY KEY, pid int REFERENCES p);
            CREATE TABLE follows (id serial PRIMARY KEY, code int REFERENCES p (code) ON DELETE CASCADE ON UPDATE CASCADE)";
        admin.batch_execute(setup).await.expect("set up");
        let (done, mut stop) = tokio::sync::oneshot::channel::<()>();
        let auditor = connect(&url).await;
        let auditing = tokio::spawn(async move {
            let orphans = "SELECT (SELECT count(*) FROM kept LEFT JOIN p ON p.id = pid WHERE p.id IS NULL)
                + (SELECT count(*) FROM follows LEFT JOIN p ON p.code = follows.code WHERE p.id IS NULL)";
            let mut audits = 0;
            while audits == 0 || stop.try_recv().is_err() {
                let orphans = auditor.query_one(orphans, &[]).await.expect("an audit");
                assert_eq!(orphans.get::<_, i64>(0), 0);
                audits += 1;
            }
        });
        let counts = all(&url, CLIENTS, |number, client| async move {
            client.batch_execute("SET deadlock_timeout = '20ms'").await.expect("set");
            let (mut made, mut refused) = (0, 0);
            for round in 0..ROUNDS {
                let step = number * 31 + round * 17;
                let id = step as i32 % PARENTS;
                let statement = match step / 3 % 6 {
                    0 => format!("INSERT INTO p VALUES ({id}, {id}) ON CONFLICT DO NOTHING"),
                    1 => format!("INSERT INTO kept (pid) VALUES ({id})"),
                    2 => format!("INSERT INTO follows (code) SELECT code FROM p WHERE id = {id}"),
                    3 => format!("UPDATE p SET code = {} WHERE id = {id}", 100 + step),
                    4 => format!("DELETE FROM kept WHERE pid = {id}"),
                    _ => format!("DELETE FROM p WHERE id = {id}"),
                };
                let (begin, end) = if step % 2 == 0 { ("BEGIN", "COMMIT") } else { ("", "") };
                client.batch_execute(begin).await.expect("begin");
                match client.batch_execute(&statement).await {
                    Ok(()) => {
                        made += 1;
                        client.batch_execute(end).await.expect(&statement);
                    }
                    Err(error) => {
                        assert!(["23503", "40P01"].contains(&code(&error)), "{statement}: {error:?}");
                        refused += 1;
                        client.batch_execute("ROLLBACK").await.expect("rollback");
                    }
                }
            }
            (made, refused)
        })
        .await;
        done.send(()).expect("the auditor is there");
        auditing.await.expect("the auditor");
        let (made, refused) = counts.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        assert!(made > 100 && refused > 0, "{made} done, {refused} refused");
    });
}
