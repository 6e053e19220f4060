//! PostgreSQL's json parser: the same grammar, the same words for what is wrong, a bound on nesting.

use super::Value;
use crate::error::{ErrorKind, SqlError};

/// The deepest nesting that is read.
const MAX_DEPTH: usize = 300;
/// PostgreSQL's bounds on numeric's digits before and behind the point.
const MAX_WHOLE_DIGITS: i64 = 131_072;
const MAX_FRACTION_DIGITS: i64 = 16_383;

/// Reads one value. Without `decode` strings are only checked as far as json's input checks them.
pub(super) fn parse(text: &str, decode: bool) -> Result<Value, SqlError> {
    let mut parser = Parser { text, at: 0, token: 0, decode };
    let value = parser.value(0, "JSON value")?;
    match parser.peek() {
        None => Ok(value),
        Some(_) => Err(parser.unexpected("end of input")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// Where the token under way began.
    token: usize,
    decode: bool,
}

impl Parser<'_> {
    fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The first byte of the next token.
    fn peek(&mut self) -> Option<u8> {
        while matches!(self.bytes().get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.token = self.at;
        self.bytes().get(self.at).copied()
    }

    fn value(&mut self, depth: usize, expected: &str) -> Result<Value, SqlError> {
        if depth > MAX_DEPTH {
            return Err(SqlError::new(ErrorKind::StatementTooComplex, "stack depth limit exceeded"));
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'}' | b']' | b',' | b':') | None => Err(self.unexpected(expected)),
            Some(_) => self.word(),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, SqlError> {
        self.at += 1;
        let mut elements = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(elements));
        }
        let mut expected = "array element or \"]\"";
        loop {
            elements.push(self.value(depth + 1, expected)?);
            expected = "JSON value";
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.unexpected("\",\" or \"]\"")),
            }
        }
        self.at += 1;
        Ok(Value::Array(elements))
    }

    fn object(&mut self, depth: usize) -> Result<Value, SqlError> {
        self.at += 1;
        let mut pairs: Vec<(String, Value)> = Vec::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(pairs));
        }
        let mut expected = "string or \"}\"";
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.unexpected(expected));
            }
            expected = "string";
            let name = self.string()?;
            if self.peek() != Some(b':') {
                return Err(self.unexpected("\":\""));
            }
            self.at += 1;
            pairs.push((name, self.value(depth + 1, "JSON value")?));
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.unexpected("\",\" or \"}\"")),
            }
        }
        self.at += 1;
        if self.decode {
            // The sort is stable, so the last of equal names is the one that was written last.
            pairs.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
            let mut unique: Vec<(String, Value)> = Vec::with_capacity(pairs.len());
            for pair in pairs {
                match unique.last_mut() {
                    Some(last) if last.0 == pair.0 => *last = pair,
                    _ => unique.push(pair),
                }
            }
            pairs = unique;
        }
        Ok(Value::Object(pairs))
    }

    fn word(&mut self) -> Result<Value, SqlError> {
        self.skip_word();
        match &self.text[self.token..self.at] {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "null" => Ok(Value::Null),
            _ => Err(self.invalid_token()),
        }
    }

    /// Letters, digits, underscores and everything beyond ASCII; one character when it is none of them.
    fn skip_word(&mut self) {
        let rest = &self.text[self.at..];
        let length = rest.find(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_');
        let one = rest.chars().next().map_or(0, char::len_utf8);
        self.at += length.unwrap_or(rest.len()).max(if self.at == self.token { one } else { 0 });
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.bytes().get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Value, SqlError> {
        let start = self.at;
        self.at += usize::from(self.bytes()[self.at] == b'-');
        let first = self.at;
        let whole = self.digits();
        let mut valid = whole > 0 && (whole == 1 || self.bytes()[first] != b'0');
        let mut fraction = (self.at, self.at);
        if valid && self.bytes().get(self.at) == Some(&b'.') {
            self.at += 1;
            fraction = (self.at, self.at + self.digits());
            valid = fraction.0 < fraction.1;
        }
        let mut exponent = 0_i64;
        if valid && matches!(self.bytes().get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            let from = self.at;
            self.at += usize::from(matches!(self.bytes().get(self.at), Some(b'+' | b'-')));
            valid = self.digits() > 0;
            exponent = self.text[from..self.at].parse().unwrap_or(i64::MAX);
        }
        let junk =
            self.bytes().get(self.at).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_' || *b > 127);
        if !valid || junk {
            self.skip_word();
            return Err(self.invalid_token());
        }
        if !self.decode {
            return Ok(Value::Number(String::new()));
        }
        let negative = self.bytes()[start] == b'-';
        let whole = &self.text[first..first + whole];
        numeric_text(negative, whole, &self.text[fraction.0..fraction.1], exponent).map(Value::Number)
    }

    fn string(&mut self) -> Result<String, SqlError> {
        self.token = self.at;
        self.at += 1;
        let mut out = String::new();
        let mut high: Option<u32> = None;
        loop {
            let Some(character) = self.text[self.at..].chars().next() else {
                return Err(self.invalid_token());
            };
            let escaped_unicode = self.text[self.at..].starts_with("\\u");
            if high.is_some() && !escaped_unicode {
                return Err(self.surrogate("low", "high"));
            }
            self.at += character.len_utf8();
            match character {
                '"' => return Ok(out),
                '\\' => self.escape(&mut out, &mut high)?,
                control if control < ' ' => {
                    self.at -= 1;
                    let detail =
                        format!("Character with value 0x{:02x} must be escaped.", u32::from(control));
                    return Err(self.wrong(&detail));
                }
                other if self.decode => out.push(other),
                _ => {}
            }
        }
    }

    fn escape(&mut self, out: &mut String, high: &mut Option<u32>) -> Result<(), SqlError> {
        let Some(character) = self.text[self.at..].chars().next() else { return Err(self.invalid_token()) };
        self.at += character.len_utf8();
        out.push(match character {
            '"' | '\\' | '/' => character,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode(out, high),
            other => return Err(self.wrong(&format!("Escape sequence \"\\{other}\" is invalid."))),
        });
        Ok(())
    }

    fn unicode(&mut self, out: &mut String, high: &mut Option<u32>) -> Result<(), SqlError> {
        let mut code = 0;
        for _ in 0..4 {
            let Some(character) = self.text[self.at..].chars().next() else {
                return Err(self.invalid_token());
            };
            self.at += character.len_utf8();
            let Some(digit) = character.to_digit(16) else {
                return Err(self.wrong("\"\\u\" must be followed by four hexadecimal digits."));
            };
            code = code * 16 + digit;
        }
        if !self.decode {
            return Ok(());
        }
        match (code, high.take()) {
            (0, _) => {
                let message = "unsupported Unicode escape sequence";
                let error = SqlError::new(ErrorKind::UntranslatableCharacter, message);
                return Err(self.placed(error.with_detail("\\u0000 cannot be converted to text.")));
            }
            (0xd800..=0xdbff, None) => *high = Some(code),
            (0xd800..=0xdbff, Some(_)) => return Err(self.surrogate("high", "not")),
            (0xdc00..=0xdfff, Some(first)) => {
                let joined = 0x1_0000 + ((first & 0x3ff) << 10) + (code & 0x3ff);
                out.extend(char::from_u32(joined));
            }
            (0xdc00..=0xdfff, None) | (_, Some(_)) => return Err(self.surrogate("low", "high")),
            (code, None) => out.extend(char::from_u32(code)),
        }
        Ok(())
    }

    fn surrogate(&self, which: &str, after: &str) -> SqlError {
        self.wrong(&match after {
            "not" => format!("Unicode {which} surrogate must not follow a high surrogate."),
            after => format!("Unicode {which} surrogate must follow a {after} surrogate."),
        })
    }

    fn invalid_token(&self) -> SqlError {
        self.wrong(&format!("Token \"{}\" is invalid.", &self.text[self.token..self.at]))
    }

    /// The error for a token where another was expected.
    fn unexpected(&mut self, expected: &str) -> SqlError {
        match self.peek() {
            None => return self.wrong("The input string ended unexpectedly."),
            Some(b'{' | b'}' | b'[' | b']' | b',' | b':') => self.at += 1,
            // A token that is none comes before the question where it stands.
            Some(b'"') => {
                if let Err(error) = self.string() {
                    return error;
                }
            }
            Some(b'-' | b'0'..=b'9') => {
                if let Err(error) = self.number() {
                    return error;
                }
            }
            Some(_) => {
                if let Err(error) = self.word() {
                    return error;
                }
            }
        }
        let found = &self.text[self.token..self.at];
        self.wrong(&format!("Expected {expected}, but found \"{found}\"."))
    }

    fn wrong(&self, detail: &str) -> SqlError {
        let message = "invalid input syntax for type json";
        self.placed(SqlError::new(ErrorKind::InvalidTextRepresentation, message).with_detail(detail))
    }

    /// Adds the CONTEXT line: the end of the input's line up to here.
    fn placed(&self, mut error: SqlError) -> SqlError {
        let before = &self.text[..self.at];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        let mut from = line_start;
        while self.at - from >= 50 {
            from += self.text[from..].chars().next().map_or(1, char::len_utf8);
        }
        if from - line_start <= 3 {
            from = line_start;
        }
        let prefix = if from > line_start { "..." } else { "" };
        let goes_on = !matches!(self.bytes().get(self.at), None | Some(b'\n' | b'\r'));
        let suffix = if goes_on { "..." } else { "" };
        error.context =
            Some(format!("JSON data, line {line}: {prefix}{}{suffix}", &self.text[from..self.at]));
        error
    }
}

/// The text numeric prints for a number: no exponent, as many digits behind the point as it says.
fn numeric_text(negative: bool, whole: &str, fraction: &str, exponent: i64) -> Result<String, SqlError> {
    let overflow = || SqlError::new(ErrorKind::NumericValueOutOfRange, "value overflows numeric format");
    let digits = format!("{whole}{fraction}");
    let is_zero = digits.bytes().all(|digit| digit == b'0');
    if exponent.unsigned_abs() > 200_000 {
        return Err(overflow());
    }
    let point = whole.len() as i64 + exponent;
    let scale = (fraction.len() as i64 - exponent).max(0);
    if !is_zero && point > MAX_WHOLE_DIGITS || scale > MAX_FRACTION_DIGITS {
        return Err(overflow());
    }
    let mut text = String::new();
    if negative && !is_zero {
        text.push('-');
    }
    let at = |position: i64| usize::try_from(position).ok().and_then(|at| digits.as_bytes().get(at)).copied();
    match (0..point).find(|&place| at(place).is_some_and(|digit| digit != b'0')) {
        Some(first) => (first..point).for_each(|place| text.push(char::from(at(place).unwrap_or(b'0')))),
        None => text.push('0'),
    }
    if scale > 0 {
        text.push('.');
        (point..point + scale).for_each(|place| text.push(char::from(at(place).unwrap_or(b'0'))));
    }
    Ok(text)
}
