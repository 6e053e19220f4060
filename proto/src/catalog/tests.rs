use super::*;

fn table() -> TableMeta {
    TableMeta {
        id: TableId(16_401),
        database: DatabaseId(1),
        namespace: "public".into(),
        name: "items".into(),
        type_oid: Oid(16_402),
        schema_version: 3,
        next_column_id: 4,
        columns: vec![
            Column {
                id: 1,
                name: "id".into(),
                ty: ColumnType::INT8,
                nullable: false,
                default: Some("nextval('items_id_seq'::regclass)".into()),
                identity: Some(Identity::ByDefault),
            },
            Column {
                id: 3,
                name: "v".into(),
                ty: ColumnType::vector(3),
                nullable: true,
                default: None,
                identity: None,
            },
        ],
        primary_key: Some(PrimaryKey {
            oid: Oid(16_403),
            index_oid: Oid(16_404),
            name: "items_pkey".into(),
            columns: vec![1],
        }),
        channel: ChannelId(1),
    }
}

#[test]
fn tables_survive_their_stored_form() {
    let table = table();
    assert_eq!(*decode_table(&encode_table(&table)).expect("own bytes"), table);
    assert_eq!(table.key_positions(), [0]);
}

#[test]
fn changes_leave_the_shared_snapshot_alone() {
    let before = CatalogSnapshot::default();
    let after = before.with_changes(&[CatalogChange::PutTable(Arc::new(table()))]);
    assert!(before.tables.is_empty());
    assert!(after.table(DatabaseId(1), "public", "items").is_some());
    assert!(after.relation_exists(DatabaseId(1), "public", "items_pkey"));
    assert!(after.with_changes(&[CatalogChange::DropTable(TableId(16_401))]).tables.is_empty());
}
