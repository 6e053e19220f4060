//! Commands about the session: SET, RESET, SHOW, DISCARD, DEALLOCATE.

use planner::plan::{DiscardTarget, Isolation, SessionCommand, SetValue, TransactionModes};
use planner::syntax::Parsed;
use proto::{ErrorKind, SqlError};

use super::SessionExecutor;
use super::query::text_rows;
use super::transaction::{self, Extent};
use crate::session::{Executor as _, Notice, Outcome, RowsTag, SessionRequest};
use crate::settings::{Scope, join_list};

impl SessionExecutor {
    pub(super) fn session_command(&mut self, command: &SessionCommand) -> Result<Outcome<Parsed>, SqlError> {
        let done = |tag: &str| Ok(Outcome::Done { tag: tag.to_owned() });
        match command {
            SessionCommand::Set { name, value, local } => {
                self.set(name, value, *local)?;
                done("SET")
            }
            SessionCommand::Reset { name } => {
                self.settings_mut().reset(name, Scope::Session)?;
                done("RESET")
            }
            SessionCommand::ResetAll => {
                self.settings_mut().reset_all();
                done("RESET")
            }
            SessionCommand::Show { name } => {
                let value = self.shown(name)?;
                let column = self.settings.shown_name(name);
                Ok(text_rows(&[&column], vec![vec![value]], RowsTag::Show))
            }
            SessionCommand::ShowAll => {
                let mut columns = vec![Vec::new(), Vec::new(), Vec::new()];
                for (name, setting, description) in self.settings.show_all() {
                    columns[0].push(name);
                    columns[1].push(setting);
                    columns[2].push(description);
                }
                Ok(text_rows(&["name", "setting", "description"], columns, RowsTag::Show))
            }
            SessionCommand::Discard(target) => self.discard(*target),
            SessionCommand::Deallocate { name } => Ok(Outcome::Session(SessionRequest::Deallocate {
                name: name.clone(),
                tag: if name.is_some() { "DEALLOCATE" } else { "DEALLOCATE ALL" }.to_owned(),
            })),
            SessionCommand::Unlisten => done("UNLISTEN"),
            SessionCommand::SetCharacteristics(modes) => {
                self.set_characteristics(modes)?;
                done("SET")
            }
        }
    }

    fn set(&mut self, name: &str, value: &SetValue, local: bool) -> Result<(), SqlError> {
        let in_block = self.transaction.as_ref().is_some_and(|running| running.extent == Extent::Block);
        if local && !in_block {
            self.notices.push(Notice::warning("25P01", "SET LOCAL can only be used in transaction blocks"));
            return Ok(());
        }
        let scope = if local { Scope::Local } else { Scope::Session };
        match value {
            SetValue::Default => self.settings_mut().reset(name, scope),
            SetValue::Values(values) if name.eq_ignore_ascii_case("search_path") => {
                let joined = join_list(values);
                self.settings_mut().set(name, &joined, scope)
            }
            SetValue::Values(values) => {
                let joined = values.join(", ");
                self.settings_mut().set(name, &joined, scope)
            }
        }
    }

    /// What SHOW prints; the transaction's own properties are not kept as settings.
    fn shown(&self, name: &str) -> Result<String, SqlError> {
        let running = self.transaction.as_ref();
        match name.to_ascii_lowercase().as_str() {
            "transaction_isolation" if running.is_some() => {
                Ok(match running.map(|running| running.isolation) {
                    Some(transaction::Isolation::RepeatableRead) => "repeatable read",
                    _ => "read committed",
                }
                .to_owned())
            }
            "transaction_read_only" if running.is_some() => {
                Ok(if running.is_some_and(|running| running.read_only) { "on" } else { "off" }.to_owned())
            }
            _ => self.settings.show(name),
        }
    }

    fn discard(&mut self, target: DiscardTarget) -> Result<Outcome<Parsed>, SqlError> {
        match target {
            DiscardTarget::All => {
                if self.transaction.as_ref().is_some_and(|running| running.extent == Extent::Block) {
                    return Err(SqlError::new(
                        ErrorKind::ActiveSqlTransaction,
                        "DISCARD ALL cannot run inside a transaction block",
                    ));
                }
                self.settings_mut().reset_all();
                self.plans.clear();
                *self.sequence_values.lock() = exec::statement::SequenceValues::default();
                Ok(Outcome::Session(SessionRequest::Deallocate { name: None, tag: "DISCARD ALL".to_owned() }))
            }
            DiscardTarget::Plans => {
                self.plans.clear();
                Ok(Outcome::Done { tag: "DISCARD PLANS".to_owned() })
            }
            DiscardTarget::Sequences => {
                *self.sequence_values.lock() = exec::statement::SequenceValues::default();
                Ok(Outcome::Done { tag: "DISCARD SEQUENCES".to_owned() })
            }
            DiscardTarget::Temporary => Ok(Outcome::Done { tag: "DISCARD TEMP".to_owned() }),
        }
    }

    fn set_characteristics(&mut self, modes: &TransactionModes) -> Result<(), SqlError> {
        if let Some(isolation) = modes.isolation {
            let value = match isolation {
                Isolation::ReadUncommitted | Isolation::ReadCommitted => "read committed",
                Isolation::RepeatableRead => "repeatable read",
                Isolation::Serializable => {
                    return Err(SqlError::unsupported("transaction isolation level SERIALIZABLE"));
                }
            };
            self.settings_mut().set("default_transaction_isolation", value, Scope::Session)?;
        }
        if let Some(read_only) = modes.read_only {
            let value = if read_only { "on" } else { "off" };
            self.settings_mut().set("default_transaction_read_only", value, Scope::Session)?;
        }
        Ok(())
    }
}
