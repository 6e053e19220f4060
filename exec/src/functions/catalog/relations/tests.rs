use super::*;
use crate::functions::catalog::tests::{scope, shop};

#[test]
fn relations_are_found_and_printed() {
    let catalog = shop();
    let path = ["public".to_owned()];
    let here = scope(&catalog, &path);
    for (text, oid, printed) in [
        ("items", 16_500, "items"),
        ("public.items", 16_500, "items"),
        ("shop.public.items", 16_500, "items"),
        ("items_pkey", 16_503, "items_pkey"),
        ("ITEMS_ID_SEQ", 16_504, "items_id_seq"),
        ("pg_class", 1259, "pg_class"),
        ("pg_catalog.pg_class", 1259, "pg_class"),
        ("16500", 16_500, "items"),
        ("99999", 99_999, "99999"),
        ("-", 0, "-"),
    ] {
        assert_eq!(resolve_reg_oid(TypeKind::Regclass, text, here), Ok(oid), "{text}");
        assert_eq!(resolve_reg_name(TypeKind::Regclass, oid, here), printed);
    }
    assert_eq!(resolve_reg_name(TypeKind::Regclass, 16_500, scope(&catalog, &[])), "public.items");
}

#[test]
fn other_names_are_found_and_printed() {
    let catalog = shop();
    let path = ["public".to_owned()];
    let here = scope(&catalog, &path);
    for (kind, text, oid) in [
        (TypeKind::Regproc, "array_in", 750),
        (TypeKind::Regproc, "vector_recv", 16_389),
        (TypeKind::Regtype, "character varying", 1043),
        (TypeKind::Regnamespace, "public", 2200),
        (TypeKind::Regrole, "elanus", 10),
    ] {
        assert_eq!(resolve_reg_oid(kind, text, here), Ok(oid), "{text}");
        assert_eq!(resolve_reg_name(kind, oid, here), text);
    }
}

#[test]
fn missing_objects_are_errors_of_postgresql() {
    let catalog = shop();
    let path = ["public".to_owned()];
    let here = scope(&catalog, &path);
    for (kind, text, message) in [
        (TypeKind::Regclass, "nope", "relation \"nope\" does not exist"),
        (TypeKind::Regclass, "nope.x", "relation \"nope.x\" does not exist"),
        (TypeKind::Regclass, "elsewhere", "relation \"elsewhere\" does not exist"),
        (TypeKind::Regclass, "a b", "invalid name syntax"),
        (TypeKind::Regproc, "foo", "function \"foo\" does not exist"),
        (TypeKind::Regnamespace, "zz", "schema \"zz\" does not exist"),
        (TypeKind::Regrole, "zz", "role \"zz\" does not exist"),
    ] {
        let error = resolve_reg_oid(kind, text, here).map_err(|error| error.message);
        assert_eq!(error, Err(message.to_owned()));
    }
    assert_eq!(to_regclass(here, "nope"), Ok(None));
}
