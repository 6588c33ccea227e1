//! OPA's Data API: the same question, the same rule.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::Value;

use crate::connectors::{Error, Http, HttpLimits, quoted};

/// What an answer is called in errors.
const SYSTEM: &str = "opa";
/// The rule that holds the whole answer; provenance names the bundle that gave it.
const PATH: &str = "v1/data/policy/assistant/v1/result?provenance=true";
/// An answer is some hundred bytes.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// How much of OPA's own words an error repeats.
const MAX_QUOTED_CHARS: usize = 300;

/// A client of one OPA server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Opa {
    http: Http,
}

/// What OPA said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The rule's value as JSON; none when it is undefined.
    pub result: Option<String>,
    /// The revisions of the bundles that it serves, as their manifests name them.
    pub revisions: Vec<String>,
}

#[derive(Deserialize)]
struct Envelope {
    result: Option<Value>,
    #[serde(default)]
    provenance: Provenance,
}

#[derive(Default, Deserialize)]
struct Provenance {
    #[serde(default)]
    revision: String,
    #[serde(default)]
    bundles: BTreeMap<String, Served>,
}

#[derive(Deserialize)]
struct Served {
    #[serde(default)]
    revision: String,
}

impl Opa {
    /// A client of the server at `url`. Redirects are not followed.
    ///
    /// # Errors
    /// When the address may not be called.
    pub fn new(url: &str, timeout: Duration) -> Result<Self, Error> {
        let limits = HttpLimits {
            timeout,
            max_body_bytes: MAX_ANSWER_BYTES,
        };
        let http = Http::without_redirects(SYSTEM, url, limits)?;
        Ok(Self { http })
    }

    /// Asks with `input`, a JSON document.
    ///
    /// # Errors
    /// No answer, an answer that says no, or one that cannot be read.
    pub async fn ask(&self, input: &[u8]) -> Result<Answer, Error> {
        let body = [b"{\"input\":", input, b"}"].concat();
        let (status, answer) = self.http.post_json(PATH, body).await?;
        if status != 200 {
            return Err(Error::Status {
                system: SYSTEM,
                status,
                message: quoted(&String::from_utf8_lossy(&answer), MAX_QUOTED_CHARS),
            });
        }
        read(&answer).map_err(|error| Error::Unreadable {
            system: SYSTEM,
            reason: error.to_string(),
        })
    }
}

fn read(answer: &[u8]) -> serde_json::Result<Answer> {
    let envelope: Envelope = serde_json::from_slice(answer)?;
    let Provenance { revision, bundles } = envelope.provenance;
    let revisions = bundles
        .into_values()
        .map(|bundle| bundle.revision)
        .chain([revision])
        .filter(|revision| !revision.is_empty())
        .map(|revision| quoted(&revision, MAX_QUOTED_CHARS))
        .collect();
    Ok(Answer {
        result: envelope.result.map(|result| result.to_string()),
        revisions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::answering::serve;

    async fn asked(answer: fn(&str, &str) -> (u16, String)) -> Result<Answer, Error> {
        let opa = Opa::new(&serve(answer).await, Duration::from_secs(5)).unwrap();
        opa.ask(br#"{"n":1}"#).await
    }

    #[tokio::test]
    async fn the_question_goes_to_the_rule_and_the_answer_comes_with_its_bundle() {
        let answer = asked(|path, body| {
            assert_eq!(path, "/v1/data/policy/assistant/v1/result?provenance=true");
            assert_eq!(body, r#"{"input":{"n":1}}"#);
            let text = r#"{"provenance":{"version":"1.22.2","bundles":{"policies":{"revision":"r1"}}},"result":{"n":2}}"#;
            (200, text.to_owned())
        });
        let expected = Answer {
            result: Some(r#"{"n":2}"#.to_owned()),
            revisions: vec!["r1".to_owned()],
        };
        assert_eq!(answer.await.unwrap(), expected);
    }

    #[tokio::test]
    async fn no_rule_and_no_bundle_are_answers_too() {
        let answer = asked(|_, _| (200, "{}".to_owned())).await.unwrap();
        assert_eq!((answer.result, answer.revisions.len()), (None, 0));
    }

    #[tokio::test]
    async fn whatever_else_comes_back_is_an_error() {
        let moved = asked(|_, _| (307, String::new())).await.unwrap_err();
        assert!(matches!(moved, Error::Status { status: 307, .. }), "{moved}");
        let failed = asked(|_, _| (500, "{\"code\":\"internal_error\"}".to_owned()))
            .await
            .unwrap_err();
        assert!(failed.to_string().contains("internal_error"), "{failed}");
        let garbage = asked(|_, _| (200, "<html>".to_owned())).await.unwrap_err();
        assert!(matches!(garbage, Error::Unreadable { .. }), "{garbage}");
        let long = asked(|_, _| (200, "x".repeat(MAX_ANSWER_BYTES + 1)))
            .await
            .unwrap_err();
        assert!(matches!(long, Error::TooLong { .. }), "{long}");
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let late = Opa::new(&url, Duration::from_millis(50)).unwrap();
        let late = late.ask(b"{}").await.unwrap_err();
        assert!(matches!(late, Error::Timeout { .. }), "{late}");
        let nobody = Opa::new("http://127.0.0.1:1", Duration::from_secs(5)).unwrap();
        let gone = nobody.ask(b"{}").await.unwrap_err();
        assert!(matches!(gone, Error::Unreachable { .. }), "{gone}");
    }
}
