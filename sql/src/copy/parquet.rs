//! COPY's Parquet format: files of other tools into a table's types, and rows as files that other tools read.
//!
//! Columns of a file go to the table's columns by name. What a file's type may become is what an assignment in SQL
//! allows; texts become anything that has a text form, as in csv.
//!
//! What it is not: Elanus' own stored form (`segments::format`).
//!
//! Invariants: a file is read a page per column at a time and written a row group at a time, so memory does not grow with
//! its size; bytes that cannot be read are an error that names the file. Values that were changed show only where the file
//! has checksums of its pages.

use parquet::errors::ParquetError;
use proto::{ErrorKind, SqlError};

mod columns;
mod reader;
mod types;
mod vectors;
mod writer;

pub(crate) use reader::ParquetSource;
pub(crate) use writer::ParquetSink;

/// What is wrong with a file, or with reading it.
fn file_error(name: &str, error: &ParquetError) -> SqlError {
    if let ParquetError::External(source) = error
        && source.is::<std::io::Error>()
    {
        if source
            .downcast_ref::<std::io::Error>()
            .is_some_and(|source| source.kind() == std::io::ErrorKind::UnexpectedEof)
        {
            return damaged(name, "it ends too early");
        }
        return SqlError::new(ErrorKind::IoError, format!("could not read file \"{name}\": {source}"));
    }
    let text = error.to_string();
    damaged(name, text.split_once(": ").map_or(text.as_str(), |(_, reason)| reason))
}

fn damaged(name: &str, reason: &str) -> SqlError {
    SqlError::new(
        ErrorKind::BadCopyFileFormat,
        format!("file \"{name}\" is not a Parquet file that can be read: {reason}"),
    )
}
