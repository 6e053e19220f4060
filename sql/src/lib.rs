//! The PostgreSQL face and the assembly: wire protocol, sessions, execution, catalogs, the binary.

pub mod assembly;
pub mod authentication;
pub mod cli;
pub mod copy;
pub mod decode;
pub mod encode;
pub mod error;
pub mod execute;
pub mod http;
mod information_schema;
pub mod pg_catalog;
pub mod server;
pub mod session;
pub mod settings;
pub mod views;
pub mod wire;
