//! A small executor over a language of its own: constant rows, a list of words as its store, transactions.
//!
//! `ROWS n`, `PARAM type`, `PUT word`, `BEGIN`, `COMMIT`, `ROLLBACK`, `FAIL`, `FAIL AFTER n`, `PANIC`, `HANG`,
//! `NOTICE text`, `SET name value`, `COPY IN format`, `COPY OUT format n`, `PREPARE name AS …`,
//! `EXECUTE name value`, `DEALLOCATE ALL`, `NARROW` (rows that are not what was described).

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, StringArray};
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use futures::StreamExt;
use parking_lot::Mutex;
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};

use crate::copy::{CopyFormat, CopyOptions};
use crate::session::*;
use crate::settings::{Scope, SessionSettings};

/// What the tests look at.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Words that are committed.
    pub(crate) words: Vec<String>,
    /// Statements that ran, in order.
    pub(crate) ran: Vec<String>,
    /// Rows of the last COPY, printed.
    pub(crate) copied: Vec<String>,
    pub(crate) copy_batches: usize,
    /// Batches that a result stream has been asked for.
    pub(crate) produced: usize,
    pub(crate) stopped: Option<CancelReason>,
    pub(crate) closed: bool,
    pub(crate) cancel: Option<CancelFlag>,
}

pub(crate) type Log = Arc<Mutex<Ledger>>;

#[derive(Debug)]
pub(crate) struct Script {
    text: String,
    description: Description,
}

impl Prepared for Script {
    fn describe(&self) -> &Description {
        &self.description
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Auto,
    Implicit,
    Explicit,
    Failed,
}

#[derive(Debug)]
pub(crate) struct ScriptExecutor {
    log: Log,
    cancel: CancelFlag,
    mode: Mode,
    pending: Vec<String>,
    copied: Vec<String>,
    refused: Option<u64>,
    settings: SessionSettings,
    notices: Vec<Notice>,
}

impl ScriptExecutor {
    pub(crate) fn new(log: Log, cancel: CancelFlag) -> Self {
        Self {
            log,
            cancel,
            mode: Mode::Auto,
            pending: Vec::new(),
            copied: Vec::new(),
            refused: None,
            settings: SessionSettings::new(),
            notices: Vec::new(),
        }
    }

    fn commit(&mut self) {
        self.mode = Mode::Auto;
        self.settings.commit();
        let pending = std::mem::take(&mut self.pending);
        self.log.lock().words.extend(pending);
    }

    fn roll_back(&mut self) {
        self.mode = Mode::Auto;
        self.settings.rollback();
        self.pending.clear();
    }

    fn copy_schema() -> Arc<Schema> {
        Arc::new(Schema::new(vec![
            ColumnType::INT4.arrow_field("id", false),
            ColumnType::vector(3).arrow_field("v", true),
            ColumnType::TEXT.arrow_field("t", true),
        ]))
    }

    fn rows(&self, count: i32, fail: bool) -> RowStream {
        const BATCH: i32 = 1000;
        let log = Arc::clone(&self.log);
        let batches = (0..count).step_by(BATCH as usize).map(move |start| {
            log.lock().produced += 1;
            let column: ArrayRef = Arc::new(Int32Array::from_iter_values(start..(start + BATCH).min(count)));
            RecordBatch::try_from_iter([("n", column)])
                .map_err(|error| SqlError::new(ErrorKind::Internal, error.to_string()))
        });
        let end = fail.then(|| Err(SqlError::new(ErrorKind::DivisionByZero, "division by zero")));
        futures::stream::iter(batches.chain(end)).boxed()
    }
}

fn columns_of(text: &str) -> Option<Vec<ResultColumn>> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        ["ROWS", _] | ["FAIL", "AFTER", _] | ["NARROW"] => {
            Some(vec![ResultColumn::computed("n", ColumnType::INT4)])
        }
        ["PARAM", ty] => Some(vec![ResultColumn::computed("value", ColumnType::from_name(ty).unwrap())]),
        _ => None,
    }
}

#[async_trait]
impl Executor for ScriptExecutor {
    type Statement = String;
    type Prepared = Script;

    fn parse(&mut self, text: &str) -> Result<Vec<Arc<String>>, SqlError> {
        if text.contains("SYNTAX") {
            return Err(
                SqlError::new(ErrorKind::SyntaxError, "syntax error at or near \"SYNTAX\"").with_position(1)
            );
        }
        let statements = text.split(';').map(str::trim).filter(|text| !text.is_empty());
        Ok(statements.map(|text| Arc::new(text.to_owned())).collect())
    }

    async fn prepare(
        &mut self,
        statement: &Arc<String>,
        types: &[Option<ColumnType>],
    ) -> Result<Arc<Script>, SqlError> {
        if self.mode == Mode::Failed && !matches!(statement.as_str(), "COMMIT" | "ROLLBACK") {
            return Err(SqlError::new(
                ErrorKind::InFailedSqlTransaction,
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        let inferred = statement.strip_prefix("PARAM ").and_then(ColumnType::from_name);
        let parameters = inferred
            .map(|inferred| types.first().copied().flatten().unwrap_or(inferred))
            .into_iter()
            .collect();
        let description = Description { parameters, columns: columns_of(statement) };
        Ok(Arc::new(Script { text: statement.as_ref().clone(), description }))
    }

    async fn execute(
        &mut self,
        prepared: &Arc<Script>,
        parameters: Vec<Parameter>,
    ) -> Result<Outcome<String>, SqlError> {
        let text = prepared.text.clone();
        self.log.lock().ran.push(text.clone());
        let words: Vec<&str> = text.split_whitespace().collect();
        let columns = || columns_of(&text).unwrap().into();
        Ok(match words[..] {
            ["ROWS", count] => Outcome::Rows {
                columns: columns(),
                rows: self.rows(count.parse().unwrap(), false),
                tag: RowsTag::Select,
            },
            ["FAIL", "AFTER", count] => Outcome::Rows {
                columns: columns(),
                rows: self.rows(count.parse().unwrap(), true),
                tag: RowsTag::Select,
            },
            ["NARROW"] => Outcome::Rows {
                columns: vec![ResultColumn::computed("n", ColumnType::TEXT)].into(),
                rows: futures::stream::empty().boxed(),
                tag: RowsTag::Select,
            },
            ["PARAM", _] => {
                let array = parameters[0].value.to_array().unwrap();
                let batch = RecordBatch::try_from_iter([("value", array)]).unwrap();
                Outcome::Rows {
                    columns: columns(),
                    rows: futures::stream::iter([Ok(batch)]).boxed(),
                    tag: RowsTag::Select,
                }
            }
            ["PUT", word] => {
                self.pending.push(word.to_owned());
                if self.mode == Mode::Auto {
                    self.commit();
                }
                Outcome::Done { tag: "INSERT 0 1".to_owned() }
            }
            ["BEGIN"] => {
                self.mode = Mode::Explicit;
                self.settings.begin();
                Outcome::Done { tag: "BEGIN".to_owned() }
            }
            ["COMMIT"] if self.mode == Mode::Failed => {
                self.roll_back();
                Outcome::Done { tag: "ROLLBACK".to_owned() }
            }
            ["COMMIT"] => {
                self.commit();
                Outcome::Done { tag: "COMMIT".to_owned() }
            }
            ["ROLLBACK"] => {
                self.roll_back();
                Outcome::Done { tag: "ROLLBACK".to_owned() }
            }
            ["FAIL"] => return Err(SqlError::new(ErrorKind::DivisionByZero, "division by zero")),
            ["PANIC"] => panic!("as asked"),
            ["HANG"] => {
                let reason = self.cancel.cancelled().await;
                self.log.lock().stopped = Some(reason);
                return Err(SqlError::new(ErrorKind::QueryCanceled, "canceled"));
            }
            ["NOTICE", word] => {
                self.notices.push(Notice::notice(word));
                Outcome::Done { tag: "NOTICE".to_owned() }
            }
            ["SET", name, value] => {
                self.settings.set(name, value, Scope::Session)?;
                Outcome::Done { tag: "SET".to_owned() }
            }
            ["COPY", "IN", format] => Outcome::CopyIn(CopyIn {
                table: "t".to_owned(),
                schema: Self::copy_schema(),
                options: CopyOptions::of_format(format_of(format)),
                progress: Default::default(),
            }),
            ["COPY", "OUT", format, count] => {
                let count: i32 = count.parse().unwrap();
                let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..count));
                let texts: ArrayRef = Arc::new(StringArray::from_iter(
                    (0..count).map(|n| (n % 2 == 0).then(|| format!("a\tb,{n}"))),
                ));
                let batch =
                    RecordBatch::try_from_iter_with_nullable([("n", numbers, false), ("t", texts, true)])
                        .unwrap();
                Outcome::CopyOut(CopyOut {
                    columns: vec![
                        ResultColumn::computed("n", ColumnType::INT4),
                        ResultColumn::computed("t", ColumnType::scalar(TypeKind::Text)),
                    ]
                    .into(),
                    rows: futures::stream::iter([Ok(batch)]).boxed(),
                    options: CopyOptions::of_format(format_of(format)),
                    progress: Default::default(),
                })
            }
            ["PREPARE", name, "AS", ..] => Outcome::Session(SessionRequest::Prepare {
                name: name.to_owned(),
                statement: Arc::new(words[3..].join(" ")),
                parameter_types: Vec::new(),
            }),
            ["EXECUTE", name, value] => Outcome::Session(SessionRequest::Execute {
                name: name.to_owned(),
                parameters: vec![Parameter {
                    value: ScalarValue::Utf8(Some(value.to_owned())),
                    ty: ColumnType::scalar(TypeKind::Unknown),
                }],
            }),
            ["DEALLOCATE", "ALL"] => {
                Outcome::Session(SessionRequest::Deallocate { name: None, tag: "DEALLOCATE ALL".to_owned() })
            }
            _ => return Err(SqlError::new(ErrorKind::SyntaxError, format!("no statement {text}"))),
        })
    }

    async fn copy_rows(&mut self, batch: RecordBatch) -> Result<(), SqlError> {
        self.log.lock().copy_batches += 1;
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|array| arrow::util::display::ArrayFormatter::try_new(array, &Default::default()).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let shown: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
            if shown[1].is_empty() && shown[2] == "refuse" {
                self.refused = Some(self.copied.len() as u64);
                return Err(SqlError::new(ErrorKind::NotNullViolation, "refused"));
            }
            self.copied.push(shown.join("|"));
        }
        Ok(())
    }

    async fn copy_finish(&mut self) -> Result<u64, SqlError> {
        let copied = std::mem::take(&mut self.copied);
        let count = copied.len() as u64;
        self.log.lock().copied = copied;
        Ok(count)
    }

    fn failed_copy_row(&self) -> Option<u64> {
        self.refused
    }

    async fn copy_abort(&mut self) {
        self.copied.clear();
    }

    fn transaction_status(&self) -> TransactionStatus {
        match self.mode {
            Mode::Auto | Mode::Implicit => TransactionStatus::Idle,
            Mode::Explicit => TransactionStatus::InTransaction,
            Mode::Failed => TransactionStatus::Failed,
        }
    }

    async fn begin_implicit(&mut self) -> Result<(), SqlError> {
        if self.mode == Mode::Auto {
            self.mode = Mode::Implicit;
            self.settings.begin();
        }
        Ok(())
    }

    async fn end_implicit(&mut self, commit: bool) -> Result<(), SqlError> {
        if self.mode != Mode::Implicit {
            return Ok(());
        }
        if commit && self.pending.iter().any(|word| word == "conflict") {
            self.roll_back();
            return Err(SqlError::new(
                ErrorKind::SerializationFailure,
                "could not serialize access due to concurrent update",
            ));
        }
        if commit {
            self.commit()
        } else {
            self.roll_back()
        }
        Ok(())
    }

    fn statement_failed(&mut self, _: &SqlError) {
        if self.mode == Mode::Explicit {
            self.mode = Mode::Failed;
        }
    }

    fn settings(&self) -> &SessionSettings {
        &self.settings
    }

    fn settings_mut(&mut self) -> &mut SessionSettings {
        &mut self.settings
    }

    fn now_micros(&self) -> i64 {
        0
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    async fn close(&mut self) {
        self.log.lock().closed = true;
    }
}

fn format_of(name: &str) -> CopyFormat {
    match name {
        "csv" => CopyFormat::Csv,
        "binary" => CopyFormat::Binary,
        _ => CopyFormat::Text,
    }
}
