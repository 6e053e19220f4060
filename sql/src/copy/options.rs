//! The options of COPY and PostgreSQL's rules about which of them go together.

use proto::{ErrorKind, SqlError};

/// The data format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CopyFormat {
    #[default]
    Text,
    Csv,
    Binary,
}

/// Whether the first line names the columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CopyHeader {
    #[default]
    Absent,
    Present,
    /// The names must be those of the columns, in order.
    Match,
}

/// The columns an option names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CopyColumns {
    #[default]
    None,
    All,
    Named(Vec<String>),
}

impl CopyColumns {
    /// Whether a column is among them.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Named(names) => names.iter().any(|named| named == name),
        }
    }
}

/// The options of one COPY, defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOptions {
    pub format: CopyFormat,
    /// One ASCII byte: tab in text, comma in csv.
    pub delimiter: u8,
    /// What stands for NULL: `\N` in text, nothing in csv.
    pub null: String,
    pub header: CopyHeader,
    /// csv only: one ASCII byte.
    pub quote: u8,
    /// csv only: one ASCII byte, the quote by default.
    pub escape: u8,
    /// csv out: quote every non-null value of these.
    pub force_quote: CopyColumns,
    /// csv in: never match the null string for these.
    pub force_not_null: CopyColumns,
    /// csv in: match the null string even when quoted.
    pub force_null: CopyColumns,
}

impl CopyOptions {
    /// The defaults of a format.
    #[must_use]
    pub fn of_format(format: CopyFormat) -> Self {
        let csv = format == CopyFormat::Csv;
        Self {
            format,
            delimiter: if csv { b',' } else { b'\t' },
            null: if csv { String::new() } else { "\\N".to_owned() },
            header: CopyHeader::Absent,
            quote: b'"',
            escape: b'"',
            force_quote: CopyColumns::None,
            force_not_null: CopyColumns::None,
            force_null: CopyColumns::None,
        }
    }

    /// Checks the combination, in PostgreSQL's order and words.
    ///
    /// # Errors
    /// 42601, 22023 or 0A000.
    pub fn check(&self) -> Result<(), SqlError> {
        let invalid = |message: &str| Err(SqlError::new(ErrorKind::InvalidParameterValue, message));
        if self.format == CopyFormat::Binary {
            return Ok(());
        }
        if !self.delimiter.is_ascii() {
            return unsupported("COPY delimiter must be a single one-byte character");
        }
        if matches!(self.delimiter, b'\r' | b'\n') {
            return invalid("COPY delimiter cannot be newline or carriage return");
        }
        if self.null.contains(['\r', '\n']) {
            return invalid("COPY null representation cannot use newline or carriage return");
        }
        if self.format == CopyFormat::Text
            && b"\\.abcdefghijklmnopqrstuvwxyz0123456789".contains(&self.delimiter)
        {
            return invalid(&format!("COPY delimiter cannot be \"{}\"", char::from(self.delimiter)));
        }
        if self.format == CopyFormat::Csv && self.delimiter == self.quote {
            return invalid("COPY delimiter and quote must be different");
        }
        if self.null.as_bytes().contains(&self.delimiter) {
            return invalid("COPY delimiter character must not appear in the NULL specification");
        }
        if self.format == CopyFormat::Csv && self.null.as_bytes().contains(&self.quote) {
            return invalid("CSV quote character must not appear in the NULL specification");
        }
        Ok(())
    }
}

fn unsupported(message: &str) -> Result<(), SqlError> {
    Err(SqlError::new(ErrorKind::FeatureNotSupported, message))
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self::of_format(CopyFormat::Text)
    }
}
