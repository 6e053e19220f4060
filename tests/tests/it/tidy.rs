//! The source tree is as the house rules say.

use tests::tidy;

#[test]
fn the_tree_is_tidy() {
    let findings = tidy::check(&tidy::root());
    let lines: Vec<String> = findings
        .iter()
        .map(|finding| format!("{}: {}: {}", finding.rule, finding.place, finding.what))
        .collect();
    assert!(findings.is_empty(), "{} findings\n{}", lines.len(), lines.join("\n"));
}
