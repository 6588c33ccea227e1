//! Keys and tokens of the roles: where a setting points, else among the data folder's secrets.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::Context as _;
use ed25519_dalek::{SigningKey, VerifyingKey};
use secrecy::SecretString;

use super::{Parts, secrets::same_text};
use crate::{
    audit::{ApprovalKey, Trust, checkpoint, note::NoteSigner},
    config::{self, Config, Gateway, Objects, Orchestrator, Targets, ToolRouter},
    connectors::Grants,
    domain::{Rotating, SecretRef},
    store::{Db, ObjectStore, S3Credentials},
    warrant::{ApprovalKeys, statement},
};

/// What approvals are signed with (gateway only). After a rotation new approvals carry the new key; those of the old one
/// count for as long as its public half is among `tool_router.approval_public_keys`.
pub(super) fn approval(parts: &Parts) -> anyhow::Result<Rotating<SigningKey>> {
    let gateway: Gateway = parts.config.get()?;
    let key = parts.config.secret(gateway.approval_key.as_ref(), "approval_key");
    let read = move || Ok(config::signing_key(&key)?);
    parts.secrets.rotating("gateway.approval_key", same_key, read)
}

/// What approvals are verified with. With `signing`, that key's public half is among them.
pub(super) fn approval_keys(
    parts: &Parts,
    signing: Option<Rotating<SigningKey>>,
) -> anyhow::Result<Rotating<ApprovalKeys>> {
    let config = Arc::clone(&parts.config);
    let read = move || {
        let own = signing.iter().map(|key| key.get().verifying_key());
        Ok(ApprovalKeys::new(
            approval_public(&config)?.into_iter().chain(own),
        ))
    };
    parts
        .secrets
        .rotating("tool_router.approval_public_keys", ApprovalKeys::eq, read)
}

fn approval_public(config: &Config) -> anyhow::Result<Vec<VerifyingKey>> {
    let router: ToolRouter = config.get()?;
    let own = String::from(config.secrets().reference("approval_key.pub"));
    let texts = if router.approval_public_keys.is_empty() {
        vec![own]
    } else {
        router.approval_public_keys
    };
    let mut keys = Vec::new();
    for text in texts {
        keys.extend(config::verifying_keys(&text).context("tool_router.approval_public_keys")?);
    }
    Ok(keys)
}

/// What checkpoints of the audit log are signed with (orchestrator only). It changes at a start only: whoever verifies
/// must have been told before.
pub(super) fn checkpoint(parts: &Parts) -> anyhow::Result<SigningKey> {
    let reference = checkpoint_reference(&parts.config)?;
    parts
        .secrets
        .fixed("orchestrator.checkpoint_key", reference.clone())?;
    config::signing_key(&reference).context("orchestrator.checkpoint_key")
}

fn checkpoint_reference(config: &Config) -> anyhow::Result<SecretRef> {
    let orchestrator: Orchestrator = config.get()?;
    Ok(config.secret(orchestrator.checkpoint_key.as_ref(), "checkpoint_key"))
}

/// What other roles show the tool-router.
pub(super) fn router_token(parts: &Parts) -> anyhow::Result<Rotating<SecretString>> {
    let router: ToolRouter = parts.config.get()?;
    let reference = parts.config.secret(router.auth_token.as_ref(), "router_token");
    parts.secrets.secret("tool_router.auth_token", reference)
}

/// The object store, with its credentials as they are at each request.
pub(super) fn objects(parts: &Parts) -> anyhow::Result<ObjectStore> {
    let objects: Objects = parts.config.get()?;
    let section = objects.clone();
    let read = move || section.credentials()?.context("no credentials are set");
    let credentials = match objects.has_credentials() {
        true => Some(parts.secrets.rotating("objects.s3", same_credentials, read)?),
        false => None,
    };
    Ok(objects.open_with(parts.config.data_dir(), credentials)?)
}

fn same_key(a: &SigningKey, b: &SigningKey) -> bool {
    a.to_bytes() == b.to_bytes()
}

fn same_credentials(a: &S3Credentials, b: &S3Credentials) -> bool {
    same_text(&a.id, &b.id) && same_text(&a.secret, &b.secret)
}

/// The public keys of this installation, for whoever verifies its evidence.
///
/// # Errors
/// When a key or the database cannot be read.
pub async fn trust(config: &Config, db: &Db) -> anyhow::Result<Trust> {
    let installation = checkpoint::installation_id(db).await?;
    let key = config::signing_key(&checkpoint_reference(config)?).context("orchestrator.checkpoint_key")?;
    let signer = NoteSigner::new(&checkpoint::origin(installation), key)?;
    let approvals = approval_public(config)?.into_iter().map(|key| ApprovalKey {
        key_id: statement::key_id(&key),
        key,
    });
    Ok(Trust {
        checkpoint_keys: vec![signer.verifier().clone()],
        approval_keys: approvals.collect(),
    })
}

/// What targets may name of this machine: what was granted, and never what is Carapulse's own.
pub(super) fn grants(parts: &Parts) -> anyhow::Result<Arc<Grants>> {
    let granted = parts.config.get::<Targets>()?.grants;
    let data = parts.config.data_dir();
    let mut own_paths: Vec<_> = ["secrets", "postgres", "objects"]
        .map(|name| data.join(name))
        .into();
    let mut own_variables = BTreeSet::new();
    for reference in parts.config.own_references() {
        match reference {
            SecretRef::Env(name) => {
                own_variables.insert(name);
            }
            SecretRef::File(path) => own_paths.push(path),
        }
    }
    Ok(Arc::new(Grants::new(granted, own_paths, own_variables)))
}
