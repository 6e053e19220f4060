//! Every function, operator and cast against the answers of PostgreSQL 16 with pgvector 0.8, recorded in
//! `tests/recorded.txt` as `expression => text` or `expression => ERROR code message`.

use super::*;
use crate::testing::{bind, code, evaluate};

async fn answer(expression: &str) -> String {
    let result = match bind(expression) {
        Ok(bound) => evaluate(bound).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(Some(text)) => text,
        Ok(None) => "NULL".to_owned(),
        Err(error) => format!("ERROR {} {}", code(error.kind), error.message),
    }
}

/// The lines whose answer is another one, and the number of lines.
async fn differing(lines: &str) -> (Vec<String>, usize) {
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in lines.lines() {
        let (expression, expected) = line.split_once(" => ").expect("a recorded line");
        count += 1;
        let got = answer(expression).await;
        if got != expected {
            wrong.push(format!("{expression}\n    expected {expected}\n    got      {got}"));
        }
    }
    (wrong, count)
}

#[tokio::test]
async fn recorded_answers_of_postgresql() {
    let (wrong, count) = differing(include_str!("tests/recorded.txt")).await;
    assert!(count > 500, "only {count} recorded answers");
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Where we knowingly differ: numeric has one scale per column and 38 digits, and case follows Unicode. These
/// are our answers; PostgreSQL's are in the README.
#[tokio::test]
async fn known_deviations_are_what_they_are() {
    let (wrong, count) = differing(include_str!("tests/deviations.txt")).await;
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_type_name_in_the_tables_exists() {
    use signature::Parameter;
    let any = [
        "concat",
        "concat_ws",
        "||",
        "pg_typeof",
        "count",
        "format",
        "json_build_object",
        "json_build_array",
    ];
    for function in FUNCTIONS.values().chain(OPERATORS.values()) {
        for signature in &function.signatures {
            let unknown =
                signature.parameters.contains(&Parameter::Any) || signature.result == Parameter::Any;
            assert!(!unknown || any.contains(&function.name.as_str()), "{}: {signature:?}", function.name);
        }
    }
}

#[test]
fn distance_operators_have_their_functions() {
    for metric in proto::DistanceMetric::ALL {
        assert_eq!(distance::operator_function(metric).name(), metric.operator_function());
    }
}
