//! What is locked and how: targets, modes, and which modes conflict.
//!
//! Tables have PostgreSQL's eight modes; advisory locks use two of them. Rows have PostgreSQL's four and one more,
//! `Write`: it is held by whoever has a change of the row or key that is not decided yet, so that an INSERT waits for
//! a change but not for a SELECT … FOR UPDATE.

use std::fmt;

use proto::{DatabaseId, RowId, TableId};

/// Something that can be locked. It has a fixed size, so that a transaction can hold many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LockTarget {
    Table(TableId),
    /// A key of a table, there or not, by the hash of its bytes: keys with one hash share a lock, which makes one
    /// wait where it need not, and nothing worse.
    Key {
        table: TableId,
        hash: u64,
    },
    /// A row of a table without a primary key.
    Row {
        table: TableId,
        row: RowId,
    },
    /// One 64-bit number, or two of 32 bits (`pair`): they never meet.
    Advisory {
        database: DatabaseId,
        high: u32,
        low: u32,
        pair: bool,
    },
}

impl LockTarget {
    /// Whether it is a row or a key: what PostgreSQL keeps in the row itself and shows as a wait for a transaction.
    #[must_use]
    pub const fn is_row(self) -> bool {
        matches!(self, Self::Key { .. } | Self::Row { .. })
    }
}

/// One mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum LockMode {
    AccessShare,
    RowShare,
    RowExclusive,
    ShareUpdateExclusive,
    Share,
    ShareRowExclusive,
    Exclusive,
    AccessExclusive,
    ForKeyShare,
    ForShare,
    ForNoKeyUpdate,
    ForUpdate,
    /// See the file header.
    Write,
}

use LockMode::{
    AccessExclusive, AccessShare, Exclusive, ForKeyShare, ForNoKeyUpdate, ForShare, ForUpdate, RowExclusive,
    RowShare, Share, ShareRowExclusive, ShareUpdateExclusive, Write,
};

impl LockMode {
    /// Every mode.
    pub const ALL: [Self; 13] = [
        AccessShare,
        RowShare,
        RowExclusive,
        ShareUpdateExclusive,
        Share,
        ShareRowExclusive,
        Exclusive,
        AccessExclusive,
        ForKeyShare,
        ForShare,
        ForNoKeyUpdate,
        ForUpdate,
        Write,
    ];

    /// The name in `pg_locks` and in the detail of a deadlock.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            AccessShare => "AccessShareLock",
            RowShare => "RowShareLock",
            RowExclusive => "RowExclusiveLock",
            ShareUpdateExclusive => "ShareUpdateExclusiveLock",
            Share => "ShareLock",
            ShareRowExclusive => "ShareRowExclusiveLock",
            Exclusive => "ExclusiveLock",
            AccessExclusive => "AccessExclusiveLock",
            ForKeyShare => "ForKeyShareLock",
            ForShare => "ForShareLock",
            ForNoKeyUpdate => "ForNoKeyUpdateLock",
            ForUpdate | Write => "ForUpdateLock",
        }
    }

    /// The modes that another process must not hold.
    #[must_use]
    pub fn conflicts(self) -> LockModes {
        LockModes::of(match self {
            AccessShare => &[AccessExclusive],
            RowShare => &[Exclusive, AccessExclusive],
            RowExclusive => &[Share, ShareRowExclusive, Exclusive, AccessExclusive],
            ShareUpdateExclusive => {
                &[ShareUpdateExclusive, Share, ShareRowExclusive, Exclusive, AccessExclusive]
            }
            Share => &[RowExclusive, ShareUpdateExclusive, ShareRowExclusive, Exclusive, AccessExclusive],
            ShareRowExclusive => {
                &[RowExclusive, ShareUpdateExclusive, Share, ShareRowExclusive, Exclusive, AccessExclusive]
            }
            Exclusive => &[
                RowShare,
                RowExclusive,
                ShareUpdateExclusive,
                Share,
                ShareRowExclusive,
                Exclusive,
                AccessExclusive,
            ],
            AccessExclusive => &[
                AccessShare,
                RowShare,
                RowExclusive,
                ShareUpdateExclusive,
                Share,
                ShareRowExclusive,
                Exclusive,
                AccessExclusive,
            ],
            ForKeyShare => &[ForUpdate],
            ForShare => &[ForNoKeyUpdate, ForUpdate],
            ForNoKeyUpdate => &[ForShare, ForNoKeyUpdate, ForUpdate],
            ForUpdate => &[ForKeyShare, ForShare, ForNoKeyUpdate, ForUpdate],
            Write => &[Write],
        })
    }
}

/// A set of modes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct LockModes(u16);

impl LockModes {
    /// No mode.
    pub const NONE: Self = Self(0);

    /// These modes.
    #[must_use]
    pub fn of(modes: &[LockMode]) -> Self {
        Self(modes.iter().fold(0, |bits, mode| bits | 1 << (*mode as u8)))
    }

    /// An UPDATE or DELETE of a row; `key` when its key goes or changes.
    #[must_use]
    pub fn change(key: bool) -> Self {
        Self::of(&[if key { ForUpdate } else { ForNoKeyUpdate }, Write])
    }

    /// The modes of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The modes that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is no mode.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether both have a mode in common.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether a mode is among them.
    #[must_use]
    pub const fn has(self, mode: LockMode) -> bool {
        self.0 & (1 << (mode as u8)) != 0
    }

    /// The modes, weakest first.
    pub fn iter(self) -> impl Iterator<Item = LockMode> {
        LockMode::ALL.into_iter().filter(move |mode| self.has(*mode))
    }

    /// The modes that another process must not hold.
    #[must_use]
    pub fn conflicts(self) -> Self {
        self.iter().fold(Self::NONE, |all, mode| all.with(mode.conflicts()))
    }
}

impl From<LockMode> for LockModes {
    fn from(mode: LockMode) -> Self {
        Self::of(&[mode])
    }
}

impl fmt::Debug for LockModes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}
