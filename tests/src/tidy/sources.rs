//! The Rust sources: sizes, headers, names, words that must not be there, `unsafe`.

use super::{Finding, Source, scan};

/// Longest production file, in lines.
const FILE_LINES: usize = 700;
/// Longest function, in lines.
const FUNCTION_LINES: usize = 70;
/// Names that say nothing.
const EMPTY_NAMES: [&str; 7] = ["utils", "util", "helpers", "helper", "common", "misc", "manager"];
/// Where `unsafe` may stand: the FAISS shim, kernels, file mapping, the allocator, and the streaming read that a bench
/// of the kernels compares with.
const UNSAFE_FILES: [&str; 5] = [
    "segments/src/faiss.rs",
    "segments/src/distance",
    "segments/src/file.rs",
    "exec/src/memory.rs",
    "segments/benches/exact_scan.rs",
];

/// All rules of this file.
#[must_use]
pub fn check(sources: &[Source]) -> Vec<Finding> {
    sources.iter().flat_map(check_one).collect()
}

/// All rules on one source.
#[must_use]
pub fn check_one(source: &Source) -> Vec<Finding> {
    let tokens = scan::tokens(&source.text);
    let mut findings = sizes(source, &tokens);
    findings.extend(names(source));
    findings.extend(words(source, &tokens));
    findings
}

fn finding(rule: &'static str, place: String, what: impl Into<String>) -> Finding {
    Finding { rule, place, what: what.into() }
}

fn sizes(source: &Source, tokens: &[scan::Token]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = source.text.lines().count();
    let is_suite = source.path.ends_with("/tests.rs") || source.path.contains("/tests/it/");
    if !is_suite && lines > FILE_LINES {
        findings.push(finding("file-length", source.path.clone(), format!("{lines} lines")));
    }
    if !source.is_test() {
        for function in scan::functions(tokens).iter().filter(|function| function.lines > FUNCTION_LINES) {
            let what = format!("line {}: {} lines", function.line, function.lines);
            findings.push(finding("function-length", format!("{}:{}", source.path, function.name), what));
        }
    }
    findings
}

fn names(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_tests = source.path.ends_with("/tests.rs") || source.path.contains("/tests/");
    if !is_tests && !source.text.starts_with("//!") {
        findings.push(finding("header", source.path.clone(), "does not begin with //!"));
    }
    let parts = source.path.split('/').map(|part| part.trim_end_matches(".rs"));
    for part in parts.filter(|part| EMPTY_NAMES.contains(part)) {
        findings.push(finding("name", source.path.clone(), format!("`{part}` says nothing")));
    }
    if source.path.ends_with("/mod.rs") {
        findings.push(finding("name", source.path.clone(), "modules are foo.rs beside foo/"));
    }
    findings
}

fn words(source: &Source, tokens: &[scan::Token]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let place = |line: usize| format!("{}:{line}", source.path);
    for pair in tokens.windows(2) {
        let [first, second] = pair else { continue };
        if ["todo", "unimplemented"].contains(&first.text.as_str()) && second.text == "!" {
            findings.push(finding("unfinished", place(first.line), format!("{}!", first.text)));
        }
        if first.text == "[" && second.text == "ignore" {
            findings.push(finding("ignored", place(first.line), "a test that does not run"));
        }
    }
    let allowed = UNSAFE_FILES.iter().any(|prefix| source.path.starts_with(prefix));
    for token in tokens.iter().filter(|token| token.text == "unsafe" && !allowed) {
        findings.push(finding(
            "unsafe",
            place(token.line),
            "outside the FAISS shim, kernels, file mapping and the allocator",
        ));
    }
    // Spelt apart, or this file would find itself.
    let marks = [concat!("FIX", "ME"), concat!("XX", "X:"), concat!("TO", "DO")];
    let folders = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    for (number, line) in source.text.lines().enumerate() {
        for mark in marks.iter().filter(|mark| line.contains(**mark)) {
            findings.push(finding("unfinished", place(number + 1), *mark));
        }
        for folder in folders.iter().filter(|folder| line.contains(**folder)) {
            findings.push(finding("machine-path", place(number + 1), *folder));
        }
    }
    findings
}
