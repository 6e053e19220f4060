use std::collections::BTreeMap;

use super::crates::Dependencies;
use super::*;

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

fn rules(source: &Source) -> Vec<&'static str> {
    sources::check_one(source).iter().map(|finding| finding.rule).collect()
}

#[test]
fn the_scanner_is_not_fooled_by_literals_and_comments() {
    let text = r##"
        //! fn in_comment() { todo!() }
        /* fn nested() { /* } */ unsafe { */
        fn real<'a>(x: &'a str) -> char {
            let s = "fn no() { \" }"; let r = r#"unsafe { " }"#; let b = b'{'; let c = '\''; let q = '{';
            '}'
        }
        trait T { fn declared(&self); fn given(&self) -> [u8; 2] { [0; 2] } }
        type P = fn(u8) -> u8;
        mod tests { fn hidden() {} }
    "##;
    let tokens = scan::tokens(text);
    assert!(!tokens.iter().any(|token| token.text == "unsafe" || token.text == "todo"));
    let names: Vec<(String, usize)> =
        scan::functions(&tokens).into_iter().map(|function| (function.name, function.lines)).collect();
    assert_eq!(names, [("real".to_owned(), 4), ("given".to_owned(), 1)]);
}

#[test]
fn long_files_and_functions_are_found() {
    let body = "    let _ = 1;\n".repeat(69);
    let at_limit = format!("//! x\nfn f() {{\n{}}}\n", "    let _ = 1;\n".repeat(68));
    assert_eq!(rules(&source("sql/src/a.rs", &at_limit)), Vec::<&str>::new());
    let above = format!("//! x\nfn f() {{\n{body}}}\n");
    assert_eq!(rules(&source("sql/src/a.rs", &above)), ["function-length"]);
    assert_eq!(rules(&source("sql/src/a/tests.rs", &above)), Vec::<&str>::new());
    let long = format!("//! x\n{}", "const A: u8 = 1;\n".repeat(700));
    assert_eq!(rules(&source("sql/src/a.rs", &long)), ["file-length"]);
}

#[test]
fn headers_names_and_words_are_found() {
    assert_eq!(rules(&source("sql/src/a.rs", "fn f() {}\n")), ["header"]);
    assert_eq!(rules(&source("sql/src/utils.rs", "//! x\n")), ["name"]);
    assert_eq!(rules(&source("sql/src/misc/a.rs", "//! x\n")), ["name"]);
    assert_eq!(rules(&source("sql/src/a/mod.rs", "//! x\n")), ["name"]);
    let unfinished = format!("//! x\nfn f() {{ {}!() }}\n", "todo");
    assert_eq!(rules(&source("sql/src/a.rs", &unfinished)), ["unfinished"]);
    let ignored = format!("//! x\n#[{}]\nfn f() {{}}\n", "ignore");
    assert_eq!(rules(&source("sql/src/a.rs", &ignored)), ["ignored"]);
    assert_eq!(rules(&source("sql/src/a.rs", "//! x\nfn f() { unsafe {} }\n")), ["unsafe"]);
    assert_eq!(
        rules(&source("segments/src/distance/simd.rs", "//! x\nfn f() { unsafe {} }\n")),
        Vec::<&str>::new()
    );
    let path = format!("//! x\nconst P: &str = \"/{}/me\";\n", "home");
    assert_eq!(rules(&source("sql/src/a.rs", &path)), ["machine-path"]);
}

#[test]
fn forbidden_edges_and_versions_are_found() {
    let mut packages = crates_as_drawn();
    assert_eq!(crates::edges(&packages), []);
    // The planner's tests may build snapshots, the planner may not; exec's tests may not start a cluster.
    packages.get_mut("planner").unwrap().tests.insert("segments".to_owned());
    assert_eq!(crates::edges(&packages), []);
    packages.get_mut("exec").unwrap().tests.insert("cluster".to_owned());
    packages.insert("surprise".to_owned(), Dependencies::default());
    packages.remove("proto");
    assert_eq!(crates::edges(&packages).len(), 3);
    let good = "[dependencies]\na.workspace = true\nb = { workspace = true, features = [\"x\"] }\n[lints]\nworkspace = true\n";
    assert_eq!(crates::inherited("x", good), []);
    assert_eq!(crates::inherited("x", "[dev-dependencies]\na = \"1\"\n").len(), 2);
    let lock = "name = \"arrow\"\nname = \"arrow\"\nname = \"arrow-array\"\nname = \"prost\"\n";
    assert_eq!(crates::one_version(lock).len(), 1);
}

fn crates_as_drawn() -> BTreeMap<String, Dependencies> {
    ["proto", "segments", "exec", "planner", "cluster", "sql", "tests", "slt"]
        .into_iter()
        .map(|name| (name.to_owned(), Dependencies::default()))
        .collect()
}

#[test]
fn the_ratchet_excuses_and_shrinks() {
    let finding = || Finding { rule: "header", place: "a.rs".to_owned(), what: String::new() };
    assert_eq!(excuse(vec![finding()], "# remark\nheader a.rs\n"), []);
    assert_eq!(excuse(vec![finding()], ""), [finding()]);
    assert_eq!(excuse(vec![], "header a.rs\n").len(), 1);
}

#[test]
fn planted_bugs_have_no_way_into_a_binary() {
    assert!(crates::planted("cluster", "[features]\n# of bugs\nplanted-bugs = []\n").is_empty());
    assert!(crates::planted("tests", "planted-bugs = [\"cluster/planted-bugs\"]\n").is_empty());
    assert_eq!(crates::planted("cluster", "default = [\"planted-bugs\"]").len(), 1);
    assert_eq!(crates::planted("tests", "default = [\"planted-bugs\"]").len(), 1);
    let sql = "cluster = { workspace = true, features = [\"planted-bugs\"] }";
    assert_eq!(crates::planted("sql", sql).len(), 1);
}
