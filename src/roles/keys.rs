//! Keys and tokens of the roles: where a setting points, else among the data folder's secrets.

use anyhow::Context as _;
use ed25519_dalek::{SigningKey, VerifyingKey};
use secrecy::SecretString;

use crate::{
    audit::{ApprovalKey, Trust, checkpoint, note::NoteSigner},
    config::{self, Config, Gateway, Orchestrator, ToolRouter},
    domain::SecretRef,
    store::Db,
    warrant::statement,
};

fn reference(config: &Config, set: Option<&SecretRef>, name: &str) -> SecretRef {
    set.cloned().unwrap_or_else(|| config.secrets().reference(name))
}

/// What approvals are signed with (gateway only).
pub(super) fn approval(config: &Config) -> anyhow::Result<SigningKey> {
    let gateway: Gateway = config.get()?;
    config::signing_key(&reference(config, gateway.approval_key.as_ref(), "approval_key"))
        .context("gateway.approval_key")
}

/// What approvals are verified with.
pub(super) fn approval_public(config: &Config) -> anyhow::Result<Vec<VerifyingKey>> {
    let router: ToolRouter = config.get()?;
    let own = String::from(config.secrets().reference("approval_key.pub"));
    let texts = if router.approval_public_keys.is_empty() {
        vec![own]
    } else {
        router.approval_public_keys
    };
    let keys = texts
        .iter()
        .map(|text| config::verifying_key(text).context("tool_router.approval_public_keys"));
    keys.collect()
}

/// What checkpoints of the audit log are signed with (orchestrator only).
pub(super) fn checkpoint(config: &Config) -> anyhow::Result<SigningKey> {
    let orchestrator: Orchestrator = config.get()?;
    let key = reference(config, orchestrator.checkpoint_key.as_ref(), "checkpoint_key");
    config::signing_key(&key).context("orchestrator.checkpoint_key")
}

/// What other roles show the tool-router.
pub(super) fn router_token(config: &Config) -> anyhow::Result<SecretString> {
    let router: ToolRouter = config.get()?;
    config::resolve(&reference(config, router.auth_token.as_ref(), "router_token"))
        .context("tool_router.auth_token")
}

/// The public keys of this installation, for whoever verifies its evidence.
///
/// # Errors
/// When a key or the database cannot be read.
pub async fn trust(config: &Config, db: &Db) -> anyhow::Result<Trust> {
    let installation = checkpoint::installation_id(db).await?;
    let signer = NoteSigner::new(&checkpoint::origin(installation), checkpoint(config)?)?;
    let approvals = approval_public(config)?.into_iter().map(|key| ApprovalKey {
        key_id: statement::key_id(&key),
        key,
    });
    Ok(Trust {
        checkpoint_keys: vec![signer.verifier().clone()],
        approval_keys: approvals.collect(),
    })
}
