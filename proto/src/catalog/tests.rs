use super::*;
use crate::golden::as_golden;

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
                missing: None,
            },
            Column {
                id: 3,
                name: "v".into(),
                ty: ColumnType::vector(3),
                nullable: true,
                default: None,
                identity: None,
                missing: None,
            },
        ],
        primary_key: Some(PrimaryKey {
            oid: Oid(16_403),
            index_oid: Oid(16_404),
            name: "items_pkey".into(),
            columns: vec![1],
        }),
        uniques: Vec::new(),
        foreign_keys: Vec::new(),
        indexes: vec![
            IndexMeta {
                oid: Oid(16_405),
                name: "items_v_idx".into(),
                column: 3,
                metric: crate::DistanceMetric::Cosine,
                method: IndexMethod::Hnsw { m: 8, ef_construction: 32 },
                written_options: vec!["m=8".into(), "ef_construction=32".into()],
            },
            IndexMeta {
                oid: Oid(16_406),
                name: "items_v_idx1".into(),
                column: 3,
                metric: crate::DistanceMetric::L2,
                method: IndexMethod::IvfFlat { lists: 100 },
                written_options: Vec::new(),
            },
        ],
        checks: Vec::new(),
        former: Vec::new(),
        rewritten: 0,
        options: crate::catalog::TableOptions::default(),
        channel: ChannelId(1),
    }
}

fn options(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn index_options_have_defaults_and_bounds() {
    let parse = |name: &str, pairs: &[(&str, &str)]| IndexMethod::parse(name, &options(pairs));
    assert_eq!(parse("hnsw", &[]), Ok(Some(IndexMethod::Hnsw { m: 16, ef_construction: 64 })));
    assert_eq!(parse("ivfflat", &[("lists", "7")]), Ok(Some(IndexMethod::IvfFlat { lists: 7 })));
    assert_eq!(parse("btree", &[]), Ok(None));
    let words = |name, pairs: &[(&str, &str)]| {
        let error = parse(name, pairs).expect_err("refused");
        (error.to_string(), error.detail())
    };
    let (message, detail) = words("hnsw", &[("m", "1")]);
    assert_eq!(message, "value 1 out of bounds for option \"m\"");
    assert_eq!(detail.as_deref(), Some("Valid values are between \"2\" and \"100\"."));
    let (message, detail) = words("hnsw", &[("m", "16"), ("ef_construction", "31")]);
    assert_eq!((message.as_str(), detail), ("ef_construction must be greater than or equal to 2 * m", None));
    assert_eq!(words("hnsw", &[("lists", "5")]).0, "unrecognized parameter \"lists\"");
    assert_eq!(words("ivfflat", &[("lists", "x")]).0, "invalid value for integer option \"lists\": x");
    assert_eq!(words("hnsw", &[("m", "8"), ("m", "9")]).0, "parameter \"m\" specified more than once");
}

/// A table that has something of everything.
fn rich_table() -> TableMeta {
    let mut table = table();
    table.columns[1].missing = Some(Bytes::from_static(b"a batch"));
    table.columns[1].identity = Some(Identity::Always);
    table.uniques.push(UniqueKey {
        constraint: Some(Oid(16_407)),
        index_oid: Oid(16_408),
        name: "items_v_key".into(),
        columns: vec![3, 1],
        nulls_distinct: false,
    });
    table.foreign_keys.push(ForeignKey {
        oid: Oid(16_409),
        name: "items_id_fkey".into(),
        columns: vec![1],
        target: TableId(16_390),
        target_columns: vec![2],
        target_index: Oid(16_391),
        match_type: MatchType::Full,
        on_delete: ReferentialAction::SetNull,
        on_update: ReferentialAction::Cascade,
    });
    table.checks.push(CheckConstraint {
        oid: Oid(16_410),
        name: "items_id_check".into(),
        expression: "(id > 0)".into(),
        columns: vec![1],
    });
    table.former.push(FormerColumns { until: 2, columns: vec![1, 2, 3] });
    table.rewritten = 2;
    table.options = TableOptions { retention_millis: Some(60_000), consistency: Some(Consistency::Bounded) };
    table
}

#[test]
fn golden_files_of_the_catalog_read_back() {
    let table = Arc::new(rich_table());
    assert_eq!(decode_table(&as_golden("table", &encode_table(&table))).expect("a table"), table);
    let sequence = Arc::new(SequenceMeta {
        id: SequenceId(16_411),
        database: DatabaseId(1),
        namespace: "shop".into(),
        name: "items_id_seq".into(),
        ty: ColumnType::INT8,
        start: 1,
        increment: -2,
        minimum: i64::MIN,
        maximum: 7,
        first: 5,
        owned_by: Some((TableId(16_401), 1)),
    });
    let read = decode_sequence(&as_golden("sequence", &encode_sequence(&sequence)));
    assert_eq!(read.expect("a sequence"), sequence);
    let database = Arc::new(DatabaseMeta {
        id: DatabaseId(16_384),
        name: "elanus".into(),
        home_channel: ChannelId(16_384),
        extensions: vec!["vector".into()],
    });
    let read = decode_database(&as_golden("database", &encode_database(&database)));
    assert_eq!(read.expect("a database"), database);
    let namespace =
        Arc::new(NamespaceMeta { oid: Oid(16_412), database: DatabaseId(16_384), name: "shop".into() });
    let read = decode_namespace(&as_golden("namespace", &encode_namespace(&namespace)));
    assert_eq!(read.expect("a schema"), namespace);
    let about = ObjectAddress { class: 1259, object: 16_401, column: 3 };
    let read = decode_comment(&as_golden("comment", &encode_comment(about, "a colour")));
    assert_eq!(read.expect("a comment"), (about, "a colour".into()));
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

#[test]
fn indexes_survive_another_form_of_their_table() {
    let index = table().indexes[0].clone();
    let plain = TableMeta { indexes: Vec::new(), ..table() };
    let put = |table: &TableMeta| CatalogChange::PutTable(Arc::new(table.clone()));
    let of = |snapshot: &CatalogSnapshot| {
        let table = snapshot.tables.values().next().expect("the table");
        table.indexes.iter().map(|index| index.oid).collect::<Vec<_>>()
    };
    let indexed = CatalogSnapshot::default()
        .with_changes(&[put(&plain), CatalogChange::PutIndex(plain.id, index.clone())]);
    assert_eq!(of(&indexed), [index.oid]);
    let renamed = TableMeta { name: "other".into(), ..plain.clone() };
    assert_eq!(of(&indexed.with_changes(&[put(&renamed)])), [index.oid]);
    let narrow = TableMeta { columns: plain.columns[..1].to_vec(), ..plain.clone() };
    assert!(of(&indexed.with_changes(&[put(&narrow)])).is_empty());
    assert!(of(&indexed.with_changes(&[CatalogChange::DropIndex(plain.id, index.oid)])).is_empty());
}
