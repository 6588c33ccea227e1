//! The closed list of texts that an argument may be. None can begin with a dash, hold a control character or name a secret.

use chrono::DateTime;

use super::format::Pattern;

impl Pattern {
    /// What a good text looks like, for error messages.
    pub(crate) const fn expectation(self) -> &'static str {
        match self {
            Self::Name => "a name of a-z, 0-9, `-`, `_` and `.`",
            Self::Commit => "a full object id of 40 or 64 hexadecimal digits",
            Self::Revision => "a full object id, or HEAD",
            Self::Ref => "a branch or tag name",
            Self::Path => "a relative path without `..`",
            Self::Selector => "`key=value` or `key!=value`, separated by commas",
            Self::Promql => "a PromQL expression of at most 4096 printable characters",
            Self::Duration => "a duration such as `30s`, `5m` or `1h`",
            Self::Rfc3339 => "an RFC 3339 time",
        }
    }

    /// Whether `text` is of this kind.
    pub(crate) fn accepts(self, text: &str) -> bool {
        if text.is_empty() || text.starts_with('-') || text.chars().any(char::is_control) {
            return false;
        }
        match self {
            Self::Name => is_name(text),
            Self::Commit => is_commit(text),
            Self::Revision => text == "HEAD" || is_commit(text),
            Self::Ref => is_ref(text),
            Self::Path => is_path(text),
            Self::Selector => is_selector(text),
            Self::Promql => text.len() <= 4096,
            Self::Duration => is_duration(text),
            Self::Rfc3339 => DateTime::parse_from_rfc3339(text).is_ok(),
        }
    }
}

/// At most 253 of `a-z 0-9 - _ .`, with a letter or digit at both ends.
pub(crate) fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(b);
    bytes.len() <= 253 && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(inner)
}

pub(crate) fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64)
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A subset of git's own rule: no `..`, `@{`, `//`, no part that begins with `.` or `-`, or ends with `.lock`.
pub(crate) fn is_ref(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./+#=".contains(&b);
    let part =
        |p: &str| !p.is_empty() && !p.starts_with(['.', '-']) && !p.ends_with('.') && !p.ends_with(".lock");
    text.len() <= 200 && text.bytes().all(plain) && !text.contains("..") && text.split('/').all(part)
}

/// Relative, no empty, `.`-only or `..` part, and nothing that git reads as a magic path.
pub(crate) fn is_path(text: &str) -> bool {
    let part = |p: &str| !p.is_empty() && p != "." && p != "..";
    text.len() <= 300
        && !text.starts_with(['/', ':', '-'])
        && !text.contains(['\\', '*', '?', '[', '"'])
        && text.split('/').all(part)
}

fn is_selector(text: &str) -> bool {
    let word = |w: &str| {
        !w.is_empty()
            && w.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
            && !w.starts_with('-')
    };
    let term = |t: &str| {
        let (key, value) = t
            .split_once("!=")
            .or_else(|| t.split_once('='))
            .unwrap_or((t, "x"));
        word(key) && word(value)
    };
    text.len() <= 300 && text.split(',').all(term)
}

fn is_duration(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (1..=9).contains(&digits) && matches!(&text[digits..], "ms" | "s" | "m" | "h" | "d")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Pattern; 9] = [
        Pattern::Name,
        Pattern::Commit,
        Pattern::Revision,
        Pattern::Ref,
        Pattern::Path,
        Pattern::Selector,
        Pattern::Promql,
        Pattern::Duration,
        Pattern::Rfc3339,
    ];

    #[test]
    fn good_texts_are_accepted() {
        for (pattern, text) in [
            (Pattern::Name, "checkout-7"),
            (Pattern::Commit, "0123456789abcdef0123456789abcdef01234567"),
            (Pattern::Revision, "HEAD"),
            (Pattern::Ref, "release/2026.1"),
            (Pattern::Path, "deploy/prod/checkout.yaml"),
            (Pattern::Selector, "app=checkout,tier!=db"),
            (Pattern::Promql, r#"sum(rate(x{a="b"}[5m])) by (c) > 0.5"#),
            (Pattern::Duration, "30s"),
            (Pattern::Rfc3339, "2026-03-02T11:58:00Z"),
        ] {
            assert!(pattern.accepts(text), "{pattern:?} {text}");
        }
    }

    #[test]
    fn bad_texts_are_refused() {
        for (pattern, text) in [
            (Pattern::Name, "a/b"),
            (Pattern::Name, "a b"),
            (Pattern::Commit, "HEAD"),
            (Pattern::Commit, "0123456789ABCDEF0123456789abcdef01234567"),
            (Pattern::Revision, "main"),
            (Pattern::Ref, "a..b"),
            (Pattern::Ref, "a@{1}"),
            (Pattern::Ref, "x/-y"),
            (Pattern::Path, "../x"),
            (Pattern::Path, "/etc/passwd"),
            (Pattern::Path, ":(top)x"),
            (Pattern::Path, "a//b"),
            (Pattern::Selector, "a in (b)"),
            (Pattern::Selector, "=b"),
            (Pattern::Duration, "30"),
            (Pattern::Duration, "s"),
            (Pattern::Rfc3339, "yesterday"),
        ] {
            assert!(!pattern.accepts(text), "{pattern:?} {text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_begins_with_a_dash_or_holds_a_control_character_is_an_argument(rest in ".{0,40}", control in "[\u{0}-\u{1f}]") {
            for pattern in ALL {
                let dashed = format!("-{}", rest);
                prop_assert!(!pattern.accepts(&dashed));
                let controlled = format!("a{}{}", control, rest);
                prop_assert!(!pattern.accepts(&controlled));
            }
        }
    }
}
