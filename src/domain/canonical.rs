//! Canonical JSON: one value, one byte string.
//!
//! A canonical document has ASCII keys in byte order, NFC strings, booleans, integers within ±(2⁵³−1), arrays and objects;
//! no white space, no floats (durations, quantities and thresholds are strings), no nulls, no duplicate keys. Digests are
//! taken over these bytes and these bytes are what is stored.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use unicode_normalization::is_nfc;

/// Largest magnitude of an integer that every JSON reader keeps exactly.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

/// Deepest nesting accepted.
const MAX_DEPTH: usize = 32;

/// Why a value has no canonical form, or why bytes are not canonical.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// The value cannot be written as JSON at all.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// A null stands where a key should be left out.
    #[error("null at {0}: leave the key out instead")]
    Null(String),
    /// A float, or an integer beyond ±(2⁵³−1).
    #[error("number at {0} is not an integer within ±(2^53-1): write it as a string")]
    Number(String),
    /// A key with a character outside ASCII.
    #[error("key at {0} is not ASCII")]
    Key(String),
    /// A string that is not in Unicode normal form C.
    #[error("string at {0} is not in Unicode normal form C")]
    NotNfc(String),
    /// Nested deeper than 32 levels.
    #[error("nested deeper than 32 levels")]
    Depth,
    /// The bytes parse, but are not the canonical form of what they say.
    #[error("the bytes are not in canonical form")]
    NotCanonical,
}

/// Writes `value` in canonical form.
pub fn to_bytes<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let value = serde_json::to_value(value).map_err(|e| CanonicalError::NotJson(e.to_string()))?;
    value_to_bytes(&value)
}

/// Writes a JSON value in canonical form.
pub fn value_to_bytes(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::with_capacity(256);
    write(value, &mut out, &mut String::from("$"), 0)?;
    Ok(out)
}

/// Reads bytes that must be canonical; anything that would be written back differently is refused, duplicate keys included.
pub fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CanonicalError> {
    let value: Value = serde_json::from_slice(bytes).map_err(|e| CanonicalError::NotJson(e.to_string()))?;
    if value_to_bytes(&value)? != bytes {
        return Err(CanonicalError::NotCanonical);
    }
    serde_json::from_value(value).map_err(|e| CanonicalError::NotJson(e.to_string()))
}

fn write(value: &Value, out: &mut Vec<u8>, path: &mut String, depth: usize) -> Result<(), CanonicalError> {
    if depth > MAX_DEPTH {
        return Err(CanonicalError::Depth);
    }
    match value {
        Value::Null => return Err(CanonicalError::Null(path.clone())),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => {
            let integer = number
                .as_i64()
                .filter(|n| (-MAX_INTEGER..=MAX_INTEGER).contains(n));
            let integer = integer.ok_or_else(|| CanonicalError::Number(path.clone()))?;
            out.extend_from_slice(integer.to_string().as_bytes());
        }
        Value::String(text) => write_string(text, out, path)?,
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                nested(path, &index.to_string(), |path| write(item, out, path, depth + 1))?;
            }
            out.push(b']');
        }
        Value::Object(map) => write_object(map, out, path, depth)?,
    }
    Ok(())
}

fn write_object(
    map: &serde_json::Map<String, Value>,
    out: &mut Vec<u8>,
    path: &mut String,
    depth: usize,
) -> Result<(), CanonicalError> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
    out.push(b'{');
    for (index, (key, item)) in entries.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        if !key.is_ascii() {
            return Err(CanonicalError::Key(path.clone()));
        }
        nested(path, key, |path| {
            write_string(key, out, path)?;
            out.push(b':');
            write(item, out, path, depth + 1)
        })?;
    }
    out.push(b'}');
    Ok(())
}

fn write_string(text: &str, out: &mut Vec<u8>, path: &str) -> Result<(), CanonicalError> {
    if !is_nfc(text) {
        return Err(CanonicalError::NotNfc(path.to_owned()));
    }
    let json = serde_json::to_string(text).map_err(|e| CanonicalError::NotJson(e.to_string()))?;
    out.extend_from_slice(json.as_bytes());
    Ok(())
}

fn nested<R>(path: &mut String, part: &str, body: impl FnOnce(&mut String) -> R) -> R {
    let len = path.len();
    path.push('.');
    path.push_str(part);
    let result = body(path);
    path.truncate(len);
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn golden_bytes() {
        let value =
            json!({"b": [1, -2, true], "a": {"z": "é\n\"", "Z": ""}, "aa": 9_007_199_254_740_991_i64});
        let bytes = value_to_bytes(&value).expect("canonical");
        assert_eq!(
            String::from_utf8(bytes).expect("UTF-8"),
            r#"{"a":{"Z":"","z":"é\n\""},"aa":9007199254740991,"b":[1,-2,true]}"#
        );
    }

    #[test]
    fn what_has_no_canonical_form_is_refused() {
        assert!(matches!(value_to_bytes(&json!({"a": null})), Err(CanonicalError::Null(p)) if p == "$.a"));
        assert!(matches!(value_to_bytes(&json!([1.5])), Err(CanonicalError::Number(p)) if p == "$.0"));
        assert!(matches!(
            value_to_bytes(&json!(9_007_199_254_740_992_i64)),
            Err(CanonicalError::Number(_))
        ));
        assert!(matches!(
            value_to_bytes(&json!({"é": 1})),
            Err(CanonicalError::Key(_))
        ));
        assert!(matches!(
            value_to_bytes(&json!("e\u{301}")),
            Err(CanonicalError::NotNfc(_))
        ));
    }

    #[test]
    fn non_canonical_bytes_are_refused() {
        for bytes in [
            r#"{"a":1,"a":1}"#,
            r#"{"b":1,"a":2}"#,
            "{ }",
            r#""\u0041""#,
            "1e2",
            "{\"a\":null}",
        ] {
            assert!(from_bytes::<Value>(bytes.as_bytes()).is_err(), "{bytes}");
        }
    }

    /// Both features would change bytes that were signed: this fails if a dependency ever turns one on.
    #[test]
    fn serde_json_has_neither_preserve_order_nor_arbitrary_precision() {
        let value: Value = serde_json::from_str(r#"{"b":1,"a":2}"#).expect("JSON");
        assert_eq!(
            value.to_string(),
            r#"{"a":2,"b":1}"#,
            "serde_json/preserve_order is on"
        );
        let value: Value = serde_json::from_str("1.10").expect("JSON");
        assert_eq!(value.to_string(), "1.1", "serde_json/arbitrary_precision is on");
    }

    proptest! {
        #[test]
        fn bytes_read_back_to_the_same_bytes(map in prop::collection::btree_map("[a-z]{1,6}", -1000_i64..1000, 0..8)) {
            let bytes = to_bytes(&map).expect("canonical");
            let value: Value = from_bytes(&bytes).expect("reads back");
            prop_assert_eq!(value_to_bytes(&value).expect("canonical"), bytes);
        }
    }
}
