//! Alertmanager's webhook body, version 4. A pure parser: bytes in, bounded [`SignalFacts`] out.
//!
//! Every text was written by strangers: secrets and control characters are dropped, lengths are bounded, and nothing here chooses
//! anything but a key to look up. Unknown fields are ignored (the raw delivery keeps them).

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Utc};
use serde::Deserialize;
use unicode_normalization::UnicodeNormalization;

use super::signal::{SignalFacts, SignalStatus};
use crate::domain::{
    Digest, SecretRef,
    redact::{MASK, Redactor},
};

/// The name under which these signals are stored.
pub const SOURCE: &str = "alertmanager";
/// Largest body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 5 << 20;
/// Most alerts in one delivery.
pub const MAX_ALERTS: usize = 10_000;

const MAX_LABELS: usize = 64;
const MAX_NAME_BYTES: usize = 128;
const MAX_VALUE_BYTES: usize = 1024;
const MAX_FINGERPRINT_BYTES: usize = 128;
/// Labels that may name a service, the most telling first.
const SERVICE_LABELS: [&str; 8] = [
    "service",
    "service_name",
    "app",
    "application",
    "deployment",
    "statefulset",
    "daemonset",
    "job",
];

/// What one webhook call told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// All alerts in the order given, firing and resolved.
    pub alerts: Vec<Grouped>,
    /// How many more Alertmanager left out (`max_alerts` of its receiver).
    pub truncated: u64,
}

/// An alert and the incident it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grouped {
    /// Alerts with the same key are worked on as one incident.
    pub group_key: String,
    /// One line for people.
    pub title: String,
    /// What it says.
    pub facts: SignalFacts,
}

/// Why a body cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not JSON at all.
    #[error("{0}")]
    NotJson(String),
    /// JSON, but not Alertmanager's.
    #[error("{0}")]
    Shape(String),
    /// A version of the body that is not known.
    #[error(
        "version `{0}` of the webhook body is not known; version 4 is what Alertmanager 0.8 and later send"
    )]
    Version(String),
    /// More alerts than one delivery may have.
    #[error(
        "{0} alerts in one delivery; at most {MAX_ALERTS} are taken: set `max_alerts` in Alertmanager's receiver"
    )]
    TooMany(usize),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    version: String,
    #[serde(default)]
    group_key: String,
    #[serde(default)]
    truncated_alerts: u64,
    #[serde(default)]
    common_labels: BTreeMap<String, String>,
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    status: SignalStatus,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    starts_at: DateTime<Utc>,
    #[serde(default)]
    ends_at: Option<DateTime<Utc>>,
    #[serde(default)]
    fingerprint: String,
}

/// Reads a webhook body.
pub fn parse(body: &[u8]) -> Result<Delivery, ParseError> {
    let body: Body = serde_json::from_slice(body).map_err(|error| {
        if error.is_data() {
            ParseError::Shape(error.to_string())
        } else {
            ParseError::NotJson(error.to_string())
        }
    })?;
    if body.version != "4" {
        return Err(ParseError::Version(clean(&body.version, 20)));
    }
    if body.alerts.len() > MAX_ALERTS {
        return Err(ParseError::TooMany(body.alerts.len()));
    }
    let Body {
        group_key,
        truncated_alerts,
        common_labels,
        alerts,
        ..
    } = body;
    let alerts = alerts
        .into_iter()
        .map(|alert| grouped(alert, &group_key, &common_labels))
        .collect();
    Ok(Delivery {
        alerts,
        truncated: truncated_alerts,
    })
}

fn grouped(alert: Alert, group_key: &str, common: &BTreeMap<String, String>) -> Grouped {
    let fingerprint = fingerprint(&alert);
    let labels = bounded(&alert.labels, common);
    let label = |name: &str| labels.get(name).filter(|value| !value.is_empty()).cloned();
    let alertname = label("alertname").unwrap_or_else(|| "unnamed alert".to_owned());
    let service = SERVICE_LABELS.iter().find_map(|name| label(name));
    let title = match &service {
        Some(service) => format!("{alertname}: {service}"),
        None => alertname.clone(),
    };
    Grouped {
        group_key: incident_key(group_key, &alertname, service.as_deref(), &labels),
        title,
        facts: SignalFacts {
            source: SOURCE.to_owned(),
            fingerprint,
            alertname,
            severity: label("severity").unwrap_or_default(),
            service,
            starts_at: alert.starts_at,
            // Alertmanager writes the year 1 while an alert has no end, and a time to come while it fires.
            ends_at: alert
                .ends_at
                .filter(|end| end.year() > 1 && alert.status == SignalStatus::Resolved),
            status: alert.status,
            labels,
        },
    }
}

/// Alertmanager's own fingerprint, or one over the alert's labels as they came.
fn fingerprint(alert: &Alert) -> String {
    let given = &alert.fingerprint;
    let sound = (1..=MAX_FINGERPRINT_BYTES).contains(&given.len())
        && given
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if sound {
        return given.clone();
    }
    let mut bytes = Vec::new();
    for text in alert.labels.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    Digest::of("carapulse.alert_labels", 1, &bytes).hex()
}

/// The same service in the same place is one incident; without a service, Alertmanager's group; without that, the alert's name.
fn incident_key(
    group_key: &str,
    alertname: &str,
    service: Option<&str>,
    labels: &BTreeMap<String, String>,
) -> String {
    let place = |name: &str| labels.get(name).map(String::as_str).unwrap_or_default();
    let key = match service {
        Some(service) => format!(
            "{SOURCE}/service/{}/{}/{service}",
            place("cluster"),
            place("namespace")
        ),
        None if !group_key.is_empty() => format!("{SOURCE}/group/{}", clean(group_key, MAX_VALUE_BYTES)),
        None => format!("{SOURCE}/alert/{alertname}"),
    };
    if key.len() <= 400 {
        key
    } else {
        format!("{SOURCE}/{}", Digest::of_content(key.as_bytes()).hex())
    }
}

fn bounded(own: &BTreeMap<String, String>, common: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for (name, value) in own.iter().chain(common) {
        let sound =
            name.is_ascii() && name.len() <= MAX_NAME_BYTES && !name.bytes().any(|b| b.is_ascii_control());
        if sound && !name.is_empty() && out.len() < MAX_LABELS {
            out.entry(name.clone()).or_insert_with(|| {
                let secret = Redactor::is_sensitive_name(name) && value.parse::<SecretRef>().is_err();
                clean(if secret { MASK } else { value }, MAX_VALUE_BYTES)
            });
        }
    }
    out
}

/// In normal form C, without control and direction characters and secrets, cut to `max` bytes at a character. Labels are shown, sent
/// and logged: whoever put a secret into one, it ends here; what hides parts of it from a reader hides none from the redactor.
fn clean(text: &str, max: usize) -> String {
    let seen: String = text
        .chars()
        .filter(|c| !c.is_control() && !is_direction(*c))
        .collect();
    let mut out = String::new();
    for c in Redactor::new().redact_text(&seen).nfc() {
        if out.len() + c.len_utf8() > max {
            break;
        }
        out.push(c);
    }
    // A cut may have parted a character from a mark that follows it, never the other way round: still in form C.
    out
}

fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::domain::canonical;

    /// As Alertmanager 0.28 sends it.
    const REAL: &str = r#"{"receiver":"carapulse","status":"firing","alerts":[
      {"status":"firing","labels":{"alertname":"HighErrorRate","namespace":"shop","service":"checkout","severity":"critical"},
       "annotations":{"summary":"5xx above 5%"},"startsAt":"2026-03-01T10:00:00.123Z","endsAt":"0001-01-01T00:00:00Z",
       "generatorURL":"http://prometheus:9090/graph?g0.expr=x","fingerprint":"c3a1f5d27c2b0a11"},
      {"status":"resolved","labels":{"alertname":"HighErrorRate","namespace":"shop","service":"cart","severity":"critical"},
       "annotations":{},"startsAt":"2026-03-01T09:00:00Z","endsAt":"2026-03-01T10:01:00Z","generatorURL":"","fingerprint":"aa"}],
      "groupLabels":{"alertname":"HighErrorRate"},"commonLabels":{"alertname":"HighErrorRate"},"commonAnnotations":{},
      "externalURL":"http://alertmanager:9093","version":"4","groupKey":"{}:{alertname=\"HighErrorRate\"}","truncatedAlerts":0,
      "somethingNew":{"x":[1]}}"#;

    #[test]
    fn a_real_body_gives_all_alerts_firing_and_resolved() {
        let delivery = parse(REAL.as_bytes()).expect("parses");
        assert_eq!(delivery.alerts.len(), 2);
        let first = &delivery.alerts[0];
        assert_eq!(first.facts.fingerprint, "c3a1f5d27c2b0a11");
        assert_eq!(first.facts.service.as_deref(), Some("checkout"));
        assert_eq!(first.facts.status, SignalStatus::Firing);
        assert_eq!(first.facts.ends_at, None);
        assert_eq!(first.group_key, "alertmanager/service//shop/checkout");
        assert_eq!(first.title, "HighErrorRate: checkout");
        assert!(delivery.alerts[1].facts.ends_at.is_some());
        assert_ne!(first.group_key, delivery.alerts[1].group_key);
    }

    fn one(labels: serde_json::Value, group_key: &str) -> Grouped {
        let body = json!({"version": "4", "groupKey": group_key, "alerts": [
            {"status": "firing", "labels": labels, "startsAt": "2026-03-01T10:00:00Z"}]});
        parse(body.to_string().as_bytes())
            .expect("parses")
            .alerts
            .remove(0)
    }

    #[test]
    fn without_a_fingerprint_the_labels_make_one() {
        let a = one(json!({"alertname": "A", "x": "1"}), "").facts.fingerprint;
        assert_eq!(a, one(json!({"x": "1", "alertname": "A"}), "").facts.fingerprint);
        assert_ne!(a, one(json!({"alertname": "A", "x": "2"}), "").facts.fingerprint);
        assert_ne!(a, one(json!({"alertname": "Ax", "": "1"}), "").facts.fingerprint);
        assert_eq!(a.len(), 64);
    }

    #[test]
    fn an_alert_without_a_service_falls_back_to_group_then_name() {
        assert_eq!(
            one(json!({"alertname": "A"}), "g").group_key,
            "alertmanager/group/g"
        );
        assert_eq!(
            one(json!({"alertname": "A"}), "").group_key,
            "alertmanager/alert/A"
        );
        assert!(one(json!({"alertname": "A"}), &"g".repeat(900)).group_key.len() < 200);
    }

    #[test]
    fn texts_are_bounded_and_lose_what_cannot_be_seen() {
        let alert = one(
            json!({"alertname": "A\u{0}\u{1b}[31m\u{202e}B", "long": "x".repeat(5000), "é": "y"}),
            "",
        );
        assert_eq!(alert.facts.alertname, "A[31mB");
        assert_eq!(alert.facts.labels["long"].len(), 1024);
        assert!(!alert.facts.labels.contains_key("é"));
    }

    #[test]
    fn what_is_not_such_a_body_is_refused() {
        assert!(matches!(parse(b"{"), Err(ParseError::NotJson(_))));
        assert!(matches!(parse(b"[]"), Err(ParseError::Shape(_))));
        assert!(matches!(parse(br#"{"version":"4"}"#), Err(ParseError::Shape(_))));
        assert!(matches!(
            parse(br#"{"version":"3","alerts":[]}"#),
            Err(ParseError::Version(v)) if v == "3"
        ));
        let alert = r#"{"status":"firing","startsAt":"2026-03-01T10:00:00Z"}"#;
        let many = vec![alert; MAX_ALERTS + 1].join(",");
        let body = format!(r#"{{"version":"4","alerts":[{many}]}}"#);
        assert!(matches!(parse(body.as_bytes()), Err(ParseError::TooMany(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn whatever_is_accepted_has_a_canonical_form(
            labels in prop::collection::btree_map("\\PC{0,20}", any::<String>(), 0..8),
            fingerprint in any::<String>(),
            group in any::<String>(),
        ) {
            let body = json!({"version": "4", "groupKey": group, "alerts": [
                {"status": "firing", "labels": labels, "startsAt": "2026-03-01T10:00:00Z", "fingerprint": fingerprint}]});
            let delivery = parse(body.to_string().as_bytes()).expect("a sound body");
            let alert = &delivery.alerts[0];
            prop_assert!((1..=200).contains(&alert.facts.fingerprint.len()));
            prop_assert!((1..=500).contains(&alert.group_key.len()));
            prop_assert!(canonical::to_bytes(&alert.facts).is_ok());
        }
    }
}
