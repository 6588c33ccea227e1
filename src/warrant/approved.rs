//! The plan's bytes, and the signed approval of exactly these bytes.

use std::collections::BTreeSet;

use super::{ApprovalKeys, Refusal, Statement, store::Rows};
use crate::domain::{
    Digest, PersonId, Tier,
    plan::{self, PlanDoc},
    run::Direction,
};

/// Opens the stored bytes, whose recomputed digest must be the stored one.
pub(super) fn plan(rows: &Rows) -> Result<PlanDoc, Refusal> {
    let row = &rows.plan;
    if row.status != "executed" {
        return Err(Refusal::new(
            "plan_status",
            format!("the plan is `{}`, not being executed", row.status),
        ));
    }
    if row.doc_version != i16::try_from(plan::VERSION).unwrap_or(i16::MAX) {
        return Err(Refusal::new(
            "plan_version",
            "the plan is of another format version: check it again",
        ));
    }
    if Some(plan::digest_of(&row.doc)) != Digest::from_slice(&row.digest) {
        return Err(Refusal::new(
            "digest_mismatch",
            "the plan's bytes are not those of its digest",
        ));
    }
    let doc = PlanDoc::open(&row.doc).map_err(|e| Refusal::new("plan_unreadable", e.to_string()))?;
    let same = doc.plan_id == row.plan_id && doc.tenant_id.as_str() == row.tenant_id;
    if !same || rows.execution.plan_id != row.plan_id || rows.execution.tenant_id != row.tenant_id {
        return Err(Refusal::new(
            "plan_identity",
            "the plan's bytes name another plan or tenant than its row",
        ));
    }
    Ok(doc)
}

/// The tier that was approved for exactly this plan. Only a plan that writes nothing needs no approval.
pub(super) fn approval(
    rows: &Rows,
    keys: &ApprovalKeys,
    doc: &PlanDoc,
    writes: bool,
    direction: Direction,
) -> Result<Tier, Refusal> {
    if rows.execution.generation != rows.installation.generation {
        return Err(Refusal::new(
            "generation",
            "the execution is of another generation: the installation was restored",
        ));
    }
    let Some(approval_id) = rows.execution.approval_id else {
        let only_reads = !writes && doc.tier == Tier::Read && doc.writes().next().is_none();
        return if only_reads {
            Ok(Tier::Read)
        } else {
            Err(Refusal::new(
                "approval_missing",
                "the execution rests on no approval, and the plan writes",
            ))
        };
    };
    let missing = || {
        Refusal::new(
            "approval_missing",
            "the approval or its signed grant does not exist",
        )
    };
    let row = rows
        .approval
        .as_ref()
        .filter(|a| a.approval_id == approval_id)
        .ok_or_else(missing)?;
    let grant = rows.grant.as_ref().ok_or_else(missing)?;
    let statement = keys
        .verify(&grant.key_id, &grant.statement, &grant.signature)
        .map_err(|e| Refusal::new("approval_signature", e.to_string()))?;
    if row.status != "consumed" {
        return Err(Refusal::new(
            "approval_status",
            format!("the approval is `{}`, not consumed", row.status),
        ));
    }
    fits(rows, &statement, doc)?;
    if statement.generation != rows.installation.generation {
        return Err(Refusal::new(
            "generation",
            "the approval is of another generation: the installation was restored",
        ));
    }
    if rows.execution.created_at > statement.expires_at {
        return Err(Refusal::new(
            "approval_expired",
            "the execution was made after the approval had expired",
        ));
    }
    independent(rows, statement.approver_person_id, doc)?;
    if statement.tier < doc.tier {
        return Err(Refusal::new(
            "tier",
            "the approval is of a lower tier than the plan needs",
        ));
    }
    barred(rows, direction)?;
    Ok(statement.tier)
}

/// The statement says what the rows say, of this plan and no other.
fn fits(rows: &Rows, statement: &Statement, doc: &PlanDoc) -> Result<(), Refusal> {
    let (Some(row), Some(grant)) = (&rows.approval, &rows.grant) else {
        return Err(Refusal::new(
            "approval_missing",
            "the approval or its signed grant does not exist",
        ));
    };
    let digest = Digest::from_slice(&rows.plan.digest);
    if Some(statement.plan_digest) != digest || Digest::from_slice(&row.digest) != digest {
        return Err(Refusal::new(
            "digest_mismatch",
            "the approval is of other bytes than the plan's",
        ));
    }
    let same = statement.approval_id == row.approval_id
        && statement.plan_id == doc.plan_id
        && row.plan_id == doc.plan_id
        && statement.tenant_id == doc.tenant_id
        && statement.approver_person_id == grant.approver_person_id
        && statement.tier.as_str() == row.tier
        && statement.expires_at == row.expires_at;
    if same {
        Ok(())
    } else {
        Err(Refusal::new(
            "statement_mismatch",
            "the signed statement differs from the approval's row",
        ))
    }
}

/// Who asks is not who approves: by person, whatever account was used.
fn independent(rows: &Rows, approver: PersonId, doc: &PlanDoc) -> Result<(), Refusal> {
    let mut involved: BTreeSet<PersonId> = doc.editors.iter().copied().collect();
    involved.extend(doc.requester.person_id);
    involved.extend(doc.requester.token_owner_person_id);
    involved.extend(rows.requester_identity_person_id);
    if involved.contains(&approver) {
        return Err(Refusal::new(
            "self_approval",
            "the approver asked for, edited, or owns the token behind the plan",
        ));
    }
    Ok(())
}

fn barred(rows: &Rows, direction: Direction) -> Result<(), Refusal> {
    let approver = rows.approver.as_ref();
    let approver = approver
        .ok_or_else(|| Refusal::new("approver_unknown", "the approver is no person of this tenant"))?;
    let barred = approver.barred_until.is_some_and(|until| until > rows.now);
    if barred && direction == Direction::Forward {
        return Err(Refusal::new(
            "approver_barred",
            "the approver's approvals do not count now",
        ));
    }
    Ok(())
}
