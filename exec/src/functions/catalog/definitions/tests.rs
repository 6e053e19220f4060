use super::*;
use crate::functions::catalog::tests::{scope, shop};

#[test]
fn keys_print_as_sql() {
    let catalog = shop();
    let path = ["public".to_owned()];
    let index = scope(&catalog, &path).indexes().next().unwrap();
    assert_eq!(
        index_definition(index),
        "CREATE UNIQUE INDEX items_pkey ON public.items USING btree (id, \"Name\")"
    );
    let key = scope(&catalog, &path).keys().next().unwrap();
    assert_eq!(constraint_definition(key), "PRIMARY KEY (id, \"Name\")");
}

#[test]
fn defaults_print_with_the_type_they_were_read_as() {
    for (default, ty, printed) in [
        ("nextval('s'::regclass)", ColumnType::INT8, "nextval('s'::regclass)"),
        ("5", ColumnType::INT4, "5"),
        ("-7", ColumnType::INT8, "'-7'::integer"),
        ("-1.5", ColumnType::FLOAT8, "'-1.5'::numeric"),
        ("'x''y'", ColumnType::TEXT, "'x''y'::text"),
        ("'[1,2,3]'", ColumnType::vector(3), "'[1,2,3]'::vector"),
        ("'a' || 'b'", ColumnType::TEXT, "'a' || 'b'"),
        ("NOW()", ColumnType::TIMESTAMPTZ, "now()"),
        ("current_timestamp", ColumnType::TIMESTAMPTZ, "CURRENT_TIMESTAMP"),
    ] {
        assert_eq!(default_text(default, ty), printed);
    }
}
