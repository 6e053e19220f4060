//! Killed at random points, the server comes back with everything it acknowledged and nothing else.

use tests::crash::{self, Plan};

#[test]
fn nothing_is_lost_when_the_server_is_killed() {
    let plan = Plan::from_environment(15);
    let report = crash::run(plan);
    println!("kill loop: {report}");
    assert!(report.violations.is_empty(), "SEED={}:\n{}", plan.seed, report.violations.join("\n"));
    assert_eq!(report.kills, plan.kills);
    // A run that did not do its work proves nothing.
    assert!(report.acknowledged >= u64::from(plan.kills) * 10, "too little was acknowledged: {report}");
    assert!(report.refused.min(report.taken).min(report.cascaded) > 0, "no key stood in the way: {report}");
    assert!(report.most_indexed_rows > 0, "no index ever held a row: {report}");
    if plan.kills >= 100 {
        assert!(report.acknowledged >= 5_000, "too little was acknowledged: {report}");
        let rarest = report.killed_in_checkpoint.min(report.killed_in_copy).min(report.killed_in_transaction);
        assert!(rarest >= 10, "a kind of kill was hit too seldom: {report}");
    }
}
