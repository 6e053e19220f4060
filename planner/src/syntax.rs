//! SQL text to statements: one token pass, sqlparser behind it, and a small parser of our own for the commands that
//! sqlparser does not know or reads in its own way (COPY, SET, SHOW, BEGIN, EXPLAIN options, …).
//!
//! What it is not: no names are resolved here and no types are known; the same text always gives the same
//! statements.
//!
//! Invariants: every token and every AST identifier carries the character position (from 1) in the whole text as the
//! column of its span; no text, however deep or long, overflows the stack, neither when parsed nor when dropped.

use std::ops::Deref;
use std::sync::Arc;

use exec::functions::catalog::names::quote_identifier;
use proto::{ErrorKind, SqlError};
use sqlparser::ast;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::plan::{
    CopyOptions, CursorCommand, DiscardTarget, ExplainOptions, SessionCommand, TableLockMode,
    TransactionCommand,
};

mod command;
mod copy;
mod cursor;
mod depth;
mod dialect;
mod errors;
mod hints;
mod instants;
mod lock;
mod locking;
mod maintenance;
mod prepare;
mod session;
mod snapshots;
mod statements;
mod tokens;
mod transaction;

pub(crate) use depth::too_deep;
pub use hints::ReadHints;
pub use instants::{WrittenInstant, WrittenInstants};
pub(crate) use locking::read as read_locking;
pub use maintenance::{CallStatement, MaintenanceStatement};
pub use snapshots::SnapshotStatement;
pub use statements::{Commented, SequenceClauses};
pub use tokens::{MAX_STATEMENT_BYTES, tokens};

/// How deep sqlparser may recurse; the depth check refuses earlier.
const RECURSION_LIMIT: usize = 2_000;
/// Statements with fewer tokens are parsed on the caller's stack.
const SMALL_STATEMENT: usize = 200;
/// The stack that larger statements are parsed, planned and dropped on.
const BIG_STACK: usize = 256 * 1024 * 1024;

/// One statement of a text.
#[derive(Debug)]
pub struct Parsed {
    pub statement: Statement,
    /// The statement's own text, without the semicolon.
    pub text: String,
    /// Where the statement starts in the whole text: characters, from 1.
    pub position: u32,
    /// What its comments say of the read.
    pub hints: ReadHints,
}

/// A statement, by who understands it.
#[derive(Debug)]
pub enum Statement {
    /// A query, DML or DDL in sqlparser's form.
    Sql(Ast),
    Copy(CopyStatement),
    Explain(ExplainOptions, Box<Statement>),
    Session(SessionCommand),
    Transaction(TransactionCommand),
    Checkpoint,
    Maintenance(MaintenanceStatement),
    Call(CallStatement),
    Lock {
        tables: Vec<ast::ObjectName>,
        mode: TableLockMode,
        nowait: bool,
    },
    Prepare {
        name: String,
        types: Vec<ast::DataType>,
        statement: Arc<Parsed>,
    },
    Execute {
        name: String,
        /// The values as the select list of a query; none when there are none.
        values: Option<Ast>,
    },
    CreateExtension {
        name: String,
        if_not_exists: bool,
    },
    DropExtension {
        name: String,
        if_exists: bool,
    },
    Declare {
        name: String,
        query: Box<Statement>,
    },
    Cursor(CursorCommand),
    Snapshot(SnapshotStatement),
    /// `UNDROP TABLE`.
    Undrop {
        name: ast::ObjectName,
        new_name: Option<String>,
    },
    Comment {
        about: Commented,
        text: Option<String>,
    },
    AlterSequence {
        name: ast::ObjectName,
        if_exists: bool,
        clauses: SequenceClauses,
    },
    CreateSequence {
        name: ast::ObjectName,
        if_not_exists: bool,
        data_type: Option<ast::DataType>,
        clauses: SequenceClauses,
    },
    RenameSequence {
        name: ast::ObjectName,
        if_exists: bool,
        new_name: ast::Ident,
    },
    CreateDatabase {
        name: String,
        options: Vec<(String, String)>,
    },
    DropDatabase {
        name: String,
        if_exists: bool,
        force: bool,
    },
    /// Parsed far enough to say what it is; planning it gives 0A000.
    Unsupported(String),
}

impl Statement {
    /// The instants that the statement says it reads at.
    #[must_use]
    pub fn instants(&self) -> Option<&Arc<WrittenInstants>> {
        match self {
            Self::Sql(statement) => statement.instants(),
            Self::Copy(CopyStatement { source: CopySource::Query(statement), .. }) => statement.instants(),
            Self::Explain(_, inner) | Self::Declare { query: inner, .. } => inner.instants(),
            _ => None,
        }
    }
}

/// `COPY`.
#[derive(Debug)]
pub struct CopyStatement {
    pub source: CopySource,
    /// Whether rows leave the server.
    pub to: bool,
    pub options: CopyOptions,
    /// A path or address that the server reads or writes; none for STDIN and STDOUT.
    pub file: Option<String>,
}

/// What is copied.
#[derive(Debug)]
pub enum CopySource {
    Table { name: ast::ObjectName, columns: Vec<ast::Ident> },
    Query(Ast),
}

/// A statement of sqlparser that may be deep: dropping it never overflows the stack.
#[derive(Debug)]
pub struct Ast {
    statement: Option<Box<ast::Statement>>,
    deep: bool,
    /// OVERRIDING of INSERT, which sqlparser does not know.
    overriding: Option<Overriding>,
    /// Time travel, which sqlparser drops.
    instants: Option<Arc<WrittenInstants>>,
}

/// Who decides the values of identity columns: the statement or the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overriding {
    /// `OVERRIDING SYSTEM VALUE`: given values count, also for GENERATED ALWAYS.
    System,
    /// `OVERRIDING USER VALUE`: given values of identity columns are left out.
    User,
}

impl Ast {
    fn new(statement: ast::Statement, tokens: usize) -> Self {
        let deep = tokens >= SMALL_STATEMENT;
        Self { statement: Some(Box::new(statement)), deep, overriding: None, instants: None }
    }

    pub(crate) const fn instants(&self) -> Option<&Arc<WrittenInstants>> {
        self.instants.as_ref()
    }

    pub(crate) const fn overriding(&self) -> Option<Overriding> {
        self.overriding
    }

    /// Whether the statement is large enough to want a big stack.
    pub(crate) const fn is_deep(&self) -> bool {
        self.deep
    }
}

impl Deref for Ast {
    type Target = ast::Statement;

    fn deref(&self) -> &ast::Statement {
        #[expect(clippy::expect_used, reason = "the statement is taken out only by Drop")]
        self.statement.as_deref().expect("present until dropped")
    }
}

impl Drop for Ast {
    fn drop(&mut self) {
        if self.deep
            && let Some(statement) = self.statement.take()
        {
            on_big_stack(|| drop(statement));
        }
    }
}

/// Runs `work` where recursion proportional to an accepted statement's size fits.
pub(crate) fn on_big_stack<T>(work: impl FnOnce() -> T) -> T {
    stacker::grow(BIG_STACK, work)
}

/// The statements of a text, separated by semicolons; empty ones are left out.
///
/// # Errors
/// 42601 with the position of the first token that cannot follow, 54001 when the text nests too deep, 54000 when it
/// is too long. Nothing of the text has been run then.
pub fn parse(text: &str) -> Result<Vec<Parsed>, SqlError> {
    let tokens = tokens(text)?;
    depth::check(&tokens)?;
    let mut statements = if tokens.len() < SMALL_STATEMENT {
        split(text, tokens)?
    } else {
        on_big_stack(|| split(text, tokens))?
    };
    for (parsed, hints) in statements.iter_mut().zip(hints::of_statements(text)) {
        parsed.hint(hints);
    }
    Ok(statements)
}

impl Parsed {
    /// Takes hints, for itself or for the statement it prepares.
    fn hint(&mut self, hints: ReadHints) {
        match &mut self.statement {
            Statement::Prepare { statement, .. } => {
                if let Some(prepared) = Arc::get_mut(statement) {
                    prepared.hint(hints);
                }
            }
            _ => self.hints = hints,
        }
    }
}

/// One expression, as stored for a column default.
///
/// # Errors
/// Those of `parse`.
pub fn parse_expression(text: &str) -> Result<ast::Expr, SqlError> {
    let tokens = tokens(text)?;
    depth::check(&tokens)?;
    let source = errors::Source::new(text);
    on_big_stack(|| {
        let mut parser = parser(tokens);
        let expression = parser.parse_expr().map_err(|error| source.parser_error(&error))?;
        let next = parser.peek_token();
        if next.token == sqlparser::tokenizer::Token::EOF {
            Ok(expression)
        } else {
            Err(source.near(next.span))
        }
    })
}

/// The text of an expression with a column's name replaced.
///
/// # Errors
/// Those of `tokens`.
pub(crate) fn replace_name(text: &str, from: &str, to: &str) -> Result<String, SqlError> {
    let tokens = tokens(text)?;
    let source = errors::Source::new(text);
    let needs_quotes = quote_identifier(from) != from;
    let mut out = String::with_capacity(text.len());
    let mut copied = 1;
    for (index, found) in tokens.iter().enumerate() {
        let Token::Word(word) = &found.token else { continue };
        let same = match word.quote_style {
            Some(_) => word.value == from,
            None => !needs_quotes && word.value.to_lowercase() == from,
        };
        // A type's or a function's name is none of a column.
        let names_type = index > 0 && matches!(tokens[index - 1].token, Token::DoubleColon | Token::Period);
        let is_called = tokens.get(index + 1).is_some_and(|next| next.token == Token::LParen);
        if same && !names_type && !is_called {
            out.push_str(source.slice(copied, found.span.start.column));
            out.push_str(&quote_identifier(to));
            copied = found.span.end.column;
        }
    }
    out.push_str(source.slice(copied, u64::MAX));
    Ok(out)
}

fn parser(tokens: Vec<TokenWithSpan>) -> Parser<'static> {
    static DIALECT: dialect::ElanusDialect = dialect::ElanusDialect;
    Parser::new(&DIALECT).with_recursion_limit(RECURSION_LIMIT).with_tokens_with_locations(tokens)
}

fn split(text: &str, tokens: Vec<TokenWithSpan>) -> Result<Vec<Parsed>, SqlError> {
    let source = errors::Source::new(text);
    let mut statements = Vec::new();
    let mut current = Vec::new();
    for token in tokens {
        if token.token == sqlparser::tokenizer::Token::SemiColon {
            finish(&source, std::mem::take(&mut current), &mut statements)?;
        } else {
            current.push(token);
        }
    }
    finish(&source, current, &mut statements)?;
    Ok(statements)
}

fn finish(
    source: &errors::Source<'_>,
    tokens: Vec<TokenWithSpan>,
    statements: &mut Vec<Parsed>,
) -> Result<(), SqlError> {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
        return Ok(());
    };
    let (start, end) = (first.span.start.column, last.span.end.column);
    let statement = statement(source, tokens)?;
    statements.push(Parsed {
        statement,
        text: source.slice(start, end).to_owned(),
        position: u32::try_from(start).unwrap_or(u32::MAX),
        hints: ReadHints::new(),
    });
    Ok(())
}

/// One statement: ours when its first words say so, else sqlparser's.
fn statement(source: &errors::Source<'_>, tokens: Vec<TokenWithSpan>) -> Result<Statement, SqlError> {
    if let Some(statement) = command::parse(source, &tokens)? {
        return Ok(statement);
    }
    sql(source, tokens).map(Statement::Sql)
}

fn sql(source: &errors::Source<'_>, mut tokens: Vec<TokenWithSpan>) -> Result<Ast, SqlError> {
    let count = tokens.len();
    let overriding = take_overriding(&mut tokens);
    let instants = instants::take(source, &mut tokens)?;
    locking::rewrite(&mut tokens);
    let mut parser = parser(tokens);
    let statement = parser.parse_statement().map_err(|error| source.parser_error(&error))?;
    let next = parser.peek_token();
    let mut statement = Ast::new(statement, count);
    statement.overriding = overriding;
    statement.instants = instants.map(Arc::from);
    if next.token == sqlparser::tokenizer::Token::EOF { Ok(statement) } else { Err(source.near(next.span)) }
}

/// Takes the OVERRIDING clause of an INSERT out of its tokens: the words between the column list and the source,
/// where no name can stand.
fn take_overriding(tokens: &mut Vec<TokenWithSpan>) -> Option<Overriding> {
    let word = |at: usize, wanted: &str| {
        matches!(tokens.get(at).map(|found| &found.token), Some(Token::Word(word))
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
    };
    if !(0..tokens.len().min(1)).any(|at| word(at, "insert") || word(at, "with")) {
        return None;
    }
    let at = (3..tokens.len()).find(|&at| {
        word(at, "overriding") && (word(at + 1, "system") || word(at + 1, "user")) && word(at + 2, "value")
    })?;
    let overriding = if word(at + 1, "system") { Overriding::System } else { Overriding::User };
    tokens.drain(at..at + 3);
    Some(overriding)
}

/// 42601 without a better idea of where.
fn syntax_error(message: impl Into<String>) -> SqlError {
    SqlError::new(ErrorKind::SyntaxError, message)
}

/// What `DISCARD` takes.
fn discard_target(word: &str) -> Option<DiscardTarget> {
    Some(match word {
        "all" => DiscardTarget::All,
        "plans" => DiscardTarget::Plans,
        "sequences" => DiscardTarget::Sequences,
        "temp" | "temporary" => DiscardTarget::Temporary,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
