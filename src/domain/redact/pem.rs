//! Private keys in PEM, over many lines or escaped into one.

use std::sync::LazyLock;

use regex::Regex;

use super::MASK;

/// Whether a private key's lines are being swallowed.
#[derive(Debug, Default)]
pub(super) struct PrivateKeys {
    inside: bool,
}

static WHOLE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----",
    )
    .expect("a constant pattern")
});
static BEGIN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----[A-Za-z0-9+/=\\\s]*")
        .expect("a constant pattern")
});
static END: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^.*?-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----").expect("a constant pattern")
});
/// A line inside of a key, with what a YAML block, a diff or a log prefix may put before it.
static BODY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^[\s+>|-]*(?:[A-Za-z0-9+/=]*|[A-Za-z-]+: .*|\*{3}.*)\s*$").expect("a constant pattern")
});

impl PrivateKeys {
    /// The line without private keys, or `None` when all of it is part of one.
    pub(super) fn redact(&mut self, line: &str) -> Option<String> {
        if self.inside {
            if let Some(end) = END.find(line) {
                self.inside = false;
                let rest = &line[end.end()..];
                return if rest.trim().is_empty() {
                    None
                } else {
                    self.redact(rest)
                };
            }
            if BODY.is_match(line) {
                return None;
            }
            // Never ended: what follows is ordinary text again.
            self.inside = false;
        }
        if !line.contains("PRIVATE KEY") {
            return Some(line.to_owned());
        }
        let line = WHOLE.replace_all(line, MASK);
        let Some(begin) = BEGIN.find(&line) else {
            return Some(line.into_owned());
        };
        self.inside = begin.end() == line.len();
        Some(format!(
            "{}{MASK}{}",
            &line[..begin.start()],
            &line[begin.end()..]
        ))
    }
}
