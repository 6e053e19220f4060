//! What a table's WITH says of it: how far back it can be read, and how fresh its reads are.
//!
//! What it is not: the session's settings, which come first where they are set.

/// What a read insists on having seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Consistency {
    /// What has been applied already.
    Eventual,
    /// Everything older than the staleness allowed.
    Bounded,
    /// The session's own commits.
    Session,
    /// Every commit that was acknowledged to anyone.
    Strong,
}

impl Consistency {
    /// Every level with the word for it.
    pub const ALL: [(&'static str, Self); 4] = [
        ("strong", Self::Strong),
        ("session", Self::Session),
        ("bounded", Self::Bounded),
        ("eventual", Self::Eventual),
    ];

    /// The level of a word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, level)| *level)
    }

    /// The word for the level.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Session => "session",
            Self::Bounded => "bounded",
            Self::Eventual => "eventual",
        }
    }

    /// The stored form, from 1.
    pub(super) const fn number(self) -> u32 {
        self as u32 + 1
    }

    pub(super) fn of_number(number: u32) -> Option<Self> {
        Self::ALL.iter().map(|(_, level)| *level).find(|level| level.number() == number)
    }
}

/// The options of a table; `None` is the server's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// How far back the table can be read.
    pub retention_millis: Option<u64>,
    /// The consistency of reads, unless the session has set its own.
    pub consistency: Option<Consistency>,
}
