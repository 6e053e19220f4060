"""psycopg 3 against a server: vectors in text and binary, COPY, pipelines, server-side binding, types.

usage: psycopg3_client.py URL        prints a line per check and what it read; the exit code says whether all passed
"""

import datetime
import decimal
import sys
import uuid

import numpy
import psycopg
from pgvector.psycopg import register_vector
from psycopg.types.json import Json, Jsonb

CHECKS = []
KINDS = {
    "small": ("int2", -1), "plain": ("int4", 2), "big": ("int8", 2**40), "single": ("float4", 1.5), "double": ("float8", -2.5),
    "exact": ("numeric", decimal.Decimal("12.500")), "money": ("numeric(10,2)", decimal.Decimal("99.90")), "words": ("text", "é'\""),
    "short": ("varchar(5)", "v"), "padded": ("char(3)", "abc"), "flag": ("bool", True), "day": ("date", datetime.date(2026, 1, 2)),
    "hour": ("time", datetime.time(3, 4, 5)), "moment": ("timestamp", datetime.datetime(2026, 1, 2, 3, 4, 5, 678000)),
    "instant": ("timestamptz", datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)),
    "key": ("uuid", uuid.UUID("6ecd8c99-4036-403d-bf84-cf8400f67836")), "raw": ("bytea", b"\x00\xff"), "loose": ("json", {"a": [1, None]}),
    "strict": ("jsonb", {"b": 1, "a": [1, None]}), "numbers": ("int4[]", [1, None, 3]), "texts": ("text[]", ["x", "y z", None]),
    "sums": ("numeric[]", [decimal.Decimal("1.50"), decimal.Decimal("-2")]), "days": ("date[]", [datetime.date(2026, 1, 2)]),
    "keys": ("uuid[]", [uuid.UUID("6ecd8c99-4036-403d-bf84-cf8400f67836")]), "flags": ("bool[]", [True, None]), "empty": ("float8[]", []),
}
COPY_TYPES = ["int4", *({"char(3)": "text"}.get(kind, kind.split("(")[0]) for kind, _ in KINDS.values())]


def check(function):
    CHECKS.append(function)
    return function


def fresh(connection):
    connection.execute("DROP TABLE IF EXISTS items")
    connection.execute("CREATE TABLE items (id bigserial PRIMARY KEY, name text, price float8, embedding vector(3))")


@check
def vectors_in_both_formats(connection):
    fresh(connection)
    vectors = [numpy.array(v, dtype=numpy.float32) for v in ([1, 0, 0], [0, 1.5, 0], [0, 0, -2])]
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO items (name, embedding) VALUES (%s, %s)", [(f"n{i}", v) for i, v in enumerate(vectors)])
    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        near = numpy.array([0, 1, 0], dtype=numpy.float32)
        rows = cursor.execute("SELECT name, embedding, embedding <-> %s AS d FROM items ORDER BY embedding <-> %s LIMIT 2", (near, near)).fetchall()
        assert rows[0][0] == "n1" and rows[0][2] == 0.5, rows
        assert list(getattr(rows[0][1], "to_list", lambda: rows[0][1])()) == [0, 1.5, 0], rows


@check
def copy_in_text_and_binary(connection):
    fresh(connection)
    with connection.cursor() as cursor:
        with cursor.copy("COPY items (name, embedding) FROM STDIN") as copy:
            for i in range(100):
                copy.write_row((f"t{i}", f"[{i},0,1]"))
        with cursor.copy("COPY items (name, embedding) FROM STDIN WITH (FORMAT BINARY)") as copy:
            copy.set_types(["text", "vector"])
            for i in range(100):
                copy.write_row((f"b{i}", numpy.array([i, 1, 1], dtype=numpy.float32)))
    assert connection.execute("SELECT count(*) FROM items").fetchone()[0] == 200
    assert connection.execute("SELECT name FROM items ORDER BY embedding <-> '[50,1,1]' LIMIT 1").fetchone()[0] == "b50"
    with connection.cursor().copy("COPY (SELECT id FROM items WHERE name = 't7') TO STDOUT") as copy:
        assert b"".join(copy) == b"8\n"


@check
def transactions_and_errors(connection):
    fresh(connection)
    try:
        with connection.transaction():
            connection.execute("INSERT INTO items (id, name) VALUES (1, 'a')")
            connection.execute("INSERT INTO items (id, name) VALUES (1, 'b')")
    except psycopg.errors.UniqueViolation as error:
        assert error.diag.constraint_name == "items_pkey"
    else:
        raise AssertionError("a duplicate key was accepted")
    assert connection.execute("SELECT count(*) FROM items").fetchone()[0] == 0
    try:
        connection.execute("SELECT nosuch FROM items")
    except psycopg.errors.UndefinedColumn as error:
        assert "nosuch" in str(error)


@check
def a_pipeline(connection):
    fresh(connection)
    with connection.pipeline():
        for i in range(20):
            connection.execute("INSERT INTO items (name, price) VALUES (%s, %s)", (f"n{i}", i / 2))
        cursor = connection.execute("SELECT sum(price) FROM items")
    assert cursor.fetchone()[0] == 95.0


@check
def types_go_and_come(connection):
    now = datetime.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.timezone.utc)
    values = (1, 2**40, 2.5, "é'\"", True, None, now)
    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        sql = "SELECT %s::int4, %s::int8, %s::float8, %s::text, %s::bool, %s::text, %s::timestamptz"
        assert cursor.execute(sql, values).fetchone() == values


@check
def every_kind_is_stored(connection):
    connection.execute("DROP TABLE IF EXISTS kinds")
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in KINDS.items())
    connection.execute(f"CREATE TABLE kinds (id int PRIMARY KEY, {columns})")
    wrap = {"loose": Json, "strict": Jsonb}
    values = [wrap.get(name, lambda value: value)(value) for name, (_, value) in KINDS.items()]
    for row, marker in ((1, "%t"), (2, "%b"), (3, "%s")):
        markers = ", ".join([marker] * len(values))
        connection.execute(f"INSERT INTO kinds VALUES ({row}, {markers})", values, prepare=row == 3)
    with connection.cursor().copy("COPY kinds FROM STDIN WITH (FORMAT BINARY)") as copy:
        copy.set_types(COPY_TYPES)
        copy.write_row((4, *values))
        copy.write_row((5, *([None] * len(values))))
    wanted = [value for _, value in KINDS.values()]
    for binary in (False, True):
        rows = connection.cursor(binary=binary).execute("SELECT * FROM kinds ORDER BY id").fetchall()
        assert [list(row[1:]) for row in rows] == [wanted] * 4 + [[None] * len(wanted)], rows
    with connection.cursor().copy("COPY (SELECT * FROM kinds WHERE id = 4) TO STDOUT WITH (FORMAT BINARY)") as copy:
        copy.set_types(COPY_TYPES)
        assert [list(row[1:]) for row in copy.rows()] == [wanted]
    for name, (kind, value) in KINDS.items():
        if name not in ("loose", "strict"):
            found = connection.execute(f"SELECT array_agg(id ORDER BY id) FROM kinds WHERE {name} = %s::{kind}", (value,), binary=True).fetchone()[0]
            print("found by", name, found)
    cursor = connection.execute("SELECT * FROM kinds LIMIT 0")
    print([(column.name, column.type_display) for column in cursor.description])


@check
def nearest_by_every_metric(connection):
    fresh(connection)
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO items (name, price, embedding) VALUES (%s, %s, %s)",
                           [(f"n{i}", i / 2, numpy.array([i, 1, -i], dtype=numpy.float32)) for i in range(6)])
    near = numpy.array([2, 1, -1], dtype=numpy.float32)
    for metric in ("<->", "<#>", "<=>", "<+>"):
        for binary in (False, True):
            rows = connection.cursor(binary=binary).execute(
                f"SELECT id, embedding {metric} %s AS d FROM items WHERE price < %s ORDER BY d, id LIMIT 3", (near, 2.5)).fetchall()
            print(metric, [(number, round(distance, 6)) for number, distance in rows])


@check
def rows_come_in_parts(connection):
    with connection.transaction(), connection.cursor("parts") as cursor:
        cursor.execute("SELECT g FROM generate_series(1, 7) g")
        print([len(cursor.fetchmany(3)) for _ in range(4)])
    with connection.transaction(force_rollback=True):
        connection.execute("INSERT INTO items (name) VALUES ('never')")
        with connection.transaction():
            connection.execute("DELETE FROM items")
    print(connection.execute("SELECT count(*) FROM items").fetchone(), connection.info.transaction_status.name)


@check
def errors_have_their_states(connection):
    for wrong, values in (("INSERT INTO items (id, name) VALUES (1, 'x')", ()), ("SELECT '[1,2]'::vector(3)", ()), ("SELECT 1 / %s::int", (0,)),
                          ("SELECT %s::int2", ("x",)), ("SELECT * FROM nosuch", ()), ("SELEC", ()), ("SELECT embedding <-> '[1]' FROM items", ())):
        try:
            connection.execute(wrong, values)
            print("no error", wrong)
        except psycopg.Error as error:
            print(error.sqlstate, type(error).__name__, error.diag.message_primary, error.diag.statement_position)


@check
def many_prepared_executions(connection):
    fresh(connection)
    for i in range(30):
        connection.execute("INSERT INTO items (name) VALUES (%s)", (f"n{i}",), prepare=True)
    found = [connection.execute("SELECT id FROM items WHERE name = %s", (f"n{i}",), prepare=True).fetchone()[0] for i in range(30)]
    assert found == list(range(1, 31)), found


@check
def a_server_side_cursor_of_rows(connection):
    rows = connection.execute("SELECT g, g * 2 AS twice FROM generate_series(1, 1000) g").fetchall()
    assert len(rows) == 1000 and rows[999] == (1000, 2000)


def main():
    failed = 0
    with psycopg.connect(sys.argv[1], autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        register_vector(connection)
        for function in CHECKS:
            try:
                function(connection)
                print(f"ok {function.__name__}")
            except Exception as error:  # every check is reported
                failed += 1
                print(f"FAILED {function.__name__}: {type(error).__name__}: {error}")
    sys.exit(failed > 0)


main()
