//! The recorded answers of PostgreSQL, as far as they need no more than one session's planning and execution.

use super::world::World;

struct Case {
    sql: String,
    names: Option<String>,
    message: Option<String>,
    rows: Vec<String>,
    rowsort: bool,
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for block in text.split("\n\n") {
        let (mut names, mut message) = (None, None);
        let mut lines = block.lines();
        let mut kind = None;
        for line in lines.by_ref() {
            if let Some(list) = line.strip_prefix("# columns: ") {
                names = Some(list.to_owned());
            } else if let Some(text) = line.strip_prefix("# message: ") {
                message = Some(text.to_owned());
            } else if line.starts_with("query") || line.starts_with("statement") {
                kind = Some(line.to_owned());
                break;
            }
        }
        let Some(kind) = kind else { continue };
        let rest: Vec<&str> = lines.collect();
        let split = rest.iter().position(|line| *line == "----").unwrap_or(rest.len());
        cases.push(Case {
            sql: rest[..split].join("\n"),
            names,
            message,
            rows: rest[(split + 1).min(rest.len())..].iter().map(|row| (*row).to_owned()).collect(),
            rowsort: kind.ends_with("rowsort"),
        });
    }
    cases
}

/// Runs a file and gives the statements that answered otherwise.
fn failures(text: &str) -> (usize, Vec<String>) {
    let mut world = World::new();
    let mut failures = Vec::new();
    let cases = cases(text);
    let count = cases.len();
    for case in cases {
        let got = world.run(&case.sql);
        let problem = match (&case.message, got) {
            (Some(expected), Err(error)) if error.message == *expected => None,
            (Some(expected), Err(error)) => Some(format!("error {:?}, not {expected:?}", error.message)),
            (Some(expected), Ok(answer)) => Some(format!("answered {:?}, not {expected:?}", answer.rows)),
            (None, Err(error)) => Some(format!("{:?} {}", error.kind, error.message)),
            (None, Ok(answer)) => {
                let mut rows: Vec<String> = answer.rows.iter().map(|row| row.join(" ")).collect();
                let mut expected = case.rows.clone();
                if case.rowsort {
                    rows.sort();
                    expected.sort();
                }
                let names = answer.names.join(", ");
                if case.names.as_ref().is_some_and(|expected| *expected != names) {
                    Some(format!("names {names:?}, not {:?}", case.names))
                } else if rows == expected {
                    None
                } else {
                    Some(format!("{rows:?}, not {expected:?}"))
                }
            }
        };
        if let Some(problem) = problem {
            failures.push(format!("{}\n    {problem}", case.sql));
        }
    }
    (count, failures)
}

fn check(name: &str, text: &str, allowed: usize) {
    let (count, failures) = failures(text);
    println!("{name}: {} of {count} differ", failures.len());
    for failure in &failures {
        println!("  {failure}");
    }
    assert!(failures.len() <= allowed, "{name}: {} of {count} differ, {allowed} allowed", failures.len());
}

/// Statements of later capabilities: JSON operators, some functions, the other vector types, indexes.
#[test]
fn queries() {
    check("queries", include_str!("../../../sqllogictest/golden/queries.slt"), 8);
}

#[test]
fn vector_operators() {
    check("vector_operators", include_str!("../../../sqllogictest/golden/vector_operators.slt"), 5);
}

#[test]
fn vector_types() {
    check("vector_types", include_str!("../../../sqllogictest/golden/vector_types.slt"), 22);
}

#[test]
fn knn() {
    let text = include_str!("../../../sqllogictest/golden/knn.slt");
    // numeric columns and UNIQUE come later.
    let text = text.replace("numeric(10,2)", "float8").replace("name text UNIQUE", "name text");
    check("knn", &text, 21);
}

#[test]
fn dml() {
    let text = include_str!("../../../sqllogictest/golden/dml.slt");
    let text = text.replace(" CHECK (qty >= 0)", "").replace(" u uuid UNIQUE,", " u text,");
    check("dml", &text, 20);
}
