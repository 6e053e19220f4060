//! Decoding messages of the client from exact frames, into pgwire's message types.
//!
//! pgwire's own decoders read past short bodies and replace bad UTF-8; these check every read instead.

use bytes::Bytes;
use pgwire::messages::extendedquery::{Bind, Close, Describe, Execute, Parse};
use pgwire::messages::simplequery::Query;
use proto::{ErrorKind, SqlError};

use super::body::Body;
use super::frame::Frame;

/// A message of a client in a session.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    Query(Query),
    Parse(Parse),
    Bind(Bind),
    Describe(Describe),
    Execute(Execute),
    Close(Close),
    Flush,
    Sync,
    Terminate,
    CopyData(Bytes),
    CopyDone,
    CopyFail(String),
    /// The fast-path call of a function, which does not exist here.
    FunctionCall,
    /// A password where none was asked for.
    Password,
}

impl Message {
    /// Decodes a frame.
    ///
    /// # Errors
    /// 08P01 for a body that is not the message's, 22021 for text that is not UTF-8.
    pub fn decode(frame: Frame) -> Result<Self, SqlError> {
        if frame.tag == b'd' {
            return Ok(Self::CopyData(frame.body));
        }
        let mut body = Body::new(frame.body);
        let message = match frame.tag {
            b'Q' => Self::Query(Query::new(body.string()?)),
            b'P' => Self::Parse(parse(&mut body)?),
            b'B' => Self::Bind(bind(&mut body)?),
            b'D' => {
                let target = target(&mut body, "DESCRIBE")?;
                Self::Describe(Describe::new(target, body.name()?))
            }
            b'C' => {
                let target = target(&mut body, "CLOSE")?;
                Self::Close(Close::new(target, body.name()?))
            }
            b'E' => {
                let name = body.name()?;
                Self::Execute(Execute::new(name, body.i32()?))
            }
            b'H' => Self::Flush,
            b'S' => Self::Sync,
            b'X' => return Ok(Self::Terminate),
            b'c' => Self::CopyDone,
            b'f' => Self::CopyFail(body.string()?),
            b'F' => return Ok(Self::FunctionCall),
            b'p' => return Ok(Self::Password),
            other => {
                return Err(violation(format!("invalid frontend message type {other}")));
            }
        };
        body.finish()?;
        Ok(message)
    }
}

fn parse(body: &mut Body) -> Result<Parse, SqlError> {
    let name = body.name()?;
    let query = body.string()?;
    let count = body.count(4)?;
    let types = (0..count).map(|_| body.u32()).collect::<Result<_, _>>()?;
    Ok(Parse::new(name, query, types))
}

fn bind(body: &mut Body) -> Result<Bind, SqlError> {
    let portal = body.name()?;
    let statement = body.name()?;
    let formats = format_codes(body)?;
    let count = body.count(4)?;
    let mut parameters = Vec::with_capacity(count);
    for _ in 0..count {
        parameters.push(match body.i32()? {
            -1 => None,
            length => {
                let length = usize::try_from(length)
                    .map_err(|_| violation("invalid argument size in bind message".to_owned()))?;
                Some(body.take(length)?)
            }
        });
    }
    let results = format_codes(body)?;
    Ok(Bind::new(portal, statement, formats, parameters, results))
}

fn format_codes(body: &mut Body) -> Result<Vec<i16>, SqlError> {
    let count = body.count(2)?;
    (0..count).map(|_| body.i16()).collect()
}

fn target(body: &mut Body, message: &str) -> Result<u8, SqlError> {
    match body.u8()? {
        target @ (b'S' | b'P') => Ok(target),
        other => Err(violation(format!("invalid {message} message subtype {other}"))),
    }
}

fn violation(message: String) -> SqlError {
    SqlError::new(ErrorKind::ProtocolViolation, message)
}

#[cfg(test)]
mod tests;
