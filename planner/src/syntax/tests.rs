//! Texts to statements, and texts that must be refused without harm.

use proto::ErrorKind;

use super::{Statement, parse, tokens};
use crate::plan::{CopyFormat, SessionCommand, SetValue, TransactionCommand};

fn operators(sql: &str) -> Vec<String> {
    tokens(sql).unwrap().into_iter().map(|token| token.token.to_string()).collect()
}

#[test]
fn vector_operators_are_custom_and_lose_their_signs() {
    assert_eq!(operators("a<->-1"), ["a", "<->", "-", "1"]);
    assert_eq!(operators("a<+>b"), ["a", "<+>", "b"]);
    assert_eq!(operators("a <+> - 1"), ["a", "<+>", "-", "1"]);
    assert_eq!(operators("a<=>'x'"), ["a", "<=>", "'x'"]);
    assert_eq!(operators("a<-1"), ["a", "<", "-", "1"]);
    assert_eq!(operators("a>-1"), ["a", ">", "-", "1"]);
    assert_eq!(operators("a <#> b <~> c <%> d"), ["a", "<#>", "b", "<~>", "c", "<%>", "d"]);
    assert_eq!(operators("a < + > b"), ["a", "<", "+", ">", "b"]);
}

#[test]
fn cosine_binds_tighter_than_comparison() {
    let parsed = parse("SELECT 0.5 > a <=> b").unwrap();
    let Statement::Sql(ast) = &parsed[0].statement else { panic!() };
    let sqlparser::ast::Statement::Query(query) = &**ast else { panic!() };
    let sqlparser::ast::SetExpr::Select(select) = query.body.as_ref() else { panic!() };
    let sqlparser::ast::SelectItem::UnnamedExpr(expression) = &select.projection[0] else { panic!() };
    let sqlparser::ast::Expr::BinaryOp { op, .. } = expression else { panic!() };
    assert_eq!(*op, sqlparser::ast::BinaryOperator::Gt);
}

#[test]
fn texts_are_split_with_positions() {
    let parsed = parse("SELECT 'é;'; -- note\n ;SELECT 2 ;").unwrap();
    let parts: Vec<(&str, u32)> = parsed.iter().map(|p| (p.text.as_str(), p.position)).collect();
    assert_eq!(parts, [("SELECT 'é;'", 1), ("SELECT 2", 24)]);
    assert!(parse("  ; -- nothing\n").unwrap().is_empty());
}

#[test]
fn syntax_errors_name_the_token() {
    for (sql, message, position) in [
        ("SELECT 1 +", "syntax error at end of input", 11),
        ("SELEC 1", "syntax error at or near \"SELEC\"", 1),
        ("SELECT 1; SELECT ) 2", "syntax error at or near \")\"", 18),
        ("SELECT 'abc", "unterminated quoted string at or near \"'abc\"", 8),
    ] {
        let error = parse(sql).expect_err(sql);
        assert_eq!(
            (error.kind, error.message.as_str(), error.position),
            (ErrorKind::SyntaxError, message, Some(position))
        );
    }
}

#[test]
fn deep_texts_are_refused_or_work() {
    let chain = |term: &str, count: usize| format!("SELECT {}", vec!["1"; count].join(term));
    for sql in [
        chain("+", 100_000),
        chain(" OR 1=", 100_000),
        format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("SELECT {}1", "- ".repeat(50_000)),
        format!("SELECT {}true", "NOT ".repeat(50_000)),
        format!("SELECT 1{}", " UNION SELECT 1".repeat(20_000)),
        format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(5_000), " END".repeat(5_000)),
        format!("SELECT 1{}", "::int".repeat(50_000)),
    ] {
        assert_eq!(parse(&sql).unwrap_err().kind, ErrorKind::StatementTooComplex);
    }
    parse(&chain(" + ", 300)).unwrap();
    // These took time that doubles with every level.
    parse(&format!("SELECT {}1{}", "abs(".repeat(100), ")".repeat(100))).unwrap();
    parse(&format!("SELECT {}1{}", "(SELECT ".repeat(60), ")".repeat(60))).unwrap();
    parse(&format!("SELECT * FROM {}t{}", "(SELECT * FROM ".repeat(60), ") x".repeat(60))).unwrap();
    parse(&format!("SELECT 1 WHERE {}", vec!["a = 1"; 5_000].join(" OR "))).unwrap();
    parse(&format!("SELECT 1 WHERE a IN ({})", vec!["-1"; 100_000].join(","))).unwrap();
    parse(&format!("SELECT {}1{}", "(".repeat(100), ")".repeat(100))).unwrap();
}

#[test]
fn commands_of_our_own() {
    let one = |sql: &str| parse(sql).unwrap().remove(0).statement;
    let Statement::Session(SessionCommand::Set { name, value, local }) =
        one("SET LOCAL hnsw.ef_search TO 100")
    else {
        panic!()
    };
    assert_eq!((name.as_str(), value, local), ("hnsw.ef_search", SetValue::Values(vec!["100".into()]), true));
    let Statement::Session(SessionCommand::Set { value, .. }) =
        one("SET search_path = app, \"$user\", 'x y'")
    else {
        panic!()
    };
    assert_eq!(value, SetValue::Values(vec!["app".into(), "$user".into(), "x y".into()]));
    assert!(matches!(one("CHECKPOINT"), Statement::Checkpoint));
    assert!(matches!(one("SHOW ALL"), Statement::Session(SessionCommand::ShowAll)));
    assert!(matches!(
        one("SET TIME ZONE LOCAL"),
        Statement::Session(SessionCommand::Set { value: SetValue::Default, .. })
    ));
    assert!(matches!(one("END"), Statement::Transaction(TransactionCommand::Commit { chain: false })));
    assert!(matches!(
        one("START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"),
        Statement::Transaction(TransactionCommand::Begin { start: true, .. })
    ));
    let Statement::Copy(copy) =
        one("COPY t (a, b) FROM STDIN WITH (FORMAT csv, HEADER, DELIMITER ';', NULL 'x')")
    else {
        panic!()
    };
    assert_eq!((copy.options.format, copy.options.delimiter, copy.to), (CopyFormat::Csv, b';', false));
    let Statement::Copy(copy) = one("COPY t FROM STDIN WITH BINARY") else { panic!() };
    assert_eq!(copy.options.format, CopyFormat::Binary);
    assert!(matches!(one("COPY (SELECT 1) TO STDOUT"), Statement::Copy(copy) if copy.to));
    assert!(
        matches!(one("EXPLAIN (ANALYZE, COSTS off) SELECT 1"), Statement::Explain(options, _) if options.analyze && !options.costs)
    );
}
