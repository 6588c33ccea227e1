//! Whether this process may write: not while its clock is far from the database's, and not in a database that was restored
//! and that nobody has looked at yet.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

/// The most that clocks may be apart, in milliseconds. Beyond it times of different machines are not comparable.
pub const MAX_SKEW: i64 = 2000;

/// What was measured last. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct WriteGate(Arc<Measured>);

#[derive(Debug, Default)]
struct Measured {
    waits: AtomicBool,
    skew_millis: AtomicI64,
    read_only: AtomicBool,
}

/// Why nothing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WritesRefused {
    /// Nothing was measured yet.
    #[error(
        "this machine's clock could not be compared with the database's yet: nothing is written until it was"
    )]
    Unmeasured,
    /// The clocks are this far apart.
    #[error(
        "this machine's clock is {0} ms from the database's, more than {MAX_SKEW} ms: nothing is written until it is set"
    )]
    ClockSkew(i64),
    /// The database was restored.
    #[error(
        "the database was restored from a backup: nothing is written until `carapulse restore acknowledge`"
    )]
    ReadOnly,
}

impl WriteGate {
    /// One that stays shut until [`Self::open`]: a process that starts knows nothing yet.
    #[must_use]
    pub fn unmeasured() -> Self {
        let gate = Self::default();
        gate.0.waits.store(true, Ordering::Release);
        gate
    }

    /// Everything was measured once.
    pub fn open(&self) {
        self.0.waits.store(false, Ordering::Release);
    }

    /// Keeps a measurement: how far ahead this process' clock is.
    pub fn set_skew(&self, millis: i64) {
        self.0.skew_millis.store(millis, Ordering::Release);
    }

    /// Keeps what the database says of itself.
    pub fn set_read_only(&self, read_only: bool) {
        self.0.read_only.store(read_only, Ordering::Release);
    }

    /// The last measurement.
    #[must_use]
    pub fn skew_millis(&self) -> i64 {
        self.0.skew_millis.load(Ordering::Acquire)
    }

    /// Whether the clocks agree.
    ///
    /// # Errors
    /// [`WritesRefused::ClockSkew`], [`WritesRefused::Unmeasured`].
    pub fn check_clock(&self) -> Result<(), WritesRefused> {
        if self.0.waits.load(Ordering::Acquire) {
            return Err(WritesRefused::Unmeasured);
        }
        match self.skew_millis() {
            skew if skew.unsigned_abs() > MAX_SKEW.unsigned_abs() => Err(WritesRefused::ClockSkew(skew)),
            _ => Ok(()),
        }
    }

    /// Whether the database is none that was restored and that nobody has looked at yet.
    ///
    /// # Errors
    /// [`WritesRefused::ReadOnly`].
    pub fn check_restored(&self) -> Result<(), WritesRefused> {
        match self.0.read_only.load(Ordering::Acquire) {
            true => Err(WritesRefused::ReadOnly),
            false => Ok(()),
        }
    }

    /// Whether something may be written.
    ///
    /// # Errors
    /// [`WritesRefused`].
    pub fn check(&self) -> Result<(), WritesRefused> {
        self.check_restored()?;
        self.check_clock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_seconds_either_way_are_borne_and_no_more() {
        let gate = WriteGate::unmeasured();
        assert_eq!(gate.check(), Err(WritesRefused::Unmeasured));
        gate.open();
        assert!(gate.check().is_ok());
        for (millis, fine) in [
            (2000, true),
            (-2000, true),
            (2001, false),
            (-2001, false),
            (i64::MIN, false),
        ] {
            gate.clone().set_skew(millis);
            assert_eq!(gate.check().is_ok(), fine, "{millis}");
        }
        gate.set_skew(-3_600_000);
        assert!(gate.check().unwrap_err().to_string().contains("-3600000 ms"));
    }

    #[test]
    fn a_restored_database_says_so_whatever_the_clocks_say() {
        let gate = WriteGate::default();
        gate.set_read_only(true);
        assert_eq!(gate.check(), Err(WritesRefused::ReadOnly));
        assert!(gate.check_clock().is_ok());
        gate.set_read_only(false);
        assert!(gate.check().is_ok());
    }
}
