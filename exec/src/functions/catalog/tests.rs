use std::sync::Arc;

use proto::catalog::{CatalogSnapshot, Column, DatabaseMeta, Identity, PrimaryKey, SequenceMeta, TableMeta};
use proto::{ChannelId, ColumnType, DatabaseId, Oid, SequenceId, TableId, TypeKind};

use super::*;

/// A database `shop` with a table `public.items(id bigserial primary key, "Name" text, embedding vector(3))`,
/// the sequence behind `id`, and a table of another database.
pub(crate) fn shop() -> CatalogSnapshot {
    let database = DatabaseId(5);
    let column = |id: u32, name: &str, ty: ColumnType, default: Option<&str>| Column {
        id,
        name: name.to_owned(),
        ty,
        nullable: id > 1,
        default: default.map(str::to_owned),
        identity: None::<Identity>,
        missing: None,
    };
    let table = TableMeta {
        id: TableId(16_500),
        database,
        namespace: "public".to_owned(),
        name: "items".to_owned(),
        type_oid: Oid(16_501),
        schema_version: 1,
        next_column_id: 4,
        columns: vec![
            column(1, "id", ColumnType::INT8, Some("nextval('items_id_seq'::regclass)")),
            column(2, "Name", ColumnType::TEXT, Some("'none'")),
            column(3, "embedding", ColumnType::vector(3), None),
        ],
        primary_key: Some(PrimaryKey {
            oid: Oid(16_502),
            index_oid: Oid(16_503),
            name: "items_pkey".to_owned(),
            columns: vec![1, 2],
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
    let foreign = TableMeta {
        id: TableId(16_600),
        database: DatabaseId(6),
        name: "elsewhere".to_owned(),
        type_oid: Oid(16_601),
        primary_key: None,
        ..table.clone()
    };
    let sequence = SequenceMeta {
        id: SequenceId(16_504),
        database,
        namespace: "public".to_owned(),
        name: "items_id_seq".to_owned(),
        ty: ColumnType::INT8,
        start: 1,
        increment: 1,
        minimum: 1,
        maximum: i64::MAX,
        first: 1,
        owned_by: Some((TableId(16_500), 1)),
    };
    let meta = DatabaseMeta {
        id: database,
        name: "shop".to_owned(),
        home_channel: ChannelId(1),
        extensions: vec!["vector".to_owned()],
    };
    CatalogSnapshot {
        revision: 1,
        databases: [(database, Arc::new(meta))].into(),
        tables: [(table.id, Arc::new(table)), (foreign.id, Arc::new(foreign))].into(),
        sequences: [(sequence.id, Arc::new(sequence))].into(),
        ..CatalogSnapshot::default()
    }
}

/// The scope of a session in `shop`.
pub(crate) fn scope<'a>(catalog: &'a CatalogSnapshot, search_path: &'a [String]) -> Scope<'a> {
    Scope { catalog, database: DatabaseId(5), search_path, owner: "elanus" }
}

#[test]
fn every_function_is_found_by_name() {
    for name in ["format_type", "to_regtype", "pg_get_indexdef", "has_table_privilege", "pg_size_pretty"] {
        assert!(crate::functions::find(name).is_some(), "{name}");
    }
}

#[test]
fn objects_of_other_databases_do_not_show() {
    let catalog = shop();
    let path = ["public".to_owned()];
    let scope = scope(&catalog, &path);
    assert!(scope.relation_named("items").is_some());
    assert!(scope.relation_named("elsewhere").is_none());
    assert!(scope.relation_of_oid(16_600).is_none());
    assert_eq!(resolve_reg_name(TypeKind::Regclass, 16_600, scope), "16600");
}
