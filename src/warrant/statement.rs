//! What an approver's yes consists of: a statement over exactly one plan, signed by the gateway's key.
//!
//! Signing is the gateway's business (`approval`); checking is the router's and the auditor's. The statement's canonical
//! bytes are stored beside the signature, and it is those bytes that are verified, never a re-serialisation.

use std::collections::BTreeMap;

use chrono::{DateTime, SubsecRound, Utc};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::domain::{ApprovalId, CanonicalError, Digest, PersonId, PlanId, TenantId, Tier, canonical};

/// Tag of what is signed.
pub const TAG: &str = "carapulse.approval";
/// Format version of [`Statement`].
pub const VERSION: u16 = 1;

/// The signed yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The request that is answered.
    pub approval_id: ApprovalId,
    /// The plan.
    pub plan_id: PlanId,
    /// Digest of the plan's stored bytes, as the approver saw it.
    pub plan_digest: Digest,
    /// Whose plan it is.
    pub tenant_id: TenantId,
    /// Who said yes.
    pub approver_person_id: PersonId,
    /// Up to which tier the yes counts.
    pub tier: Tier,
    /// Until when an execution may be started on it; whole microseconds.
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    pub expires_at: DateTime<Utc>,
    /// Generation of the installation: a restore voids it.
    pub generation: i64,
}

/// A statement's stored form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Canonical bytes of the statement.
    pub statement: Vec<u8>,
    /// Id of the signing key.
    pub key_id: String,
    /// Ed25519 signature over the tagged digest of the bytes.
    pub signature: [u8; 64],
}

/// Why a stored statement proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// No key of this id is trusted.
    #[error("the approval is signed by key `{0}`, which is not trusted here")]
    UnknownKey(String),
    /// The signature is not of that key over these bytes.
    #[error("the approval's signature does not fit its bytes")]
    Signature,
    /// The bytes are no statement.
    #[error("the approval's statement is unreadable: {0}")]
    Unreadable(#[from] CanonicalError),
}

impl Statement {
    /// Signs the canonical bytes.
    pub fn sign(&self, key: &SigningKey) -> Result<Signed, StatementError> {
        let statement = canonical::to_bytes(self)?;
        let signature = key.sign(signed_bytes(&statement).as_bytes()).to_bytes();
        Ok(Signed {
            statement,
            key_id: key_id(&key.verifying_key()),
            signature,
        })
    }
}

/// Public keys whose statements count, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApprovalKeys(BTreeMap<String, VerifyingKey>);

impl ApprovalKeys {
    /// Trusts `keys` and nothing else.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Self {
        Self(keys.into_iter().map(|key| (key_id(&key), key)).collect())
    }

    /// Verifies the signature over the stored bytes, then reads them.
    pub fn verify(
        &self,
        key_id: &str,
        statement: &[u8],
        signature: &[u8],
    ) -> Result<Statement, StatementError> {
        let key = self
            .0
            .get(key_id)
            .ok_or_else(|| StatementError::UnknownKey(key_id.to_owned()))?;
        let signature = Signature::from_slice(signature).map_err(|_| StatementError::Signature)?;
        key.verify_strict(signed_bytes(statement).as_bytes(), &signature)
            .map_err(|_| StatementError::Signature)?;
        Ok(canonical::from_bytes(statement)?)
    }
}

/// The first 8 bytes of the key's SHA-256, in hexadecimal.
#[must_use]
pub fn key_id(key: &VerifyingKey) -> String {
    hex::encode(&Sha256::digest(key.as_bytes())[..8])
}

fn signed_bytes(statement: &[u8]) -> Digest {
    Digest::of(TAG, VERSION, statement)
}

fn write_time<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(
        &time
            .trunc_subsecs(6)
            .to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
    )
}

fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    let text = String::deserialize(deserializer)?;
    DateTime::parse_from_rfc3339(&text)
        .map(|time| time.to_utc())
        .map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn statement() -> Statement {
        Statement {
            approval_id: ApprovalId::from_uuid(Uuid::from_u128(1)),
            plan_id: PlanId::from_uuid(Uuid::from_u128(2)),
            plan_digest: Digest::of_content(b"plan"),
            tenant_id: "default".parse().expect("tenant"),
            approver_person_id: PersonId::from_uuid(Uuid::from_u128(3)),
            tier: Tier::Standard,
            expires_at: DateTime::from_timestamp(1_800_000_000, 123_456_789).expect("time"),
            generation: 1,
        }
    }

    #[test]
    fn golden_bytes_and_signature() {
        let signed = statement().sign(&key(7)).expect("signed");
        insta::assert_snapshot!(format!(
            "{}\n{}\n{}",
            String::from_utf8(signed.statement).expect("UTF-8"),
            signed.key_id,
            hex::encode(signed.signature)
        ));
    }

    #[test]
    fn a_statement_verifies_under_its_key_and_reads_back() {
        let signed = statement().sign(&key(7)).expect("signed");
        let keys = ApprovalKeys::new([key(7).verifying_key()]);
        let read = keys
            .verify(&signed.key_id, &signed.statement, &signed.signature)
            .expect("verifies");
        assert_eq!(read.sign(&key(7)).expect("signed"), signed);
    }

    #[test]
    fn another_key_another_byte_and_another_document_kind_are_refused() {
        let signed = statement().sign(&key(7)).expect("signed");
        let keys = ApprovalKeys::new([key(7).verifying_key()]);
        let unknown = statement().sign(&key(8)).expect("signed");
        assert!(matches!(
            keys.verify(&unknown.key_id, &unknown.statement, &unknown.signature),
            Err(StatementError::UnknownKey(_))
        ));
        assert_eq!(
            keys.verify(&signed.key_id, &unknown.statement, &unknown.signature),
            Err(StatementError::Signature),
            "signed by another key under this key's id"
        );
        for index in 0..signed.statement.len() {
            let mut bytes = signed.statement.clone();
            bytes[index] ^= 1;
            assert_eq!(
                keys.verify(&signed.key_id, &bytes, &signed.signature),
                Err(StatementError::Signature)
            );
        }
        let untagged = key(7).sign(&signed.statement).to_bytes();
        assert_eq!(
            keys.verify(&signed.key_id, &signed.statement, &untagged),
            Err(StatementError::Signature)
        );
    }
}
