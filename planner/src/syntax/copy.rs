//! COPY: source, direction, and the options in both the parenthesised and the older form.

use proto::{ErrorKind, SqlError};
use sqlparser::ast;
use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::{CopySource, CopyStatement, Statement, command};
use crate::plan::{CopyFormat, CopyHeader, CopyOptions};

/// Options as written; what is left out gets its default once the format is known.
#[derive(Default)]
struct Written {
    format: Option<CopyFormat>,
    delimiter: Option<String>,
    null: Option<String>,
    header: Option<CopyHeader>,
    quote: Option<String>,
    escape: Option<String>,
    force_quote: Vec<String>,
    force_not_null: Vec<String>,
    force_null: Vec<String>,
}

pub(super) fn parse(mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    let mut written = Written::default();
    if cursor.keyword("binary") {
        written.format = Some(CopyFormat::Binary);
    }
    let source = source(&mut cursor)?;
    let to = if cursor.keyword("to") {
        true
    } else {
        cursor.expect_keyword("from")?;
        if matches!(source, CopySource::Query(_)) {
            return Err(cursor.error());
        }
        false
    };
    let file = if cursor.keyword("stdin") || cursor.keyword("stdout") {
        None
    } else if cursor.keyword("program") {
        return Ok(Statement::Unsupported("COPY with a program on the server".to_owned()));
    } else {
        Some(cursor.string()?)
    };
    options(&mut cursor, &mut written)?;
    if cursor.keyword("where") {
        return Ok(Statement::Unsupported("COPY FROM with WHERE".to_owned()));
    }
    cursor.expect_end()?;
    let options = finish(written, to)?;
    if options.format == CopyFormat::Parquet && file.is_none() {
        let what =
            if to { "COPY TO STDOUT with FORMAT parquet" } else { "COPY FROM STDIN with FORMAT parquet" };
        return Ok(Statement::Unsupported(what.to_owned()));
    }
    Ok(Statement::Copy(CopyStatement { source, to, options, file }))
}

fn source(cursor: &mut Cursor<'_>) -> Result<CopySource, SqlError> {
    if cursor.peek() == Some(&Token::LParen) {
        let close = cursor.closing_parenthesis()?;
        let query = super::sql(cursor.source, cursor.rest()[1..close].to_vec())?;
        cursor.skip(close + 1);
        return Ok(CopySource::Query(query));
    }
    let name = cursor.object_name()?;
    let mut columns: Vec<ast::Ident> = Vec::new();
    if cursor.token(&Token::LParen) {
        loop {
            columns.push(cursor.identifier()?);
            if !cursor.token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    }
    Ok(CopySource::Table { name, columns })
}

fn options(cursor: &mut Cursor<'_>, written: &mut Written) -> Result<(), SqlError> {
    cursor.keyword("with");
    if !cursor.token(&Token::LParen) {
        while !cursor.is_at_end() && cursor.peek_word().as_deref() != Some("where") {
            older_option(cursor, written)?;
        }
        return Ok(());
    }
    loop {
        named_option(cursor, written)?;
        if !cursor.token(&Token::Comma) {
            break;
        }
    }
    cursor.expect_token(&Token::RParen)
}

fn named_option(cursor: &mut Cursor<'_>, written: &mut Written) -> Result<(), SqlError> {
    let name = cursor.name()?;
    match name.as_str() {
        "format" => {
            let format = word_or_string(cursor)?;
            written.format = Some(match format.as_str() {
                "text" => CopyFormat::Text,
                "csv" => CopyFormat::Csv,
                "binary" => CopyFormat::Binary,
                "parquet" => CopyFormat::Parquet,
                _ => return Err(invalid(format!("COPY format \"{format}\" not recognized"))),
            });
        }
        "delimiter" => written.delimiter = Some(cursor.string()?),
        "null" => written.null = Some(cursor.string()?),
        "quote" => written.quote = Some(cursor.string()?),
        "escape" => written.escape = Some(cursor.string()?),
        "header" => {
            written.header = Some(if cursor.keyword("match") {
                CopyHeader::Match
            } else if matches!(cursor.peek(), Some(Token::Comma | Token::RParen) | None)
                || command::boolean(cursor, "header")?
            {
                CopyHeader::Yes
            } else {
                CopyHeader::No
            });
        }
        "encoding" => encoding(cursor)?,
        "freeze" => {
            if !matches!(cursor.peek(), Some(Token::Comma | Token::RParen) | None) {
                command::boolean(cursor, "freeze")?;
            }
        }
        "force_quote" => written.force_quote = columns(cursor, true)?,
        "force_not_null" => written.force_not_null = columns(cursor, true)?,
        "force_null" => written.force_null = columns(cursor, true)?,
        _ => return Err(super::syntax_error(format!("option \"{name}\" not recognized"))),
    }
    Ok(())
}

fn older_option(cursor: &mut Cursor<'_>, written: &mut Written) -> Result<(), SqlError> {
    if cursor.keyword("binary") {
        written.format = Some(CopyFormat::Binary);
    } else if cursor.keyword("csv") {
        written.format = Some(CopyFormat::Csv);
    } else if cursor.keyword("header") {
        written.header = Some(CopyHeader::Yes);
    } else if cursor.keyword("freeze") {
    } else if cursor.keyword("delimiter") || cursor.keyword("delimiters") {
        cursor.keyword("as");
        written.delimiter = Some(cursor.string()?);
    } else if cursor.keyword("null") {
        cursor.keyword("as");
        written.null = Some(cursor.string()?);
    } else if cursor.keyword("quote") {
        cursor.keyword("as");
        written.quote = Some(cursor.string()?);
    } else if cursor.keyword("escape") {
        cursor.keyword("as");
        written.escape = Some(cursor.string()?);
    } else if cursor.keywords(&["force", "quote"]) {
        written.force_quote = columns(cursor, false)?;
    } else if cursor.keywords(&["force", "not", "null"]) {
        written.force_not_null = columns(cursor, false)?;
    } else if cursor.keywords(&["force", "null"]) {
        written.force_null = columns(cursor, false)?;
    } else if cursor.keyword("encoding") {
        encoding(cursor)?;
    } else {
        return Err(cursor.error());
    }
    Ok(())
}

fn encoding(cursor: &mut Cursor<'_>) -> Result<(), SqlError> {
    let name = cursor.string()?;
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    if matches!(plain.to_ascii_lowercase().as_str(), "utf8" | "unicode") {
        return Ok(());
    }
    Err(SqlError::unsupported(format!("COPY encoding \"{name}\"")))
}

fn columns(cursor: &mut Cursor<'_>, parenthesised: bool) -> Result<Vec<String>, SqlError> {
    if cursor.token(&Token::Mul) {
        return Ok(vec!["*".to_owned()]);
    }
    if parenthesised {
        cursor.expect_token(&Token::LParen)?;
    }
    let mut names = vec![cursor.name()?];
    while cursor.token(&Token::Comma) {
        names.push(cursor.name()?);
    }
    if parenthesised {
        cursor.expect_token(&Token::RParen)?;
    }
    Ok(names)
}

fn word_or_string(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    if matches!(cursor.peek(), Some(Token::Word(_))) { cursor.name() } else { cursor.string() }
}

fn finish(written: Written, to: bool) -> Result<CopyOptions, SqlError> {
    let format = written.format.unwrap_or(CopyFormat::Text);
    let csv = format == CopyFormat::Csv;
    if matches!(format, CopyFormat::Binary | CopyFormat::Parquet) {
        let mode = if format == CopyFormat::Binary { "BINARY" } else { "PARQUET" };
        for (given, name) in [(written.delimiter.is_some(), "DELIMITER"), (written.null.is_some(), "NULL")] {
            if given {
                return Err(super::syntax_error(format!("cannot specify {name} in {mode} mode")));
            }
        }
        if written.header.is_some_and(|header| header != CopyHeader::No) {
            return Err(SqlError::new(
                ErrorKind::FeatureNotSupported,
                format!("cannot specify HEADER in {mode} mode"),
            ));
        }
    }
    let lists = [&written.force_quote, &written.force_not_null, &written.force_null];
    if format == CopyFormat::Parquet && lists.iter().any(|names| !names.is_empty()) {
        return Err(SqlError::new(ErrorKind::FeatureNotSupported, "COPY FORCE options require CSV mode"));
    }
    if to && written.header == Some(CopyHeader::Match) {
        return Err(invalid("cannot use \"match\" with HEADER in COPY TO".to_owned()));
    }
    if !csv && (written.quote.is_some() || written.escape.is_some()) {
        let name = if written.quote.is_some() { "QUOTE" } else { "ESCAPE" };
        return Err(SqlError::new(ErrorKind::FeatureNotSupported, format!("COPY {name} requires CSV mode")));
    }
    let delimiter = single("delimiter", written.delimiter.as_deref(), if csv { b',' } else { b'\t' })?;
    let quote = single("quote", written.quote.as_deref(), b'"')?;
    let escape = single("escape", written.escape.as_deref(), quote)?;
    if csv && delimiter == quote {
        return Err(invalid("COPY delimiter and quote must be different".to_owned()));
    }
    if !csv
        && format == CopyFormat::Text
        && (delimiter.is_ascii_alphanumeric() || matches!(delimiter, b'\\' | b'.'))
    {
        let shown = char::from(delimiter);
        return Err(invalid(format!("COPY delimiter cannot be \"{shown}\"")));
    }
    let null = written.null.unwrap_or_else(|| if csv { String::new() } else { "\\N".to_owned() });
    if null.as_bytes().contains(&delimiter) && !null.is_empty() {
        return Err(invalid("COPY delimiter character must not appear in the NULL specification".to_owned()));
    }
    Ok(CopyOptions {
        format,
        delimiter,
        null,
        header: written.header.unwrap_or(CopyHeader::No),
        quote,
        escape,
        force_quote: written.force_quote,
        force_not_null: written.force_not_null,
        force_null: written.force_null,
    })
}

fn single(name: &str, text: Option<&str>, default: u8) -> Result<u8, SqlError> {
    match text.map(str::as_bytes) {
        None => Ok(default),
        Some([b'\n' | b'\r']) => Err(invalid(format!("COPY {name} cannot be newline or carriage return"))),
        Some(&[byte]) => Ok(byte),
        Some(_) => Err(SqlError::new(
            ErrorKind::FeatureNotSupported,
            format!("COPY {name} must be a single one-byte character"),
        )),
    }
}

fn invalid(message: String) -> SqlError {
    SqlError::new(ErrorKind::InvalidParameterValue, message)
}
