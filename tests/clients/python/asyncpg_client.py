"""asyncpg with pgvector: binary everywhere, introspection of types; prints what it reads.

usage: asyncpg_client.py URL        its output on PostgreSQL is in recorded/
"""

import asyncio
import datetime
import decimal
import io
import sys
import uuid

import asyncpg
import numpy
from pgvector.asyncpg import register_vector

METRICS = ("<->", "<#>", "<=>", "<+>")
UTC = datetime.timezone.utc
VALUES = (
    ("int2", 1), ("int4", 2), ("int8", 3), ("float4", 1.5), ("float8", 2.5), ("numeric", decimal.Decimal("12.5")),
    ("text", "é"), ("varchar", "v"), ("bool", True), ("date", datetime.date(2026, 1, 2)), ("time", datetime.time(3, 4, 5)),
    ("timestamp", datetime.datetime(2026, 1, 2, 3, 4, 5, 678000)), ("timestamptz", datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ("interval", datetime.timedelta(days=1, hours=2)), ("uuid", uuid.UUID("6ecd8c99-4036-403d-bf84-cf8400f67836")),
    ("bytea", b"\x00\xff"), ("json", '{"a": [1, null]}'), ("jsonb", '{"a": [1, null]}'), ("int4[]", [1, None, 3]),
    ("text[]", ["x", "y z"]), ("int4", None), ("numeric[]", [decimal.Decimal("1.50"), None]), ("date[]", [datetime.date(2026, 1, 2)]),
    ("uuid[]", [uuid.UUID("6ecd8c99-4036-403d-bf84-cf8400f67836")]), ("bool[]", [True, None]), ("float8[]", []),
)
STORED = tuple((kind, value) for kind, value in VALUES if kind != "interval" and value is not None)


def shown(value):
    if hasattr(value, "to_list"):
        value = value.to_list()
    if isinstance(value, numpy.ndarray):
        value = value.tolist()
    return repr(value)


def vector(*numbers):
    return numpy.array(numbers, dtype=numpy.float32)


async def search(connection):
    near = vector(2, 1, -1)
    for metric in METRICS:
        rows = await connection.fetch(f"SELECT id, name, embedding, embedding {metric} $1 AS d FROM items3 ORDER BY d, id LIMIT 3", near)
        print(metric, [(row["id"], row["name"], shown(row["embedding"]), round(row["d"], 6)) for row in rows])
    rows = await connection.fetch("SELECT id FROM items3 WHERE price >= $1 AND id = ANY($3) ORDER BY embedding <-> $2, id LIMIT 2", 0.5, near, [1, 2, 3, 4])
    print("filtered", [tuple(row) for row in rows])
    statement = await connection.prepare("SELECT id FROM items3 ORDER BY embedding <-> $1, id LIMIT $2")
    print("described", [t.name for t in statement.get_parameters()], [(a.name, a.type.name) for a in statement.get_attributes()])
    for limit in (1, 2):
        print("prepared", [row[0] for row in await statement.fetch(near, limit)])


async def transactions(connection):
    try:
        async with connection.transaction():
            print("deleted", await connection.execute("DELETE FROM items3 WHERE id > 3"))
            raise RuntimeError("roll back")
    except RuntimeError:
        print("after rollback", await connection.fetchval("SELECT count(*) FROM items3"))
    async with connection.transaction():
        async for row in connection.cursor("SELECT id FROM items3 ORDER BY id", prefetch=2):
            print("cursor", row["id"])
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        print("isolation", await connection.fetchval("SHOW transaction_isolation"))


async def kinds(connection):
    """A column of every kind, written by parameters and by binary COPY, read back and searched."""
    columns = ", ".join(f"c{number} {kind}" for number, (kind, _) in enumerate(STORED))
    await connection.execute(f"DROP TABLE IF EXISTS kinds3; CREATE TABLE kinds3 (id int PRIMARY KEY, {columns})")
    values = [value for _, value in STORED]
    markers = ", ".join(f"${number + 2}" for number in range(len(STORED)))
    await connection.execute(f"INSERT INTO kinds3 VALUES ($1, {markers})", 1, *values)
    print(await connection.copy_records_to_table("kinds3", records=[(2, *values), (3, *[None] * len(values))]))
    for row in await connection.fetch("SELECT * FROM kinds3 ORDER BY id"):
        print("stored", [shown(value) for value in row])
    for number, (kind, value) in enumerate(STORED):
        if kind != "json":
            print("found by", kind, await connection.fetchval(f"SELECT array_agg(id ORDER BY id) FROM kinds3 WHERE c{number} = $1", value))
    out = bytearray()

    async def take(data):
        out.extend(data)

    print(await connection.copy_from_query("SELECT * FROM kinds3 ORDER BY id", output=take, format="binary"), len(out))
    print(await connection.copy_to_table("kinds3", source=io.BytesIO(b"4\t7" + b"\t\\N" * (len(STORED) - 1) + b"\n")))


async def errors(connection):
    for wrong, arguments in (
        ("INSERT INTO items3 (id, name) VALUES (1, 'x')", ()), ("INSERT INTO items3 (name) VALUES ($1)", (None,)),
        ("SELECT nosuch FROM items3", ()), ("SELECT '[1,2]'::vector(3)", ()), ("SELECT 1/$1::int", (0,)), ("SELEC", ()),
    ):
        try:
            await connection.fetch(wrong, *arguments)
        except asyncpg.PostgresError as error:
            print("error", error.sqlstate, type(error).__name__, error.message)


async def main():
    connection = await asyncpg.connect(sys.argv[1])
    await connection.execute("SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS vector")
    await register_vector(connection)
    await connection.execute("DROP TABLE IF EXISTS items3; CREATE TABLE items3 (id bigserial PRIMARY KEY, name text NOT NULL, price float8, embedding vector(3))")
    insert = "INSERT INTO items3 (name, price, embedding) VALUES ($1, $2, $3)"
    for number in range(3):
        print("inserted", await connection.fetchval(insert + " RETURNING id", f"n{number}", number / 2, vector(number, 1, -number)))
    await connection.executemany(insert, [(f"b{number}", None, vector(number, 0, 1)) for number in range(3)])
    copied = await connection.copy_records_to_table("items3", records=[("c1", 1.0, vector(1, 2, 3)), ("c2", 2.0, None)], columns=["name", "price", "embedding"])
    print(copied, await connection.fetchval("SELECT count(*) FROM items3"))
    print("row", [shown(value) for value in await connection.fetchrow("SELECT * FROM items3 ORDER BY id DESC LIMIT 1")])
    await search(connection)
    await transactions(connection)
    await kinds(connection)
    await errors(connection)
    for name, value in VALUES:
        record = await connection.fetchrow(f"SELECT $1::{name} AS v", value)
        print("type", name, shown(record["v"]))
    await connection.set_type_codec("jsonb", encoder=str, decoder=lambda text: ("decoded", text), schema="pg_catalog")
    print("codec", await connection.fetchval("SELECT '[1]'::jsonb"))
    print("composite", sorted((await connection.fetchrow("SELECT i.id, i.name FROM items3 i WHERE id = 1")).items()))
    await connection.reset()
    print("closing", connection.get_server_version()[:2])
    await connection.close()


asyncio.run(main())
