//! Under whom Postgres runs: it refuses root, so root gives it to an unprivileged user.

use nix::unistd::{User, geteuid};

use super::Error;

/// The user of the server's processes and files.
#[derive(Debug)]
pub(super) enum Account {
    /// Ours.
    Own,
    /// We are root: another's.
    Other { uid: u32, gid: u32 },
}

impl Account {
    /// Our own user, or for root the first of `carapulse`, `postgres`, `nobody` that exists.
    pub(super) fn choose() -> Result<Self, Error> {
        if !geteuid().is_root() {
            return Ok(Self::Own);
        }
        for name in ["carapulse", "postgres", "nobody"] {
            if let Ok(Some(user)) = User::from_name(name)
                && user.uid.as_raw() != 0
            {
                if name == "nobody" {
                    tracing::warn!(
                        "the database runs as `nobody`, whose processes may be others' too: make a user `carapulse`"
                    );
                }
                let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
                return Ok(Self::Other { uid, gid });
            }
        }
        Err(Error::Failed(
            "Postgres refuses to run as root, and there is no user `carapulse`, `postgres` or `nobody` to run it as".into(),
        ))
    }

    /// Whom to become, when that is not who we are.
    pub(super) const fn drop_to(&self) -> Option<(u32, u32)> {
        match self {
            Self::Own => None,
            Self::Other { uid, gid } => Some((*uid, *gid)),
        }
    }
}
