//! Rows as a Parquet file, in types that other tools know.
//!
//! What has no Parquet type that says the same (uuid, json, interval, numeric without a modifier, …) is written as its
//! text form; read back into such a column it is the same value again.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, StringBuilder};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use cluster::tasks;
use parking_lot::Mutex;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};

use crate::copy::place::Sink;
use crate::copy::progress::CopyProgress;
use crate::encode::{ColumnWriter, EncodeContext, Format};
use crate::session::ResultColumn;

/// Bytes of a row group at which it ends.
const GROUP_BYTES: usize = 64 << 20;

/// Writes the rows of one query.
pub(crate) struct ParquetSink {
    sink: Sink,
    columns: Arc<[ResultColumn]>,
    schema: SchemaRef,
    context: EncodeContext,
    /// `None` while a batch is being written, and after one that failed.
    writer: Option<ArrowWriter<Shared>>,
    buffer: Shared,
    progress: CopyProgress,
}

impl ParquetSink {
    /// # Errors
    /// XX000 when Parquet cannot hold such columns.
    pub(crate) fn new(
        sink: Sink,
        columns: &Arc<[ResultColumn]>,
        context: EncodeContext,
        progress: CopyProgress,
    ) -> Result<Self, Box<(Sink, SqlError)>> {
        let field = |column: &ResultColumn| Field::new(&column.name, exported(column.ty), true);
        let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        let buffer = Shared::default();
        match ArrowWriter::try_new(buffer.clone(), Arc::clone(&schema), Some(properties(columns))) {
            Ok(writer) => Ok(Self {
                sink,
                columns: Arc::clone(columns),
                schema,
                context,
                writer: Some(writer),
                buffer,
                progress,
            }),
            Err(error) => Err(Box::new((sink, internal(&error)))),
        }
    }

    /// Writes a batch.
    ///
    /// # Errors
    /// What the place answers, XX000 for values that Parquet cannot hold; `abandon` is to follow.
    pub(crate) async fn write(&mut self, batch: RecordBatch) -> Result<(), SqlError> {
        let Some(mut writer) = self.writer.take() else { return Err(gone()) };
        let (columns, schema, context) = (Arc::clone(&self.columns), Arc::clone(&self.schema), self.context);
        let written = tasks::blocking(move || {
            let rows = exportable(&batch, &columns, &schema, &context)?;
            writer.write(&rows).map_err(|error| internal(&error))?;
            if writer.in_progress_size() >= GROUP_BYTES {
                writer.flush().map_err(|error| internal(&error))?;
            }
            Ok(writer)
        });
        self.writer = Some(written.await.map_err(|error| stopped(&error))??);
        self.pass_on().await
    }

    /// Completes the file.
    ///
    /// # Errors
    /// As `write`.
    pub(crate) async fn finish(&mut self) -> Result<(), SqlError> {
        let Some(writer) = self.writer.take() else { return Err(gone()) };
        let closed = tasks::blocking(move || writer.close().map(drop)).await;
        closed.map_err(|error| stopped(&error))?.map_err(|error| internal(&error))?;
        self.pass_on().await?;
        self.sink.finish().await
    }

    async fn pass_on(&mut self) -> Result<(), SqlError> {
        let bytes = std::mem::take(&mut *self.buffer.0.lock());
        if bytes.is_empty() {
            return Ok(());
        }
        self.progress.add_bytes(bytes.len() as u64);
        self.sink.write(bytes).await
    }

    /// Takes away what could not be finished.
    pub(crate) async fn abandon(self) {
        self.sink.abandon().await;
    }
}

/// What the writer has written and the place does not have yet.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn properties(columns: &[ResultColumn]) -> WriterProperties {
    let mut properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default()));
    for column in columns.iter().filter(|column| column.ty.kind == TypeKind::Vector) {
        // Elements of vectors hardly repeat.
        let path = ColumnPath::new(vec![column.name.clone(), "list".to_owned(), "item".to_owned()]);
        properties = properties.set_column_dictionary_enabled(path, false);
    }
    properties.build()
}

/// The type of a column in the file.
fn exported(ty: ColumnType) -> DataType {
    if ty.array {
        let element = exported(ColumnType { array: false, ..ty });
        return DataType::List(Arc::new(Field::new("item", element, true)));
    }
    match ty.kind {
        TypeKind::Bool
        | TypeKind::Int2
        | TypeKind::Int4
        | TypeKind::Int8
        | TypeKind::Oid
        | TypeKind::Float4
        | TypeKind::Float8
        | TypeKind::Bytea
        | TypeKind::Date
        | TypeKind::Time
        | TypeKind::Timestamp
        | TypeKind::Timestamptz
        | TypeKind::Vector => ty.data_type(),
        TypeKind::Numeric if ty.typmod >= 4 => match ty.data_type() {
            DataType::Decimal128(_, scale) => {
                let precision = (ty.typmod - 4) >> 16;
                DataType::Decimal128(precision.clamp(1, 38) as u8, scale)
            }
            _ => DataType::Utf8,
        },
        _ => DataType::Utf8,
    }
}

fn exportable(
    batch: &RecordBatch,
    columns: &[ResultColumn],
    schema: &SchemaRef,
    context: &EncodeContext,
) -> Result<RecordBatch, SqlError> {
    let arrays = columns
        .iter()
        .zip(batch.columns())
        .zip(schema.fields())
        .map(|((column, array), field)| export(array, column.ty, field.data_type(), context));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays.collect::<Result<_, _>>()?, &options)
        .map_err(|error| SqlError::new(ErrorKind::Internal, format!("rows for Parquet: {error}")))
}

fn export(
    array: &ArrayRef,
    ty: ColumnType,
    wanted: &DataType,
    context: &EncodeContext,
) -> Result<ArrayRef, SqlError> {
    if array.data_type() == wanted {
        return Ok(Arc::clone(array));
    }
    if ty.array
        && let (Some(lists), DataType::List(item)) = (array.as_list_opt::<i32>(), wanted)
    {
        let element = ColumnType { array: false, ..ty };
        let values = export(lists.values(), element, item.data_type(), context)?;
        return ListArray::try_new(Arc::clone(item), lists.offsets().clone(), values, lists.nulls().cloned())
            .map(|lists| Arc::new(lists) as ArrayRef)
            .map_err(|error| SqlError::new(ErrorKind::Internal, error.to_string()));
    }
    if *wanted == DataType::Utf8 && *array.data_type() != DataType::Null {
        return texts(array, ty, context);
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, wanted, &strict)
        .map_err(|error| SqlError::new(ErrorKind::Internal, format!("a value for Parquet: {error}")))
}

fn texts(array: &ArrayRef, ty: ColumnType, context: &EncodeContext) -> Result<ArrayRef, SqlError> {
    let writer = ColumnWriter::new(array, ty, Format::Text, context)?;
    let mut builder = StringBuilder::new();
    let mut bytes = Vec::new();
    for row in 0..array.len() {
        if writer.is_null(row) {
            builder.append_null();
            continue;
        }
        bytes.clear();
        writer.write(row, &mut bytes);
        builder.append_value(String::from_utf8_lossy(&bytes));
    }
    Ok(Arc::new(builder.finish()))
}

fn internal(error: &ParquetError) -> SqlError {
    SqlError::new(ErrorKind::Internal, format!("could not write Parquet: {error}"))
}

fn stopped(error: &cluster::Error) -> SqlError {
    SqlError::new(ErrorKind::Internal, error.to_string())
}

fn gone() -> SqlError {
    SqlError::new(ErrorKind::Internal, "a Parquet file is written on after a batch that failed")
}
