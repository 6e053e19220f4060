//! The carrier of `numeric` without a modifier: 16 bytes of unscaled digits, one byte of scale.
//!
//! PostgreSQL's numeric has a scale per value, Arrow's decimals one per column. `numeric(p,s)` is an Arrow decimal;
//! everything else is a `FixedSizeBinary(17)` of these bytes, so that `1.50` stays `1.50` beside `2`. Equal values may
//! have different bytes: compare `comparable` forms, never the bytes.
//!
//! Invariant: at most 38 digits, at most 38 of them behind the point; what has more is refused, never rounded.

use arrow::datatypes::{DataType, i256};

use crate::error::{ErrorKind, SqlError};

/// Bytes of a value.
pub const WIDTH: i32 = 17;
/// The most digits, and the most digits behind the point.
pub const MAX_DIGITS: i32 = 38;
/// The form in which values of any scale compare: every value is exact in it.
pub const COMPARABLE: DataType = DataType::Decimal256(76, 38);

const LIMIT: u128 = 10_u128.pow(MAX_DIGITS as u32);

/// Whether a column of this Arrow type holds numerics that bring their own scale.
#[must_use]
pub const fn is_carrier(data_type: &DataType) -> bool {
    matches!(data_type, DataType::FixedSizeBinary(WIDTH))
}

/// The bytes of a value.
///
/// # Errors
/// 22003 for more than 38 digits, 0A000 for more than 38 behind the point.
pub fn pack(unscaled: i256, scale: i32) -> Result<[u8; WIDTH as usize], SqlError> {
    let overflow = || SqlError::new(ErrorKind::NumericValueOutOfRange, "value overflows numeric format");
    if !(0..=MAX_DIGITS).contains(&scale) {
        return Err(SqlError::unsupported("numeric with more than 38 digits behind the decimal point"));
    }
    let unscaled = unscaled.to_i128().filter(|value| value.unsigned_abs() < LIMIT).ok_or_else(overflow)?;
    let mut bytes = [0; WIDTH as usize];
    bytes[..16].copy_from_slice(&unscaled.to_le_bytes());
    bytes[16] = scale as u8;
    Ok(bytes)
}

/// Unscaled digits and scale; zero for bytes that are no value.
#[must_use]
pub fn unpack(bytes: &[u8]) -> (i128, i32) {
    match bytes.split_last_chunk::<1>() {
        Some((digits, [scale])) => (digits.try_into().map_or(0, i128::from_le_bytes), i32::from(*scale)),
        None => (0, 0),
    }
}

/// The value at 38 digits behind the point.
#[must_use]
pub fn comparable(unscaled: i128, scale: i32) -> i256 {
    let ten = i256::from_i128(10);
    (scale..MAX_DIGITS).fold(i256::from_i128(unscaled), |value, _| value.wrapping_mul(ten))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_scale_and_compare_without_it() {
        let (short, long) = (pack(i256::from_i128(15), 1).unwrap(), pack(i256::from_i128(1500), 3).unwrap());
        assert_eq!(unpack(&short), (15, 1));
        assert_eq!(unpack(&long), (1500, 3));
        assert_eq!(comparable(15, 1), comparable(1500, 3));
        assert!(comparable(-(LIMIT as i128 - 1), 0) < comparable(0, 38));
        assert_eq!(
            pack(i256::from_i128(LIMIT as i128), 0).unwrap_err().kind,
            ErrorKind::NumericValueOutOfRange
        );
        assert_eq!(pack(i256::ONE, 39).unwrap_err().kind, ErrorKind::FeatureNotSupported);
    }
}
