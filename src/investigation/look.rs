//! Context and diagnosis of one incident.

use std::sync::Arc;

use crate::{
    connectors::{HttpLimits, Kubernetes, Prometheus, TenantGrants},
    context::{self, Focus, Snapshot, SourceState, Sources},
    diagnose::{self, Diagnosis},
    domain::{OpCtx, Target},
    intake::signal::SignalFacts,
    tools::Client,
};

use super::{Error, git_reads::Reads};

/// What was seen of the world, and what the rules make of it.
pub(super) struct Seen {
    pub(super) snapshot: Snapshot,
    pub(super) diagnosis: Diagnosis,
}

impl Seen {
    /// Why not knowing may be the fault of a source that did not answer, when it may.
    pub(super) fn blind_spot(&self) -> Option<String> {
        let unknown = matches!(self.diagnosis.verdict, diagnose::Verdict::Unknown { .. });
        let mut sources = self.snapshot.sources.iter();
        let silent = sources.find(|source| unknown && source.state == SourceState::Unavailable)?;
        let reason = silent.reason.as_deref().unwrap_or("no reason given");
        Some(format!("{} could not be read: {reason}", silent.name))
    }
}

/// Takes a snapshot of `target` with the alert in focus, and diagnoses it.
pub(super) async fn look(
    ctx: &OpCtx,
    client: &Client,
    target: &Target,
    signal: &SignalFacts,
    grants: &TenantGrants,
) -> Result<Seen, Error> {
    let sources = sources(ctx, client, target, grants).await;
    let snapshot = context::snapshot(ctx, target, &sources, &Focus::of_signal(signal)).await?;
    let diagnosis = diagnose::run(signal, &snapshot, target);
    Ok(Seen { snapshot, diagnosis })
}

async fn sources(ctx: &OpCtx, client: &Client, target: &Target, grants: &TenantGrants) -> Sources {
    let reads = Reads {
        ctx: ctx.clone(),
        client: client.clone(),
        target_id: target.target_id,
    };
    let kubernetes = match &target.kubernetes {
        Some(place) => Some(match grants.secret(&place.read_credential) {
            Ok(text) => Kubernetes::connect(&text, &place.context)
                .await
                .map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        }),
        None => None,
    };
    let prometheus = target.prometheus_url.as_deref();
    Sources {
        git: target
            .git
            .is_some()
            .then(|| Arc::new(reads) as Arc<dyn context::GitReader>),
        kubernetes,
        prometheus: prometheus
            .map(|url| Prometheus::new(url, None, HttpLimits::default()).map_err(|e| e.to_string())),
    }
}
