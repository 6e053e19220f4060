//! COALESCE, NULLIF, GREATEST and LEAST: DataFusion's own, whose results equal PostgreSQL's.

use datafusion::functions::core;

use super::signature::Signature;
use super::{Function, FunctionKind};

/// The conditional functions. COALESCE becomes a CASE, so that later arguments are evaluated only when needed.
#[must_use]
pub(super) fn functions() -> Vec<Function> {
    let variadic = || vec![Signature::parse("variadic anyelement", "anyelement")];
    [
        (core::coalesce(), variadic()),
        (core::greatest(), variadic()),
        (core::least(), variadic()),
        (core::nullif(), vec![Signature::parse("anyelement,anyelement", "anyelement")]),
    ]
    .into_iter()
    .map(|(udf, signatures)| Function {
        name: udf.name().to_owned(),
        kind: FunctionKind::Scalar(udf),
        signatures,
    })
    .collect()
}
