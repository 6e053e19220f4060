use proto::catalog::{Column, PrimaryKey, TableMeta};
use proto::types::ColumnType;

use super::*;
use crate::clock::SimClock;
use crate::meta::MemoryMeta;
use crate::oracle::{TimestampOracle, WindowOracle};

fn store() -> Arc<dyn MetaStore> {
    Arc::new(MemoryMeta::new(Arc::new(SimClock::new(0))))
}

fn table(id: u64, name: &str, version: u64) -> CatalogChange {
    CatalogChange::PutTable(Arc::new(TableMeta {
        id: TableId(id),
        database: DatabaseId(16_384),
        namespace: "public".into(),
        name: name.into(),
        type_oid: Oid(id as u32 + 1),
        schema_version: version,
        next_column_id: 2,
        columns: vec![Column {
            id: 1,
            name: "id".into(),
            ty: ColumnType::INT8,
            nullable: false,
            default: None,
            identity: None,
            missing: None,
        }],
        primary_key: Some(PrimaryKey {
            oid: Oid(id as u32 + 2),
            index_oid: Oid(id as u32 + 3),
            name: format!("{name}_pkey"),
            columns: vec![1],
        }),
        uniques: Vec::new(),
        foreign_keys: Vec::new(),
        indexes: Vec::new(),
        checks: Vec::new(),
        former: Vec::new(),
        rewritten: 0,
        options: proto::catalog::TableOptions::default(),
        channel: ChannelId(16_384),
    }))
}

async fn open(meta: Arc<dyn MetaStore>) -> Result<Catalog> {
    let clock = Arc::new(SimClock::new(0));
    let oracle: Arc<dyn TimestampOracle> = Arc::new(WindowOracle::open(Arc::clone(&meta), clock).await?);
    let horizons = Horizons::open(Arc::clone(&meta), oracle, 1_000).await?;
    Catalog::open(meta, Arc::new(horizons), Timestamp::ZERO).await
}

async fn apply(catalog: &Catalog, changes: &[CatalogChange]) -> Result<()> {
    let changed = catalog.change(changes, Timestamp(1), vec![], vec![]).await?;
    catalog.publish(changed);
    Ok(())
}

#[tokio::test]
async fn a_new_store_has_the_first_databases_once() {
    let meta = store();
    let catalog = open(Arc::clone(&meta)).await.expect("an empty store");
    let names: Vec<_> = catalog.snapshot().databases.values().map(|database| database.name.clone()).collect();
    assert_eq!(names, ["template1", "postgres", "elanus"]);
    apply(&catalog, &[CatalogChange::DropDatabase(DatabaseId(5))]).await.expect("a change");
    let again = open(meta).await.expect("the same store");
    assert_eq!(*again.snapshot(), *catalog.snapshot(), "nothing is bootstrapped twice");
}

#[tokio::test]
async fn changes_are_shown_when_published_and_survive() {
    let meta = store();
    let catalog = open(Arc::clone(&meta)).await.expect("an empty store");
    let before = catalog.snapshot();
    let changed =
        catalog.change(&[table(16_500, "t", 1)], Timestamp(1), vec![], vec![]).await.expect("a change");
    assert_eq!(*catalog.snapshot(), *before);
    catalog.publish(changed);
    assert_eq!(catalog.snapshot().revision, before.revision + 1);
    let again = open(meta).await.expect("the same store");
    assert_eq!(*again.snapshot(), *catalog.snapshot());
    apply(&again, &[CatalogChange::DropDatabase(DatabaseId(16_384))]).await.expect("a change");
    assert!(again.snapshot().tables.is_empty(), "tables go with their database");
}

#[tokio::test]
async fn changes_that_do_not_fit_are_refused_whole() {
    let catalog = open(store()).await.expect("an empty store");
    apply(&catalog, &[table(16_500, "t", 1)]).await.expect("a change");
    let before = catalog.snapshot();
    let refusals = [
        vec![table(16_600, "u", 1), table(16_700, "t", 1)],
        vec![table(16_600, "t_pkey", 1)],
        vec![CatalogChange::DropTable(TableId(16_600))],
        vec![table(16_600, "u", 1), table(16_610, "u", 1)],
    ];
    for changes in refusals {
        assert!(apply(&catalog, &changes).await.is_err(), "{changes:?}");
        assert_eq!(*catalog.snapshot(), *before);
    }
    // Planned before somebody else changed the same table.
    assert!(matches!(apply(&catalog, &[table(16_500, "other", 1)]).await, Err(Error::SchemaChanged)));
    assert!(matches!(apply(&catalog, &[table(16_700, "u", 2)]).await, Err(Error::UndefinedTable(_))));
    apply(&catalog, &[table(16_500, "t", 2)]).await.expect("the next version");
    let renamed = vec![CatalogChange::DropTable(TableId(16_500)), table(16_600, "t", 1)];
    apply(&catalog, &renamed).await.expect("the name is free within the transaction");
}

#[tokio::test]
async fn another_nodes_changes_are_seen_before_the_own() {
    let meta = store();
    let (one, two) = (
        open(Arc::clone(&meta)).await.expect("an empty store"),
        open(Arc::clone(&meta)).await.expect("the same store"),
    );
    apply(&one, &[table(16_500, "t", 1)]).await.expect("a change");
    assert!(matches!(apply(&two, &[table(16_600, "t", 1)]).await, Err(Error::DuplicateRelation(_))));
    apply(&two, &[table(16_600, "u", 1)]).await.expect("a change");
    assert_eq!(two.snapshot().tables.len(), 2);
    one.reload().await.expect("a reload");
    assert_eq!(*one.snapshot(), *two.snapshot());
}

#[tokio::test]
async fn numbers_are_given_out_once() {
    let meta = store();
    let catalog = open(Arc::clone(&meta)).await.expect("an empty store");
    assert_eq!(catalog.allocate_oids(3).await.expect("oids"), Oid(FIRST_USER_OID));
    let other = open(meta).await.expect("the same store");
    let all =
        (0..20).map(|round| if round % 2 == 0 { &catalog } else { &other }).map(|from| from.allocate_oids(2));
    let mut given = futures::future::try_join_all(all).await.expect("oids");
    given.sort_unstable();
    given.dedup();
    assert_eq!(given.len(), 20);
    assert_eq!(given[0], Oid(FIRST_USER_OID + 3));
    assert_eq!(catalog.allocate_segments(4).await.expect("ids"), SegmentId(1));
    assert_eq!(catalog.allocate_segments(4).await.expect("ids"), SegmentId(5));
}

#[test]
fn golden_files_of_steps_read_back() {
    let former = |key: &str, value: Option<&'static [u8]>| {
        let mut form = vec![0x0A, key.len() as u8];
        form.extend_from_slice(key.as_bytes());
        if let Some(value) = value {
            form.extend_from_slice(&[0x12, value.len() as u8]);
            form.extend_from_slice(value);
        }
        [&[0x12, form.len() as u8][..], &form].concat()
    };
    let keys = [former("catalog/revision", Some(&[7])), former("catalog/table/1", None)].concat();
    let kept = Bytes::from([&[0x09, 0, 0, 0x8C, 1, 0, 0, 0, 0][..], &keys].concat());
    let key = "history/step/00000000000000000008";
    let step = history::decode_step(key, &kept).expect("readable").expect("a step");
    assert_eq!(step.ts(), Timestamp(99 << 18));
    let told: Vec<_> = step.former().map(|(key, value)| (key.to_owned(), value.cloned())).collect();
    let revision = Bytes::from_static(&[7]);
    assert_eq!(told, [("catalog/revision".into(), Some(revision)), ("catalog/table/1".into(), None)]);
    assert_eq!(step.write(), Write::put(key, kept));
}
