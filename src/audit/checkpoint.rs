//! Signed heads of the log (C2SP `tlog-checkpoint`): origin, size, root, and one extension line with the generation.
//!
//! ```text
//! carapulse/0198c0ffee…
//! 4711
//! 2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWAAE=
//! generation 1
//!
//! — carapulse/0198c0ffee… x08go/…
//! ```

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use uuid::Uuid;

use super::{
    merkle::Hash,
    note::{Note, NoteError, NoteSigner, VerifierKey},
};
use crate::store::Db;

/// What a signed head says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log; also the name of the key.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
    /// Generation of the installation: raised by a restore.
    pub generation: i64,
}

/// Which installation the database is.
///
/// # Errors
/// [`Error::Store`](super::Error::Store).
pub async fn installation_id(db: &Db) -> Result<Uuid, super::Error> {
    let mut tx = db.begin_global().await?;
    let installation = super::sequencer::store::installation(&mut tx).await?;
    tx.commit().await?;
    Ok(installation.installation_id)
}

/// The origin of an installation's log.
#[must_use]
pub fn origin(installation: Uuid) -> String {
    format!("carapulse/{}", installation.simple())
}

impl Checkpoint {
    /// The signed note. The signer's name must be the origin.
    pub fn sign(&self, signer: &NoteSigner) -> Result<String, NoteError> {
        if signer.verifier().name() != self.origin {
            return Err(NoteError::Malformed("the key is named for another log"));
        }
        signer.sign(&self.text())
    }

    /// Reads a note signed by one of `keys`; the origin must be the name of one of them.
    pub fn open(note: &[u8], keys: &[VerifierKey]) -> Result<Self, NoteError> {
        let note = Note::parse(note)?;
        let checkpoint = Self::parse(note.verify(keys)?)?;
        let own: Vec<VerifierKey> = keys
            .iter()
            .filter(|key| key.name() == checkpoint.origin)
            .cloned()
            .collect();
        note.verify(&own)?;
        Ok(checkpoint)
    }

    fn text(&self) -> String {
        format!(
            "{}\n{}\n{}\ngeneration {}\n",
            self.origin,
            self.size,
            BASE64.encode(self.root),
            self.generation
        )
    }

    /// Reads a checkpoint's text. Further extension lines are refused: we write none.
    fn parse(text: &str) -> Result<Self, NoteError> {
        const BAD: NoteError = NoteError::Malformed("the text is no checkpoint");
        let mut lines = text.split('\n');
        let mut next = || lines.next().ok_or(BAD);
        let (origin, size, root, generation) = (next()?, next()?, next()?, next()?);
        let checkpoint = Self {
            origin: origin.to_owned(),
            size: size.parse().map_err(|_| BAD)?,
            root: BASE64
                .decode(root)
                .ok()
                .and_then(|root| root.try_into().ok())
                .ok_or(BAD)?,
            generation: generation
                .strip_prefix("generation ")
                .and_then(|number| number.parse().ok())
                .ok_or(BAD)?,
        };
        // One text says one thing: no leading zeros, signs, or trailing lines.
        if checkpoint.text() == text {
            Ok(checkpoint)
        } else {
            Err(BAD)
        }
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    fn signer(name: &str, seed: u8) -> NoteSigner {
        NoteSigner::new(name, SigningKey::from_bytes(&[seed; 32])).expect("signer")
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            origin: "carapulse/test".to_owned(),
            size: 20,
            root: [5; 32],
            generation: 3,
        }
    }

    #[test]
    fn golden_note() {
        let note = checkpoint().sign(&signer("carapulse/test", 1)).expect("note");
        assert!(
            note.starts_with("carapulse/test\n20\nBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=\ngeneration 3\n\n\u{2014} carapulse/test "),
            "{note}"
        );
        let keys = [signer("carapulse/test", 1).verifier().clone()];
        assert_eq!(Checkpoint::open(note.as_bytes(), &keys), Ok(checkpoint()));
    }

    #[test]
    fn a_key_of_another_log_is_no_authority() {
        assert!(checkpoint().sign(&signer("carapulse/other", 1)).is_err());
        let other = signer("carapulse/other", 1);
        let note = other.sign(&checkpoint().text()).expect("note");
        assert_eq!(
            Checkpoint::open(note.as_bytes(), &[other.verifier().clone()]),
            Err(NoteError::Untrusted)
        );
    }

    #[test]
    fn texts_that_say_the_same_differently_are_refused() {
        for bad in [
            "carapulse/test\n020\nBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=\ngeneration 3\n",
            "carapulse/test\n+20\nBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=\ngeneration 3\n",
            "carapulse/test\n20\nBQUF\ngeneration 3\n",
            "carapulse/test\n20\nBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=\n",
            "carapulse/test\n20\nBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=\ngeneration 3\nmore\n",
        ] {
            assert!(Checkpoint::parse(bad).is_err(), "{bad:?}");
        }
    }
}
