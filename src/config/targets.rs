//! `[targets]`

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Section;
use crate::domain::{SecretRef, TargetGrant, TenantId};

/// What targets may name of the machines that act on them and look at them: whoever administers a tenant's targets does
/// not administer those machines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Targets {
    /// By tenant. One that is not listed may name nothing, but for `default`: anything that is none of Carapulse's own.
    pub grants: BTreeMap<TenantId, TargetGrant>,
}

impl Section for Targets {
    const NAME: &'static str = "targets";

    fn check(&self) -> Result<(), (&'static str, String)> {
        let paths = self.grants.values().flat_map(|grant| {
            let files = grant.secrets.iter().filter_map(|secret| match secret {
                SecretRef::File(path) => Some(path),
                SecretRef::Env(_) => None,
            });
            files.chain(&grant.repositories)
        });
        match paths.into_iter().find(|path| !path.is_absolute()) {
            Some(path) => Err((
                "grants",
                format!("`{}`: expected an absolute path", path.display()),
            )),
            None => Ok(()),
        }
    }
}
