//! A value that is replaced while the process runs: a secret whose file was rotated, a list of keys.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

/// How long the value before the present one is still accepted. It must outlast the time that a rotated file needs to
/// reach every machine: a mounted Kubernetes Secret takes up to two minutes.
pub const GRACE: Duration = Duration::from_secs(300);

/// The present value, and for [`GRACE`] the one before it. Cheap to clone; every clone sees a replacement.
pub struct Rotating<T>(Arc<ArcSwap<Held<T>>>);

struct Held<T> {
    present: Arc<T>,
    before: Option<(Arc<T>, Instant)>,
}

impl<T> Rotating<T> {
    /// Holds `value` until it is replaced.
    #[must_use]
    pub fn new(value: T) -> Self {
        let held = Held {
            present: Arc::new(value),
            before: None,
        };
        Self(Arc::new(ArcSwap::from_pointee(held)))
    }

    /// The value to use.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.load().present)
    }

    /// The values to accept from others, or to offer one after the other: the present one first.
    #[must_use]
    pub fn accepted(&self) -> Vec<Arc<T>> {
        self.accepted_within(GRACE)
    }

    /// Puts `value` in place. The one that was present is accepted for a while; the one before that no longer.
    pub fn replace(&self, value: T) {
        let before = Some((self.get(), Instant::now()));
        let present = Arc::new(value);
        self.0.store(Arc::new(Held { present, before }));
    }

    fn accepted_within(&self, grace: Duration) -> Vec<Arc<T>> {
        let held = self.0.load();
        let before = held.before.iter().filter(|(_, until)| until.elapsed() < grace);
        std::iter::once(&held.present)
            .chain(before.map(|(value, _)| value))
            .cloned()
            .collect()
    }
}

impl<T> Clone for Rotating<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> From<T> for Rotating<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: fmt::Debug> fmt::Debug for Rotating<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rotating").field(&self.0.load().present).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clone_sees_the_new_value_and_the_old_one_is_accepted_for_a_while() {
        let secret = Rotating::new("first");
        let user = secret.clone();
        assert_eq!(user.accepted(), [Arc::new("first")]);
        secret.replace("second");
        assert_eq!(*user.get(), "second");
        assert_eq!(user.accepted(), [Arc::new("second"), Arc::new("first")]);
        assert_eq!(user.accepted_within(Duration::ZERO), [Arc::new("second")]);
        secret.replace("third");
        assert_eq!(user.accepted(), [Arc::new("third"), Arc::new("second")]);
    }
}
