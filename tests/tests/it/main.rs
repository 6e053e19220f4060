//! The end-to-end tests: one binary, one module per subject.
#![allow(clippy::disallowed_methods, reason = "tests stand outside the house")]

mod bad_input;
mod clients;
mod concurrency;
mod constraints;
mod copy;
mod copy_places;
mod crash;
mod damage;
mod drivers;
mod index;
mod isolation;
mod large_writes;
mod lifecycle;
mod matrix;
mod memory;
mod passages;
mod password;
mod readme;
mod rebuild;
mod services;
mod tidy;
mod time_travel;
mod trace;
mod verify;
mod wire;
