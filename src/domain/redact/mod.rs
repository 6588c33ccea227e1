//! The one redactor: what leaves a supervisor, every log line, audit event, message to people and word that is kept passes
//! through here.
//!
//! In: raw bytes of a command's output, or any text, and the exact values of the secrets that the job was given.
//! Out: the same text with every secret replaced by `***`. Always holds: the output does not depend on how the input was
//! cut into chunks; structure (JSON quotes, YAML keys, line ends) survives, so that redacted output still parses; digests,
//! commit ids and uuids are left alone. Deliberately not here: knowledge of where the text goes.

mod exact;
mod kubernetes;
mod patterns;
mod pem;

use std::sync::Arc;

use serde_json::Value;

use super::SecretRef;
use kubernetes::SecretManifests;
use pem::PrivateKeys;

pub use exact::MIN_EXACT_BYTES;

/// What stands in place of a secret.
pub const MASK: &str = "***";

/// Longest line that is looked at, in bytes; the rest of such a line is dropped.
const MAX_LINE_BYTES: usize = 1 << 20;

/// How much of the end of an over-long line is dropped as well, so that no half of a secret survives the cut.
const CUT_MARGIN_BYTES: usize = 16 << 10;

/// Replaces secrets by `***`. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    exact: Option<Arc<exact::ExactValues>>,
}

impl Redactor {
    /// Knows the patterns only.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Knows the patterns and these exact values too (also as base64, JSON-escaped and percent-encoded).
    ///
    /// Values shorter than [`MIN_EXACT_BYTES`] are not searched for: they would tear ordinary text.
    #[must_use]
    pub fn with_values<I: IntoIterator<Item = S>, S: AsRef<str>>(values: I) -> Self {
        Self {
            exact: exact::ExactValues::new(values).map(Arc::new),
        }
    }

    /// The values worth hiding in the contents of a secret file: a lone token, the values of `key: value` and
    /// `key=value` lines, the lines of a key.
    #[must_use]
    pub fn values_of_file(contents: &[u8]) -> Vec<String> {
        exact::values_of_file(contents)
    }

    /// Whether a variable or key of this name holds a secret, judged by the name alone.
    #[must_use]
    pub fn is_sensitive_name(name: &str) -> bool {
        patterns::is_sensitive_name(name)
    }

    /// Redacts a whole text.
    #[must_use]
    pub fn redact_text(&self, text: &str) -> String {
        if self.exact.is_none() && patterns::is_plain_word(text) {
            return text.to_owned();
        }
        let mut stream = self.stream();
        let mut out = stream.push(text.as_bytes());
        out.push_str(&stream.finish());
        out
    }

    /// Redacts every text of a JSON value. A text under a name that holds a secret goes as a whole, unless it only says where
    /// the secret is (`vault:…`).
    #[must_use]
    pub fn redact_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.redact_text(text)),
            Value::Array(items) => items.iter().map(|item| self.redact_value(item)).collect(),
            Value::Object(map) => map
                .iter()
                .map(|(name, value)| (self.redact_text(name), self.redact_named(name, value)))
                .collect(),
            other => other.clone(),
        }
    }

    fn redact_named(&self, name: &str, value: &Value) -> Value {
        match value {
            Value::String(text)
                if !text.is_empty()
                    && patterns::is_sensitive_name(name)
                    && text.parse::<SecretRef>().is_err() =>
            {
                Value::String(MASK.to_owned())
            }
            value => self.redact_value(value),
        }
    }

    /// Starts a stream; bytes that are not UTF-8 come out as U+FFFD.
    #[must_use]
    pub fn stream(&self) -> Stream {
        Stream {
            redactor: self.clone(),
            ..Stream::default()
        }
    }
}

/// A redaction in progress. Text comes out line by line, some lines late (until the kind of a manifest is known).
#[derive(Debug, Default)]
pub struct Stream {
    redactor: Redactor,
    line: Vec<u8>,
    too_long: bool,
    keys: PrivateKeys,
    manifests: SecretManifests,
}

impl Stream {
    /// Takes any piece of the input and returns what is certain by now.
    #[must_use]
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let mut out = String::new();
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let ends = piece.ends_with(b"\n");
            let body = &piece[..piece.len() - usize::from(ends)];
            let room = MAX_LINE_BYTES - self.line.len();
            self.too_long |= body.len() > room;
            self.line.extend_from_slice(&body[..body.len().min(room)]);
            if ends {
                self.end_line(true, &mut out);
            }
        }
        out
    }

    /// Ends the input and returns the rest.
    #[must_use]
    pub fn finish(mut self) -> String {
        let mut out = String::new();
        if !self.line.is_empty() {
            self.end_line(false, &mut out);
        }
        self.manifests.finish(&mut out);
        out
    }

    fn end_line(&mut self, newline: bool, out: &mut String) {
        let bytes = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&bytes);
        let line = match &self.redactor.exact {
            Some(exact) => exact.redact(&line),
            None => line.into_owned(),
        };
        let Some(line) = self.keys.redact(&line) else {
            self.too_long = false;
            return;
        };
        let mut line = patterns::redact(&line);
        if std::mem::take(&mut self.too_long) {
            line.truncate(line.floor_char_boundary(line.len().saturating_sub(CUT_MARGIN_BYTES)));
            line.push_str(MASK);
        }
        if newline {
            line.push('\n');
        }
        self.manifests.push(line, out);
    }
}

#[cfg(test)]
mod tests;
