//! One look at all assertions of a plan.

use serde_json::Value;

use crate::{
    domain::{
        OpCtx, TargetId,
        plan::{Assertion, PlanDoc},
        run::Verdict,
    },
    tools::{Client, judge, weakest},
};

/// What one look saw.
#[derive(Debug, Clone)]
pub struct Look {
    /// The weakest verdict of all.
    pub verdict: Verdict,
    /// One an assertion, in the plan's order.
    pub judged: Vec<Judged>,
}

/// One assertion's verdict and what it rests on.
#[derive(Debug, Clone)]
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

/// Reads and judges every assertion of `doc` once. A read that fails makes its assertion `unknown`.
pub async fn look(ctx: &OpCtx, client: &Client, doc: &PlanDoc) -> Look {
    let mut judged = Vec::with_capacity(doc.verification.assertions.len());
    for assertion in &doc.verification.assertions {
        judged.push(look_at(ctx, client, doc.target.target_id, assertion).await);
    }
    let verdict = judged.iter().map(|one| one.verdict).fold(Verdict::Met, weakest);
    let verdict = if judged.is_empty() {
        Verdict::Unknown
    } else {
        verdict
    };
    metrics::counter!("carapulse_verify_looks_total", "verdict" => verdict.as_str()).increment(1);
    Look { verdict, judged }
}

async fn look_at(ctx: &OpCtx, client: &Client, target: TargetId, assertion: &Assertion) -> Judged {
    let answer = client
        .read(ctx, target, &assertion.tool, &assertion.action, &assertion.args)
        .await;
    let verdict = answer
        .as_ref()
        .map_or(Verdict::Unknown, |answer| judge(assertion, &answer.value));
    let query = assertion.args.get("query").and_then(Value::as_str).map_or_else(
        || {
            format!(
                "{}.{} {}",
                assertion.tool,
                assertion.action,
                Value::from_iter(assertion.args.clone())
            )
        },
        str::to_owned,
    );
    Judged {
        name: assertion.name.clone(),
        evidence_kind: assertion.evidence_kind.clone(),
        query,
        verdict,
        answer: answer
            .map(|answer| answer.value)
            .map_err(|error| error.to_string()),
    }
}
