//! What a Kafka message says about itself, in its key. All numbers little-endian.
//!
//! ```text
//!  0  4  magic 0x314B4C45 ("ELK1")
//!  4  4  kind: 0 the topic's beginning, 1 a fence, 2 a record
//!  8  8  epoch
//! 16  8  incarnation of the channel
//! 24  4  place of the record in its append, from 0
//! 28  4  number of records of the append
//! 32  4  CRC32C of the bytes before and of the message's value
//! ```
//! A message of another form is not ours, and a topic that holds one is refused.

use bytes::Buf;
use proto::Epoch;

/// Bytes of a key.
pub(super) const FRAME: usize = 36;
const MAGIC: u32 = 0x314B_4C45;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Begin,
    Fence,
    Record,
}

/// A message's description of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) epoch: Epoch,
    pub(super) incarnation: u64,
    pub(super) index: u32,
    pub(super) count: u32,
}

impl Frame {
    pub(super) fn encode(&self, value: &[u8]) -> [u8; FRAME] {
        let kind: u32 = match self.kind {
            Kind::Begin => 0,
            Kind::Fence => 1,
            Kind::Record => 2,
        };
        let mut bytes = [0; FRAME];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&kind.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.incarnation.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.index.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.count.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..32]), value);
        bytes[32..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Self, String> {
        let Ok(key) = <&[u8; FRAME]>::try_from(key) else {
            return Err("the message is not one of Elanus".into());
        };
        let mut fields = key.as_slice();
        if fields.get_u32_le() != MAGIC {
            return Err("the message is not one of Elanus".into());
        }
        let kind = match fields.get_u32_le() {
            0 => Kind::Begin,
            1 => Kind::Fence,
            2 => Kind::Record,
            other => return Err(format!("the message is of unknown kind {other}")),
        };
        let (epoch, incarnation) = (Epoch(fields.get_u64_le()), fields.get_u64_le());
        let (index, count) = (fields.get_u32_le(), fields.get_u32_le());
        if fields.get_u32_le() != crc32c::crc32c_append(crc32c::crc32c(&key[..32]), value) {
            return Err("the checksum of the message does not match".into());
        }
        Ok(Self { kind, epoch, incarnation, index, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_files_of_messages_read_back() {
        for (name, kind, value) in [
            ("kafka_begin", Kind::Begin, b"".as_slice()),
            ("kafka_fence", Kind::Fence, b""),
            ("kafka_record", Kind::Record, b"value"),
        ] {
            let frame = Frame { kind, epoch: Epoch(7), incarnation: 9, index: 1, count: 2 };
            let key = crate::golden::as_golden(name, &frame.encode(value));
            assert_eq!(Frame::decode(&key, value), Ok(frame));
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let frame = Frame { kind: Kind::Record, epoch: Epoch(7), incarnation: 9, index: 1, count: 2 };
        let (key, value) = (frame.encode(b"value"), b"value".to_vec());
        assert_eq!(Frame::decode(&key, &value), Ok(frame));
        for bit in 0..(FRAME + value.len()) * 8 {
            let (mut key, mut value) = (key, value.clone());
            match key.get_mut(bit / 8) {
                Some(byte) => *byte ^= 1 << (bit % 8),
                None => value[bit / 8 - FRAME] ^= 1 << (bit % 8),
            }
            assert!(Frame::decode(&key, &value).is_err(), "bit {bit}");
        }
        assert!(Frame::decode(b"", b"value").is_err());
    }
}
