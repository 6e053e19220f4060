use proto::TypeKind;

use super::*;

#[test]
fn every_file_reads_and_oids_are_unique() {
    assert!(relations().len() > 200 && types().len() > 600 && procedures().len() > 900);
    let mut oids: Vec<u32> = relations().iter().map(|relation| relation.oid).collect();
    let count = oids.len();
    oids.sort_unstable();
    oids.dedup();
    assert_eq!(oids.len(), count);
    assert_eq!(TYPE_POSITIONS.len(), types().len());
    for relation in relations() {
        assert!(!relation.columns.is_empty(), "{} has no columns", relation.name);
        assert!(namespace_oid(relation.namespace).is_some(), "{}", relation.namespace);
        for column in &relation.columns {
            assert!(type_of_oid(column.type_oid).is_some(), "{}.{}", relation.name, column.name);
        }
    }
}

#[test]
fn proto_and_the_catalog_agree_on_types() {
    for &kind in TypeKind::ALL {
        let row = type_of_oid(kind.oid().0).unwrap_or_else(|| panic!("{kind:?} has no row"));
        assert_eq!(row.name, kind.name());
        assert_eq!(row.array, kind.array_oid().0, "{kind:?}");
        assert_eq!(row.length, kind.length(), "{kind:?}");
        if row.array != 0 {
            assert_eq!(type_of_oid(row.array).map(|array| array.element), Some(row.oid), "{kind:?}");
        }
    }
}

#[test]
fn functions_of_types_exist() {
    for ty in types() {
        for oid in [ty.subscript, ty.input, ty.output, ty.receive, ty.send, ty.modifier_in, ty.modifier_out] {
            assert!(oid == 0 || procedure_of_oid(oid).is_some(), "{} needs function {oid}", ty.name);
        }
    }
    assert_eq!(type_of_name("public", "vector").map(|ty| ty.oid), Some(16385));
    assert_eq!(relation("pg_catalog", "pg_class").map(|relation| relation.columns.len()), Some(33));
}
