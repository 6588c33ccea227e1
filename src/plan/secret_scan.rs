//! Texts that look like secrets. A plan is stored, shown and exported: a secret is never part of it.

use std::sync::LazyLock;

use regex::RegexSet;
use serde_json::Value;

static SECRETS: LazyLock<RegexSet> = LazyLock::new(|| {
    RegexSet::new([
        r"-----BEGIN [A-Z ]*PRIVATE KEY",
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
        r"\bgh[pousr]_[A-Za-z0-9]{30,}",
        r"\bgithub_pat_[A-Za-z0-9_]{30,}",
        r"\bglpat-[A-Za-z0-9_-]{20,}",
        r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
        r"\bhvs\.[A-Za-z0-9_-]{20,}",
        r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.",
        r"\bsk-[A-Za-z0-9_-]{20,}",
        r"(?i)(?:^|[^a-z0-9])(?:password|passwd|api[_-]?key)\s*[=:]\s*\S{6,}",
        r#"(?i)(?:^|[^a-z0-9])(?:secret|token)\s*[=:]\s*[^\s"'{}]{16,}"#,
        r"(?i)\bbearer\s+[A-Za-z0-9._~+/-]{16,}",
        r"://[^/\s:@]+:[^/\s:@]+@",
    ])
    .expect("constant patterns")
});

/// Whether a text looks like it holds a secret.
pub(super) fn in_text(text: &str) -> bool {
    SECRETS.is_match(text)
}

/// Whether any text in a value does.
pub(super) fn in_value(value: &Value) -> bool {
    match value {
        Value::String(text) => in_text(text),
        Value::Array(items) => items.iter().any(in_value),
        Value::Object(map) => map.values().any(in_value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_formats_are_seen_and_plain_words_are_not() {
        for secret in [
            concat!("AKIA", "IOSFODNN7EXAMPLE"),
            concat!("ghp_", "0123456789abcdefghijklmnopqrstuvwxyzAB"),
            concat!("-----BEGIN RSA ", "PRIVATE KEY-----"),
            "postgres://ada:hunter2@db/x",
            "DB_PASSWORD=hunter22",
            "Authorization: Bearer abcdefghijklmnop1234",
        ] {
            assert!(in_text(secret), "{secret}");
        }
        for plain in [
            "scale checkout to 4",
            "rotate the secret of checkout",
            "deployment/token-service",
            "kube_secret_info{secret=\"checkout-tls-certificate\"}",
            "https://git.example/shop.git",
            "0123456789abcdef0123456789abcdef01234567",
        ] {
            assert!(!in_text(plain), "{plain}");
        }
    }
}
