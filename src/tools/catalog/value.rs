//! From a command's output to a structured value, and from that to named values. Pure.

use serde_json::{Map, Value, json};

use super::format::{DoneSpec, OutputSpec, Relation, ValueSpec};

/// Why an output could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(pub(crate) String);

impl OutputSpec {
    /// The structured value of `text`.
    pub(crate) fn parse(&self, text: &str) -> Result<Value, Unreadable> {
        match self {
            Self::Json => {
                serde_json::from_str(text).map_err(|e| Unreadable(format!("the output is not JSON: {e}")))
            }
            Self::Text => Ok(json!({ "text": text })),
            Self::Columns { separator, columns } => Ok(rows(text, separator, columns)),
            Self::Fields { fields } => {
                let found = fields.iter().filter_map(|(name, spec)| {
                    spec.extract(text).map(|value| (name.clone(), Value::from(value)))
                });
                Ok(Value::Object(found.collect::<Map<_, _>>()))
            }
        }
    }
}

fn rows(text: &str, separator: &str, columns: &[String]) -> Value {
    let row = |line: &str| {
        let cells = columns
            .iter()
            .cloned()
            .zip(line.splitn(columns.len(), separator).map(Value::from));
        Value::Object(cells.collect())
    };
    text.lines().filter(|line| !line.is_empty()).map(row).collect()
}

impl ValueSpec {
    /// The value in a command's output; `None` when it is not there.
    pub(crate) fn extract(&self, text: &str) -> Option<String> {
        if let Some(pointer) = &self.pointer {
            let value: Value = serde_json::from_str(text).ok()?;
            return scalar(value.pointer(pointer)?);
        }
        if let Some(prefix) = &self.prefix {
            let found = text.lines().find_map(|line| line.strip_prefix(prefix.as_str()));
            return found
                .map(|rest| rest.trim().to_owned())
                .filter(|rest| !rest.is_empty());
        }
        self.contains
            .as_ref()
            .map(|wanted| text.contains(wanted.as_str()).to_string())
    }

    /// The value in a structured value; only a pointer can find one.
    pub(crate) fn extract_from(&self, value: &Value) -> Option<String> {
        scalar(value.pointer(self.pointer.as_ref()?)?)
    }
}

impl DoneSpec {
    /// Whether the condition holds for `value`, with `to` filled in.
    pub(crate) fn holds(&self, value: &Value, to: &str) -> bool {
        let found = value.pointer(&self.pointer).and_then(scalar);
        match self.is {
            Relation::Present => found.is_some(),
            Relation::Equal => found.is_some_and(|found| found == to),
            Relation::Other => found.is_some_and(|found| found != to),
        }
    }
}

/// A text, number or boolean as text.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(at: &str) -> ValueSpec {
        ValueSpec {
            pointer: Some(at.into()),
            prefix: None,
            contains: None,
            compared: true,
            optional: false,
        }
    }

    #[test]
    fn columns_json_and_fields_are_read() {
        let columns = OutputSpec::Columns {
            separator: "\t".into(),
            columns: vec!["commit".into(), "ref".into()],
        };
        let value = columns.parse("abc\trefs/heads/main\n").expect("rows");
        assert_eq!(value, json!([{ "commit": "abc", "ref": "refs/heads/main" }]));
        assert_eq!(pointer("/0/commit").extract_from(&value).as_deref(), Some("abc"));
        assert_eq!(columns.parse("").expect("rows"), json!([]));
        assert!(OutputSpec::Json.parse("Error from server").is_err());
        let complete = ValueSpec {
            pointer: None,
            contains: Some("rolled out".into()),
            ..pointer("")
        };
        let fields = OutputSpec::Fields {
            fields: [("complete".to_owned(), complete)].into(),
        };
        assert_eq!(
            fields.parse("x rolled out").expect("fields"),
            json!({ "complete": "true" })
        );
        assert_eq!(
            fields.parse("waiting").expect("fields"),
            json!({ "complete": "false" })
        );
    }

    #[test]
    fn values_are_found_or_absent_never_guessed() {
        assert_eq!(
            pointer("/spec/replicas")
                .extract(r#"{"spec":{"replicas":3}}"#)
                .as_deref(),
            Some("3")
        );
        assert_eq!(pointer("/spec").extract(r#"{"spec":{"replicas":3}}"#), None);
        assert_eq!(pointer("/spec").extract("no JSON"), None);
        let prefix = ValueSpec {
            pointer: None,
            prefix: Some("head ".into()),
            ..pointer("")
        };
        assert_eq!(prefix.extract("x\nhead abc \n").as_deref(), Some("abc"));
        assert_eq!(prefix.extract("tail"), None);
    }

    #[test]
    fn a_missing_value_is_never_done() {
        for is in [Relation::Present, Relation::Equal, Relation::Other] {
            let done = DoneSpec {
                pointer: "/a".into(),
                is,
                to: String::new(),
            };
            assert!(!done.holds(&json!({}), "1"), "{is:?}");
        }
        let other = DoneSpec {
            pointer: "/a".into(),
            is: Relation::Other,
            to: String::new(),
        };
        assert!(other.holds(&json!({ "a": 2 }), "1"));
        assert!(!other.holds(&json!({ "a": 1 }), "1"));
    }
}
