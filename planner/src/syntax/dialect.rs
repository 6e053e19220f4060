//! The dialect: sqlparser's PostgreSQL, except where its reading of a text takes exponential time.
//!
//! With `supports_named_fn_args_with_expr_name` sqlparser parses every function argument twice, so that nested calls
//! double the work at each level; PostgreSQL's argument names are identifiers, which the other branch reads.
//!
//! Invariant: `dialect()` says PostgreSQL, which keeps the branches that sqlparser has for that dialect alone.

use std::any::TypeId;

use sqlparser::ast::{Expr, TypedString};
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// PostgreSQL's SQL as Elanus reads it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ElanusDialect;

const BASE: PostgreSqlDialect = PostgreSqlDialect {};

macro_rules! as_postgres {
    ($($name:ident)*) => {$(
        fn $name(&self) -> bool {
            BASE.$name()
        }
    )*};
}

macro_rules! characters_as_postgres {
    ($($name:ident)*) => {$(
        fn $name(&self, character: char) -> bool {
            BASE.$name(character)
        }
    )*};
}

impl Dialect for ElanusDialect {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        BASE.identifier_quote_style(identifier)
    }

    /// `vector '[1,2]'`: any type name in front of a string, where sqlparser knows only its own.
    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let [first, second] = parser.peek_tokens_ref();
        let (Token::Word(word), Token::SingleQuotedString(_)) = (&first.token, &second.token) else {
            return None;
        };
        if word.keyword != Keyword::NoKeyword {
            return None;
        }
        Some(parser.parse_data_type().and_then(|data_type| {
            let value = parser.parse_value()?;
            Ok(Expr::TypedString(TypedString { data_type, value, uses_odbc_syntax: false }))
        }))
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        BASE.is_reserved_for_identifier(keyword)
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        BASE.get_next_precedence(parser)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        BASE.prec_value(precedence)
    }

    characters_as_postgres! {
        is_delimited_identifier_start
        is_identifier_start
        is_identifier_part
        is_custom_operator_part
    }

    as_postgres! {
        supports_unicode_string_literal
        supports_filter_during_aggregation
        supports_group_by_expr
        allow_extract_custom
        allow_extract_single_quotes
        supports_create_index_with_clause
        supports_explain_with_utility_options
        supports_listen_notify
        supports_factorial_operator
        supports_bitwise_shift_operators
        supports_comment_on
        supports_load_extension
        supports_named_fn_args_with_colon_operator
        supports_nested_comments
        supports_string_escape_constant
        supports_numeric_literal_underscores
        supports_array_typedef_with_brackets
        supports_geometric_types
        supports_set_names
        supports_alter_column_type_using
        supports_notnull_operator
        supports_interval_options
        supports_insert_table_alias
        supports_create_table_like_parenthesized
        supports_select_wildcard_with_alias
        supports_comma_separated_trim
        supports_xml_expressions
        supports_comment_optimizer_hint
        supports_empty_projections
    }
}
