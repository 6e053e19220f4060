//! The wire: exact frames in, decoded messages, encoded replies out, and the conversation before a session.
//!
//! What it is not: it knows no statement and no transaction.
//!
//! Invariants: a message is decoded only from its own exact frame; nothing is buffered for a frame before its
//! length is accepted for the connection's state, and no more than was received.

pub mod body;
pub mod frame;
pub mod messages;
pub mod reply;
pub mod startup;
