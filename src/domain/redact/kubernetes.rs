//! The values of `data` and `stringData` in Kubernetes Secrets, as YAML or JSON, spread over lines or in one.
//!
//! In `kubectl` output the keys are sorted, so `data` comes before `kind`: the lines of a block are held until the kind is
//! known, or the object ends. An object without a kind loses what looks like base64.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use regex::{Captures, Regex};

use super::MASK;

/// Most bytes that wait for a kind; beyond it the block is taken for a Secret.
const MAX_HELD_BYTES: usize = 1 << 20;

static KIND: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"^[\s-]*"?kind"?\s*:\s*"?(\w+)"?,?\s*$"#).expect("a constant pattern"));
static OPEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"^[\s-]*"?(?:data|stringData)"?\s*:\s*\{?\s*$"#).expect("a constant pattern")
});
static ENTRY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"^(\s*(?:"[^"]+"|'[^']+'|[\w./-]+)\s*:\s*)(\S.*?)(,?\s*)$"#).expect("a constant pattern")
});
static COMPACT_KIND: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"\\*"kind\\*"\s*:\s*\\*"Secret(?:List)?\\*""#).expect("a constant pattern")
});
static COMPACT_DATA: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"((\\*")(?:data|stringData)\\*"\s*:\s*)\{[^{}]+\}"#).expect("a constant pattern")
});
/// `token: |`: the name says that the lines below are secret.
static SCALAR: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"^[\s-]*["']?([\w.-]+)["']?\s*:\s*[|>][+-]?\d?\s*$"#).expect("a constant pattern")
});

/// What is known about the manifest being read.
#[derive(Debug, Default)]
pub(super) struct SecretManifests {
    /// Kinds seen in the objects that enclose the present line: the column of their keys, and whether it is a Secret.
    kinds: Vec<(usize, bool)>,
    block: Option<Block>,
    /// Column of a sensitive key whose value is a block scalar.
    scalar: Option<usize>,
}

#[derive(Debug)]
struct Block {
    column: usize,
    inside: bool,
    secret: bool,
    held: Vec<(String, bool)>,
    held_bytes: usize,
}

impl SecretManifests {
    /// Takes one line with its line end and writes what is certain by now.
    pub(super) fn push(&mut self, line: String, out: &mut String) {
        let line = self.redact_scalar(line);
        if line.trim().is_empty() {
            match &mut self.block {
                Some(block) if !block.secret => block.hold(line),
                _ => out.push_str(&line),
            }
            return;
        }
        let (dash, column) = columns(&line);
        if let Some(mut block) = self.block.take() {
            let ends = line.starts_with("---") || dash < block.column;
            if !ends {
                self.in_block(&mut block, line, column, out);
                if !block.held.is_empty() || block.secret && block.inside {
                    self.block = Some(block);
                }
                return;
            }
            block.flush(None, out);
        }
        self.outside(line, dash, column, out);
    }

    /// Writes what is still held.
    pub(super) fn finish(&mut self, out: &mut String) {
        if let Some(mut block) = self.block.take() {
            block.flush(None, out);
        }
    }

    fn outside(&mut self, line: String, dash: usize, column: usize, out: &mut String) {
        if line.starts_with("---") {
            self.kinds.clear();
        }
        let closes = if dash < column { dash + 1 } else { column + 1 };
        self.kinds.retain(|(at, _)| *at < closes);
        if let Some(kind) = KIND.captures(&line) {
            self.kinds.push((column, &kind[1] == "Secret"));
        } else if OPEN.is_match(&line) {
            let known = self
                .kinds
                .iter()
                .find(|(at, _)| *at == column)
                .map(|(_, secret)| *secret);
            if known != Some(false) {
                let secret = known == Some(true);
                let mut block = Block {
                    column,
                    inside: true,
                    secret,
                    held: Vec::new(),
                    held_bytes: 0,
                };
                if secret {
                    out.push_str(&line);
                } else {
                    block.hold_as(line, false);
                }
                self.block = Some(block);
                return;
            }
        }
        out.push_str(&compact(&line));
    }

    fn in_block(&mut self, block: &mut Block, line: String, column: usize, out: &mut String) {
        if column > block.column {
            if block.secret && block.inside {
                out.push_str(&mask_entry(&line));
            } else if block.secret {
                out.push_str(&compact(&line));
            } else {
                block.hold(line);
            }
        } else if let Some(kind) = KIND.captures(&line) {
            let secret = &kind[1] == "Secret";
            block.flush(Some(secret), out);
            block.inside = false;
            self.kinds.push((column, secret));
            out.push_str(&line);
        } else {
            block.inside = OPEN.is_match(&line);
            if block.secret {
                out.push_str(&line);
            } else {
                block.hold_as(line, false);
            }
        }
        if block.held_bytes > MAX_HELD_BYTES {
            block.flush(Some(true), out);
            block.secret = true;
        }
    }

    fn redact_scalar(&mut self, line: String) -> String {
        let (_, column) = columns(&line);
        if let Some(at) = self.scalar {
            if line.trim().is_empty() {
                return line;
            }
            if column > at {
                return masked_line(&line);
            }
            self.scalar = None;
        }
        if let Some(key) = SCALAR.captures(&line)
            && super::patterns::is_sensitive_name(&key[1])
        {
            self.scalar = Some(column);
        }
        line
    }
}

impl Block {
    fn hold(&mut self, line: String) {
        let inside = self.inside;
        self.hold_as(line, inside);
    }

    fn hold_as(&mut self, line: String, is_entry: bool) {
        self.held_bytes += line.len();
        self.held.push((line, is_entry));
    }

    /// Writes the held lines; without a known kind only what looks like base64 is masked.
    fn flush(&mut self, secret: Option<bool>, out: &mut String) {
        for (line, is_entry) in self.held.drain(..) {
            match (is_entry, secret) {
                (true, Some(true)) => out.push_str(&mask_entry(&line)),
                (true, None) => out.push_str(&mask_base64(&line)),
                _ => out.push_str(&compact(&line)),
            }
        }
        self.held_bytes = 0;
    }
}

/// The column where the line's first dash or key stands, and the column of its key.
fn columns(line: &str) -> (usize, usize) {
    let start = line.len() - line.trim_start_matches(' ').len();
    let mut column = start;
    while line[column..].starts_with("- ") {
        column += 2;
    }
    (start, column)
}

fn mask_entry(line: &str) -> String {
    let Some(parts) = ENTRY.captures(line) else {
        let bare = matches!(line.trim(), "" | "{" | "}" | "},");
        return if bare { line.to_owned() } else { masked_line(line) };
    };
    let value = match &parts[2] {
        empty @ ("\"\"" | "''" | "{}" | "|" | "|-" | "|+" | ">" | ">-") => empty.to_owned(),
        text if text.starts_with('"') => format!("\"{MASK}\""),
        _ => MASK.to_owned(),
    };
    format!("{}{value}{}", &parts[1], &parts[3])
}

fn masked_line(line: &str) -> String {
    let (start, _) = columns(line);
    let end = if line.ends_with('\n') { "\n" } else { "" };
    format!("{}{MASK}{end}", &line[..start])
}

fn mask_base64(line: &str) -> String {
    let secret = ENTRY.captures(line).is_some_and(|parts| {
        let value = parts[2].trim_matches(['"', '\'']);
        value.len() >= 8 && STANDARD.decode(value).is_ok()
    });
    if secret { mask_entry(line) } else { compact(line) }
}

/// A whole Secret in one line of JSON, also when escaped into an annotation.
fn compact(line: &str) -> String {
    if !COMPACT_KIND.is_match(line) {
        return line.to_owned();
    }
    let masked = COMPACT_DATA.replace_all(line, |c: &Captures<'_>| {
        let quote = &c[2];
        format!("{}{{{quote}{MASK}{quote}:{quote}{MASK}{quote}}}", &c[1])
    });
    masked.into_owned()
}
