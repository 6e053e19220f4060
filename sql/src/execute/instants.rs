//! Past instants of statements, transactions and sessions: from what was written to what is read.
//!
//! A statement reads at its own instant (`AS OF SYSTEM TIME`, `FOR SYSTEM_TIME AS OF` per table), else at its
//! transaction's (`BEGIN AS OF SYSTEM TIME`), else at the session's (`elanus.read_time`), else now. Instants are
//! evaluated before the statement is planned, because what existed then decides what its names mean.
//!
//! Invariants: an instant is settled before it is read (no later commit can belong to it) and pinned while it is; a
//! statement that reads the past is planned anew at every execution.

use std::collections::HashMap;
use std::sync::Arc;

use cluster::{Instant, Node};
use datafusion::common::ScalarValue;
use exec::statement::PastTables;
use exec::text::InputContext;
use parking_lot::Mutex;
use planner::syntax::{Statement, WrittenInstant};
use planner::{InstantSource, Instants, PlanContext, ReadInstant};
use proto::catalog::TableMeta;
use proto::{ColumnType, ErrorKind, SqlError, TableId, Timestamp, TypeKind};
use segments::TableSnapshot;

use super::{SessionExecutor, node_error};
use crate::session::Parameter;
use crate::settings::instant::{Said, interval_millis, invalid, read};

/// What the instants of the running statement were resolved to.
#[derive(Clone, Debug, Default)]
pub(super) struct Moments {
    /// For the planner.
    pub(super) instants: Instants,
    /// The same with their pins, and whether they were read before.
    pinned: Vec<(Instant, bool)>,
    /// Values of parameters were missing.
    pub(super) is_open: bool,
}

impl Moments {
    /// Whether the statement reads no past instant.
    pub(super) fn is_now(&self) -> bool {
        self.pinned.is_empty() && !self.is_open
    }

    fn add(&mut self, instant: &Instant, held: bool) -> ReadInstant {
        self.pinned.push((instant.clone(), held));
        ReadInstant { ts: instant.ts, catalog: Arc::clone(&instant.catalog) }
    }

    /// The tables of these instants; none when the statement reads no past one.
    pub(super) fn tables(&self, node: &Arc<Node>) -> Option<Arc<dyn PastTables>> {
        if self.pinned.is_empty() {
            return None;
        }
        let (node, instants) = (Arc::clone(node), self.pinned.clone());
        Some(Arc::new(PinnedTables { node, instants, known: Mutex::default() }))
    }
}

/// The tables of pinned instants, each asked for once.
#[derive(Debug)]
struct PinnedTables {
    node: Arc<Node>,
    instants: Vec<(Instant, bool)>,
    known: Mutex<HashMap<(TableId, Timestamp), Arc<TableSnapshot>>>,
}

impl PastTables for PinnedTables {
    fn snapshot(&self, table: &Arc<TableMeta>, at: Timestamp) -> Result<Arc<TableSnapshot>, SqlError> {
        if let Some(known) = self.known.lock().get(&(table.id, at)) {
            return Ok(Arc::clone(known));
        }
        let found = self.instants.iter().find(|(instant, _)| instant.ts == at);
        let (instant, held) = found
            .ok_or_else(|| SqlError::new(ErrorKind::Internal, format!("instant {at} is not resolved")))?;
        let snapshot = self.node.past_snapshot(instant, table, *held).map_err(|error| node_error(&error))?;
        self.known.lock().insert((table.id, at), Arc::clone(&snapshot));
        Ok(snapshot)
    }
}

impl SessionExecutor {
    /// Resolves the instants that a statement reads at. Those that depend on parameters stay open without them.
    pub(super) async fn resolve_instants(
        &mut self,
        statement: &Statement,
        parameters: Option<&[Parameter]>,
    ) -> Result<Moments, SqlError> {
        let mut moments = Moments::default();
        let reads = matches!(
            statement,
            Statement::Sql(_)
                | Statement::Copy(_)
                | Statement::Explain(..)
                | Statement::Declare { .. }
                | Statement::Execute { .. }
        );
        if !reads {
            // SET and ROLLBACK must work whatever has become of the instant.
            return Ok(moments);
        }
        let written = statement.instants().cloned();
        match written.as_ref().and_then(|written| written.statement.as_ref()) {
            Some(own) => match self.resolve(own, parameters).await? {
                Some(instant) => moments.instants.statement = Some(moments.add(&instant, false)),
                None => moments.is_open = true,
            },
            None => {
                if let Some((instant, held)) = self.surrounding_instant().await? {
                    moments.instants.statement = Some(moments.add(&instant, held));
                }
            }
        }
        for (position, own) in written.iter().flat_map(|written| &written.tables) {
            match self.resolve(own, parameters).await? {
                Some(instant) => {
                    let instant = moments.add(&instant, false);
                    moments.instants.tables.insert(*position, instant);
                }
                None => moments.is_open = true,
            }
        }
        Ok(moments)
    }

    /// The instant of the transaction or the session, and whether it was read before.
    async fn surrounding_instant(&self) -> Result<Option<(Instant, bool)>, SqlError> {
        let of_transaction = self.transaction.as_ref().and_then(|running| running.instant.as_ref());
        if let Some(instant) = of_transaction {
            return Ok(Some((instant.clone(), true)));
        }
        let text = self.settings.get("elanus.read_time").unwrap_or_default();
        if text.trim().is_empty() {
            return Ok(None);
        }
        let said = read(text, &self.input_context())?;
        Ok(Some((self.instant_of(said).await?, false)))
    }

    /// Whether what this session does now is at a past time, where nothing can be changed.
    pub(super) fn reads_the_past(&self) -> bool {
        let fixed = self.transaction.as_ref().is_some_and(|running| running.instant.is_some());
        fixed || self.settings.get("elanus.read_time").is_some_and(|text| !text.trim().is_empty())
    }

    /// A written instant; none while it depends on parameters without values.
    pub(super) async fn resolve(
        &mut self,
        written: &WrittenInstant,
        parameters: Option<&[Parameter]>,
    ) -> Result<Option<Instant>, SqlError> {
        if parameters.is_none() && planner::has_parameters(written) {
            return Ok(None);
        }
        let parameters = parameters.unwrap_or_default();
        let types = parameters.iter().map(|parameter| Some(parameter.ty)).collect();
        let source = planner::plan_instant(written, &self.instant_context(types))?;
        let said = match source {
            InstantSource::Snapshot(name) => {
                let found = self.shared.node.named_snapshot(self.database, &name);
                Said::Raw(found.map_err(|error| node_error(&error))?.at().0)
            }
            InstantSource::Value(query) => {
                let values: Vec<_> = parameters
                    .iter()
                    .map(|given| exec::ParameterValue { value: given.value.clone(), ty: given.ty })
                    .collect();
                let logical = planner::bind(query.logical.clone(), &values)?;
                let query = planner::QueryPlan { logical, ..*query };
                // What an instant is made of is read now.
                let outer = std::mem::take(&mut self.moments);
                let row = self.evaluated(&query).await;
                self.moments = outer;
                let value = row?.into_iter().next();
                self.said(&value.ok_or_else(|| invalid(""))?)?
            }
        };
        self.instant_of(said).await.map(Some)
    }

    fn instant_context(&mut self, parameter_types: Vec<Option<ColumnType>>) -> PlanContext {
        let catalog = self.catalog();
        let started = self.transaction.as_ref().map_or_else(|| self.wall_micros(), |t| t.started_micros);
        let session = self.session_values(Arc::clone(&catalog), started);
        PlanContext {
            system: Arc::new(self.system_relations(&catalog)),
            catalog,
            database: self.database,
            search_path: self.search_path(),
            parameter_types,
            session,
            settings: planner::PlanSettings::default(),
            instants: Instants::default(),
        }
    }

    fn input_context(&self) -> InputContext {
        let now_micros = self.transaction.as_ref().map_or_else(|| self.wall_micros(), |t| t.started_micros);
        InputContext { zone: self.settings.time_zone(), now_micros }
    }

    /// What a value says.
    fn said(&self, value: &Parameter) -> Result<Said, SqlError> {
        let shown = || invalid(&value.value.to_string());
        if value.value.is_null() {
            return Err(invalid("NULL"));
        }
        match (&value.value, value.ty.kind) {
            (_, TypeKind::Int2 | TypeKind::Int4 | TypeKind::Int8) => {
                let ScalarValue::Int64(Some(raw)) =
                    value.value.cast_to(&arrow::datatypes::DataType::Int64).map_err(|_| shown())?
                else {
                    return Err(shown());
                };
                u64::try_from(raw).map(Said::Raw).map_err(|_| shown())
            }
            (ScalarValue::TimestampMicrosecond(Some(micros), _), TypeKind::Timestamptz) => {
                Ok(Said::At(*micros))
            }
            (ScalarValue::TimestampMicrosecond(Some(micros), _), _) => {
                Ok(Said::At(self.settings.time_zone().to_utc(*micros)))
            }
            (ScalarValue::Date32(Some(days)), _) => {
                let local = i64::from(*days).saturating_mul(86_400_000_000);
                Ok(Said::At(self.settings.time_zone().to_utc(local)))
            }
            (ScalarValue::IntervalMonthDayNano(Some(interval)), _) => Ok(Said::Ago(*interval)),
            (other, TypeKind::Text | TypeKind::Varchar | TypeKind::Unknown) => {
                let text = other.try_as_str().flatten().ok_or_else(shown)?;
                read(text, &self.input_context())
            }
            _ => Err(SqlError::new(
                ErrorKind::DatatypeMismatch,
                format!("AS OF cannot take a value of type {}", value.ty.display()),
            )),
        }
    }

    /// The instant itself, settled and pinned.
    async fn instant_of(&self, said: Said) -> Result<Instant, SqlError> {
        let node = &self.shared.node;
        let ts = match said {
            Said::Raw(raw) => Timestamp(raw),
            Said::Ago(interval) => {
                let millis = interval_millis(interval);
                if millis >= 0 {
                    return Err(SqlError::new(
                        ErrorKind::InvalidParameterValue,
                        "an interval after AS OF must be negative",
                    ));
                }
                Timestamp::from_millis(node.oracle_millis().saturating_sub(millis.unsigned_abs()))
            }
            Said::At(micros) => {
                // Later than any timestamp can be: not reached, whatever the clock says.
                let millis = u64::try_from(micros.div_euclid(1000)).unwrap_or(0);
                Timestamp::from_millis(millis.min(u64::MAX >> proto::time::COUNTER_BITS))
            }
        };
        node.instant(self.database, ts).await.map_err(|error| node_error(&error))
    }
}
