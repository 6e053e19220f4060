//! The README's session works as printed.

use std::io::Write;
use std::process::{Command, Stdio};

use tests::server::{Options, Server};

/// What is typed and what is answered in the README's session; prompts look like `elanus=> `.
fn session(readme: &str) -> (String, Vec<String>) {
    let block = readme.split("```sql\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a session");
    let (mut typed, mut answers) = (String::new(), Vec::new());
    for line in block.lines() {
        if let Some((_, input)) = line.split_once("> ").filter(|_| line.starts_with("elanus")) {
            typed.push_str(input);
            typed.push('\n');
        } else if !line.trim().is_empty() {
            answers.push(line.trim_end().to_owned());
        }
    }
    (typed, answers)
}

#[test]
fn the_session_of_the_readme_works_as_printed() {
    let readme = std::fs::read_to_string(tests::tidy::root().join("README.md")).expect("README.md");
    let (typed, answers) = session(&readme);
    assert!(answers.len() > 20, "the session was not found");
    let server = Server::start_with(Options::with_arguments(["--sample"]));
    let mut psql = Command::new("psql")
        .args(["-X", "-d", &server.address().url()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("psql is missing: run scripts/setup test");
    psql.stdin.take().expect("a pipe").write_all(typed.as_bytes()).expect("write");
    let output = psql.wait_with_output().expect("psql ends");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<String> =
        told.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect();
    assert_eq!(lines, answers, "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_question_of_make_run_has_its_answer() {
    let sql =
        std::fs::read_to_string(tests::tidy::root().join("examples/question.sql")).expect("the question");
    let server = Server::start_with(Options::with_arguments(["--sample"]));
    let found = server.connect().run(&sql).expect("search").first_column();
    assert_eq!(found.first().map(String::as_str), Some("sturdy neck pillow"), "{found:?}");
}
