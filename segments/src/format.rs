//! The stored forms, one file each, documented byte by byte. All integers are little-endian.
//!
//! Every object but Parquet stands in the envelope of `header`: header, body, a CRC32C per 64 KiB block of the body,
//! footer. Length, header and footer are checked when an object is opened, each block when it is first
//! touched. Parquet objects carry the format version as metadata, and their manifest entry the CRC32C of the
//! whole object.
//!
//! Invariant: a change of any layout is a new format version; golden files keep the old ones readable.

pub mod catalog_object;
pub(crate) mod complete_since;
pub mod deletes_object;
pub(crate) mod graph_file;
pub mod header;
pub mod key_file;
pub(crate) mod list_file;
pub mod manifest;
pub mod object_name;
pub mod scalars;
mod stored_form;
pub mod vector_file;

#[cfg(target_endian = "big")]
compile_error!("stored numbers are little-endian and read in place");

/// The format version written.
pub const FORMAT_VERSION: u32 = 1;
/// The format version of an index file that leaves out rows which had ended when it was made. Its body ends with the
/// timestamp since which the index is complete, 8 bytes; index files without it are of version 1.
pub(crate) const COMPLETE_SINCE_VERSION: u32 = 2;

#[cfg(test)]
mod tests;
