//! Ctrl-C and SIGTERM as something to look at, so that a cluster is torn down instead of left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use nix::sys::signal::Signal;

/// Remembers the last of SIGINT, SIGTERM, SIGHUP that this process was sent.
pub struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// From here on these signals no longer end this process.
    pub fn install() -> Result<Self> {
        let seen = Arc::new(AtomicUsize::new(0));
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            signal_hook::flag::register_usize(signal as i32, Arc::clone(&seen), signal as usize)?;
        }
        Ok(Self(seen))
    }

    /// The signal that came, if one did.
    pub fn seen(&self) -> Option<Signal> {
        let number = i32::try_from(self.0.load(Ordering::Relaxed)).ok()?;
        Signal::try_from(number).ok()
    }
}
