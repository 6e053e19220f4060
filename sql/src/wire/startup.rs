//! The conversation before a session: encryption requests, CancelRequest, the startup packet.
//!
//! Encryption is refused (`N`); a startup packet of a newer minor protocol, or with unknown `_pq_.` options,
//! is negotiated down to 3.0.

use bytes::Bytes;
use proto::{ErrorKind, SqlError};
use tokio::io::{AsyncRead, AsyncWrite};

use super::body::Body;
use super::frame::{Gate, GateError};
use super::reply::Replies;
use crate::session::cancel::CancelKey;

const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;
/// Protocol 3.0, the newest spoken here.
const PROTOCOL: u32 = 3 << 16;

/// What the startup packet asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    pub user: String,
    pub database: String,
    /// Settings in the order in which they apply: `options` first, then the packet's own.
    pub settings: Vec<(String, String)>,
}

/// How the connection goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Opening {
    Session(Startup),
    Cancel(CancelKey),
}

/// Holds the conversation up to the startup packet or a cancel request.
///
/// # Errors
/// The connection's end, or the refusal that the client must be told.
pub async fn open<R, W>(gate: &mut Gate<R>, replies: &mut Replies<W>) -> Result<Opening, GateError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (mut ssl_asked, mut gss_asked) = (false, false);
    loop {
        let mut packet = Body::new(gate.startup_packet().await?);
        let asked = match packet.u32().map_err(GateError::Refused)? {
            SSL_REQUEST if !ssl_asked => &mut ssl_asked,
            GSS_REQUEST if !gss_asked => &mut gss_asked,
            CANCEL_REQUEST => return cancel_key(packet).map(Opening::Cancel).map_err(GateError::Refused),
            version => {
                let (startup, unknown) = startup(version, packet).map_err(GateError::Refused)?;
                if version != PROTOCOL || !unknown.is_empty() {
                    replies.negotiate_protocol(PROTOCOL as i32, &unknown);
                }
                return Ok(Opening::Session(startup));
            }
        };
        *asked = true;
        replies.raw(b'N');
        replies.flush().await.map_err(GateError::Broken)?;
    }
}

fn cancel_key(mut packet: Body) -> Result<CancelKey, SqlError> {
    let key = CancelKey { pid: packet.i32()?, secret: packet.i32()? };
    packet.finish()?;
    Ok(key)
}

/// The startup packet behind its version, and the `_pq_.` options nobody here knows.
fn startup(version: u32, mut packet: Body) -> Result<(Startup, Vec<String>), SqlError> {
    if version >> 16 != 3 {
        return Err(SqlError::new(
            ErrorKind::FeatureNotSupported,
            format!(
                "unsupported frontend protocol {}.{}: server supports 3.0 to 3.0",
                version >> 16,
                version & 0xffff
            ),
        ));
    }
    let (mut user, mut database) = (None, None);
    let (mut options, mut settings, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let name = packet.string().map_err(|error| layout(error, "expected terminator as last byte"))?;
        if name.is_empty() {
            break;
        }
        let value = packet.string().map_err(|error| layout(error, "expected terminator as last byte"))?;
        match name.as_str() {
            "user" => user = Some(value),
            "database" => database = Some(value),
            "options" => options = command_line_settings(&value)?,
            "replication" => check_replication(&value)?,
            _ if name.starts_with("_pq_.") => unknown.push(name),
            _ => settings.push((name, value)),
        }
    }
    packet.finish().map_err(|error| layout(error, "expected terminator as last byte"))?;
    let user = user.filter(|user| !user.is_empty()).ok_or_else(|| {
        SqlError::new(
            ErrorKind::InvalidAuthorizationSpecification,
            "no PostgreSQL user name specified in startup packet",
        )
    })?;
    let database = database.filter(|database| !database.is_empty()).unwrap_or_else(|| user.clone());
    options.append(&mut settings);
    Ok((Startup { user, database, settings: options }, unknown))
}

fn layout(error: SqlError, what: &str) -> SqlError {
    if error.kind == ErrorKind::ProtocolViolation {
        return SqlError::new(ErrorKind::ProtocolViolation, format!("invalid startup packet layout: {what}"));
    }
    error
}

fn check_replication(value: &str) -> Result<(), SqlError> {
    match crate::settings::parse_bool(value) {
        Some(false) => Ok(()),
        _ => Err(SqlError::unsupported("the replication protocol")),
    }
}

/// The settings of `options`: `-c name=value` and `--name=value`, blanks escaped with a backslash.
fn command_line_settings(options: &str) -> Result<Vec<(String, String)>, SqlError> {
    let mut words = split_words(options).into_iter();
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let assignment = if word == "-c" {
            words.next().ok_or_else(|| invalid_argument(&word))?
        } else if let Some(rest) = word.strip_prefix("-c") {
            rest.to_owned()
        } else if let Some(rest) = word.strip_prefix("--") {
            let (name, value) = rest.split_once('=').ok_or_else(|| needs_value(&word, rest))?;
            format!("{}={value}", name.replace('-', "_"))
        } else {
            return Err(invalid_argument(&word));
        };
        let (name, value) = assignment.split_once('=').ok_or_else(|| needs_value("-c ", &assignment))?;
        settings.push((name.to_owned(), value.to_owned()));
    }
    Ok(settings)
}

fn split_words(options: &str) -> Vec<String> {
    let (mut words, mut word, mut escaped) = (Vec::new(), String::new(), false);
    for c in options.chars() {
        match c {
            _ if escaped => {
                word.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            c if c.is_ascii_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

fn invalid_argument(word: &str) -> SqlError {
    SqlError::new(ErrorKind::SyntaxError, format!("invalid command-line argument for server process: {word}"))
}

fn needs_value(prefix: &str, name: &str) -> SqlError {
    SqlError::new(ErrorKind::SyntaxError, format!("{}{name} requires a value", prefix.trim_end_matches(name)))
}

/// The bytes of a startup packet, for tests and clients of our own.
#[must_use]
pub fn packet(parameters: &[(&str, &str)]) -> Bytes {
    let mut body = PROTOCOL.to_be_bytes().to_vec();
    for (name, value) in parameters {
        for text in [name, value] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
    }
    body.push(0);
    let mut packet = ((body.len() + 4) as u32).to_be_bytes().to_vec();
    packet.append(&mut body);
    packet.into()
}

#[cfg(test)]
mod tests;
