// node-postgres with the pgvector package: what an everyday program does; prints what it reads.
//
// usage: node client.js URL      its output on PostgreSQL is in recorded/
const { Client, Pool } = require("pg");
const pgvector = require("pgvector/pg");
const copy = require("pg-copy-streams");
const { pipeline } = require("stream/promises");
const { Readable, Writable } = require("stream");

const METRICS = ["<->", "<#>", "<=>", "<+>"];
const TYPES = [
  "1::int2", "2::int4", "3::int8", "1.5::float4", "2.5::float8", "12.50::numeric(6,2)", "'é'::text", "'v'::varchar(3)",
  "true", "'2026-01-02 03:04:05.678'::timestamp", "'2026-01-02 03:04:05+00'::timestamptz", "'1 day 02:00:00'::interval",
  "'6ecd8c99-4036-403d-bf84-cf8400f67836'::uuid", "'\\x00ff'::bytea", "'{\"a\": [1, null]}'::json",
  "'{\"b\": 1, \"a\": [1, null]}'::jsonb", "ARRAY[1,NULL,3]", "ARRAY['x','y z']", "NULL::int4",
  "'2026-01-02'::date::text", "'03:04:05'::time", "ARRAY[1.50,NULL]::numeric[]", "ARRAY[true,NULL]", "'{}'::float8[]",
];

const say = (...parts) => console.log(...parts.map((part) => (typeof part === "string" ? part : JSON.stringify(part))));

async function search(client) {
  const near = pgvector.toSql([2, 1, -1]);
  for (const metric of METRICS) {
    const { rows } = await client.query(
      `SELECT id, name, embedding, embedding ${metric} $1 AS d FROM items4 ORDER BY d, id LIMIT 3`, [near]);
    say(metric, rows.map((row) => [row.id, row.name, row.embedding, Number(row.d.toFixed(6))]));
  }
  const filtered = await client.query(
    "SELECT id FROM items4 WHERE price >= $1 AND id = ANY($2) ORDER BY embedding <-> $3, id LIMIT 2", [0.5, [1, 2, 3], near]);
  say("filtered", filtered.rows, filtered.fields.map((field) => [field.name, field.dataTypeID, field.format]));
  for (const limit of [1, 2]) {
    const named = { name: "near", text: "SELECT id FROM items4 ORDER BY embedding <-> $1, id LIMIT $2", values: [near, limit] };
    say("prepared", (await client.query(named)).rows);
  }
}

async function copies(client) {
  const sent = client.query(copy.from("COPY items4 (name, embedding) FROM STDIN"));
  await pipeline(Readable.from(["c1\t[1,2", ",3]\nc2\t\\N\n"]), sent);
  say("copied", sent.rowCount);
  for (const format of ["text", "csv", "binary"]) {
    const parts = [];
    const keep = new Writable({ write(chunk, _, done) { parts.push(chunk); done(); } });
    const query = `COPY (SELECT id, name, price, embedding FROM items4 ORDER BY id DESC LIMIT 3) TO STDOUT WITH (FORMAT ${format})`;
    await pipeline(client.query(copy.to(query)), keep);
    say("out", format, Buffer.concat(parts).toString(format === "binary" ? "hex" : "utf8"));
  }
  await client.query("DELETE FROM items4 WHERE name LIKE 'c%'");
}

async function kinds(client) {
  await client.query("DROP TABLE IF EXISTS kinds4");
  const columns = ["int2", "int4", "int8", "float4", "float8", "numeric", "numeric(10,2)", "text", "varchar(5)", "char(3)", "bool", "date", "time",
    "timestamp", "timestamptz", "uuid", "bytea", "json", "jsonb", "int4[]", "text[]", "numeric[]", "bool[]", "vector(2)"];
  await client.query(`CREATE TABLE kinds4 (id int PRIMARY KEY, ${columns.map((kind, at) => `c${at} ${kind}`).join(", ")})`);
  const values = [-1, 2, "1099511627776", 1.5, -2.5, "12.500", "99.9", "é'\"", "v", "ab", true, "2026-01-02", "03:04:05",
    "2026-01-02 03:04:05.678", new Date("2026-01-02T03:04:05Z"), "6ecd8c99-4036-403d-bf84-cf8400f67836", Buffer.from([0, 255]),
    { a: [1, null] }, JSON.stringify({ b: 1, a: [1, null] }), [1, null, 3], ["x", "y z", null], ["1.50"], [true, null], pgvector.toSql([1, 2])];
  const insert = `INSERT INTO kinds4 VALUES ($1, ${columns.map((_, at) => `$${at + 2}`).join(", ")})`;
  await client.query({ name: "kinds", text: insert, values: [1, ...values] });
  await client.query({ name: "kinds", text: insert, values: [2, ...columns.map(() => null)] });
  for (const binary of [false, true]) {
    const { rows, fields } = await client.query({ text: "SELECT id, c0, c1, c2, c3, c4, c7, c10, c16 FROM kinds4 ORDER BY id", values: [], binary });
    say("binary", binary, rows, fields.map((field) => [field.dataTypeID, field.dataTypeModifier, field.dataTypeSize]));
  }
  say("stored", (await client.query({ text: "SELECT * FROM kinds4 ORDER BY id", rowMode: "array" })).rows);
  for (const [at, kind] of columns.entries()) {
    if (kind !== "json") {
      say("found by", kind, (await client.query({ text: `SELECT id FROM kinds4 WHERE c${at} = $1`, values: [values[at]], rowMode: "array" })).rows);
    }
  }
}

async function transactions(client) {
  await client.query("BEGIN");
  say("deleted", (await client.query("DELETE FROM items4 WHERE id > 1")).rowCount);
  await client.query("ROLLBACK");
  say("after rollback", (await client.query("SELECT count(*) FROM items4")).rows);
  const several = await client.query("SELECT 1 AS a; SELECT 'x' AS b, 2 AS c");
  say("several", several.map((result) => [result.command, result.rows]));
}

async function errors(client) {
  const wrong = [
    ["INSERT INTO items4 (id, name) VALUES (1, 'x')", []], ["INSERT INTO items4 (name) VALUES ($1)", [null]],
    ["SELECT nosuch FROM items4", []], ["SELECT '[1,2]'::vector(3)", []], ["SELECT 1/$1::int", [0]], ["SELEC", []],
  ];
  for (const [text, values] of wrong) {
    try {
      await client.query(text, values);
    } catch (error) {
      say("error", error.code, error.severity, error.message, error.constraint ?? "", error.position ?? "");
    }
  }
}

async function main() {
  const client = new Client({ connectionString: process.argv[2] });
  await client.connect();
  await client.query("SET client_min_messages = warning");
  await client.query("CREATE EXTENSION IF NOT EXISTS vector");
  await pgvector.registerTypes(client);
  await client.query("DROP TABLE IF EXISTS items4");
  const created = await client.query(
    "CREATE TABLE items4 (id bigserial PRIMARY KEY, name text NOT NULL, price float8, embedding vector(3))");
  say("created", created.command);
  for (let number = 0; number < 4; number++) {
    const { rows } = await client.query("INSERT INTO items4 (name, price, embedding) VALUES ($1, $2, $3) RETURNING id",
      [`n${number}`, number / 2, pgvector.toSql([number, 1, -number])]);
    say("inserted", rows);
  }
  await search(client);
  await copies(client);
  await kinds(client);
  await transactions(client);
  await errors(client);
  for (const expression of TYPES) {
    const { rows, fields } = await client.query({ text: `SELECT ${expression} AS v`, values: [] });
    say("type", expression, fields[0].dataTypeID, rows[0].v);
  }
  const arrays = await client.query({ text: "SELECT id, name FROM items4 ORDER BY id LIMIT 1", rowMode: "array" });
  say("rows as arrays", arrays.rows);
  await client.end();
  const pool = new Pool({ connectionString: process.argv[2], max: 2 });
  const answers = await Promise.all([1, 2, 3, 4].map((number) => pool.query("SELECT $1::int + 1 AS n", [number])));
  say("pool", answers.map((answer) => answer.rows[0].n));
  await pool.end();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
