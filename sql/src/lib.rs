//! The PostgreSQL face and the assembly: wire protocol, sessions, execution, catalogs, the binary.

pub mod copy;
pub mod session;
pub mod settings;
