//! `/v1/approvals`: yes to exactly the digest that was seen, or no.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;

use super::store;
use crate::{
    approval::{self, ApprovalStatus},
    domain::{ApprovalId, Digest, PlanId, Prose},
    gateway::{
        Gateway,
        access::{Caller, may_change},
        opened::Opened,
        page::{PageOf, Params},
        problem::{Kind, Problem},
        refusals::refused,
        strict::Strict,
    },
};

/// A decision. `digest` is that of the plan as the approver saw it; without it nothing is approved.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::gateway) struct Decide {
    plan_id: PlanId,
    status: Word,
    #[serde(default)]
    digest: Option<Digest>,
    #[serde(default)]
    approver_note: Option<Prose>,
}

/// What is decided.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Approved,
    Denied,
    Revoked,
}

/// Filters and page of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::gateway) struct Query {
    status: Option<String>,
    limit: Option<i64>,
    cursor: Option<String>,
}

/// `POST /v1/approvals`. Who may is decided by the stage, by person: the route lets operators in, because who asked may withdraw.
pub(in crate::gateway) async fn decide(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    body: Strict<Decide>,
) -> Result<Response, Problem> {
    let Decide {
        plan_id,
        status,
        digest,
        approver_note,
    } = body.value;
    if approver_note
        .as_ref()
        .is_some_and(|note| note.as_str().len() > 2000)
    {
        return Err(Problem::new(Kind::InvalidValue, "a note has at most 2000 bytes")
            .at("/approver_note", "too long"));
    }
    let note = approver_note.as_ref().map(Prose::as_str);
    if matches!(status, Word::Approved) {
        may_change(&gateway)?;
    }
    let mut tx = gateway.db.begin(&ctx.tenant).await?;
    let decided = match status {
        Word::Approved => {
            let missing = || {
                Problem::new(Kind::MissingField, "approve the `digest` that you have seen")
                    .at("/digest", "missing")
            };
            let seen = digest.ok_or_else(missing)?;
            let granted =
                approval::grant(&mut tx, &ctx, plan_id, seen, note, &gateway.signing_key.get()).await;
            granted.map(|granted| (granted.approval_id, "approved"))
        }
        Word::Denied => approval::deny(&mut tx, &ctx, plan_id, note)
            .await
            .map(|id| (id, "denied")),
        Word::Revoked => approval::revoke(&mut tx, &ctx, plan_id, note)
            .await
            .map(|id| (id, "revoked")),
    };
    let (approval_id, word) = match decided {
        Ok(decided) => decided,
        Err(error) => {
            tx.rollback().await?;
            return Err(refused(&gateway, &ctx, "approval.refuse", plan_id, error).await);
        }
    };
    tx.commit().await?;
    metrics::counter!("carapulse_approvals_total", "status" => word).increment(1);
    Ok((
        StatusCode::CREATED,
        Json(json!({"approval_id": approval_id, "plan_id": plan_id, "status": word})),
    )
        .into_response())
}

/// `GET /v1/approvals?status=pending`: newest first.
pub(in crate::gateway) async fn list(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    opened: Opened,
    Params(query): Params<Query>,
) -> Result<Response, Problem> {
    let known = |word: &str| ApprovalStatus::ALL.iter().any(|status| status.as_str() == word);
    // Old clients say `approved` for what is stored as `granted`.
    let status = query
        .status
        .as_deref()
        .map(|word| if word == "approved" { "granted" } else { word });
    if let Some(word) = status.filter(|word| !known(word)) {
        return Err(Problem::new(
            Kind::InvalidRequest,
            format!("`{word}` is no status of an approval"),
        ));
    }
    let page = PageOf::new(
        &gateway,
        &ctx,
        "approvals",
        format!("{status:?}"),
        (query.limit, query.cursor.as_deref(), None),
    )?;
    let mut tx = opened.tx(&gateway, &ctx).await?;
    let rows = store::list_approvals(&mut tx, status, page.after::<ApprovalId>()?, page.limit + 1).await?;
    tx.finish_read();
    Ok(page.cursor_answer(rows, |row| row.approval_id.to_string()))
}
