//! Errors of unique and foreign keys in all their fields, as PostgreSQL 16 gave them for the same statements.

use tests::server::Server;

const SETUP: [&str; 6] = [
    "CREATE TABLE p (id int PRIMARY KEY, code text UNIQUE, x int, y int, UNIQUE (x, y))",
    "CREATE TABLE \"Odd\" (\"The Key\" int UNIQUE, pid int CONSTRAINT \"to P\" REFERENCES p, x int, y int, \
     FOREIGN KEY (y, x) REFERENCES p (y, x) MATCH FULL)",
    "INSERT INTO p VALUES (1, 'a', 1, 2), (2, 'it''s', 3, 4), (3, NULL, NULL, 5)",
    "INSERT INTO \"Odd\" VALUES (NULL, 1, 1, 2), (7, 2, 3, 4)",
    "CREATE TABLE loose (a int, b text)",
    "INSERT INTO loose VALUES (1, 'x'), (1, 'y'), (9, 'x')",
];

/// Statement, code, message, detail, constraint.
const REFUSED: [(&str, &str, &str, &str, &str); 18] = [
    (
        "INSERT INTO p VALUES (4, 'it''s', 9, 9)",
        "23505",
        "duplicate key value violates unique constraint \"p_code_key\"",
        "Key (code)=(it's) already exists.",
        "p_code_key",
    ),
    (
        "INSERT INTO p VALUES (4, 'z', 3, 4)",
        "23505",
        "duplicate key value violates unique constraint \"p_x_y_key\"",
        "Key (x, y)=(3, 4) already exists.",
        "p_x_y_key",
    ),
    (
        "UPDATE p SET code = 'a' WHERE id = 2",
        "23505",
        "duplicate key value violates unique constraint \"p_code_key\"",
        "Key (code)=(a) already exists.",
        "p_code_key",
    ),
    (
        "INSERT INTO \"Odd\" VALUES (7, 1, 1, 2)",
        "23505",
        "duplicate key value violates unique constraint \"Odd_The Key_key\"",
        "Key (\"The Key\")=(7) already exists.",
        "Odd_The Key_key",
    ),
    (
        "INSERT INTO \"Odd\" VALUES (8, 99, 1, 2)",
        "23503",
        "insert or update on table \"Odd\" violates foreign key constraint \"to P\"",
        "Key (pid)=(99) is not present in table \"p\".",
        "to P",
    ),
    (
        "INSERT INTO \"Odd\" VALUES (8, 1, 4, 3)",
        "23503",
        "insert or update on table \"Odd\" violates foreign key constraint \"Odd_y_x_fkey\"",
        "Key (y, x)=(3, 4) is not present in table \"p\".",
        "Odd_y_x_fkey",
    ),
    (
        "INSERT INTO \"Odd\" VALUES (8, 1, 4, NULL)",
        "23503",
        "insert or update on table \"Odd\" violates foreign key constraint \"Odd_y_x_fkey\"",
        "MATCH FULL does not allow mixing of null and nonnull key values.",
        "Odd_y_x_fkey",
    ),
    (
        "DELETE FROM p WHERE id = 1",
        "23503",
        "update or delete on table \"p\" violates foreign key constraint \"to P\" on table \"Odd\"",
        "Key (id)=(1) is still referenced from table \"Odd\".",
        "to P",
    ),
    (
        "UPDATE p SET x = 30 WHERE id = 2",
        "23503",
        "update or delete on table \"p\" violates foreign key constraint \"Odd_y_x_fkey\" on table \"Odd\"",
        "Key (y, x)=(4, 3) is still referenced from table \"Odd\".",
        "Odd_y_x_fkey",
    ),
    (
        "ALTER TABLE loose ADD UNIQUE (a)",
        "23505",
        "could not create unique index \"loose_a_key\"",
        "Key (a)=(1) is duplicated.",
        "loose_a_key",
    ),
    (
        "CREATE UNIQUE INDEX ON loose (b)",
        "23505",
        "could not create unique index \"loose_b_idx\"",
        "Key (b)=(x) is duplicated.",
        "loose_b_idx",
    ),
    (
        "ALTER TABLE loose ADD CONSTRAINT loose_p FOREIGN KEY (a) REFERENCES p",
        "23503",
        "insert or update on table \"loose\" violates foreign key constraint \"loose_p\"",
        "Key (a)=(9) is not present in table \"p\".",
        "loose_p",
    ),
    (
        "CREATE TABLE n (a text REFERENCES p)",
        "42804",
        "foreign key constraint \"n_a_fkey\" cannot be implemented",
        "Key columns \"a\" and \"id\" are of incompatible types: text and integer.",
        "",
    ),
    (
        "DROP TABLE p",
        "2BP01",
        "cannot drop table p because other objects depend on it",
        "constraint to P on table \"Odd\" depends on table p\nconstraint Odd_y_x_fkey on table \"Odd\" depends on table p",
        "",
    ),
    (
        "TRUNCATE p",
        "0A000",
        "cannot truncate a table referenced in a foreign key constraint",
        "Table \"Odd\" references \"p\".",
        "",
    ),
    (
        "ALTER TABLE p DROP CONSTRAINT p_pkey",
        "2BP01",
        "cannot drop constraint p_pkey on table p because other objects depend on it",
        "constraint to P on table \"Odd\" depends on index p_pkey",
        "",
    ),
    (
        "ALTER TABLE p DROP COLUMN id",
        "2BP01",
        "cannot drop column id of table p because other objects depend on it",
        "constraint to P on table \"Odd\" depends on column id of table p",
        "",
    ),
    (
        "DROP TABLE p, loose",
        "2BP01",
        "cannot drop desired object(s) because other objects depend on them",
        "constraint to P on table \"Odd\" depends on table p\nconstraint Odd_y_x_fkey on table \"Odd\" depends on table p",
        "",
    ),
];

#[test]
fn refusals_tell_what_postgresql_tells() {
    let server = Server::start();
    let mut connection = server.connect();
    for sql in SETUP {
        connection.run(sql).expect(sql);
    }
    for (sql, code, message, detail, constraint) in REFUSED {
        for in_block in [false, true] {
            if in_block {
                connection.run("BEGIN").expect("BEGIN");
            }
            let error = connection.refusal(sql);
            assert_eq!((error.code.as_str(), error.message.as_str()), (code, message), "{sql}");
            assert_eq!(error.detail.as_deref(), Some(detail), "{sql}");
            assert_eq!(error.constraint.as_deref().unwrap_or(""), constraint, "{sql}");
            if in_block {
                connection.run("ROLLBACK").expect("ROLLBACK");
            }
        }
    }
}
