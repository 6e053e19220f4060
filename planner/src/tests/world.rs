//! One session over tables in memory: enough of a server to run planned statements.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{UInt32Type, UInt64Type};
use datafusion::logical_expr::LogicalPlan;
use exec::statement::SettingSink;
use exec::text::{TimeZone, write_value};
use exec::{CancelFlag, Engine, EngineSettings, SequenceSource, SessionValues, StatementContext};
use futures::StreamExt;
use parking_lot::Mutex;
use proto::catalog::{CatalogSnapshot, Column, DatabaseMeta, PrimaryKey, SequenceMeta, TableMeta};
use proto::record::RowRef;
use proto::time::{Clock, Dice};
use proto::{
    ChannelId, ColumnType, DatabaseId, Oid, RowId, SegmentId, SequenceId, SqlError, TableId, Timestamp,
};
use segments::{TableOverlay, TableSnapshot};

use crate::{
    CreateTable, DdlCommand, NoSystemRelations, OutputColumn, ParameterValue, Plan, PlanContext,
    PlanSettings, plan,
};

/// 2026-05-06 07:08:09 UTC in microseconds.
const NOW: i64 = 1_778_051_289_000_000;

#[derive(Debug)]
struct Fixed;

impl SettingSink for Fixed {
    fn set(&self, name: &str, _value: Option<&str>, _local: bool) -> Result<String, SqlError> {
        Err(SqlError::unsupported(format!("setting {name} in a test")))
    }

    fn changed(&self, _name: &str) -> Option<String> {
        None
    }
}

impl Clock for Fixed {
    fn now_millis(&self) -> u64 {
        1_778_051_289_000
    }

    fn monotonic_micros(&self) -> u64 {
        0
    }
}

impl Dice for Fixed {
    fn next_u64(&self) -> u64 {
        4
    }
}

#[derive(Debug, Default)]
struct Counters(Mutex<HashMap<SequenceId, i64>>);

#[async_trait::async_trait]
impl SequenceSource for Counters {
    async fn next_values(&self, sequence: SequenceId, count: usize) -> Result<Vec<i64>, SqlError> {
        let mut counters = self.0.lock();
        let last = counters.entry(sequence).or_insert(0);
        let values = (1..=count as i64).map(|step| *last + step).collect();
        *last += count as i64;
        Ok(values)
    }

    async fn set_next(&self, sequence: SequenceId, next: i64) -> Result<(), SqlError> {
        self.0.lock().insert(sequence, next - 1);
        Ok(())
    }
}

/// What a statement answered.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub names: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// The database.
pub(super) struct World {
    pub catalog: Arc<CatalogSnapshot>,
    overlays: HashMap<TableId, TableOverlay>,
    engine: Engine,
    counters: Arc<Counters>,
    next_oid: u32,
    runtime: tokio::runtime::Runtime,
}

impl World {
    pub(super) fn new() -> Self {
        let database = DatabaseMeta {
            id: DatabaseId(1),
            name: "elanus".to_owned(),
            home_channel: ChannelId(1),
            extensions: vec!["vector".to_owned()],
        };
        let catalog = CatalogSnapshot {
            databases: BTreeMap::from([(DatabaseId(1), Arc::new(database))]),
            ..CatalogSnapshot::default()
        };
        let settings = EngineSettings { memory_limit_bytes: None, target_partitions: 2 };
        Self {
            catalog: Arc::new(catalog),
            overlays: HashMap::new(),
            engine: Engine::new(settings, crate::rules()).unwrap(),
            counters: Arc::default(),
            next_oid: 20_000,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .thread_stack_size(16 << 20)
                .enable_all()
                .build()
                .unwrap(),
        }
    }

    fn session(&self) -> Arc<SessionValues> {
        Arc::new(SessionValues {
            transaction_micros: NOW,
            statement_micros: NOW,
            clock: Arc::new(Fixed),
            dice: Arc::new(Fixed),
            user: "elanus".to_owned(),
            session_user: "elanus".to_owned(),
            database: "elanus".to_owned(),
            database_id: DatabaseId(1),
            search_path: vec!["public".to_owned()],
            time_zone: TimeZone::default(),
            settings: Arc::default(),
            setting_sink: Arc::new(Fixed),
            backend_pid: 1,
            catalog: Arc::clone(&self.catalog),
            sequence_values: Arc::default(),
            last_commit: Arc::default(),
        })
    }

    pub(super) fn context(&self) -> PlanContext {
        PlanContext {
            catalog: Arc::clone(&self.catalog),
            database: DatabaseId(1),
            search_path: vec!["public".to_owned()],
            parameter_types: Vec::new(),
            system: Arc::new(NoSystemRelations),
            session: self.session(),
            settings: PlanSettings::default(),
            instants: crate::Instants::default(),
        }
    }

    pub(super) fn statement_context(&self) -> Arc<StatementContext> {
        let snapshots = self
            .overlays
            .iter()
            .map(|(id, overlay)| {
                let table = Arc::clone(&self.catalog.tables[id]);
                let empty = TableSnapshot { table, read_ts: Timestamp(1), segments: Vec::new() };
                (*id, Arc::new(empty.with_overlay(overlay)))
            })
            .collect();
        Arc::new(StatementContext {
            snapshots,
            past: None,
            session: self.session(),
            sequences: Arc::<Counters>::clone(&self.counters) as Arc<dyn SequenceSource>,
            advisory: Arc::new(exec::statement::NoAdvisoryLocks),
            steps: std::collections::BTreeMap::new(),
            cancel: CancelFlag::new(),
            search: exec::statement::SearchSettings::default(),
        })
    }

    pub(super) fn plan(&self, sql: &str) -> Result<Plan, SqlError> {
        let statements = crate::parse(sql)?;
        plan(&statements[0].statement, &self.context())
    }

    pub(super) fn optimized(&self, sql: &str) -> String {
        let Plan::Query(query) = self.plan(sql).unwrap() else { panic!("no query: {sql}") };
        self.engine.optimize(query.logical, &self.statement_context()).unwrap().display_indent().to_string()
    }

    pub(super) fn run(&mut self, sql: &str) -> Result<Answer, SqlError> {
        let plan = self.plan(sql)?;
        self.carry_out(plan)
    }

    pub(super) fn run_with(&mut self, sql: &str, values: &[ParameterValue]) -> Result<Answer, SqlError> {
        let plan = crate::bind_plan(self.plan(sql)?, values)?;
        self.carry_out(plan)
    }

    fn carry_out(&mut self, plan: Plan) -> Result<Answer, SqlError> {
        match plan {
            Plan::Query(query) => {
                let batch = self.execute(query.logical)?;
                Ok(answer(&query.columns, batch.as_ref()))
            }
            Plan::Ddl(DdlCommand::CreateTable(create)) => {
                self.create(&create);
                Ok(Answer::default())
            }
            Plan::Insert(insert) => {
                let Some(batch) = self.execute(insert.source)? else { return Ok(Answer::default()) };
                let rows = stored(&insert.table, batch.columns().to_vec())?;
                self.overlays.get_mut(&insert.table.id).unwrap().insert(&rows).unwrap();
                self.returned(insert.returning.as_ref(), &rows)
            }
            Plan::Delete(delete) => {
                let Some(batch) = self.execute(delete.source)? else { return Ok(Answer::default()) };
                self.delete(delete.table.id, &batch);
                let row = batch.project(&(3..batch.num_columns()).collect::<Vec<_>>()).unwrap();
                self.returned(delete.returning.as_ref(), &row)
            }
            Plan::Update(update) => {
                let Some(batch) = self.execute(update.source)? else { return Ok(Answer::default()) };
                let width = update.table.columns.len();
                let new = batch.columns()[3..3 + width].to_vec();
                let rows = stored(&update.table, new)?;
                self.delete(update.table.id, &batch);
                self.overlays.get_mut(&update.table.id).unwrap().insert(&rows).unwrap();
                let extra = batch.num_columns() - update.extra;
                let shown: Vec<usize> = (3..3 + width).chain(extra..batch.num_columns()).collect();
                self.returned(update.returning.as_ref(), &batch.project(&shown).unwrap())
            }
            Plan::Truncate(truncate) => {
                for table in truncate.tables {
                    self.overlays.insert(table.id, TableOverlay::new(table));
                }
                Ok(Answer::default())
            }
            other => Err(SqlError::unsupported(
                format!("in this test: {other:?}").chars().take(60).collect::<String>(),
            )),
        }
    }

    fn returned(&self, returning: Option<&crate::Returning>, rows: &RecordBatch) -> Result<Answer, SqlError> {
        let Some(returning) = returning else { return Ok(Answer::default()) };
        let compiled = exec::rows::RowExpressions::compile(
            &returning.expressions,
            &returning.schema,
            &self.statement_context(),
        )?;
        let arrays = compiled.evaluate(rows)?;
        let mut out = answer(&returning.columns, None);
        out.rows = text_rows(&returning.columns, &arrays, rows.num_rows());
        Ok(out)
    }

    fn delete(&mut self, table: TableId, batch: &RecordBatch) {
        let overlay = self.overlays.get_mut(&table).unwrap();
        for row in 0..batch.num_rows() {
            let target = RowRef {
                segment: SegmentId(batch.column(0).as_primitive::<UInt64Type>().value(row)),
                ordinal: batch.column(1).as_primitive::<UInt32Type>().value(row),
                row: RowId(batch.column(2).as_primitive::<UInt64Type>().value(row)),
            };
            overlay.delete(target, bytes::Bytes::new());
        }
    }

    pub(super) fn execute(&self, logical: LogicalPlan) -> Result<Option<RecordBatch>, SqlError> {
        let context = self.statement_context();
        self.runtime.block_on(async {
            let mut stream = self.engine.execute(logical, context).await?;
            let mut batches = Vec::new();
            while let Some(batch) = stream.next().await {
                batches.push(batch.map_err(exec::to_sql_error)?);
            }
            if batches.is_empty() {
                return Ok(None);
            }
            Ok(Some(concat_batches(&batches[0].schema(), &batches).unwrap()))
        })
    }

    fn oid(&mut self) -> u32 {
        self.next_oid += 1;
        self.next_oid
    }

    fn create(&mut self, create: &CreateTable) {
        if create.exists {
            return;
        }
        let mut catalog = CatalogSnapshot::clone(&self.catalog);
        let columns: Vec<Column> = create
            .columns
            .iter()
            .enumerate()
            .map(|(position, column)| Column {
                id: position as u32 + 1,
                name: column.name.clone(),
                ty: column.ty,
                nullable: column.nullable,
                default: column.default.clone(),
                identity: column.identity,
                missing: None,
            })
            .collect();
        let table = TableId(u64::from(self.oid()));
        for column in &create.columns {
            let Some(sequence) = &column.sequence else { continue };
            let id = SequenceId(u64::from(self.oid()));
            catalog.sequences.insert(
                id,
                Arc::new(SequenceMeta {
                    id,
                    database: DatabaseId(1),
                    namespace: create.namespace.clone(),
                    name: sequence.name.clone(),
                    ty: sequence.ty,
                    start: sequence.start,
                    increment: sequence.increment,
                    minimum: sequence.minimum,
                    maximum: sequence.maximum,
                    first: 1,
                    owned_by: None,
                }),
            );
        }
        let primary_key = create.primary_key.as_ref().map(|key| PrimaryKey {
            oid: Oid(1),
            index_oid: Oid(2),
            name: key.name.clone(),
            columns: key.columns.clone(),
        });
        let meta = Arc::new(TableMeta {
            id: table,
            database: DatabaseId(1),
            namespace: create.namespace.clone(),
            name: create.name.clone(),
            type_oid: Oid(3),
            schema_version: 1,
            next_column_id: columns.len() as u32 + 1,
            columns,
            primary_key,
            uniques: create.uniques.clone(),
            foreign_keys: Vec::new(),
            indexes: Vec::new(),
            checks: Vec::new(),
            former: Vec::new(),
            rewritten: 0,
            options: proto::catalog::TableOptions::default(),
            channel: ChannelId(1),
        });
        catalog.tables.insert(table, Arc::clone(&meta));
        self.overlays.insert(table, TableOverlay::new(meta));
        self.catalog = Arc::new(catalog);
    }
}

fn answer(columns: &[OutputColumn], batch: Option<&RecordBatch>) -> Answer {
    let names = columns.iter().map(|column| column.name.clone()).collect();
    let rows = batch.map_or_else(Vec::new, |batch| text_rows(columns, batch.columns(), batch.num_rows()));
    Answer { names, rows }
}

fn text_rows(columns: &[OutputColumn], arrays: &[Arc<dyn Array>], rows: usize) -> Vec<Vec<String>> {
    (0..rows)
        .map(|row| {
            columns.iter().zip(arrays).map(|(column, array)| cell(array.as_ref(), row, column.ty)).collect()
        })
        .collect()
}

fn cell(array: &dyn Array, row: usize, ty: ColumnType) -> String {
    if array.is_null(row) {
        return "NULL".to_owned();
    }
    let mut text = String::new();
    write_value(array, row, ty, &TimeZone::default(), &mut text).unwrap();
    if text.is_empty() { "(empty)".to_owned() } else { text }
}

/// The rows as the table keeps them; NOT NULL is the sink's to check.
fn stored(table: &TableMeta, columns: Vec<Arc<dyn Array>>) -> Result<RecordBatch, SqlError> {
    for (column, values) in table.columns.iter().zip(&columns) {
        if !column.nullable && values.null_count() > 0 {
            return Err(SqlError::new(
                proto::ErrorKind::NotNullViolation,
                format!(
                    "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                    column.name, table.name
                ),
            ));
        }
    }
    Ok(RecordBatch::try_new(table.arrow_schema(), columns).unwrap())
}
