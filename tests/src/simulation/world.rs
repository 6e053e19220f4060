//! What all actors of a run share: the back ends, the node that lives on them and dies, the ledger.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use cluster::clock::{SeededDice, SimClock};
use cluster::oracle::WindowOracle;
use cluster::rebuild::{self, Recovered, Target};
use cluster::{CommitRequest, DEFAULT_DATABASE, Node, NodeParts, PlantedBug, Settings};
use proto::catalog::{CatalogChange, CatalogSnapshot, TableMeta};
use proto::{DatabaseId, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Notify;

use super::backing::{Backing, Form, Opened};
use super::faults::{Faults, Life, Rates};
use super::ledger::Ledger;
use super::log::SimulatedLog;
use super::meta::SimulatedMeta;
use super::store::SimulatedStore;
use super::trace::Trace;
use crate::rows;

/// Turns within which the tasks of a dead process must be gone.
const TURNS_TO_DIE: usize = 10_000;

/// What has happened that is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) manifests: u64,
    pub(super) deleted_objects: u64,
    pub(super) flushes: u64,
    /// Manifests that name a segment instead of others.
    pub(super) merges: u64,
    /// Of them and purges with nothing to do, those that were asked for and answered.
    pub(super) asked_merges: u64,
    pub(super) indexes: u64,
    pub(super) collections: u64,
    pub(super) kills: u64,
    /// Tables dropped and made anew.
    pub(super) table_changes: u64,
    /// Transactions whose rows were in files before their commit.
    pub(super) staged: u64,
    pub(super) rebuilds: u64,
}

/// What has happened, and the first thing that must not happen.
#[derive(Debug, Default)]
pub(super) struct Deeds {
    counts: Mutex<Counts>,
    failure: Mutex<Option<String>>,
}

impl Deeds {
    /// Counts something.
    pub(super) fn count(&self, one: impl FnOnce(&mut Counts) -> &mut u64) {
        *one(&mut self.counts.lock().expect("no panic")) += 1;
    }

    pub(super) fn counts(&self) -> Counts {
        *self.counts.lock().expect("no panic")
    }

    /// Notes something that must not happen.
    pub(super) fn fail(&self, what: String) {
        self.failure.lock().expect("no panic").get_or_insert(what);
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().expect("no panic").clone()
    }
}

/// What of a run is drawn once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Of a hundred rows, how many go to the second table: it may be idle.
    pub(super) second_table: u32,
    /// Rows a table holds, roughly.
    pub(super) rows: usize,
    pub(super) writers: u64,
    pub(super) pause_millis: u64,
    /// Values of the second unique key that writers want.
    pub(super) codes: u32,
}

impl Plan {
    /// One of the tables.
    pub(super) fn table(&self, dice: &mut StdRng) -> usize {
        usize::from(dice.random_range(0..100) < self.second_table)
    }
}

/// See the file header.
pub(super) struct World {
    pub(super) clock: Arc<SimClock>,
    pub(super) trace: Arc<Trace>,
    pub(super) faults: Arc<Faults>,
    pub(super) deeds: Arc<Deeds>,
    pub(super) plan: Plan,
    pub(super) settings: Settings,
    backing: Backing,
    dice: Arc<SeededDice>,
    life: Mutex<Arc<Life>>,
    node: Mutex<Option<Arc<Node>>>,
    /// The node is another one, or the run has ended.
    turned: Notify,
    ledger: Mutex<Ledger>,
    /// The instant of a rebuild that the ledger does not know of yet.
    rebuilt: Mutex<Option<Timestamp>>,
    has_ended: AtomicBool,
    pub(super) database: DatabaseId,
}

pub(super) fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn settings(dice: &mut StdRng, bug: Option<PlantedBug>) -> Settings {
    Settings {
        segment_bytes: 1 << dice.random_range(9..22),
        log_bytes: 1 << dice.random_range(11..28),
        inline_bytes: 1 << dice.random_range(8..18),
        payload_bytes: 1 << dice.random_range(8..14),
        inbox: [2, 16, 1024][dice.random_range(0..3)],
        turn: [1, 2, 8, 256][dice.random_range(0..4)],
        retention_millis: [0, 40, 1_000, 8_000][dice.random_range(0..4)],
        collection_grace_millis: [0, 30, 2_000][dice.random_range(0..3)],
        compacts: dice.random_ratio(2, 3),
        compaction_segments: dice.random_range(2..9),
        compaction_dead_fraction: [0.02, 0.2, 0.9][dice.random_range(0..3)],
        index_threads: 1,
        planted_bug: bug,
        ..Settings::default()
    }
}

impl World {
    /// Empty back ends with the two tables.
    pub(super) async fn new(
        seed: u64,
        form: Form,
        bug: Option<PlantedBug>,
        clock: Arc<SimClock>,
    ) -> Result<Arc<Self>, String> {
        let mut dice = StdRng::seed_from_u64(seed);
        let trace = Arc::new(Trace::new(Arc::clone(&clock)));
        let mut rates = Rates::draw(&mut dice);
        if form == Form::Disk {
            // A disk does what it says, until the power fails.
            rates = Rates { refused: 0, unknown: 0, reads: 0, ..rates };
        }
        let settings = settings(&mut dice, bug);
        let plan = Plan {
            second_table: [50, 10, 2, 0][dice.random_range(0..4)],
            rows: [12, 40, 100][dice.random_range(0..3)],
            writers: dice.random_range(2..6),
            pause_millis: [20, 60, 200][dice.random_range(0..3)],
            codes: [60, 200, 1_000][dice.random_range(0..3)],
        };
        trace.add("run", format!("seed {seed}, {rates:?}, {plan:?}, {settings:?}"));
        let faults = Arc::new(Faults::new(rates, dice.random(), Arc::clone(&trace)));
        faults.switch(false);
        let mut world = Self {
            backing: Backing::new(form, seed, &clock),
            dice: Arc::new(SeededDice::new(seed)),
            life: Mutex::default(),
            node: Mutex::default(),
            turned: Notify::new(),
            ledger: Mutex::default(),
            rebuilt: Mutex::default(),
            has_ended: AtomicBool::new(false),
            deeds: Arc::default(),
            database: DatabaseId(0),
            clock,
            trace,
            faults,
            plan,
            settings,
        };
        world.start().await?;
        world.create_tables().await?;
        Ok(Arc::new(world))
    }

    async fn create_tables(&mut self) -> Result<(), String> {
        let node = self.node().ok_or("the node is not there")?;
        let catalog = node.catalog();
        let database = catalog.database(DEFAULT_DATABASE).ok_or("no default database")?;
        self.database = database.id;
        self.make_missing_tables(&node).await.map_err(words)
    }

    /// The two tables in a catalog; none unless both are there.
    pub(super) fn tables(&self, catalog: &CatalogSnapshot) -> Option<[Arc<TableMeta>; 2]> {
        let named = |name: &str| catalog.tables.values().find(|table| table.name == name).cloned();
        Some([named(rows::NAMES[0])?, named(rows::NAMES[1])?])
    }

    /// Makes the tables that are not there.
    pub(super) async fn make_missing_tables(&self, node: &Node) -> cluster::Result<()> {
        let catalog = node.catalog();
        let Some(database) = catalog.databases.get(&self.database) else {
            return Err(cluster::Error::Stopped);
        };
        let there = |name: &str| catalog.tables.values().find(|table| table.name == name);
        let first = node.allocate_oids(2 * rows::OIDS).await?;
        let mut made = rows::table_metas(database.id, database.home_channel, first).map(Arc::new).to_vec();
        if let Some(numbers) = there(rows::NAMES[0]) {
            let parts = rows::table_meta(1, database.id, database.home_channel, first, Some(numbers));
            made = vec![Arc::new(parts)];
        }
        self.change_catalog(node, made.into_iter().map(CatalogChange::PutTable).collect()).await
    }

    pub(super) async fn change_catalog(
        &self,
        node: &Node,
        catalog: Vec<CatalogChange>,
    ) -> cluster::Result<()> {
        let mut request = self.request(node, node.barrier(self.database).await?.read_ts);
        request.catalog = catalog;
        node.commit(request).await.map(drop)
    }

    /// A request that has nothing in it yet.
    pub(super) fn request(&self, node: &Node, read_ts: Timestamp) -> CommitRequest {
        CommitRequest::new(self.database, node.draw_txn(), read_ts)
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no panic")
    }

    /// The first violation ends the run.
    pub(super) fn judge(&self, who: &str, verdict: Result<(), String>) {
        if let Err(what) = verdict {
            self.trace.add(who, format!("VIOLATION: {what}"));
            self.deeds.fail(format!("{who}: {what}"));
            self.end();
        }
    }

    /// The node that lives now.
    pub(super) fn node(&self) -> Option<Arc<Node>> {
        self.node.lock().expect("no panic").clone()
    }

    fn put_node(&self, node: Option<Arc<Node>>) {
        let before = std::mem::replace(&mut *self.node.lock().expect("no panic"), node);
        drop(before);
        // Not a `watch`: that wakes whoever waits in an order of its own.
        self.turned.notify_waiters();
    }

    /// The run ends.
    pub(super) fn end(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
        self.turned.notify_waiters();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::SeqCst)
    }

    /// Waits for the end of the run.
    pub(super) async fn ended(&self) {
        loop {
            let turned = self.turned.notified();
            if self.has_ended() {
                return;
            }
            turned.await;
        }
    }

    /// Does something with the node that lives, or lives next. `None` when it died meanwhile, or the run has ended.
    pub(super) async fn with_node<T, F: Future<Output = T>>(
        &self,
        act: impl FnOnce(Arc<Node>) -> F,
    ) -> Option<T> {
        let node = loop {
            let turned = self.turned.notified();
            if self.has_ended() {
                return None;
            }
            if let Some(node) = self.node() {
                break node;
            }
            turned.await;
        };
        let generation = Arc::downgrade(&node);
        let died = async {
            loop {
                let turned = self.turned.notified();
                if !self.node().is_some_and(|now| Weak::ptr_eq(&Arc::downgrade(&now), &generation)) {
                    return;
                }
                turned.await;
            }
        };
        tokio::select! {
            biased;
            () = died => None,
            outcome = act(node) => Some(outcome),
        }
    }

    /// Starts a process on what the last one has left.
    pub(super) async fn start(&self) -> Result<(), String> {
        let life = Arc::new(Life::default());
        *self.life.lock().expect("no panic") = Arc::clone(&life);
        let node = Node::start(self.parts(&life).await?).await.map_err(words)?;
        self.roll_back(&node);
        self.put_node(Some(node));
        Ok(())
    }

    /// Loses log and meta store and makes them anew from the objects; the ledger goes back to the instant that is reached.
    pub(super) async fn rebuild(&self) -> Result<(), String> {
        self.backing.lose();
        let life = Arc::new(Life::of_rebuild());
        *self.life.lock().expect("no panic") = Arc::clone(&life);
        let NodeParts { meta, log, store, clock, dice, .. } = self.parts(&life).await?;
        let target = Target { meta: Arc::clone(&meta), log, store, clock, dice };
        let report = rebuild::rebuild(&target, &|_, _| ()).await.map_err(words)?;
        let found = report.databases.iter().find(|database| database.name == DEFAULT_DATABASE);
        let Recovered { as_of, .. } = found.ok_or("the database did not come back")?;
        self.trace.add("killer", format!("rebuilt: {report:?}"));
        self.rebuilt.lock().expect("no panic").replace(*as_of);
        self.deeds.count(|counts| &mut counts.rebuilds);
        Ok(())
    }

    /// The first look at a node after a rebuild says which tables did not come back.
    fn roll_back(&self, node: &Node) {
        let Some(as_of) = self.rebuilt.lock().expect("no panic").take() else { return };
        let catalog = node.catalog();
        let is_missing =
            |table: &usize| !catalog.tables.values().any(|there| there.name == rows::NAMES[*table]);
        let missing: Vec<usize> = (0..2).filter(is_missing).collect();
        let rolled = self.ledger().roll_back(as_of, &missing);
        self.judge("rebuild", rolled);
    }

    async fn parts(&self, life: &Arc<Life>) -> Result<NodeParts, String> {
        let Opened { log, meta, bucket } = self.backing.open().await?;
        let meta = Arc::new(SimulatedMeta {
            inner: meta,
            faults: Arc::clone(&self.faults),
            life: Arc::clone(life),
            deeds: Arc::clone(&self.deeds),
        });
        let log = Arc::new(SimulatedLog {
            inner: log,
            faults: Arc::clone(&self.faults),
            life: Arc::clone(life),
            unsettled: Mutex::default(),
        });
        let store = Arc::new(SimulatedStore {
            bucket,
            faults: Arc::clone(&self.faults),
            life: Arc::clone(life),
            deeds: Arc::clone(&self.deeds),
        });
        let oracle =
            WindowOracle::open(Arc::<SimulatedMeta>::clone(&meta), Arc::<SimClock>::clone(&self.clock));
        Ok(NodeParts {
            oracle: Arc::new(oracle.await.map_err(words)?),
            meta,
            log,
            store,
            clock: Arc::<SimClock>::clone(&self.clock),
            dice: Arc::<SeededDice>::clone(&self.dice),
            lease: cluster::lease::Lease::of_directory(),
            settings: self.settings.clone(),
        })
    }

    /// Kills the process: nothing it has begun goes on, and what the log had not made durable is gone.
    pub(super) async fn kill(&self) -> Result<(), String> {
        let life: Weak<Life> = {
            let mut life = self.life.lock().expect("no panic");
            life.end();
            Arc::downgrade(&std::mem::take(&mut *life))
        };
        self.backing.power_off();
        self.put_node(None);
        let mut turns = 0;
        while life.strong_count() > 0 {
            turns += 1;
            if turns > TURNS_TO_DIE {
                return Err("a task of the node outlives it".to_owned());
            }
            tokio::task::yield_now().await;
        }
        self.backing.lose_unsynced();
        Ok(())
    }

    /// The power fails within the next operations of the disk, where there is one.
    pub(super) fn light_disk(&self) {
        self.backing.light();
    }

    /// What a look at everything that is stored needs.
    pub(super) async fn stores(&self) -> Result<cluster::verify::Stores, String> {
        let Opened { log, meta, bucket } = self.backing.open().await?;
        let store = Arc::new(SimulatedStore {
            bucket,
            faults: Arc::clone(&self.faults),
            life: Arc::default(),
            deeds: Arc::clone(&self.deeds),
        });
        Ok(cluster::verify::Stores { meta, log, store })
    }
}
