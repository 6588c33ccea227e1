//! What is in a bundle, and how one is made.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ArchiveError, Files, archive};
use crate::{
    audit::{Error, InclusionProof, Leaf},
    domain::{CanonicalError, Digest, ExecutionId, PlanId, canonical},
};

/// Format version of a bundle.
pub const VERSION: u16 = 1;
/// Tag of [`Manifest::content_digest`].
const CONTENT_TAG: &str = "carapulse.bundle";
/// The event that carries the content digest, as `details.content_digest`.
pub const EXPORT_ACTION: &str = "evidence.export";

/// Path of the manifest, which lists every other file.
pub(super) const MANIFEST: &str = "manifest.json";
/// Path of the signed head.
pub(super) const CHECKPOINT: &str = "checkpoint.note";

/// `manifest.json`, canonical.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Format version.
    pub version: u16,
    /// The plan.
    pub plan_id: PlanId,
    /// The run of it.
    pub execution_id: ExecutionId,
    /// How it ended (`succeeded`, `rolled_back`, …).
    pub status: String,
    /// Plain SHA-256 of every other file.
    pub files: BTreeMap<String, Digest>,
}

impl Manifest {
    /// Digest over this manifest without the log's own files (`audit/`, `proofs/`, `checkpoint.note`), which prove themselves.
    ///
    /// # Errors
    /// [`CanonicalError`] for a status that is not in normal form C.
    pub fn content_digest(&self) -> Result<Digest, CanonicalError> {
        let files = self.files.iter().filter(|(name, _)| !is_proof(name));
        let content = Self {
            files: files.map(|(name, digest)| (name.clone(), *digest)).collect(),
            ..self.clone()
        };
        Ok(Digest::of(CONTENT_TAG, VERSION, &canonical::to_bytes(&content)?))
    }
}

/// Whether a file belongs to the log and proves itself.
pub(super) fn is_proof(name: &str) -> bool {
    name.starts_with("audit/") || name.starts_with("proofs/") || name == CHECKPOINT
}

/// One named part of a bundle. Each knows its own path, so that writer and verifier agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// `plan.json`: the exact stored bytes.
    Plan(Vec<u8>),
    /// `approval/…`: what was signed, by which key, the signature.
    Approval {
        /// The exact signed bytes.
        statement: Vec<u8>,
        /// As stored in `approval_grant.key_id`.
        key_id: String,
        /// 64 bytes.
        signature: Vec<u8>,
    },
    /// `signals/NAME`: what woke the system, as it came.
    Signal(String, Vec<u8>),
    /// `snapshot.json`.
    Snapshot(Vec<u8>),
    /// `diagnosis.json`.
    Diagnosis(Vec<u8>),
    /// `decisions/NAME`: a policy decision with its input.
    Decision(String, Vec<u8>),
    /// `journal.jsonl`: the events in order, one [`JournalLine`] a line.
    Journal(Vec<JournalLine>),
    /// `attempts/NAME`: an object with at least `step`, `direction`, `attempt`, `status`.
    Attempt(String, Value),
    /// `logs/NAME`: redacted output.
    Log(String, Vec<u8>),
    /// `evidence/NAME`.
    Evidence(String, Vec<u8>),
}

/// One line of `journal.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalLine {
    /// From 0, without gaps.
    pub seq: u64,
    /// Lease under which it was written.
    pub epoch: i64,
    /// RFC 3339.
    pub recorded_at: String,
    /// The event.
    pub event: crate::domain::run::JournalEvent,
}

/// `audit/POSITION.json`: a leaf with all that its hash is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LeafFile {
    pub(super) position: u64,
    /// 32 hexadecimal digits.
    pub(super) salt: String,
    pub(super) body: Value,
}

/// `proofs/POSITION.json`: that leaf's inclusion proof to the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProofFile {
    pub(super) position: u64,
    pub(super) size: u64,
    /// 64 hexadecimal digits each, from the leaf up.
    pub(super) hashes: Vec<String>,
}

/// A bundle without its proofs.
#[derive(Debug, Clone)]
pub struct Draft {
    manifest: Manifest,
    files: Files,
}

impl Draft {
    /// Collects the parts.
    ///
    /// # Errors
    /// [`Error::Details`] for parts that have no canonical form.
    pub fn new(
        plan_id: PlanId,
        execution_id: ExecutionId,
        status: &str,
        parts: Vec<Part>,
    ) -> Result<Self, Error> {
        let mut files = Files::new();
        for part in parts {
            add(&mut files, part)?;
        }
        let digests = digests(&files);
        let manifest = Manifest {
            version: VERSION,
            plan_id,
            execution_id,
            status: status.to_owned(),
            files: digests,
        };
        Ok(Self { manifest, files })
    }

    /// What the event `evidence.export` must carry as `details.content_digest`, under the bundle's plan and execution.
    ///
    /// # Errors
    /// [`Error::Details`] for a status that is not in normal form C.
    pub fn content_digest(&self) -> Result<Digest, Error> {
        Ok(self.manifest.content_digest()?)
    }

    /// Adds the leaves, a proof for each to `note`'s size, and the note; answers the tar.
    ///
    /// # Errors
    /// [`Error::Details`] for a leaf that is not canonical; [`ArchiveError`] within [`Error::Bundle`].
    pub fn seal(mut self, leaves: &[Leaf], proofs: &[InclusionProof], note: &str) -> Result<Vec<u8>, Error> {
        for leaf in leaves {
            let file = LeafFile {
                position: leaf.position,
                salt: hex::encode(leaf.salt),
                body: canonical::from_bytes(&leaf.body)?,
            };
            self.files.insert(
                format!("audit/{:020}.json", leaf.position),
                canonical::to_bytes(&file)?,
            );
        }
        for proof in proofs {
            let file = ProofFile {
                position: proof.position,
                size: proof.size,
                hashes: proof.hashes.iter().map(hex::encode).collect(),
            };
            self.files.insert(
                format!("proofs/{:020}.json", proof.position),
                canonical::to_bytes(&file)?,
            );
        }
        self.files.insert(CHECKPOINT.to_owned(), note.as_bytes().to_vec());
        self.manifest.files = digests(&self.files);
        self.files
            .insert(MANIFEST.to_owned(), canonical::to_bytes(&self.manifest)?);
        Ok(archive::write(&self.files)?)
    }
}

fn digests(files: &Files) -> BTreeMap<String, Digest> {
    files
        .iter()
        .map(|(name, bytes)| (name.clone(), Digest::of_content(bytes)))
        .collect()
}

fn add(files: &mut Files, part: Part) -> Result<(), Error> {
    let (name, bytes) = match part {
        Part::Plan(bytes) => ("plan.json".to_owned(), bytes),
        Part::Approval {
            statement,
            key_id,
            signature,
        } => {
            files.insert("approval/key_id".to_owned(), key_id.into_bytes());
            files.insert(
                "approval/signature".to_owned(),
                hex::encode(signature).into_bytes(),
            );
            ("approval/statement.json".to_owned(), statement)
        }
        Part::Signal(name, bytes) => (format!("signals/{name}"), bytes),
        Part::Snapshot(bytes) => ("snapshot.json".to_owned(), bytes),
        Part::Diagnosis(bytes) => ("diagnosis.json".to_owned(), bytes),
        Part::Decision(name, bytes) => (format!("decisions/{name}"), bytes),
        Part::Journal(lines) => ("journal.jsonl".to_owned(), journal(&lines)?),
        Part::Attempt(name, value) => (format!("attempts/{name}"), canonical::value_to_bytes(&value)?),
        Part::Log(name, bytes) => (format!("logs/{name}"), bytes),
        Part::Evidence(name, bytes) => (format!("evidence/{name}"), bytes),
    };
    match files.insert(name.clone(), bytes) {
        None => Ok(()),
        Some(_) => Err(ArchiveError::Twice(name).into()),
    }
}

fn journal(lines: &[JournalLine]) -> Result<Vec<u8>, CanonicalError> {
    let mut bytes = Vec::new();
    for line in lines {
        bytes.extend(canonical::to_bytes(line)?);
        bytes.push(b'\n');
    }
    Ok(bytes)
}
