//! Any bytes as an evidence bundle: read or refused, never a panic, never proven without keys.
#![no_main]

use carapulse::audit::{
    Trust,
    bundle::{read, verify_bundle, write},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(files) = read(bytes) {
        let written = write(&files).expect("what was read can be written");
        assert_eq!(read(&written).expect("and read again"), files);
    }
    assert!(!verify_bundle(bytes, &Trust::default()).passed(), "nothing is proven without keys");
});
