//! Every check of a bundle. The keys come from [`Trust`] only.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{
    Files, Manifest, Report, archive,
    manifest::{CHECKPOINT, EXPORT_ACTION, JournalLine, LeafFile, MANIFEST, ProofFile, VERSION},
};
use crate::{
    audit::{Body, Trust, checkpoint::Checkpoint, leaf, merkle},
    domain::{
        ApprovalId, Digest, PersonId, PlanId, TenantId, canonical,
        plan::{self, PlanDoc},
        run::{AttemptStatus, Direction, JournalEvent, ProbeReport, Verdict},
    },
};

type Checked<T> = Result<(T, String), String>;

/// Checks a bundle against `trust`. Nothing in the bundle can add to what is trusted.
#[must_use]
pub fn verify_bundle(bytes: &[u8], trust: &Trust) -> Report {
    let mut report = Report::default();
    let files = archive::read(bytes).map(|files| (files, "a bounded tar of plain files".to_owned()));
    let Some(files) = report.note("archive", files.map_err(|error| error.to_string())) else {
        return report;
    };
    let Some(manifest) = report.note("manifest", manifest(&files)) else {
        return report;
    };
    let plan = report.note("plan", plan_doc(&files, &manifest));
    let approved = plan
        .as_ref()
        .and_then(|(plan, digest)| report.note("approval", approval(&files, plan, *digest, trust)))
        .flatten();
    let checkpoint = report.note("checkpoint", checkpoint(&files, trust));
    if let Some(checkpoint) = checkpoint
        && let Some(bodies) = report.note("audit_leaves", leaves(&files, &manifest, &checkpoint))
    {
        report.note("sealed", sealed(&manifest, &bodies));
        report.note(
            "recorded",
            recorded(&manifest, &bodies, plan.as_ref().map(|(plan, _)| plan)),
        );
        report.note("not_revoked", not_revoked(&manifest, &bodies, approved));
    }
    if let Some(journal) = report.note("journal", journal(&files)) {
        report.note("attempts", attempts(&files, &journal));
        if let Some((plan, _)) = &plan {
            report.note("outcome", outcome(&manifest, plan, &journal));
        }
    }
    report
}

fn manifest(files: &Files) -> Checked<Manifest> {
    let bytes = files.get(MANIFEST).ok_or("manifest.json is missing")?;
    let manifest: Manifest =
        canonical::from_bytes(bytes).map_err(|error| format!("manifest.json: {error}"))?;
    if manifest.version != VERSION {
        return Err(format!("version {} is not known here", manifest.version));
    }
    for (name, digest) in &manifest.files {
        let bytes = files.get(name).ok_or_else(|| format!("{name} is missing"))?;
        if Digest::of_content(bytes) != *digest {
            return Err(format!("{name} is not the file that the manifest lists"));
        }
    }
    if let Some(extra) = files
        .keys()
        .find(|name| *name != MANIFEST && !manifest.files.contains_key(*name))
    {
        return Err(format!("{extra} is not in the manifest"));
    }
    let detail = format!("{} files, each as listed", manifest.files.len());
    Ok((manifest, detail))
}

fn plan_doc(files: &Files, manifest: &Manifest) -> Checked<(PlanDoc, Digest)> {
    let bytes = files.get("plan.json").ok_or("plan.json is missing")?;
    let doc = PlanDoc::open(bytes).map_err(|error| format!("plan.json: {error}"))?;
    if doc.plan_id != manifest.plan_id {
        return Err("plan.json is another plan than the manifest names".to_owned());
    }
    let digest = plan::digest_of(bytes);
    Ok(((doc, digest), digest.to_string()))
}

/// The fields that a bundle's verifier needs of the signed statement.
#[derive(Deserialize)]
struct Statement {
    approval_id: ApprovalId,
    plan_id: PlanId,
    plan_digest: Digest,
    tenant_id: TenantId,
    approver_person_id: PersonId,
}

/// The approval whose statement is signed and fits; none where none is needed.
fn approval(files: &Files, plan: &PlanDoc, digest: Digest, trust: &Trust) -> Checked<Option<ApprovalId>> {
    let Some(bytes) = files.get("approval/statement.json") else {
        return match plan.writes().next() {
            None => Ok((None, "none is needed: the plan only reads".to_owned())),
            Some(_) => Err("the plan writes, but there is no approval".to_owned()),
        };
    };
    let text = |name: &str| {
        files
            .get(name)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .map(str::trim)
    };
    let key_id = text("approval/key_id").ok_or("approval/key_id is missing")?;
    let key = trust
        .approval_keys
        .iter()
        .find(|key| key.key_id == key_id)
        .ok_or_else(|| format!("the approval key `{key_id}` is not trusted"))?;
    let signature = text("approval/signature")
        .and_then(|hex| hex::decode(hex).ok())
        .and_then(|bytes| ed25519_dalek::Signature::from_slice(&bytes).ok())
        .ok_or("approval/signature cannot be read")?;
    key.key
        .verify_strict(Digest::of("carapulse.approval", 1, bytes).as_bytes(), &signature)
        .map_err(|_| "the approval's signature is wrong")?;
    let statement: Statement = canonical::from_bytes::<serde_json::Value>(bytes)
        .ok()
        .and_then(|value| serde_json::from_value(value).ok())
        .ok_or("approval/statement.json cannot be read")?;
    if statement.plan_digest != digest
        || statement.plan_id != plan.plan_id
        || statement.tenant_id != plan.tenant_id
    {
        return Err(format!(
            "what was approved ({}) is not this plan",
            statement.plan_digest
        ));
    }
    let barred = [plan.requester.person_id, plan.requester.token_owner_person_id];
    if barred.contains(&Some(statement.approver_person_id))
        || plan.editors.contains(&statement.approver_person_id)
    {
        return Err("the approver is the requester or an editor of the plan".to_owned());
    }
    Ok((
        Some(statement.approval_id),
        format!(
            "of this digest, by {} under key {key_id}",
            statement.approver_person_id
        ),
    ))
}

fn checkpoint(files: &Files, trust: &Trust) -> Checked<Checkpoint> {
    let note = files.get(CHECKPOINT).ok_or("checkpoint.note is missing")?;
    let checkpoint = Checkpoint::open(note, &trust.checkpoint_keys).map_err(|error| error.to_string())?;
    let detail = format!(
        "{} over {} events, generation {}",
        checkpoint.origin, checkpoint.size, checkpoint.generation
    );
    Ok((checkpoint, detail))
}

fn leaves(files: &Files, manifest: &Manifest, checkpoint: &Checkpoint) -> Checked<Vec<Body>> {
    let in_folder = |folder: &str| -> BTreeSet<&str> {
        files
            .keys()
            .filter_map(|name| name.strip_prefix(folder))
            .collect()
    };
    let (audit, proofs) = (in_folder("audit/"), in_folder("proofs/"));
    if audit != proofs {
        return Err("audit/ and proofs/ do not hold the same positions".to_owned());
    }
    let mut bodies = Vec::new();
    for name in &audit {
        let body = proven_leaf(files, name, checkpoint).map_err(|error| format!("{name}: {error}"))?;
        if body.plan_id != Some(manifest.plan_id) && body.execution_id != Some(manifest.execution_id) {
            return Err(format!("{name} is about something else"));
        }
        bodies.push(body);
    }
    let detail = format!("{} leaves, each in the signed tree", bodies.len());
    Ok((bodies, detail))
}

fn proven_leaf(files: &Files, name: &str, checkpoint: &Checkpoint) -> Result<Body, String> {
    let text = |error: crate::domain::CanonicalError| error.to_string();
    let leaf: LeafFile = canonical::from_bytes(&files[&format!("audit/{name}")]).map_err(text)?;
    let proof: ProofFile = canonical::from_bytes(&files[&format!("proofs/{name}")]).map_err(text)?;
    if name != format!("{:020}.json", leaf.position) || proof.position != leaf.position {
        return Err("names another position".to_owned());
    }
    if proof.size != checkpoint.size {
        return Err("the proof is for another checkpoint".to_owned());
    }
    let salt: [u8; leaf::SALT_BYTES] = hex::decode(&leaf.salt)
        .ok()
        .and_then(|salt| salt.try_into().ok())
        .ok_or("the salt cannot be read")?;
    let hashes: Vec<merkle::Hash> = proof
        .hashes
        .iter()
        .map(|hash| hex::decode(hash).ok().and_then(|hash| hash.try_into().ok()))
        .collect::<Option<_>>()
        .ok_or("a hash cannot be read")?;
    let bytes = canonical::value_to_bytes(&leaf.body).map_err(text)?;
    let hash = leaf::hash(&salt, &bytes);
    merkle::verify_inclusion(&hash, leaf.position, proof.size, &hashes, &checkpoint.root)
        .map_err(|error| error.to_string())?;
    canonical::from_bytes(&bytes).map_err(text)
}

/// The log itself must carry the digest of all other parts: else they could be changed together with the manifest.
fn sealed(manifest: &Manifest, bodies: &[Body]) -> Checked<()> {
    let digest = manifest
        .content_digest()
        .map_err(|error| error.to_string())?
        .to_string();
    let carries = |body: &&Body| {
        body.action == EXPORT_ACTION
            && body.execution_id == Some(manifest.execution_id)
            && body
                .details
                .get("content_digest")
                .and_then(|value| value.as_str())
                == Some(&digest)
    };
    let body = bodies.iter().find(carries).ok_or_else(|| {
        format!("no event `{EXPORT_ACTION}` in the log carries the digest of these parts, {digest}")
    })?;
    Ok(((), format!("exported by {} at {}", body.actor.name, body.at)))
}

/// The log must tell the same story as the manifest.
fn recorded(manifest: &Manifest, bodies: &[Body], plan: Option<&PlanDoc>) -> Checked<()> {
    let finish = bodies
        .iter()
        .rfind(|body| body.action == "execution.finish" && body.execution_id == Some(manifest.execution_id));
    let status = finish
        .and_then(|body| body.details.get("status"))
        .and_then(|value| value.as_str());
    if status != Some(&manifest.status) {
        let said = status.unwrap_or("nothing");
        return Err(format!(
            "the manifest says `{}`, the log's `execution.finish` says {said}",
            manifest.status
        ));
    }
    let writes = plan.is_some_and(|plan| plan.writes().next().is_some());
    let granted = bodies
        .iter()
        .any(|body| body.action == "approval.grant" && body.plan_id == Some(manifest.plan_id));
    if writes && !granted {
        return Err("the plan writes, but no `approval.grant` of it is in the log".to_owned());
    }
    if let Some(plan) = plan
        && bodies.iter().any(|body| body.tenant_id != plan.tenant_id)
    {
        return Err("an event of another tenant is in the bundle".to_owned());
    }
    Ok((
        (),
        format!("the log ends this execution as `{}`", manifest.status),
    ))
}

/// A yes that was taken back, refused or had run out before the execution began is no yes, whatever was signed. Another request
/// for the same plan may well have ended so: what counts is the one whose statement is in the bundle.
fn not_revoked(manifest: &Manifest, bodies: &[Body], approved: Option<ApprovalId>) -> Checked<()> {
    let Some(approval_id) = approved else {
        return Ok((
            (),
            "there is no approval that could have been taken back".to_owned(),
        ));
    };
    let began = |body: &Body| {
        body.execution_id == Some(manifest.execution_id)
            && matches!(body.action.as_str(), "execution.create" | "execution.start")
    };
    let before = bodies.iter().take_while(|body| !began(body));
    let ended = before
        .filter(|body| body.subject == Some(approval_id.uuid()))
        .find(|body| {
            matches!(
                body.action.as_str(),
                "approval.revoke" | "approval.deny" | "approval.expire"
            )
        });
    match ended {
        Some(body) => Err(format!(
            "the log has `{}` of {approval_id} by {} at {}, before the execution began",
            body.action, body.actor.name, body.at
        )),
        None => Ok(((), format!("{approval_id} stood when the execution began"))),
    }
}

fn journal(files: &Files) -> Checked<Vec<JournalEvent>> {
    let bytes = files.get("journal.jsonl").ok_or("journal.jsonl is missing")?;
    let mut events = Vec::new();
    for (number, line) in (0_u64..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        let line: JournalLine = line
            .strip_suffix(b"\n")
            .and_then(|line| canonical::from_bytes(line).ok())
            .ok_or_else(|| format!("line {number} cannot be read"))?;
        if line.seq != number {
            return Err(format!("entry {number} is missing or moved"));
        }
        events.push(line.event);
    }
    let detail = format!("{} entries without a gap", events.len());
    Ok((events, detail))
}

/// The fields that a verifier needs of an attempt.
#[derive(Deserialize)]
struct Attempt {
    step: u32,
    direction: Direction,
    attempt: u32,
    status: String,
}

/// Every attempt was intended before it ended, and router and journal agree on how it ended.
fn attempts(files: &Files, journal: &[JournalEvent]) -> Checked<()> {
    let (mut intended, mut withdrawn) = (BTreeSet::new(), BTreeSet::new());
    let mut ended = BTreeMap::new();
    for event in journal {
        match *event {
            JournalEvent::Intended {
                step,
                direction,
                attempt,
            } if !intended.insert((step, direction, attempt))
                && !withdrawn.remove(&(step, direction, attempt)) =>
            {
                return Err(format!("attempt {attempt} of step {step} was intended twice"));
            }
            // Nothing had claimed it, and its older lease never can: the same attempt may be intended anew.
            JournalEvent::Probed {
                step,
                direction,
                attempt,
                report: ProbeReport::NotStarted,
            } => {
                withdrawn.insert((step, direction, attempt));
            }
            JournalEvent::Ended {
                step,
                direction,
                attempt,
                status,
                ..
            } => {
                let key = (step, direction, attempt);
                if !intended.contains(&key) {
                    return Err(format!(
                        "attempt {attempt} of step {step} ended, but was not intended before"
                    ));
                }
                ended.insert(key, status);
            }
            _ => {}
        }
    }
    let mut done = BTreeSet::new();
    for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with("attempts/")) {
        let attempt: Attempt = serde_json::from_slice(bytes).map_err(|error| format!("{name}: {error}"))?;
        let key = (attempt.step, attempt.direction, attempt.attempt);
        if !intended.contains(&key) {
            return Err(format!("{name} was never intended"));
        }
        if let Some(status) = ended.get(&key)
            && *status != AttemptStatus::Unknown
            && status.as_str() != attempt.status
        {
            return Err(format!(
                "{name} is `{}`, the journal says `{}`",
                attempt.status,
                status.as_str()
            ));
        }
        if attempt.status == "done" {
            done.insert(key);
        }
    }
    if let Some(((step, ..), _)) = ended
        .iter()
        .find(|(key, status)| **status == AttemptStatus::Done && !done.contains(*key))
    {
        return Err(format!(
            "step {step} is done in the journal, but there is no such attempt"
        ));
    }
    Ok((
        (),
        format!(
            "{} intended, {} reported, none unintended",
            intended.len(),
            ended.len()
        ),
    ))
}

/// A success needs a verdict, and every write done.
fn outcome(manifest: &Manifest, plan: &PlanDoc, journal: &[JournalEvent]) -> Checked<()> {
    let verdict = journal.iter().rev().find_map(|event| match event {
        JournalEvent::Looked { verdict, .. } => Some(*verdict),
        _ => None,
    });
    if manifest.status != "succeeded" {
        let verdict = verdict.map_or("none", Verdict::as_str);
        return Ok(((), format!("`{}`, last verdict {verdict}", manifest.status)));
    }
    if plan.writes().next().is_some() && verdict != Some(Verdict::Met) {
        return Err("it is said to have succeeded, but the last verdict is not `met`".to_owned());
    }
    for write in plan.writes() {
        let took_effect = journal.iter().any(|event| match event {
            JournalEvent::Ended {
                step,
                direction: Direction::Forward,
                status: AttemptStatus::Done,
                ..
            } => *step == write,
            JournalEvent::Probed {
                step,
                direction: Direction::Forward,
                report,
                ..
            } => *step == write && *report == ProbeReport::Done,
            JournalEvent::Resolved { step, resolution, .. } => {
                *step == write && *resolution == crate::domain::run::Resolution::Done
            }
            _ => false,
        });
        if !took_effect {
            return Err(format!(
                "it is said to have succeeded, but step {write} never took effect"
            ));
        }
    }
    Ok((
        (),
        "succeeded: every write took effect and the verdict is `met`".to_owned(),
    ))
}
