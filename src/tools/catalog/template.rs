//! Placeholders: `{name}` in a text of a definition. `{{name}}` is the sandbox's own and stays as it is.
//!
//! Sources: an argument (`{replicas}`), the target (`{target.namespace}`), the prior state (`{prior.head}`) and the act
//! (`{act.nonce}`). A placeholder without a value is an error, never an empty text.

use std::{collections::BTreeMap, sync::LazyLock};

use regex::Regex;

static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\{\{[a-z_]+\}\}|\{([a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)?)\}").expect("a constant expression")
});

/// Values by placeholder name.
pub(crate) type Values = BTreeMap<String, String>;

/// A placeholder had no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no value for `{{{0}}}`")]
pub(crate) struct Missing(pub(crate) String);

/// The placeholders of `template`, in order.
pub(crate) fn placeholders(template: &str) -> impl Iterator<Item = &str> {
    PLACEHOLDER
        .captures_iter(template)
        .filter_map(|found| found.get(1))
        .map(|name| name.as_str())
}

/// `template` with every placeholder replaced, in one pass: a value is never read as a template.
pub(crate) fn render(template: &str, values: &Values) -> Result<String, Missing> {
    let mut out = String::with_capacity(template.len() + 32);
    let mut rest = 0;
    for found in PLACEHOLDER.captures_iter(template) {
        let (whole, Some(name)) = (found.get(0).expect("a match has a whole"), found.get(1)) else {
            continue;
        };
        out.push_str(&template[rest..whole.start()]);
        let value = values
            .get(name.as_str())
            .ok_or_else(|| Missing(name.as_str().to_owned()))?;
        out.push_str(value);
        rest = whole.end();
    }
    out.push_str(&template[rest..]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_filled_in_once_and_the_sandbox_s_own_are_left() {
        let values = Values::from([("a".into(), "{b}".into()), ("target.b".into(), "x".into())]);
        let done = render(r#"{a}-{target.b}-{{job_dir}}-{"json":"{a}"}"#, &values);
        assert_eq!(done.as_deref(), Ok(r#"{b}-x-{{job_dir}}-{"json":"{b}"}"#));
        assert_eq!(render("{c}", &values), Err(Missing("c".into())));
        assert_eq!(
            placeholders("{a}{{job_dir}}{target.b}").collect::<Vec<_>>(),
            ["a", "target.b"]
        );
    }
}
