//! One look at all assertions of a running plan. The router reads, judges and keeps the verdict: a missed verification is a reason to
//! go back, so that whoever drives the execution must not be able to make one up.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ClientError, Router, judge, store, weakest};
use crate::{
    domain::{
        OpCtx, Target,
        plan::{Assertion, PlanDoc},
        run::{LookRef, Verdict},
    },
    store::crash,
    warrant,
};

/// What one look saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// The weakest verdict of all, `met` only when the plan's steps require no other evidence; or `met` because it was met before, as
    /// often in a row as the plan wants.
    pub verdict: Verdict,
    /// Settle time and window have passed: what was not met by now is missed.
    pub last: bool,
    /// One an assertion, in the plan's order.
    pub judged: Vec<Judged>,
}

/// One assertion's verdict and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Name of the assertion.
    pub name: String,
    /// Kind of evidence (`promql`, `k8s`, `git`).
    pub evidence_kind: String,
    /// What was asked, for people.
    pub query: String,
    /// How the answer compares.
    pub verdict: Verdict,
    /// The answer, redacted; or why there is none.
    pub answer: Result<Value, String>,
}

impl Router {
    /// Reads and judges every assertion of the plan that `look` names, and keeps the verdict. A read that fails makes its assertion
    /// `unknown`.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] when the execution is not there to be looked at by this lease; [`ClientError::Unavailable`]: nothing
    /// was kept; ask again.
    pub async fn look(&self, look: &LookRef) -> Result<Look, ClientError> {
        let ctx = OpCtx::system("router", look.tenant_id.clone());
        let mut tx = self.db.begin(&look.tenant_id).await?;
        let looking = warrant::looking(&mut tx, look).await.map_err(refused)?;
        tx.commit().await?;
        let mut judged = Vec::with_capacity(looking.doc.verification.assertions.len());
        for assertion in &looking.doc.verification.assertions {
            let answer = match &looking.target {
                Ok(target) => self.answer_of(&ctx, target, assertion).await,
                Err(refusal) => Err(refusal.to_string()),
            };
            judged.push(judged_by(assertion, answer));
        }
        let verdict = verdict(&looking.doc, &judged);
        let mut tx = self.db.begin(&look.tenant_id).await?;
        let timing = &looking.doc.verification;
        // Success is measured once: who lost the report of it, or waits until it is none any more, is told so again.
        let passed = store::has_passed(&mut tx, look, timing.min_samples.max(1)).await?;
        let verdict = if passed { Verdict::Met } else { verdict };
        let kept = store::insert_look(&mut tx, look, verdict, timing).await?;
        let last =
            kept.ok_or_else(|| ClientError::Rejected("another lease of this execution is newer".to_owned()))?;
        crash::point("router.before_look");
        tx.commit().await?;
        crash::point("router.after_look");
        Ok(Look {
            verdict,
            last,
            judged,
        })
    }

    async fn answer_of(&self, ctx: &OpCtx, target: &Target, assertion: &Assertion) -> Result<Value, String> {
        let named = self.catalog.action(&assertion.tool, &assertion.action);
        if named.is_none_or(|def| def.digest != assertion.action_digest) {
            let (tool, action) = (&assertion.tool, &assertion.action);
            return Err(format!(
                "the definition of {tool}.{action} is not the one that was approved"
            ));
        }
        self.read(
            ctx,
            target.target_id,
            &assertion.tool,
            &assertion.action,
            &assertion.args,
        )
        .await
        .map(|answer| answer.value)
        .map_err(|error| error.to_string())
    }
}

fn judged_by(assertion: &Assertion, answer: Result<Value, String>) -> Judged {
    let verdict = answer
        .as_ref()
        .map_or(Verdict::Unknown, |answer| judge(assertion, answer));
    let (tool, action) = (&assertion.tool, &assertion.action);
    let query = assertion.args.get("query").and_then(Value::as_str).map_or_else(
        || format!("{tool}.{action} {}", Value::from_iter(assertion.args.clone())),
        str::to_owned,
    );
    Judged {
        name: assertion.name.clone(),
        evidence_kind: assertion.evidence_kind.clone(),
        query,
        verdict,
        answer,
    }
}

/// Success needs every assertion met, and every kind of evidence that a step requires; without assertions nothing is known.
fn verdict(doc: &PlanDoc, judged: &[Judged]) -> Verdict {
    let all = judged.iter().map(|one| one.verdict).fold(Verdict::Met, weakest);
    let mut required = doc.steps.iter().flat_map(|step| &step.evidence_required);
    let missing = required.any(|kind| !judged.iter().any(|one| one.evidence_kind == *kind));
    if judged.is_empty() || (missing && all == Verdict::Met) {
        Verdict::Unknown
    } else {
        all
    }
}

fn refused(error: warrant::Error) -> ClientError {
    match error {
        warrant::Error::Refused(refusal) => ClientError::Rejected(refusal.to_string()),
        other => ClientError::Unavailable(other.to_string()),
    }
}
