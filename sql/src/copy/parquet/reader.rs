//! Reading a Parquet file batch by batch.

use std::io::{BufReader, Read};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use cluster::tasks;
use exec::text::InputContext;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};
use proto::{ErrorKind, SqlError};

use super::columns::{self, FileColumn};
use super::{damaged, file_error};
use crate::copy::place::{RandomAccess, Source};
use crate::copy::progress::CopyProgress;

/// Rows of a batch at the most.
const BATCH_ROWS: u64 = 8192;
/// Bytes of a batch that are aimed at.
const BATCH_BYTES: u64 = 1 << 20;
/// Bytes that are read ahead for headers of pages.
const HEADER_BYTES: usize = 4096;

/// The rows of one file on their way into a table.
pub(crate) struct ParquetSource {
    name: String,
    table: String,
    /// `None` while a batch is being read, and at the end.
    reader: Option<ParquetRecordBatchReader>,
    columns: Arc<[FileColumn]>,
    schema: SchemaRef,
    context: InputContext,
    /// Rows of the batches before.
    rows: u64,
}

impl ParquetSource {
    /// Opens a file for the columns of `schema`, which are a table's; all of them in any order when `listed` is false.
    ///
    /// # Errors
    /// 22P04 for what is no Parquet file or has other columns, 42804 for a column that cannot become the table's.
    pub(crate) async fn open(
        source: Source,
        table: &str,
        schema: &SchemaRef,
        listed: bool,
        context: InputContext,
        progress: CopyProgress,
    ) -> Result<Self, SqlError> {
        let name = source.name().to_owned();
        let chunks = Chunks { access: source.random_access()?, progress };
        let opened = tasks::blocking(move || ParquetRecordBatchReaderBuilder::try_new(chunks)).await;
        let builder = opened
            .map_err(|error| damaged(&name, &error.to_string()))?
            .map_err(|error| file_error(&name, &error))?;
        let columns = columns::matched(builder.schema(), schema, listed, table)?;
        let roots = columns.iter().map(|column| column.root);
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let metadata = builder.metadata();
        let bytes: i64 = metadata.row_groups().iter().map(|group| group.total_byte_size()).sum();
        let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0).max(1);
        let row_bytes = (u64::try_from(bytes).unwrap_or(0) / rows).max(1);
        let batch = (BATCH_BYTES / row_bytes).clamp(1, BATCH_ROWS) as usize;
        let reader = builder.with_projection(mask).with_batch_size(batch).build();
        let reader = reader.map_err(|error| file_error(&name, &error))?;
        Ok(Self {
            name,
            table: table.to_owned(),
            reader: Some(reader),
            columns: columns.into(),
            schema: crate::copy::nullable(schema),
            context,
            rows: 0,
        })
    }

    /// The next rows in the table's types; `None` at the end.
    ///
    /// # Errors
    /// 22P04 for damaged bytes, and what the table's types do not take, with the row.
    pub(crate) async fn next_batch(&mut self) -> Result<Option<RecordBatch>, SqlError> {
        let Some(mut reader) = self.reader.take() else { return Ok(None) };
        let columns = Arc::clone(&self.columns);
        let schema = Arc::clone(&self.schema);
        let context = self.context;
        let read = tasks::blocking(move || {
            let batch = match reader.next() {
                None => Ok(None),
                Some(Err(error)) => Err(Refused::File(error.to_string())),
                Some(Ok(batch)) => in_types(&batch, &columns, &schema, &context).map(Some),
            };
            (reader, batch)
        });
        // The decoder of a damaged page may panic; it is the file's fault all the same.
        let (reader, batch) = read.await.map_err(|error| damaged(&self.name, &error.to_string()))?;
        let batch = batch.map_err(|refused| match refused {
            Refused::File(reason) => damaged(&self.name, &reason),
            Refused::Value { row, column, error } => {
                let place = format!("COPY {}, row {}, column {column}", self.table, self.rows + row + 1);
                error.with_context(place)
            }
            Refused::Other(error) => error,
        })?;
        if let Some(batch) = &batch {
            self.rows += batch.num_rows() as u64;
            self.reader = Some(reader);
        }
        Ok(batch)
    }

    /// The CONTEXT line of a row, counted from 0.
    pub(crate) fn position_of(&self, row: u64) -> String {
        format!("COPY {}, row {}", self.table, row + 1)
    }
}

enum Refused {
    File(String),
    /// A value of a batch, by its row there.
    Value {
        row: u64,
        column: String,
        error: SqlError,
    },
    Other(SqlError),
}

/// The columns of a batch of the file as the table's.
fn in_types(
    batch: &RecordBatch,
    columns: &[FileColumn],
    schema: &SchemaRef,
    context: &InputContext,
) -> Result<RecordBatch, Refused> {
    let read = columns.iter().map(|column| {
        let array = batch.column(column.position);
        column.convert(array, context).map_err(|error| {
            let row = first_refused(column, array, context);
            Refused::Value { row, column: column.name.clone(), error }
        })
    });
    let arrays = read.collect::<Result<Vec<ArrayRef>, Refused>>()?;
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .zip(&arrays)
        .map(|(field, array)| field.as_ref().clone().with_data_type(array.data_type().clone()))
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
        .map_err(|error| Refused::Other(SqlError::new(ErrorKind::Internal, error.to_string())))
}

fn first_refused(column: &FileColumn, array: &ArrayRef, context: &InputContext) -> u64 {
    let refused = |row: &usize| column.convert(&array.slice(*row, 1), context).is_err();
    (0..array.len()).find(refused).unwrap_or(0) as u64
}

/// A file as Parquet's reader wants it.
struct Chunks {
    access: Arc<dyn RandomAccess>,
    progress: CopyProgress,
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.access.size()
    }
}

impl ChunkReader for Chunks {
    type T = BufReader<Cursor>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let cursor = Cursor { access: Arc::clone(&self.access), at: start, progress: self.progress.clone() };
        Ok(BufReader::with_capacity(HEADER_BYTES, cursor))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let bytes = self.access.read_at(start, length).map_err(external)?;
        self.progress.add_bytes(bytes.len() as u64);
        Ok(bytes)
    }
}

fn external(error: std::io::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// Reads on from a position.
struct Cursor {
    access: Arc<dyn RandomAccess>,
    at: u64,
    progress: CopyProgress,
}

impl Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.access.size().saturating_sub(self.at);
        let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if length == 0 {
            return Ok(0);
        }
        let bytes = self.access.read_at(self.at, length)?;
        buffer[..length].copy_from_slice(&bytes);
        self.at += length as u64;
        self.progress.add_bytes(length as u64);
        Ok(length)
    }
}
