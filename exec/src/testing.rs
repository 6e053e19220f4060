//! What this crate's tests share: a statement context, an engine, and a binder for the expressions of the
//! recorded answers, which stands where the planner stands in the product.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, Int32Array, RecordBatch, StringArray};
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, binary_expr, lit,
};
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, FunctionArg, FunctionArgExpr, FunctionArguments,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use futures::StreamExt;
use parking_lot::Mutex;
use proto::catalog::{CatalogSnapshot, Column, TableMeta};
use proto::time::{Clock, Dice};
use proto::{
    ChannelId, ColumnType, DatabaseId, ErrorKind, RowId, SegmentId, SequenceId, SqlError, TableId, Timestamp,
    TypeKind,
};
use segments::{DeleteSet, GrowingRows, SegmentForm, SegmentView, TableSnapshot};

use crate::functions::{self, CastContext, FunctionKind, cast, common_type};
use crate::statement::{SequenceValues, SettingSink};
use crate::text::{InputContext, TimeZone, parse_column, write_value};
use crate::{
    CancelFlag, Engine, EngineSettings, SequenceSource, SessionValues, StatementContext, to_sql_error,
};

/// A clock that moves a microsecond at every look.
#[derive(Debug, Default)]
pub(crate) struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now_millis(&self) -> u64 {
        1_767_225_600_000
    }

    fn monotonic_micros(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Dice that count.
#[derive(Debug, Default)]
pub(crate) struct TestDice(AtomicU64);

impl Dice for TestDice {
    fn next_u64(&self) -> u64 {
        self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }
}

/// A sequence that counts from 1.
#[derive(Debug, Default)]
pub(crate) struct Counting(AtomicU64);

#[async_trait]
impl SequenceSource for Counting {
    async fn next_values(&self, _sequence: SequenceId, count: usize) -> Result<Vec<i64>, SqlError> {
        let first = self.0.fetch_add(count as u64, Ordering::Relaxed);
        Ok((first + 1..=first + count as u64).map(|value| value as i64).collect())
    }

    async fn set_next(&self, _sequence: SequenceId, next: i64) -> Result<(), SqlError> {
        self.0.store((next - 1) as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// A session in which nothing can be set.
#[derive(Debug)]
pub(crate) struct NoSettings;

impl SettingSink for NoSettings {
    fn set(&self, name: &str, _value: Option<&str>, _local: bool) -> Result<String, SqlError> {
        let message = format!("unrecognized configuration parameter \"{name}\"");
        Err(SqlError::new(ErrorKind::UndefinedObject, message))
    }

    fn changed(&self, _name: &str) -> Option<String> {
        None
    }
}

/// Values of a session of user `elanus` in 2026.
pub(crate) fn session() -> SessionValues {
    SessionValues {
        transaction_micros: 1_767_225_600_000_000,
        statement_micros: 1_767_225_600_000_001,
        clock: Arc::new(TestClock::default()),
        dice: Arc::new(TestDice::default()),
        user: "elanus".to_owned(),
        session_user: "elanus".to_owned(),
        database: "elanus".to_owned(),
        database_id: DatabaseId(1),
        search_path: vec!["public".to_owned()],
        time_zone: TimeZone::UTC,
        settings: Arc::new(BTreeMap::new()),
        setting_sink: Arc::new(NoSettings),
        backend_pid: 7,
        catalog: Arc::new(CatalogSnapshot::default()),
        sequence_values: Arc::new(Mutex::new(SequenceValues::default())),
        last_commit: Arc::default(),
    }
}

/// A statement of such a session without tables.
pub(crate) fn context() -> StatementContext {
    StatementContext {
        snapshots: HashMap::new(),
        past: None,
        session: Arc::new(session()),
        sequences: Arc::new(Counting::default()),
        advisory: Arc::new(crate::statement::NoAdvisoryLocks),
        steps: std::collections::BTreeMap::new(),
        cancel: CancelFlag::new(),
        search: crate::statement::SearchSettings::default(),
    }
}

/// An engine without memory limit and own rules.
pub(crate) fn engine() -> Engine {
    Engine::new(EngineSettings { memory_limit_bytes: None, target_partitions: 2 }, Vec::new())
        .expect("an engine")
}

/// Evaluates one expression through the engine and prints it as the wire would.
pub(crate) async fn evaluate(expression: Expr) -> Result<Option<String>, SqlError> {
    let plan = LogicalPlanBuilder::empty(true)
        .project([expression.alias("x")])
        .and_then(LogicalPlanBuilder::build)
        .map_err(to_sql_error)?;
    let mut stream = engine().execute(plan, Arc::new(context())).await?;
    let batch = stream.next().await.expect("one batch").map_err(to_sql_error)?;
    let column = batch.column(0);
    if column.is_null(0) || *column.data_type() == arrow::datatypes::DataType::Null {
        return Ok(None);
    }
    let ty = ColumnType::of_field(stream.schema().field(0));
    let mut text = String::new();
    write_value(column.as_ref(), 0, ty, &TimeZone::UTC, &mut text)?;
    Ok(Some(text))
}

/// Runs a plan and prints its rows: columns joined by `|`, NULL as `NULL`.
pub(crate) async fn run(plan: LogicalPlan, context: Arc<StatementContext>) -> Result<Vec<String>, SqlError> {
    run_with(&engine(), plan, context).await
}

/// The same in a given engine.
pub(crate) async fn run_with(
    engine: &Engine,
    plan: LogicalPlan,
    context: Arc<StatementContext>,
) -> Result<Vec<String>, SqlError> {
    let mut stream = engine.execute(plan, context).await?;
    let mut rows = Vec::new();
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(to_sql_error)?;
        for row in 0..batch.num_rows() {
            let mut texts = Vec::new();
            for (column, field) in batch.columns().iter().zip(batch.schema().fields()) {
                let mut text = String::new();
                if column.is_null(row) {
                    text.push_str("NULL");
                } else {
                    let ty = ColumnType::of_field(field);
                    write_value(column.as_ref(), row, ty, &TimeZone::UTC, &mut text)?;
                }
                texts.push(text);
            }
            rows.push(texts.join("|"));
        }
    }
    Ok(rows)
}

/// The code that the recorded errors carry for a kind.
pub(crate) fn code(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::FeatureNotSupported => "0A000",
        ErrorKind::DataException => "22000",
        ErrorKind::StringDataRightTruncation => "22001",
        ErrorKind::NumericValueOutOfRange => "22003",
        ErrorKind::NullValueNotAllowed => "22004",
        ErrorKind::InvalidDatetimeFormat => "22007",
        ErrorKind::DatetimeFieldOverflow => "22008",
        ErrorKind::SubstringError => "22011",
        ErrorKind::DivisionByZero => "22012",
        ErrorKind::InvalidArgumentForLogarithm => "2201E",
        ErrorKind::InvalidArgumentForPowerFunction => "2201F",
        ErrorKind::InvalidParameterValue => "22023",
        ErrorKind::InvalidEscapeSequence => "22025",
        ErrorKind::InvalidTextRepresentation => "22P02",
        ErrorKind::UndefinedObject => "42704",
        ErrorKind::AmbiguousFunction => "42725",
        ErrorKind::DatatypeMismatch => "42804",
        ErrorKind::CannotCoerce => "42846",
        ErrorKind::UndefinedFunction => "42883",
        ErrorKind::ProgramLimitExceeded => "54000",
        _ => "other",
    }
}

/// A relation `t(v)` of texts cast to a type.
pub(crate) fn values(ty: ColumnType, texts: &[Option<&str>]) -> Result<LogicalPlanBuilder, SqlError> {
    let rows = if texts.is_empty() { vec![None] } else { texts.to_vec() };
    let rows = rows
        .into_iter()
        .map(|text| vec![Expr::Literal(ScalarValue::Utf8(text.map(str::to_owned)), None)])
        .collect();
    let builder = LogicalPlanBuilder::values(rows).map_err(to_sql_error)?;
    let builder = if texts.is_empty() { builder.filter(lit(false)).map_err(to_sql_error)? } else { builder };
    let cast = cast(datafusion::logical_expr::col("column1"), ty, CastContext::Explicit);
    builder.project([cast.alias("v")]).map_err(to_sql_error)
}

/// A table with an int4 key `id`, a text `name` and a vector(2) `v`.
pub(crate) fn table_meta() -> Arc<TableMeta> {
    let column = |id, name: &str, ty, nullable| Column {
        id,
        name: name.to_owned(),
        ty,
        nullable,
        default: None,
        identity: None,
        missing: None,
    };
    Arc::new(TableMeta {
        id: TableId(16_500),
        database: DatabaseId(1),
        namespace: "public".to_owned(),
        name: "items".to_owned(),
        type_oid: proto::Oid(16_501),
        schema_version: 1,
        next_column_id: 4,
        columns: vec![
            column(1, "id", ColumnType::INT4, false),
            column(2, "name", ColumnType::TEXT, true),
            column(3, "v", ColumnType::vector(2), true),
        ],
        primary_key: None,
        uniques: Vec::new(),
        foreign_keys: Vec::new(),
        indexes: Vec::new(),
        checks: Vec::new(),
        former: Vec::new(),
        rewritten: 0,
        options: proto::catalog::TableOptions::default(),
        channel: ChannelId(1),
    })
}

/// Rows of that table; a vector's text or none.
pub(crate) fn table_batch(rows: &[(i32, &str, Option<&str>)]) -> RecordBatch {
    let meta = table_meta();
    let vectors: StringArray = rows.iter().map(|row| row.2).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|row| Some(row.1)).collect::<StringArray>()),
        parse_column(&vectors, ColumnType::vector(2), &InputContext::default()).expect("vectors"),
    ];
    RecordBatch::try_new(meta.arrow_schema(), columns).expect("a batch")
}

/// A statement over that table: one growing segment per batch, and the (segment, ordinal) rows deleted.
pub(crate) fn table_context(batches: &[RecordBatch], deleted: &[(usize, u32)]) -> Arc<StatementContext> {
    let meta = table_meta();
    let mut next_row = 1;
    let mut views = Vec::new();
    for (position, batch) in batches.iter().enumerate() {
        let mut rows = GrowingRows::new(SegmentId(position as u64 + 1), Arc::clone(&meta));
        rows.append(batch, Timestamp(position as u64 + 1), RowId(next_row)).expect("rows");
        let mut deletes = DeleteSet::new();
        for (_, ordinal) in deleted.iter().filter(|(segment, _)| *segment == position) {
            deletes.insert(*ordinal, RowId(next_row + u64::from(*ordinal)), Timestamp(50));
        }
        next_row += batch.num_rows() as u64;
        views.push(Arc::new(SegmentView::new(SegmentForm::Growing(rows), deletes, Timestamp(100))));
    }
    let snapshot = TableSnapshot { table: Arc::clone(&meta), read_ts: Timestamp(100), segments: views };
    let mut context = context();
    context.snapshots.insert(meta.id, Arc::new(snapshot));
    Arc::new(context)
}

/// An expression with its type; none for unknown literals.
type Bound = (Expr, Option<ColumnType>);

/// Binds PostgreSQL's text of an expression.
pub(crate) fn bind(text: &str) -> Result<Expr, SqlError> {
    let dialect = PostgreSqlDialect {};
    let parsed = Parser::new(&dialect)
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_expr())
        .map_err(|error| SqlError::new(ErrorKind::SyntaxError, error.to_string()))?;
    expression(&parsed).map(|bound| bound.0)
}

fn typed(expression: Expr) -> Result<Bound, SqlError> {
    let schema = datafusion::common::DFSchema::empty();
    let (_, field) = expression.to_field(&schema).map_err(to_sql_error)?;
    let ty = ColumnType::of_field(&field);
    Ok((expression, Some(ty)))
}

fn to_type(bound: Bound, target: ColumnType) -> Expr {
    match bound.1 {
        Some(ty) if ty == target => bound.0,
        _ => cast(bound.0, target, CastContext::Implicit),
    }
}

fn call(name: &str, arguments: Vec<Bound>) -> Result<Bound, SqlError> {
    let types: Vec<_> = arguments.iter().map(|bound| bound.1).collect();
    let Some(function) = functions::find(name) else {
        return Err(functions::resolve::no_such_function_for(name, &types));
    };
    let choice = function.resolve(&types)?;
    let FunctionKind::Scalar(func) = &function.kind else {
        return Err(SqlError::unsupported(name));
    };
    let args = arguments.into_iter().zip(&choice.arguments).map(|(bound, ty)| to_type(bound, *ty)).collect();
    typed(Expr::ScalarFunction(ScalarFunction { func: Arc::clone(func), args }))
}

fn operate(operator: &str, arguments: Vec<Bound>) -> Result<Bound, SqlError> {
    let types: Vec<_> = arguments.iter().map(|bound| bound.1).collect();
    let (func, choice) = functions::resolve_operator(operator, &types)?;
    let args = arguments.into_iter().zip(&choice.arguments).map(|(bound, ty)| to_type(bound, *ty)).collect();
    typed(Expr::ScalarFunction(ScalarFunction { func, args }))
}

fn literal(value: &ast::Value) -> Result<Bound, SqlError> {
    match value {
        ast::Value::Number(digits, _) => {
            if let Ok(value) = digits.parse::<i32>() {
                return Ok((lit(value), Some(ColumnType::INT4)));
            }
            if let Ok(value) = digits.parse::<i64>() {
                return Ok((lit(value), Some(ColumnType::INT8)));
            }
            let text = Expr::Literal(ScalarValue::Utf8(Some(digits.clone())), None);
            typed(cast(text, TypeKind::Numeric.into(), CastContext::Explicit))
        }
        ast::Value::SingleQuotedString(text) => Ok((lit(text.clone()), None)),
        ast::Value::Boolean(value) => Ok((lit(*value), Some(ColumnType::BOOL))),
        ast::Value::Null => Ok((Expr::Literal(ScalarValue::Utf8(None), None), None)),
        other => Err(SqlError::unsupported(other)),
    }
}

fn named_type(data_type: &ast::DataType) -> Result<ColumnType, SqlError> {
    let text = data_type.to_string().to_lowercase();
    let (name, modifier) = match text.split_once('(') {
        Some((name, modifier)) if !text.ends_with("[]") => (name.to_owned(), modifier.trim_end_matches(')')),
        _ => (text.clone(), ""),
    };
    let ty = ColumnType::from_name(&name).ok_or_else(|| SqlError::unsupported(&text))?;
    let numbers: Vec<i32> = modifier.split(',').filter_map(|part| part.trim().parse().ok()).collect();
    let typmod = match (ty.kind, numbers.as_slice()) {
        (TypeKind::Numeric, [precision, scale]) => ((precision << 16) | scale) + 4,
        (TypeKind::Vector, [dimensions]) => *dimensions,
        (TypeKind::Bpchar, []) if name == "char" => 5,
        (_, [length]) => length + 4,
        _ => -1,
    };
    Ok(ColumnType { typmod, ..ty })
}

fn compare(operator: Operator, left: Bound, right: Bound) -> Result<Bound, SqlError> {
    let common = common_type("operator", &[left.1, right.1])?;
    let compared = binary_expr(to_type(left, common), operator, to_type(right, common));
    Ok((compared, Some(ColumnType::BOOL)))
}

fn binary(left: Bound, operator: &BinaryOperator, right: Bound) -> Result<Bound, SqlError> {
    match operator {
        BinaryOperator::Eq => compare(Operator::Eq, left, right),
        BinaryOperator::Lt => compare(Operator::Lt, left, right),
        BinaryOperator::And => Ok((
            to_type(left, ColumnType::BOOL).and(to_type(right, ColumnType::BOOL)),
            Some(ColumnType::BOOL),
        )),
        BinaryOperator::Or => {
            Ok((to_type(left, ColumnType::BOOL).or(to_type(right, ColumnType::BOOL)), Some(ColumnType::BOOL)))
        }
        other => operate(&other.to_string(), vec![left, right]),
    }
}

fn expression(parsed: &ast::Expr) -> Result<Bound, SqlError> {
    match parsed {
        ast::Expr::Value(value) => literal(&value.value),
        ast::Expr::Nested(inner) => expression(inner),
        ast::Expr::Cast { expr, data_type, .. } => {
            let target = named_type(data_type)?;
            let source = expression(expr)?;
            if let Some(from) = source.1
                && functions::cast_context(from, target).is_none()
            {
                return Err(SqlError::new(
                    ErrorKind::CannotCoerce,
                    format!("cannot cast type {} to {}", from.display(), target.display()),
                ));
            }
            typed(cast(source.0, target, CastContext::Explicit))
        }
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Not, expr } => {
            let inner = to_type(expression(expr)?, ColumnType::BOOL);
            Ok((Expr::Not(Box::new(inner)), Some(ColumnType::BOOL)))
        }
        ast::Expr::UnaryOp { op, expr } => operate(&op.to_string(), vec![expression(expr)?]),
        ast::Expr::BinaryOp { left, op, right } => binary(expression(left)?, op, expression(right)?),
        ast::Expr::IsNull(inner) => Ok((expression(inner)?.0.is_null(), Some(ColumnType::BOOL))),
        ast::Expr::IsNotNull(inner) => Ok((expression(inner)?.0.is_not_null(), Some(ColumnType::BOOL))),
        ast::Expr::Extract { field, expr, .. } => {
            let unit = (lit(field.to_string().to_lowercase()), Some(ColumnType::TEXT));
            call("extract", vec![unit, expression(expr)?])
        }
        ast::Expr::Ceil { expr, .. } => call("ceil", vec![expression(expr)?]),
        ast::Expr::Floor { expr, .. } => call("floor", vec![expression(expr)?]),
        ast::Expr::Substring { expr, substring_from, substring_for, .. } => {
            let mut arguments = vec![expression(expr)?];
            for part in [substring_from, substring_for].into_iter().flatten() {
                arguments.push(expression(part)?);
            }
            call("substring", arguments)
        }
        ast::Expr::Function(function) => {
            let FunctionArguments::List(list) = &function.args else {
                return call(&function.name.to_string(), Vec::new());
            };
            let arguments = list
                .args
                .iter()
                .map(|argument| match argument {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(inner)) => expression(inner),
                    other => Err(SqlError::unsupported(other)),
                })
                .collect::<Result<Vec<_>, _>>()?;
            call(&function.name.to_string().to_lowercase(), arguments)
        }
        other => Err(SqlError::unsupported(other)),
    }
}
