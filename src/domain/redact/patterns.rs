//! Secrets that show by their form or by the name that stands before them, within one line.

use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex, RegexSet};

use super::MASK;

/// Tokens that show by their form alone.
const TOKENS: &[&str] = &[
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*", // JWT
    r"\b(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z2-7]{16}\b",         // AWS access key id
    r"\bgh[pousr]_[A-Za-z0-9]{30,}",                              // GitHub
    r"\bgithub_pat_[A-Za-z0-9_]{22,}",
    r"\bgl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat|oas|ffct)-[A-Za-z0-9_-]{18,}[A-Za-z0-9._-]*", // GitLab
    r"\bxox[abceoprs]-[A-Za-z0-9-]{10,}",                                                      // Slack
    r"\bxapp-\d-[A-Za-z0-9-]{10,}",
    r"hooks\.slack\.com/services/T[A-Za-z0-9]+/B[A-Za-z0-9]+/[A-Za-z0-9]+",
    r"\bhv[sbr]\.[A-Za-z0-9_-]{20,}", // Vault
    r"\bs\.[A-Za-z0-9]{24}\b",
    r"\bcpl_[a-z][a-z0-9-]{0,39}_[A-Za-z0-9_-]{16,}", // Carapulse
    r"\bsk-[A-Za-z0-9_-]{20,}",                       // model providers
    r"\bAIza[A-Za-z0-9_-]{35}",
    r"\bglsa_[A-Za-z0-9]{32}_[0-9a-f]{8}", // Grafana
    r"\blin_(?:api|oauth)_[A-Za-z0-9]{32,}",
    r"\bAGE-SECRET-KEY-1[A-Z0-9]{50,}",
    r"\bdop_v1_[a-f0-9]{64}",
];

/// Last words of a name whose value is secret.
const NAMES: &str = r"password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key(?:[_-]?id)?|secret[_-]?key|private[_-]?key|secret[_-]?id|client[_-]?key[_-]?data|credentials?|authorization";

/// Every pattern that makes [`redact`] change a line.
static ANY: LazyLock<RegexSet> = LazyLock::new(|| {
    let all = [&TOKEN, &NAMED, &FLAG, &HEADER, &SCHEME, &URL_PASSWORD, &AWS_ID];
    RegexSet::new(all.map(|regex| regex.as_str())).expect("constant patterns, compiled in the tests")
});
static TOKEN: LazyLock<Regex> = LazyLock::new(|| pattern(&TOKENS.join("|")));
static NAME: LazyLock<Regex> = LazyLock::new(|| pattern(&format!(r"(?i)^[\w.-]*(?:{NAMES})$")));
static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        r#"(?i)(?P<key>[\w.-]*(?:{NAMES}))(?P<sign>\\*["']?\s*[:=]\s*)(?P<value>\\+"[^"\\]*\\+"|"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"'\\,;&<>{{}}\[\]()]+)"#
    ))
});
static FLAG: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)(?P<key>--?[a-z0-9-]*(?:password|passwd|token|secret|api-key|access-key|secret-id))\s+(?P<value>[^\s-]\S*)",
    )
});
static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?i)(?P<key>authorization\\*["']?\s*[:=]\s*\\*["']?)(?P<scheme>(?:bearer|basic|token|digest|negotiate|apikey|aws4-hmac-sha256)\s+)?(?P<value>[^"'\\]+)"#,
    )
});
static SCHEME: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)\b(?P<key>(?:bearer|basic)\s+)(?P<value>[A-Za-z0-9._~+/-]{12,}=*)"));
static URL_PASSWORD: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r#"(?P<key>\b[A-Za-z][A-Za-z0-9+.-]*://[^\s:/@"'<>]*:)(?P<value>[^\s/"'<>]+)@"#)
});
/// A secret access key has no form of its own; beside an access key id it is taken for one.
static AWS_SECRET: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?P<key>^|[^A-Za-z0-9/+=])(?P<value>[A-Za-z0-9/+]{40})(?P<end>[^A-Za-z0-9/+=]|$)")
});
static AWS_ID: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern, compiled in the tests")
}

/// Whether a key or variable of this name holds a secret.
pub(super) fn is_sensitive_name(name: &str) -> bool {
    NAME.is_match(name) && !is_page_token(name)
}

/// Whether a text is so short and plain that nothing here can match: one word, shorter than any token.
pub(super) fn is_plain_word(text: &str) -> bool {
    text.len() < 16
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// Redacts one line without its line end.
pub(super) fn redact(line: &str) -> String {
    // Most lines hold nothing: one pass over all patterns says so.
    if !ANY.is_match(line) {
        return line.to_owned();
    }
    let mut line = Cow::Borrowed(line);
    if AWS_ID.is_match(&line) {
        line = replace(line, &AWS_SECRET, |c| {
            mixed(&c["value"]).then(|| format!("{}{MASK}{}", &c["key"], &c["end"]))
        });
    }
    line = replace(line, &HEADER, |c| {
        let scheme = c.name("scheme").map_or("", |m| m.as_str());
        (!c["value"].trim().is_empty()).then(|| format!("{}{scheme}{MASK}", &c["key"]))
    });
    line = replace(line, &URL_PASSWORD, |c| Some(format!("{}{MASK}@", &c["key"])));
    line = replace(line, &TOKEN, |_| Some(MASK.to_owned()));
    line = replace(line, &SCHEME, |c| {
        mixed(&c["value"]).then(|| format!("{}{MASK}", &c["key"]))
    });
    line = replace(line, &NAMED, named);
    line = replace(line, &FLAG, |c| Some(format!("{} {MASK}", &c["key"])));
    line.into_owned()
}

fn replace<'a>(
    line: Cow<'a, str>,
    regex: &Regex,
    with: impl Fn(&Captures<'_>) -> Option<String>,
) -> Cow<'a, str> {
    let replaced = regex.replace_all(&line, |c: &Captures<'_>| {
        with(c).unwrap_or_else(|| c[0].to_owned())
    });
    match replaced {
        Cow::Borrowed(_) => line,
        Cow::Owned(text) => Cow::Owned(text),
    }
}

fn named(c: &Captures<'_>) -> Option<String> {
    let (key, sign, value) = (&c["key"], &c["sign"], &c["value"]);
    let bare = value.trim_matches(['\\', '"', '\'']);
    let plain = matches!(
        bare.to_ascii_lowercase().as_str(),
        "" | "true"
            | "false"
            | "null"
            | "none"
            | "~"
            | "|"
            | "|-"
            | "|+"
            | ">"
            | ">-"
            | "opaque"
            | "bearer"
            | "basic"
    );
    let path = key.to_ascii_lowercase().ends_with("pwd") && bare.starts_with('/');
    if plain || path || bare.starts_with(MASK) || bare.starts_with(['=', '$']) || is_page_token(key) {
        return None;
    }
    let open: String = value
        .chars()
        .take_while(|c| matches!(c, '\\' | '"' | '\''))
        .collect();
    // A bare JSON value (a number) must stay a value.
    let quote = match open.as_str() {
        "" if sign.starts_with(['"', '\\']) => sign.split_inclusive('"').next().unwrap_or_default(),
        quote => quote,
    };
    Some(format!("{key}{sign}{quote}{MASK}{quote}"))
}

/// Cursors of lists are called tokens, too, and must survive: the next page is asked for with them.
fn is_page_token(key: &str) -> bool {
    let key: String = key
        .to_ascii_lowercase()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    ["nexttoken", "pagetoken", "continuetoken", "paginationtoken"]
        .iter()
        .any(|end| key.ends_with(end))
}

fn mixed(value: &str) -> bool {
    let upper = value.bytes().any(|b| b.is_ascii_uppercase());
    let digit = value.bytes().any(|b| b.is_ascii_digit() || b == b'=');
    digit || (upper && value.bytes().skip(1).any(|b| b.is_ascii_uppercase()))
}
