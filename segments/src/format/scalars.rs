//! The scalars object: a Parquet file of every column that has no vector file, then `_ts` and `_row`.
//!
//! Columns are in the order of the key-value metadata `elanus.columns` (column ids, comma separated), followed by
//! the commit timestamps and the row ids as 64-bit integers; `stored_form` says what lies in them for intervals. `elanus.format` is the format version,
//! `elanus.segment` the segment id. Any Parquet reader can read the file.
//!
//! Parquet pages carry no checksum here: the manifest has the CRC32C of the whole object, and it is checked
//! before the first column is decoded.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{SchemaRef, UInt64Type};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use proto::SegmentId;

use super::FORMAT_VERSION;
use super::stored_form::{restored, stored, stored_schema};
use crate::error::{Error, Result};
use crate::store::ObjectBytes;

const COLUMNS: &str = "elanus.columns";
const FORMAT: &str = "elanus.format";
const SEGMENT: &str = "elanus.segment";
pub(crate) const TS: &str = "_ts";
pub(crate) const ROW: &str = "_row";

/// The bytes of a scalars object. The batches have the columns of `column_ids` and then `_ts` and `_row`.
pub(crate) fn encode(
    segment: SegmentId,
    column_ids: &[u32],
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<Bytes> {
    let ids: Vec<String> = column_ids.iter().map(ToString::to_string).collect();
    let metadata = vec![
        KeyValue::new(FORMAT.to_owned(), FORMAT_VERSION.to_string()),
        KeyValue::new(SEGMENT.to_owned(), segment.to_string()),
        KeyValue::new(COLUMNS.to_owned(), ids.join(",")),
    ];
    let level = ZstdLevel::try_new(1).map_err(write_error)?;
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_key_value_metadata(Some(metadata));
    for hidden in [TS, ROW] {
        let path = ColumnPath::from(hidden);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    let schema = stored_schema(schema);
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties.build()))
        .map_err(write_error)?;
    for batch in batches {
        writer.write(&stored(batch, &schema)?).map_err(write_error)?;
    }
    Ok(writer.into_inner().map_err(write_error)?.into())
}

fn write_error(error: parquet::errors::ParquetError) -> Error {
    Error::Arrow(error.into())
}

/// An open scalars object whose bytes match the manifest's checksum.
#[derive(Debug)]
pub struct Scalars {
    bytes: ObjectBytes,
    metadata: ArrowReaderMetadata,
    column_ids: Vec<u32>,
    rows: usize,
}

impl Scalars {
    /// Checks the bytes against the checksum and reads the footer.
    ///
    /// # Errors
    /// `Corrupted` when the object is damaged or of another segment.
    pub fn open(bytes: ObjectBytes, checksum: u32, segment: SegmentId, rows: usize) -> Result<Self> {
        if crc32c::crc32c(bytes.buffer()) != checksum {
            return Err(bytes.corrupted("checksum of the object does not match"));
        }
        let metadata = ArrowReaderMetadata::load(&bytes.to_bytes(), ArrowReaderOptions::new())
            .map_err(|error| bytes.corrupted(error.to_string()))?;
        let file = metadata.metadata().file_metadata();
        let value = |key: &str| {
            let pair = file.key_value_metadata()?.iter().find(|pair| pair.key == key)?;
            pair.value.as_deref()
        };
        let version = value(FORMAT).and_then(|text| text.parse().ok()).unwrap_or(0);
        if version != FORMAT_VERSION {
            let object = bytes.name().to_owned();
            return Err(Error::FormatVersion { object, found: version, supported: FORMAT_VERSION });
        }
        let ids = value(COLUMNS).unwrap_or_default().split(',').filter(|text| !text.is_empty());
        let column_ids: Vec<u32> = ids.filter_map(|text| text.parse().ok()).collect();
        let columns = metadata.schema().fields().len();
        if value(SEGMENT) != Some(segment.to_string().as_str())
            || file.num_rows() != rows as i64
            || columns != column_ids.len() + 2
        {
            return Err(bytes.corrupted("it holds columns of another segment or shape"));
        }
        Ok(Self { bytes, metadata, column_ids, rows })
    }

    /// Where a column is in the file.
    #[must_use]
    pub fn position(&self, column_id: u32) -> Option<usize> {
        self.column_ids.iter().position(|id| *id == column_id)
    }

    /// The ids of the table's columns it holds.
    #[must_use]
    pub fn column_ids(&self) -> &[u32] {
        &self.column_ids
    }

    /// Decodes one column by position, all rows in one array.
    ///
    /// # Errors
    /// `Corrupted` when it cannot be decoded.
    pub fn decode(&self, position: usize) -> Result<ArrayRef> {
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.to_bytes(), self.metadata.clone());
        let mask = ProjectionMask::roots(builder.parquet_schema(), [position]);
        let damaged = |reason: String| self.bytes.corrupted(reason);
        let reader = builder
            .with_projection(mask)
            .with_batch_size(self.rows.max(1))
            .build()
            .map_err(|error| damaged(error.to_string()))?;
        let mut arrays: Vec<ArrayRef> = Vec::new();
        for batch in reader {
            let batch = batch.map_err(|error| damaged(error.to_string()))?;
            arrays.push(ArrayRef::clone(batch.column(0)));
        }
        let array = match arrays.as_slice() {
            [] => arrow::array::new_empty_array(self.metadata.schema().field(position).data_type()),
            [one] => ArrayRef::clone(one),
            many => {
                let many: Vec<&dyn Array> = many.iter().map(AsRef::as_ref).collect();
                arrow::compute::concat(&many)?
            }
        };
        if array.len() != self.rows {
            return Err(damaged("a column has another number of rows than announced".to_owned()));
        }
        restored(array, self.metadata.schema().field(position))
    }

    /// Commit timestamps and row ids.
    ///
    /// # Errors
    /// `Corrupted` when they cannot be decoded.
    pub fn identities(&self) -> Result<(Vec<u64>, Vec<u64>)> {
        let column = |position| {
            let array = self.decode(position)?;
            let numbers = array.as_primitive_opt::<UInt64Type>().filter(|numbers| numbers.null_count() == 0);
            let numbers = numbers.ok_or_else(|| self.bytes.corrupted("row identities are not numbers"))?;
            Ok::<_, Error>(numbers.values().to_vec())
        };
        Ok((column(self.column_ids.len())?, column(self.column_ids.len() + 1)?))
    }
}
