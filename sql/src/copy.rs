//! COPY: the options, the decoders of its three formats and the encoders of two.
//!
//! What it is not: the protocol around it (session) or the writing of rows (executor). Decoders take bytes
//! as they come, in pieces of any size, and give record batches in the schema of the columns that the data
//! names.
//!
//! Invariant: what is buffered never exceeds one row's text plus one batch.

pub mod options;

pub use options::{CopyFormat, CopyOptions};
