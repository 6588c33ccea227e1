//! `/v1/freeze`: the brake. While it is on, nothing acts forward, in any tenant of the installation.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;

use super::store;
use crate::{
    audit,
    domain::{OpCtx, Prose},
    gateway::{
        Gateway,
        access::{Caller, may_change},
        opened::Opened,
        problem::{Kind, Problem},
        strict::Strict,
    },
    notify::{self, Notification},
};

/// `{"frozen": bool, "reason": text}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::gateway) struct Freeze {
    frozen: bool,
    #[serde(default)]
    reason: Prose,
}

/// `GET /v1/freeze`.
pub(in crate::gateway) async fn get(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    opened: Opened,
) -> Result<Response, Problem> {
    of_the_installation(&ctx)?;
    let mut tx = opened.tx(&gateway, &ctx).await?;
    let (frozen, reason) = store::get_freeze(&mut tx).await?;
    tx.finish_read();
    Ok(Json(json!({"frozen": frozen, "reason": reason})).into_response())
}

/// `POST /v1/freeze`: by an admin, with a reason.
pub(in crate::gateway) async fn set(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    body: Strict<Freeze>,
) -> Result<Response, Problem> {
    of_the_installation(&ctx)?;
    let Freeze { frozen, reason } = body.value;
    let reason = reason.as_str();
    if reason.trim().is_empty() || reason.len() > 500 {
        let detail = "say why, in 1 to 500 bytes: others will read it";
        return Err(Problem::new(Kind::InvalidValue, detail).at("/reason", detail));
    }
    if !frozen {
        may_change(&gateway)?;
    }
    let mut tx = gateway.db.begin(&ctx.tenant).await?;
    store::update_freeze(&mut tx, frozen, reason).await?;
    let action = if frozen {
        "installation.freeze"
    } else {
        "installation.unfreeze"
    };
    audit::record(
        &mut tx,
        &ctx,
        audit::Event::new(action, json!({"reason": reason})),
    )
    .await?;
    let word = if frozen { "froze" } else { "unfroze" };
    let page = Notification {
        kind: notify::Kind::AdminChange,
        severity: notify::Severity::Page,
        subject: format!("{} {word} the installation", ctx.actor.name),
        body: json!({"frozen": frozen, "reason": reason}),
        dedupe_key: format!("{action}:{}", ctx.request_id),
    };
    notify::send(&mut tx, &ctx, page).await?;
    tx.commit().await?;
    Ok(Json(json!({"frozen": frozen, "reason": reason})).into_response())
}

/// The freeze is the whole installation's: only its own tenant sets it, or reads why.
fn of_the_installation(ctx: &OpCtx) -> Result<(), Problem> {
    if ctx.tenant.as_str() == "default" {
        return Ok(());
    }
    let detail = "the freeze is the installation's: ask its operator";
    Err(Problem::new(Kind::Forbidden, detail))
}
