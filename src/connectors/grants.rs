//! What a target may name of this machine: its credentials and its local repository.
//!
//! In: what the operator granted each tenant, and what is Carapulse's own. Out: a secret, a folder, or a refusal that says
//! which setting grants it.
//! Always holds: no tenant reads what another was granted, and nobody's target reads what Carapulse itself keeps secret;
//! links are followed before a path is judged.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use secrecy::SecretString;

use super::{Error, secret};
use crate::domain::{SecretRef, TargetGrant, TenantId};

/// Where a process shows itself and others: never a target's.
const SYSTEM: [&str; 3] = ["/proc", "/sys", "/dev"];

/// What targets may name, by tenant. One that is not listed may name nothing, but for `default`.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    granted: BTreeMap<TenantId, TargetGrant>,
    own_paths: Vec<PathBuf>,
    own_variables: BTreeSet<String>,
}

impl Grants {
    /// `own` is what Carapulse's own configuration refers to.
    #[must_use]
    pub fn new(
        granted: BTreeMap<TenantId, TargetGrant>,
        own_paths: Vec<PathBuf>,
        own_variables: BTreeSet<String>,
    ) -> Self {
        Self {
            granted,
            own_paths,
            own_variables,
        }
    }

    /// The secret that a target of `tenant` names.
    ///
    /// # Errors
    /// When it was not granted, or cannot be read.
    pub fn secret(&self, tenant: &TenantId, reference: &SecretRef) -> Result<SecretString, Error> {
        match reference {
            SecretRef::Env(name) => {
                let own = name.starts_with("CARAPULSE_") || self.own_variables.contains(name);
                let granted = match self.granted.get(tenant) {
                    Some(granted) => granted.secrets.contains(reference),
                    None => tenant.is_default(),
                };
                if own || !granted {
                    return Err(refused(tenant, &String::from(reference.clone()), "secrets"));
                }
                secret::read(reference)
            }
            SecretRef::File(path) => {
                let path = self.path(tenant, path, "secrets", |granted| {
                    granted.secrets.iter().filter_map(file).collect()
                })?;
                secret::read(&SecretRef::File(path))
            }
        }
    }

    /// The folder of a local repository that a target of `tenant` names, with all links followed.
    ///
    /// # Errors
    /// When it was not granted, or is not there.
    pub fn repository(&self, tenant: &TenantId, path: &Path) -> Result<PathBuf, Error> {
        self.path(tenant, path, "repositories", |granted| {
            granted.repositories.iter().map(PathBuf::as_path).collect()
        })
    }

    fn path(
        &self,
        tenant: &TenantId,
        path: &Path,
        what: &'static str,
        within: impl Fn(&TargetGrant) -> Vec<&Path>,
    ) -> Result<PathBuf, Error> {
        let named = path.display().to_string();
        let granted = self.granted.get(tenant);
        if granted.is_none() && !tenant.is_default() {
            return Err(refused(tenant, &named, what));
        }
        let real =
            std::fs::canonicalize(path).map_err(|error| Error::Refused(format!("`{named}`: {error}")))?;
        let lies_in =
            |folder: &Path| std::fs::canonicalize(folder).is_ok_and(|folder| real.starts_with(folder));
        let own = self.own_paths.iter().any(|own| lies_in(own))
            || SYSTEM.iter().any(|folder| real.starts_with(folder));
        let allowed = granted.is_none_or(|granted| within(granted).into_iter().any(lies_in));
        if own || !allowed {
            return Err(refused(tenant, &named, what));
        }
        Ok(real)
    }
}

/// What targets of one tenant may name.
#[derive(Debug, Clone)]
pub struct TenantGrants {
    grants: Arc<Grants>,
    tenant: TenantId,
}

impl TenantGrants {
    /// Of `tenant`.
    #[must_use]
    pub fn new(grants: &Arc<Grants>, tenant: &TenantId) -> Self {
        Self {
            grants: Arc::clone(grants),
            tenant: tenant.clone(),
        }
    }

    /// As [`Grants::secret`].
    ///
    /// # Errors
    /// As there.
    pub fn secret(&self, reference: &SecretRef) -> Result<SecretString, Error> {
        self.grants.secret(&self.tenant, reference)
    }

    /// As [`Grants::repository`].
    ///
    /// # Errors
    /// As there.
    pub fn repository(&self, path: &Path) -> Result<PathBuf, Error> {
        self.grants.repository(&self.tenant, path)
    }
}

fn file(reference: &SecretRef) -> Option<&Path> {
    match reference {
        SecretRef::File(path) => Some(path),
        SecretRef::Env(_) => None,
    }
}

fn refused(tenant: &TenantId, named: &str, what: &str) -> Error {
    Error::Refused(format!(
        "targets of tenant `{tenant}` may not name `{named}`; the setting targets.grants.{tenant}.{what} says what they may"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        name.parse().expect("a tenant")
    }

    struct Machine {
        folder: tempfile::TempDir,
        grants: Grants,
    }

    /// Own secrets, a folder granted to `shop`, and one to nobody.
    fn machine() -> Machine {
        let folder = tempfile::tempdir().expect("folder");
        for name in ["own", "shop", "else"] {
            let of = folder.path().join(name);
            std::fs::create_dir(&of).expect("made");
            std::fs::write(of.join("key"), name).expect("written");
        }
        let granted = TargetGrant {
            secrets: vec![SecretRef::File(folder.path().join("shop"))],
            repositories: vec![folder.path().join("shop")],
        };
        let grants = Grants::new(
            BTreeMap::from([(tenant("shop"), granted)]),
            vec![folder.path().join("own")],
            BTreeSet::from(["PATH".to_owned()]),
        );
        Machine { folder, grants }
    }

    impl Machine {
        fn reads(&self, name: &str, path: &str) -> bool {
            let reference = SecretRef::File(self.folder.path().join(path));
            self.grants.secret(&tenant(name), &reference).is_ok()
        }
    }

    #[test]
    fn invariant_13_a_tenant_s_targets_read_what_it_was_granted_and_nothing_else() {
        let machine = machine();
        assert!(machine.reads("shop", "shop/key"));
        assert!(!machine.reads("shop", "else/key") && !machine.reads("shop", "shop/../else/key"));
        std::os::unix::fs::symlink(
            machine.folder.path().join("else/key"),
            machine.folder.path().join("shop/link"),
        )
        .expect("linked");
        assert!(!machine.reads("shop", "shop/link"), "links are followed first");
        assert!(!machine.reads("rival", "shop/key") && !machine.reads("rival", "else/key"));
        assert!(machine.reads("default", "else/key"));
        let repository = |name: &str, path: &str| {
            machine
                .grants
                .repository(&tenant(name), &machine.folder.path().join(path))
                .is_ok()
        };
        assert!(repository("shop", "shop") && !repository("shop", "else") && !repository("rival", "shop"));
    }

    #[test]
    fn invariant_11_what_carapulse_keeps_for_itself_is_nobody_s() {
        let machine = machine();
        for name in ["default", "shop", "rival"] {
            assert!(!machine.reads(name, "own/key"), "{name}");
            for own in ["file:/proc/self/environ", "env:CARAPULSE_DSN", "env:PATH"] {
                let reference = own.parse().expect("a reference");
                assert!(
                    machine.grants.secret(&tenant(name), &reference).is_err(),
                    "{name} {own}"
                );
            }
        }
    }
}
