//! Shapes of plans: where `KnnScan` is planted and where it must not be, and typing of parameters.

use proto::{ColumnType, ErrorKind, TypeKind};

use super::world::World;
use crate::{ParameterValue, Plan};

fn items() -> World {
    let mut world = World::new();
    world
        .run("CREATE TABLE items (id int PRIMARY KEY, category int, title text, embedding vector(3))")
        .unwrap();
    world
        .run("INSERT INTO items VALUES (1,1,'a','[1,0,0]'),(2,1,'b','[0.9,0.1,0]'),(3,2,'c','[0,1,0]'),(4,2,NULL,NULL),(5,3,'e','[0,0,1]')")
        .unwrap();
    world
}

#[test]
fn knn_scan_is_planted() {
    let world = items();
    for sql in [
        "SELECT id FROM items ORDER BY embedding <-> '[1,0,0]' LIMIT 2",
        "SELECT id FROM items ORDER BY '[1,0,0]' <-> embedding LIMIT 2",
        "SELECT id, embedding <=> '[1,0,0]' AS d FROM items ORDER BY d LIMIT 2 OFFSET 1",
        "SELECT t.id FROM (SELECT id, embedding AS e FROM items WHERE category = 1) t ORDER BY t.e <+> '[1,0,0]' LIMIT 2",
        "SELECT id FROM items WHERE category IN (1, 2) AND title LIKE 'a%' ORDER BY embedding <#> '[1,0,0]' LIMIT 2",
        "SELECT id FROM items ORDER BY l2_distance(embedding, '[1,0,0]') LIMIT 2",
    ] {
        let plan = world.optimized(sql);
        assert!(plan.contains("KnnScan"), "{sql}\n{plan}");
        assert!(plan.contains("Sort"), "the sort stays: {sql}\n{plan}");
    }
}

#[test]
fn knn_scan_is_not_planted() {
    let world = items();
    for sql in [
        "SELECT id FROM items ORDER BY embedding <-> '[1,0,0]'",
        "SELECT id FROM items ORDER BY embedding <-> '[1,0,0]' DESC LIMIT 2",
        "SELECT id FROM items ORDER BY embedding <-> '[1,0,0]' NULLS FIRST LIMIT 2",
        "SELECT id FROM items ORDER BY embedding <-> '[1,0,0]', id LIMIT 2",
        "SELECT id FROM items WHERE random() < 0.5 ORDER BY embedding <-> '[1,0,0]' LIMIT 2",
        "SELECT a.id FROM items a JOIN items b ON a.id = b.id ORDER BY a.embedding <-> '[1,0,0]' LIMIT 2",
        "SELECT a.id FROM items a ORDER BY a.embedding <-> a.embedding LIMIT 2",
        "SELECT category FROM items GROUP BY category ORDER BY min(embedding <-> '[1,0,0]') LIMIT 2",
        "SELECT DISTINCT embedding <-> '[1,0,0]' FROM items ORDER BY 1 LIMIT 2",
    ] {
        let plan = world.optimized(sql);
        assert!(!plan.contains("KnnScan"), "{sql}\n{plan}");
    }
}

#[test]
fn knn_scan_answers_like_the_sort() {
    let mut world = items();
    for sql in [
        "SELECT id FROM items ORDER BY embedding <-> '[1,0,0]' LIMIT 3",
        "SELECT id FROM items ORDER BY embedding <-> '[1,0,0]' LIMIT 9",
        "SELECT id FROM items WHERE category <> 1 ORDER BY embedding <=> '[0.2,1,0]' LIMIT 2",
        "SELECT id FROM items ORDER BY embedding <-> '[1,0,0]' LIMIT 2 OFFSET 1",
        "SELECT x.id FROM (SELECT id, title FROM items ORDER BY embedding <-> '[1,0,0]' LIMIT 3) x WHERE x.title <> 'a'",
    ] {
        // The same order, in a form that is no plain distance.
        let sorted = sql.replacen("ORDER BY ", "ORDER BY (", 1).replacen(" LIMIT", ") + 0 LIMIT", 1);
        assert!(world.optimized(sql).contains("KnnScan"), "{sql}");
        assert!(!world.optimized(&sorted).contains("KnnScan"), "{sorted}");
        assert_eq!(world.run(sql).unwrap().rows, world.run(&sorted).unwrap().rows, "{sql}");
    }
}

fn parameters(sql: &str) -> Vec<String> {
    let plan = items().plan(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    plan.parameters().iter().map(|ty| ty.display()).collect()
}

#[test]
fn parameters_take_the_type_of_their_neighbour() {
    assert_eq!(parameters("SELECT $1"), ["text"]);
    assert_eq!(parameters("SELECT $1::int + $2"), ["integer", "integer"]);
    assert_eq!(parameters("SELECT id FROM items WHERE id = $1 AND title = $2"), ["integer", "text"]);
    assert_eq!(
        parameters("SELECT id FROM items ORDER BY embedding <-> $1 LIMIT $2 OFFSET $3"),
        ["vector", "bigint", "bigint"]
    );
    assert_eq!(
        parameters("INSERT INTO items VALUES ($1, $2, $3, $4)"),
        ["integer", "integer", "text", "vector"]
    );
    assert_eq!(parameters("INSERT INTO items (id, title) SELECT $1, $2"), ["integer", "text"]);
    assert_eq!(parameters("UPDATE items SET embedding = $1 WHERE id = $2"), ["vector", "integer"]);
    assert_eq!(
        parameters("SELECT id FROM items WHERE id IN ($1, $2) OR id BETWEEN $3 AND 9"),
        ["integer"; 3]
    );
    assert_eq!(parameters("SELECT coalesce($1, id), upper($2) FROM items"), ["integer", "text"]);
    assert_eq!(parameters("SELECT id FROM items WHERE id = ANY($1)"), ["integer[]"]);
    let error = items().plan("SELECT 1 WHERE $1 IS NULL AND $3 = 1").unwrap_err();
    assert_eq!(error.kind, ErrorKind::IndeterminateDatatype);
    assert_eq!(error.message, "could not determine data type of parameter $2");
}

#[test]
fn parameters_are_bound() {
    let mut world = items();
    let vector = {
        let Plan::Query(query) = world.plan("SELECT '[1,0,0]'::vector").unwrap() else { panic!() };
        let batch = world.execute(query.logical).unwrap().unwrap();
        datafusion::common::ScalarValue::try_from_array(batch.column(0), 0).unwrap()
    };
    let values = [
        ParameterValue { value: vector, ty: TypeKind::Vector.into() },
        ParameterValue { value: 2_i64.into(), ty: ColumnType::INT8 },
    ];
    let sql = "SELECT id FROM items ORDER BY embedding <-> $1 LIMIT $2";
    assert_eq!(world.run_with(sql, &values).unwrap().rows, [["1"], ["2"]]);
    let negative = [values[0].clone(), ParameterValue { value: (-1_i64).into(), ty: ColumnType::INT8 }];
    let error = world.run_with(sql, &negative).unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::InvalidRowCountInLimit, "LIMIT must not be negative")
    );
}

#[test]
fn errors_have_positions() {
    let world = items();
    for (sql, position) in [
        ("SELECT nosuch FROM items", 8),
        ("SELECT id FROM nosuchtable", 16),
        ("SELECT 1 +* 2 FROM", 11),
        ("SELECT é, nosuch(1) FROM (SELECT 1 AS é) t", 11),
        ("SELECT id\nFROM items WHERE t.x = 1", 28),
    ] {
        let error = world.plan(sql).unwrap_err();
        assert_eq!(error.position, Some(position), "{sql}: {error}");
    }
}

#[test]
fn unsupported_is_refused() {
    let world = items();
    for sql in [
        "SELECT * FROM items FOR SYSTEM_TIME BETWEEN '2026-01-01' AND '2026-01-02'",
        "SELECT * FROM items AS OF TIMESTAMP '2026-01-01'",
        "DELETE FROM items FOR SYSTEM_TIME AS OF '2026-01-01'",
        "WITH c AS (SELECT 1) SELECT * FROM c FOR SYSTEM_TIME AS OF '2026-01-01'",
        "SELECT * FROM items TABLESAMPLE SYSTEM (10)",
        "CREATE VIEW w AS SELECT 1",
        "ALTER TABLE items ADD CONSTRAINT c CHECK (id > 0) NOT VALID",
        "CREATE TABLE x (a int UNIQUE DEFERRABLE)",
        "CREATE UNIQUE INDEX ON items (category) WHERE category > 1",
        "CREATE UNIQUE INDEX ON items ((category + 1))",
        "CREATE TEMPORARY TABLE x (a int)",
        "CREATE INDEX ON items (category)",
        "SELECT B'101'",
    ] {
        let error = world.plan(sql).expect_err(sql);
        assert_eq!(error.kind, ErrorKind::FeatureNotSupported, "{sql}: {error}");
    }
}

#[test]
fn lateral_is_applied() {
    let mut world = items();
    world.run("CREATE TABLE q (qid int, v vector(3))").unwrap();
    world.run("INSERT INTO q VALUES (1,'[1,0,0]'),(2,'[0,1,0]')").unwrap();
    let rows = world
        .run("SELECT q.qid, n.id FROM q CROSS JOIN LATERAL (SELECT id FROM items ORDER BY embedding <-> q.v LIMIT 2) n ORDER BY 1, 2")
        .unwrap()
        .rows;
    assert_eq!(rows, [["1", "1"], ["1", "2"], ["2", "2"], ["2", "3"]]);
    let rows = world
        .run("SELECT q.qid, n.id FROM q LEFT JOIN LATERAL (SELECT id FROM items WHERE category = q.qid AND id > 2 ORDER BY id LIMIT 1) n ON true ORDER BY 1")
        .unwrap()
        .rows;
    assert_eq!(rows, [["1", "NULL"], ["2", "3"]]);
    let rows = world.run("SELECT q.qid, u FROM q, unnest(ARRAY[q.qid, 7]) u ORDER BY 1, 2").unwrap().rows;
    assert_eq!(rows, [["1", "1"], ["1", "7"], ["2", "2"], ["2", "7"]]);
}

#[test]
fn large_statements_work_or_are_refused() {
    let mut world = items();
    let nested = |open: &str, inner: &str, close: &str, depth: usize| {
        format!("SELECT {}{inner}{}", open.repeat(depth), close.repeat(depth))
    };
    let doubling: Vec<String> = (0..20)
        .map(|at| {
            let from = if at == 0 { "items".to_owned() } else { format!("a{}", at - 1) };
            format!("a{at} AS (SELECT x.id FROM {from} x, {from} y)")
        })
        .collect();
    let relations: Vec<String> = (0..3_000).map(|at| format!("items a{at}")).collect();
    for sql in [
        nested("CASE WHEN true THEN ", "1", " END", 100),
        nested("(SELECT ", "1", ")", 60),
        nested("(SELECT ", "1", ")", 8),
        nested("abs(", "1", ")", 100),
        format!("SELECT * FROM {}items{}", "(SELECT * FROM ".repeat(40), ") x".repeat(40)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(100)),
        format!("SELECT {}1", "- ".repeat(300)),
        format!("SELECT {}", vec!["1"; 2_000].join(",")),
        format!("SELECT 1 WHERE {}", vec!["1 = 2"; 3_000].join(" OR ")),
        format!("WITH {} SELECT count(*) FROM a19", doubling.join(", ")),
        format!("SELECT count(*) FROM {}", relations.join(", ")),
    ] {
        if let Err(error) = world.run(&sql) {
            assert_eq!(error.kind, ErrorKind::StatementTooComplex, "{}: {error}", &sql[..60]);
        }
    }
}
