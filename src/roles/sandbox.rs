//! The sandbox in a process of its own: no database, no secrets but its own keys.

use std::sync::Arc;

use anyhow::Context as _;

use super::{Health, Listening, Parts, listen};
use crate::{
    config::{self, Sandbox, SandboxProfile},
    domain::SystemClock,
    sandbox::{
        LocalConfig, Profile, SealingKey,
        server::{SandboxServer, ServerConfig, router},
    },
};

/// The name under which the role takes jobs.
pub(super) const AUDIENCE: &str = "carapulse-sandbox";

pub(super) async fn start(parts: &Parts) -> anyhow::Result<Listening> {
    let settings: Sandbox = parts.config.get()?;
    let secrets = parts.config.secrets();
    let own = |set: &Option<crate::domain::SecretRef>, name: &str| {
        set.clone().unwrap_or_else(|| secrets.reference(name))
    };
    let router_key = settings
        .router_public_key
        .clone()
        .unwrap_or_else(|| String::from(secrets.reference("job_key.pub")));
    let sealing_key = own(&settings.sealing_key, "sealing_key");
    let signing_key = own(&settings.signing_key, "sandbox_key");
    parts.secrets.fixed("sandbox.sealing_key", sealing_key.clone())?;
    parts.secrets.fixed("sandbox.signing_key", signing_key.clone())?;
    if let Ok(reference) = router_key.parse() {
        parts.secrets.fixed("sandbox.router_public_key", reference)?;
    }
    let sealing = config::decode_key(&sealing_key).context("sandbox.sealing_key")?;
    let server = SandboxServer::new(ServerConfig {
        audience: AUDIENCE.to_owned(),
        router_key: config::verifying_key(&router_key).context("sandbox.router_public_key")?,
        signing_key: config::signing_key(&signing_key).context("sandbox.signing_key")?,
        sealing_key: SealingKey::from_seed(&sealing)?,
        local: LocalConfig {
            profile: profile(settings.profile),
            max_jobs: jobs_at_a_time(settings.profile),
            max_wait_secs: MAX_WAIT_SECS,
            ..LocalConfig::default().with_tool_dirs(settings.tool_dirs)
        },
        mounts: settings.mounts,
        clock: Arc::new(SystemClock),
    });
    let health = Health::new(&parts.lifecycle);
    listen(parts, "sandbox", settings.http_addr, health, router(server)).await
}

/// Below what the router allows for it beyond a job's own time.
const MAX_WAIT_SECS: u32 = 90;

/// In profile `pod` jobs share a user and see each other's processes: there is never a second one.
fn jobs_at_a_time(set: SandboxProfile) -> usize {
    match set {
        SandboxProfile::Pod => 1,
        SandboxProfile::Auto | SandboxProfile::Ns => LocalConfig::default().max_jobs,
    }
}

const fn profile(set: SandboxProfile) -> Profile {
    match set {
        SandboxProfile::Auto => Profile::Auto,
        SandboxProfile::Ns => Profile::Ns,
        SandboxProfile::Pod => Profile::Pod,
    }
}
