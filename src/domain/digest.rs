//! A SHA-256 digest of tagged, versioned bytes.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// `sha256(len(tag) ‖ tag ‖ version ‖ bytes)`, shown as `sha256:` and 64 hexadecimal digits.
///
/// The tag says what kind of document the bytes are, so that no document of one kind can stand for one of another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Digests `bytes` as a document of kind `tag` (at most 255 bytes) in format `version`.
    #[must_use]
    pub fn of(tag: &str, version: u16, bytes: &[u8]) -> Self {
        let tag_len = u8::try_from(tag.len()).expect("tags are short constants of this crate");
        let mut hash = Sha256::new();
        hash.update([tag_len]);
        hash.update(tag.as_bytes());
        hash.update(version.to_be_bytes());
        hash.update(bytes);
        Self(hash.finalize().into())
    }

    /// The plain SHA-256 of `bytes`, for content addresses and foreign checksums.
    #[must_use]
    pub fn of_content(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Wraps 32 stored bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads a stored column; `None` when it is not 32 bytes long.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal digits without the `sha256:` prefix.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 64];
        hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str("sha256:")?;
        f.write_str(str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a digest: expected `sha256:` followed by 64 hexadecimal digits")]
pub struct DigestError;

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let digits = text.strip_prefix("sha256:").ok_or(DigestError)?;
        if digits.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(DigestError);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| DigestError)?;
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Digest {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^sha256:[0-9a-f]{64}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_vector() {
        // printf '\004plan\000\001{}' | sha256sum
        assert_eq!(
            Digest::of("plan", 1, b"{}").to_string(),
            "sha256:b8d449f6545ed6896e4059009026da63a82bee7225a7c05834c90489984c50db"
        );
    }

    #[test]
    fn tag_version_and_bytes_are_told_apart() {
        let all = [
            Digest::of("plan", 1, b"x"),
            Digest::of("plan", 2, b"x"),
            Digest::of("planx", 1, b""),
            Digest::of("plan", 1, b"y"),
        ];
        for (i, a) in all.iter().enumerate() {
            for b in &all[i + 1..] {
                assert_ne!(a, b);
            }
        }
    }

    #[test]
    fn text_reads_back() {
        let digest = Digest::of("plan", 1, b"{}");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!(digest.hex().parse::<Digest>().is_err(), "the prefix is needed");
        assert!(digest.to_string().to_uppercase().parse::<Digest>().is_err());
    }
}
