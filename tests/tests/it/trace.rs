//! No reply leaves before the fdatasync that covers it: 1 000 commits under strace, four clients at once.

use tests::server::{Options, Server};
use tests::trace::{self, MARK};
use tests::wire::Connection;

const CLIENTS: usize = 4;
const COMMITS: usize = 1_000;

#[test]
fn no_reply_before_the_fdatasync_that_covers_it() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("trace");
    let wrapper = [
        "strace",
        "-f",
        "-yy",
        "-s",
        "1048576",
        "-e",
        "trace=fdatasync,fsync,sendto,sendmsg,write,pwrite64,writev,pwritev",
    ];
    let mut wrapper: Vec<_> = wrapper.into_iter().map(Into::into).collect();
    wrapper.extend(["--seccomp-bpf".into(), "-o".into(), file.clone().into()]);
    let mut server = Server::start_with(Options { wrapper, ..Options::default() });
    server.connect().run("CREATE TABLE t (mark text PRIMARY KEY)").expect("create");
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let address = server.address().clone();
            scope.spawn(move || {
                let mut connection = Connection::open(&address).expect("a session");
                for commit in 0..COMMITS / CLIENTS {
                    // The reply carries the mark, so that the trace tells which commit it answers.
                    let mark = format!("{MARK}{:06}", client * COMMITS + commit);
                    let sql = format!("INSERT INTO t VALUES ('{mark}') RETURNING mark");
                    assert_eq!(connection.value(&sql).expect("insert"), mark);
                }
            });
        }
    });
    server.stop();
    let trace = std::fs::read(&file).expect("the trace");
    let findings = trace::judge(&String::from_utf8_lossy(&trace));
    println!("{} replies covered by {} syncs", findings.covered, findings.syncs);
    assert!(
        findings.violations.is_empty(),
        "{:?}",
        &findings.violations[..findings.violations.len().min(10)]
    );
    assert_eq!(findings.covered, COMMITS);
}
