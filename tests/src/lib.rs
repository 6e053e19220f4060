//! Everything that looks at Elanus from outside: the server harness, a wire client, the kill loop, the model
//! test, the tidy checks and the benchmarks.
//!
//! What it is not: production code. It plays the world: it reads the wall clock, starts threads and processes,
//! and panics when something is not as it must be.
//!
//! Invariants: nothing here sleeps; every wait is for a condition and has a bound; every random choice comes
//! from a seed that is printed.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the harness stands outside the house: it is the world the doors open to"
)]

pub mod bench;
pub mod crash;
pub mod data;
pub mod flips;
pub mod matrix;
#[cfg_attr(not(feature = "planted-bugs"), allow(dead_code, reason = "the model uses more of it"))]
mod memory_node;
#[cfg(feature = "planted-bugs")]
pub mod model;
pub mod passages;
pub mod proxy;
#[cfg_attr(
    not(feature = "planted-bugs"),
    allow(
        dead_code,
        reason = "the model and the simulation, which only that feature builds, use more of them"
    )
)]
mod reads;
#[cfg_attr(
    not(feature = "planted-bugs"),
    allow(
        dead_code,
        reason = "the model and the simulation, which only that feature builds, use more of them"
    )
)]
mod rows;
pub mod server;
pub mod services;
#[cfg(feature = "planted-bugs")]
pub mod simulation;
pub mod tidy;
pub mod trace;
pub mod wire;
