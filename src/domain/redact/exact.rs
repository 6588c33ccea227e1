//! Exact values of the secrets that a job was given, in the spellings in which a tool may print them.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use regex::Regex;

use super::{MASK, patterns};

/// Shortest value that is searched for, in bytes.
pub const MIN_EXACT_BYTES: usize = 6;

/// A literal search for many values at once.
#[derive(Debug)]
pub(super) struct ExactValues(Regex);

impl ExactValues {
    pub(super) fn new<I: IntoIterator<Item = S>, S: AsRef<str>>(values: I) -> Option<Self> {
        let mut all = BTreeSet::new();
        for value in values {
            // Output is searched line by line, so a value of many lines is searched for as its lines.
            for line in value.as_ref().lines() {
                all.extend(spellings(line.trim()));
            }
        }
        let mut all: Vec<String> = all.into_iter().filter(|v| v.len() >= MIN_EXACT_BYTES).collect();
        // The longest first: an alternation takes the first that fits.
        all.sort_by_key(|v| std::cmp::Reverse(v.len()));
        if all.is_empty() {
            return None;
        }
        let pattern = all.iter().map(|v| regex::escape(v)).collect::<Vec<_>>().join("|");
        let regex = regex::RegexBuilder::new(&pattern).size_limit(64 << 20).build();
        Some(Self(
            regex.expect("an alternation of escaped literals is a pattern"),
        ))
    }

    pub(super) fn redact(&self, line: &str) -> String {
        self.0.replace_all(line, MASK).into_owned()
    }
}

fn spellings(value: &str) -> Vec<String> {
    if value.len() < MIN_EXACT_BYTES {
        return Vec::new();
    }
    let mut all = vec![value.to_owned()];
    let base64 = STANDARD.encode(value);
    all.push(base64.trim_end_matches('=').to_owned());
    // A tool that encodes `value\n` ends otherwise, but begins alike.
    all.push(
        STANDARD
            .encode(format!("{value}\n"))
            .trim_end_matches('=')
            .to_owned(),
    );
    let json = serde_json::Value::from(value).to_string();
    all.push(json[1..json.len() - 1].to_owned());
    all.push(url::form_urlencoded::byte_serialize(value.as_bytes()).collect());
    all
}

pub(super) fn values_of_file(contents: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(contents);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    if let [only] = lines.as_slice()
        && !only.starts_with('{')
    {
        let mut values = vec![(*only).to_owned()];
        values.extend(value_of_line(only));
        return values;
    }
    let mut values = json_values(&text);
    for line in &lines {
        values.extend(value_of_line(line));
        let lone = !line.contains(char::is_whitespace) && !line.starts_with("-----");
        if lone && line.len() >= 16 && !line.contains(['{', '}']) {
            values.push((*line).to_owned());
        }
    }
    values
}

/// The value of `key: value` or `key=value`, when the name or the look of the value says that it is secret.
fn value_of_line(line: &str) -> Option<String> {
    let at = line.find([':', '='])?;
    let (key, value) = (&line[..at], &line[at + 1..]);
    let key = key.trim().trim_start_matches("- ").trim_matches(['"', '\'']);
    let value = value.trim().trim_end_matches(',').trim_matches(['"', '\'']);
    let secret = patterns::is_sensitive_name(key) || looks_random(value);
    (secret && value.len() >= MIN_EXACT_BYTES).then(|| value.to_owned())
}

fn json_values(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if let Ok(value) = serde_json::from_str(text) {
        collect_json("", &value, &mut found);
    }
    found
}

fn collect_json(key: &str, value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) if patterns::is_sensitive_name(key) || looks_random(text) => {
            found.push(text.clone());
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect_json(key, item, found)),
        serde_json::Value::Object(map) => map.iter().for_each(|(key, item)| collect_json(key, item, found)),
        _ => {}
    }
}

/// Twenty or more characters of a token's alphabet with letters of both cases and a digit: no word, path or address.
fn looks_random(value: &str) -> bool {
    value.len() >= 20
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+/=_-.~".contains(&b))
        && value.bytes().any(|b| b.is_ascii_digit())
        && value.bytes().any(|b| b.is_ascii_uppercase())
        && value.bytes().any(|b| b.is_ascii_lowercase())
}
