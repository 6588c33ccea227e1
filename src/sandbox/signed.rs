//! What travels between a tool-router and a sandbox role: signed jobs, signed answers.
//!
//! The statement of a job is canonical JSON and is what is signed; the sandbox verifies the bytes that it received. What is
//! not for the open (values of variables, contents of files, standard inputs, the egress secret) travels sealed, and the
//! statement carries the digest of the sealed box and of each file.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use secrecy::{ExposeSecret, SecretSlice};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Command, Error, HostPort, Job, JobFile, Limits, Mount, Outcome, wire::Blob};
use crate::domain::{Digest, canonical};

const JOB_TAG: &str = "carapulse.sandbox.job";
const ANSWER_TAG: &str = "carapulse.sandbox.answer";
const VERSION: u16 = 1;

/// What the tool-router signs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Statement {
    pub(super) nonce: Uuid,
    /// The one sandbox that may run it.
    pub(super) audience: String,
    /// Seconds of Unix time; not run before a sandbox that began later, nor after the deadline.
    pub(super) issued_at: i64,
    pub(super) deadline: i64,
    pub(super) commands: Vec<Vec<String>>,
    pub(super) env_names: Vec<String>,
    pub(super) files: Vec<FileStatement>,
    pub(super) egress: Vec<HostPort>,
    /// Folders of the sandbox's machine; it allows those that its own settings name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) mounts: Vec<Mount>,
    /// `host:port` of the tool-router's egress listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) egress_listener: Option<String>,
    pub(super) limits: Limits,
    pub(super) sealed: Digest,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileStatement {
    path: String,
    digest: Digest,
    secret: bool,
}

/// What only the sandbox reads.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sealed {
    env: BTreeMap<String, String>,
    files: Vec<Blob>,
    stdins: Vec<Option<Blob>>,
    secrets: Vec<String>,
    egress_secret: Option<String>,
}

/// Bytes with a signature over their tagged digest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Envelope {
    pub(super) bytes: Blob,
    signature: Blob,
}

/// The body of `POST /v1/jobs`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignedJob {
    pub(super) statement: Envelope,
    pub(super) sealed: Blob,
}

/// What a sandbox signs, for every answer: a job's end, or a job's state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Answer {
    /// Digest of the statement's bytes, or of the question's challenge: an answer fits one question.
    pub(super) to: Digest,
    pub(super) says: Says,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Says {
    Outcome(Outcome),
    Error(WireError),
    State(JobState),
}

/// Where a job stands at a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Admitted, and not ended.
    Running,
    /// Ended, well or badly.
    Ended,
    /// Never seen by this process; what an earlier process ran ended with it.
    Unknown,
}

/// [`Error`] as it travels.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WireError {
    Refused {
        layer: String,
        reason: String,
        remedy: String,
    },
    Invalid(String),
    Busy,
    Replayed,
    BadSignature,
    WrongAudience,
    Expired,
    NotStarted(String),
    Lost(String),
}

/// When and for whom a job is signed.
pub(super) struct Terms {
    pub(super) audience: String,
    pub(super) issued_at: i64,
    pub(super) deadline: i64,
    pub(super) egress_listener: Option<String>,
    pub(super) egress_secret: Option<String>,
}

/// Splits a job into what is signed and what is sealed; the digest of the box is left for the caller to fill in.
pub(super) fn split(job: Job, terms: Terms) -> (Statement, Sealed) {
    let contents = |file: &JobFile| file.contents.expose_secret().to_vec();
    let statement = Statement {
        nonce: job.nonce,
        audience: terms.audience,
        issued_at: terms.issued_at,
        deadline: terms.deadline,
        commands: job.commands.iter().map(|c| c.argv.clone()).collect(),
        env_names: job.env.keys().cloned().collect(),
        files: job
            .files
            .iter()
            .map(|f| FileStatement {
                path: f.path.clone(),
                digest: Digest::of_content(&contents(f)),
                secret: f.secret,
            })
            .collect(),
        egress: job.egress,
        mounts: job.mounts,
        egress_listener: terms.egress_listener,
        limits: job.limits,
        sealed: Digest::of_content(&[]),
    };
    let sealed = Sealed {
        files: job.files.iter().map(|f| Blob(contents(f))).collect(),
        env: job.env,
        stdins: job.commands.into_iter().map(|c| c.stdin.map(Blob)).collect(),
        secrets: job.secrets.iter().map(|s| s.expose_secret().to_owned()).collect(),
        egress_secret: terms.egress_secret,
    };
    (statement, sealed)
}

/// The job again, and the egress secret; refused when the two halves do not fit.
pub(super) fn join(statement: Statement, sealed: Sealed) -> Result<(Job, Option<String>), Error> {
    let fits = statement.env_names.iter().eq(sealed.env.keys())
        && statement.files.len() == sealed.files.len()
        && statement
            .files
            .iter()
            .zip(&sealed.files)
            .all(|(f, b)| f.digest == Digest::of_content(&b.0))
        && statement.commands.len() == sealed.stdins.len();
    if !fits {
        return Err(Error::BadSignature);
    }
    let commands = statement.commands.into_iter().zip(sealed.stdins);
    let files = statement.files.into_iter().zip(sealed.files);
    let job = Job {
        nonce: statement.nonce,
        commands: commands
            .map(|(argv, stdin)| Command {
                argv,
                stdin: stdin.map(|b| b.0),
            })
            .collect(),
        env: sealed.env,
        files: files
            .map(|(f, b)| JobFile {
                path: f.path,
                contents: SecretSlice::from(b.0),
                secret: f.secret,
            })
            .collect(),
        mounts: statement.mounts,
        egress: statement.egress,
        limits: statement.limits,
        secrets: sealed.secrets.into_iter().map(Into::into).collect(),
    };
    Ok((job, sealed.egress_secret))
}

/// Signs a statement in canonical form.
pub(super) fn sign_statement(statement: &Statement, key: &SigningKey) -> Result<Envelope, Error> {
    let bytes = canonical::to_bytes(statement).map_err(|e| Error::Invalid(e.to_string()))?;
    Ok(sign(JOB_TAG, bytes, key))
}

/// The statement, if the key signed these very bytes.
pub(super) fn open_statement(envelope: &Envelope, key: &VerifyingKey) -> Result<Statement, Error> {
    verify(JOB_TAG, envelope, key)?;
    canonical::from_bytes(&envelope.bytes.0).map_err(|e| Error::Invalid(e.to_string()))
}

/// Signs an answer. Its text is output and need not be canonical: the bytes are what is signed.
pub(super) fn sign_answer(answer: &Answer, key: &SigningKey) -> Result<Envelope, serde_json::Error> {
    Ok(sign(ANSWER_TAG, serde_json::to_vec(answer)?, key))
}

/// What a sandbox says to the question of this digest.
pub(super) fn open_answer(envelope: &Envelope, to: Digest, key: &VerifyingKey) -> Result<Says, Error> {
    verify(ANSWER_TAG, envelope, key)?;
    let answer: Answer = serde_json::from_slice(&envelope.bytes.0).map_err(|_| Error::BadSignature)?;
    if answer.to == to {
        Ok(answer.says)
    } else {
        Err(Error::BadSignature)
    }
}

fn sign(tag: &str, bytes: Vec<u8>, key: &SigningKey) -> Envelope {
    let signature = key.sign(Digest::of(tag, VERSION, &bytes).as_bytes());
    Envelope {
        bytes: Blob(bytes),
        signature: Blob(signature.to_bytes().to_vec()),
    }
}

fn verify(tag: &str, envelope: &Envelope, key: &VerifyingKey) -> Result<(), Error> {
    let signature = Signature::from_slice(&envelope.signature.0).map_err(|_| Error::BadSignature)?;
    let digest = Digest::of(tag, VERSION, &envelope.bytes.0);
    key.verify_strict(digest.as_bytes(), &signature)
        .map_err(|_| Error::BadSignature)
}

impl Sealed {
    /// Bytes to seal.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

impl From<Error> for WireError {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused {
                layer,
                reason,
                remedy,
            } => Self::Refused {
                layer,
                reason,
                remedy,
            },
            Error::Invalid(why) => Self::Invalid(why),
            Error::Busy => Self::Busy,
            Error::Replayed => Self::Replayed,
            Error::BadSignature => Self::BadSignature,
            Error::WrongAudience => Self::WrongAudience,
            Error::Expired => Self::Expired,
            Error::NotStarted(why) => Self::NotStarted(why),
            Error::Lost(why) => Self::Lost(why),
        }
    }
}

impl From<WireError> for Error {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Refused {
                layer,
                reason,
                remedy,
            } => Self::Refused {
                layer,
                reason,
                remedy,
            },
            WireError::Invalid(why) => Self::Invalid(why),
            WireError::Busy => Self::Busy,
            WireError::Replayed => Self::Replayed,
            WireError::BadSignature => Self::BadSignature,
            WireError::WrongAudience => Self::WrongAudience,
            WireError::Expired => Self::Expired,
            WireError::NotStarted(why) => Self::NotStarted(why),
            WireError::Lost(why) => Self::Lost(why),
        }
    }
}

/// A base64 text of a random challenge for a question about a job's state.
pub(super) fn challenge() -> String {
    STANDARD.encode(rand::random::<[u8; 32]>())
}
