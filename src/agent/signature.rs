//! Slack's request signature, version 0: HMAC-SHA256 over `v0:<timestamp>:<raw body>`.

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// How far a timestamp may be from now, either way.
pub const WINDOW_SECS: i64 = 300;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A header is missing or unreadable.
    #[error("a signature header is missing")]
    Missing,
    /// Too old, or from the future.
    #[error("the timestamp is more than 300 s away")]
    Time,
    /// The signature is not that of this body.
    #[error("the signature is wrong")]
    Signature,
}

/// Checks time and signature of a body as it came.
pub fn check(
    secret: &SecretString,
    headers: &HeaderMap,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let header = |name: &str| headers.get(name)?.to_str().ok();
    let timestamp = header("x-slack-request-timestamp").ok_or(Refusal::Missing)?;
    let given = header("x-slack-signature")
        .and_then(|text| text.strip_prefix("v0="))
        .ok_or(Refusal::Missing)?;
    let given = hex::decode(given).map_err(|_| Refusal::Signature)?;
    let seconds: i64 = timestamp.parse().map_err(|_| Refusal::Missing)?;
    let away = now.timestamp().checked_sub(seconds).ok_or(Refusal::Time)?;
    if away.unsigned_abs() > WINDOW_SECS.unsigned_abs() {
        return Err(Refusal::Time);
    }
    mac(secret, timestamp, body)
        .verify_slice(&given)
        .map_err(|_| Refusal::Signature)
}

/// The `X-Slack-Signature` of a body, as Slack makes it.
#[must_use]
pub fn sign(secret: &SecretString, timestamp: &str, body: &[u8]) -> String {
    format!(
        "v0={}",
        hex::encode(mac(secret, timestamp, body).finalize().into_bytes())
    )
}

fn mac(secret: &SecretString, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
        .expect("HMAC takes keys of any length");
    for part in [b"v0:", timestamp.as_bytes(), b":", body] {
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_slacks_own_documentation_is_accepted_in_its_window_only() {
        let secret = SecretString::from("8f742231b10e8888abcd99yyyzzz85a5".to_owned());
        let body = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
        let signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
        let at = |seconds: i64| DateTime::from_timestamp(seconds, 0).expect("a time");
        let headers = |timestamp: &str, signature: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-slack-request-timestamp", timestamp.parse().expect("a header"));
            headers.insert("x-slack-signature", signature.parse().expect("a header"));
            headers
        };
        let good = headers("1531420618", signature);
        assert_eq!(check(&secret, &good, body, at(1_531_420_618)), Ok(()));
        assert_eq!(check(&secret, &good, body, at(1_531_420_918)), Ok(()));
        assert_eq!(check(&secret, &good, body, at(1_531_420_919)), Err(Refusal::Time));
        assert_eq!(check(&secret, &good, body, at(1_531_420_317)), Err(Refusal::Time));
        assert_eq!(
            check(&secret, &good, b"token=other", at(1_531_420_618)),
            Err(Refusal::Signature)
        );
        assert_eq!(
            check(
                &secret,
                &headers("1531420619", signature),
                body,
                at(1_531_420_618)
            ),
            Err(Refusal::Signature)
        );
        assert_eq!(
            check(&secret, &HeaderMap::new(), body, at(0)),
            Err(Refusal::Missing)
        );
        assert_eq!(
            check(&secret, &headers("-9223372036854775808", signature), body, at(1)),
            Err(Refusal::Time)
        );
        assert_eq!(sign(&secret, "1531420618", body), signature);
    }
}
