//! What a leaf of the log commits to.
//!
//! `commitment = sha256("carapulse.audit.v1" ‖ salt ‖ body)`, `leaf = sha256(0x00 ‖ commitment)`. The salt (16 random bytes)
//! keeps the hash from telling anything about a body that retention has removed: body and salt go, the hash stays, and
//! every proof still holds.

use sha2::{Digest as _, Sha256};

use super::merkle::{self, Hash};

/// What every commitment starts with.
pub const TAG: &[u8] = b"carapulse.audit.v1";

/// Length of a salt.
pub const SALT_BYTES: usize = 16;

/// Hash of the leaf for canonical `body` under `salt`.
#[must_use]
pub fn hash(salt: &[u8; SALT_BYTES], body: &[u8]) -> Hash {
    merkle::leaf_hash(&commitment(salt, body))
}

fn commitment(salt: &[u8; SALT_BYTES], body: &[u8]) -> Hash {
    let mut hash = Sha256::new();
    hash.update(TAG);
    hash.update(salt);
    hash.update(body);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_vector() {
        // (printf '\0'; printf 'carapulse.audit.v10123456789abcdef{}' | sha256sum | cut -c-64 | xxd -r -p) | sha256sum
        assert_eq!(
            hex::encode(hash(b"0123456789abcdef", b"{}")),
            "05f76dbcf22216606e73873bf17d1f6b87bb6d445e4989c4ca1a0f20c0f6bded"
        );
    }

    #[test]
    fn salt_and_body_both_count() {
        let base = hash(b"0123456789abcdef", b"{}");
        assert_ne!(base, hash(b"1123456789abcdef", b"{}"));
        assert_ne!(base, hash(b"0123456789abcdef", b"{ }"));
    }
}
