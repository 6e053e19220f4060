//! The bytes by which jsonb values compare, in the order of PostgreSQL's btree operators.

use super::{Value, parse};
use crate::key::append_bytes;

/// Appends the key of a jsonb's canonical text; nothing for a text that is none.
pub fn append_key(text: &str, out: &mut Vec<u8>) {
    if let Ok(value) = parse::parse(text, true) {
        // An empty array at the top sorts before everything, as PostgreSQL has it.
        match &value {
            Value::Array(elements) if elements.is_empty() => out.push(0),
            _ => append(&value, out),
        }
    }
}

fn append(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(1),
        Value::Text(text) => {
            out.push(2);
            append_bytes(text.as_bytes(), out);
        }
        Value::Number(text) => {
            out.push(3);
            append_number(text, out);
        }
        Value::Bool(value) => out.extend_from_slice(&[4, u8::from(*value)]),
        Value::Array(elements) => {
            out.push(5);
            out.extend_from_slice(&(elements.len() as u32).to_be_bytes());
            elements.iter().for_each(|element| append(element, out));
        }
        Value::Object(pairs) => {
            out.push(6);
            out.extend_from_slice(&(pairs.len() as u32).to_be_bytes());
            for (name, value) in pairs {
                append_bytes(name.as_bytes(), out);
                append(value, out);
            }
        }
    }
}

/// Sign, place of the first digit, digits without zeros around them; all of it turned over for negative numbers.
fn append_number(text: &str, out: &mut Vec<u8>) {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    let leading = all.len() - all.trim_start_matches('0').len();
    let significant = all.trim_matches('0');
    if significant.is_empty() {
        out.push(0x80);
        return;
    }
    let place = whole.len() as i32 - leading as i32;
    let start = out.len();
    out.push(0x81);
    out.extend_from_slice(&(place ^ i32::MIN).to_be_bytes());
    out.extend_from_slice(significant.as_bytes());
    out.push(0);
    if negative {
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}
