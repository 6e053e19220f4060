//! Real data for tests and benches: passages with embeddings and queries with their true neighbours, from the
//! folder that `DATA` names, or generated ones of the same shape when it is not set.
//!
//! Ground truth of generated data is computed here by brute force, the recorded one is read.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Int32Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub mod binary_copy;
pub mod vectors;

/// Dimensions of the passages' embeddings.
pub const DIMENSIONS: usize = 384;
/// What a returned row may be farther than the true neighbour it stands for: rounding, not recall.
pub const TOLERANCE: f64 = 1e-5;

/// Paragraphs with embeddings of unit length.
#[derive(Debug, Default)]
pub struct Passages {
    pub ids: Vec<i64>,
    pub sources: Vec<String>,
    pub paths: Vec<String>,
    pub words: Vec<i32>,
    pub texts: Vec<String>,
    /// `DIMENSIONS` values per row.
    pub embeddings: Vec<f32>,
}

/// The filters with recorded answers: a name and the SQL of the condition.
pub const FILTERS: [(&str, &str); 4] = [
    ("neighbors_source_cockroachdb", "source = 'cockroachdb'"),
    ("neighbors_source_rustsec", "source = 'rustsec'"),
    ("neighbors_source_asyncpg", "source = 'asyncpg'"),
    ("neighbors_words_lt_15", "words < 15"),
];

/// Questions and their true neighbours.
#[derive(Debug, Default)]
pub struct Queries {
    /// `DIMENSIONS` values per query.
    pub embeddings: Vec<f32>,
    /// The 100 nearest ids of each query.
    pub neighbors: Vec<Vec<i64>>,
    /// The 10 nearest ids of each query under each of `FILTERS`.
    pub filtered: Vec<Vec<Vec<i64>>>,
}

impl Passages {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The embedding of a row.
    #[must_use]
    pub fn embedding(&self, row: usize) -> &[f32] {
        &self.embeddings[row * DIMENSIONS..(row + 1) * DIMENSIONS]
    }

    /// The row of an id; ids count from 1 without gaps.
    ///
    /// # Panics
    /// When there is no such id.
    #[must_use]
    pub fn row_of(&self, id: i64) -> usize {
        let row = (id - 1) as usize;
        assert_eq!(self.ids[row], id, "ids count from 1");
        row
    }

    /// Whether a row satisfies one of `FILTERS`.
    #[must_use]
    pub fn satisfies(&self, row: usize, filter: usize) -> bool {
        match filter {
            0 => self.sources[row] == "cockroachdb",
            1 => self.sources[row] == "rustsec",
            2 => self.sources[row] == "asyncpg",
            _ => self.words[row] < 15,
        }
    }

    /// Cosine distance of a row to a query.
    #[must_use]
    pub fn distance(&self, row: usize, query: &[f32]) -> f64 {
        let (mut dot, mut own, mut other) = (0.0, 0.0, 0.0);
        for (a, b) in self.embedding(row).iter().zip(query) {
            let (a, b) = (f64::from(*a), f64::from(*b));
            dot += a * b;
            own += a * a;
            other += b * b;
        }
        1.0 - dot / (own * other).sqrt()
    }
}

impl Queries {
    /// Number of queries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.neighbors.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.neighbors.is_empty()
    }

    /// The embedding of a query.
    #[must_use]
    pub fn embedding(&self, query: usize) -> &[f32] {
        &self.embeddings[query * DIMENSIONS..(query + 1) * DIMENSIONS]
    }
}

/// The folder of `DATA`, when it is set.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    std::env::var_os("DATA").filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The recorded passages and queries, or generated ones of the given size when `DATA` is not set.
///
/// # Panics
/// When a file is missing or not of the described layout.
#[must_use]
pub fn load(generated_rows: usize, generated_queries: usize) -> (Passages, Queries) {
    match folder() {
        Some(folder) => (read_passages(&folder), read_queries(&folder)),
        None => {
            println!("DATA is not set: {generated_rows} generated passages stand in for the recorded ones");
            let passages = generate(generated_rows, 7);
            let queries = questions(&passages, generated_queries, 11);
            (passages, queries)
        }
    }
}

fn batches(path: &Path) -> Vec<RecordBatch> {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(|builder| builder.with_batch_size(8192).build());
    let reader = reader.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    reader.map(|batch| batch.unwrap_or_else(|error| panic!("{}: {error}", path.display()))).collect()
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a dyn Array {
    batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}")).as_ref()
}

fn texts(batch: &RecordBatch, name: &str) -> Vec<String> {
    column(batch, name).as_string::<i32>().iter().map(|text| text.unwrap_or_default().to_owned()).collect()
}

fn floats(batch: &RecordBatch, name: &str) -> Vec<f32> {
    let lists = column(batch, name).as_fixed_size_list();
    lists.values().as_primitive::<Float32Type>().values().to_vec()
}

fn id_lists(batch: &RecordBatch, name: &str) -> Vec<Vec<i64>> {
    let lists = column(batch, name).as_fixed_size_list();
    let size = lists.value_length() as usize;
    let values = lists.values().as_primitive::<Int32Type>().values();
    values.chunks_exact(size).map(|list| list.iter().map(|id| i64::from(*id)).collect()).collect()
}

fn read_passages(folder: &Path) -> Passages {
    let mut passages = Passages::default();
    for batch in batches(&folder.join("passages.parquet")) {
        passages.ids.extend_from_slice(column(&batch, "id").as_primitive::<Int64Type>().values());
        passages.sources.extend(texts(&batch, "source"));
        passages.paths.extend(texts(&batch, "path"));
        passages.words.extend_from_slice(column(&batch, "words").as_primitive::<Int32Type>().values());
        passages.texts.extend(texts(&batch, "text"));
        passages.embeddings.extend(floats(&batch, "embedding"));
    }
    assert_eq!(passages.embeddings.len(), passages.len() * DIMENSIONS);
    passages
}

fn read_queries(folder: &Path) -> Queries {
    let mut queries = Queries::default();
    for batch in batches(&folder.join("queries.parquet")) {
        queries.embeddings.extend(floats(&batch, "embedding"));
        queries.neighbors.extend(id_lists(&batch, "neighbors"));
        let lists: Vec<Vec<Vec<i64>>> = FILTERS.iter().map(|(name, _)| id_lists(&batch, name)).collect();
        for query in 0..batch.num_rows() {
            queries.filtered.push(lists.iter().map(|list| list[query].clone()).collect());
        }
    }
    queries
}

/// Passages made of dice: unit vectors around a few centres, sources with very different shares.
#[must_use]
pub fn generate(rows: usize, seed: u64) -> Passages {
    let mut dice = StdRng::seed_from_u64(seed);
    let centres: Vec<Vec<f32>> = (0..32).map(|_| random_vector(&mut dice)).collect();
    let mut passages = Passages::default();
    for row in 0..rows {
        let centre = &centres[dice.random_range(0..centres.len())];
        let own = random_vector(&mut dice);
        passages.ids.push(row as i64 + 1);
        let source = match row % 1_000 {
            0 => "asyncpg",
            1..36 => "rustsec",
            36..342 => "cockroachdb",
            _ => "tokio",
        };
        passages.sources.push(source.to_owned());
        passages.paths.push(format!("docs/{}.md", row % 97));
        passages.words.push(dice.random_range(5..80));
        passages.texts.push(format!("generated paragraph {row}, with a \"quote\", a tab\tand a line\nend"));
        passages.embeddings.extend(unit(centre.iter().zip(&own).map(|(a, b)| a + 0.6 * b).collect()));
    }
    passages
}

fn questions(passages: &Passages, count: usize, seed: u64) -> Queries {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut queries = Queries::default();
    for _ in 0..count {
        let near = passages.embedding(dice.random_range(0..passages.len())).to_vec();
        let own = random_vector(&mut dice);
        let query = unit(near.iter().zip(&own).map(|(a, b)| a + 0.4 * b).collect());
        let mut all: Vec<(f64, usize)> =
            (0..passages.len()).map(|row| (passages.distance(row, &query), row)).collect();
        all.sort_by(|left, right| left.0.total_cmp(&right.0));
        let ids = |rows: Vec<usize>| rows.into_iter().map(|row| passages.ids[row]).collect::<Vec<_>>();
        queries.neighbors.push(ids(all.iter().take(100).map(|(_, row)| *row).collect()));
        let filtered = (0..FILTERS.len()).map(|filter| {
            let rows = all.iter().map(|(_, row)| *row).filter(|row| passages.satisfies(*row, filter));
            ids(rows.take(10).collect())
        });
        queries.filtered.push(filtered.collect());
        queries.embeddings.extend(query);
    }
    queries
}

fn random_vector(dice: &mut StdRng) -> Vec<f32> {
    unit((0..DIMENSIONS).map(|_| dice.random_range(-1.0..1.0)).collect())
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|value| *value /= norm);
    vector
}
