//! Printed expressions with the parentheses that nobody needs left out, as `pg_get_expr(…, true)` shows them.
//!
//! The full form has every operator in parentheses, so the form of an expression stands in its parentheses and
//! nothing has to be parsed.
//!
//! Invariant: a text that is not of the full form comes back as it is.

/// A part of a printed expression.
#[derive(Debug)]
enum Part<'a> {
    /// Words, operators, literals; also the parentheses of calls, with what is in them.
    Text(&'a str),
    Call(Vec<Part<'a>>),
    Group(Vec<Part<'a>>),
}

/// What a group is, as far as parentheses go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Operands of +, - and the like.
    Sum,
    /// Operands of *, / or %.
    Product,
    Operator,
    And,
    Or,
    Not,
    Test,
    /// `= ANY (…)`.
    Quantified,
    /// One value.
    Simple,
}

/// The text with only the parentheses that PostgreSQL's short form has.
pub(super) fn pretty(text: &str) -> String {
    let Some(parts) = Reader::read(text) else { return text.to_owned() };
    let mut out = String::with_capacity(text.len());
    match parts.as_slice() {
        [Part::Group(inner)] => put_all(inner, form(inner), &mut out),
        parts => put_all(parts, Form::Simple, &mut out),
    }
    out
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn read(text: &'a str) -> Option<Vec<Part<'a>>> {
        let mut reader = Self { text, at: 0 };
        let parts = reader.parts()?;
        (reader.at == text.len()).then_some(parts)
    }

    /// Up to a closing parenthesis or the end.
    fn parts(&mut self) -> Option<Vec<Part<'a>>> {
        let bytes = self.text.as_bytes();
        let mut parts = Vec::new();
        let mut start = self.at;
        while let Some(&byte) = bytes.get(self.at) {
            match byte {
                b'\'' | b'"' => self.at = self.end_of_quoted(byte)?,
                b'(' => {
                    if start < self.at {
                        parts.push(Part::Text(&self.text[start..self.at]));
                    }
                    let is_call =
                        self.text[..self.at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"');
                    self.at += 1;
                    let inner = self.parts()?;
                    if bytes.get(self.at) != Some(&b')') {
                        return None;
                    }
                    self.at += 1;
                    parts.push(if is_call { Part::Call(inner) } else { Part::Group(inner) });
                    start = self.at;
                    continue;
                }
                b')' => break,
                _ => self.at += 1,
            }
        }
        if start < self.at {
            parts.push(Part::Text(&self.text[start..self.at]));
        }
        Some(parts)
    }

    /// Past a quoted text; a doubled quote opens the next one at once.
    fn end_of_quoted(&self, quote: u8) -> Option<usize> {
        let rest = &self.text.as_bytes()[self.at + 1..];
        rest.iter().position(|&byte| byte == quote).map(|length| self.at + length + 2)
    }
}

/// The words of a group's own level.
fn words<'a>(parts: &'a [Part<'a>]) -> impl Iterator<Item = &'a str> {
    parts
        .iter()
        .filter_map(|part| if let Part::Text(text) = part { Some(*text) } else { None })
        .flat_map(unquoted)
}

/// The words of a text outside quotes.
fn unquoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('\'').step_by(2).flat_map(str::split_whitespace)
}

fn form(parts: &[Part<'_>]) -> Form {
    let own: Vec<&str> = words(parts).collect();
    let has = |word: &str| own.contains(&word);
    if has("AND") {
        return Form::And;
    }
    if has("OR") {
        return Form::Or;
    }
    if own.first() == Some(&"NOT") {
        return Form::Not;
    }
    if has("IS") {
        return Form::Test;
    }
    if has("ANY") || has("ALL") {
        return Form::Quantified;
    }
    let operator = own.iter().find(|word| word.chars().all(|c| "+-*/<>=~!@#%^&|`?".contains(c)));
    match operator.copied() {
        Some("+" | "-") => Form::Sum,
        Some("*" | "/" | "%") => Form::Product,
        Some(_) => Form::Operator,
        None => Form::Simple,
    }
}

/// Whether a part needs no parentheses inside another; `leftmost` when nothing stands before it.
fn is_simple(inner: Form, outer: Form, leftmost: bool) -> bool {
    match (inner, outer) {
        (Form::Simple, _) => true,
        (
            Form::Sum | Form::Product | Form::Operator | Form::Test | Form::Not,
            Form::And | Form::Or | Form::Not,
        )
        | (Form::And, Form::And | Form::Or)
        | (Form::Or, Form::Or)
        | (Form::Product, Form::Sum) => true,
        (Form::Sum, Form::Sum) | (Form::Product, Form::Product) => leftmost,
        _ => false,
    }
}

fn put_all(parts: &[Part<'_>], outer: Form, out: &mut String) {
    for (position, part) in parts.iter().enumerate() {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Call(inner) => {
                out.push('(');
                put_arguments(inner, out);
                out.push(')');
            }
            Part::Group(inner) => {
                let own = form(inner);
                let is_cast =
                    matches!(parts.get(position + 1), Some(Part::Text(next)) if next.starts_with("::"));
                let quantified = outer == Form::Quantified && position + 1 == parts.len();
                let keeps = quantified
                    || if is_cast { own != Form::Simple } else { !is_simple(own, outer, position == 0) };
                if keeps {
                    out.push('(');
                }
                put_all(inner, own, out);
                if keeps {
                    out.push(')');
                }
            }
        }
    }
}

/// Arguments of a call need no parentheses around them.
fn put_arguments(parts: &[Part<'_>], out: &mut String) {
    for (position, part) in parts.iter().enumerate() {
        let alone = |text: Option<&Part<'_>>, edge: fn(&str) -> bool| match text {
            None => true,
            Some(Part::Text(text)) => edge(text),
            Some(_) => false,
        };
        let before = position.checked_sub(1).and_then(|before| parts.get(before));
        match part {
            Part::Group(inner)
                if alone(before, |text| text.trim_end().ends_with(','))
                    && alone(parts.get(position + 1), |text| text.starts_with(',')) =>
            {
                put_all(inner, form(inner), out);
            }
            part => put_all(std::slice::from_ref(part), Form::Simple, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::pretty;

    #[test]
    fn only_needed_parentheses_stay() {
        for (full, short) in [
            ("(price >= (0)::numeric)", "price >= 0::numeric"),
            ("((a > 1) AND (b < 2))", "a > 1 AND b < 2"),
            ("((a > 1) AND ((b < 2) OR (c IS NULL)))", "a > 1 AND (b < 2 OR c IS NULL)"),
            ("((a > 1) OR ((b < 2) AND (NOT (c IS NULL))))", "a > 1 OR b < 2 AND NOT c IS NULL"),
            ("(((a + b) + c) > (a - (b - c)))", "(a + b + c) > (a - (b - c))"),
            ("((a + (b * c)) / 2)", "(a + b * c) / 2"),
            (
                "((code = ANY (ARRAY['none'::bpchar, '(a) AND'::bpchar])) OR (code ~~ 'x%'::text))",
                "(code = ANY (ARRAY['none'::bpchar, '(a) AND'::bpchar])) OR code ~~ 'x%'::text",
            ),
            ("(code = ANY (ARRAY[1, 2]))", "code = ANY (ARRAY[1, 2])"),
            (
                "((name)::text = ANY ((ARRAY['a'::text])::text[]))",
                "name::text = ANY (ARRAY['a'::text]::text[])",
            ),
            ("(COALESCE(a, (b * 2), (c)::text) = 1)", "COALESCE(a, b * 2, c::text) = 1"),
            ("(length(btrim((name)::text)) > 0)", "length(btrim(name::text)) > 0"),
            ("((a + 1))::text", "(a + 1)::text"),
            ("nextval('s'::regclass)", "nextval('s'::regclass)"),
            ("broken (", "broken ("),
        ] {
            assert_eq!(pretty(full), short);
        }
    }
}
