//! Single changed bits in the files of a data directory: each is found by `cluster::verify`, or everything that is read is what
//! it was before; and what is read is never anything else, found or not.
//!
//! A flip is a copy of the directory with one bit changed. Kind of file and file are drawn evenly; a third of the bits come
//! from anywhere in it, a third from bytes that are not zero, a third from the first page, where headers are. The copy
//! is verified, laid out again, and then a node is started on it and every row, key and index of every table is read, in
//! this process, so that a thousand take minutes.
//!
//! What it is not: a look through the protocol. A flip in the last append of a log cannot be told from an append that a
//! power failure tore, so the table `last`, whose only row it is, is not asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cluster::clock::{SystemClock, SystemDice};
use cluster::lease::Lease;
use cluster::log::FileLog;
use cluster::meta::RedbMeta;
use cluster::oracle::WindowOracle;
use cluster::verify::{Stores, verify};
use cluster::{DEFAULT_DATABASE, Node, NodeParts, Settings};
use proto::catalog::TableMeta;
use proto::time::Clock;
use proto::{Classify as _, ErrorKind};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use segments::index::SearchParams;
use segments::search::search;
use segments::{IndexUse, LocalStore, ScanColumn, SnapshotSource as _, SystemDoor, TableSnapshot};

/// The table that is not asked for.
const LAST: &str = "last";
/// Bytes in which headers are.
const FIRST_PAGE: usize = 4096;
/// More than there are rows: a search through an index looks at all of them.
const EVERYTHING: usize = 100_000;
const QUERY: [f32; 8] = [1.0, 2.0, 3.0, 1.0, 1.0, 2.0, 3.0, 500.0];

/// What became of the flips in one kind of file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub files: usize,
    pub flips: u64,
    /// Found by verification.
    pub found: u64,
    /// Of those, the ones that a node refused to read, at its start or later; the others did no harm.
    pub refused: u64,
    /// Not found, and without harm.
    pub harmless: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, flips, found, refused, harmless } = self;
        write!(
            formatter,
            "{flips} in {files} files: {found} found ({refused} refused when read), {harmless} without harm"
        )
    }
}

/// A directory as it was, and a place to hurt copies of it.
struct Bench {
    files: BTreeMap<PathBuf, Vec<u8>>,
    home: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

/// Changes bits in copies of a data directory, one at a time, and tallies by kind of file.
///
/// # Panics
/// When a changed bit is not found and changes what is read, or a node reads something else than before.
#[must_use]
pub fn run(data: &Path, seed: u64, flips: u64) -> BTreeMap<&'static str, Tally> {
    let bench = Bench::new(data);
    let expected = bench.read().unwrap_or_else(|error| panic!("the whole directory: {error}"));
    let mut kinds: BTreeMap<&'static str, Vec<&PathBuf>> = BTreeMap::new();
    for (name, bytes) in bench.files.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        kinds.entry(kind_of(name, bytes)).or_default().push(name);
    }
    let mut tallies: BTreeMap<&'static str, Tally> =
        kinds.iter().map(|(kind, files)| (*kind, Tally { files: files.len(), ..Tally::default() })).collect();
    let names: Vec<&'static str> = kinds.keys().copied().collect();
    let mut random = StdRng::seed_from_u64(seed);
    for flip in 0..flips {
        let kind = names[random.random_range(0..names.len())];
        let files = &kinds[kind];
        let name = files[random.random_range(0..files.len())];
        let bit = draw_bit(&bench.files[name], &mut random);
        let what = || format!("SEED={seed} flip {flip}: {} bit {bit}", name.display());
        let tally = tallies.get_mut(kind).expect("every kind has a tally");
        tally.flips += 1;
        let found =
            bench.with_flip(name, bit, Bench::verify).unwrap_or_else(|error| panic!("{}: {error}", what()));
        let read = bench.with_flip(name, bit, Bench::read);
        match (&read, found) {
            (Ok(read), _) => assert_eq!(*read, expected, "{} changes what is read", what()),
            (Err(error), false) => panic!("{} is not found and cannot be read: {error}", what()),
            (Err(_), true) => tally.refused += 1,
        }
        if found { tally.found += 1 } else { tally.harmless += 1 }
    }
    tallies
}

/// A bit of a file, drawn as the file header says.
fn draw_bit(bytes: &[u8], random: &mut StdRng) -> usize {
    let byte = match random.random_range(0..3) {
        0 => random.random_range(0..bytes.len()),
        1 => {
            let start = random.random_range(0..bytes.len());
            let used = |at: &usize| bytes[*at] != 0;
            (start..bytes.len()).chain(0..start).find(used).unwrap_or(start)
        }
        _ => random.random_range(0..bytes.len().min(FIRST_PAGE)),
    };
    byte * 8 + random.random_range(0..8)
}

/// What a file is, by its envelope or its name.
fn kind_of(name: &Path, bytes: &[u8]) -> &'static str {
    let name = name.to_string_lossy();
    let enclosed = bytes.starts_with(b"ELANUS\x1a\n").then(|| bytes[8]);
    match enclosed {
        Some(1) => "vectors",
        Some(2) if name.contains("-unique") => "unique keys",
        Some(2) => "primary keys",
        Some(3) => "deletes",
        Some(4) => "manifests",
        Some(5) => "graphs",
        Some(6) => "lists",
        Some(7) => "catalog objects",
        Some(other) => panic!("{name} is of unknown kind {other}"),
        None if name.ends_with("-scalars") => "scalars",
        None if name.starts_with("log/") => "log",
        None if name == "meta.redb" => "meta store",
        None => panic!("{name} is nothing that is known"),
    }
}

impl Bench {
    fn new(data: &Path) -> Self {
        let mut files = BTreeMap::new();
        collect(data, data, &mut files);
        // Memory, where there is such a folder: nothing here needs to outlive the power.
        let memory = Path::new("/dev/shm");
        let home = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_stack_size(8 << 20)
            .enable_all()
            .build();
        let bench = Self { files, home: home.expect("a folder"), runtime: runtime.expect("a runtime") };
        bench.lay_out(None);
        bench
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// The directory as it was, but for one bit.
    fn lay_out(&self, flip: Option<(&Path, usize)>) {
        let data = self.data();
        if data.exists() {
            std::fs::remove_dir_all(&data).expect("the copy is ours");
        }
        for (name, bytes) in &self.files {
            let path = data.join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            match flip {
                Some((hurt, bit)) if hurt == name => {
                    let mut bytes = bytes.clone();
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    std::fs::write(path, bytes).expect("a file");
                }
                _ => std::fs::write(path, bytes).expect("a file"),
            }
        }
    }

    fn with_flip<T>(&self, name: &Path, bit: usize, look: impl FnOnce(&Self) -> T) -> T {
        self.lay_out(Some((name, bit)));
        look(self)
    }

    async fn open(&self) -> Result<(Stores, Arc<dyn Clock>), cluster::Error> {
        let (data, clock): (_, Arc<dyn Clock>) = (self.data(), Arc::new(SystemClock::new()));
        let meta = RedbMeta::open(Arc::new(SystemDoor), data.join("meta.redb"), Arc::clone(&clock)).await?;
        let log = FileLog::new(Arc::new(SystemDoor), data.join("log"));
        let store = LocalStore::open(Arc::new(SystemDoor), data.join("objects"))?;
        Ok((Stores { meta: Arc::new(meta), log, store: Arc::new(store) }, clock))
    }

    /// Whether `elanus verify` would find the damage; an error when it would fail without saying what is damaged.
    fn verify(&self) -> Result<bool, String> {
        let verified = self.runtime.block_on(async {
            let (stores, _) = self.open().await?;
            verify(&stores, &|_, _| {}).await
        });
        match verified {
            Ok(report) => Ok(!report.damage.is_empty()),
            Err(error) => told(&error).map(|()| true),
        }
    }

    /// What a node shows of all tables; an error when it says that something is damaged.
    fn read(&self) -> Result<Vec<String>, String> {
        let read = self.runtime.block_on(async {
            let (Stores { meta, log, store }, clock) = self.open().await?;
            let oracle = Arc::new(WindowOracle::open(Arc::clone(&meta), Arc::clone(&clock)).await?);
            let settings = Settings {
                compacts: false,
                retention_millis: u64::MAX / 2,
                index_threads: 1,
                ..Settings::default()
            };
            let (dice, lease) = (Arc::new(SystemDice), Lease::of_directory());
            let node =
                Node::start(NodeParts { meta, log, store, oracle, clock, dice, lease, settings }).await?;
            let read = answers(&node).await;
            node.stop().await?;
            read
        });
        read.map_err(|error: cluster::Error| {
            told(&error).unwrap_or_else(|unclear| panic!("{unclear}"));
            error.to_string()
        })
    }
}

/// Whether an error says that something is damaged.
fn told(error: &cluster::Error) -> Result<(), String> {
    match error.kind() {
        ErrorKind::DataCorrupted | ErrorKind::FeatureNotSupported => Ok(()),
        kind => Err(format!("not told as damage but as {kind:?}: {error}")),
    }
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path.strip_prefix(root).expect("below the folder").to_owned();
            files.insert(name, std::fs::read(&path).expect("a file"));
        }
    }
}

/// What every table shows, by scan, by each of its keys, and by each of its indexes.
async fn answers(node: &Arc<Node>) -> Result<Vec<String>, cluster::Error> {
    let catalog = node.catalog();
    let database = catalog.database(DEFAULT_DATABASE).expect("the database of every server").id;
    let point = node.barrier(database).await?;
    let mut told = vec![format!("{catalog:?}")];
    for table in catalog.tables.values().filter(|table| table.name != LAST) {
        let snapshot = node.snapshot(table.id, point).await?;
        told.push(format!("{}: {} rows", table.name, snapshot.visible_rows()));
        told.extend(rows(table, &snapshot)?);
        told.extend(nearest(table, &snapshot)?);
    }
    Ok(told)
}

/// Of each segment all visible rows, and where each key finds them.
fn rows(table: &TableMeta, snapshot: &TableSnapshot) -> Result<Vec<String>, segments::Error> {
    let columns = (0..table.columns.len()).map(ScanColumn::Column);
    let columns: Vec<ScanColumn> = columns.chain([ScanColumn::Ts, ScanColumn::Row]).collect();
    let mut told = Vec::new();
    for view in &snapshot.segments {
        let visible: Vec<u32> = view.visible().set_indices().map(|ordinal| ordinal as u32).collect();
        let batch = view.read_rows(&columns, &visible)?;
        told.push(format!("segment {}: {}", view.id(), hash(&proto::record::encode_batch(&batch)?)));
        for key in table.keys() {
            let values =
                proto::key::encode_unique_keys(&batch, &table.positions(key.columns), key.nulls_distinct)?;
            let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
            told.push(format!("{}: {}", key.name, hash(&snapshot.find(key, &values)?)));
        }
    }
    Ok(told)
}

/// The nearest rows by each index.
fn nearest(table: &TableMeta, snapshot: &TableSnapshot) -> Result<Vec<String>, segments::Error> {
    let params = SearchParams { ef_search: EVERYTHING, probes: EVERYTHING, ..SearchParams::default() };
    let mut told = Vec::new();
    for index in &table.indexes {
        let column = table.columns.iter().position(|column| column.id == index.column).expect("its column");
        let allowed = IndexUse { oid: index.oid, params: params.clone(), forced: true };
        let mut hits = Vec::new();
        for view in &snapshot.segments {
            let found = search(view, column, index.metric, &QUERY, 20, view.visible(), Some(&allowed))?;
            hits.extend(found.hits.into_iter().map(|hit| (hit.row, hit.distance.map(f64::to_bits))));
        }
        told.push(format!("{}: {hits:?}", index.name));
    }
    Ok(told)
}

fn hash(value: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
