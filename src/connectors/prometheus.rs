//! Reads Prometheus over its HTTP API. Values stay the decimal strings that Prometheus sends.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::Deserialize;

use super::{Error, Http, HttpLimits, quoted};

const SYSTEM: &str = "prometheus";

/// A client of one Prometheus.
#[derive(Debug, Clone)]
pub struct Prometheus(Http);

/// One value at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// When, to the millisecond.
    pub at: DateTime<Utc>,
    /// A decimal number, `NaN`, `+Inf` or `-Inf`, as sent.
    pub value: String,
}

/// One time series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// Its labels, `__name__` included.
    pub labels: BTreeMap<String, String>,
    /// Oldest first; exactly one for an instant query.
    pub samples: Vec<Sample>,
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    /// One sample a series.
    Vector(Vec<Series>),
    /// Many samples a series.
    Matrix(Vec<Series>),
    /// One number without labels.
    Scalar(Sample),
}

impl Prometheus {
    /// A client of the Prometheus at `base` (`http(s)://host:port[/prefix]`).
    pub fn new(base: &str, bearer: Option<SecretString>, limits: HttpLimits) -> Result<Self, Error> {
        Ok(Self(Http::new(SYSTEM, base, bearer, limits)?))
    }

    /// Evaluates `expr` at one instant (the server's now when `at` is `None`).
    pub async fn query(&self, expr: &str, at: Option<DateTime<Utc>>) -> Result<Values, Error> {
        let at = at.map(|t| t.timestamp().to_string());
        let mut form = vec![("query", expr)];
        if let Some(at) = &at {
            form.push(("time", at));
        }
        self.ask("api/v1/query", &form).await
    }

    /// Evaluates `expr` at every `step_secs` from `start` to `end`.
    pub async fn query_range(
        &self,
        expr: &str,
        start: DateTime<Utc>,
        end: DateTime<Utc>,
        step_secs: u32,
    ) -> Result<Values, Error> {
        let (start, end) = (start.timestamp().to_string(), end.timestamp().to_string());
        let step = step_secs.max(1).to_string();
        let form = [("query", expr), ("start", &start), ("end", &end), ("step", &step)];
        self.ask("api/v1/query_range", &form).await
    }

    async fn ask(&self, path: &str, form: &[(&str, &str)]) -> Result<Values, Error> {
        let (status, body) = self.0.post_form(path, form).await?;
        parse(status, &body)
    }
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    data: Option<Data>,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<RawInstant>),
    Matrix(Vec<RawRange>),
    Scalar((f64, String)),
    String(#[expect(dead_code, reason = "read to be refused by name")] (f64, String)),
}

#[derive(Deserialize)]
struct RawInstant {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

#[derive(Deserialize)]
struct RawRange {
    metric: BTreeMap<String, String>,
    values: Vec<(f64, String)>,
}

fn parse(status: u16, body: &[u8]) -> Result<Values, Error> {
    let unreadable = |reason: String| Error::Unreadable {
        system: SYSTEM,
        reason,
    };
    let refused = |message: &str| Error::Status {
        system: SYSTEM,
        status,
        message: quoted(message, 300),
    };
    let ok = (200..300).contains(&status);
    let answer: Answer = match serde_json::from_slice(body) {
        Ok(answer) => answer,
        Err(_) if !ok => return Err(refused(&String::from_utf8_lossy(body))),
        Err(e) => return Err(unreadable(e.to_string())),
    };
    if !ok || answer.status != "success" {
        return Err(refused(&format!("{} {}", answer.error_type, answer.error)));
    }
    match answer.data {
        None => Err(unreadable("no data".into())),
        Some(Data::String(_)) => Err(unreadable("a string, where numbers were asked for".into())),
        Some(Data::Scalar(pair)) => Ok(Values::Scalar(sample(pair)?)),
        Some(Data::Vector(series)) => {
            let series = series.into_iter().map(|s| one_series(s.metric, vec![s.value]));
            Ok(Values::Vector(series.collect::<Result<_, _>>()?))
        }
        Some(Data::Matrix(series)) => {
            let series = series.into_iter().map(|s| one_series(s.metric, s.values));
            Ok(Values::Matrix(series.collect::<Result<_, _>>()?))
        }
    }
}

fn one_series(labels: BTreeMap<String, String>, raw: Vec<(f64, String)>) -> Result<Series, Error> {
    let samples = raw.into_iter().map(sample).collect::<Result<_, _>>()?;
    Ok(Series { labels, samples })
}

fn sample((at, value): (f64, String)) -> Result<Sample, Error> {
    let unreadable = |reason: String| Error::Unreadable {
        system: SYSTEM,
        reason,
    };
    value
        .parse::<f64>()
        .map_err(|_| unreadable(format!("`{}` is not a number", quoted(&value, 40))))?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float beyond i64 saturates and is then no valid time"
    )]
    let millis = (at * 1000.0).round() as i64;
    let at =
        DateTime::from_timestamp_millis(millis).ok_or_else(|| unreadable(format!("{at} is not a time")))?;
    Ok(Sample { at, value })
}

#[cfg(test)]
mod tests {
    use super::{super::answering, *};

    #[test]
    fn vector_matrix_and_scalar_are_read() {
        let vector = br#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a"},"value":[1700000000.123,"0.5"]}]},"warnings":["w"]}"#;
        let Ok(Values::Vector(series)) = parse(200, vector) else {
            panic!("vector")
        };
        assert_eq!(series[0].labels["job"], "a");
        assert_eq!(series[0].samples[0].value, "0.5");
        assert_eq!(series[0].samples[0].at.timestamp_millis(), 1_700_000_000_123);
        let matrix = br#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"1"],[61,"NaN"]]}]}}"#;
        assert!(matches!(parse(200, matrix), Ok(Values::Matrix(s)) if s[0].samples.len() == 2));
        let scalar = br#"{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}"#;
        assert!(matches!(parse(200, scalar), Ok(Values::Scalar(s)) if s.value == "2"));
    }

    #[test]
    fn errors_say_what_the_server_said() {
        let bad = br#"{"status":"error","errorType":"bad_data","error":"parse error at char 3"}"#;
        assert!(
            matches!(parse(400, bad), Err(Error::Status { status: 400, message, .. }) if message == "bad_data parse error at char 3")
        );
        assert!(matches!(
            parse(502, b"<html>Bad gateway"),
            Err(Error::Status { status: 502, .. })
        ));
        assert!(matches!(
            parse(200, b"<html>login"),
            Err(Error::Unreadable { .. })
        ));
        assert!(parse(200, br#"{"status":"error","error":"x"}"#).is_err());
        let word = br#"{"status":"success","data":{"resultType":"scalar","result":[1,"two"]}}"#;
        assert!(matches!(parse(200, word), Err(Error::Unreadable { .. })));
    }

    #[tokio::test]
    async fn a_closed_port_is_unreachable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("port");
        let address = format!("http://{}", listener.local_addr().expect("address"));
        drop(listener);
        let client = Prometheus::new(&address, None, HttpLimits::default()).expect("client");
        let error = client.query("up", None).await.expect_err("closed");
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_real_exchange_posts_the_expression_as_a_form_and_caps_the_answer() {
        let address = answering::serve(|path, body| {
            assert_eq!(path, "/prom/api/v1/query");
            assert_eq!(body, "query=up%7Bjob%3D%22a%26b%22%7D");
            (
                200,
                r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#.into(),
            )
        })
        .await;
        let address = format!("{address}/prom");
        let client = Prometheus::new(&address, None, HttpLimits::default()).expect("client");
        let answer = client.query(r#"up{job="a&b"}"#, None).await;
        assert_eq!(answer.expect("answer"), Values::Vector(vec![]));
        let tight = HttpLimits {
            max_body_bytes: 8,
            ..HttpLimits::default()
        };
        let client = Prometheus::new(&address, None, tight).expect("client");
        let error = client.query(r#"up{job="a&b"}"#, None).await.expect_err("capped");
        assert!(matches!(error, Error::TooLong { cap_bytes: 8, .. }), "{error}");
    }
}
