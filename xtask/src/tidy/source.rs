//! A Rust file as the rules look at it: what is code, what is comment or literal, what is test.
//!
//! In: the text of a file. Out: the same lines with comments and the insides of literals blanked, so that line
//! numbers stay and a word in a sentence is not taken for code. A scanner, not a parser: it knows strings (raw,
//! byte and C ones too), characters, lifetimes and nested comments, and nothing else of the language.

/// One Rust file.
pub struct Source {
    /// From the repository's root, with `/`.
    pub path: String,
    pub raw: String,
    /// `raw` with comments and literals blanked, line by line.
    pub code: Vec<String>,
    /// Whether the line belongs to test code.
    pub test: Vec<bool>,
}

impl Source {
    pub fn new(path: &str, raw: &str) -> Self {
        let code: Vec<String> = blank(raw).lines().map(str::to_owned).collect();
        let whole_file =
            path.starts_with("tests/") || path.ends_with("/tests.rs") || path.contains("/tests/");
        let test = if whole_file {
            vec![true; code.len()]
        } else {
            test_lines(&code)
        };
        Self {
            path: path.to_owned(),
            raw: raw.to_owned(),
            code,
            test,
        }
    }

    /// Line numbers (from 1) and text of the code that ships.
    pub fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.code.iter().zip(&self.test).enumerate();
        lines
            .filter(|(_, (_, test))| !**test)
            .map(|(index, (line, _))| (index + 1, line.as_str()))
    }
}

/// Whether `text` holds `word` with no letter, digit or `_` right before or after it.
pub fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn blank(raw: &str) -> String {
    let mut scanner = Scanner {
        rest: raw,
        out: String::with_capacity(raw.len()),
        previous: ' ',
    };
    while !scanner.rest.is_empty() {
        scanner.next();
    }
    scanner.out
}

struct Scanner<'a> {
    rest: &'a str,
    out: String,
    /// The last character of code, to tell the `r` of a raw string from the end of a name.
    previous: char,
}

impl Scanner<'_> {
    fn next(&mut self) {
        let rest = self.rest;
        if rest.starts_with("//") {
            return self.blank(rest.find('\n').unwrap_or(rest.len()));
        }
        if rest.starts_with("/*") {
            return self.blank(comment_length(rest));
        }
        if let Some(length) = raw_string_length(rest).filter(|_| !is_word(self.previous)) {
            return self.blank(length);
        }
        if rest.starts_with('"') {
            return self.blank(quoted_length(rest, '"'));
        }
        if let Some(length) = character_length(rest) {
            return self.blank(length);
        }
        let first = rest.chars().next().unwrap_or(' ');
        self.out.push(first);
        self.previous = first;
        self.rest = &rest[first.len_utf8()..];
    }

    fn blank(&mut self, length: usize) {
        let (gone, rest) = self.rest.split_at(length);
        self.out
            .extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        self.previous = ' ';
        self.rest = rest;
    }
}

fn comment_length(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// `r"…"`, `br#"…"#`, `cr"…"`; none when the text does not begin with one.
fn raw_string_length(text: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| {
        text.strip_prefix(prefix)
            .is_some_and(|rest| rest.trim_start_matches('#').starts_with('"'))
    })?;
    let rest = &text[prefix.len()..];
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let end = format!("\"{}", "#".repeat(hashes));
    let body = prefix.len() + hashes + 1;
    Some(
        text[body..]
            .find(&end)
            .map_or(text.len(), |at| body + at + end.len()),
    )
}

fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// `'x'` or `'\n'`, not the lifetime `'a`.
fn character_length(text: &str) -> Option<usize> {
    let mut rest = text.strip_prefix('\'')?.chars();
    match rest.next()? {
        '\\' => Some(quoted_length(text, '\'')),
        first => (rest.next() == Some('\'')).then(|| 2 + first.len_utf8()),
    }
}

/// Marks each `#[cfg(test)]` item, from the attribute to the end of its braces (or its `;`).
fn test_lines(code: &[String]) -> Vec<bool> {
    let mut test = vec![false; code.len()];
    let mut index = 0;
    while index < code.len() {
        if !code[index].trim_start().starts_with("#[cfg(test)]") {
            index += 1;
            continue;
        }
        let end = item_end(code, index);
        test[index..=end].fill(true);
        index = end + 1;
    }
    test
}

fn item_end(code: &[String], start: usize) -> usize {
    let mut depth = 0usize;
    for (index, line) in code.iter().enumerate().skip(start) {
        for c in line.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 1 => return index,
                '}' => depth = depth.saturating_sub(1),
                ';' if depth == 0 => return index,
                _ => {}
            }
        }
    }
    code.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_stay() {
        let text = "a // todo!\n\"sqlx \\\" x\" b /* c /* d */\n e */ f r#\"g\"h\"# i 'j' k<'l> '\\'' m";
        let code = blank(text);
        assert_eq!(code.lines().count(), 3);
        let words: Vec<&str> = code.split_whitespace().collect();
        assert_eq!(words, ["a", "b", "f", "i", "k<'l>", "m"]);
    }

    #[test]
    fn a_name_that_ends_in_r_does_not_begin_a_raw_string() {
        assert_eq!(blank("expr\"x\" y").trim_end(), "expr    y");
    }

    #[test]
    fn test_modules_are_known_and_what_follows_them_ships() {
        let source = Source::new(
            "src/a.rs",
            "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n",
        );
        let shipped: Vec<usize> = source.shipped().map(|(line, _)| line).collect();
        assert_eq!(shipped, [1, 6]);
        assert!(Source::new("tests/it/main.rs", "fn a() {}").test[0]);
        assert!(Source::new("src/plan/tests.rs", "fn a() {}").test[0]);
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("use sqlx::query;", "sqlx"));
        assert!(!has_word("use my_sqlx::query;", "sqlx"));
        assert!(!has_word("sqlxx", "sqlx"));
    }
}
