//! `POST /v1/hooks/alertmanager`: Alertmanager's webhook. The tenant comes from the token, never from a label.

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{
    gateway::{Gateway, access::Caller, problem::Problem, strict::read_body},
    intake::alertmanager::{MAX_BODY_BYTES, parse},
};

/// Answers 202 after the commit. Unknown fields are kept in the stored body and ignored.
pub(in crate::gateway) async fn alertmanager(
    State(gateway): State<Gateway>,
    Caller(ctx): Caller,
    request: Request,
) -> Result<Response, Problem> {
    let taken = async {
        let raw = read_body(request, MAX_BODY_BYTES).await?;
        let delivery = parse(&raw)?;
        Ok::<_, Problem>((delivery, raw))
    };
    let (delivery, raw) = taken.await.inspect_err(|_| {
        metrics::counter!("carapulse_intake_rejected_deliveries_total").increment(1);
    })?;
    let event_id = gateway.intake.accept(ctx, delivery, raw).await?;
    Ok((
        StatusCode::ACCEPTED,
        Json(json!({"received": true, "event_id": event_id})),
    )
        .into_response())
}
