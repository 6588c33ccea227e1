//! What is asked again at the moment of the act.

use serde_json::json;

use super::{Error, Live, Refusal, after, store::Rows};
use crate::{
    audit,
    domain::{
        Actor, Target, TargetMode, Tier,
        plan::PlanDoc,
        run::{ActRef, Direction},
    },
    policy,
    store::Tx,
};

/// Freeze, duration and the target as it is now. A rollback asks only that the place is still the approved one.
pub(super) fn check(rows: &Rows, act: &ActRef, doc: &PlanDoc, writes: bool) -> Result<Target, Refusal> {
    let target = target(rows, doc)?;
    let forward = act.direction == Direction::Forward;
    let place = target.place_digest().ok();
    if place != Some(doc.target.place)
        || target.context != doc.target.context
        || (forward && target.version != doc.target.version)
    {
        return Err(Refusal::new(
            "target_changed",
            "the target was changed since the plan was checked",
        ));
    }
    if !forward {
        return Ok(target);
    }
    let start = rows.execution.started_at.unwrap_or(rows.execution.created_at);
    if rows.now > after(start, doc.constraints.max_duration_secs) {
        return Err(Refusal::new(
            "deadline_passed",
            "the plan's max_duration_secs has passed",
        ));
    }
    if !writes {
        return Ok(target);
    }
    if rows.installation.frozen {
        return Err(Refusal::new("frozen", "changes are frozen"));
    }
    if rows.installation.read_only {
        return Err(Refusal::new(
            "read_only",
            "the installation is read-only until a restore is acknowledged",
        ));
    }
    if target.mode != TargetMode::Act {
        return Err(Refusal::new("target_mode", "the target is not in mode `act`"));
    }
    Ok(target)
}

/// The plan's target as it is registered now.
pub(super) fn target(rows: &Rows, doc: &PlanDoc) -> Result<Target, Refusal> {
    let row = rows
        .target
        .as_ref()
        .filter(|t| t.target_id == doc.target.target_id);
    let row = row.ok_or_else(|| Refusal::new("target_unknown", "the plan's target does not exist"))?;
    let target: Target =
        serde_json::from_slice(&row.doc).map_err(|e| Refusal::new("target_unreadable", e.to_string()))?;
    let same = target.target_id == row.target_id
        && target.version == row.version
        && target.context.tenant_id == doc.tenant_id.as_str();
    if !same {
        return Err(Refusal::new(
            "target_identity",
            "the target's bytes name another target than its row",
        ));
    }
    Ok(target)
}

/// Current policy decides no stricter than what was approved. Question and answer are stored exactly.
pub(super) async fn policy(
    tx: &mut Tx,
    live: &Live<'_>,
    act: &ActRef,
    doc: &PlanDoc,
    target: &Target,
    approved: Tier,
) -> Result<(), Error> {
    let phase = match act.direction {
        Direction::Forward => policy::Phase::Act,
        Direction::Rollback => policy::Phase::Rollback,
    };
    let actor = Actor::system("router");
    let flags = policy::FlagsInput::default();
    let input = policy::Input::of_plan(doc, target, &actor, phase, Some(act.step), flags);
    let decision = live.engine.decide(&input);
    let about = Some((act.execution_id, act.step));
    let row = policy::store::DecisionRow::new(live.ctx, &input, &decision, doc.plan_id, about)?;
    policy::store::insert_decision(tx, row).await?;
    if decision.permits_under(approved) {
        return Ok(());
    }
    let codes = decision.codes().join(", ");
    let message = if codes.is_empty() {
        "a higher tier is wanted than was approved".to_owned()
    } else {
        codes
    };
    Err(Refusal::new("policy", message).into())
}

/// The audit event of a refusal, to be recorded in a transaction of its own.
#[must_use]
pub fn refused_event(act: &ActRef, refusal: &Refusal) -> audit::Event {
    let details = json!({
        "code": refusal.code,
        "message": refusal.message,
        "step": act.step,
        "direction": act.direction,
        "attempt": act.attempt,
        "epoch": act.epoch,
    });
    audit::Event::new("tool.refused", details)
        .decision(audit::Decision::Deny)
        .execution(act.execution_id)
        .subject(act.execution_id)
}
