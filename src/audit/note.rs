//! Signed notes (C2SP `signed-note`) with Ed25519: a text, a blank line, and one line a signature.
//!
//! In: text and keys. Out: a note, or the text that a trusted key signed. Always holds: text is handed out by
//! [`Note::verify`] only, so no unverified text is taken for a verified one by accident.
//! Not here: what the text says (see [`super::checkpoint`]).

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

/// Signature type of Ed25519 in a key.
const ED25519: u8 = 1;
/// Longest note that is read.
const MAX_BYTES: usize = 64 * 1024;
/// Most signature lines that are read.
const MAX_SIGNATURES: usize = 16;

/// The note or key cannot be read, or nobody trusted signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a signed note.
    #[error("not a signed note: {0}")]
    Malformed(&'static str),
    /// Not a key in the form `name+hash+base64`.
    #[error("not a verifier key: expected `name+hash+base64` of an Ed25519 key")]
    Key,
    /// No signature by a trusted key.
    #[error("no signature by a trusted key")]
    Untrusted,
    /// A trusted key's name and hash stand under a signature that it did not make.
    #[error("a signature that claims a trusted key is wrong")]
    Signature,
}

/// The public half of a signing key: `name+hash+base64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: VerifyingKey,
}

impl VerifierKey {
    /// Names a public key. A name has no space and no `+`.
    pub fn new(name: &str, key: VerifyingKey) -> Result<Self, NoteError> {
        if !name_is_valid(name) {
            return Err(NoteError::Key);
        }
        Ok(Self {
            name: name.to_owned(),
            key,
        })
    }

    /// The key's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn hash(&self) -> [u8; 4] {
        let mut hash = Sha256::new();
        hash.update(self.name.as_bytes());
        hash.update(b"\n");
        hash.update([ED25519]);
        hash.update(self.key.as_bytes());
        let hash: [u8; 32] = hash.finalize().into();
        [hash[0], hash[1], hash[2], hash[3]]
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![ED25519];
        bytes.extend_from_slice(self.key.as_bytes());
        write!(
            f,
            "{}+{}+{}",
            self.name,
            hex::encode(self.hash()),
            BASE64.encode(bytes)
        )
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (name, rest) = text.split_once('+').ok_or(NoteError::Key)?;
        let (hash, key) = rest.split_once('+').ok_or(NoteError::Key)?;
        let bytes = BASE64.decode(key).map_err(|_| NoteError::Key)?;
        let Some((&ED25519, key)) = bytes.split_first() else {
            return Err(NoteError::Key);
        };
        let key: &[u8; 32] = key.try_into().map_err(|_| NoteError::Key)?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| NoteError::Key)?;
        let key = Self::new(name, key)?;
        if hex::encode(key.hash()) == hash {
            Ok(key)
        } else {
            Err(NoteError::Key)
        }
    }
}

/// A named signing key.
pub struct NoteSigner {
    public: VerifierKey,
    key: SigningKey,
}

impl NoteSigner {
    /// Names a signing key. A name has no space and no `+`.
    pub fn new(name: &str, key: SigningKey) -> Result<Self, NoteError> {
        Ok(Self {
            public: VerifierKey::new(name, key.verifying_key())?,
            key,
        })
    }

    /// The public half.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.public
    }

    /// Signs a text, which must end with a line break and hold no blank line, as a note.
    pub fn sign(&self, text: &str) -> Result<String, NoteError> {
        if !text.ends_with('\n') || text.contains("\n\n") || text.starts_with('\n') || has_control(text) {
            return Err(NoteError::Malformed("the text cannot be signed as a note"));
        }
        let mut bytes = self.public.hash().to_vec();
        bytes.extend_from_slice(&self.key.sign(text.as_bytes()).to_bytes());
        Ok(format!(
            "{text}\n\u{2014} {} {}\n",
            self.public.name,
            BASE64.encode(bytes)
        ))
    }
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NoteSigner")
            .field(&self.public.to_string())
            .finish()
    }
}

/// A note that was read, and verified by nobody yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature {
    name: String,
    hash: [u8; 4],
    bytes: Vec<u8>,
}

impl Note {
    /// Reads a note of at most 64 KiB with at most 16 signatures.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_BYTES {
            return Err(NoteError::Malformed("longer than 64 KiB"));
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed("not UTF-8"))?;
        if has_control(note) {
            return Err(NoteError::Malformed("control characters"));
        }
        let end = note.rfind("\n\n").ok_or(NoteError::Malformed("no blank line"))?;
        let (text, lines) = (&note[..=end], &note[end + 2..]);
        let lines = lines
            .strip_suffix('\n')
            .ok_or(NoteError::Malformed("no line break at the end"))?;
        let signatures: Vec<Signature> = lines
            .split('\n')
            .take(MAX_SIGNATURES + 1)
            .map(parse_signature)
            .collect::<Result<_, _>>()?;
        if signatures.len() > MAX_SIGNATURES {
            return Err(NoteError::Malformed("too many signatures"));
        }
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }

    /// The text, once one of `keys` signed it. A wrong signature under a trusted name and hash fails the whole note.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<&str, NoteError> {
        let mut trusted = false;
        for signature in &self.signatures {
            let Some(key) = keys
                .iter()
                .find(|key| key.name == signature.name && key.hash() == signature.hash)
            else {
                continue;
            };
            let bytes =
                ed25519_dalek::Signature::from_slice(&signature.bytes).map_err(|_| NoteError::Signature)?;
            key.key
                .verify_strict(self.text.as_bytes(), &bytes)
                .map_err(|_| NoteError::Signature)?;
            trusted = true;
        }
        if trusted {
            Ok(&self.text)
        } else {
            Err(NoteError::Untrusted)
        }
    }
}

fn parse_signature(line: &str) -> Result<Signature, NoteError> {
    const BAD: NoteError = NoteError::Malformed("a signature line cannot be read");
    let (name, base64) = line
        .strip_prefix("\u{2014} ")
        .and_then(|rest| rest.split_once(' '))
        .ok_or(BAD)?;
    let bytes = BASE64.decode(base64).map_err(|_| BAD)?;
    let (hash, rest) = bytes.split_first_chunk::<4>().ok_or(BAD)?;
    if !name_is_valid(name) || rest.is_empty() {
        return Err(BAD);
    }
    Ok(Signature {
        name: name.to_owned(),
        hash: *hash,
        bytes: rest.to_vec(),
    })
}

fn name_is_valid(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

fn has_control(text: &str) -> bool {
    text.bytes().any(|b| b < 0x20 && b != b'\n')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of Go's `sumdb/note` package.
    const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const TEXT: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn the_known_note_verifies_and_the_known_key_reads_back() {
        let key: VerifierKey = KEY.parse().expect("key");
        assert_eq!(key.to_string(), KEY);
        let note = Note::parse(NOTE.as_bytes()).expect("note");
        assert_eq!(note.verify(&[key]), Ok(TEXT));
    }

    #[test]
    fn the_known_private_key_signs_the_known_note() {
        let private = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
        let bytes = BASE64
            .decode(private.splitn(5, '+').last().expect("field"))
            .expect("base64");
        let seed: [u8; 32] = bytes[1..].try_into().expect("33 bytes");
        let signer = NoteSigner::new("PeterNeumann", SigningKey::from_bytes(&seed)).expect("signer");
        assert_eq!(signer.sign(TEXT).expect("note"), NOTE);
    }

    #[test]
    fn tampering_and_strangers_are_told_apart() {
        let key: VerifierKey = KEY.parse().expect("key");
        let bent = NOTE.replace("cryptography", "Cryptography");
        let bent = Note::parse(bent.as_bytes()).expect("a note still");
        assert_eq!(bent.verify(std::slice::from_ref(&key)), Err(NoteError::Signature));
        let stranger = NoteSigner::new("stranger", SigningKey::from_bytes(&[7; 32])).expect("signer");
        let note = Note::parse(stranger.sign("hello\n").expect("note").as_bytes()).expect("note");
        assert_eq!(note.verify(std::slice::from_ref(&key)), Err(NoteError::Untrusted));
        assert_eq!(note.verify(&[]), Err(NoteError::Untrusted));
        // Same name, another key: its hash differs, so it is a stranger.
        let impostor = NoteSigner::new("PeterNeumann", SigningKey::from_bytes(&[7; 32])).expect("signer");
        let note = Note::parse(impostor.sign("hello\n").expect("note").as_bytes()).expect("note");
        assert_eq!(note.verify(&[key]), Err(NoteError::Untrusted));
    }

    #[test]
    fn what_is_no_note_is_refused() {
        for bad in [
            "",
            "\n",
            "text\n",
            "text\n\n",
            "text\n\n\u{2014} name AAAA\n",
            "text\n\n- name AAAAAAAA\n",
            "text\n\n\u{2014} name AAAAAAAA",
            "te\rxt\n\n\u{2014} name AAAAAAAA\n",
            "text\n\n\u{2014} na+me AAAAAAAA\n",
        ] {
            assert!(Note::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let many = format!(
            "text\n\n{}",
            "\u{2014} name AAAAAAAA\n".repeat(MAX_SIGNATURES + 1)
        );
        assert!(Note::parse(many.as_bytes()).is_err());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in [
            "",
            "a+b",
            "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a3+ARpc",
        ] {
            assert!(bad.parse::<VerifierKey>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(note) = Note::parse(&bytes) {
                prop_assert!(note.verify(&[]).is_err());
            }
        }
    }
}
