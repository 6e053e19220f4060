//! The limits of this crate, by name; assembly fills them from the configuration.

/// Limits. Sizes are bytes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A growing segment is sealed at this size.
    pub segment_bytes: usize,
    /// Everything on a channel is sealed and flushed when the log behind its checkpoint is larger than this.
    pub log_bytes: u64,
    /// Changes up to this size travel inside the Commit record; larger ones as Payload records before it.
    pub inline_bytes: usize,
    /// Rows of a Payload record.
    pub payload_bytes: usize,
    /// Requests that may wait for an owner.
    pub inbox: usize,
    /// Requests that share one turn of an owner, and so one fdatasync.
    pub turn: usize,
    /// Values of a sequence that one log record makes available.
    pub sequence_cache: i64,
    /// Threads of one index build.
    pub index_threads: usize,
    /// Whether segments are merged and purged without being asked to.
    pub compacts: bool,
    /// Small segments of a table that are merged automatically when there are this many.
    pub compaction_segments: usize,
    /// The part of purgeable rows from which a segment is written anew automatically.
    pub compaction_dead_fraction: f64,
    /// How far back a table can be read; rows that ended before may be purged.
    pub retention_millis: u64,
    /// Objects that nothing names are kept this long.
    pub collection_grace_millis: u64,
    /// Called where work that held much memory has ended (a flush, an index build, a merge), to give free pages back.
    pub release_memory: fn(),
    /// A bug switched on, for the test that must find it.
    #[cfg(feature = "planted-bugs")]
    pub planted_bug: Option<PlantedBug>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segment_bytes: 512 << 20,
            log_bytes: 1 << 30,
            inline_bytes: 256 << 10,
            payload_bytes: 512 << 10,
            inbox: 1024,
            turn: 256,
            sequence_cache: 32,
            compacts: true,
            compaction_segments: 8,
            compaction_dead_fraction: 0.2,
            retention_millis: 60 * 60 * 1000,
            collection_grace_millis: 60 * 1000,
            release_memory: || (),
            index_threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            #[cfg(feature = "planted-bugs")]
            planted_bug: None,
        }
    }
}

/// Bugs that lose rows or bring them back, as other systems had them, to be found by the model test or the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedBug {
    /// The checkpoint moves past rows that are in no file yet.
    CheckpointPassesUnflushedRows,
    /// A delete counts only when its timestamp is above the last one of the segment.
    DeletesOnlyAsTimeGrows,
    /// Deletes that a segment gets while it is sealed and not stored are taken for saved.
    DeletesOfUnflushedRowsNotSaved,
    /// Deletes that come while segments are merged are forgotten.
    MergeIgnoresNewDeletes,
    /// A delete of a row in a growing segment is logged but not applied.
    DeleteNotAppliedToGrowing,
    /// A segment is served before its deletes were read.
    SegmentServedWithoutDeletes,
    /// A commit whose answer was lost is cleaned up after as if it had failed.
    LostAnswerTakenForFailure,
    /// Objects that nothing names are collected though their writer is not done.
    CollectionIgnoresWriters,
    /// The numbers of segments begin anew with each start.
    SegmentNumbersUsedAgain,
    /// Rows go on into a segment behind its Seal.
    InsertIntoSealedSegment,
    /// A commit's instant is shown before its rows are.
    TimeShownBeforeRows,
    /// The store says of an object that it exists, which is believed.
    ConflictTakenForExisting,
    /// An error of the last write of a flush is ignored.
    LastWriteErrorIgnored,
    /// Rows that came as payloads are taken to be in the log from their Commit on.
    PayloadsTakenForTheirCommit,
    /// Answers leave before the log is synced.
    AnsweredBeforeSynced,
    /// A unique key other than the primary one is not looked up in sealed segments.
    UniqueCheckLeavesOutSealed,
    /// Commits of one turn are checked against the state before it, not against each other.
    CheckedAgainstStateBeforeTurn,
    /// The owner relies on statements for foreign keys and does not look at them again.
    ReferencesNotCheckedAgain,
    /// Files are said to hold everything up to the last commit.
    MarkPassesUnflushedRows,
    /// Rows that were in files before their commit are taken to be in a manifest, so that the checkpoint passes them.
    StagedTakenForStored,
}

impl PlantedBug {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::CheckpointPassesUnflushedRows,
        Self::DeletesOnlyAsTimeGrows,
        Self::DeletesOfUnflushedRowsNotSaved,
        Self::MergeIgnoresNewDeletes,
        Self::DeleteNotAppliedToGrowing,
        Self::SegmentServedWithoutDeletes,
        Self::LostAnswerTakenForFailure,
        Self::CollectionIgnoresWriters,
        Self::SegmentNumbersUsedAgain,
        Self::InsertIntoSealedSegment,
        Self::TimeShownBeforeRows,
        Self::ConflictTakenForExisting,
        Self::LastWriteErrorIgnored,
        Self::PayloadsTakenForTheirCommit,
        Self::AnsweredBeforeSynced,
        Self::UniqueCheckLeavesOutSealed,
        Self::CheckedAgainstStateBeforeTurn,
        Self::ReferencesNotCheckedAgain,
        Self::MarkPassesUnflushedRows,
        Self::StagedTakenForStored,
    ];
}

impl Settings {
    /// Whether a bug is switched on; never without the feature `planted-bugs`.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn has(&self, bug: PlantedBug) -> bool {
        self.planted_bug == Some(bug)
    }

    /// Whether a bug is switched on; never without the feature `planted-bugs`.
    #[cfg(not(feature = "planted-bugs"))]
    #[allow(clippy::unused_self, reason = "the same call with and without the feature")]
    pub(crate) const fn has(&self, _bug: PlantedBug) -> bool {
        false
    }
}
