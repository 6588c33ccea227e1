//! The registry of places: proposed by one admin, confirmed by another person.
//!
//! In: a [`TargetSpec`]. Out: a [`Target`] row with a version that plans pin.
//! Always holds: no target comes to be or changes, its mode included, without two persons; a new target starts in `observe`;
//! a change that was proposed against an older version is refused.

mod check;
mod store;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use uuid::Uuid;

use super::{
    identity,
    problem::{Kind, Problem},
};
use crate::{
    audit,
    domain::{ContextRef, GitPlace, KubernetesPlace, OpCtx, PersonId, Target, TargetMode, canonical},
    notify::{self, Notification},
    policy::Engine,
    store::Tx,
};

/// How long the proposer of a change may approve nothing after it was confirmed.
const BAR_SECS: i64 = 600;

/// A target as an admin writes it: without ids and versions, which are ours.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetSpec {
    /// Unique within the tenant: 1–63 of `a-z 0-9 -`.
    pub name: String,
    /// Where it is.
    pub context: Place,
    /// How far Carapulse may go here; a new target starts in `observe`.
    #[serde(default = "observe")]
    pub mode: TargetMode,
    /// Raises every plan's tier.
    #[serde(default)]
    pub protected: bool,
    /// The GitOps repository that describes this place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitPlace>,
    /// Address of the Prometheus that measures this place, `http(s)://host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus_url: Option<String>,
    /// How to reach the Kubernetes API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesPlace>,
    /// Names that alerts use for the services here, mapped to workloads (`checkout` → `deployment/checkout`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, String>,
}

/// A place in the words of the managed systems; the tenant is the caller's.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// `dev`, `staging`, `prod`, …
    pub environment: String,
    /// Kubernetes cluster.
    #[serde(default)]
    pub cluster_id: String,
    /// Kubernetes namespace.
    #[serde(default)]
    pub namespace: String,
    /// AWS account.
    #[serde(default)]
    pub aws_account_id: String,
    /// Cloud region.
    #[serde(default)]
    pub region: String,
    /// Argo CD project.
    #[serde(default)]
    pub argocd_project: String,
    /// Grafana organisation.
    #[serde(default)]
    pub grafana_org_id: String,
}

/// A change that waits for its second person.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// The row.
    pub change_id: Uuid,
    /// The target's name.
    pub name: String,
    /// The version that it was proposed against; 0 for a new target.
    pub base_version: i64,
    /// The target as it would be.
    pub target: Target,
    /// Who proposed it.
    pub proposed_by: PersonId,
    /// When.
    pub proposed_at: DateTime<Utc>,
}

fn observe() -> TargetMode {
    TargetMode::Observe
}

/// Proposes a new target or a change of one. A proposal that waited already is superseded.
pub async fn propose(tx: &mut Tx, ctx: &OpCtx, spec: TargetSpec, engine: &Engine) -> Result<Change, Problem> {
    let person = person(ctx)?;
    check::check(&spec)?;
    let present = store::lock(tx, &spec.name).await?;
    let base_version = present.as_ref().map_or(0, |target| target.version);
    if base_version == 0 && spec.mode != TargetMode::Observe {
        let detail = "a new target starts in `observe`; propose the mode as a change of its own afterwards";
        return Err(
            Problem::new(Kind::InvalidValue, detail).at("/mode", "must be `observe` for a new target")
        );
    }
    let target = Target {
        target_id: present.map_or_else(|| ctx.id(), |target| target.target_id),
        version: base_version + 1,
        context: spec.context.in_tenant(ctx),
        name: spec.name,
        mode: spec.mode,
        protected: spec.protected,
        git: spec.git,
        prometheus_url: spec.prometheus_url,
        kubernetes: spec.kubernetes,
        services: spec.services,
    };
    check::environment(ctx, &target, engine)?;
    let doc = bytes(&target)?;
    store::update_superseded(tx, &target.name).await?;
    let proposed_at = tx.db_now().await?;
    let change = Change {
        change_id: ctx.id(),
        name: target.name.clone(),
        base_version,
        target,
        proposed_by: person,
        proposed_at,
    };
    store::insert_change(tx, ctx, &change, &doc).await?;
    record(tx, ctx, "target.propose", &change).await?;
    Ok(change)
}

/// Confirms the change `change_id`, which waits for `name`; by an admin who is another person than its proposer.
pub async fn confirm(tx: &mut Tx, ctx: &OpCtx, name: &str, change_id: Uuid) -> Result<Target, Problem> {
    let person = person(ctx)?;
    let present = store::lock(tx, name).await?;
    let pending = store::find_pending(tx, name).await?;
    let change = pending.ok_or_else(|| Problem::not_found("waiting change of target", name))?;
    if change.change_id != change_id {
        let detail = "another change waits now than the one that you name; read it and confirm that one";
        return Err(Problem::new(Kind::Conflict, detail));
    }
    if change.proposed_by == person {
        let detail = "a change of a target is confirmed by another person than its proposer";
        return Err(Problem::new(Kind::ApprovalRefused, detail));
    }
    if present.map_or(0, |target| target.version) != change.base_version {
        let detail = "the target has changed since this was proposed; propose it again";
        return Err(Problem::new(Kind::Conflict, detail));
    }
    let doc = bytes(&change.target)?;
    store::upsert(tx, ctx, &change.target, &doc).await?;
    store::update_confirmed(tx, change.change_id, person).await?;
    identity::bar(tx, change.proposed_by, BAR_SECS).await?;
    record(tx, ctx, "target.confirm", &change).await?;
    Ok(change.target)
}

/// The target of that name, if the tenant has it.
pub async fn find(tx: &mut Tx, name: &str) -> Result<Option<Target>, crate::store::Error> {
    store::find(tx, name).await
}

/// All targets of the tenant by name, at most 1000, and the changes that wait.
pub async fn list(tx: &mut Tx) -> Result<(Vec<Target>, Vec<Change>), crate::store::Error> {
    Ok((store::list(tx).await?, store::list_pending(tx).await?))
}

/// The change that waits for `name`.
pub async fn find_pending(tx: &mut Tx, name: &str) -> Result<Option<Change>, crate::store::Error> {
    store::find_pending(tx, name).await
}

fn person(ctx: &OpCtx) -> Result<PersonId, Problem> {
    let detail = "only a token that is linked to a person changes targets";
    ctx.actor
        .person_id
        .ok_or_else(|| Problem::new(Kind::ApprovalRefused, detail))
}

fn bytes(target: &Target) -> Result<Vec<u8>, Problem> {
    canonical::to_bytes(target).map_err(|error| Problem::new(Kind::InvalidValue, error.to_string()))
}

/// The audit event, and the page to the admins: a change of a place is something that they should not miss.
async fn record(tx: &mut Tx, ctx: &OpCtx, action: &'static str, change: &Change) -> Result<(), Problem> {
    let details = json!({
        "name": change.name,
        "version": change.target.version,
        "mode": change.target.mode,
        "environment": change.target.context.environment,
        "doc_digest": crate::domain::Digest::of_content(&bytes(&change.target)?),
    });
    let event = audit::Event::new(action, details.clone()).subject(change.target.target_id.uuid());
    audit::record(tx, ctx, event).await?;
    let verb = if action == "target.confirm" {
        "confirmed"
    } else {
        "proposed"
    };
    let page = Notification {
        kind: notify::Kind::AdminChange,
        severity: notify::Severity::Page,
        subject: format!("{} {verb} a change of the target {}", ctx.actor.name, change.name),
        body: details,
        dedupe_key: format!("{action}:{}", change.change_id),
    };
    notify::send(tx, ctx, page).await?;
    Ok(())
}

impl Place {
    fn in_tenant(self, ctx: &OpCtx) -> ContextRef {
        ContextRef {
            tenant_id: ctx.tenant.to_string(),
            environment: self.environment,
            cluster_id: self.cluster_id,
            namespace: self.namespace,
            aws_account_id: self.aws_account_id,
            region: self.region,
            argocd_project: self.argocd_project,
            grafana_org_id: self.grafana_org_id,
        }
    }
}
