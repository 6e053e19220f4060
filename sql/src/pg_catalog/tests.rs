use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::UInt32Type;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionContext;
use proto::catalog::{Column, DatabaseMeta, Identity, PrimaryKey, SequenceMeta, TableMeta};
use proto::{ChannelId, ColumnType, Oid, SequenceId, TableId, TypeKind};

use super::*;

/// A database with one table of many kinds of columns and the sequences of two of them.
fn facts() -> Facts {
    let database = DatabaseId(5);
    let column =
        |id: u32, name: &str, ty: ColumnType, default: Option<&str>, identity: Option<Identity>| Column {
            id,
            name: name.to_owned(),
            ty,
            nullable: id != 1 && identity.is_none(),
            default: default.map(str::to_owned),
            identity,
            missing: None,
        };
    let table = TableMeta {
        id: TableId(16_500),
        database,
        namespace: "public".to_owned(),
        name: "items".to_owned(),
        type_oid: Oid(16_501),
        schema_version: 1,
        next_column_id: 5,
        columns: vec![
            column(1, "id", ColumnType::INT8, Some("nextval('items_id_seq'::regclass)"), None),
            column(2, "body", ColumnType { typmod: 14, ..TypeKind::Varchar.into() }, Some("'none'"), None),
            column(3, "embedding", ColumnType::vector(3), None, None),
            column(4, "number", ColumnType::INT4, None, Some(Identity::ByDefault)),
        ],
        primary_key: Some(PrimaryKey {
            oid: Oid(16_502),
            index_oid: Oid(16_503),
            name: "items_pkey".to_owned(),
            columns: vec![1],
        }),
        uniques: Vec::new(),
        foreign_keys: Vec::new(),
        indexes: Vec::new(),
        checks: Vec::new(),
        former: Vec::new(),
        rewritten: 0,
        options: proto::catalog::TableOptions::default(),
        channel: ChannelId(1),
    };
    let sequence = |oid: u64, name: &str, column: u32| SequenceMeta {
        id: SequenceId(oid),
        database,
        namespace: "public".to_owned(),
        name: name.to_owned(),
        ty: ColumnType::INT8,
        start: 1,
        increment: 1,
        minimum: 1,
        maximum: i64::MAX,
        first: 1,
        owned_by: Some((TableId(16_500), column)),
    };
    let meta = DatabaseMeta {
        id: database,
        name: "shop".to_owned(),
        home_channel: ChannelId(1),
        extensions: vec!["vector".to_owned()],
    };
    let sequences = [sequence(16_504, "items_id_seq", 1), sequence(16_505, "items_number_seq", 4)];
    let catalog = CatalogSnapshot {
        revision: 1,
        databases: [(database, Arc::new(meta))].into(),
        tables: [(table.id, Arc::new(table))].into(),
        sequences: sequences.into_iter().map(|sequence| (sequence.id, Arc::new(sequence))).collect(),
        ..CatalogSnapshot::default()
    };
    Facts::new(Arc::new(catalog), database, "elanus")
}

async fn scan(relation: &str, projection: Option<&Vec<usize>>) -> RecordBatch {
    let (schema, name) = relation.split_once('.').unwrap_or(("pg_catalog", relation));
    let provider = Relations::new(facts()).relation(Some(schema), name).expect("relation exists");
    let context = SessionContext::new();
    let plan = provider.scan(&context.state(), projection, &[], None).await.expect("relation scans");
    let batches = collect(plan, context.task_ctx()).await.expect("relation reads");
    arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
}

/// A relation queried through DataFusion, one text per row.
async fn query(sql: &str, relations: &[&str]) -> Vec<String> {
    let context = SessionContext::new();
    let system = Relations::new(facts());
    for name in relations {
        context.register_table(*name, system.relation(None, name).unwrap()).unwrap();
    }
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let table = pretty_format_batches(&batches).unwrap().to_string();
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(1);
    lines
        .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>().join("|").trim_matches('|').to_owned())
        .collect()
}

#[test]
fn computed_columns_are_postgresqls() {
    for computed in computed() {
        let relation = builtin::relation(computed.schema, computed.name)
            .unwrap_or_else(|| panic!("{}.{} is not PostgreSQL's", computed.schema, computed.name));
        let columns: Vec<&str> = relation.columns.iter().map(|column| column.name).collect();
        assert_eq!(computed.columns, columns, "{}.{}", computed.schema, computed.name);
        for row in (computed.rows)(&facts()) {
            assert_eq!(row.len(), columns.len(), "{}.{}: {row:?}", computed.schema, computed.name);
        }
    }
}

#[test]
fn fixed_columns_are_postgresqls() {
    let mut files = 0;
    for relation in builtin::relations() {
        let Some(text) = fixed::file(relation.name) else { continue };
        files += 1;
        let columns: Vec<&str> = relation.columns.iter().map(|column| column.name).collect();
        let header: Vec<&str> = text.lines().next().unwrap().split('\t').collect();
        assert_eq!(header, columns, "{}", relation.name);
    }
    assert_eq!(files, 9);
}

#[tokio::test]
async fn every_relation_scans_with_its_own_types() {
    for relation in builtin::relations() {
        let name = format!("{}.{}", relation.namespace, relation.name);
        let batch = scan(&name, None).await;
        assert_eq!(batch.num_columns(), relation.columns.len(), "{name}");
        for (field, column) in batch.schema().fields().iter().zip(&relation.columns) {
            let ty = ColumnType::of_field(field);
            if ColumnType::from_oid(Oid(column.type_oid)).is_some() {
                assert_eq!(ty.oid().0, column.type_oid, "{name}.{}", column.name);
            }
        }
    }
}

#[tokio::test]
async fn projections_keep_the_row_count() {
    let all = scan("pg_type", None).await;
    let one = scan("pg_type", Some(&vec![1])).await;
    let none = scan("pg_type", Some(&vec![])).await;
    assert_eq!((one.num_rows(), none.num_rows()), (all.num_rows(), all.num_rows()));
    assert_eq!(one.schema().field(0).name(), "typname");
}

fn oids(column: &ArrayRef) -> Vec<u32> {
    column.as_primitive::<UInt32Type>().iter().flatten().collect()
}

#[tokio::test]
async fn oids_mean_one_object_in_every_relation() {
    let classes = oids(scan("pg_class", None).await.column(0));
    let unique: HashSet<u32> = classes.iter().copied().collect();
    assert_eq!(unique.len(), classes.len());
    let types: HashSet<u32> = oids(scan("pg_type", None).await.column(0)).into_iter().collect();
    let attributes = scan("pg_attribute", None).await;
    assert!(oids(attributes.column(0)).iter().all(|relation| unique.contains(relation)));
    for ty in oids(attributes.column(2)) {
        assert!(types.contains(&ty), "type {ty} of a column has no row");
    }
    let procedures: HashSet<u32> = oids(scan("pg_proc", None).await.column(0)).into_iter().collect();
    let type_rows = scan("pg_type", None).await;
    for position in 15..=18 {
        for function in oids(type_rows.column(position)) {
            assert!(function == 0 || procedures.contains(&function), "function {function} has no row");
        }
    }
}

#[tokio::test]
async fn tokio_postgres_finds_types() {
    let sql = "SELECT t.typname, t.typtype, t.typelem, r.rngsubtype, t.typbasetype, n.nspname, t.typrelid
        FROM pg_type t LEFT OUTER JOIN pg_range r ON r.rngtypid = t.oid
        INNER JOIN pg_namespace n ON t.typnamespace = n.oid WHERE t.oid IN (16385, 16386, 16501, 25) ORDER BY t.oid";
    let rows = query(sql, &["pg_type", "pg_range", "pg_namespace"]).await;
    assert_eq!(
        rows,
        [
            "text|b|0||0|pg_catalog|0",
            "vector|b|0||0|public|0",
            "_vector|b|16385||0|public|0",
            "items|c|0||0|public|16500"
        ]
    );
}

#[tokio::test]
async fn tables_show_with_columns_key_and_sequences() {
    let rows = query(
        "SELECT c.relname, c.relkind, a.attname, a.attnum, a.atttypid, a.atttypmod, a.attnotnull, a.atthasdef,
           a.attidentity FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.oid >= 16400 AND c.relkind <> 'S' ORDER BY c.oid, a.attnum",
        &["pg_class", "pg_attribute"],
    )
    .await;
    assert_eq!(
        rows,
        [
            "items|r|id|1|20|-1|true|true",
            "items|r|body|2|1043|14|false|true",
            "items|r|embedding|3|16385|3|false|false",
            "items|r|number|4|23|-1|true|false|d",
            "items_pkey|i|id|1|20|-1|false|false",
        ]
    );
    let rows = query("SELECT indkey, indclass, indoption FROM pg_index", &["pg_index"]).await;
    assert_eq!(rows, ["[1]|[3124]|[0]"]);
    let rows =
        query("SELECT conname, contype, conkey, conindid FROM pg_constraint", &["pg_constraint"]).await;
    assert_eq!(rows, ["items_pkey|p|[1]|16503"]);
    let rows = query("SELECT adnum, adbin FROM pg_attrdef", &["pg_attrdef"]).await;
    assert_eq!(rows, ["1|nextval('items_id_seq'::regclass)", "2|'none'::character varying"]);
    let rows = query(
        "SELECT objid, deptype FROM pg_depend WHERE classid = 1259 AND refclassid = 1259",
        &["pg_depend"],
    )
    .await;
    assert_eq!(rows, ["16504|a", "16505|i"]);
}

#[tokio::test]
async fn information_schema_describes_columns() {
    let batch = scan("information_schema.columns", None).await;
    let text = |name: &str, row: usize| {
        let column = batch.column_by_name(name).unwrap();
        let column = arrow::compute::cast(column, &arrow::datatypes::DataType::Utf8).unwrap();
        let texts = column.as_string::<i32>();
        if texts.is_null(row) { String::new() } else { texts.value(row).to_owned() }
    };
    let show = |row: usize| {
        [
            "column_name",
            "data_type",
            "character_maximum_length",
            "numeric_precision",
            "udt_name",
            "is_identity",
        ]
        .map(|name| text(name, row))
        .join("|")
    };
    assert_eq!(
        (0..4).map(show).collect::<Vec<_>>(),
        [
            "id|bigint||64|int8|NO",
            "body|character varying|10||varchar|NO",
            "embedding|USER-DEFINED|||vector|NO",
            "number|integer||32|int4|YES",
        ]
    );
}

#[test]
fn relations_are_found_in_their_schema_only() {
    let relations = Relations::new(facts());
    assert!(relations.relation(None, "pg_class").is_some());
    assert!(relations.relation(Some("pg_catalog"), "pg_stat_user_tables").is_some());
    assert!(relations.relation(Some("elanus"), "segments").is_some());
    assert!(relations.relation(None, "items").is_none());
    assert!(relations.relation(None, "segments").is_none());
    assert!(relations.relation(Some("public"), "pg_class").is_none());
}
