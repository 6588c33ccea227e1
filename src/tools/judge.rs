//! One answer against one assertion. Pure.

use std::cmp::Ordering;

use serde_json::Value;

use crate::domain::{
    plan::{Assertion, Comparison},
    run::Verdict,
};

/// Most samples that one answer may hold.
const MAX_SAMPLES: usize = 10_000;

/// Judges `answer`: every sample under the assertion's pointer must compare as it says; no sample at all is `unknown`.
///
/// The pointer is an RFC 6901 JSON pointer in which the part `*` stands for every element of an array.
#[must_use]
pub fn judge(assertion: &Assertion, answer: &Value) -> Verdict {
    let mut samples = Vec::new();
    if collect(answer, &assertion.pointer, &mut samples).is_none() || samples.is_empty() {
        return Verdict::Unknown;
    }
    let verdicts = samples
        .iter()
        .map(|sample| compare(sample, assertion.op, &assertion.value));
    verdicts.fold(Verdict::Met, weakest)
}

/// `not_met` beats `unknown` beats `met`: one measured miss is a miss.
#[must_use]
pub fn weakest(a: Verdict, b: Verdict) -> Verdict {
    match (a, b) {
        (Verdict::NotMet, _) | (_, Verdict::NotMet) => Verdict::NotMet,
        (Verdict::Unknown, _) | (_, Verdict::Unknown) => Verdict::Unknown,
        (Verdict::Met, Verdict::Met) => Verdict::Met,
    }
}

fn collect(value: &Value, pointer: &str, samples: &mut Vec<String>) -> Option<()> {
    let Some(rest) = pointer.strip_prefix('/') else {
        return leaf(value, pointer, samples);
    };
    let (part, rest) = rest
        .split_once('/')
        .map_or((rest, String::new()), |(part, rest)| (part, format!("/{rest}")));
    if part == "*" {
        return value
            .as_array()?
            .iter()
            .try_for_each(|item| collect(item, &rest, samples));
    }
    let key = part.replace("~1", "/").replace("~0", "~");
    let next = match value {
        Value::Object(map) => map.get(&key)?,
        Value::Array(items) => items.get(key.parse::<usize>().ok()?)?,
        _ => return None,
    };
    collect(next, &rest, samples)
}

fn leaf(value: &Value, pointer: &str, samples: &mut Vec<String>) -> Option<()> {
    if !pointer.is_empty() || samples.len() >= MAX_SAMPLES {
        return None;
    }
    samples.push(match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => return None,
    });
    Some(())
}

fn compare(sample: &str, op: Comparison, value: &str) -> Verdict {
    let numbers = number(sample).zip(number(value));
    if op == Comparison::Eq || op == Comparison::Ne {
        let equal = numbers.map_or_else(|| sample == value, |(a, b)| a.total_cmp(&b) == Ordering::Equal);
        return met(equal == (op == Comparison::Eq));
    }
    let Some((a, b)) = numbers else {
        return Verdict::Unknown;
    };
    met(match op {
        Comparison::Lt => a < b,
        Comparison::Le => a <= b,
        Comparison::Gt => a > b,
        Comparison::Ge => a >= b,
        Comparison::Eq | Comparison::Ne => false,
    })
}

fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|n| n.is_finite())
}

fn met(yes: bool) -> Verdict {
    if yes { Verdict::Met } else { Verdict::NotMet }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{Digest, plan::Args};

    fn assertion(pointer: &str, op: Comparison, value: &str) -> Assertion {
        Assertion {
            name: "a".into(),
            tool: "prometheus".into(),
            action: "query".into(),
            action_digest: Digest::of_content(b""),
            args: Args::new(),
            pointer: pointer.into(),
            op,
            value: value.into(),
            evidence_kind: "promql".into(),
        }
    }

    fn vector(values: &[&str]) -> Value {
        let results: Vec<_> = values
            .iter()
            .map(|v| json!({"metric": {}, "value": [1, v]}))
            .collect();
        json!({"data": {"result": results}})
    }

    #[test]
    fn invariant_9_every_sample_counts_and_none_is_unknown() {
        let below = assertion("/data/result/*/value/1", Comparison::Lt, "0.05");
        assert_eq!(judge(&below, &vector(&["0.01", "0.02"])), Verdict::Met);
        assert_eq!(judge(&below, &vector(&["0.01", "0.42"])), Verdict::NotMet);
        assert_eq!(judge(&below, &vector(&[])), Verdict::Unknown);
        assert_eq!(judge(&below, &vector(&["NaN"])), Verdict::Unknown);
        assert_eq!(judge(&below, &vector(&["+Inf"])), Verdict::Unknown);
        assert_eq!(judge(&below, &vector(&["NaN", "0.42"])), Verdict::NotMet);
        assert_eq!(judge(&below, &json!({"data": null})), Verdict::Unknown);
        assert_eq!(
            judge(&below, &json!({"data": {"result": {"0": {"value": [1, "0"]}}}})),
            Verdict::Unknown
        );
    }

    #[test]
    fn equality_is_of_numbers_when_both_are_and_of_text_otherwise() {
        for (sample, op, value, expected) in [
            (json!(3), Comparison::Eq, "3.0", Verdict::Met),
            (json!("3"), Comparison::Ne, "3", Verdict::NotMet),
            (json!("Ready"), Comparison::Eq, "Ready", Verdict::Met),
            (json!(true), Comparison::Eq, "true", Verdict::Met),
            (json!("Ready"), Comparison::Gt, "1", Verdict::Unknown),
            (json!(null), Comparison::Eq, "null", Verdict::Unknown),
        ] {
            assert_eq!(
                judge(&assertion("/x", op, value), &json!({"x": sample})),
                expected,
                "{sample} {op:?} {value}"
            );
        }
    }

    #[test]
    fn pointers_unescape_and_index() {
        let answer = json!({"a/b": [{"~": 7}]});
        assert_eq!(
            judge(&assertion("/a~1b/0/~0", Comparison::Eq, "7"), &answer),
            Verdict::Met
        );
        assert_eq!(
            judge(&assertion("/a~1b/1/~0", Comparison::Eq, "7"), &answer),
            Verdict::Unknown
        );
    }
}
