//! What a verifier believes before it reads anything: keys, from a file that came another way than what is verified.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

use super::note::VerifierKey;

/// The trust file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Not the JSON that is expected.
    #[error("the trust file is not valid: {0}")]
    Json(#[from] serde_json::Error),
    /// A key in it cannot be read.
    #[error("the trust file's {0} is not a key")]
    Key(String),
}

/// The public keys of one installation.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Keys of the sequencer: sign checkpoints.
    pub checkpoint_keys: Vec<VerifierKey>,
    /// Keys of the gateway: sign approvals.
    pub approval_keys: Vec<ApprovalKey>,
}

/// A key that signs approvals.
#[derive(Debug, Clone)]
pub struct ApprovalKey {
    /// As it stands in `approval_grant.key_id`.
    pub key_id: String,
    /// Its public half.
    pub key: VerifyingKey,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    checkpoint_keys: Vec<String>,
    #[serde(default)]
    approval_keys: Vec<FileKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileKey {
    key_id: String,
    public_key: String,
}

impl Trust {
    /// Reads `{"checkpoint_keys": ["name+hash+base64"], "approval_keys": [{"key_id": "…", "public_key": "base64 of 32 bytes"}]}`.
    ///
    /// # Errors
    /// [`TrustError`]: unknown fields and unreadable keys are refused.
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        let file: File = serde_json::from_str(text)?;
        let checkpoint_keys = file
            .checkpoint_keys
            .iter()
            .map(|key| {
                key.parse()
                    .map_err(|_| TrustError::Key(format!("checkpoint key `{key}`")))
            })
            .collect::<Result<_, _>>()?;
        let approval_keys = file
            .approval_keys
            .into_iter()
            .map(approval_key)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            checkpoint_keys,
            approval_keys,
        })
    }

    /// The text that [`Trust::parse`] reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        let file = File {
            checkpoint_keys: self.checkpoint_keys.iter().map(ToString::to_string).collect(),
            approval_keys: self
                .approval_keys
                .iter()
                .map(|key| FileKey {
                    key_id: key.key_id.clone(),
                    public_key: BASE64.encode(key.key.as_bytes()),
                })
                .collect(),
        };
        let mut text = serde_json::to_string_pretty(&file).unwrap_or_default();
        text.push('\n');
        text
    }
}

fn approval_key(file: FileKey) -> Result<ApprovalKey, TrustError> {
    let key = BASE64
        .decode(&file.public_key)
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok())
        .ok_or_else(|| TrustError::Key(format!("approval key `{}`", file.key_id)))?;
    Ok(ApprovalKey {
        key_id: file.key_id,
        key,
    })
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    #[test]
    fn a_trust_file_reads_back() {
        let key = SigningKey::from_bytes(&[3; 32]).verifying_key();
        let trust = Trust {
            checkpoint_keys: vec![VerifierKey::new("carapulse/x", key).expect("key")],
            approval_keys: vec![ApprovalKey {
                key_id: "k1".to_owned(),
                key,
            }],
        };
        let read = Trust::parse(&trust.to_text()).expect("reads back");
        assert_eq!(read.checkpoint_keys, trust.checkpoint_keys);
        assert_eq!(read.approval_keys[0].key, key);
    }

    #[test]
    fn unknown_fields_and_bad_keys_are_refused() {
        for bad in [
            r"{}",
            r#"{"checkpoint_keys": [], "keys": []}"#,
            r#"{"checkpoint_keys": ["a+b+c"]}"#,
            r#"{"checkpoint_keys": [], "approval_keys": [{"key_id": "k", "public_key": "AAAA"}]}"#,
        ] {
            assert!(Trust::parse(bad).is_err(), "{bad}");
        }
    }
}
