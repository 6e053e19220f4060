//! `--password-file`: SCRAM with several clients, wrong passwords and users, and the next start.

use std::process::{Command, Output};

use tests::server::{Options, Server};
use tests::wire::Connection;

/// A server with a password, and the folder of its file.
fn guarded(password: &str) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("password");
    std::fs::write(&file, format!("{password}\n")).expect("write");
    let file = file.to_str().expect("a plain path");
    (Server::start_with(Options::with_arguments(["--password-file", file])), folder)
}

fn psql(server: &Server, user: &str, password: Option<&str>) -> Output {
    let address = server.address();
    let url = format!("postgresql://{user}@{}:{}/elanus", address.host, address.port);
    let mut command = Command::new("psql");
    command.args(["-X", "-w", "-At", "-d", &url, "-c", "SELECT 'in'"]).env_remove("PGPASSWORD");
    command.envs(password.map(|password| ("PGPASSWORD", password)));
    command.output().expect("psql is missing: run scripts/setup test")
}

fn told(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_right_password_lets_in_and_no_other() {
    let (server, _folder) = guarded("pä ss'word");
    let entered = psql(&server, "elanus", Some("pä ss'word"));
    assert_eq!(String::from_utf8_lossy(&entered.stdout), "in\n");
    let wrong = told(&psql(&server, "elanus", Some("password")));
    assert!(wrong.contains("FATAL:  password authentication failed for user \"elanus\""), "{wrong}");
    let nobody = told(&psql(&server, "nobody", Some("pä ss'word")));
    assert!(nobody.contains("FATAL:  password authentication failed for user \"nobody\""), "{nobody}");
    let none = told(&psql(&server, "elanus", None));
    assert!(none.contains("no password supplied"), "{none}");
    let failure = Connection::open(server.address()).expect_err("our client knows no SCRAM");
    assert!(!failure.to_string().is_empty());
}

#[test]
fn a_driver_learns_the_sqlstate() {
    let (server, _folder) = guarded("secret");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let connect = |password: &str| {
            let mut config = tokio_postgres::Config::new();
            config.host(&server.address().host).port(server.address().port).user("elanus").dbname("elanus");
            config.password(password);
            async move { config.connect(tokio_postgres::NoTls).await }
        };
        let (client, connection) = connect("secret").await.expect("the right password");
        let (row, _) = tokio::join!(
            async {
                let row = client.query_one("SELECT 1", &[]).await.expect("a query");
                drop(client);
                row
            },
            connection
        );
        assert_eq!(row.get::<_, i32>(0), 1);
        let refused = connect("Secret").await.err().expect("a wrong password");
        assert_eq!(refused.code().map(|code| code.code()), Some("28P01"));
    });
}

#[test]
fn the_password_is_kept_as_a_verifier_only() {
    let (mut server, folder) = guarded("correct horse battery staple");
    assert!(server.stop().success());
    std::fs::remove_file(folder.path().join("password")).expect("remove");
    let mut stored = Vec::new();
    for entry in std::fs::read_dir(server.data_dir()).expect("the data directory").flatten() {
        if entry.path().is_file() {
            stored.extend(std::fs::read(entry.path()).expect("read"));
        }
    }
    let holds = |text: &[u8]| stored.windows(text.len()).any(|window| window == text);
    assert!(holds(b"SCRAM-SHA-256$4096:"), "the verifier is in the data directory");
    assert!(!holds(b"correct horse battery staple"), "the password is not");
    // The next start, without the option, asks for the same password.
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::rename(server.data_dir(), directory.path().join("data")).expect("move");
    let server = Server::start_on(directory.path(), Options::default()).expect("start");
    let entered = psql(&server, "elanus", Some("correct horse battery staple"));
    assert_eq!(String::from_utf8_lossy(&entered.stdout), "in\n");
    assert!(told(&psql(&server, "elanus", Some("x"))).contains("password authentication failed"));
}
