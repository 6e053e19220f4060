//! Sets of vectors to search: rows, queries, and for every condition the true ten nearest of each query.
//!
//! Three sets have one shape here: the passages under cosine distance, and the pictures (mnist) and descriptors
//! (sift) of `DATA` under L2. What the files do not record (nearest pictures of one label) is computed.

use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int16Type, Int64Type, UInt8Type};

use super::binary_copy::{CREATE_PASSAGES, labelled_binary, passages_binary};
use super::{DIMENSIONS, FILTERS, Passages, Queries, batches, column, id_lists};

/// Rows asked for.
pub const NEAREST: usize = 10;
/// The label that stands for all of them.
const LABEL: i16 = 3;
/// Queries of a set that are asked.
const MOST_QUERIES: usize = 1_000;

/// Rows that qualify, and the true nearest of each query among them.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    /// SQL of the condition; empty for all rows.
    pub condition: String,
    /// Per query the distance of the tenth nearest and the number of rows that must come.
    pub truth: Vec<(f64, usize)>,
}

/// How near two vectors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nearness {
    Cosine,
    L2,
}

/// A set.
#[derive(Debug)]
pub struct VectorSet {
    pub name: &'static str,
    pub create: String,
    /// COPY BINARY into the table.
    pub rows_binary: Vec<u8>,
    pub dimensions: usize,
    pub nearness: Nearness,
    /// The vector of id n is at n - 1.
    pub vectors: Vec<f32>,
    pub queries: Vec<f32>,
    pub cases: Vec<Case>,
    /// Whether rows hold nothing of size beside their vector: memory is then compared with vectors and graph alone.
    pub only_vectors: bool,
}

impl Nearness {
    /// The operator.
    #[must_use]
    pub const fn operator(self) -> &'static str {
        match self {
            Self::Cosine => "<=>",
            Self::L2 => "<->",
        }
    }

    /// The operator class of an index.
    #[must_use]
    pub const fn operator_class(self) -> &'static str {
        match self {
            Self::Cosine => "vector_cosine_ops",
            Self::L2 => "vector_l2_ops",
        }
    }

    /// The distance of two vectors.
    #[must_use]
    pub fn distance(self, left: &[f32], right: &[f32]) -> f64 {
        let pairs = || left.iter().zip(right).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        match self {
            Self::L2 => pairs().map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt(),
            Self::Cosine => {
                let (mut dot, mut own, mut other) = (0.0, 0.0, 0.0);
                for (a, b) in pairs() {
                    dot += a * b;
                    own += a * a;
                    other += b * b;
                }
                1.0 - dot / (own * other).sqrt()
            }
        }
    }
}

impl VectorSet {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vectors.len() / self.dimensions
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vectors.is_empty()
    }

    /// Number of queries.
    #[must_use]
    pub fn query_count(&self) -> usize {
        self.queries.len() / self.dimensions
    }

    /// A query's vector.
    #[must_use]
    pub fn query(&self, number: usize) -> &[f32] {
        &self.queries[number * self.dimensions..(number + 1) * self.dimensions]
    }

    /// The vector of an id.
    fn vector(&self, id: i64) -> Option<&[f32]> {
        let row = usize::try_from(id - 1).ok()?;
        self.vectors.get(row * self.dimensions..(row + 1) * self.dimensions)
    }

    /// How many of the rows found for a query are as near as the true ones.
    #[must_use]
    pub fn right(&self, query: usize, case: &Case, found: &[i64]) -> usize {
        let limit = case.truth[query].0 + super::TOLERANCE;
        let near = |id: &&i64| {
            self.vector(**id).is_some_and(|row| self.nearness.distance(row, self.query(query)) <= limit)
        };
        found.iter().filter(near).count()
    }

    fn case(&self, name: &str, condition: &str, neighbors: &[Vec<i64>]) -> Case {
        let of_query = |(query, ids): (usize, &Vec<i64>)| {
            let nearest = &ids[..ids.len().min(NEAREST)];
            let farthest = nearest.iter().rev().find_map(|id| self.vector(*id));
            (farthest.map_or(0.0, |row| self.nearness.distance(row, self.query(query))), nearest.len())
        };
        Case {
            name: name.to_owned(),
            condition: condition.to_owned(),
            truth: neighbors.iter().enumerate().take(self.query_count()).map(of_query).collect(),
        }
    }
}

/// The passages as a set.
#[must_use]
pub fn of_passages(passages: &Passages, queries: &Queries) -> VectorSet {
    let count = queries.len().min(MOST_QUERIES);
    let mut set = VectorSet {
        name: "passages",
        only_vectors: false,
        create: CREATE_PASSAGES.to_owned(),
        rows_binary: passages_binary(passages),
        dimensions: DIMENSIONS,
        nearness: Nearness::Cosine,
        vectors: passages.embeddings.clone(),
        queries: queries.embeddings[..count * DIMENSIONS].to_vec(),
        cases: Vec::new(),
    };
    let mut cases = vec![set.case("all", "", &queries.neighbors)];
    for (number, (_, condition)) in FILTERS.iter().enumerate() {
        let neighbors: Vec<Vec<i64>> = queries.filtered.iter().map(|lists| lists[number].clone()).collect();
        cases.push(set.case(condition, condition, &neighbors));
    }
    set.cases = cases;
    set
}

fn bytes_as_floats(batch: &RecordBatch) -> (usize, Vec<f32>) {
    let lists = column(batch, "embedding").as_fixed_size_list();
    let values = lists.values().as_primitive::<UInt8Type>().values();
    (lists.value_length() as usize, values.iter().map(|value| f32::from(*value)).collect())
}

/// A set of `DATA` whose files are `name.parquet` and `name_queries.parquet`; none when they are not there.
///
/// # Panics
/// When a file is not of the described layout.
#[must_use]
pub fn of_file(folder: &Path, name: &'static str) -> Option<VectorSet> {
    let path = folder.join(format!("{name}.parquet"));
    if !path.is_file() {
        return None;
    }
    let (mut vectors, mut labels, mut dimensions) = (Vec::new(), Vec::new(), 0);
    for batch in batches(&path) {
        let ids = column(&batch, "id").as_primitive::<Int64Type>().values();
        let first = vectors.len() / dimensions.max(1);
        assert_eq!(ids[0], first as i64 + 1, "ids count from 1");
        let (size, values) = bytes_as_floats(&batch);
        dimensions = size;
        vectors.extend(values);
        if batch.column_by_name("label").is_some() {
            labels.extend_from_slice(column(&batch, "label").as_primitive::<Int16Type>().values());
        }
    }
    let (mut queries, mut neighbors) = (Vec::new(), Vec::new());
    for batch in batches(&folder.join(format!("{name}_queries.parquet"))) {
        queries.extend(bytes_as_floats(&batch).1);
        neighbors.extend(id_lists(&batch, "neighbors"));
    }
    queries.truncate(MOST_QUERIES * dimensions);
    if labels.is_empty() {
        labels = vec![0; vectors.len() / dimensions];
    }
    let mut set = VectorSet {
        name,
        only_vectors: true,
        create: format!(
            "CREATE TABLE {name} (id int8 PRIMARY KEY, label int2, embedding vector({dimensions}))"
        ),
        rows_binary: labelled_binary(&labels, &vectors, dimensions),
        dimensions,
        nearness: Nearness::L2,
        vectors,
        queries,
        cases: Vec::new(),
    };
    set.cases = vec![set.case("all", "", &neighbors)];
    if labels.contains(&LABEL) {
        let nearest = nearest_labelled(&set, &labels);
        set.cases.push(set.case(&format!("label = {LABEL}"), &format!("label = {LABEL}"), &nearest));
    }
    Some(set)
}

/// The nearest rows of one label, by brute force.
fn nearest_labelled(set: &VectorSet, labels: &[i16]) -> Vec<Vec<i64>> {
    let ids: Vec<i64> =
        (1_i64..).zip(labels).filter(|(_, label)| **label == LABEL).map(|(id, _)| id).collect();
    let of_query = |query: usize| {
        let square =
            |row: &[f32]| -> f32 { row.iter().zip(set.query(query)).map(|(a, b)| (a - b) * (a - b)).sum() };
        let mut all: Vec<(f32, i64)> =
            ids.iter().filter_map(|id| Some((square(set.vector(*id)?), *id))).collect();
        all.sort_by(|left, right| left.0.total_cmp(&right.0));
        all.truncate(NEAREST);
        all.into_iter().map(|(_, id)| id).collect()
    };
    (0..set.query_count()).map(of_query).collect()
}
