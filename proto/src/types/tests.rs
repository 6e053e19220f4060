use super::*;

#[test]
fn storable_types_survive_the_arrow_field() {
    for &kind in TypeKind::ALL {
        let ty = ColumnType::scalar(kind);
        if ty.is_storable() {
            assert_eq!(ColumnType::of_field(&ty.arrow_field("c", true)), ty);
        }
    }
    let vector = ColumnType::vector(384);
    assert_eq!(ColumnType::of_field(&vector.arrow_field("v", true)), vector);
}

#[test]
fn names_and_oids_are_found_again() {
    for &kind in TypeKind::ALL {
        assert_eq!(ColumnType::from_oid(kind.oid()), Some(ColumnType::scalar(kind)));
    }
    assert_eq!(ColumnType::from_name("integer"), Some(ColumnType::INT4));
    assert_eq!(ColumnType::from_name("real[]"), Some(ColumnType::array_of(TypeKind::Float4)));
    assert_eq!(ColumnType::from_name("_vector"), Some(ColumnType::array_of(TypeKind::Vector)));
    assert_eq!(ColumnType::from_name("nosuch"), None);
}

#[test]
fn format_type_prints_like_postgresql() {
    assert_eq!(ColumnType::vector(3).display(), "vector(3)");
    assert_eq!(
        ColumnType { kind: TypeKind::Varchar, array: false, typmod: 14 }.display(),
        "character varying(10)"
    );
    assert_eq!(ColumnType::array_of(TypeKind::Int4).display(), "integer[]");
}
