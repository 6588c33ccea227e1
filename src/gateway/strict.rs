//! Strict JSON bodies: nothing unknown, nothing twice, every fault with a pointer.
//!
//! In: the raw body and its limit. Out: a typed value, or a [`Problem`] that names the place.
//! Always holds: a duplicate key is refused before anything is read from the body, so that no two readers can see two values.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::header,
};
use serde::de::DeserializeOwned;

use super::problem::{Kind, Problem};
use crate::domain::unique::{DUPLICATE, Unique};

/// Largest body of our own routes, in bytes.
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// A JSON body of type `T`, with the bytes that it was read from (for idempotency digests).
#[derive(Debug)]
pub struct Strict<T> {
    /// The value.
    pub value: T,
    /// The body as it came.
    pub raw: Bytes,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Strict<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        require_json(&request)?;
        let raw = read_body(request, MAX_BODY_BYTES).await?;
        Ok(Self {
            value: parse(&raw)?,
            raw,
        })
    }
}

/// Reads a body of at most `limit` bytes.
pub async fn read_body(request: Request, limit: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            Kind::BodyTooLarge,
            format!("at most {limit} bytes are accepted here"),
        )
    };
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let body = axum::body::to_bytes(request.into_body(), limit).await;
    body.map_err(|error| {
        let source = std::error::Error::source(&error);
        if source.is_some_and(|s| s.to_string().contains("length limit")) {
            too_large()
        } else {
            Problem::new(Kind::InvalidRequest, "the body ended early; send it again")
        }
    })
}

/// Parses a body of our own: duplicate keys, unknown fields and wrong types are refused with a pointer.
pub fn parse<T: DeserializeOwned>(raw: &[u8]) -> Result<T, Problem> {
    // The database has no such character, and no text of ours needs it.
    if raw.windows(6).any(|six| six == b"\\u0000") {
        return Err(Problem::new(Kind::InvalidValue, "a text holds the character U+0000").at("", "U+0000"));
    }
    let mut reader = serde_json::Deserializer::from_slice(raw);
    let value = serde_path_to_error::deserialize::<_, Unique>(&mut reader).map_err(|error| {
        let pointer = pointer(error.path());
        refused(&pointer, error.into_inner())
    })?;
    reader
        .end()
        .map_err(|error| Problem::new(Kind::MalformedJson, error.to_string()))?;
    if !value.0.is_object() {
        return Err(Problem::new(Kind::WrongType, "the body must be one JSON object").at("", "not an object"));
    }
    serde_path_to_error::deserialize(value.0).map_err(|error| {
        let pointer = pointer(error.path());
        refused(&pointer, error.into_inner())
    })
}

fn require_json(request: &Request) -> Result<(), Problem> {
    let Some(given) = request.headers().get(header::CONTENT_TYPE) else {
        return Ok(()); // old clients send none
    };
    let essence = given
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    let json = essence.eq_ignore_ascii_case("application/json") || essence.ends_with("+json");
    if json {
        Ok(())
    } else {
        Err(Problem::new(
            Kind::UnsupportedMediaType,
            Kind::UnsupportedMediaType.example(),
        ))
    }
}

fn refused(pointer: &str, error: serde_json::Error) -> Problem {
    let message = error.to_string();
    if error.is_syntax() || error.is_eof() {
        return Problem::new(Kind::MalformedJson, format!("{message}; send one JSON object"));
    }
    // serde_json adds a position to messages of texts, none to those of values.
    let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
    let kind = if message.starts_with(DUPLICATE) {
        Kind::DuplicateKey
    } else if message.starts_with("unknown field") {
        Kind::UnknownField
    } else if message.starts_with("missing field") {
        Kind::MissingField
    } else if message.starts_with("invalid type") {
        Kind::WrongType
    } else {
        Kind::InvalidValue
    };
    Problem::new(kind, message.clone()).at(pointer, message)
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut out = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => out.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                out.push('/');
                out.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape is read")]
    struct Body {
        name: String,
        #[serde(default)]
        steps: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape is read")]
    struct Inner {
        count: u32,
    }

    fn kind_and_pointer(text: &str) -> (Kind, String) {
        let problem = parse::<Body>(text.as_bytes()).expect_err(text);
        let json = serde_json::to_value(problem.errors()).expect("JSON");
        (
            problem.kind(),
            json[0]["pointer"].as_str().unwrap_or("-").to_owned(),
        )
    }

    #[test]
    fn each_fault_has_its_kind_and_its_place() {
        let table = [
            (r#"{"name":"#, Kind::MalformedJson, "-"),
            ("", Kind::MalformedJson, "-"),
            (r#"{"name":"a"} x"#, Kind::MalformedJson, "-"),
            (r#"{"name":"a","nam":1}"#, Kind::UnknownField, "/nam"),
            (r#"{"name":"a","name":"b"}"#, Kind::DuplicateKey, ""),
            (
                r#"{"name":"a","steps":[{"count":1,"count":2}]}"#,
                Kind::DuplicateKey,
                "/steps/0",
            ),
            (r#"{"name":3}"#, Kind::WrongType, "/name"),
            (
                r#"{"name":"a","steps":[{"count":1},{"count":"2"}]}"#,
                Kind::WrongType,
                "/steps/1/count",
            ),
            (
                r#"{"name":"a","steps":[{"count":-1}]}"#,
                Kind::InvalidValue,
                "/steps/0/count",
            ),
            (r#"{"steps":[]}"#, Kind::MissingField, ""),
            ("[]", Kind::WrongType, ""),
        ];
        for (text, kind, pointer) in table {
            assert_eq!(kind_and_pointer(text), (kind, pointer.to_owned()), "{text}");
        }
    }
}
