//! A scanner of Rust text that is exact about strings, characters and comments and knows nothing else: words and
//! braces with their lines, and from them the lengths of functions.

/// A word or a punctuation character, with its line from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// A function's name, first line and number of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
}

/// The words and punctuation of a source, without comments and literals.
#[must_use]
pub fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut scanner = Scanner { chars: &chars, at: 0, line: 1 };
    let mut tokens = Vec::new();
    while scanner.at < chars.len() {
        if let Some(token) = scanner.step() {
            tokens.push(token);
        }
    }
    tokens
}

struct Scanner<'a> {
    chars: &'a [char],
    at: usize,
    line: usize,
}

impl Scanner<'_> {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn advance(&mut self) {
        if self.peek(0) == '\n' {
            self.line += 1;
        }
        self.at += 1;
    }

    fn step(&mut self) -> Option<Token> {
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => self.skip_line(),
            ('/', '*') => self.skip_block(),
            ('"', _) => self.skip_string(),
            ('\'', _) => self.skip_quote(),
            (first, _) if first.is_alphanumeric() || first == '_' => return self.word(),
            (first, _) if first.is_whitespace() => self.advance(),
            (first, _) => {
                let token = Token { text: first.to_string(), line: self.line };
                self.advance();
                return Some(token);
            }
        }
        None
    }

    fn skip_line(&mut self) {
        while self.at < self.chars.len() && self.peek(0) != '\n' {
            self.advance();
        }
    }

    fn skip_block(&mut self) {
        let mut depth = 0;
        while self.at < self.chars.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.advance();
                    continue;
                }
            }
            self.advance();
            self.advance();
            if depth == 0 {
                return;
            }
        }
    }

    fn skip_string(&mut self) {
        self.advance();
        while self.at < self.chars.len() && self.peek(0) != '"' {
            if self.peek(0) == '\\' {
                self.advance();
            }
            self.advance();
        }
        self.advance();
    }

    /// A character literal or a lifetime.
    fn skip_quote(&mut self) {
        self.advance();
        if self.peek(0) == '\\' {
            self.advance();
            self.advance();
            while self.at < self.chars.len() && self.peek(0) != '\'' {
                self.advance();
            }
            self.advance();
        } else if self.peek(1) == '\'' {
            self.advance();
            self.advance();
        }
    }

    /// A word; `r"…"`, `b'…'` and their kin are skipped as literals.
    fn word(&mut self) -> Option<Token> {
        let start = self.at;
        let line = self.line;
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
            self.advance();
        }
        let text: String = self.chars[start..self.at].iter().collect();
        match text.as_str() {
            "r" | "br" | "cr" if matches!(self.peek(0), '"' | '#') && self.skip_raw() => return None,
            "b" | "c" if self.peek(0) == '"' => {
                self.skip_string();
                return None;
            }
            "b" if self.peek(0) == '\'' => {
                self.skip_quote();
                return None;
            }
            _ => {}
        }
        Some(Token { text, line })
    }

    /// A raw string after its `r`; false for a raw identifier.
    fn skip_raw(&mut self) -> bool {
        let mut hashes = 0;
        while self.peek(hashes) == '#' {
            hashes += 1;
        }
        if self.peek(hashes) != '"' {
            return false;
        }
        for _ in 0..=hashes {
            self.advance();
        }
        while self.at < self.chars.len() {
            let closes = self.peek(0) == '"' && (1..=hashes).all(|ahead| self.peek(ahead) == '#');
            self.advance();
            if closes {
                for _ in 0..hashes {
                    self.advance();
                }
                break;
            }
        }
        true
    }
}

/// The functions outside `mod tests { … }`, with the lines from `fn` to the closing brace.
#[must_use]
pub fn functions(tokens: &[Token]) -> Vec<Function> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let word = |ahead: usize| tokens.get(at + ahead).map_or("", |token| token.text.as_str());
        if word(0) == "mod" && word(1) == "tests" && word(2) == "{" {
            at = closing(tokens, at + 2);
        } else if word(0) == "fn"
            && word(1).starts_with(|first: char| first.is_alphabetic() || first == '_')
            && let Some(body) = body_start(tokens, at)
        {
            let end = closing(tokens, body);
            let line = tokens[at].line;
            let last = tokens.get(end).map_or(line, |token| token.line);
            found.push(Function { name: word(1).to_owned(), line, lines: last - line + 1 });
        }
        at += 1;
    }
    found
}

/// The opening brace of the function whose `fn` is at `at`; none for a declaration.
fn body_start(tokens: &[Token], at: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (position, token) in tokens.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "(" | "[" => depth += 1,
            ")" | "]" => depth -= 1,
            "{" if depth == 0 => return Some(position),
            ";" if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The position of the brace that closes the one at `open`.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_i32;
    for (position, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return position;
        }
    }
    tokens.len()
}
