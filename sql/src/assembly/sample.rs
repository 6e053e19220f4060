//! The bundled sample: 576 products and 16 questions with their embeddings, loaded through an ordinary session.
//!
//! Invariant: an existing table is left alone, so a second start with `--sample` changes nothing.

use std::sync::Arc;

use arrow::compute::cast;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proto::{ErrorKind, SqlError};

use super::StartError;
use crate::execute::{NodeBackend, SUPERUSER, Shared};
use crate::session::{Backend as _, CancelFlag, ConnectRequest, Executor as _, Outcome};

/// One bundled table: its definition and its rows as Parquet.
struct SampleTable {
    name: &'static str,
    definition: &'static str,
    parquet: &'static [u8],
}

const TABLES: [SampleTable; 2] = [
    SampleTable {
        name: "products",
        definition: "CREATE TABLE products (id bigint PRIMARY KEY, name text NOT NULL, category text NOT NULL, \
                     price double precision NOT NULL, stock integer NOT NULL, description text NOT NULL, \
                     embedding vector(384) NOT NULL)",
        parquet: include_bytes!("../../../examples/products.parquet"),
    },
    SampleTable {
        name: "product_questions",
        definition: "CREATE TABLE product_questions (question text PRIMARY KEY, embedding vector(384) NOT NULL)",
        parquet: include_bytes!("../../../examples/product_questions.parquet"),
    },
];

/// Loads the sample tables that do not exist yet.
pub(super) async fn load(shared: &Arc<Shared>) -> Result<(), StartError> {
    for table in &TABLES {
        let catalog = shared.node.catalog();
        let exists = catalog
            .database("elanus")
            .is_some_and(|database| catalog.table(database.id, "public", table.name).is_some());
        if !exists {
            let rows = load_table(shared, table).await?;
            tracing::info!(table = table.name, rows, "sample loaded");
        }
    }
    Ok(())
}

async fn load_table(shared: &Arc<Shared>, table: &SampleTable) -> Result<u64, SqlError> {
    let request = ConnectRequest {
        user: SUPERUSER.to_owned(),
        database: "elanus".to_owned(),
        settings: Vec::new(),
        peer: None,
        backend_pid: 0,
        cancel: CancelFlag::default(),
    };
    let mut session = NodeBackend::new(Arc::clone(shared)).connect(request).await?;
    let text = format!("{}; COPY {} FROM STDIN", table.definition, table.name);
    session.begin_implicit().await?;
    let mut rows = 0;
    for statement in session.parse(&text)? {
        let prepared = session.prepare(&statement, &[]).await?;
        if let Outcome::CopyIn(copy) = session.execute(&prepared, Vec::new()).await? {
            for batch in read(table)? {
                session.copy_rows(conform(&batch, &copy.schema)?).await?;
            }
            rows = session.copy_finish().await?;
        }
    }
    session.end_implicit(true).await?;
    session.close().await;
    Ok(rows)
}

fn read(table: &SampleTable) -> Result<Vec<RecordBatch>, SqlError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from_static(table.parquet))
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|error| damaged(table.name, &error))?;
    reader.collect::<Result<_, _>>().map_err(|error| damaged(table.name, &error))
}

/// The file's columns by name, in the table's types.
fn conform(batch: &RecordBatch, schema: &arrow::datatypes::SchemaRef) -> Result<RecordBatch, SqlError> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let column = batch.column_by_name(field.name()).ok_or_else(|| {
            SqlError::new(ErrorKind::Internal, format!("sample without column {}", field.name()))
        })?;
        columns.push(cast(column, field.data_type()).map_err(|error| damaged(field.name(), &error))?);
    }
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| damaged("rows", &error))
}

fn damaged(what: &str, error: &dyn std::error::Error) -> SqlError {
    SqlError::new(ErrorKind::Internal, format!("{what}: {error}"))
}
