//! The extended protocol: Parse, Bind, Describe, Execute, Sync, each on its own, so that tests can pipeline,
//! suspend portals and send nonsense between them.

use super::message::{self, Column, Failure, MessageReader, ServerError};
use super::{Connection, unexpected};

/// What Bind sends.
#[derive(Clone, Debug, Default)]
pub struct Bind<'a> {
    pub portal: &'a str,
    pub statement: &'a str,
    /// Format code and bytes of each parameter; `None` is NULL.
    pub parameters: Vec<(i16, Option<Vec<u8>>)>,
    /// Result formats: empty is all text, one is for all columns.
    pub result_formats: Vec<i16>,
}

/// What Execute gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecuteOutcome {
    pub rows: Vec<Vec<Option<Vec<u8>>>>,
    /// The command tag, or `None` when the portal was suspended by its row limit.
    pub tag: Option<String>,
}

impl Connection {
    /// Queues Parse.
    pub fn queue_parse(&mut self, name: &str, sql: &str, types: &[u32]) {
        let mut body = Vec::new();
        message::put_text(&mut body, name);
        message::put_text(&mut body, sql);
        body.extend_from_slice(&(types.len() as i16).to_be_bytes());
        for oid in types {
            body.extend_from_slice(&oid.to_be_bytes());
        }
        self.queue(b'P', &body);
    }

    /// Queues Bind.
    pub fn queue_bind(&mut self, bind: &Bind<'_>) {
        let mut body = Vec::new();
        message::put_text(&mut body, bind.portal);
        message::put_text(&mut body, bind.statement);
        body.extend_from_slice(&(bind.parameters.len() as i16).to_be_bytes());
        for (format, _) in &bind.parameters {
            body.extend_from_slice(&format.to_be_bytes());
        }
        body.extend_from_slice(&(bind.parameters.len() as i16).to_be_bytes());
        for (_, value) in &bind.parameters {
            match value {
                None => body.extend_from_slice(&(-1_i32).to_be_bytes()),
                Some(bytes) => {
                    body.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
                    body.extend_from_slice(bytes);
                }
            }
        }
        body.extend_from_slice(&(bind.result_formats.len() as i16).to_be_bytes());
        for format in &bind.result_formats {
            body.extend_from_slice(&format.to_be_bytes());
        }
        self.queue(b'B', &body);
    }

    /// Queues Describe of a statement (`S`) or portal (`P`).
    pub fn queue_describe(&mut self, kind: u8, name: &str) {
        self.queue_named(b'D', kind, name);
    }

    /// Queues Close of a statement (`S`) or portal (`P`).
    pub fn queue_close(&mut self, kind: u8, name: &str) {
        self.queue_named(b'C', kind, name);
    }

    fn queue_named(&mut self, message_kind: u8, kind: u8, name: &str) {
        let mut body = vec![kind];
        message::put_text(&mut body, name);
        self.queue(message_kind, &body);
    }

    /// Queues Execute; `limit` 0 is all rows.
    pub fn queue_execute(&mut self, portal: &str, limit: i32) {
        let mut body = Vec::new();
        message::put_text(&mut body, portal);
        body.extend_from_slice(&limit.to_be_bytes());
        self.queue(b'E', &body);
    }

    /// Queues Sync.
    pub fn queue_sync(&mut self) {
        self.queue(b'S', &[]);
    }

    /// Receives one message of the given kind.
    ///
    /// # Errors
    /// The server's error, or whatever else came instead.
    pub fn expect(&mut self, kind: u8) -> Result<Vec<u8>, Failure> {
        let (actual, body) = self.receive()?;
        if actual == kind {
            return Ok(body);
        }
        if actual == b'E' {
            return Err(Failure::Server(ServerError::decode(&body)));
        }
        Err(unexpected(actual, &format!("where {:?} was expected", char::from(kind))))
    }

    /// Receives what Execute gives: rows, then CommandComplete, PortalSuspended or EmptyQueryResponse.
    ///
    /// # Errors
    /// The server's error.
    pub fn receive_execute(&mut self) -> Result<ExecuteOutcome, Failure> {
        let mut outcome = ExecuteOutcome::default();
        loop {
            let (kind, body) = self.receive()?;
            match kind {
                b'D' => {
                    let row = message::raw_row(&body);
                    outcome.rows.push(row.ok_or_else(|| Failure::Protocol("end of a DataRow".to_owned()))?);
                }
                b'C' => {
                    outcome.tag = MessageReader::new(&body).text();
                    return Ok(outcome);
                }
                b's' => return Ok(outcome),
                b'I' => {
                    outcome.tag = Some(String::new());
                    return Ok(outcome);
                }
                b'E' => return Err(Failure::Server(ServerError::decode(&body))),
                other => return Err(unexpected(other, "in the reply to Execute")),
            }
        }
    }

    /// Reads up to ReadyForQuery and gives the errors met on the way.
    ///
    /// # Errors
    /// Socket errors.
    pub fn drain(&mut self) -> Result<Vec<ServerError>, Failure> {
        let mut errors = Vec::new();
        loop {
            match self.receive()? {
                (b'Z', _) => return Ok(errors),
                (b'E', body) => errors.push(ServerError::decode(&body)),
                _ => {}
            }
        }
    }

    /// Parses, describes and syncs a statement: its parameter types and result columns.
    ///
    /// # Errors
    /// The server's error, after reading up to ReadyForQuery.
    pub fn describe(&mut self, sql: &str, types: &[u32]) -> Result<(Vec<u32>, Vec<Column>), Failure> {
        self.queue_parse("", sql, types);
        self.queue_describe(b'S', "");
        self.queue_sync();
        let mut parameters = Vec::new();
        let mut columns = Vec::new();
        let mut failure = None;
        loop {
            let (kind, body) = self.receive()?;
            match kind {
                b't' => {
                    let mut reader = MessageReader::new(&body);
                    let count = reader.int16().unwrap_or(0);
                    parameters = (0..count).map_while(|_| reader.int32().map(|oid| oid as u32)).collect();
                }
                b'T' => columns = message::row_description(&body),
                b'E' => failure = Some(ServerError::decode(&body)),
                b'Z' => break,
                _ => {}
            }
        }
        failure.map_or(Ok((parameters, columns)), |error| Err(Failure::Server(error)))
    }
}
