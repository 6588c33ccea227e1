//! How the rest of the system reaches the router: in this process, or over HTTP.

use std::{sync::Arc, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Fault, Look, ReadAnswer, Router, catalog::ArgError, fault::FaultKind};
use crate::domain::{
    OpCtx, Rotating, TargetId, TenantId,
    plan::Args,
    run::{ActRef, ActReport, Captured, LookRef, ProbeReport},
};

/// Longer than the longest act with its preparations.
const ACT_TIMEOUT: Duration = Duration::from_secs(1200);
/// Longest answer that is taken.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// The tool-router. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Client {
    /// In this process.
    Local(Arc<Router>),
    /// At the role `tool-router`.
    Remote(Arc<Remote>),
}

/// A tool-router elsewhere.
#[derive(Debug)]
pub struct Remote {
    base: url::Url,
    token: Rotating<SecretString>,
    http: reqwest::Client,
}

/// Why there is no report of an act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The router, its database or the managed system cannot be asked. What became of the act must be probed.
    #[error("the tool-router gives no report: {0}")]
    Unavailable(String),
    /// The attempt is running: ask [`Client::probe`] later.
    #[error("the attempt is still running")]
    StillRunning,
    /// The router does not take this caller, or does not understand it.
    #[error("the tool-router refused the request: {0}")]
    Rejected(String),
}

impl From<crate::store::Error> for ClientError {
    fn from(error: crate::store::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Why a read has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No such tool or action.
    #[error("there is no action `{0}`")]
    UnknownAction(String),
    /// The action writes: it needs a plan.
    #[error("the action is not a read")]
    NotARead,
    /// Arguments that the schema refuses.
    #[error("arguments: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Arguments(Vec<ArgError>),
    /// No such target in this tenant.
    #[error("there is no such target")]
    UnknownTarget,
    /// The tool, the target or a credential said no.
    #[error("{code}: {message}")]
    Failed {
        /// Short and stable.
        code: String,
        /// One redacted line.
        message: String,
    },
    /// It may be answered later.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        match fault.kind {
            FaultKind::Unavailable => Self::Unavailable(fault.to_string()),
            _ => Self::Failed {
                code: fault.code,
                message: fault.message,
            },
        }
    }
}

impl From<crate::store::Error> for ReadError {
    fn from(error: crate::store::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// The body of a read over HTTP.
#[derive(Debug, Clone, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadRequest {
    pub(super) tenant_id: TenantId,
    pub(super) target_id: TargetId,
    pub(super) tool: String,
    pub(super) action: String,
    #[serde(default)]
    pub(super) args: Args,
    /// Not the read itself, but what a write of this name would capture.
    #[serde(default)]
    pub(super) capture: bool,
}

impl Client {
    /// The router at `base`, shown `token`; where that is not known yet, the one before it.
    pub fn remote(base: url::Url, token: impl Into<Rotating<SecretString>>) -> Result<Self, ClientError> {
        let token = token.into();
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .timeout(ACT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|e| ClientError::Rejected(e.to_string()))?;
        Ok(Self::Remote(Arc::new(Remote { base, token, http })))
    }

    /// Acts once; see [`Router::act`]. After an error the act must be probed.
    pub async fn act(&self, act: &ActRef) -> Result<ActReport, ClientError> {
        match self {
            Self::Local(router) => router.act(act).await,
            Self::Remote(remote) => remote
                .post("v1/tools:execute", act)
                .await
                .map_err(Answered::into_client),
        }
    }

    /// Says what became of an act; see [`Router::probe`].
    pub async fn probe(&self, act: &ActRef) -> Result<ProbeReport, ClientError> {
        match self {
            Self::Local(router) => router.probe(act).await,
            Self::Remote(remote) => remote
                .post("v1/tools:probe", act)
                .await
                .map_err(Answered::into_client),
        }
    }

    /// Looks at the assertions of a running plan; see [`Router::look`].
    pub async fn look(&self, look: &LookRef) -> Result<Look, ClientError> {
        match self {
            Self::Local(router) => router.look(look).await,
            Self::Remote(remote) => remote
                .post("v1/tools:look", look)
                .await
                .map_err(Answered::into_client),
        }
    }

    /// Reads from a target; see [`Router::read`].
    pub async fn read(
        &self,
        ctx: &OpCtx,
        target_id: TargetId,
        tool: &str,
        action: &str,
        args: &Args,
    ) -> Result<ReadAnswer, ReadError> {
        match self {
            Self::Local(router) => router.read(ctx, target_id, tool, action, args).await,
            Self::Remote(remote) => {
                let body = request(ctx, target_id, tool, action, args, false);
                remote
                    .post("v1/tools:execute", &body)
                    .await
                    .map_err(Answered::into_read)
            }
        }
    }

    /// What a write would capture now; see [`Router::capture`].
    pub async fn capture(
        &self,
        ctx: &OpCtx,
        target_id: TargetId,
        tool: &str,
        action: &str,
        args: &Args,
    ) -> Result<Captured, ReadError> {
        match self {
            Self::Local(router) => router.capture(ctx, target_id, tool, action, args).await,
            Self::Remote(remote) => {
                let body = request(ctx, target_id, tool, action, args, true);
                remote
                    .post("v1/tools:execute", &body)
                    .await
                    .map_err(Answered::into_read)
            }
        }
    }
}

fn request(
    ctx: &OpCtx,
    target_id: TargetId,
    tool: &str,
    action: &str,
    args: &Args,
    capture: bool,
) -> ReadRequest {
    ReadRequest {
        tenant_id: ctx.tenant.clone(),
        target_id,
        tool: tool.to_owned(),
        action: action.to_owned(),
        args: args.clone(),
        capture,
    }
}

/// Anything but a good answer: the problem's code, its detail, and the status (none without an answer).
struct Answered {
    status: Option<u16>,
    code: String,
    detail: String,
}

impl Answered {
    fn nothing(detail: impl std::fmt::Display) -> Self {
        Self {
            status: None,
            code: "unreachable".to_owned(),
            detail: detail.to_string(),
        }
    }

    fn into_client(self) -> ClientError {
        match self.status {
            Some(409) if self.code == "still_running" => ClientError::StillRunning,
            // A rotated token that has not come to both sides yet: nothing was done, and later it is known.
            Some(401) => ClientError::Unavailable(self.detail),
            Some(400..=499) => ClientError::Rejected(self.detail),
            _ => ClientError::Unavailable(self.detail),
        }
    }

    fn into_read(self) -> ReadError {
        match self.status {
            Some(401) => ReadError::Unavailable(self.detail),
            Some(400..=499) => match self.code.as_str() {
                "unknown_action" => ReadError::UnknownAction(self.detail),
                "not_a_read" => ReadError::NotARead,
                "unknown_target" => ReadError::UnknownTarget,
                _ => ReadError::Failed {
                    code: self.code,
                    message: self.detail,
                },
            },
            Some(502) => ReadError::Failed {
                code: self.code,
                message: self.detail,
            },
            _ => ReadError::Unavailable(self.detail),
        }
    }
}

impl Remote {
    /// Shows each accepted token until one is taken. A refused one did nothing.
    async fn send<B: Serialize + Sync>(
        &self,
        url: &url::Url,
        body: &B,
    ) -> Result<reqwest::Response, reqwest::Error> {
        let mut tokens = self.token.accepted().into_iter();
        let mut token = tokens.next();
        loop {
            let shown = token.as_ref().map_or("", |token| token.expose_secret());
            let request = self.http.post(url.clone()).bearer_auth(shown).json(body);
            let response = request.send().await?;
            token = tokens.next();
            if response.status() != reqwest::StatusCode::UNAUTHORIZED || token.is_none() {
                return Ok(response);
            }
        }
    }

    async fn post<B: Serialize + Sync, A: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<A, Answered> {
        let url = self.base.join(path).map_err(Answered::nothing)?;
        let mut response = self.send(&url, body).await.map_err(Answered::nothing)?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(Answered::nothing)? {
            if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(Answered::nothing("the answer is too long"));
            }
            bytes.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(Answered::nothing);
        }
        let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let field = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        Err(Answered {
            status: Some(status.as_u16()),
            code: field("code"),
            detail: field("detail"),
        })
    }
}
