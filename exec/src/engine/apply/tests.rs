use arrow::array::{Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt as _;

use crate::engine::{Engine, EngineSettings};
use crate::testing::context;
use crate::to_sql_error;

/// Rows of `author(id, name)` and `book(author, title)`; the third author has no book, the first two.
fn tables() -> SessionContext {
    let session = SessionContext::new();
    let table = |numbers: Vec<i32>, texts: Vec<&str>, names: [&str; 2]| {
        let schema = std::sync::Arc::new(Schema::new(vec![
            Field::new(names[0], arrow::datatypes::DataType::Int32, true),
            Field::new(names[1], arrow::datatypes::DataType::Utf8, true),
        ]));
        let columns: Vec<arrow::array::ArrayRef> = vec![
            std::sync::Arc::new(Int32Array::from(numbers)),
            std::sync::Arc::new(StringArray::from(texts)),
        ];
        let batch = RecordBatch::try_new(std::sync::Arc::clone(&schema), columns).unwrap();
        std::sync::Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap())
    };
    session.register_table("author", table(vec![1, 2, 3], vec!["a", "b", "c"], ["id", "name"])).unwrap();
    session.register_table("book", table(vec![1, 1, 2], vec!["x", "y", "z"], ["author", "title"])).unwrap();
    session
}

async fn answer(sql: &str) -> Result<Vec<String>, proto::SqlError> {
    let plan = tables().state().create_logical_plan(sql).await.map_err(to_sql_error)?;
    let engine =
        Engine::new(EngineSettings { memory_limit_bytes: None, target_partitions: 2 }, Vec::new()).unwrap();
    let stream = engine.execute(plan, std::sync::Arc::new(context())).await?;
    let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(to_sql_error)?;
    let table = pretty_format_batches(&batches).unwrap().to_string();
    Ok(table
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(1)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|"))
        .collect())
}

#[tokio::test]
async fn scalar_subqueries_see_the_outer_row() {
    let sql =
        "SELECT id, (SELECT title FROM book WHERE author = id AND title <> 'x') FROM author ORDER BY id";
    assert_eq!(answer(sql).await.unwrap(), ["1|y", "2|z", "3|"]);
}

#[tokio::test]
async fn two_rows_are_one_too_many() {
    let sql = "SELECT id, (SELECT title FROM book WHERE author = id) FROM author ORDER BY id";
    let error = answer(sql).await.unwrap_err();
    assert_eq!(error.message, "more than one row returned by a subquery used as an expression");
}

#[tokio::test]
async fn exists_and_in_stand_in_the_select_list() {
    let sql = "SELECT id, EXISTS (SELECT 1 FROM book WHERE author = id),
        NOT EXISTS (SELECT 1 FROM book WHERE author > id), 'y' IN (SELECT title FROM book WHERE author <= id AND author = 1)
        FROM author ORDER BY id";
    assert_eq!(answer(sql).await.unwrap(), ["1|true|false|true", "2|true|true|true", "3|false|true|true"]);
}

#[tokio::test]
async fn other_comparisons_than_equality_are_applied() {
    let sql = "SELECT id FROM author WHERE (SELECT max(title) FROM book WHERE author < id) = 'z' ORDER BY id";
    assert_eq!(answer(sql).await.unwrap(), ["3"]);
}

#[tokio::test]
async fn subqueries_nest() {
    let sql =
        "SELECT a.id, (SELECT (SELECT count(*) FROM book c WHERE c.author >= b.author AND c.author = a.id)
          FROM book b WHERE b.author = a.id AND b.title <> 'x') FROM author a ORDER BY a.id";
    assert_eq!(answer(sql).await.unwrap(), ["1|2", "2|1", "3|"]);
}

#[tokio::test]
async fn a_subquery_two_levels_down_sees_every_row_outside() {
    let sql = "SELECT a.id, (SELECT count(*) FROM author b WHERE b.id <= a.id AND EXISTS
            (SELECT 1 FROM book c WHERE c.author >= b.id AND c.author <= a.id AND c.title <> a.name))
        FROM author a ORDER BY a.id";
    assert_eq!(answer(sql).await.unwrap(), ["1|1", "2|2", "3|2"]);
}
