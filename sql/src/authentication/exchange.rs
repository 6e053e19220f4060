//! The SASL messages between AuthenticationSASL and AuthenticationOk.

use pgwire::api::auth::sasl::SCRAM_SHA_256_METHOD;
use pgwire::api::auth::sasl::scram::ScramServerAuth;
use pgwire::error::PgWireError;
use proto::{ErrorKind, SqlError};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Verifier;
use crate::wire::body::Body;
use crate::wire::frame::{Gate, GateError, SMALL_LIMIT};
use crate::wire::reply::Replies;

const SASL: i32 = 10;
const SASL_CONTINUE: i32 = 11;
const SASL_FINAL: i32 = 12;

/// Has the client prove that it knows the password; `known` says whether the user exists.
///
/// # Errors
/// 28P01 for a wrong password or user, 08P01 for messages that are not SCRAM's.
pub(crate) async fn authenticate<R, W>(
    gate: &mut Gate<R>,
    replies: &mut Replies<W>,
    verifier: &Verifier,
    user: &str,
    known: bool,
) -> Result<(), GateError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    replies.authentication(SASL, format!("{SCRAM_SHA_256_METHOD}\0\0").as_bytes());
    let first = first_message(&mut answer(gate, replies).await?).map_err(GateError::Refused)?;
    let secret = if known { verifier.secret() } else { verifier.secret_of_nobody(user) };
    let refuse = |error: PgWireError| GateError::Refused(refused(&error, user));
    let (reply, waiting) =
        ScramServerAuth::new().on_client_first_message_with_secret(&first, secret).map_err(refuse)?;
    replies.authentication(SASL_CONTINUE, reply.as_bytes());
    let mut last = answer(gate, replies).await?;
    let reply = waiting.on_client_final_message(&last.rest()).map_err(refuse)?;
    if !known {
        return Err(GateError::Refused(wrong_password(user)));
    }
    replies.authentication(SASL_FINAL, reply.as_bytes());
    Ok(())
}

/// The body of the client's next SASL message.
async fn answer<R, W>(gate: &mut Gate<R>, replies: &mut Replies<W>) -> Result<Body, GateError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    replies.flush().await.map_err(GateError::Broken)?;
    let frame = gate.frame(SMALL_LIMIT).await?;
    if frame.tag != b'p' {
        let message = format!("expected SASL response, got message type {}", frame.tag);
        return Err(GateError::Refused(SqlError::new(ErrorKind::ProtocolViolation, message)));
    }
    Ok(Body::new(frame.body))
}

/// SASLInitialResponse: the mechanism, then the first SCRAM message.
fn first_message(body: &mut Body) -> Result<Vec<u8>, SqlError> {
    if body.string()? != SCRAM_SHA_256_METHOD {
        return Err(SqlError::new(
            ErrorKind::ProtocolViolation,
            "client selected an invalid SASL authentication mechanism",
        ));
    }
    let length = usize::try_from(body.i32()?)
        .map_err(|_| SqlError::new(ErrorKind::ProtocolViolation, "malformed SCRAM message"))?;
    let message = body.take(length)?;
    body.finish()?;
    Ok(message.to_vec())
}

fn wrong_password(user: &str) -> SqlError {
    SqlError::new(ErrorKind::InvalidPassword, format!("password authentication failed for user \"{user}\""))
}

fn refused(error: &PgWireError, user: &str) -> SqlError {
    match error {
        PgWireError::InvalidPassword(_) => wrong_password(user),
        PgWireError::InvalidScramMessage(detail) => {
            SqlError::new(ErrorKind::ProtocolViolation, "malformed SCRAM message").with_detail(detail.clone())
        }
        _ => SqlError::new(ErrorKind::ProtocolViolation, "malformed SCRAM message"),
    }
}
