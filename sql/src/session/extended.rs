//! The extended query protocol: Parse, Bind, Describe, Execute, Close.
//!
//! Statements of a pipeline share an implicit transaction up to Sync; an Execute that Sync follows at once is
//! its own transaction, which lets the executor retry it.

use pgwire::messages::extendedquery::{Bind, Close, Describe, Parse};
use proto::{ColumnType, ErrorKind, Oid, SqlError, TypeKind};
use tokio::io::{AsyncRead, AsyncWrite};

use super::backend::{Executor, Outcome, Parameter, Prepared, RowsTag};
use super::delivery::{Carried, open_cursor};
use super::portal::{Portal, PortalState, format_of};
use super::watch::guarded;
use super::{Failure, Session};
use crate::decode;
use crate::encode::Format;

impl<E, R, W> Session<E, R, W>
where
    E: Executor,
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    pub(super) async fn parse(&mut self, message: Parse) -> Result<(), Failure> {
        self.check_length(&message.query)?;
        if message.name.is_none() {
            self.statements.remove(None);
        }
        let mut statements = guarded(|| self.executor.parse(&message.query))?;
        if statements.len() > 1 {
            return Err(SqlError::new(
                ErrorKind::SyntaxError,
                "cannot insert multiple commands into a prepared statement",
            )
            .into());
        }
        self.statements.check_free(message.name.as_deref())?;
        let types = parameter_types(&message.type_oids)?;
        let prepared = match statements.pop() {
            Some(statement) => {
                self.watch.start(self.executor.settings().statement_timeout());
                Some(self.prepare(&statement, &types).await?)
            }
            None => None,
        };
        self.statements.insert(message.name, prepared);
        self.send_notices();
        self.replies.empty(b'1');
        Ok(())
    }

    pub(super) fn bind(&mut self, message: Bind) -> Result<(), Failure> {
        let statement = self.statements.get(message.statement_name.as_deref())?.clone();
        let types = statement.as_ref().map_or(&[][..], |prepared| &prepared.describe().parameters);
        let parameters = self.decode_parameters(&message, types)?;
        let formats = message
            .result_column_format_codes
            .iter()
            .map(|&code| Format::of_code(code))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(columns) = statement.as_ref().and_then(|prepared| prepared.describe().columns.as_ref())
            && formats.len() > 1
            && formats.len() != columns.len()
        {
            return Err(violation(format!(
                "bind message has {} result formats but query has {} columns",
                formats.len(),
                columns.len()
            ))
            .into());
        }
        self.portals.check_free(message.portal_name.as_deref())?;
        let state = PortalState::Bound(parameters);
        self.portals.insert(message.portal_name, Portal { statement, formats, state });
        self.replies.empty(b'2');
        Ok(())
    }

    fn decode_parameters(&self, message: &Bind, types: &[ColumnType]) -> Result<Vec<Parameter>, SqlError> {
        let formats = &message.parameter_format_codes;
        let values = &message.parameters;
        if formats.len() > 1 && formats.len() != values.len() {
            return Err(violation(format!(
                "bind message has {} parameter formats but {} parameters",
                formats.len(),
                values.len()
            )));
        }
        if values.len() != types.len() {
            return Err(violation(format!(
                "bind message supplies {} parameters, but prepared statement \"{}\" requires {}",
                values.len(),
                message.statement_name.as_deref().unwrap_or_default(),
                types.len()
            )));
        }
        let formats = formats.iter().map(|&code| Format::of_code(code)).collect::<Result<Vec<_>, _>>()?;
        let context = decode::input_context(self.executor.settings(), self.executor.now_micros());
        values
            .iter()
            .zip(types)
            .enumerate()
            .map(|(position, (bytes, &ty))| {
                decode::parameter(bytes.as_deref(), format_of(&formats, position), ty, &context, position + 1)
            })
            .collect()
    }

    pub(super) fn describe(&mut self, message: &Describe) -> Result<(), Failure> {
        let name = message.name.as_deref();
        let (statement, formats) = if message.target_type == b'S' {
            let statement = self.statements.get(name)?.clone();
            let types = statement.as_ref().map_or(&[][..], |prepared| &prepared.describe().parameters);
            self.replies.parameter_description(types.iter().map(|ty| ty.oid().0));
            (statement, Vec::new())
        } else {
            if let Some(columns) = name.and_then(|name| self.executor.cursor_columns(name)) {
                self.replies.row_description(&columns, |_| Format::Text.code());
                return Ok(());
            }
            let portal = self.portals.get(name)?;
            (portal.statement.clone(), portal.formats.clone())
        };
        match statement.as_ref().and_then(|prepared| prepared.describe().columns.as_ref()) {
            Some(columns) => {
                self.replies.row_description(columns, |column| format_of(&formats, column).code());
            }
            None => self.replies.empty(b'n'),
        }
        Ok(())
    }

    pub(super) fn close(&mut self, message: &Close) -> Result<(), Failure> {
        let name = message.name.as_deref();
        if message.target_type == b'S' {
            self.statements.remove(name);
        } else {
            self.portals.take(name);
        }
        self.replies.empty(b'3');
        Ok(())
    }

    pub(super) async fn execute_portal(&mut self, name: Option<&str>, max_rows: i32) -> Result<(), Failure> {
        self.portals.get(name)?;
        let Some(mut portal) = self.portals.take(name) else { return Ok(()) };
        let in_transaction = self.executor.transaction_status();
        self.advance(&mut portal, name, max_rows).await?;
        // A COMMIT or ROLLBACK ends all portals, its own too.
        let ended = in_transaction != self.executor.transaction_status();
        if !ended {
            self.portals.insert(name.map(str::to_owned), portal);
        }
        Ok(())
    }

    async fn advance(
        &mut self,
        portal: &mut Portal<E::Prepared>,
        name: Option<&str>,
        max_rows: i32,
    ) -> Result<(), Failure> {
        let Some(statement) = portal.statement.clone() else {
            self.replies.empty(b'I');
            return Ok(());
        };
        self.watch.start(self.executor.settings().statement_timeout());
        if let PortalState::Bound(parameters) = &mut portal.state {
            let parameters = std::mem::take(parameters);
            if self.implicit || self.gate.buffered_tag() != Some(b'S') {
                self.begin_implicit().await?;
            }
            let mut outcome = self.execute(&statement, parameters).await?;
            if let Outcome::Session(request) = outcome {
                match self.carry_out(request).await? {
                    Carried::Done(tag) => outcome = Outcome::Done { tag },
                    Carried::Ran(inner) => outcome = inner,
                }
            }
            let Outcome::Rows { columns, rows, tag } = outcome else {
                let tag = self.deliver(outcome).await?;
                self.complete(tag.as_deref());
                portal.state = PortalState::Finished;
                return Ok(());
            };
            let described = statement.describe().columns.as_deref();
            portal.state = PortalState::Open(open_cursor(described, columns, rows, tag)?);
        }
        self.fetch(portal, name, max_rows).await
    }

    /// Sends the next rows of a portal that gives rows.
    async fn fetch(
        &mut self,
        portal: &mut Portal<E::Prepared>,
        name: Option<&str>,
        max_rows: i32,
    ) -> Result<(), Failure> {
        let limit = u64::try_from(max_rows).ok().filter(|&limit| limit > 0);
        match &mut portal.state {
            PortalState::Open(cursor) => {
                let before = cursor.sent;
                if !self.send_rows(cursor, &portal.formats, limit).await? {
                    self.replies.empty(b's');
                    return Ok(());
                }
                // A query counts the rows of this Execute, a writing statement those it has written.
                let counted = match cursor.tag {
                    RowsTag::Select | RowsTag::Fetch => cursor.sent - before,
                    _ => cursor.sent,
                };
                let tag = cursor.tag;
                portal.state = PortalState::Drained(tag);
                self.executor.statement_done()?;
                self.replies.command_complete(&tag.complete(counted));
                Ok(())
            }
            PortalState::Drained(tag) => {
                self.replies.command_complete(&tag.complete(0));
                Ok(())
            }
            PortalState::Bound(_) | PortalState::Finished => Err(SqlError::new(
                ErrorKind::ObjectNotInPrerequisiteState,
                format!("portal \"{}\" cannot be run", name.unwrap_or_default()),
            )
            .into()),
        }
    }
}

/// The types that Parse gives: 0 and `unknown` are to be inferred.
fn parameter_types(oids: &[u32]) -> Result<Vec<Option<ColumnType>>, SqlError> {
    oids.iter()
        .map(|&oid| {
            if oid == 0 || oid == TypeKind::Unknown.oid().0 {
                return Ok(None);
            }
            ColumnType::from_oid(Oid(oid)).map(Some).ok_or_else(|| {
                SqlError::new(ErrorKind::UndefinedObject, format!("type with OID {oid} does not exist"))
            })
        })
        .collect()
}

fn violation(message: String) -> SqlError {
    SqlError::new(ErrorKind::ProtocolViolation, message)
}
