//! Delivering outcomes: rows to the client, COPY in both directions, requests about prepared statements.

use std::sync::Arc;

use proto::{ColumnType, ErrorKind, SqlError};
use tokio::io::{AsyncRead, AsyncWrite};

use super::backend::{
    Executor, Outcome, Parameter, Prepared, ResultColumn, RowStream, RowsTag, SessionRequest,
};
use super::cancel::CancelReason;
use super::portal::{Cursor, format_of};
use super::{Failure, Session};
use crate::encode::{Format, RowWriter};
use crate::wire::frame::GateError;
use crate::wire::reply::FLUSH_AT;

impl<E, R, W> Session<E, R, W>
where
    E: Executor,
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    /// Delivers an outcome completely, rows as text with their description; gives the command tag, none for
    /// an empty statement.
    pub(super) async fn deliver(
        &mut self,
        outcome: Outcome<E::Statement>,
    ) -> Result<Option<String>, Failure> {
        match outcome {
            Outcome::Session(request) => match self.carry_out(request).await? {
                Carried::Done(tag) => Ok(Some(tag)),
                Carried::Ran(outcome) => self.deliver_plain(outcome).await,
            },
            outcome => self.deliver_plain(outcome).await,
        }
    }

    async fn deliver_plain(&mut self, outcome: Outcome<E::Statement>) -> Result<Option<String>, Failure> {
        let tag = self.deliver_parts(outcome).await?;
        self.executor.statement_done()?;
        Ok(tag)
    }

    async fn deliver_parts(&mut self, outcome: Outcome<E::Statement>) -> Result<Option<String>, Failure> {
        match outcome {
            Outcome::Rows { columns, rows, tag } => {
                self.replies.row_description(&columns, |_| Format::Text.code());
                let mut cursor = Cursor { columns, rows, tag, batch: None, sent: 0 };
                self.send_rows(&mut cursor, &[], None).await?;
                Ok(Some(tag.complete(cursor.sent)))
            }
            Outcome::Done { tag } => Ok(Some(tag)),
            Outcome::CopyIn(copy) => self.copy_in(copy).await.map(Some),
            Outcome::CopyOut(copy) => self.copy_out(copy).await.map(Some),
            Outcome::Empty => Ok(None),
            Outcome::Session(_) => {
                Err(SqlError::unsupported("EXECUTE of a statement about prepared statements").into())
            }
        }
    }

    /// CommandComplete, or EmptyQueryResponse.
    pub(super) fn complete(&mut self, tag: Option<&str>) {
        match tag {
            Some(tag) => self.replies.command_complete(tag),
            None => self.replies.empty(b'I'),
        }
    }

    /// Sends rows of a cursor, at most `limit`; whether all of them are sent.
    pub(super) async fn send_rows(
        &mut self,
        cursor: &mut Cursor,
        formats: &[Format],
        limit: Option<u64>,
    ) -> Result<bool, Failure> {
        let context = self.encode_context();
        let mut left = limit.unwrap_or(u64::MAX);
        loop {
            if let Some((writer, next)) = &mut cursor.batch {
                while *next < writer.rows() && left > 0 {
                    writer.write_row(*next, self.replies.buffer())?;
                    *next += 1;
                    left -= 1;
                    cursor.sent += 1;
                    if self.replies.buffer().len() >= FLUSH_AT {
                        self.send_full().await?;
                    }
                }
            }
            if left == 0 {
                return Ok(false);
            }
            cursor.batch = None;
            let Some(batch) = self.watch.next_batch(&mut self.gate, &mut cursor.rows).await? else {
                return Ok(true);
            };
            let writer =
                RowWriter::new(&batch, &cursor.columns, |column| format_of(formats, column), &context)?;
            cursor.batch = Some((writer, 0));
        }
    }

    /// Sends a full buffer; a slow client holds up only its own statement, which can still be cancelled
    /// before and after, and is cut off by a shutdown.
    pub(super) async fn send_full(&mut self) -> Result<(), Failure> {
        let cancel = self.watch.cancel().clone();
        tokio::select! {
            biased;
            sent = self.replies.flush() => sent?,
            () = cancel.shut_down() => {
                return Err(GateError::Broken(std::io::Error::other(CancelReason::Shutdown.error())).into());
            }
        }
        Ok(self.watch.cancel().check()?)
    }

    /// Carries out PREPARE, EXECUTE or DEALLOCATE.
    pub(super) async fn carry_out(
        &mut self,
        request: SessionRequest<E::Statement>,
    ) -> Result<Carried<E::Statement>, Failure> {
        match request {
            SessionRequest::Prepare { name, statement, parameter_types } => {
                self.statements.check_free(Some(&name))?;
                let prepared = self.prepare(&statement, &parameter_types).await?;
                self.statements.insert(Some(name), Some(prepared));
                Ok(Carried::Done("PREPARE".to_owned()))
            }
            SessionRequest::Deallocate { name: None, tag } => {
                self.statements.clear();
                Ok(Carried::Done(tag))
            }
            SessionRequest::Deallocate { name: Some(name), tag } => {
                if !self.statements.remove(Some(&name)) {
                    self.statements.get(Some(&name))?;
                }
                Ok(Carried::Done(tag))
            }
            SessionRequest::Execute { name, parameters } => {
                let Some(prepared) = self.statements.get(Some(&name))?.clone() else {
                    return Ok(Carried::Ran(Outcome::Empty));
                };
                let parameters = self.fit_parameters(&name, &prepared.describe().parameters, parameters)?;
                self.execute(&prepared, parameters).await.map(Carried::Ran).map_err(Failure::from)
            }
        }
    }

    /// The values of EXECUTE as the statement's parameter types.
    fn fit_parameters(
        &self,
        name: &str,
        types: &[ColumnType],
        parameters: Vec<Parameter>,
    ) -> Result<Vec<Parameter>, SqlError> {
        if types.len() != parameters.len() {
            return Err(SqlError::new(
                ErrorKind::SyntaxError,
                format!("wrong number of parameters for prepared statement \"{name}\""),
            )
            .with_detail(format!(
                "Expected {} parameters but got {}.",
                types.len(),
                parameters.len()
            )));
        }
        let context = crate::decode::input_context(self.executor.settings(), self.executor.now_micros());
        types
            .iter()
            .zip(parameters)
            .map(|(&ty, parameter)| crate::decode::fit(parameter, ty, &context))
            .collect()
    }
}

/// What became of a request about prepared statements.
pub(super) enum Carried<S> {
    /// It is done; the command tag.
    Done(String),
    /// It ran a statement.
    Ran(Outcome<S>),
}

/// Opens a cursor over rows that were described before.
///
/// # Errors
/// 0A000 when the rows are not what was described: the tables changed in between.
pub(super) fn open_cursor(
    described: Option<&[ResultColumn]>,
    columns: Arc<[ResultColumn]>,
    rows: RowStream,
    tag: RowsTag,
) -> Result<Cursor, SqlError> {
    let same = described.is_none_or(|described| {
        described.len() == columns.len()
            && described.iter().zip(columns.iter()).all(|(a, b)| a.ty.oid() == b.ty.oid())
    });
    if !same {
        return Err(SqlError::new(ErrorKind::FeatureNotSupported, "cached plan must not change result type"));
    }
    Ok(Cursor { columns, rows, tag, batch: None, sent: 0 })
}
