//! The one place where HTTP errors are made: RFC 9457 problem documents from a closed list.
//!
//! In: a [`Kind`], a sentence that says what to do, sometimes a list of faulty fields. Out: `application/problem+json`.
//! Always holds: every kind has one status, one title and one example; no detail carries a secret or a database message.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::domain::redact::Redactor;

tokio::task_local! {
    /// The request id of the request that this task answers; set by `telemetry::observe`.
    pub(super) static REQUEST_ID: String;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:ident, $title:literal, $example:literal;)*) => {
        /// Every problem that this API answers with.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The last part of the type URI.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// The same few words for every occurrence.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// A detail as it may be seen.
            #[must_use]
            pub const fn example(self) -> &'static str {
                match self { $(Self::$name => $example,)* }
            }
        }
    };
}

kinds! {
    /// The body is not JSON.
    MalformedJson = "malformed_json", BAD_REQUEST, "The body is not JSON",
        "expected `,` or `}` at line 1 column 17; send one JSON object";
    /// A query parameter or header cannot be read.
    InvalidRequest = "invalid_request", BAD_REQUEST, "The request cannot be read",
        "query parameter `limit` must be a number from 1 to 200";
    /// A cursor was not made by this installation, or for another list.
    InvalidCursor = "invalid_cursor", BAD_REQUEST, "The cursor is not valid here",
        "start again without `cursor`; a cursor is good for the list and filters that it was made for";
    /// `offset` is beyond what is counted.
    OffsetTooLarge = "offset_too_large", BAD_REQUEST, "The offset is too large",
        "offset pages end at 10000; follow `pagination.next_cursor` instead";
    /// No token, or one that is unknown, expired or revoked.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "A valid bearer token is needed",
        "send a token (`cpl_…`) as bearer in the header `Authorization`; make one with `carapulse token create`";
    /// A Slack request's signature or time is wrong.
    BadSignature = "bad_signature", UNAUTHORIZED, "The signature is not valid",
        "the body must be signed with the shared secret within the last 300 seconds";
    /// The token's role does not allow this.
    Forbidden = "forbidden", FORBIDDEN, "The token's role does not allow this",
        "this needs the role `admin`; the token has `operator`";
    /// Policy said no.
    PolicyDenied = "policy_denied", FORBIDDEN, "Policy denies this",
        "prod_frozen: the environment prod is frozen until Monday";
    /// Separation of duties, a missing person or a bar.
    ApprovalRefused = "approval_refused", FORBIDDEN, "This approval is refused",
        "the requester of a plan may not approve it; ask another person";
    /// There is no such thing, or it belongs to another tenant.
    NotFound = "not_found", NOT_FOUND, "There is no such resource",
        "no plan `plan_01980000000070008000000000000001` in this tenant";
    /// The path exists, but not with this method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "The method is not allowed here",
        "see the `Allow` header";
    /// It is in a state that does not allow this.
    Conflict = "conflict", CONFLICT, "The present state does not allow this",
        "the plan is `denied`; make a new one";
    /// The digest given is not that of the plan.
    DigestMismatch = "digest_mismatch", CONFLICT, "The digest is not that of the plan",
        "read the plan again and approve the digest that you have seen";
    /// The target's mode does not allow this.
    TargetMode = "target_mode", CONFLICT, "The target's mode does not allow this",
        "target `shop-prod` is in mode `observe`; change it with `carapulse target propose`";
    /// Nothing is executed while the installation is frozen.
    Frozen = "frozen", CONFLICT, "The installation is frozen",
        "an admin lifts the freeze with `carapulse unfreeze`";
    /// The database was restored, and nobody has looked at it yet.
    ReadOnly = "read_only", CONFLICT, "The installation is read-only",
        "the database was restored from a backup: nothing is written until `carapulse restore acknowledge`";
    /// The body is larger than the route takes.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "The body is too large",
        "at most 1048576 bytes are accepted here";
    /// The body is not declared as JSON.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The media type is not accepted",
        "send `Content-Type: application/json`";
    /// A key that the body may not have.
    UnknownField = "unknown_field", UNPROCESSABLE_ENTITY, "The body has an unknown field",
        "unknown field `stepz`, expected one of `summary`, `intent`, `steps`";
    /// A key that the body must have.
    MissingField = "missing_field", UNPROCESSABLE_ENTITY, "The body lacks a field",
        "missing field `plan_id`";
    /// A key that stands twice in one object.
    DuplicateKey = "duplicate_key", UNPROCESSABLE_ENTITY, "The body has a key twice",
        "key `target` stands twice in one object";
    /// A value of the wrong JSON type.
    WrongType = "wrong_type", UNPROCESSABLE_ENTITY, "A value has the wrong type",
        "invalid type: string \"3\", expected u32";
    /// A value of the right type that makes no sense.
    InvalidValue = "invalid_value", UNPROCESSABLE_ENTITY, "A value is not valid",
        "give either `intent` or `steps`, not both";
    /// A webhook body that cannot be taken.
    InvalidDelivery = "invalid_delivery", UNPROCESSABLE_ENTITY, "The delivery cannot be taken",
        "version `3` of the webhook body is not known; configure Alertmanager 0.21 or later";
    /// No registered target has this name.
    UnknownTarget = "unknown_target", UNPROCESSABLE_ENTITY, "There is no such target",
        "no target `shop-prod`; `carapulse target list` shows those registered";
    /// The catalogue has no such tool or action.
    UnknownAction = "unknown_action", UNPROCESSABLE_ENTITY, "The catalogue has no such action",
        "tool `kubectl` has no action `exec`; `GET /v1/tools` lists all";
    /// An argument breaks its action's schema.
    InvalidArgument = "invalid_argument", UNPROCESSABLE_ENTITY, "An argument is not valid",
        "argument `resource` must be a name and may not start with `-`";
    /// The plan cannot be made as asked.
    PlanRejected = "plan_rejected", UNPROCESSABLE_ENTITY, "The plan is rejected",
        "a plan that writes needs at least one assertion";
    /// The workflow needs what this installation has not got.
    WorkflowUnavailable = "workflow_unavailable", UNPROCESSABLE_ENTITY, "The workflow cannot run here",
        "`helm_release` needs the tool `helm`, which the catalogue does not have";
    /// The same idempotency key came with another body.
    IdempotencyMismatch = "idempotency_mismatch", UNPROCESSABLE_ENTITY, "The idempotency key was used for another body",
        "use a new `Idempotency-Key` for a new request";
    /// More streams than one token may have.
    TooManyStreams = "too_many_streams", TOO_MANY_REQUESTS, "Too many open streams",
        "this token has 32 log streams open, which is as many as it may; close one first";
    /// The gateway, or what it stands on, is not ready.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "The service is not available",
        "the database does not answer; try again in a few seconds";
    /// The gateway's clock and the database's are too far apart to change anything.
    ClockSkew = "clock_skew", SERVICE_UNAVAILABLE, "The clocks disagree",
        "this machine's clock is -3120 ms from the database's, more than 2000 ms: nothing is written until it is set";
    /// No answer in time.
    Timeout = "timeout", GATEWAY_TIMEOUT, "The request took too long",
        "no answer within 30 seconds; nothing was changed unless a read shows it";
    /// A fault of ours.
    Internal = "internal", INTERNAL_SERVER_ERROR, "An internal error",
        "report the `request_id`; the server's log has the cause";
}

impl Kind {
    /// `urn:carapulse:problem:<code>`.
    #[must_use]
    pub fn type_uri(self) -> String {
        format!("urn:carapulse:problem:{}", self.code())
    }
}

/// One faulty field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON pointer into the body; empty for the whole of it.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

/// An error on its way to the client.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}: {detail}", kind.code())]
pub struct Problem {
    kind: Kind,
    detail: String,
    errors: Vec<FieldError>,
}

impl Problem {
    /// A problem; `detail` says what is wrong and what to do, without secrets.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    /// Names a faulty field.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        self.errors.push(FieldError {
            pointer: pointer.into(),
            detail: detail.into(),
        });
        self
    }

    /// No row of that name in the caller's tenant.
    pub fn not_found(noun: &str, id: impl std::fmt::Display) -> Self {
        Self::new(Kind::NotFound, format!("no {noun} `{id}` in this tenant"))
    }

    /// A fault of ours: the cause goes to the log, the client gets the request id.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %cause, "request failed");
        Self::new(Kind::Internal, Kind::Internal.example())
    }

    /// Which one it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The faulty fields.
    #[must_use]
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// What it says.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // Details quote what was sent: no secret goes back, or into whatever log the answer ends in.
        let redactor = Redactor::new();
        let detail = redactor.redact_text(&self.detail);
        let errors: Vec<FieldError> = self
            .errors
            .iter()
            .map(|error| FieldError {
                pointer: redactor.redact_text(&error.pointer),
                detail: redactor.redact_text(&error.detail),
            })
            .collect();
        let document = Document {
            r#type: self.kind.type_uri(),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &detail,
            request_id: REQUEST_ID.try_with(Clone::clone).ok(),
            errors: &errors,
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = (self.kind.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.kind.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.kind == Kind::Unavailable {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}

/// The list for the documentation: type, status, title and one example each, as a Markdown table.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(
        "| type `urn:carapulse:problem:…` | status | title | example of `detail` |\n|---|---|---|---|\n",
    );
    for kind in Kind::ALL {
        out.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            kind.code(),
            kind.status().as_u16(),
            kind.title(),
            kind.example().replace('|', "\\|")
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_problem_has_its_own_code_a_title_and_an_example() {
        let codes: HashSet<_> = Kind::ALL.iter().map(|kind| kind.code()).collect();
        assert_eq!(codes.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert!(
                kind.status().is_client_error() || kind.status().is_server_error(),
                "{kind:?}"
            );
            assert!(!kind.title().is_empty() && kind.example().len() > 10, "{kind:?}");
            assert_eq!(
                Redactor::new().redact_text(kind.example()),
                kind.example(),
                "what to do is no secret"
            );
        }
    }

    #[test]
    fn the_documentation_lists_every_problem() {
        let page = include_str!("../../docs/API.md");
        assert!(
            page.contains(markdown().trim()),
            "docs/API.md is behind; its table must be:\n{}",
            markdown()
        );
    }

    #[tokio::test]
    async fn a_problem_carries_the_request_id_and_its_fields() {
        let problem = Problem::new(Kind::UnknownField, "unknown field `x`").at("/x", "unknown");
        let response = REQUEST_ID
            .scope("req-1".to_owned(), async move { problem.into_response() })
            .await;
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let body = axum::body::to_bytes(response.into_body(), 10_000)
            .await
            .expect("body");
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["type"], "urn:carapulse:problem:unknown_field");
        assert_eq!(body["request_id"], "req-1");
        assert_eq!(body["errors"][0]["pointer"], "/x");
    }
}
