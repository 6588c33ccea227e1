//! The job: one incident through its stages.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Error,
    find_target::find_target,
    look::{Seen, look},
    propose, store,
};
use crate::{
    audit,
    connectors::{Grants, TenantGrants},
    context, diagnose,
    domain::{IncidentId, OpCtx, Target, TargetMode},
    intake::{self, signal::SignalFacts},
    notify::{self, Kind, Notification, Severity},
    plan::{BrakeLimits, Timing, brake},
    policy::Engine,
    store::{
        Db, crash,
        job::{self, Lease},
    },
    tools::{Client, catalog::Catalog},
};

/// Looks at the world before a source that does not answer is taken as it is.
const LOOKS: i32 = 4;

/// How incidents are investigated.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long the lease of one incident lasts; the reads of one investigation fit into it.
    pub lease_secs: i64,
    /// Pause between two looks for work.
    pub poll: Duration,
    /// Timing of the verification of automatic plans.
    pub timing: Timing,
    /// How often the system may plan by itself.
    pub brake: BrakeLimits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease_secs: 120,
            poll: Duration::from_millis(200),
            timing: Timing::default(),
            brake: BrakeLimits::default(),
        }
    }
}

/// Works on incidents, one after the other.
#[derive(Clone)]
pub struct Investigator {
    pub(super) db: Db,
    pub(super) client: Client,
    pub(super) catalog: Arc<Catalog>,
    pub(super) engine: Arc<Engine>,
    pub(super) settings: Settings,
    grants: Arc<Grants>,
    owner: Uuid,
}

impl Investigator {
    /// An investigator that reads through `client`, and with what `grants` lets targets name, and writes as the orchestrator.
    #[must_use]
    pub fn new(
        db: Db,
        client: Client,
        catalog: Arc<Catalog>,
        engine: Arc<Engine>,
        grants: Arc<Grants>,
        owner: Uuid,
        settings: Settings,
    ) -> Self {
        Self {
            db,
            client,
            catalog,
            engine,
            settings,
            grants,
            owner,
        }
    }

    /// Works until `stop`. What fails is tried again, later and later.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), Error> {
        while !stop.is_cancelled() {
            match job::lease(&self.db, &[intake::JOB], self.owner, self.settings.lease_secs).await {
                Ok(Some(lease)) => self.turn(&lease).await,
                Ok(None) => self.rest(&stop).await,
                Err(error) => {
                    tracing::warn!(%error, "cannot lease incidents");
                    self.rest(&stop).await;
                }
            }
        }
        Ok(())
    }

    async fn rest(&self, stop: &CancellationToken) {
        tokio::select! {
            () = tokio::time::sleep(self.settings.poll) => {}
            () = stop.cancelled() => {}
        }
    }

    async fn turn(&self, lease: &Lease) {
        crash::point("investigation.after_lease");
        let ended = match self.investigate(lease).await {
            Ok(()) => self.finish(lease).await,
            Err(error) => {
                let pause_ms = 1000_i64 << lease.attempts.clamp(0, 8);
                tracing::warn!(%error, incident = ?lease.subject, "the investigation failed; it is tried again in {pause_ms} ms");
                job::hand_back(&self.db, lease, pause_ms, Some(&error.to_string()))
                    .await
                    .map_err(Error::from)
            }
        };
        if let Err(error) = ended {
            tracing::warn!(%error, "the lease of an incident could not be handed back; it will run out");
        }
    }

    async fn finish(&self, lease: &Lease) -> Result<(), Error> {
        let mut tx = self.db.begin_global().await?;
        job::finish(&mut tx, lease).await?;
        tx.commit().await?;
        crash::point("investigation.after_finish");
        Ok(())
    }

    async fn investigate(&self, lease: &Lease) -> Result<(), Error> {
        let Some(id) = store::subject(lease.subject) else {
            return Ok(());
        };
        let ctx = OpCtx::system("investigation", lease.tenant.clone());
        let mut tx = self.db.begin(&ctx.tenant).await?;
        let Some(incident) = store::lock(&mut tx, id).await? else {
            return Ok(());
        };
        if !incident.open || !matches!(incident.stage.as_str(), "received" | "context" | "diagnosed") {
            return Ok(());
        }
        let Some(signal) = store::first_firing(&mut tx, id).await? else {
            return Ok(());
        };
        let targets = store::targets(&mut tx).await?;
        let frozen = store::frozen(&mut tx).await?;
        tx.commit().await?;
        match find_target(&signal, &targets) {
            Ok(target) => self.on_target(&ctx, lease, target, &signal, frozen).await,
            Err(why) => self.escalate(&ctx, id, None, &why.to_string(), None).await,
        }
    }

    async fn on_target(
        &self,
        ctx: &OpCtx,
        lease: &Lease,
        target: &Target,
        signal: &SignalFacts,
        frozen: bool,
    ) -> Result<(), Error> {
        let Some(id) = store::subject(lease.subject) else {
            return Ok(());
        };
        let seen = look(
            ctx,
            &self.client,
            target,
            signal,
            &TenantGrants::new(&self.grants, &ctx.tenant),
        )
        .await?;
        if let Some(why) = seen.blind_spot().filter(|_| lease.attempts < LOOKS) {
            return Err(Error::SourceUnavailable(why));
        }
        self.keep(ctx, id, target, &seen).await?;
        if target.mode == TargetMode::Observe {
            return self.observe_only(ctx, id, target, &seen).await;
        }
        let checked = match propose::propose(self, ctx, id, target, &seen, frozen).await {
            Ok(checked) => checked,
            Err(why) => return self.escalate(ctx, id, Some(target), &why, Some(&seen)).await,
        };
        let mut tx = self.db.begin(&ctx.tenant).await?;
        let Some(incident) = store::lock(&mut tx, id)
            .await?
            .filter(|i| i.open && i.stage == "diagnosed")
        else {
            return Ok(()); // it resolved itself, or somebody else went on
        };
        if let Err(braked) = brake(
            &mut tx,
            target.target_id,
            &incident.group_key,
            &self.settings.brake,
        )
        .await?
        {
            tx.rollback().await?;
            return self
                .escalate(ctx, id, Some(target), &braked.message, Some(&seen))
                .await;
        }
        let plan_id = propose::request(&mut tx, ctx, id, target, &checked).await?;
        crash::point("investigation.before_request");
        tx.commit().await?;
        crash::point("investigation.after_request");
        metrics::counter!("carapulse_investigation_ended_total", "outcome" => "requested").increment(1);
        tracing::info!(incident_id = %id, %plan_id, "a plan waits for approval");
        Ok(())
    }

    /// Stores what was seen; a second run of the same stage stores nothing.
    async fn keep(&self, ctx: &OpCtx, id: IncidentId, target: &Target, seen: &Seen) -> Result<(), Error> {
        let mut tx = self.db.begin(&ctx.tenant).await?;
        let Some(incident) = store::lock(&mut tx, id).await? else {
            return Ok(());
        };
        if incident.stage == "diagnosed" && incident.target_id == Some(target.target_id) {
            return Ok(());
        }
        let (snapshot_id, digest) = context::store::insert(&mut tx, ctx, &seen.snapshot).await?;
        diagnose::store::insert(&mut tx, ctx, id, Some(snapshot_id), &seen.diagnosis).await?;
        store::update_stage(&mut tx, id, "diagnosed", Some(target.target_id)).await?;
        let details =
            json!({ "snapshot": digest, "verdict": seen.diagnosis.verdict.as_str(), "target": target.name });
        audit::record(
            &mut tx,
            ctx,
            audit::Event::new("incident.diagnose", details).subject(id.uuid()),
        )
        .await?;
        crash::point("investigation.before_keep");
        tx.commit().await?;
        crash::point("investigation.after_keep");
        Ok(())
    }

    async fn observe_only(
        &self,
        ctx: &OpCtx,
        id: IncidentId,
        target: &Target,
        seen: &Seen,
    ) -> Result<(), Error> {
        let why = format!("target `{}` is in mode observe: nothing is proposed", target.name);
        self.end(ctx, id, Some(target), "done", Severity::Info, &why, Some(seen))
            .await
    }

    async fn escalate(
        &self,
        ctx: &OpCtx,
        id: IncidentId,
        target: Option<&Target>,
        why: &str,
        seen: Option<&Seen>,
    ) -> Result<(), Error> {
        self.end(ctx, id, target, "escalated", Severity::Page, why, seen)
            .await
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one row and one message, each with its own words"
    )]
    async fn end(
        &self,
        ctx: &OpCtx,
        id: IncidentId,
        target: Option<&Target>,
        stage: &str,
        severity: Severity,
        why: &str,
        seen: Option<&Seen>,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin(&ctx.tenant).await?;
        let Some(incident) = store::lock(&mut tx, id).await? else {
            return Ok(());
        };
        store::update_stage(&mut tx, id, stage, target.map(|t| t.target_id)).await?;
        let event = audit::Event::new("incident.escalate", json!({ "stage": stage, "why": why }));
        audit::record(&mut tx, ctx, event.subject(id.uuid())).await?;
        let note = Notification {
            kind: Kind::Escalation,
            severity,
            subject: format!("{}: {why}", incident.title),
            body: propose::escalation(id, why, seen),
            dedupe_key: format!("{stage}:{id}"),
        };
        notify::send(&mut tx, ctx, note).await?;
        crash::point("investigation.before_end");
        tx.commit().await?;
        crash::point("investigation.after_end");
        metrics::counter!("carapulse_investigation_ended_total", "outcome" => stage.to_owned()).increment(1);
        Ok(())
    }
}
