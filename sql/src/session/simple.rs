//! The simple query protocol: one text, any number of statements, one implicit transaction for several.

use proto::{ErrorKind, SqlError};
use tokio::io::{AsyncRead, AsyncWrite};

use super::backend::{Executor, Prepared};
use super::watch::guarded;
use super::{Failure, Session};
use crate::wire::frame::GateError;

impl<E, R, W> Session<E, R, W>
where
    E: Executor,
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    /// Runs a Query message.
    pub(super) async fn simple(&mut self, text: &str) -> Result<(), GateError> {
        self.statements.remove(None);
        self.portals.take(None);
        if let Err(failure) = self.run_text(text).await {
            self.recover(failure).await?;
        }
        self.ready().await
    }

    async fn run_text(&mut self, text: &str) -> Result<(), Failure> {
        self.check_length(text)?;
        let statements = guarded(|| self.executor.parse(text))?;
        if statements.is_empty() {
            self.end_implicit().await?;
            self.replies.empty(b'I');
            return Ok(());
        }
        let several = statements.len() > 1 || self.implicit;
        for (position, statement) in statements.iter().enumerate() {
            if several {
                self.begin_implicit().await?;
            }
            self.watch.start(self.executor.settings().statement_timeout());
            let prepared = self.prepare(statement, &[]).await?;
            if !prepared.describe().parameters.is_empty() {
                return Err(SqlError::new(ErrorKind::UndefinedParameter, "there is no parameter $1").into());
            }
            let outcome = self.execute(&prepared, Vec::new()).await?;
            let tag = self.deliver(outcome).await?;
            if position + 1 == statements.len() {
                // Committed before its completion is told.
                self.end_implicit().await?;
            }
            self.complete(tag.as_deref());
        }
        Ok(())
    }
}
