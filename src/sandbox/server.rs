//! The sandbox role: takes signed jobs of one tool-router, runs each nonce once, signs every answer.
//!
//! In: `POST /v1/jobs`, `GET /v1/jobs/{nonce}?challenge=…`. Always holds: only the configured key's jobs
//! for this audience run, before their deadline, and none that was issued before this process began (its memory of seen
//! nonces begins there, too). A job goes on when its caller hangs up. Deliberately not here: health (every role has it), a database, secrets of its own
//! beside the two keys.

use std::{
    collections::HashMap,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    extract::{self, DefaultBodyLimit, Query, State},
    http::StatusCode,
    routing::{get, post},
};
use ed25519_dalek::{SigningKey, VerifyingKey};
use serde::Deserialize;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::{
    Error, LocalConfig, LocalRunner, Outcome, SealingKey,
    egress::EgressRelay,
    signed::{self, Answer, Envelope, JobState, Says, Sealed, SignedJob, Statement},
};
use crate::domain::{Clock, Digest};

/// Largest job, in bytes of JSON.
const MAX_BODY_BYTES: usize = 64 << 20;

/// Farthest deadline, in seconds: bounds how long nonces are kept.
const MAX_AHEAD_SECS: i64 = 6 * 3600;

/// What a sandbox role is made of.
#[derive(Debug)]
pub struct ServerConfig {
    /// Its name; jobs for another are refused.
    pub audience: String,
    /// The one key whose jobs it takes.
    pub router_key: VerifyingKey,
    /// Signs its answers.
    pub signing_key: SigningKey,
    /// Opens what is sealed for it.
    pub sealing_key: SealingKey,
    /// How it makes sandboxes.
    pub local: LocalConfig,
    /// Folders of this machine that jobs may see, and those below them. None: a job with mounts is refused.
    pub mounts: Vec<PathBuf>,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
}

/// The role's state.
#[derive(Debug)]
pub struct SandboxServer {
    config: ServerConfig,
    runner: LocalRunner,
    began_at: i64,
    seen: Mutex<HashMap<Uuid, Seen>>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Seen {
    deadline: i64,
    ended: bool,
}

impl SandboxServer {
    /// A role that has seen nothing yet.
    #[must_use]
    pub fn new(config: ServerConfig) -> Arc<Self> {
        Arc::new(Self {
            runner: LocalRunner::new(config.local.clone()),
            began_at: config.clock.now().timestamp(),
            seen: Mutex::default(),
            tasks: TaskTracker::new(),
            config,
        })
    }

    /// Waits for the jobs under way; call it when no new ones can come.
    pub async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Verifies, admits and runs one job.
    async fn run(self: &Arc<Self>, signed: SignedJob) -> Result<Outcome, Error> {
        let statement = signed::open_statement(&signed.statement, &self.config.router_key)?;
        self.admit(&statement, &signed)?;
        let nonce = statement.nonce;
        let server = Arc::clone(self);
        // A task of its own: a caller that hangs up must not tear a write in two.
        let task = self.tasks.spawn(async move {
            let result = server.run_admitted(statement, signed).await;
            if let Some(seen) = server.lock_seen().get_mut(&nonce) {
                seen.ended = true;
            }
            result
        });
        task.await.unwrap_or_else(|e| Err(Error::Lost(e.to_string())))
    }

    fn admit(&self, statement: &Statement, signed: &SignedJob) -> Result<(), Error> {
        let now = self.config.clock.now().timestamp();
        if statement.audience != self.config.audience {
            return Err(Error::WrongAudience);
        }
        if statement.deadline <= now
            || statement.deadline > now + MAX_AHEAD_SECS
            || statement.issued_at < self.began_at
        {
            return Err(Error::Expired);
        }
        if statement.sealed != Digest::of_content(&signed.sealed.0) {
            return Err(Error::BadSignature);
        }
        self.allow_mounts(statement)?;
        let mut seen = self.lock_seen();
        seen.retain(|_, job| !job.ended || job.deadline > now);
        if seen.contains_key(&statement.nonce) {
            return Err(Error::Replayed);
        }
        seen.insert(
            statement.nonce,
            Seen {
                deadline: statement.deadline,
                ended: false,
            },
        );
        Ok(())
    }

    /// The router names folders; which of them exist for jobs is this machine's own business.
    fn allow_mounts(&self, statement: &Statement) -> Result<(), Error> {
        let allowed = |path: &Path| {
            let plain = path.is_absolute() && !path.components().any(|part| part == Component::ParentDir);
            plain && self.config.mounts.iter().any(|folder| path.starts_with(folder))
        };
        match statement.mounts.iter().find(|mount| !allowed(&mount.path)) {
            None => Ok(()),
            Some(mount) => Err(Error::Refused {
                layer: "mounts".to_owned(),
                reason: format!("folder {} is not for jobs of this sandbox", mount.path.display()),
                remedy: "name the folder in `sandbox.mounts` of the sandbox's configuration".to_owned(),
            }),
        }
    }

    async fn run_admitted(&self, statement: Statement, signed: SignedJob) -> Result<Outcome, Error> {
        let bound = statement.nonce;
        let bytes = self
            .config
            .sealing_key
            .open(&signed.sealed.0, bound.as_bytes())
            .map_err(|_| Error::BadSignature)?;
        let sealed: Sealed = serde_json::from_slice(&bytes).map_err(|e| Error::Invalid(e.to_string()))?;
        let listener = statement.egress_listener.clone();
        let (job, egress_secret) = signed::join(statement, sealed)?;
        if job.egress.is_empty() {
            return self.runner.run_with_proxy(job, None).await;
        }
        let (Some(listener), Some(secret)) = (listener, egress_secret) else {
            return Err(Error::Invalid(
                "egress without a listener to go through".to_owned(),
            ));
        };
        let relay =
            EgressRelay::start(listener, secret.into()).map_err(|e| Error::NotStarted(e.to_string()))?;
        self.runner
            .run_with_proxy(job, Some(relay.socket().to_owned()))
            .await
    }

    fn state(&self, nonce: Uuid) -> JobState {
        match self.lock_seen().get(&nonce) {
            Some(Seen { ended: true, .. }) => JobState::Ended,
            Some(_) => JobState::Running,
            None => JobState::Unknown,
        }
    }

    fn answer(&self, to: Digest, says: Says) -> Result<Json<Envelope>, StatusCode> {
        let signed = signed::sign_answer(&Answer { to, says }, &self.config.signing_key);
        signed.map(Json).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn lock_seen(&self) -> MutexGuard<'_, HashMap<Uuid, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The role's HTTP surface.
pub fn router(server: Arc<SandboxServer>) -> Router {
    Router::new()
        .route("/v1/jobs", post(run_job))
        .route("/v1/jobs/{nonce}", get(job_state))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(server)
}

async fn run_job(
    State(server): State<Arc<SandboxServer>>,
    Json(signed): Json<SignedJob>,
) -> Result<Json<Envelope>, StatusCode> {
    let to = Digest::of_content(&signed.statement.bytes.0);
    let says = match server.run(signed).await {
        Ok(outcome) => Says::Outcome(outcome),
        Err(error) => Says::Error(error.into()),
    };
    server.answer(to, says)
}

#[derive(Deserialize)]
struct Question {
    challenge: String,
}

async fn job_state(
    State(server): State<Arc<SandboxServer>>,
    extract::Path(nonce): extract::Path<Uuid>,
    Query(question): Query<Question>,
) -> Result<Json<Envelope>, StatusCode> {
    let to = Digest::of_content(format!("{nonce}{}", question.challenge).as_bytes());
    server.answer(to, Says::State(server.state(nonce)))
}
