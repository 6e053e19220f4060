//! Advisory locks: `pg_advisory_lock` and its kin, asked of the session row after row.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use async_trait::async_trait;
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature as DfSignature, TypeSignature, Volatility,
};
use proto::SqlError;

use super::overload::PgFunction;
use super::signature::Signature;
use super::{Function, FunctionKind};
use crate::error::{internal, raise};
use crate::statement::{AdvisoryKey, AdvisoryLocks, of_config};

/// What a function does with its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    Take,
    TryTake,
    Release,
}

/// One function.
#[derive(Clone, Debug)]
struct Advisory {
    name: &'static str,
    action: Action,
    shared: bool,
    of_transaction: bool,
    signature: DfSignature,
}

impl PartialEq for Advisory {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Advisory {}

impl Hash for Advisory {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Advisory {
    fn carrier(&self) -> DataType {
        if self.action == Action::Take { DataType::Utf8 } else { DataType::Boolean }
    }

    async fn call(&self, locks: &dyn AdvisoryLocks, key: AdvisoryKey) -> Result<bool, SqlError> {
        match self.action {
            Action::Take => locks.take(key, self.shared, self.of_transaction).await.map(|()| true),
            Action::TryTake => locks.try_take(key, self.shared, self.of_transaction),
            Action::Release => Ok(locks.release(key, self.shared)),
        }
    }
}

impl ScalarUDFImpl for Advisory {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &DfSignature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DfResult<DataType> {
        Ok(self.carrier())
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Err(internal("an advisory lock can only be awaited"))
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Advisory {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let locks = Arc::clone(&of_config(&args.config_options)?.advisory);
        let rows = args.number_rows;
        let keys = args.args.iter().map(|arg| arg.to_array(rows)).collect::<DfResult<Vec<_>>>()?;
        let mut out = Vec::with_capacity(rows);
        for row in 0..rows {
            out.push(match key_at(&keys, row) {
                Some(key) => Some(self.call(locks.as_ref(), key).await.map_err(raise)?),
                None => None,
            });
        }
        Ok(ColumnarValue::Array(match self.action {
            // void: nothing, as text.
            Action::Take => Arc::new(StringArray::from_iter(out.into_iter().map(|done| done.map(|_| "")))),
            _ => Arc::new(BooleanArray::from(out)),
        }))
    }
}

/// The key of a row: one int8, or two int4; none when a part is NULL.
fn key_at(keys: &[ArrayRef], row: usize) -> Option<AdvisoryKey> {
    if keys.iter().any(|key| key.is_null(row)) {
        return None;
    }
    match keys {
        [one] => {
            let bits = one.as_primitive::<Int64Type>().value(row).cast_unsigned();
            Some(AdvisoryKey { high: (bits >> 32) as u32, low: bits as u32, pair: false })
        }
        [high, low] => {
            let bits = |part: &ArrayRef| part.as_primitive::<Int32Type>().value(row).cast_unsigned();
            Some(AdvisoryKey { high: bits(high), low: bits(low), pair: true })
        }
        _ => None,
    }
}

/// Every function: name, what it does, shared, of the transaction.
const ALL: [(&str, Action, bool, bool); 10] = [
    ("pg_advisory_lock", Action::Take, false, false),
    ("pg_advisory_lock_shared", Action::Take, true, false),
    ("pg_advisory_xact_lock", Action::Take, false, true),
    ("pg_advisory_xact_lock_shared", Action::Take, true, true),
    ("pg_try_advisory_lock", Action::TryTake, false, false),
    ("pg_try_advisory_lock_shared", Action::TryTake, true, false),
    ("pg_try_advisory_xact_lock", Action::TryTake, false, true),
    ("pg_try_advisory_xact_lock_shared", Action::TryTake, true, true),
    ("pg_advisory_unlock", Action::Release, false, false),
    ("pg_advisory_unlock_shared", Action::Release, true, false),
];

/// The functions of advisory locks.
#[must_use]
pub(super) fn functions() -> Vec<Function> {
    let keys = [vec![DataType::Int64], vec![DataType::Int32, DataType::Int32]];
    let mut functions: Vec<Function> = ALL
        .into_iter()
        .map(|(name, action, shared, of_transaction)| {
            let either = keys.iter().cloned().map(TypeSignature::Exact).collect();
            let signature = DfSignature::one_of(either, Volatility::Volatile);
            let function = Advisory { name, action, shared, of_transaction, signature };
            let result = if action == Action::Take { "void" } else { "bool" };
            let function = AsyncScalarUDF::new(Arc::new(function));
            Function {
                name: name.to_owned(),
                kind: FunctionKind::Scalar(Arc::new(function.into_scalar_udf())),
                signatures: vec![Signature::parse("int8", result), Signature::parse("int4,int4", result)],
            }
        })
        .collect();
    let unlock_all = PgFunction::volatile("pg_advisory_unlock_all").on("", "void", |call| {
        call.statement()?.advisory.release_all();
        Ok(Arc::new(StringArray::from(vec![""; call.rows()])))
    });
    functions.push(super::scalar_entry(unlock_all));
    functions
}
