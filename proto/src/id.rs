//! Identifiers: one newtype per kind of thing, so that a segment id can never be passed as a table id.
//!
//! All ids are allocated once in the meta store and never reused. `Display` is the form used in logs,
//! object keys and error messages.

use std::fmt;

macro_rules! identifiers {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    )*};
}

identifiers! {
    /// A database; owns tables and has one home channel.
    DatabaseId(u64);
    /// A table; equal to its OID, so that catalogs and storage speak of the same number.
    TableId(u64);
    /// A sequence; equal to its OID.
    SequenceId(u64);
    /// A segment: the smallest unit of scheduling, one identity from growing to sealed.
    SegmentId(u64);
    /// A physical log: one local log or one Kafka topic partition.
    ChannelId(u64);
    /// The generation of a channel's owner; records of an older epoch behind a newer one do not exist.
    Epoch(u64);
    /// The position of a record in a channel: a record number, not a byte position.
    Offset(u64);
    /// A row version: unique in its table, never reused, ascending in commit order.
    RowId(u64);
    /// A transaction, drawn at random by the front that runs it.
    TxnId(u64);
    /// A PostgreSQL object identifier. User objects start at 16384 and keep their OID for ever.
    Oid(u32);
}

impl Offset {
    /// The offset right behind this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Epoch {
    /// The epoch that replaces this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl TableId {
    /// The table's OID: the same number, in the width catalogs use.
    #[must_use]
    pub const fn oid(self) -> Oid {
        Oid(self.0 as u32)
    }
}

impl SequenceId {
    /// The sequence's OID: the same number, in the width catalogs use.
    #[must_use]
    pub const fn oid(self) -> Oid {
        Oid(self.0 as u32)
    }
}
