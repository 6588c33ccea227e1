//! The tool-router's side of a sandbox role: sign, seal, send, verify.

use std::{sync::Arc, time::Duration};

use ed25519_dalek::{SigningKey, VerifyingKey};
use secrecy::ExposeSecret;
use url::Url;
use uuid::Uuid;

use super::{
    Error, Job, Outcome, SealingPublicKey, check,
    egress::{EgressListener, Grant},
    signed::{self, Envelope, JobState, Says, SignedJob, Terms},
    wire::Blob,
};
use crate::domain::{Clock, Digest};

/// Beyond a job's own time: waiting for a place, setting up, the way there and back.
const MARGIN_SECS: u32 = 120;

/// How long a sandbox may take to say where a job stands.
const STATE_TIMEOUT: Duration = Duration::from_secs(10);

/// The tool-router's listener, and under which `host:port` the sandbox reaches it.
#[derive(Debug, Clone)]
pub struct RemoteEgress {
    /// The listener, in this process.
    pub listener: Arc<EgressListener>,
    /// Its address as the sandbox sees it.
    pub advertised: String,
}

/// Where a sandbox role is and whom it is to trust.
#[derive(Debug)]
pub struct RemoteConfig {
    /// Base URL.
    pub url: Url,
    /// The sandbox's name for itself.
    pub audience: String,
    /// Signs jobs.
    pub signing_key: SigningKey,
    /// Verifies the sandbox's answers.
    pub sandbox_key: VerifyingKey,
    /// Seals what only the sandbox may read.
    pub sealing_key: SealingPublicKey,
    /// Without it, jobs with egress are refused.
    pub egress: Option<RemoteEgress>,
    /// The tool-router's clock.
    pub clock: Arc<dyn Clock>,
    /// The one outgoing HTTP client.
    pub client: reqwest::Client,
}

/// Runs jobs at a sandbox role.
#[derive(Debug)]
pub struct RemoteRunner {
    config: RemoteConfig,
}

impl RemoteRunner {
    /// A runner that talks to this sandbox.
    #[must_use]
    pub fn new(config: RemoteConfig) -> Self {
        Self { config }
    }

    /// See [`super::Runner::run`]. Whatever is not a verified answer of the sandbox counts as [`Error::Lost`], unless
    /// no connection was made. Dropping the future does not end the job: the sandbox sees it through to its deadline.
    pub async fn run(&self, job: Job) -> Result<Outcome, Error> {
        check::job_elsewhere(&job)?;
        let time = Duration::from_secs(u64::from(job.limits.timeout_secs.saturating_add(MARGIN_SECS)));
        let egress = self.open_egress(&job)?;
        let egress_listener = egress.as_ref().map(|(egress, _)| egress.advertised.clone());
        let egress_secret = egress
            .as_ref()
            .map(|(_, grant)| grant.secret().expose_secret().to_owned());
        let issued_at = self.config.clock.now().timestamp();
        let audience = self.config.audience.clone();
        let deadline = issued_at.saturating_add_unsigned(time.as_secs());
        let signed = self.sign(
            job,
            Terms {
                audience,
                issued_at,
                deadline,
                egress_listener,
                egress_secret,
            },
        )?;
        let to = Digest::of_content(&signed.statement.bytes.0);
        let request = self
            .config
            .client
            .post(self.address("v1/jobs")?)
            .timeout(time)
            .json(&signed);
        let says = match send(request).await {
            Ok(envelope) => signed::open_answer(&envelope, to, &self.config.sandbox_key),
            Err(e) if e.is_connect() || e.is_builder() => {
                return Err(Error::NotStarted(format!("the sandbox: {e}")));
            }
            Err(e) => return Err(Error::Lost(format!("the sandbox: {e}"))),
        };
        match says {
            Ok(Says::Outcome(outcome)) => Ok(outcome),
            Ok(Says::Error(error)) => Err(error.into()),
            Ok(Says::State(_)) | Err(_) => Err(Error::Lost(
                "the answer is not the sandbox's to this job".to_owned(),
            )),
        }
    }

    /// See [`super::Runner::running`].
    pub async fn running(&self, nonce: Uuid) -> Result<bool, Error> {
        let challenge = signed::challenge();
        let to = Digest::of_content(format!("{nonce}{challenge}").as_bytes());
        let address = self.address(&format!("v1/jobs/{nonce}"))?;
        let request = self
            .config
            .client
            .get(address)
            .timeout(STATE_TIMEOUT)
            .query(&[("challenge", &challenge)]);
        let envelope = send(request)
            .await
            .map_err(|e| Error::NotStarted(format!("the sandbox: {e}")))?;
        match signed::open_answer(&envelope, to, &self.config.sandbox_key)? {
            Says::State(state) => Ok(state == JobState::Running),
            _ => Err(Error::BadSignature),
        }
    }

    /// The way out that a job needs, open for as long as it is held.
    fn open_egress(&self, job: &Job) -> Result<Option<(&RemoteEgress, Grant)>, Error> {
        if job.egress.is_empty() {
            return Ok(None);
        }
        match &self.config.egress {
            Some(egress) => Ok(Some((egress, egress.listener.grant(job.egress.clone())))),
            None => Err(Error::Refused {
                layer: "egress".to_owned(),
                reason: "this tool-router has no egress listener for sandboxes elsewhere".to_owned(),
                remedy: "configure the tool-router's egress listener".to_owned(),
            }),
        }
    }

    fn sign(&self, job: Job, terms: Terms) -> Result<SignedJob, Error> {
        let invalid = |e: &dyn std::fmt::Display| Error::Invalid(e.to_string());
        let nonce = job.nonce;
        let (mut statement, sealed) = signed::split(job, terms);
        let bytes = sealed.to_bytes().map_err(|e| invalid(&e))?;
        let sealed = self
            .config
            .sealing_key
            .seal(&bytes, nonce.as_bytes())
            .map_err(|e| invalid(&e))?;
        statement.sealed = Digest::of_content(&sealed);
        Ok(SignedJob {
            statement: signed::sign_statement(&statement, &self.config.signing_key)?,
            sealed: Blob(sealed),
        })
    }

    fn address(&self, path: &str) -> Result<Url, Error> {
        let base = self.config.url.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}/{path}")).map_err(|e| Error::NotStarted(e.to_string()))
    }
}

/// Every answer of a sandbox is signed, refusals too: the status code proves nothing and is not looked at.
async fn send(request: reqwest::RequestBuilder) -> Result<Envelope, reqwest::Error> {
    request.send().await?.json().await
}
