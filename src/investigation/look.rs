//! Context and diagnosis of one incident.

use std::sync::Arc;

use crate::{
    connectors::{HttpLimits, Kubernetes, Prometheus},
    context::{self, Focus, Snapshot, Sources},
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

/// Takes a snapshot of `target` with the alert in focus, and diagnoses it.
pub(super) async fn look(
    ctx: &OpCtx,
    client: &Client,
    target: &Target,
    signal: &SignalFacts,
) -> Result<Seen, Error> {
    let sources = sources(ctx, client, target).await;
    let snapshot = context::snapshot(ctx, target, &sources, &Focus::of_signal(signal)).await?;
    let diagnosis = diagnose::run(signal, &snapshot, target);
    Ok(Seen { snapshot, diagnosis })
}

async fn sources(ctx: &OpCtx, client: &Client, target: &Target) -> Sources {
    let reads = Reads {
        ctx: ctx.clone(),
        client: client.clone(),
        target_id: target.target_id,
    };
    let kubernetes = match &target.kubernetes {
        Some(place) => Some(
            Kubernetes::connect(&place.read_credential, &place.context)
                .await
                .map_err(|e| e.to_string()),
        ),
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
