//! The kill loop: clients write with a ledger while the server is killed, again and again; after each restart the
//! tables must hold what the ledgers say.
//!
//! Three clients, each with its own keys in two tables that share a channel, insert, update and delete rows,
//! alone, many at once, by COPY and in transactions over both tables; they run into unique keys and foreign keys, their own
//! and each other's. A statement that was answered counts; one under way at the kill is in doubt: afterwards either all
//! of it is there or nothing, for good. No unique value is there twice, in a scan or in its index, and no row refers to one
//! that is not there.
//!
//! Invariants: the seed decides what the clients do and when the server dies, as far as the scheduler lets it;
//! a run that acknowledged too little or never hit a kind of kill it promised is a failure, not a pass.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::server::{Options, Server};
use crate::wire::{Address, Connection};

mod client;
mod crowd;
mod ledger;
mod verify;

use client::Client;
pub use ledger::{Effect, Key, Ledger, Row};

/// What a client is in the middle of when it is interesting to kill the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing in particular: any statement, or none.
    Any,
    Checkpoint,
    /// VACUUM, which merges and purges segments.
    Vacuum,
    Copy,
    /// Between BEGIN and the answer to COMMIT.
    Transaction,
}

/// The kinds of kill, in turn.
const PHASES: [Phase; 5] = [Phase::Any, Phase::Checkpoint, Phase::Vacuum, Phase::Copy, Phase::Transaction];
/// Clients at work.
const CLIENTS: usize = 3;
/// Acknowledged operations before a kill, at most.
const OPERATIONS_PER_ROUND: u64 = 60;

/// What the loop is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub kills: u32,
}

impl Plan {
    /// `SEED` and `KILLS` of the environment, else the given number of kills and a seed from the clock.
    #[must_use]
    pub fn from_environment(kills: u32) -> Self {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = number("SEED").unwrap_or_else(|| clock.map_or(1, |since| since.as_millis() as u64));
        Self { seed, kills: number("KILLS").map_or(kills, |kills| kills as u32) }
    }
}

/// What the loop saw.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub kills: u32,
    pub killed_in_checkpoint: u32,
    pub killed_in_vacuum: u32,
    pub killed_in_copy: u32,
    pub killed_in_transaction: u32,
    /// Statements and transactions that were answered.
    pub acknowledged: u64,
    /// Refused because of a key as they had to be, and because somebody else had the value or the row.
    pub refused: u64,
    pub taken: u64,
    /// Rows that went with the row they referred to.
    pub cascaded: u64,
    /// In doubt at a kill, and how many of them turned out to have happened.
    pub in_doubt: u64,
    pub happened: u64,
    pub rows: usize,
    /// Rows that indexes held after a restart, at most.
    pub most_indexed_rows: u64,
    /// What is not as it must be, with the round it was found in.
    pub violations: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} kills ({} in CHECKPOINT, {} in VACUUM, {} in COPY, {} in BEGIN…COMMIT), {} acknowledged, {} refused, {} \
             came too late, {} rows cascaded, {} in doubt of which {} happened, {} rows, up to {} indexed, {} violations",
            self.kills,
            self.killed_in_checkpoint,
            self.killed_in_vacuum,
            self.killed_in_copy,
            self.killed_in_transaction,
            self.acknowledged,
            self.refused,
            self.taken,
            self.cascaded,
            self.in_doubt,
            self.happened,
            self.rows,
            self.most_indexed_rows,
            self.violations.len()
        )
    }
}

/// What clients and killer share during one round.
#[derive(Debug)]
pub(crate) struct Round {
    acknowledged: AtomicU64,
    phase: Mutex<Vec<Phase>>,
    changed: Condvar,
    ended: AtomicBool,
}

impl Round {
    fn new() -> Self {
        Self {
            acknowledged: AtomicU64::new(0),
            phase: Mutex::new(vec![Phase::Any; CLIENTS]),
            changed: Condvar::new(),
            ended: AtomicBool::new(false),
        }
    }

    /// A client says what it is doing.
    pub(crate) fn enter(&self, client: usize, phase: Phase) {
        self.phase.lock().expect("no client panics here")[client] = phase;
        self.changed.notify_all();
    }

    /// A client's operation was answered.
    pub(crate) fn acknowledge(&self) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// A client is done for this round.
    pub(crate) fn leave(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// Waits until enough was acknowledged and somebody is in the phase, or a client gave up.
    fn await_moment(&self, operations: u64, phase: Phase) {
        let deadline = Instant::now() + Duration::from_secs(120);
        let mut phases = self.phase.lock().expect("no client panics here");
        loop {
            let ripe = self.acknowledged.load(Ordering::Relaxed) >= operations
                && (phase == Phase::Any || phases.contains(&phase));
            if ripe || self.ended.load(Ordering::Relaxed) {
                return;
            }
            assert!(Instant::now() < deadline, "the clients make no progress");
            // The time-out covers an acknowledgement between the check and the wait.
            phases = self
                .changed
                .wait_timeout(phases, Duration::from_millis(20))
                .expect("no client panics here")
                .0;
        }
    }
}

/// Runs the loop.
///
/// # Panics
/// When the server does not come back, or refuses what it must accept.
#[must_use]
pub fn run(plan: Plan) -> Report {
    run_on(plan, Options::default())
}

/// The same on servers with options.
///
/// # Panics
/// As `run`.
#[must_use]
pub fn run_on(plan: Plan, options: Options) -> Report {
    println!("kill loop: SEED={} KILLS={}", plan.seed, plan.kills);
    let mut dice = StdRng::seed_from_u64(plan.seed);
    let mut server = Server::start_with(options);
    for statement in ledger::SCHEMA {
        server.connect().run(statement).unwrap_or_else(|failure| panic!("{statement}: {failure}"));
    }
    let mut ledgers: Vec<Ledger> = (0..CLIENTS).map(Ledger::new).collect();
    let mut report = Report::default();
    for round in 0..plan.kills {
        let phase = PHASES[round as usize % PHASES.len()];
        let operations = dice.random_range(0..OPERATIONS_PER_ROUND);
        let delay = Duration::from_micros(dice.random_range(0..5_000));
        let seeds: Vec<u64> = (0..CLIENTS).map(|_| dice.random()).collect();
        let ends = one_round(&mut server, &mut ledgers, &seeds, (phase, operations, delay));
        report.kills += 1;
        for end in ends {
            match end {
                Phase::Any => {}
                Phase::Checkpoint => report.killed_in_checkpoint += 1,
                Phase::Vacuum => report.killed_in_vacuum += 1,
                Phase::Copy => report.killed_in_copy += 1,
                Phase::Transaction => report.killed_in_transaction += 1,
            }
        }
        server = server.restart().unwrap_or_else(|error| panic!("round {round}: {error}"));
        // Now and then the recovery itself is cut short: a second start right behind the first.
        if dice.random_ratio(1, 5) {
            server = server.restart().unwrap_or_else(|error| panic!("round {round}: {error}"));
        }
        let found = verify::verify(&mut server.connect(), &mut ledgers, &mut report);
        report.violations.extend(found.into_iter().map(|violation| format!("round {round}: {violation}")));
        if !report.violations.is_empty() {
            break;
        }
    }
    let sum = |count: fn(&Ledger) -> u64| ledgers.iter().map(count).sum();
    report.acknowledged = sum(|ledger| ledger.acknowledged);
    report.refused = sum(|ledger| ledger.refused);
    report.taken = sum(|ledger| ledger.taken);
    report.cascaded = sum(|ledger| ledger.cascaded);
    report
}

/// One round: clients work, the server dies; gives what each client was in the middle of.
fn one_round(
    server: &mut Server,
    ledgers: &mut [Ledger],
    seeds: &[u64],
    (phase, operations, delay): (Phase, u64, Duration),
) -> Vec<Phase> {
    let round = Round::new();
    let address = server.address().clone();
    std::thread::scope(|scope| {
        let workers: Vec<_> = ledgers
            .iter_mut()
            .zip(seeds)
            .map(|(ledger, &seed)| {
                let (round, address) = (&round, &address);
                scope.spawn(move || work(ledger, seed, round, address))
            })
            .collect();
        round.await_moment(operations, phase);
        let moment = Instant::now() + delay;
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        server.kill();
        workers.into_iter().map(|worker| worker.join().expect("a client must not panic")).collect()
    })
}

fn work(ledger: &mut Ledger, seed: u64, round: &Round, address: &Address) -> Phase {
    let Ok(connection) = Connection::open(address) else {
        round.leave();
        return Phase::Any;
    };
    let end = Client::new(ledger, connection, seed, round).run();
    round.leave();
    end
}
