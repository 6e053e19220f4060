//! `nextval` per row, `currval` and `lastval` of the session.

use std::sync::Arc;

use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, lit};
use proto::catalog::{CatalogSnapshot, SequenceMeta};
use proto::{DatabaseId, SequenceId};

use super::*;
use crate::functions::find;
use crate::functions::series::{Bounds, series_provider};
use crate::testing::{context, run};

fn statement() -> Arc<StatementContext> {
    let sequence = SequenceMeta {
        id: SequenceId(16_600),
        database: DatabaseId(1),
        namespace: "public".to_owned(),
        name: "ids".to_owned(),
        ty: ColumnType::INT8,
        start: 1,
        increment: 1,
        minimum: 1,
        maximum: i64::MAX,
        first: 1,
        owned_by: None,
    };
    let mut catalog = CatalogSnapshot::default();
    catalog.sequences.insert(sequence.id, Arc::new(sequence));
    let mut context = context();
    let mut session = crate::testing::session();
    session.catalog = Arc::new(catalog);
    context.session = Arc::new(session);
    Arc::new(context)
}

fn calling(name: &str, oid: Option<u32>, rows: i64) -> LogicalPlan {
    let FunctionKind::Scalar(udf) = &find(name).expect("a function").kind else { panic!("{name}") };
    let arguments = oid.map(lit).into_iter().collect();
    let bounds = Bounds::Integers { kind: TypeKind::Int8, start: 1, stop: rows, step: 1 };
    let series = series_provider(Some(bounds), "g").expect("a series");
    LogicalPlanBuilder::scan("g", provider_as_source(series), None)
        .and_then(|builder| builder.project([udf.call(arguments)]))
        .and_then(LogicalPlanBuilder::build)
        .expect("a plan")
}

#[tokio::test]
async fn every_row_draws_a_value_of_its_own() {
    let statement = statement();
    let before =
        run(calling("lastval", None, 1), Arc::clone(&statement)).await.expect_err("nothing drawn yet");
    assert_eq!(before.kind, ErrorKind::ObjectNotInPrerequisiteState);
    let rows = run(calling("nextval", Some(16_600), 3), Arc::clone(&statement)).await.expect("values");
    assert_eq!(rows, ["1", "2", "3"]);
    for name in ["currval", "lastval"] {
        let oid = (name == "currval").then_some(16_600);
        assert_eq!(run(calling(name, oid, 1), Arc::clone(&statement)).await.expect(name), ["3"]);
    }
    let error = run(calling("nextval", Some(1), 1), statement).await.expect_err("no sequence");
    assert_eq!(error.kind, ErrorKind::UndefinedTable);
}
