//! Any bytes as a signed note, a checkpoint, a verifier key, a trust file: read or refused, never a panic.
#![no_main]

use carapulse::audit::{
    Trust,
    checkpoint::Checkpoint,
    note::{Note, VerifierKey},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(note) = Note::parse(bytes) {
        assert!(note.verify(&[]).is_err(), "nobody is trusted");
    }
    assert!(Checkpoint::open(bytes, &[]).is_err());
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(key) = text.parse::<VerifierKey>() {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        let _ = Trust::parse(text);
    }
});
