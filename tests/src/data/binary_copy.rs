//! The prepared bytes of COPY: what a native loader has in a file before the clock starts.

use super::{DIMENSIONS, Passages};

/// The table that passages go into.
pub const CREATE_PASSAGES: &str = "CREATE TABLE passages (id int8 PRIMARY KEY, source text NOT NULL, path text, \
                                   words int4 NOT NULL, text text, embedding vector(384))";

/// Signature, flags and an empty header extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

fn put(out: &mut Vec<u8>, field: &[u8]) {
    out.extend_from_slice(&(field.len() as i32).to_be_bytes());
    out.extend_from_slice(field);
}

fn put_vector(out: &mut Vec<u8>, vector: &[f32]) {
    out.extend_from_slice(&(4 + 4 * vector.len() as i32).to_be_bytes());
    out.extend_from_slice(&(vector.len() as i16).to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    for value in vector {
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Passages in COPY's binary form.
#[must_use]
pub fn passages_binary(passages: &Passages) -> Vec<u8> {
    let mut out = Vec::with_capacity(passages.len() * (DIMENSIONS * 4 + 300));
    out.extend_from_slice(HEADER);
    for row in 0..passages.len() {
        out.extend_from_slice(&6_i16.to_be_bytes());
        put(&mut out, &passages.ids[row].to_be_bytes());
        put(&mut out, passages.sources[row].as_bytes());
        put(&mut out, passages.paths[row].as_bytes());
        put(&mut out, &passages.words[row].to_be_bytes());
        put(&mut out, passages.texts[row].as_bytes());
        put_vector(&mut out, passages.embedding(row));
    }
    out.extend_from_slice(&(-1_i16).to_be_bytes());
    out
}

/// Passages as csv.
#[must_use]
pub fn passages_csv(passages: &Passages) -> Vec<u8> {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut out = Vec::new();
    for row in 0..passages.len() {
        let vector: Vec<String> = passages.embedding(row).iter().map(ToString::to_string).collect();
        let line = format!(
            "{},{},{},{},{},\"[{}]\"\n",
            passages.ids[row],
            quoted(&passages.sources[row]),
            quoted(&passages.paths[row]),
            passages.words[row],
            quoted(&passages.texts[row]),
            vector.join(",")
        );
        out.extend_from_slice(line.as_bytes());
    }
    out
}

/// Rows `(id int8, label int2, embedding vector(dimensions))`, ids from 1, in COPY's binary form.
#[must_use]
pub fn labelled_binary(labels: &[i16], vectors: &[f32], dimensions: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(labels.len() * (dimensions * 4 + 36));
    out.extend_from_slice(HEADER);
    for ((id, label), vector) in (1_i64..).zip(labels).zip(vectors.chunks_exact(dimensions)) {
        out.extend_from_slice(&3_i16.to_be_bytes());
        put(&mut out, &id.to_be_bytes());
        put(&mut out, &label.to_be_bytes());
        put_vector(&mut out, vector);
    }
    out.extend_from_slice(&(-1_i16).to_be_bytes());
    out
}

/// Rows `(id int8, n int4)`, ids from 0, in COPY's binary form.
#[must_use]
pub fn numbers_binary(rows: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows * 22 + HEADER.len() + 2);
    out.extend_from_slice(HEADER);
    for row in 0..rows {
        out.extend_from_slice(&2_i16.to_be_bytes());
        put(&mut out, &(row as i64).to_be_bytes());
        put(&mut out, &((row % 1_000) as i32).to_be_bytes());
    }
    out.extend_from_slice(&(-1_i16).to_be_bytes());
    out
}

/// Rows `(id int8, v vector(dimensions))` in COPY's binary form.
#[must_use]
pub fn vectors_binary(rows: usize, dimensions: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows * (dimensions * 4 + 30));
    out.extend_from_slice(HEADER);
    let mut vector = vec![0.0_f32; dimensions];
    for row in 0..rows {
        for (position, value) in vector.iter_mut().enumerate() {
            *value = ((row * 31 + position * position * 7) % 1_009) as f32 / 1_009.0;
        }
        out.extend_from_slice(&2_i16.to_be_bytes());
        put(&mut out, &(row as i64).to_be_bytes());
        put_vector(&mut out, &vector);
    }
    out.extend_from_slice(&(-1_i16).to_be_bytes());
    out
}
