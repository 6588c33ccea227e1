//! Sealed boxes: what only the addressed sandbox can open.
//!
//! An ephemeral X25519 key, HKDF-SHA256 over the shared secret and both public keys, AES-256-GCM. The key serves one
//! message, so the nonce is zero. Layout: ephemeral public key (32) ‖ ciphertext ‖ tag (16).

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    agreement::{EphemeralPrivateKey, PrivateKey, UnparsedPublicKey, X25519, agree, agree_ephemeral},
    error::Unspecified,
    hkdf,
    rand::SystemRandom,
};

const INFO: &[u8] = b"carapulse.sandbox.seal.v1";
const PUBLIC_KEY_BYTES: usize = 32;

/// The box was not made for this key, or was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed box cannot be made or opened")]
pub struct SealError;

impl From<Unspecified> for SealError {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

/// A sandbox's private key.
pub struct SealingKey {
    private: PrivateKey,
    public: SealingPublicKey,
}

/// The public half, for the tool-router's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealingPublicKey([u8; PUBLIC_KEY_BYTES]);

impl SealingKey {
    /// The key of a 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, SealError> {
        let private = PrivateKey::from_private_key(&X25519, seed).map_err(|_| SealError)?;
        let public = private.compute_public_key()?;
        let public = SealingPublicKey(public.as_ref().try_into().map_err(|_| SealError)?);
        Ok(Self { private, public })
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> SealingPublicKey {
        self.public
    }

    /// Opens a box; `bound` is what it was bound to.
    pub(super) fn open(&self, sealed: &[u8], bound: &[u8]) -> Result<Vec<u8>, SealError> {
        let (ephemeral, ciphertext) = sealed.split_at_checked(PUBLIC_KEY_BYTES).ok_or(SealError)?;
        let peer = UnparsedPublicKey::new(&X25519, ephemeral);
        let key = agree(&self.private, peer, SealError, |secret| {
            key(secret, ephemeral, &self.public.0)
        })?;
        let mut bytes = ciphertext.to_vec();
        let length = key.open_in_place(zero(), Aad::from(bound), &mut bytes)?.len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl SealingPublicKey {
    /// The key of these 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; PUBLIC_KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.0
    }

    /// Seals bytes for the holder of the private half, bound to `bound`.
    pub(super) fn seal(&self, bytes: &[u8], bound: &[u8]) -> Result<Vec<u8>, SealError> {
        let ephemeral = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new())?;
        let public = ephemeral.compute_public_key()?;
        let peer = UnparsedPublicKey::new(&X25519, &self.0);
        let key = agree_ephemeral(ephemeral, peer, SealError, |secret| {
            key(secret, public.as_ref(), &self.0)
        })?;
        let mut ciphertext = bytes.to_vec();
        key.seal_in_place_append_tag(zero(), Aad::from(bound), &mut ciphertext)?;
        let mut sealed = public.as_ref().to_vec();
        sealed.append(&mut ciphertext);
        Ok(sealed)
    }
}

fn key(secret: &[u8], ephemeral: &[u8], recipient: &[u8]) -> Result<LessSafeKey, SealError> {
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(secret);
    let info = [INFO, ephemeral, recipient];
    let okm = prk.expand(&info, &AES_256_GCM)?;
    Ok(LessSafeKey::new(UnboundKey::from(okm)))
}

fn zero() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_addressed_key_opens_an_unchanged_box() {
        let key = SealingKey::from_seed(&[7; 32]).expect("a key");
        let other = SealingKey::from_seed(&[8; 32]).expect("a key");
        let sealed = key.public().seal(b"kubeconfig", b"job 1").expect("seals");
        assert_eq!(key.open(&sealed, b"job 1").expect("opens"), b"kubeconfig");
        assert!(!sealed.windows(4).any(|w| w == b"kube"));
        assert_eq!(other.open(&sealed, b"job 1"), Err(SealError));
        assert_eq!(key.open(&sealed, b"job 2"), Err(SealError));
        for at in [0, 40, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(&changed, b"job 1"), Err(SealError));
        }
        assert_eq!(key.open(&[], b"job 1"), Err(SealError));
    }
}
