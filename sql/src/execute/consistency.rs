//! What a read insists on having seen: consistency levels and the guarantee carried from another session.
//!
//! The level is the statement's where a hint names one, the session's where it was set, else the strictest of the tables read, else strong. Where the owner
//! and the reader are one process, what is shown is every acknowledged commit, so that no level has anything to wait
//! for; a guarantee may lie a little ahead of the clock, and is waited for.
//!
//! Invariant: a read never shows less than its guarantee.

use std::time::Duration;

use planner::syntax::ReadHints;
use proto::catalog::Consistency;
use proto::{SqlError, TableId, Timestamp};

use super::{SessionExecutor, node_error};
use crate::settings::canonical;

/// What the newest statement's read point took, for EXPLAIN.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Insisted {
    pub(super) level: Option<Consistency>,
    /// How long the guarantee was waited for, when there was one.
    pub(super) waited: Option<Duration>,
}

/// The settings that the running statement's hints set for it alone, in canonical form.
#[derive(Debug, Default)]
pub(super) struct Hinted(Vec<(&'static str, String)>);

impl Hinted {
    /// # Errors
    /// Those of SET: 22023 for a value that a setting does not take.
    pub(super) fn of(hints: &ReadHints) -> Result<Self, SqlError> {
        let canonical = hints.iter().map(|(name, value)| Ok((*name, canonical(name, value)?)));
        canonical.collect::<Result<_, SqlError>>().map(Self)
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

impl SessionExecutor {
    /// A setting of the read in its base unit: the statement's, else the session's.
    fn read_number(&self, name: &str) -> u64 {
        let hinted = self.hinted.value(name).and_then(|value| value.parse().ok());
        hinted.unwrap_or_else(|| u64::try_from(self.settings.integer(name)).unwrap_or(0))
    }

    /// The level of a statement that reads these tables.
    fn consistency(&self, tables: &[TableId]) -> Consistency {
        let hinted = self.hinted.value("elanus.consistency_level").and_then(Consistency::of_word);
        if let Some(level) = hinted {
            return level;
        }
        let of_session = self.settings.get("elanus.consistency_level").and_then(Consistency::of_word);
        if let Some(level) = of_session.filter(|_| self.settings.is_set("elanus.consistency_level")) {
            return level;
        }
        let catalog = self.catalog();
        let of_tables = tables.iter().map(|table| {
            let options = catalog.tables.get(table).map(|table| &table.options);
            options.and_then(|options| options.consistency).unwrap_or(Consistency::Strong)
        });
        of_tables.max().unwrap_or(Consistency::Strong)
    }

    /// Waits until what the statement insists on is shown.
    ///
    /// # Errors
    /// 22023 for a guarantee too far ahead of the clock; 57014 when the statement is cancelled while it waits.
    pub(super) async fn insist(&mut self, tables: &[TableId]) -> Result<(), SqlError> {
        let level = self.consistency(tables);
        let own = match level {
            Consistency::Strong | Consistency::Session => {
                self.last_commit.load(std::sync::atomic::Ordering::Relaxed)
            }
            Consistency::Bounded => {
                let staleness = self.read_number("elanus.staleness");
                let oldest = self.shared.node.oracle_millis().saturating_sub(staleness);
                // What is that old was acknowledged, and is shown.
                Timestamp::from_millis(oldest).min(self.newest_shown()?).0
            }
            Consistency::Eventual => 0,
        };
        let carried = self.read_number("elanus.guarantee_ts");
        let started = self.shared.clock.monotonic_micros();
        let guarantee = Timestamp(own.max(carried));
        if guarantee > self.newest_shown()? {
            let wait = self.shared.node.await_guarantee(self.database, guarantee);
            tokio::select! {
                biased;
                reason = self.cancel.cancelled() => return Err(reason.error()),
                reached = wait => reached.map_err(|error| node_error(&error))?,
            }
        }
        let waited = Duration::from_micros(self.shared.clock.monotonic_micros().saturating_sub(started));
        self.insisted = Insisted { level: Some(level), waited: (carried > 0).then_some(waited) };
        Ok(())
    }

    /// The newest commit that is shown.
    fn newest_shown(&self) -> Result<Timestamp, SqlError> {
        self.shared.node.shown(self.database).map_err(|error| node_error(&error))
    }

    /// What EXPLAIN ANALYZE prints of it: nothing for a strong read without a guarantee.
    pub(super) fn insisted_lines(&self) -> Vec<String> {
        let level = self.insisted.level.filter(|level| *level != Consistency::Strong);
        let level = level.map(|level| format!("Consistency: {}", level.word()));
        let waited = self.insisted.waited;
        let waited = waited.map(|waited| format!("Guarantee Wait: {:.3} ms", waited.as_secs_f64() * 1000.0));
        level.into_iter().chain(waited).collect()
    }
}
