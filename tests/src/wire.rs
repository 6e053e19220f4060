//! A client that speaks PostgreSQL's protocol byte by byte over a blocking socket.
//!
//! What it is not: a driver. It hides nothing: command tags, column descriptions, SQLSTATEs and notices are
//! all there to be compared, and any message, well formed or not, can be sent.
//!
//! Invariant: after `query` or `sync` returns, the connection has read up to ReadyForQuery.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

mod extended;
mod message;

pub use extended::{Bind, ExecuteOutcome};
pub use message::{Column, Failure, MessageReader, ServerError};

/// How long a reply may take before the test fails instead of hanging.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(300);

/// Where a server listens: what stands behind `postgresql://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub database: String,
}

impl Address {
    /// Parses `postgresql://user@host:port/database`.
    ///
    /// # Errors
    /// What part is missing.
    pub fn parse(url: &str) -> Result<Self, String> {
        let rest = url
            .strip_prefix("postgresql://")
            .or_else(|| url.strip_prefix("postgres://"))
            .ok_or_else(|| format!("not a postgresql URL: {url}"))?;
        let (user, rest) = rest.split_once('@').ok_or_else(|| format!("no user in {url}"))?;
        let (place, database) = rest.split_once('/').ok_or_else(|| format!("no database in {url}"))?;
        let (host, port) = place.rsplit_once(':').ok_or_else(|| format!("no port in {url}"))?;
        let port = port.parse().map_err(|_| format!("no port number in {url}"))?;
        let database = database.split('?').next().unwrap_or_default();
        Ok(Self { host: host.to_owned(), port, user: user.to_owned(), database: database.to_owned() })
    }

    /// The same server, another database.
    #[must_use]
    pub fn with_database(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }
    }

    /// The URL form.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgresql://{}@{}:{}/{}", self.user, self.host, self.port, self.database)
    }

    /// A bare socket to the server, with the reply time-out set.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn socket(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((self.host.as_str(), self.port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        Ok(stream)
    }
}

/// What one statement gave: its columns and rows when it has any, and its command tag.
#[derive(Clone, Debug, Default)]
pub struct ResultSet {
    pub columns: Vec<Column>,
    /// Text values; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// `None` for an empty query.
    pub tag: Option<String>,
}

impl ResultSet {
    /// The only value of a one-row, one-column result.
    #[must_use]
    pub fn single(&self) -> Option<&str> {
        match self.rows.as_slice() {
            [row] => row.first().and_then(|value| value.as_deref()),
            _ => None,
        }
    }

    /// All values of the first column; NULL reads as `NULL`.
    #[must_use]
    pub fn first_column(&self) -> Vec<String> {
        self.rows
            .iter()
            .filter_map(|row| row.first())
            .map(|value| value.clone().unwrap_or_else(|| "NULL".to_owned()))
            .collect()
    }
}

/// Everything a query message gave back.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub results: Vec<ResultSet>,
    pub error: Option<ServerError>,
    /// Bytes of CopyData messages, when the statement was COPY TO STDOUT.
    pub copy_out: Vec<u8>,
}

/// An open session.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    out: Vec<u8>,
    /// Transaction status of the last ReadyForQuery: `I`, `T` or `E`.
    pub status: u8,
    /// Values of ParameterStatus.
    pub parameters: BTreeMap<String, String>,
    /// Process id and secret for CancelRequest.
    pub backend_key: (i32, i32),
    /// NoticeResponse messages since the session began.
    pub notices: Vec<ServerError>,
}

impl Connection {
    /// Opens a session without a password.
    ///
    /// # Errors
    /// Socket errors and the server's refusal.
    pub fn open(address: &Address) -> Result<Self, Failure> {
        let parameters = [("user", address.user.as_str()), ("database", address.database.as_str())];
        Self::open_with(address.socket()?, &parameters)
    }

    /// Opens a session on a socket with the given startup parameters.
    ///
    /// # Errors
    /// Socket errors and the server's refusal.
    pub fn open_with(stream: TcpStream, parameters: &[(&str, &str)]) -> Result<Self, Failure> {
        let mut connection = Self {
            stream: BufReader::with_capacity(64 * 1024, stream),
            out: Vec::new(),
            status: b'I',
            parameters: BTreeMap::new(),
            backend_key: (0, 0),
            notices: Vec::new(),
        };
        let mut body = 196_608_i32.to_be_bytes().to_vec();
        for (name, value) in parameters {
            message::put_text(&mut body, name);
            message::put_text(&mut body, value);
        }
        body.push(0);
        let length = body.len() as i32 + 4;
        connection.out.extend_from_slice(&length.to_be_bytes());
        connection.out.extend_from_slice(&body);
        connection.flush()?;
        connection.finish_startup()?;
        Ok(connection)
    }

    fn finish_startup(&mut self) -> Result<(), Failure> {
        loop {
            let (kind, body) = self.receive()?;
            match kind {
                b'R' => {
                    let method = MessageReader::new(&body).int32();
                    if method != Some(0) {
                        return Err(Failure::Protocol(format!("authentication method {method:?}")));
                    }
                }
                b'K' => {
                    let mut reader = MessageReader::new(&body);
                    self.backend_key = (reader.int32().unwrap_or(0), reader.int32().unwrap_or(0));
                }
                b'E' => return Err(Failure::Server(ServerError::decode(&body))),
                b'Z' => return Ok(()),
                other => return Err(unexpected(other, "during startup")),
            }
        }
    }

    /// Queues one message; `flush` or any receiving call sends it.
    pub fn queue(&mut self, kind: u8, body: &[u8]) {
        self.out.push(kind);
        self.out.extend_from_slice(&(body.len() as i32 + 4).to_be_bytes());
        self.out.extend_from_slice(body);
    }

    /// Queues raw bytes, framed or not.
    pub fn queue_raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// Socket errors.
    pub fn flush(&mut self) -> io::Result<()> {
        let out = std::mem::take(&mut self.out);
        self.stream.get_mut().write_all(&out)
    }

    /// Receives the next message that is not a notice, a notification or a ParameterStatus.
    ///
    /// # Errors
    /// Socket errors; the end of the stream reads as `UnexpectedEof`.
    pub fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        if !self.out.is_empty() {
            self.flush()?;
        }
        loop {
            let mut header = [0_u8; 5];
            self.stream.read_exact(&mut header)?;
            let length = i32::from_be_bytes([header[1], header[2], header[3], header[4]]);
            let mut body = vec![0; (length - 4).max(0) as usize];
            self.stream.read_exact(&mut body)?;
            match header[0] {
                b'N' => self.notices.push(ServerError::decode(&body)),
                b'S' => {
                    let mut reader = MessageReader::new(&body);
                    if let (Some(name), Some(value)) = (reader.text(), reader.text()) {
                        self.parameters.insert(name, value);
                    }
                }
                b'A' => {}
                b'Z' => {
                    self.status = body.first().copied().unwrap_or(b'?');
                    return Ok((b'Z', body));
                }
                kind => return Ok((kind, body)),
            }
        }
    }

    /// Runs a query message and reads everything up to ReadyForQuery.
    ///
    /// # Errors
    /// Socket errors and messages that do not belong; what the server refuses is in `Reply::error`.
    pub fn query(&mut self, sql: &str) -> Result<Reply, Failure> {
        let mut body = Vec::with_capacity(sql.len() + 1);
        message::put_text(&mut body, sql);
        self.queue(b'Q', &body);
        self.read_reply(None)
    }

    /// Runs `COPY … FROM STDIN` with the given data, in chunks of 64 KiB.
    ///
    /// # Errors
    /// As `query`.
    pub fn copy_in(&mut self, sql: &str, data: &[u8]) -> Result<Reply, Failure> {
        let mut body = Vec::new();
        message::put_text(&mut body, sql);
        self.queue(b'Q', &body);
        self.read_reply(Some(data))
    }

    fn read_reply(&mut self, copy_data: Option<&[u8]>) -> Result<Reply, Failure> {
        let mut reply = Reply::default();
        let mut current = ResultSet::default();
        loop {
            let (kind, body) = self.receive()?;
            match kind {
                b'T' => current.columns = message::row_description(&body),
                b'D' => current.rows.push(message::data_row(&body)?),
                b'C' => {
                    current.tag = MessageReader::new(&body).text();
                    reply.results.push(std::mem::take(&mut current));
                }
                b'I' => reply.results.push(std::mem::take(&mut current)),
                b'E' => {
                    reply.error = Some(ServerError::decode(&body));
                    current = ResultSet::default();
                }
                b'G' => self.send_copy(copy_data.unwrap_or_default())?,
                b'H' | b'c' => {}
                b'd' => reply.copy_out.extend_from_slice(&body),
                b'Z' => return Ok(reply),
                other => return Err(unexpected(other, "in a query's reply")),
            }
        }
    }

    fn send_copy(&mut self, data: &[u8]) -> io::Result<()> {
        for chunk in data.chunks(64 * 1024) {
            self.queue(b'd', chunk);
            if self.out.len() > 1 << 20 {
                self.flush()?;
            }
        }
        self.queue(b'c', &[]);
        self.flush()
    }

    /// Runs one statement and gives its result.
    ///
    /// # Errors
    /// `Failure::Server` when the server refuses it.
    pub fn run(&mut self, sql: &str) -> Result<ResultSet, Failure> {
        let mut reply = self.query(sql)?;
        match reply.error.take() {
            Some(error) => Err(Failure::Server(error)),
            None => Ok(reply.results.pop().unwrap_or_default()),
        }
    }

    /// The only value of a statement's result; NULL and an empty result read as `NULL`.
    ///
    /// # Errors
    /// As `run`.
    pub fn value(&mut self, sql: &str) -> Result<String, Failure> {
        Ok(self.run(sql)?.single().unwrap_or("NULL").to_owned())
    }

    /// The server's refusal of a statement that must fail.
    ///
    /// # Panics
    /// When it succeeds or the connection breaks.
    pub fn refusal(&mut self, sql: &str) -> ServerError {
        let reply = self.query(sql).unwrap_or_else(|failure| panic!("{failure} at: {}", head(sql)));
        reply.error.unwrap_or_else(|| panic!("succeeded but must fail: {}", head(sql)))
    }

    /// Ends the session in order.
    ///
    /// # Errors
    /// Socket errors.
    pub fn close(mut self) -> io::Result<()> {
        self.queue(b'X', &[]);
        self.flush()?;
        self.stream.get_ref().shutdown(Shutdown::Both)
    }

    /// The socket, for tests that break it.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}

/// Sends a CancelRequest for a session.
///
/// # Errors
/// Socket errors.
pub fn cancel(address: &Address, backend_key: (i32, i32)) -> io::Result<()> {
    let mut stream = address.socket()?;
    let mut request = Vec::with_capacity(16);
    for word in [16, 80_877_102, backend_key.0, backend_key.1] {
        request.extend_from_slice(&i32::to_be_bytes(word));
    }
    stream.write_all(&request)?;
    // The server closes the socket when it has acted; there is nothing to read.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).map(|_| ())
}

fn unexpected(kind: u8, place: &str) -> Failure {
    Failure::Protocol(format!("message {:?} {place}", char::from(kind)))
}

/// The first 200 characters of a statement, for messages.
#[must_use]
pub fn head(sql: &str) -> String {
    sql.chars().take(200).collect()
}
