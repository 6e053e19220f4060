//! Elanus beside the FAISS that is linked into it, in one process and one run: building a graph, searching it, and the
//! SQ8 scan of that FAISS beside the one of the PyPI wheel, which shows whether our compiler flags reach it.

use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use ::faiss::index::autotune::ParameterSpace;
use ::faiss::{Index as _, MetricType, index_factory};

use super::load_generator::{Bounds, Work, run as generate};
use super::{Bench, search, show, timed};
use crate::data::vectors::{NEAREST, VectorSet};
use crate::passages::binary_vector;
use crate::server::{Options, Server};
use crate::wire::Failure;

/// Of both graphs: pgvector's defaults.
const M: u32 = 16;
const EF_CONSTRUCTION: u32 = 64;
const EF_SEARCH: u32 = 100;
/// How long one figure is measured.
const MEASURED: Duration = Duration::from_secs(2);
/// Looks at the wheel of the version that we link.
const WHEEL: &str = "\
import os, sys, time
os.environ['FAISS_OPT_LEVEL'] = 'AVX2'
import numpy, faiss
rows, queries, dimensions, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
faiss.omp_set_num_threads(1)
rows = numpy.fromfile(rows, dtype='float32').reshape(-1, dimensions)
queries = numpy.fromfile(queries, dtype='float32').reshape(-1, dimensions)
index = faiss.index_factory(dimensions, 'SQ8', faiss.METRIC_L2)
index.train(rows)
index.add(rows)
done, start = 0, time.perf_counter()
while time.perf_counter() - start < seconds:
    index.search(queries[done % len(queries)].reshape(1, -1), 10)
    done += 1
print(faiss.__version__, done / (time.perf_counter() - start))
";

fn refused(error: &::faiss::error::Error) -> Failure {
    Failure::Protocol(format!("FAISS: {error}"))
}

/// Queries per second of a search that is repeated over all queries.
fn rate(set: &VectorSet, mut search: impl FnMut(&[f32]) -> Result<(), Failure>) -> Result<f64, Failure> {
    let start = Instant::now();
    let mut done = 0;
    while start.elapsed() < MEASURED {
        search(set.query(done % set.query_count()))?;
        done += 1;
    }
    Ok(done as f64 / start.elapsed().as_secs_f64())
}

/// Builds and searches on both sides.
fn graph(bench: &mut Bench, set: &VectorSet) -> Result<(), Failure> {
    let server = Server::start_with(Options::default());
    let mut connection = server.connect();
    search::load(&mut connection, set)?;
    connection.run("CHECKPOINT")?;
    let sql = format!(
        "CREATE INDEX raw ON {} USING hnsw (embedding {}) WITH (m = {M}, ef_construction = {EF_CONSTRUCTION})",
        set.name,
        set.nearness.operator_class()
    );
    let (own, result) = timed(|| connection.run(&sql));
    result?;
    let metric = MetricType::InnerProduct;
    let mut index = index_factory(set.dimensions as u32, format!("HNSW{M},Flat"), metric)
        .map_err(|error| refused(&error))?;
    let space = ParameterSpace::new().map_err(|error| refused(&error))?;
    let set_parameter = |index: &::faiss::index::IndexImpl, name: &str, value: u32| {
        space.set_index_parameter(index, name, value).map_err(|error| refused(&error))
    };
    set_parameter(&index, "efConstruction", EF_CONSTRUCTION)?;
    let (theirs, result) = timed(|| index.add(&set.vectors));
    result.map_err(|error| refused(&error))?;
    let ratio = own.as_secs_f64() / theirs.as_secs_f64();
    let value = format!("{} beside raw FAISS {}: {ratio:.2} ×", show(own), show(theirs));
    bench.goal("HNSW build, CREATE INDEX on stored rows", &value, "<= 1.3 ×", ratio <= 1.3);

    set_parameter(&index, "efSearch", EF_SEARCH)?;
    let theirs = rate(set, |query| index.search(query, NEAREST).map(drop).map_err(|error| refused(&error)))?;
    let queries: Vec<Vec<u8>> = (0..set.query_count()).map(|query| binary_vector(set.query(query))).collect();
    let sql = search::statement(set, &set.cases[0]);
    let settings = [format!("SET hnsw.ef_search = {EF_SEARCH}")];
    let work = Work { sql: &sql, settings: &settings, parameters: &queries };
    for connections in [1, 2] {
        let bounds = Bounds { connections, time: MEASURED, warm_up: 5 };
        let own = generate(server.address(), &work, bounds)?;
        let ratio = own.queries_per_second / theirs;
        let what = format!("HNSW search through the wire, {connections} connections");
        bench.figure(&what, &format!("{} beside raw FAISS {theirs:.0}/s: {ratio:.2} ×", own.show()));
    }
    let exact = [String::from("SET enable_indexscan = off")];
    let work = Work { sql: &sql, settings: &exact, parameters: &queries };
    let bounds = Bounds { connections: 1, time: MEASURED, warm_up: 5 };
    let without = generate(server.address(), &work, bounds)?;
    let work = Work { sql: &sql, settings: &settings, parameters: &queries };
    let with = generate(server.address(), &work, bounds)?;
    let ratio = with.queries_per_second / without.queries_per_second;
    let value = format!("{} beside {}: {ratio:.2} ×", with.show(), without.show());
    bench.goal("HNSW search beside our own without an index", &value, ">= 5 ×", ratio >= 5.0);
    Ok(())
}

/// The SQ8 scan of our FAISS beside that of the wheel.
fn scan(bench: &mut Bench, set: &VectorSet) -> Result<(), Failure> {
    let Ok(python) = std::env::var("FAISS_WHEEL_PYTHON") else {
        println!("SQ8 scan: skipped, FAISS_WHEEL_PYTHON names no Python with faiss-cpu 1.12");
        return Ok(());
    };
    let folder = tempfile::tempdir().map_err(Failure::Socket)?;
    let write = |name: &str, values: &[f32]| -> Result<std::path::PathBuf, Failure> {
        let path = folder.path().join(name);
        let mut file = std::fs::File::create(&path).map_err(Failure::Socket)?;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        file.write_all(&bytes).map_err(Failure::Socket)?;
        Ok(path)
    };
    let output = Command::new(python)
        .args(["-c", WHEEL])
        .args([write("rows", &set.vectors)?, write("queries", &set.queries)?])
        .args([set.dimensions.to_string(), MEASURED.as_secs_f64().to_string()])
        .output()
        .map_err(Failure::Socket)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.split_whitespace();
    let (Some(version), Some(theirs)) =
        (words.next(), words.next().and_then(|rate| rate.parse::<f64>().ok()))
    else {
        return Err(Failure::Protocol(format!("the wheel: {}", String::from_utf8_lossy(&output.stderr))));
    };
    let mut index =
        index_factory(set.dimensions as u32, "SQ8", MetricType::L2).map_err(|error| refused(&error))?;
    index.train(&set.vectors).and_then(|()| index.add(&set.vectors)).map_err(|error| refused(&error))?;
    let own = rate(set, |query| index.search(query, NEAREST).map(drop).map_err(|error| refused(&error)))?;
    let ratio = own / theirs;
    let value = format!("{own:.0}/s beside wheel {version} {theirs:.0}/s: {ratio:.2} ×");
    bench.goal("SQ8 scan of the linked FAISS", &value, ">= 0.9 ×", ratio >= 0.9);
    Ok(())
}

/// All of it, over the passages.
pub(super) fn run(bench: &mut Bench, set: &VectorSet) -> Result<(), Failure> {
    println!("\nFAISS: {}", segments::faiss::library());
    graph(bench, set)?;
    scan(bench, set)
}
