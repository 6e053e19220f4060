//! The client's side of the wire: frames out, frames in.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// One message from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) tag: char,
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// A field of an error or notice.
    pub(super) fn field(&self, name: char) -> Option<String> {
        self.body.split(|&byte| byte == 0).find_map(|part| {
            let text = std::str::from_utf8(part).unwrap();
            text.strip_prefix(name).map(str::to_owned)
        })
    }

    /// The values of a DataRow as text.
    pub(super) fn values(&self) -> Vec<Option<String>> {
        assert_eq!(self.tag, 'D');
        let count = i16::from_be_bytes(self.body[..2].try_into().unwrap());
        let mut rest = &self.body[2..];
        (0..count)
            .map(|_| {
                let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
                rest = &rest[4..];
                usize::try_from(length).ok().map(|length| {
                    let (value, after) = rest.split_at(length);
                    rest = after;
                    String::from_utf8_lossy(value).into_owned()
                })
            })
            .collect()
    }

    /// The text of a message that is one string.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim_end_matches('\0').to_owned()
    }
}

pub(super) struct Client {
    pub(super) stream: DuplexStream,
}

/// A frame of the frontend.
pub(super) fn frame(tag: char, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag as u8];
    bytes.extend_from_slice(&((body.len() + 4) as u32).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

pub(super) fn query(text: &str) -> Vec<u8> {
    frame('Q', format!("{text}\0").as_bytes())
}

pub(super) fn parse(name: &str, text: &str, types: &[u32]) -> Vec<u8> {
    let mut body = format!("{name}\0{text}\0").into_bytes();
    body.extend_from_slice(&(types.len() as u16).to_be_bytes());
    for oid in types {
        body.extend_from_slice(&oid.to_be_bytes());
    }
    frame('P', &body)
}

pub(super) fn bind(portal: &str, statement: &str, parameters: &[Option<&[u8]>], formats: &[i16]) -> Vec<u8> {
    let mut body = format!("{portal}\0{statement}\0").into_bytes();
    body.extend_from_slice(&(formats.len() as u16).to_be_bytes());
    formats.iter().for_each(|format| body.extend_from_slice(&format.to_be_bytes()));
    body.extend_from_slice(&(parameters.len() as u16).to_be_bytes());
    for parameter in parameters {
        match parameter {
            Some(value) => {
                body.extend_from_slice(&(value.len() as u32).to_be_bytes());
                body.extend_from_slice(value);
            }
            None => body.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }
    body.extend_from_slice(&0_u16.to_be_bytes());
    frame('B', &body)
}

pub(super) fn execute(portal: &str, rows: i32) -> Vec<u8> {
    let mut body = format!("{portal}\0").into_bytes();
    body.extend_from_slice(&rows.to_be_bytes());
    frame('E', &body)
}

pub(super) fn describe(kind: char, name: &str) -> Vec<u8> {
    frame('D', format!("{kind}{name}\0").as_bytes())
}

pub(super) fn close(kind: char, name: &str) -> Vec<u8> {
    frame('C', format!("{kind}{name}\0").as_bytes())
}

pub(super) fn sync() -> Vec<u8> {
    frame('S', &[])
}

impl Client {
    pub(super) fn new(stream: DuplexStream) -> Self {
        Self { stream }
    }

    pub(super) async fn send(&mut self, messages: &[Vec<u8>]) {
        self.stream.write_all(&messages.concat()).await.unwrap();
    }

    /// The next message; `None` at the connection's end.
    pub(super) async fn read(&mut self) -> Option<Reply> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).await.unwrap();
        Some(Reply { tag: char::from(head[0]), body })
    }

    /// Everything up to ReadyForQuery, which is included.
    pub(super) async fn until_ready(&mut self) -> Vec<Reply> {
        let mut replies = Vec::new();
        loop {
            let reply = self.read().await.expect("connection closed before ReadyForQuery");
            let last = reply.tag == 'Z';
            replies.push(reply);
            if last {
                return replies;
            }
        }
    }

    /// Everything up to the connection's end.
    pub(super) async fn until_closed(&mut self) -> Vec<Reply> {
        let mut replies = Vec::new();
        while let Some(reply) = self.read().await {
            replies.push(reply);
        }
        replies
    }

    /// Sends a simple query and reads its replies.
    pub(super) async fn query(&mut self, text: &str) -> Vec<Reply> {
        self.send(&[query(text)]).await;
        self.until_ready().await
    }
}

/// The tags of messages, in order.
pub(super) fn tags(replies: &[Reply]) -> String {
    replies.iter().map(|reply| reply.tag).collect()
}

/// The first error's SQLSTATE and message.
pub(super) fn error(replies: &[Reply]) -> (String, String) {
    let error = replies.iter().find(|reply| reply.tag == 'E').expect("no ErrorResponse");
    (error.field('C').unwrap(), error.field('M').unwrap())
}
