"""psycopg 3 against a server: vectors in text and binary, COPY, pipelines, server-side binding, types.

usage: psycopg3_client.py URL        prints one line per check; the exit code says whether all passed
"""

import datetime
import sys

import numpy
import psycopg
from pgvector.psycopg import register_vector

CHECKS = []


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
