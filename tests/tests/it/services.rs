//! One process on a real etcd, a real Kafka and a real S3 server: nothing is kept locally that is not kept there,
//! and of two processes one serves.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStoreExt as _, PutMode};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};
use tests::crash::{self, Plan};
use tests::proxy::{Lost, Proxy};
use tests::server::{Options, Server, binary};
use tests::services::Place;
use tests::wire::Connection;

const NEAREST: &str = "SELECT id FROM items ORDER BY embedding <-> '[500,0,0]' LIMIT 3";

/// A folder for servers whose data directories come and go.
fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("elanus-services-").tempdir().expect("a temporary directory")
}

fn start(directory: &Path, options: &Options) -> Server {
    Server::start_on(directory, options.clone()).unwrap_or_else(|error| panic!("{error}"))
}

fn fill(connection: &mut Connection) {
    for statement in [
        "CREATE TABLE items (id int8 PRIMARY KEY, name text NOT NULL, embedding vector(3))",
        "INSERT INTO items SELECT g, 'item ' || g, ('[' || g || ',0,0]')::vector FROM generate_series(1, 1000) g",
        "CREATE INDEX ON items USING hnsw (embedding vector_l2_ops)",
        "CHECKPOINT",
        "INSERT INTO items SELECT g, 'item ' || g, ('[' || g || ',0,0]')::vector FROM generate_series(1001, 1200) g",
        "DELETE FROM items WHERE id % 100 = 0",
        "UPDATE items SET name = 'changed' WHERE id = 7",
    ] {
        connection.run(statement).unwrap_or_else(|failure| panic!("{statement}: {failure}"));
    }
}

fn check(connection: &mut Connection) {
    assert_eq!(connection.value("SELECT count(*) FROM items").expect("count"), "1188");
    assert_eq!(connection.value("SELECT name FROM items WHERE id = 7").expect("name"), "changed");
    let plan = connection.run(&format!("EXPLAIN {NEAREST}")).expect("plan").first_column().join("\n");
    assert!(plan.contains("Index Scan using items_embedding_idx"), "{plan}");
    let nearest = connection.run(NEAREST).expect("search").first_column();
    assert_eq!(nearest[1..].len(), 2);
    assert!(nearest.iter().all(|id| ["499", "501", "498", "502"].contains(&id.as_str())), "{nearest:?}");
}

#[test]
fn everything_is_there_after_a_kill_and_the_loss_of_the_local_directory() {
    let (folder, options) = (folder(), Place::fresh().options(&[]));
    let first = folder.path().join("first");
    let mut server = start(&first, &options);
    fill(&mut server.connect());
    check(&mut server.connect());
    server.kill();
    std::fs::remove_dir_all(server.data_dir()).expect("the local directory is ours");
    drop(server);
    let mut server = start(&folder.path().join("second"), &options);
    check(&mut server.connect());
    server.connect().run("INSERT INTO items VALUES (5000, 'new', '[0,0,0]')").expect("insert");
    assert!(server.stop().success(), "SIGTERM ends with 0; log: {}", server.log());
    let server = server.restart().expect("restart");
    assert_eq!(server.connect().value("SELECT name FROM items WHERE id = 5000").expect("name"), "new");
}

#[test]
fn every_combination_with_local_back_ends_survives_a_kill() {
    for only in [&["--meta"][..], &["--log"], &["--store"], &["--meta", "--log"], &["--log", "--store"]] {
        let mut server = Server::start_with(Place::fresh().options(only));
        fill(&mut server.connect());
        server.kill();
        let server = server.restart().unwrap_or_else(|error| panic!("{only:?}: {error}"));
        check(&mut server.connect());
    }
}

#[test]
fn a_process_that_slept_past_its_lease_is_refused() {
    let (folder, options) = (folder(), Place::fresh().options(&[]));
    let mut first = start(&folder.path().join("first"), &options);
    let mut old = first.connect();
    old.run("CREATE TABLE t (id int4 PRIMARY KEY)").expect("create");
    old.run("INSERT INTO t VALUES (1)").expect("insert");
    first.signal("STOP");
    let second = start(&folder.path().join("second"), &options);
    let mut new = second.connect();
    new.run("INSERT INTO t VALUES (2)").expect("the second one serves");
    first.signal("CONT");
    let late = old.run("INSERT INTO t VALUES (3)").expect_err("the first one was replaced");
    println!("a late write: {late}");
    old.run("SELECT count(*) FROM t").expect_err("it does not know any more what is there");
    assert!(!first.wait().success(), "it ends by itself and says that it failed");
    assert!(first.log().contains("the lease is lost"), "{}", first.log());
    new.run("INSERT INTO t VALUES (4)").expect("undisturbed");
    let ids = new.run("SELECT id FROM t ORDER BY id").expect("read").first_column();
    assert_eq!(ids, ["1", "2", "4"]);
}

#[test]
fn nothing_is_lost_when_a_server_on_services_is_killed() {
    let plan = Plan::from_environment(4);
    let report = crash::run_on(plan, Place::fresh().options(&[]));
    println!("kill loop on services: {report}");
    assert!(report.violations.is_empty(), "SEED={}:\n{}", plan.seed, report.violations.join("\n"));
    assert_eq!(report.kills, plan.kills);
    assert!(report.acknowledged >= u64::from(plan.kills) * 10, "too little was acknowledged: {report}");
}

/// etcd and Kafka are lost, S3 has the objects: a rebuild fills a fresh place in the two, beside a ledger of what a
/// checkpoint covered and what came behind it.
#[test]
fn a_rebuild_fills_a_fresh_etcd_and_kafka_from_s3() {
    let (folder, place, fresh) = (folder(), Place::fresh(), Place::fresh());
    let old = place.options(&[]);
    let mut server = start(&folder.path().join("old"), &old);
    let mut connection = server.connect();
    fill(&mut connection);
    for statement in [
        "CREATE TABLE tags (id serial PRIMARY KEY, name text UNIQUE, item int8 REFERENCES items ON DELETE CASCADE)",
        "INSERT INTO tags (name, item) SELECT 'tag ' || g, g FROM generate_series(1, 99) g",
        "CHECKPOINT",
        "BEGIN",
        "DELETE FROM items WHERE id < 50",
        "INSERT INTO tags (name) VALUES ('lost')",
        "COMMIT",
    ] {
        connection.run(statement).unwrap_or_else(|failure| panic!("{statement}: {failure}"));
    }
    server.kill();
    let mut options = Options { arguments: Vec::new(), ..old };
    for (option, address) in [
        ("--meta", fresh.address("ETCD")),
        ("--log", fresh.address("KAFKA")),
        ("--store", place.address("S3")),
    ] {
        options.arguments.extend([option.into(), address.into()]);
    }
    let data = folder.path().join("new");
    let rebuild = || {
        let mut command = Command::new(binary());
        command.arg("rebuild-meta").arg("--data-dir").arg(&data).args(&options.arguments);
        command.envs(options.environment.iter().cloned()).output().expect("the binary runs")
    };
    let output = rebuild();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(!rebuild().status.success(), "nothing is overwritten");
    let mut server = start(&data, &options);
    let mut connection = server.connect();
    check(&mut connection);
    let tags = "SELECT count(*) || ' ' || count(DISTINCT name) || ' ' || count(item) FROM tags";
    assert_eq!(connection.value(tags).expect("tags"), "99 99 99");
    assert_eq!(connection.refusal("INSERT INTO tags (name) VALUES ('tag 7')").code, "23505");
    assert_eq!(connection.refusal("INSERT INTO tags (name, item) VALUES ('new', -1)").code, "23503");
    connection.run("DELETE FROM items WHERE id = 7").expect("a delete that cascades");
    connection.run("INSERT INTO tags (name) VALUES ('lost')").expect("it is not there");
    assert_eq!(connection.value("SELECT id > 100 FROM tags WHERE name = 'lost'").expect("its id"), "t");
    server.kill();
    let server = server.restart().expect("restart");
    assert_eq!(server.connect().value(tags).expect("tags"), "99 99 98");
}

#[test]
fn suites_pass_on_services() {
    let server = Server::start_with(Place::fresh().options(&[]));
    let slt = binary().with_file_name("slt");
    let suites = concat!(env!("CARGO_MANIFEST_DIR"), "/../sqllogictest/suites");
    let files = ["ddl", "insert", "update_delete", "on_conflict", "knn", "transactions"];
    let output = Command::new(&slt)
        .args(["--quiet", "--url", &server.address().url()])
        .args(files.map(|file| format!("{suites}/{file}.slt")))
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", slt.display()));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn services_that_cannot_be_reached_are_waited_for() {
    let place = Place::fresh();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("its address");
    drop(free);
    let mut options = place.options(&["--log", "--store"]);
    let (host, prefix) = etcd(&place);
    options.arguments.extend(["--meta".into(), format!("etcd://{address}/{prefix}").into()]);
    let folder = folder();
    let directory = folder.path().to_owned();
    let waiting = std::thread::spawn(move || Server::start_on(&directory.join("late"), options));
    // The server says what it waits for, and goes on once somebody answers there.
    let log = folder.path().join("late.log");
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !said().contains(&format!("waiting: etcd at {address}")) {
        assert!(!waiting.is_finished() && Instant::now() < deadline, "it does not wait: {}", said());
        std::thread::yield_now();
    }
    let proxy = Proxy::start(address, &host);
    let server = waiting.join().expect("no panic").unwrap_or_else(|error| panic!("{error}"));
    server.connect().run("CREATE TABLE t (id int4)").expect("create");
    // Nobody answers in the middle of a change: its outcome is unknown, and known again afterwards.
    let mut connection = server.connect();
    proxy.cut();
    let failure = connection.run("CREATE TABLE u (id int4)").expect_err("etcd does not answer");
    println!("without etcd: {failure}");
    assert!(failure.to_string().contains("08007") || failure.to_string().contains("57P03"), "{failure}");
}

/// Host and port of etcd in a place, and the prefix there.
fn etcd(place: &Place) -> (String, String) {
    let url = place.address("ETCD");
    let (host, prefix) = url.trim_start_matches("etcd://").split_once('/').expect("host and prefix");
    (host.to_owned(), prefix.to_owned())
}

/// A change of the catalog whose way to etcd or back is lost in the middle of its commit: the client is told that the
/// outcome is unknown, and the next process finds one of the two, whole.
#[test]
fn a_change_cut_off_from_etcd_in_mid_commit_is_unknown_and_then_settled() {
    for arrives in [true, false] {
        let place = Place::fresh();
        let (host, prefix) = etcd(&place);
        let proxy = Proxy::start("127.0.0.1:0".parse().expect("an address"), &host);
        let arguments = |address: &str| Options {
            arguments: vec!["--meta".into(), format!("etcd://{address}/{prefix}").into()],
            ..Options::default()
        };
        let (folder, address) = (folder(), proxy.address().to_string());
        let mut first = start(&folder.path().join("data"), &arguments(&address));
        let mut connection = first.connect();
        connection.run("CREATE TABLE before (id int4 PRIMARY KEY)").expect("create");
        connection.run("INSERT INTO before VALUES (1)").expect("insert");
        proxy.lose_from("during", if arrives { Lost::Answers } else { Lost::Requests });
        let failure =
            connection.run("CREATE TABLE during (id int4 PRIMARY KEY)").expect_err("no answer comes");
        assert!(proxy.loses(), "the change was on its way: {failure}");
        println!("arrives: {arrives}: {failure}");
        assert!(failure.to_string().contains("08007"), "{failure}");
        first.kill();
        proxy.cut();
        let second = start(&folder.path().join("data"), &arguments(&host));
        let mut connection = second.connect();
        assert_eq!(connection.value("SELECT count(*) FROM before").expect("what was acknowledged"), "1");
        let exists = connection.value("SELECT to_regclass('during') IS NOT NULL").expect("a look");
        assert_eq!(exists, if arrives { "t" } else { "f" }, "what etcd decided holds");
        if !arrives {
            connection.run("CREATE TABLE during (id int4 PRIMARY KEY)").expect("the name is free");
        }
        connection.run("INSERT INTO during VALUES (7)").expect("it is a whole table");
        assert_eq!(connection.refusal("INSERT INTO during VALUES (7)").code, "23505");
    }
}

#[test]
fn of_eight_who_create_an_object_one_succeeds() {
    let (store, runtime) = (Place::fresh().objects(), runtime());
    for round in 0..20 {
        let key = ObjectPath::from(format!("race/{round}"));
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (store, key) = (Arc::clone(&store), key.clone());
                runtime.spawn(async move {
                    let body = format!("writer {writer}").repeat(1000);
                    store.put_opts(&key, body.into(), PutMode::Create.into()).await
                })
            })
            .collect();
        let (mut winners, mut refused) = (Vec::new(), 0);
        for (writer, put) in writers.into_iter().enumerate() {
            match runtime.block_on(put).expect("no panic") {
                Ok(_) => winners.push(writer),
                Err(object_store::Error::AlreadyExists { .. }) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((winners.len(), refused), (1, 7));
        let read = runtime.block_on(async { store.get(&key).await?.bytes().await }).expect("a read");
        assert_eq!(read, format!("writer {}", winners[0]).repeat(1000).as_bytes());
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// `elanus verify` of a place on services, run in a folder that it must leave as it is.
fn verify(folder: &Path, options: &Options) -> Output {
    let mut command = Command::new(binary());
    command.arg("verify").args(&options.arguments).envs(options.environment.iter().cloned());
    command.current_dir(folder).output().expect("the binary runs")
}

#[test]
fn what_services_hold_is_verified_unless_a_server_uses_it() {
    let (folder, place, runtime) = (folder(), Place::fresh(), runtime());
    let (options, objects) = (place.options(&[]), place.objects());
    let empty = tempfile::tempdir().expect("a temporary directory");
    let verify = || verify(empty.path(), &options);
    let nothing = verify();
    assert!(!nothing.status.success() && text(&nothing).contains("does not exist"), "{}", text(&nothing));
    let mut server = start(&folder.path().join("first"), &options);
    fill(&mut server.connect());
    let refused = verify();
    assert!(
        !refused.status.success() && text(&refused).contains("a server uses this place"),
        "{}",
        text(&refused)
    );
    check(&mut server.connect());
    // The lease of a dead server runs out meanwhile.
    server.kill();
    let whole = verify();
    assert!(whole.status.success(), "{}", text(&whole));
    assert!(text(&whole).starts_with("verified 1 tables, 1 segments, 4 objects of "), "{}", text(&whole));
    assert!(!text(&whole).contains(" 0 log records"), "{}", text(&whole));
    let listed = runtime.block_on(objects.list(None).try_collect::<Vec<_>>()).expect("a list");
    for kind in ["-vectors", "-index", "/manifest/"] {
        let found = listed.iter().find(|object| object.location.as_ref().contains(kind));
        let key = &found.unwrap_or_else(|| panic!("no {kind} in {listed:?}")).location;
        let bytes = runtime.block_on(async { objects.get(key).await?.bytes().await }).expect("a read");
        runtime.block_on(objects.delete(key)).expect("deleted");
        let missing = verify();
        let printed = text(&missing);
        assert_eq!(missing.status.code(), Some(1), "{printed}");
        assert!(printed.contains(&format!("damaged: {key}: it is missing")), "{printed}");
        let mut hurt = bytes.to_vec();
        hurt[bytes.len() / 2] ^= 1;
        runtime.block_on(objects.put(key, hurt.into())).expect("written");
        let damaged = verify();
        let printed = text(&damaged);
        assert_eq!(damaged.status.code(), Some(1), "{printed}");
        assert!(printed.contains(&format!("damaged: {key}: ")), "{printed}");
        runtime.block_on(objects.put(key, bytes.into())).expect("written");
    }
    let whole = verify();
    assert!(whole.status.success(), "{}", text(&whole));
    let left = std::fs::read_dir(empty.path()).expect("a folder").count();
    assert_eq!(left, 0, "nothing is made locally");
    // The lease was given back: a server starts without waiting, and everything is there.
    let server = start(&folder.path().join("second"), &options);
    check(&mut server.connect());
    let backup = format!("{}/backup", place.address("S3"));
    server.connect().run(&format!("CALL elanus.backup('{backup}')")).expect("a backup");
    let mut command = Command::new(binary());
    let output =
        command.args(["verify", "--backup", &backup]).envs(options.environment.iter().cloned()).output();
    let output = output.expect("the binary runs");
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).starts_with("verified 1 backups, 1 tables, 2 segments, "), "{}", text(&output));
}

/// Kafka as whoever administers it sees it.
struct Kafka {
    admin: AdminClient<DefaultClientContext>,
    topic: String,
}

impl Kafka {
    fn of(place: &Place) -> Self {
        let url = place.address("KAFKA");
        let (brokers, prefix) =
            url.trim_start_matches("kafka://").split_once('/').expect("brokers and prefix");
        let mut config = rdkafka::ClientConfig::new();
        let admin = config.set("bootstrap.servers", brokers).create().expect("a client");
        // The channel of database "elanus".
        Self { admin, topic: format!("{prefix}.16384") }
    }

    /// Sets what every topic of ours has, but for one setting.
    async fn set(&self, name: &str, value: &str) {
        let mut wanted = AlterConfig::new(ResourceSpecifier::Topic(&self.topic));
        let ours = [("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")];
        for (ours, safe) in ours {
            wanted = wanted.set(ours, if ours == name { value } else { safe });
        }
        wanted = wanted.set("max.message.bytes", "67108864");
        let altered = self.admin.alter_configs([&wanted], &AdminOptions::new()).await.expect("an answer");
        altered.into_iter().for_each(|one| drop(one.expect("it is set")));
    }

    /// Deletes all messages but the newest.
    async fn trim(&self, end: i64) {
        let mut all = TopicPartitionList::new();
        all.add_partition_offset(&self.topic, 0, Offset::Offset(end)).expect("an offset");
        self.admin.delete_records(&all, &AdminOptions::new()).await.expect("deleted");
    }

    fn end(&self) -> i64 {
        let patience = Duration::from_secs(10);
        self.admin.inner().fetch_watermarks(&self.topic, 0, patience).expect("an answer").1
    }
}

#[test]
fn a_topic_that_somebody_has_changed_is_refused_until_it_is_put_right() {
    let (folder, place, runtime) = (folder(), Place::fresh(), runtime());
    let options = place.options(&["--log"]);
    let mut server = start(folder.path(), &options);
    fill(&mut server.connect());
    assert!(server.stop().success());
    let kafka = Kafka::of(&place);
    for (setting, value) in
        [("retention.ms", "604800000"), ("retention.bytes", "1000000000"), ("cleanup.policy", "compact")]
    {
        runtime.block_on(kafka.set(setting, value));
        let refused = Server::start_on(folder.path(), options.clone()).expect_err("it would lose records");
        for word in [kafka.topic.as_str(), setting, value, "it would lose records"] {
            assert!(refused.contains(word), "{word}: {refused}");
        }
        let mut command = Command::new(binary());
        command.args(["verify", "--data-dir"]).arg(folder.path().join("data")).args(&options.arguments);
        let output = command.envs(options.environment.iter().cloned()).output().expect("the binary runs");
        assert!(!output.status.success() && text(&output).contains(setting), "{}", text(&output));
    }
    runtime.block_on(kafka.set("cleanup.policy", "delete"));
    let mut server = start(folder.path(), &options);
    check(&mut server.connect());
    server.connect().run("INSERT INTO items VALUES (2000, 'late', '[0,0,0]')").expect("insert");
    server.kill();
    runtime.block_on(kafka.trim(kafka.end() - 1));
    let refused = Server::start_on(folder.path(), options).expect_err("records are gone");
    assert!(
        refused.contains("log channel 16384 is damaged: it holds offsets")
            && refused.contains("the checkpoint is at"),
        "{refused}"
    );
}
