//! Sessions: the protocol loop of one connection, and its boundary to the executor.
//!
//! What it is not: it knows no SQL beyond what the executor tells it, and holds no rows beyond one batch.

pub mod backend;
pub mod cancel;

pub use backend::{
    Backend, ConnectRequest, CopyIn, CopyOut, Description, Executor, Notice, Outcome, Parameter, Prepared,
    ResultColumn, RowStream, RowsTag, SessionRequest, Severity, TransactionStatus,
};
pub use cancel::{CancelFlag, CancelReason, CancelRegistry};
