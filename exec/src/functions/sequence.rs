//! Sequence functions: `nextval` and `setval` ask the owner of the sequence, `currval` and `lastval` the session.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type, UInt32Type};
use async_trait::async_trait;
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature as DfSignature, TypeSignature,
    Volatility,
};
use proto::{ColumnType, ErrorKind, SequenceId, SqlError, TypeKind};

use super::overload::{Call, PgFunction};
use super::signature::Signature;
use super::{Function, FunctionKind};
use crate::error::{internal, raise};

mod ordered;

use crate::statement::{SequenceValues, SessionValues, StatementContext, of_config};
pub use ordered::project_in_order;

/// `nextval(regclass)`: one durable value per row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct NextVal {
    signature: DfSignature,
    call: usize,
}

impl NextVal {
    fn function(call: usize) -> Arc<ScalarUDF> {
        let signature = DfSignature::exact(
            vec![ColumnType::scalar(TypeKind::Regclass).data_type()],
            Volatility::Volatile,
        );
        Arc::new(AsyncScalarUDF::new(Arc::new(Self { signature, call })).into_scalar_udf())
    }
}

impl ScalarUDFImpl for NextVal {
    fn name(&self) -> &str {
        "nextval"
    }

    fn signature(&self) -> &DfSignature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Err(internal("nextval can only be awaited"))
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for NextVal {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let context = Arc::clone(of_config(&args.config_options)?);
        let oids = args.args[0].to_array(args.number_rows)?;
        let values = next_values(&context, &oids).await.map_err(raise)?;
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}

/// `setval(regclass, value [, is_called])`: durable when it returns, row after row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SetVal {
    signature: DfSignature,
    call: usize,
}

impl SetVal {
    fn function(call: usize) -> Arc<ScalarUDF> {
        let two = vec![ColumnType::scalar(TypeKind::Regclass).data_type(), DataType::Int64];
        let three = [two.as_slice(), &[DataType::Boolean]].concat();
        let either = vec![TypeSignature::Exact(two), TypeSignature::Exact(three)];
        let signature = DfSignature::one_of(either, Volatility::Volatile);
        Arc::new(AsyncScalarUDF::new(Arc::new(Self { signature, call })).into_scalar_udf())
    }
}

/// The function as one call of a statement has it. DataFusion awaits equal calls once, and two calls of `nextval` are
/// two values: they must not be equal.
#[must_use]
pub fn as_call(function: Arc<ScalarUDF>, call: impl FnOnce() -> usize) -> Arc<ScalarUDF> {
    match function.name() {
        "nextval" => NextVal::function(call()),
        "setval" => SetVal::function(call()),
        _ => function,
    }
}

impl ScalarUDFImpl for SetVal {
    fn name(&self) -> &str {
        "setval"
    }

    fn signature(&self) -> &DfSignature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Err(internal("setval can only be awaited"))
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for SetVal {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let context = Arc::clone(of_config(&args.config_options)?);
        let rows = args.number_rows;
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<DfResult<Vec<_>>>()?;
        let called = arrays.get(2).map(|array| array.as_boolean().clone());
        let (oids, values) = (arrays[0].as_primitive::<UInt32Type>(), arrays[1].as_primitive::<Int64Type>());
        let mut out = Vec::with_capacity(rows);
        for row in 0..rows {
            let null = arrays.iter().any(|array| array.is_null(row));
            if !null {
                let is_called = called.as_ref().is_none_or(|called| called.value(row));
                set_value(&context, oids.value(row), values.value(row), is_called).await.map_err(raise)?;
            }
            out.push((!null).then(|| values.value(row)));
        }
        Ok(ColumnarValue::Array(Arc::new(Int64Array::from(out))))
    }
}

/// Sets a sequence: the value given next is the one behind `value`, or `value` itself when it is not called yet.
async fn set_value(
    context: &StatementContext,
    oid: u32,
    value: i64,
    is_called: bool,
) -> Result<(), SqlError> {
    let session = &context.session;
    let id = sequence_of(session, oid)?;
    let Some(meta) = session.catalog.sequences.get(&id) else { return Ok(()) };
    if value < meta.minimum || value > meta.maximum {
        return Err(SqlError::new(
            ErrorKind::NumericValueOutOfRange,
            format!(
                "setval: value {value} is out of bounds for sequence \"{}\" ({}..{})",
                meta.name, meta.minimum, meta.maximum
            ),
        ));
    }
    let next = if is_called { value.saturating_add(meta.increment) } else { value };
    context.sequences.set_next(id, next).await?;
    if is_called {
        session.sequence_values.lock().last_by_sequence.insert(id, value);
    }
    Ok(())
}

/// Draws a value for every row; rows of one sequence are drawn in one call and keep their order.
///
/// # Errors
/// 42P01 for OIDs that name no sequence, 55000 at a sequence's limit.
pub async fn next_values(context: &StatementContext, oids: &ArrayRef) -> Result<Int64Array, SqlError> {
    let oids = oids.as_primitive::<UInt32Type>();
    let mut wanted: Vec<(SequenceId, Vec<usize>)> = Vec::new();
    for row in (0..oids.len()).filter(|row| oids.is_valid(*row)) {
        let sequence = sequence_of(&context.session, oids.value(row))?;
        match wanted.iter_mut().find(|(known, _)| *known == sequence) {
            Some((_, rows)) => rows.push(row),
            None => wanted.push((sequence, vec![row])),
        }
    }
    let mut out = vec![None; oids.len()];
    for (sequence, rows) in wanted {
        let values = context.sequences.next_values(sequence, rows.len()).await?;
        if values.len() != rows.len() {
            return Err(SqlError::new(
                ErrorKind::Internal,
                "sequence gave another number of values than asked",
            ));
        }
        let mut known = context.session.sequence_values.lock();
        known.last = Some(sequence);
        for (row, value) in rows.into_iter().zip(values) {
            out[row] = Some(value);
            known.last_by_sequence.insert(sequence, value);
        }
    }
    Ok(Int64Array::from(out))
}

fn sequence_of(session: &SessionValues, oid: u32) -> Result<SequenceId, SqlError> {
    let id = SequenceId(u64::from(oid));
    if session.catalog.sequences.contains_key(&id) {
        return Ok(id);
    }
    let relation = session.catalog.tables.values().find(|table| table.id.oid().0 == oid);
    Err(match relation {
        Some(table) => {
            SqlError::new(ErrorKind::WrongObjectType, format!("\"{}\" is not a sequence", table.name))
        }
        None => SqlError::new(ErrorKind::UndefinedTable, format!("relation with OID {oid} does not exist")),
    })
}

fn currval(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let oids = call.primitive::<UInt32Type>(0)?;
    let session = call.session()?;
    let known = session.sequence_values.lock();
    let mut out = Vec::with_capacity(call.rows());
    for row in 0..call.rows() {
        if oids.is_null(row) {
            out.push(None);
            continue;
        }
        out.push(Some(current_value(session, &known, oids.value(row))?));
    }
    Ok(Arc::new(Int64Array::from(out)))
}

/// The value that the session drew last from a sequence.
fn current_value(session: &SessionValues, known: &SequenceValues, oid: u32) -> Result<i64, SqlError> {
    let sequence = sequence_of(session, oid)?;
    known.last_by_sequence.get(&sequence).copied().ok_or_else(|| {
        let name = session.catalog.sequences.get(&sequence).map_or("", |meta| meta.name.as_str());
        SqlError::new(
            ErrorKind::ObjectNotInPrerequisiteState,
            format!("currval of sequence \"{name}\" is not yet defined in this session"),
        )
    })
}

fn lastval(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let value = last_value(&call.session()?.sequence_values.lock())?;
    Ok(Arc::new(Int64Array::from(vec![value; call.rows()])))
}

/// The value that the session drew last from any sequence.
fn last_value(known: &SequenceValues) -> Result<i64, SqlError> {
    known.last.and_then(|last| known.last_by_sequence.get(&last).copied()).ok_or_else(|| {
        SqlError::new(ErrorKind::ObjectNotInPrerequisiteState, "lastval is not yet defined in this session")
    })
}

/// The sequence functions.
#[must_use]
pub(super) fn functions() -> Vec<Function> {
    let mut functions = vec![
        Function {
            name: "nextval".to_owned(),
            kind: FunctionKind::Scalar(NextVal::function(0)),
            signatures: vec![Signature::parse("regclass", "int8")],
        },
        Function {
            name: "setval".to_owned(),
            kind: FunctionKind::Scalar(SetVal::function(0)),
            signatures: vec![
                Signature::parse("regclass,int8", "int8"),
                Signature::parse("regclass,int8,bool", "int8"),
            ],
        },
    ];
    functions.extend(
        [
            PgFunction::volatile("currval").on("regclass", "int8", currval),
            PgFunction::volatile("lastval").on("", "int8", lastval),
        ]
        .into_iter()
        .map(super::scalar_entry),
    );
    functions
}

#[cfg(test)]
mod tests;
