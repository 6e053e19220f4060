//! The vector file: one `vector(n)` column of a segment, served from its mapping without a copy.
//!
//! Envelope of kind 1; its numbers are dimensions, column id, rows without a vector. Body, from byte 4096:
//!
//! ```text
//! 0                 rows × dimensions × 4   float4 elements, row after row, zeros for a NULL vector
//! rounded up to 64  ⌈rows / 8⌉              validity bits, least significant first; absent when no row is NULL
//! ```

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Float32Type};
use bytes::Bytes;
use proto::SegmentId;

use super::header::{Header, Kind, Opened, enclose};
use crate::error::Result;
use crate::index::{VectorColumn, VectorPart, Verify};
use crate::store::ObjectBytes;

/// The bytes of a column's vector file; `pieces` are its rows in order, fixed-size lists of `dimensions`.
pub(crate) fn encode(segment: SegmentId, column: u32, dimensions: usize, pieces: &[ArrayRef]) -> Bytes {
    let rows: usize = pieces.iter().map(|piece| piece.len()).sum();
    let nulls: usize = pieces.iter().map(|piece| piece.null_count()).sum();
    let header = Header {
        kind: Kind::Vectors,
        owner: segment.0,
        rows: rows as u64,
        numbers: [dimensions as u64, u64::from(column), nulls as u64],
    };
    let elements = rows * dimensions * 4;
    let bits_at = elements.next_multiple_of(64);
    let length = if nulls == 0 { elements } else { bits_at + rows.div_ceil(8) };
    enclose(header, length, |out| {
        let start = out.len();
        let mut bits = vec![0_u8; rows.div_ceil(8)];
        let mut row = 0;
        for piece in pieces {
            let list = piece.as_fixed_size_list();
            let values = list.values().as_primitive::<Float32Type>().values();
            if list.null_count() == 0 {
                out.extend_from_slice(values.inner().as_slice());
            }
            for at in 0..list.len() {
                if list.is_valid(at) {
                    bits[row / 8] |= 1 << (row % 8);
                }
                if list.null_count() > 0 && list.is_valid(at) {
                    let vector = &values[at * dimensions..(at + 1) * dimensions];
                    out.extend(vector.iter().flat_map(|element| element.to_le_bytes()));
                } else if list.null_count() > 0 {
                    out.resize(out.len() + dimensions * 4, 0);
                }
                row += 1;
            }
        }
        if nulls > 0 {
            out.resize(start + bits_at, 0);
            out.extend_from_slice(&bits);
        }
    })
}

/// An open vector file.
#[derive(Clone, Debug)]
pub struct VectorFile {
    object: Arc<Opened>,
    dimensions: usize,
    rows: usize,
    values: ScalarBuffer<f32>,
    valid: Option<BooleanBuffer>,
}

impl VectorFile {
    /// Checks the envelope and reads the validity bits; elements are verified when touched. `expected` are the
    /// dimensions of the column, if it is known.
    ///
    /// # Errors
    /// `Corrupted` when the object is damaged or of another segment, column or shape.
    pub fn open(
        bytes: ObjectBytes,
        segment: SegmentId,
        rows: usize,
        expected: Option<usize>,
    ) -> Result<Self> {
        let object = Opened::open(bytes, Kind::Vectors)?;
        let header = object.header();
        let found = usize::try_from(header.numbers[0]).ok();
        let dimensions = found.filter(|found| expected.is_none_or(|expected| expected == *found));
        let dimensions = dimensions
            .filter(|_| header.owner == segment.0 && header.rows == rows as u64)
            .ok_or_else(|| object.corrupted("it holds vectors of another segment or shape"))?;
        let values = rows
            .checked_mul(dimensions)
            .ok_or_else(|| object.corrupted("it has an impossible shape"))
            .and_then(|count| object.elements::<f32>(0, count))?;
        let valid = if header.numbers[2] == 0 {
            None
        } else {
            let start = (rows * dimensions * 4).next_multiple_of(64);
            let bits = object.body(start..start + rows.div_ceil(8))?;
            let valid = BooleanBuffer::new(Buffer::from(bits), 0, rows);
            if rows - valid.count_set_bits() != header.numbers[2] as usize {
                return Err(object.corrupted("it has another number of NULL vectors than announced"));
            }
            Some(valid)
        };
        Ok(Self { object, dimensions, rows, values, valid })
    }

    /// Elements of a vector.
    #[must_use]
    pub const fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The column for a search, in place.
    #[must_use]
    pub fn column(&self) -> VectorColumn {
        let guard: Arc<dyn Verify> = Arc::<Opened>::clone(&self.object);
        let part = VectorPart::stored(0, self.rows, self.values.clone(), self.valid.clone(), guard);
        VectorColumn::new(self.dimensions, vec![part])
    }

    /// Rows `start..start + len` as an Arrow array of `data_type`, in place, verified.
    ///
    /// # Errors
    /// `Corrupted` when a block is damaged.
    pub fn array(&self, data_type: &DataType, start: usize, len: usize) -> Result<ArrayRef> {
        let stride = self.dimensions * 4;
        self.object.verify(start * stride, (start + len) * stride)?;
        let values = self.values.slice(start * self.dimensions, len * self.dimensions);
        let nulls = self.valid.as_ref().map(|valid| NullBuffer::new(valid.slice(start, len)));
        self.list(data_type, values, nulls)
    }

    /// The rows at `ordinals`, copied, verified.
    ///
    /// # Errors
    /// `Corrupted` when a block is damaged.
    pub fn rows_at(&self, data_type: &DataType, ordinals: &[u32]) -> Result<ArrayRef> {
        let mut values: Vec<f32> = Vec::with_capacity(ordinals.len() * self.dimensions);
        for &ordinal in ordinals {
            let start = ordinal as usize * self.dimensions;
            self.object.verify(start * 4, (start + self.dimensions) * 4)?;
            values.extend_from_slice(&self.values[start..start + self.dimensions]);
        }
        let valid = self.valid.as_ref().map(|valid| {
            NullBuffer::new(ordinals.iter().map(|ordinal| valid.value(*ordinal as usize)).collect())
        });
        self.list(data_type, values.into(), valid)
    }

    fn list(
        &self,
        data_type: &DataType,
        values: ScalarBuffer<f32>,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef> {
        let DataType::FixedSizeList(item, size) = data_type else {
            return Err(self.object.corrupted("the column is not of fixed dimensions"));
        };
        let values = Arc::new(Float32Array::new(values, None));
        Ok(Arc::new(FixedSizeListArray::try_new(Arc::clone(item), *size, values, nulls)?))
    }
}
