//! The engine: from a logical plan to a stream of batches.
//!
//! One per process. A statement gets a clone of the template state that carries its `StatementContext`;
//! nothing of a statement survives in the engine. Plans that only compute (`SELECT 1`) skip the optimizer and
//! the physical planner; plans that run again and again are planned once (`template`).
//!
//! Invariants: only our functions exist; nothing spills to disk, so that the memory limit ends in 53200; a
//! canceled statement's stream ends with 57014 at its next batch.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::execution::TaskContext;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream, execute_stream};
use datafusion::prelude::SessionConfig;
use proto::SqlError;

use crate::error::Error;
use crate::memory::LimitedPool;
use crate::statement::{StatementContext, StatementExtension};
use crate::to_sql_error;

mod apply;
mod cancel;
mod explain;
mod fast;
mod parameters;
mod template;
mod value;

pub use explain::ExplainOptions;
pub(crate) use explain::as_of;
pub(crate) use explain::expressions::text as expression_text;
pub use parameters::ParameterValue;
use parameters::PresentValues;
pub(crate) use parameters::{Values, as_functions};
pub use template::Template;

/// A statement that holds less is let through whatever others hold.
const SMALL_BYTES: usize = 4 << 20;

/// Rows per batch.
pub const BATCH_ROWS: usize = 8192;

/// What an engine is made with.
#[derive(Clone, Copy, Debug)]
pub struct EngineSettings {
    /// Bytes that the process may hold; none for no limit.
    pub memory_limit_bytes: Option<usize>,
    /// Parallel parts of a plan; normally the number of cores.
    pub target_partitions: usize,
}

/// Runs logical plans.
#[derive(Debug)]
pub struct Engine {
    template: SessionState,
    options: Arc<ConfigOptions>,
    pool: Arc<LimitedPool>,
}

impl Engine {
    /// An engine with the given optimizer rules behind DataFusion's own.
    ///
    /// # Errors
    /// When DataFusion's runtime cannot be put together.
    pub fn new(
        settings: EngineSettings,
        rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>,
    ) -> Result<Self, Error> {
        let pool = Arc::new(LimitedPool::new(settings.memory_limit_bytes));
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::clone(&pool) as _)
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()
            .map_err(|error| Error::Setup(error.to_string()))?;
        let template = template(configuration(settings), runtime, rules);
        let options = Arc::clone(template.config_options());
        Ok(Self { template, options, pool })
    }

    /// For a statement that gathers rows outside the plan's operators, `held` bytes so far.
    ///
    /// # Errors
    /// 53200 when the process holds more than its limit and the statement is not a small one.
    pub fn check_memory(&self, held: usize) -> Result<(), SqlError> {
        if held < SMALL_BYTES { Ok(()) } else { self.pool.check().map_err(to_sql_error) }
    }

    /// The optimized plan, with constants folded for this statement: not for a cache.
    ///
    /// # Errors
    /// Whatever analysis finds wrong with the plan.
    pub fn optimize(
        &self,
        plan: LogicalPlan,
        context: &Arc<StatementContext>,
    ) -> Result<LogicalPlan, SqlError> {
        optimized(&self.state(context), plan).map_err(to_sql_error)
    }

    /// Runs a plan whose parameters are bound. Errors inside the stream are `DataFusionError`s for
    /// `to_sql_error`.
    ///
    /// # Errors
    /// Whatever planning finds wrong; 57014 when the statement is canceled already.
    pub async fn execute(
        &self,
        plan: LogicalPlan,
        context: Arc<StatementContext>,
    ) -> Result<SendableRecordBatchStream, SqlError> {
        context.cancel.check().map_err(to_sql_error)?;
        if let Some(projection) = fast::as_constant_projection(&plan) {
            let options =
                if fast::calls(projection) { self.options_for(&context) } else { Arc::clone(&self.options) };
            if let Some(stream) = fast::evaluate(projection, options) {
                return Ok(stream);
            }
        }
        let state = self.state(&context);
        let physical = physical_plan(&state, plan, None).await.map_err(to_sql_error)?;
        let stream = execute_stream(physical, state.task_ctx()).map_err(to_sql_error)?;
        Ok(cancel::until_canceled(stream, context.cancel.clone()))
    }

    /// The plan with its parameters open, ready to be run many times; none when its shape does not allow that,
    /// or planning finds something wrong, which `execute` will tell.
    pub async fn template(&self, plan: LogicalPlan, context: &Arc<StatementContext>) -> Option<Template> {
        // No snapshot may stay in the template.
        let context =
            Arc::new(StatementContext { snapshots: HashMap::new(), ..StatementContext::clone(context) });
        self.planned_template(plan, &context).await.ok().flatten()
    }

    async fn planned_template(
        &self,
        plan: LogicalPlan,
        context: &Arc<StatementContext>,
    ) -> DfResult<Option<Template>> {
        if fast::as_constant_projection(&plan).is_some() || !template::qualifies(&plan)? {
            return Ok(None);
        }
        let types = parameters::types_in(&plan)?;
        // Exchanging a few rows between tasks costs more than it gains.
        let mut options = self.statement_options(context);
        options.execution.target_partitions = 1;
        let state = self.state_with(context, options);
        let optimized = parameters::plan_with_functions(optimized(&state, plan)?, None)?;
        let physical = state.query_planner().create_physical_plan(&optimized, &state).await?;
        Template::of(physical, types)
    }

    /// Runs a template; none when it does not suit these values or what its tables hold now.
    ///
    /// # Errors
    /// 57014 when the statement is canceled already.
    pub fn run(
        &self,
        template: &Template,
        parameters: &[ParameterValue],
        context: &Arc<StatementContext>,
    ) -> Result<Option<SendableRecordBatchStream>, SqlError> {
        context.cancel.check().map_err(to_sql_error)?;
        self.run_template(template, parameters, context).map_err(to_sql_error)
    }

    fn run_template(
        &self,
        template: &Template,
        parameters: &[ParameterValue],
        context: &Arc<StatementContext>,
    ) -> DfResult<Option<SendableRecordBatchStream>> {
        let target_partitions = self.options.execution.target_partitions;
        if !template.fits(parameters, context, target_partitions)? {
            return Ok(None);
        }
        let options =
            if template.reads_session { self.options_for(context) } else { Arc::clone(&self.options) };
        let values = Values { parameters, options: &options };
        let physical = template::for_run(&template.physical, &values)?;
        let config = self.template.config().clone().with_extension(Arc::clone(context));
        let task = TaskContext::new(
            None,
            self.template.session_id().to_owned(),
            config,
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            Arc::clone(self.template.runtime_env()),
        );
        let stream = execute_stream(physical, Arc::new(task))?;
        Ok(Some(cancel::until_canceled(stream, context.cancel.clone())))
    }

    /// The lines of EXPLAIN; with `analyze` the plan is run and its rows thrown away.
    ///
    /// # Errors
    /// Whatever planning, and with `analyze` running, ends with.
    pub async fn explain(
        &self,
        plan: LogicalPlan,
        context: Arc<StatementContext>,
        options: ExplainOptions,
    ) -> Result<Vec<String>, SqlError> {
        context.cancel.check().map_err(to_sql_error)?;
        let state = self.state(&context);
        let physical = physical_plan(&state, plan, None).await.map_err(to_sql_error)?;
        let clock = Arc::clone(&context.session.clock);
        let mut elapsed = None;
        if options.analyze {
            let start = clock.monotonic_micros();
            let stream = execute_stream(Arc::clone(&physical), state.task_ctx()).map_err(to_sql_error)?;
            explain::drain(cancel::until_canceled(stream, context.cancel.clone()))
                .await
                .map_err(to_sql_error)?;
            elapsed = Some(clock.monotonic_micros().saturating_sub(start));
        }
        Ok(explain::render(&physical, options, elapsed))
    }

    /// A state that carries a statement.
    fn state(&self, context: &Arc<StatementContext>) -> SessionState {
        self.state_with(context, self.statement_options(context))
    }

    fn state_with(&self, context: &Arc<StatementContext>, options: ConfigOptions) -> SessionState {
        let mut state = self.template.clone();
        *state.config_mut().options_mut() = options;
        state.config_mut().set_extension(Arc::clone(context));
        state.mark_start_execution();
        state
    }

    fn statement_options(&self, context: &Arc<StatementContext>) -> ConfigOptions {
        let mut options = ConfigOptions::clone(&self.options);
        options.extensions.insert(StatementExtension(Arc::clone(context)));
        options
    }

    /// Options that carry a statement, for evaluating expressions outside a plan.
    pub(crate) fn options_for(&self, context: &Arc<StatementContext>) -> Arc<ConfigOptions> {
        Arc::new(self.statement_options(context))
    }
}

fn optimized(state: &SessionState, plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let analyzed = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
    state.optimizer().optimize(analyzed, state, |_, _| {})
}

/// Plans with subqueries as joins; when DataFusion refuses one, with those subqueries applied row by row. `present`
/// is where the plan's parameters will have their values, if it has any.
async fn physical_plan(
    state: &SessionState,
    plan: LogicalPlan,
    present: Option<&PresentValues>,
) -> DfResult<Arc<dyn ExecutionPlan>> {
    if !apply::has_subqueries(&plan)? {
        return direct_plan(state, plan, present).await;
    }
    let error = match direct_plan(state, plan.clone(), present).await {
        Ok(physical) => return Ok(physical),
        Err(error) => error,
    };
    match apply::apply_subqueries(plan, state)? {
        Some(applied) => direct_plan(state, applied, present).await,
        None => Err(error),
    }
}

async fn direct_plan(
    state: &SessionState,
    plan: LogicalPlan,
    present: Option<&PresentValues>,
) -> DfResult<Arc<dyn ExecutionPlan>> {
    let mut optimized = optimized(state, plan)?;
    if present.is_some() {
        optimized = parameters::plan_with_functions(optimized, present)?;
    }
    state.query_planner().create_physical_plan(&optimized, state).await
}

fn configuration(settings: EngineSettings) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_batch_size(BATCH_ROWS)
        .with_target_partitions(settings.target_partitions.max(1))
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false)
        .with_collect_statistics(false);
    let options = config.options_mut();
    options.sql_parser.enable_ident_normalization = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.default_null_ordering = "nulls_max".to_owned();
    options.optimizer.skip_failed_rules = false;
    // PostgreSQL keeps the order of a derived table, and pgvector's users rely on it.
    options.sql_parser.enable_subquery_sort_elimination = false;
    config
}

fn template(
    config: SessionConfig,
    runtime: Arc<RuntimeEnv>,
    rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>,
) -> SessionState {
    let mut all = Optimizer::new().rules;
    all.extend(rules);
    SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_optimizer_rules(all)
        .with_query_planner(Arc::new(crate::knn::KnnQueryPlanner))
        .build()
}

#[cfg(test)]
mod tests;
