//! Secrets that are rotated while the process runs: their files are read anew, and what uses them gets the new value.
//!
//! Files are read, not watched: a mounted Kubernetes Secret changes by the swap of a link, a network file system without
//! a word, and a dozen small files cost nothing. What does not read leaves the last good value in place, and is said in
//! the log and by a metric.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};

use super::{Lifecycle, OnFailure};
use crate::{
    config::resolve,
    domain::{Rotating, SecretRef},
};

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The secrets of a process that are looked at again and again. Cheap to clone.
#[derive(Clone, Default)]
pub struct SecretWatch(Arc<Mutex<Vec<Watched>>>);

struct Watched {
    /// The setting that names it.
    key: &'static str,
    look: Box<dyn FnMut() -> anyhow::Result<Seen> + Send>,
    /// What was said last about it, so that it is not said at each look.
    said: Option<String>,
}

/// What a look found.
enum Seen {
    /// What is in use.
    Same,
    /// Another value; it is in use now.
    Replaced,
    /// Another value, which only the next start takes up.
    Waits,
}

impl SecretWatch {
    /// Reads a secret now, and again and again. `key` is the setting that names it.
    ///
    /// # Errors
    /// When it cannot be read now.
    pub(super) fn secret(
        &self,
        key: &'static str,
        reference: SecretRef,
    ) -> anyhow::Result<Rotating<SecretString>> {
        self.rotating(key, same_text, move || Ok(resolve(&reference)?))
    }

    /// Reads a value now, and again and again; it is replaced when what is read is not the `same` any more.
    ///
    /// # Errors
    /// When it cannot be read now.
    pub(super) fn rotating<T: Send + Sync + 'static>(
        &self,
        key: &'static str,
        same: fn(&T, &T) -> bool,
        read: impl Fn() -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<Rotating<T>> {
        let value = Rotating::new(read().context(key)?);
        let held = value.clone();
        self.add(key, move || {
            let now = read()?;
            if same(&held.get(), &now) {
                return Ok(Seen::Same);
            }
            held.replace(now);
            Ok(Seen::Replaced)
        });
        Ok(value)
    }

    /// Reads a value again and again, and hands it to `change` when it is another than the last one that was taken.
    pub(super) fn follow<T: PartialEq + Send + 'static>(
        &self,
        key: &'static str,
        mut last: T,
        read: impl Fn() -> anyhow::Result<T> + Send + 'static,
        change: impl Fn(&T) -> anyhow::Result<()> + Send + 'static,
    ) {
        self.add(key, move || {
            let now = read()?;
            if now == last {
                return Ok(Seen::Same);
            }
            change(&now)?;
            last = now;
            Ok(Seen::Replaced)
        });
    }

    /// A key whose two sides must change at once: it stays as it is until the next start, and that is said.
    pub(super) fn fixed(&self, key: &'static str, reference: SecretRef) -> anyhow::Result<()> {
        let in_use = resolve(&reference).context(key)?;
        self.add(key, move || {
            Ok(if same_text(&resolve(&reference)?, &in_use) {
                Seen::Same
            } else {
                Seen::Waits
            })
        });
        Ok(())
    }

    /// Looks at every secret until the process stops.
    pub(super) fn spawn(&self, lifecycle: &Lifecycle) {
        let watch = self.clone();
        lifecycle.spawn("secrets", OnFailure::Restart, move |stop| {
            let watch = watch.clone();
            async move {
                while stop
                    .run_until_cancelled(tokio::time::sleep(LOOK_EVERY))
                    .await
                    .is_some()
                {
                    watch.look();
                }
                Ok::<_, anyhow::Error>(())
            }
        });
    }

    fn add(&self, key: &'static str, look: impl FnMut() -> anyhow::Result<Seen> + Send + 'static) {
        let look = Box::new(look);
        let watched = Watched {
            key,
            look,
            said: None,
        };
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(watched);
    }

    fn look(&self) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter_mut().for_each(Watched::look);
    }
}

impl Watched {
    fn look(&mut self) {
        let key = self.key;
        let seen = (self.look)();
        let (unreadable, waits) = (seen.is_err(), matches!(seen, Ok(Seen::Waits)));
        metrics::gauge!("carapulse_secrets_unreadable", "key" => key).set(f64::from(u8::from(unreadable)));
        metrics::gauge!("carapulse_secrets_waiting_for_restart", "key" => key)
            .set(f64::from(u8::from(waits)));
        let say = match seen {
            Ok(Seen::Same) => None,
            Ok(Seen::Replaced) => {
                metrics::counter!("carapulse_secrets_replaced_total", "key" => key).increment(1);
                tracing::info!(key, "a secret was replaced; the new one is in use");
                None
            }
            Ok(Seen::Waits) => {
                Some("it was replaced, and takes effect at the next start of this role".to_owned())
            }
            Err(error) => Some(format!("the last good one stays in use: {error:#}")),
        };
        if let Some(problem) = &say
            && self.said.as_ref() != Some(problem)
        {
            tracing::warn!(key, problem, "a secret is not what is in use");
        }
        self.said = say;
    }
}

impl fmt::Debug for SecretWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretWatch")
    }
}

pub(super) fn same_text(a: &SecretString, b: &SecretString) -> bool {
    a.expose_secret() == b.expose_secret()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_rotated_file_is_taken_up_and_a_broken_one_leaves_the_last_good_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let reference = SecretRef::File(path.clone());
        let watch = SecretWatch::default();
        assert!(watch.secret("test.token", reference.clone()).is_err());
        fs::write(&path, "one\n").unwrap();
        let secret = watch.secret("test.token", reference.clone()).unwrap();
        watch.fixed("test.key", reference).unwrap();
        let said = |at: usize| watch.0.lock().unwrap()[at].said.clone();
        watch.look();
        assert_eq!(
            (secret.get().expose_secret(), said(0), said(1)),
            ("one", None, None)
        );

        fs::write(&path, "").unwrap();
        watch.look();
        assert_eq!(secret.get().expose_secret(), "one");
        assert!(said(0).unwrap().contains("is empty"));

        fs::write(&path, "two\n").unwrap();
        watch.look();
        assert_eq!((secret.get().expose_secret(), said(0)), ("two", None));
        assert_eq!(secret.accepted().len(), 2);
        assert!(said(1).unwrap().contains("next start"));
    }

    #[test]
    fn a_change_that_is_not_taken_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        fs::write(&path, "1").unwrap();
        let watch = SecretWatch::default();
        let taken = Rotating::new(1);
        let (file, user) = (path.clone(), taken.clone());
        let read = move || Ok(fs::read_to_string(&file)?.parse::<u32>()?);
        watch.follow("test.number", 1, read, move |number| {
            anyhow::ensure!(*number != 2, "two is not taken");
            user.replace(*number);
            Ok(())
        });
        for (text, expected) in [("2", 1), ("3", 3), ("x", 3)] {
            fs::write(&path, text).unwrap();
            watch.look();
            assert_eq!(*taken.get(), expected, "{text}");
        }
    }
}
