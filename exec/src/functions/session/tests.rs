//! Functions that read the session.

use proto::ErrorKind;

use crate::testing::{bind, evaluate};

#[tokio::test]
async fn the_session_shows() {
    let cases = [
        ("current_user", "elanus"),
        ("current_database()", "elanus"),
        ("current_schema()", "public"),
        ("current_schemas(true)", "{pg_catalog,public}"),
        ("pg_backend_pid()", "7"),
        ("now()", "2026-01-01 00:00:00+00"),
        ("statement_timestamp()", "2026-01-01 00:00:00.000001+00"),
        ("current_date", "2026-01-01"),
        ("'today'::date", "2026-01-01"),
        ("'now'::timestamp", "2026-01-01 00:00:00"),
        ("age('2025-12-01'::timestamp)", "1 mon"),
        ("random() < 1.0::float8", "t"),
    ];
    for (expression, expected) in cases {
        let got = evaluate(bind(expression).expect(expression)).await.expect(expression);
        assert_eq!(got.as_deref(), Some(expected), "{expression}");
    }
    let version = evaluate(bind("version()").expect("version")).await.expect("version").expect("a text");
    assert!(version.starts_with("PostgreSQL 16.14 (Elanus 0.1.0)"), "{version}");
    let missing = evaluate(bind("current_setting('nosuch')").expect("bound")).await.expect_err("no setting");
    assert_eq!(missing.kind, ErrorKind::UndefinedObject);
}
