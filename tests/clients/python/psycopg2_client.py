"""psycopg 2 with pgvector: what an everyday program does; prints what it reads.

usage: psycopg2_client.py URL       its output on PostgreSQL is in recorded/
"""

import io
import sys

import numpy
import psycopg2
import psycopg2.extras
from pgvector.psycopg2 import register_vector

METRICS = ("<->", "<#>", "<=>", "<+>")
TYPES = (
    "1::int2", "2::int4", "3::int8", "1.5::float4", "2.5::float8", "12.50::numeric(6,2)", "'é'::text",
    "'v'::varchar(3)", "true", "'2026-01-02'::date", "'03:04:05'::time", "'2026-01-02 03:04:05.678'::timestamp",
    "'2026-01-02 03:04:05+00'::timestamptz", "'1 day 02:00:00'::interval",
    "'6ecd8c99-4036-403d-bf84-cf8400f67836'::uuid", r"'\x00ff'::bytea", "'{\"a\": [1, null]}'::json",
    "'{\"b\": 1, \"a\": [1, null]}'::jsonb", "ARRAY[1,NULL,3]", "ARRAY['x','y z']", "NULL::int4",
    "ARRAY[1.50,NULL]::numeric[]", "ARRAY['2026-01-02']::date[]", "ARRAY[true,NULL]", "'{}'::float8[]",
)
STORED = tuple(expression for expression in TYPES if not any(kind in expression for kind in ("interval", "NULL::int4")))


def shown(value):
    if isinstance(value, memoryview):
        return bytes(value).hex()
    if hasattr(value, "to_list"):
        value = value.to_list()
    if isinstance(value, numpy.ndarray):
        value = value.tolist()
    return repr(value)


def types_of(cursor, table):
    cursor.execute("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum", (table,))
    return [name for (name,) in cursor.fetchall()]


def main():
    connection = psycopg2.connect(sys.argv[1])
    connection.autocommit = True
    psycopg2.extras.register_uuid()
    cursor = connection.cursor()
    cursor.execute("SET client_min_messages = warning")
    cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
    register_vector(connection)
    cursor.execute("DROP TABLE IF EXISTS items2")
    cursor.execute("CREATE TABLE items2 (id bigserial PRIMARY KEY, name text NOT NULL, price float8, embedding vector(3))")
    print("created", cursor.statusmessage)

    rows = [(f"n{i}", i / 2, numpy.array([i, 1, -i], dtype=numpy.float32)) for i in range(6)]
    for row in rows:
        cursor.execute("INSERT INTO items2 (name, price, embedding) VALUES (%s, %s, %s) RETURNING id", row)
        print("inserted", cursor.fetchone())
    psycopg2.extras.execute_values(cursor, "INSERT INTO items2 (name, price, embedding) VALUES %s", rows)
    print("batch", cursor.statusmessage, cursor.rowcount)
    cursor.executemany("UPDATE items2 SET price = price + %s WHERE name = %s", [(1, "n1"), (2, "n2")])
    print("updated", cursor.statusmessage)

    cursor.copy_expert("COPY items2 (name, embedding) FROM STDIN", io.StringIO("c1\t[1,2,3]\nc2\t\\N\n"))
    print("copied", cursor.rowcount)
    out = io.StringIO()
    cursor.copy_expert("COPY (SELECT name, embedding FROM items2 WHERE id > 12 ORDER BY id) TO STDOUT WITH (FORMAT csv, HEADER)", out)
    print("out", out.getvalue().splitlines())

    near = numpy.array([2, 1, -1], dtype=numpy.float32)
    for metric in METRICS:
        cursor.execute(f"SELECT id, name, embedding, embedding {metric} %s AS d FROM items2 WHERE id <= 6 ORDER BY d, id LIMIT 3", (near,))
        print(metric, [(id, name, shown(v), round(d, 6)) for id, name, v, d in cursor.fetchall()])
    cursor.execute("SELECT id FROM items2 WHERE price >= %s AND name <> ALL (%s) ORDER BY embedding <-> %s, id LIMIT 2", (1.5, ["n3"], near))
    print("filtered", cursor.fetchall())

    connection.autocommit = False
    cursor.execute("DELETE FROM items2 WHERE id > 6")
    print("deleted", cursor.rowcount)
    connection.rollback()
    cursor.execute("SELECT count(*), sum(price) FROM items2")
    print("after rollback", cursor.fetchone())
    connection.commit()
    connection.autocommit = True

    cursor.execute("PREPARE near (vector, int) AS SELECT id FROM items2 ORDER BY embedding <-> $1, id LIMIT $2")
    for limit in (1, 2):
        cursor.execute("EXECUTE near (%s, %s)", (near, limit))
        print("prepared", cursor.fetchall())

    for wrong in ("INSERT INTO items2 (id, name) VALUES (1, 'x')", "INSERT INTO items2 (name) VALUES (NULL)", "SELECT nosuch FROM items2",
                  "SELECT '[1,2]'::vector(3)", "SELECT 1/0", "SELEC"):
        try:
            cursor.execute(wrong)
        except psycopg2.Error as error:
            print("error", error.pgcode, type(error).__name__, error.diag.message_primary)
    for expression in TYPES:
        cursor.execute(f"SELECT {expression}")
        print("type", expression, cursor.description[0].type_code, shown(cursor.fetchone()[0]))
    columns = ", ".join(f"c{number}" for number in range(len(STORED)))
    cursor.execute("DROP TABLE IF EXISTS kinds2")
    cursor.execute(f"CREATE TABLE kinds2 AS SELECT {', '.join(f'{expression} AS c{number}' for number, expression in enumerate(STORED))}")
    cursor.execute("SELECT * FROM kinds2")
    stored = cursor.fetchone()
    sent = [psycopg2.extras.Json(value) if isinstance(value, dict) else value for value in stored]
    casts = ", ".join(f"%s::{format_type}" for format_type in types_of(cursor, "kinds2"))
    cursor.execute(f"INSERT INTO kinds2 SELECT {casts}", sent)
    cursor.execute("SELECT * FROM kinds2")
    print("stored", [[shown(value) for value in row] for row in cursor.fetchall()])
    out = io.StringIO()
    cursor.copy_expert(f"COPY kinds2 ({columns}) TO STDOUT", out)
    print("out", out.getvalue().splitlines())
    out.seek(0)
    cursor.copy_expert(f"COPY kinds2 ({columns}) FROM STDIN", out)
    print("copied", cursor.rowcount)
    binary = io.BytesIO()
    cursor.copy_expert(f"COPY kinds2 ({columns}) TO STDOUT WITH (FORMAT binary)", binary)
    print("binary", len(binary.getvalue()), cursor.rowcount)
    binary.seek(0)
    cursor.copy_expert(f"COPY kinds2 ({columns}) FROM STDIN WITH (FORMAT binary)", binary)
    cursor.execute("SELECT count(*), count(DISTINCT c0), count(DISTINCT c5), count(DISTINCT c14) FROM kinds2")
    print("binary back", cursor.fetchone())
    connection.autocommit = False
    with connection, connection.cursor("parts") as parts:
        parts.itersize = 2
        parts.execute("SELECT id FROM items2 ORDER BY id LIMIT 5")
        print("parts", list(parts))
    connection.autocommit = True
    dictionaries = connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
    dictionaries.execute("SELECT id, name FROM items2 ORDER BY id LIMIT 1")
    print("dictionary", dict(dictionaries.fetchone()))
    print("status", connection.get_transaction_status(), connection.server_version, connection.encoding)


main()
