//! A known cause with a remedy becomes a plan that waits for approval.

use serde_json::json;

use super::{Error, git_reads::Reads, look::Seen, store, work::Investigator};
use crate::{
    approval,
    context::{MetricRole, Snapshot},
    diagnose::{Remedy, Verdict},
    domain::{Digest, IncidentId, OpCtx, PlanId, Target, plan::Trigger},
    plan::{self, AssertionRequest, Checked, Checks, Proposal, What, assertions},
    policy::FlagsInput,
    store::Tx,
};

/// Highest share of failing requests at which an error alert counts as over.
const ERROR_RATIO_LIMIT: &str = "0.05";

/// Drafts and checks a plan for what was found. `Err` is a sentence for people: nothing can be proposed.
pub(super) async fn propose(
    it: &Investigator,
    ctx: &OpCtx,
    incident: IncidentId,
    target: &Target,
    seen: &Seen,
    frozen: bool,
) -> Result<Checked, String> {
    let remedy = remedy(seen)?;
    let reader = Reads {
        ctx: ctx.clone(),
        client: it.client.clone(),
        target_id: target.target_id,
    };
    let requester = crate::domain::plan::Requester {
        name: ctx.actor.name.clone(),
        person_id: None,
        identity_id: None,
        token_owner_person_id: None,
    };
    let proposal = Proposal {
        incident_id: Some(incident),
        summary: Some(summary(seen, &remedy)),
        assertions: recovery(&seen.snapshot),
        timing: it.settings.timing,
        snapshot: Some(digest(&seen.snapshot)?),
        ..Proposal::new(Trigger::Alert, requester, What::Remedy(remedy))
    };
    let draft = plan::draft(ctx, target, &reader, proposal).await;
    let with = Checks {
        catalog: &it.catalog,
        engine: &it.engine,
        target,
        reader: &reader,
        flags: FlagsInput {
            frozen,
            ..FlagsInput::default()
        },
        managed: managed(&seen.snapshot),
    };
    plan::check(ctx, draft, &with)
        .await
        .map_err(|rejected| rejected.to_string())
}

/// Stores the plan, supersedes older ones of the incident and asks for approval, in the caller's transaction.
pub(super) async fn request(
    tx: &mut Tx,
    ctx: &OpCtx,
    incident: IncidentId,
    target: &Target,
    checked: &Checked,
) -> Result<PlanId, Error> {
    let plan::Stored {
        plan_id, created_at, ..
    } = plan::store::insert(tx, ctx, checked).await?;
    plan::store::supersede_older(tx, ctx, incident, plan_id).await?;
    approval::request(tx, ctx, checked, created_at).await?;
    store::update_stage(tx, incident, "requested", Some(target.target_id)).await?;
    Ok(plan_id)
}

fn remedy(seen: &Seen) -> Result<Remedy, String> {
    match (&seen.diagnosis.verdict, &seen.diagnosis.remedy) {
        (Verdict::Known, Some(remedy)) => Ok(remedy.clone()),
        (Verdict::Known, None) => {
            let why = seen.diagnosis.no_remedy_because.as_deref();
            Err(why
                .unwrap_or("the cause is known, and no rule knows a remedy")
                .to_owned())
        }
        (Verdict::Healthy, _) => Err("everything that was looked at is healthy".to_owned()),
        (Verdict::Unknown { why }, _) => Err(why.clone()),
    }
}

fn summary(seen: &Seen, remedy: &Remedy) -> String {
    let found = seen
        .diagnosis
        .findings
        .first()
        .map(|finding| finding.title.as_str());
    found.map_or_else(|| remedy.to_string(), |found| format!("{remedy}: {found}"))
}

/// What has to hold for the alert to be over: every error ratio that is too high now is below the limit.
fn recovery(snapshot: &Snapshot) -> Vec<AssertionRequest> {
    let limit: f64 = ERROR_RATIO_LIMIT.parse().unwrap_or(0.05);
    let high = |value: &str| value.parse::<f64>().is_ok_and(|value| value > limit);
    let ratios = snapshot
        .metrics
        .iter()
        .filter(|fact| fact.role == MetricRole::ErrorRatio);
    let broken = ratios.filter(|fact| fact.series.iter().any(|series| high(&series.value)));
    let below = |fact: &crate::context::MetricFact| {
        assertions::metric_below(
            &format!("{} fails less than {ERROR_RATIO_LIMIT}", fact.subject),
            &fact.expr,
            ERROR_RATIO_LIMIT,
        )
    };
    broken.map(below).collect()
}

/// Workloads of the snapshot that an autoscaler owns.
fn managed(snapshot: &Snapshot) -> std::collections::BTreeMap<String, Vec<String>> {
    let autoscalers = snapshot.kubernetes.iter().flat_map(|facts| &facts.autoscalers);
    autoscalers
        .map(|hpa| (hpa.scales.clone(), vec![format!("hpa/{}", hpa.name)]))
        .collect()
}

fn digest(snapshot: &Snapshot) -> Result<Digest, String> {
    snapshot
        .seal()
        .map(|(_, digest)| digest)
        .map_err(|e| e.to_string())
}

/// What an escalation tells people.
pub(super) fn escalation(incident: IncidentId, why: &str, seen: Option<&Seen>) -> serde_json::Value {
    let findings = seen.map(|seen| {
        seen.diagnosis
            .findings
            .iter()
            .map(|f| f.title.clone())
            .collect::<Vec<_>>()
    });
    json!({ "incident_id": incident, "why": why, "findings": findings.unwrap_or_default() })
}
