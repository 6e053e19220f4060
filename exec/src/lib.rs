//! Query execution: PostgreSQL's functions, casts and operators over Arrow, scans of segments, exact top-k
//! search, memory limits, and the engine that runs a logical plan.
//!
//! What it is not: no SQL text (planner), no network, no clock of its own, no knowledge of how segments come to
//! be (cluster); it reads snapshots that the statement's context carries.
//!
//! Invariants: only functions on our list exist; no predicate sees an invisible row; errors inside DataFusion
//! travel as `DataFusionError::External(SqlError)`.

pub mod engine;
pub mod error;
pub mod functions;
pub mod knn;
pub mod memory;
pub mod predicate;
pub mod rows;
pub mod scan;
pub mod statement;
pub mod step;
pub mod table;
#[cfg(test)]
mod testing;
pub mod text;

pub use engine::{Engine, EngineSettings, ExplainOptions, ParameterValue, Template};
pub use error::to_sql_error;
pub use statement::{CancelFlag, SequenceSource, SessionValues, StatementContext};
