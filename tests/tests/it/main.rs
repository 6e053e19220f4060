//! The end-to-end tests: one binary, one module per subject.
#![allow(clippy::disallowed_methods, reason = "tests stand outside the house")]

mod crash;
mod tidy;
mod trace;
