//! A bundle made from a real log verifies; every way of changing it shows.

use carapulse::{
    audit::{
        self, ApprovalKey, Decision, Event, Trust,
        bundle::{self, Draft, Files, JournalLine, Manifest, Part, Report, verify_bundle},
        note::{NoteSigner, VerifierKey},
    },
    domain::{
        ApprovalId, ContextRef, Digest, EffectKind, ExecutionId, Guard, PersonId, PlanId, Risk, Tier,
        canonical,
        plan::{
            Constraints, Inverse, OnUnknown, PinnedTarget, PlanDoc, Requester, Stage, Step, Trigger,
            Verification,
        },
        run::{AttemptStatus, Direction, JournalEvent, Verdict},
    },
};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};

use super::{Log, ctx, record, tenant};

/// The gateway's approval key in these tests.
const APPROVAL_KEY: [u8; 32] = [21; 32];

/// What the log has of an approval.
type Told = (&'static str, ApprovalId);

/// Makes a case's story inconsistent; the person is the plan's requester.
type Bend = fn(&mut Case, PersonId);

pub(super) struct Case {
    plan: PlanDoc,
    execution: ExecutionId,
    approver: PersonId,
    approval_id: ApprovalId,
    /// What the log has of approvals between the grant and the end, and whether the execution had begun by then.
    between: Vec<Told>,
    status: &'static str,
    journal: Vec<JournalEvent>,
    attempt: Value,
}

impl Case {
    pub(super) fn new() -> Self {
        let write = |event: fn(u32, Direction, u32) -> JournalEvent| event(0, Direction::Forward, 1);
        Self {
            plan: plan(),
            execution: ctx().id(),
            approver: ctx().id(),
            approval_id: ctx().id(),
            between: Vec::new(),
            status: "succeeded",
            journal: vec![
                JournalEvent::Started,
                write(|step, direction, attempt| JournalEvent::Intended {
                    step,
                    direction,
                    attempt,
                }),
                write(|step, direction, attempt| JournalEvent::Ended {
                    step,
                    direction,
                    attempt,
                    status: AttemptStatus::Done,
                    code: None,
                    retryable: false,
                }),
                JournalEvent::Looked {
                    verdict: Verdict::Met,
                    last: false,
                },
            ],
            attempt: json!({"step": 0, "direction": "forward", "attempt": 1, "status": "done"}),
        }
    }

    fn parts(&self) -> Vec<Part> {
        let (bytes, digest) = self.plan.seal().unwrap();
        let statement = canonical::to_bytes(&json!({
            "approval_id": self.approval_id,
            "plan_id": self.plan.plan_id,
            "plan_digest": digest,
            "tenant_id": "default",
            "approver_person_id": self.approver,
            "tier": "standard",
            "expires_at": "2026-01-01T00:00:00.000000Z",
            "generation": 1,
        }))
        .unwrap();
        let key = SigningKey::from_bytes(&APPROVAL_KEY);
        let signature = key.sign(Digest::of("carapulse.approval", 1, &statement).as_bytes());
        let journal = (0..).zip(&self.journal).map(|(seq, event)| JournalLine {
            seq,
            epoch: 1,
            recorded_at: "2026-01-01T00:00:00Z".to_owned(),
            event: event.clone(),
        });
        vec![
            Part::Plan(bytes),
            Part::Approval {
                statement,
                key_id: "key".to_owned(),
                signature: signature.to_bytes().to_vec(),
            },
            Part::Journal(journal.collect()),
            Part::Attempt("0-forward-1.json".to_owned(), self.attempt.clone()),
            Part::Snapshot(b"{}".to_vec()),
            Part::Log("0-forward-1.stdout".to_owned(), b"scaled".to_vec()),
        ]
    }

    /// The bundle, by way of a real log.
    pub(super) async fn export(&self, log: &mut Log) -> Vec<u8> {
        let plan_id = self.plan.plan_id;
        let about = |event: Event| event.plan(plan_id).execution(self.execution);
        let granted = Event::new("approval.grant", json!({}))
            .plan(plan_id)
            .decision(Decision::Allow);
        record(&log.gateway, granted).await;
        for &(action, approval) in &self.between {
            let event = Event::new(action, json!({})).subject(approval.uuid());
            let event = about_execution(event, action, plan_id, self.execution);
            let by = if action == "execution.start" {
                &log.orchestrator
            } else {
                &log.gateway
            };
            record(by, event).await;
        }
        log.record(3).await;
        record(
            &log.orchestrator,
            about(Event::new("execution.finish", json!({"status": self.status}))),
        )
        .await;
        let draft = Draft::new(plan_id, self.execution, self.status, self.parts()).unwrap();
        let details = json!({"content_digest": draft.content_digest().unwrap()});
        record(&log.gateway, about(Event::new(bundle::EXPORT_ACTION, details))).await;
        log.record(2).await;
        log.sequence().await;
        let mut tx = log.gateway.begin(&tenant()).await.unwrap();
        let leaves = audit::leaves_about(&mut tx, plan_id, Some(self.execution))
            .await
            .unwrap();
        let checkpoint = audit::latest_checkpoint(&mut tx).await.unwrap().unwrap();
        assert_eq!(leaves.len(), 3 + self.between.len());
        let positions: Vec<u64> = leaves.iter().map(|leaf| leaf.position).collect();
        let proofs = audit::inclusion_proofs(&log.gateway, &positions, checkpoint.size)
            .await
            .unwrap();
        draft.seal(&leaves, &proofs, &checkpoint.note).unwrap()
    }
}

pub(super) fn trust(log: &Log) -> Trust {
    let key = SigningKey::from_bytes(&APPROVAL_KEY).verifying_key();
    Trust {
        checkpoint_keys: vec![log.sequencer.verifier().clone()],
        approval_keys: vec![ApprovalKey {
            key_id: "key".to_owned(),
            key,
        }],
    }
}

/// Names of the checks that failed.
fn failed(report: &Report) -> Vec<&'static str> {
    report
        .checks
        .iter()
        .filter(|check| !check.passed)
        .map(|check| check.name)
        .collect()
}

/// The bundle after `change`, with its manifest made to fit again, as a careful forger would.
fn forged(bytes: &[u8], change: impl FnOnce(&mut Files)) -> Vec<u8> {
    let mut files = bundle::read(bytes).unwrap();
    change(&mut files);
    let manifest = files.remove("manifest.json").unwrap();
    let mut manifest: Manifest = canonical::from_bytes(&manifest).unwrap();
    manifest.files = files
        .iter()
        .map(|(name, bytes)| (name.clone(), Digest::of_content(bytes)))
        .collect();
    files.insert(
        "manifest.json".to_owned(),
        canonical::to_bytes(&manifest).unwrap(),
    );
    bundle::write(&files).unwrap()
}

fn replace(files: &mut Files, name: &str, from: &str, to: &str) {
    let text = String::from_utf8(files[name].clone()).unwrap();
    assert!(text.contains(from), "{text}");
    files.insert(name.to_owned(), text.replace(from, to).into_bytes());
}

#[tokio::test]
async fn a_true_bundle_passes_every_check_and_is_deterministic() {
    let mut log = Log::new().await;
    let bytes = Case::new().export(&mut log).await;
    let report = verify_bundle(&bytes, &trust(&log));
    assert!(report.passed(), "{report:#?}");
    assert_eq!(report.checks.len(), 12, "{report:#?}");
    assert_eq!(bundle::write(&bundle::read(&bytes).unwrap()).unwrap(), bytes);
}

#[tokio::test]
async fn a_changed_file_shows_even_when_the_manifest_is_made_to_fit() {
    let mut log = Log::new().await;
    let bytes = Case::new().export(&mut log).await;
    let trust = trust(&log);
    let mut files = bundle::read(&bytes).unwrap();
    replace(&mut files, "snapshot.json", "{}", "[]");
    assert_eq!(
        failed(&verify_bundle(&bundle::write(&files).unwrap(), &trust)),
        ["manifest"]
    );
    let fitted = forged(&bytes, |files| replace(files, "snapshot.json", "{}", "[]"));
    assert_eq!(failed(&verify_bundle(&fitted, &trust)), ["sealed"]);
    let extra = forged(&bytes, |files| {
        drop(files.insert("evidence/more.json".to_owned(), b"{}".to_vec()));
    });
    assert_eq!(failed(&verify_bundle(&extra, &trust)), ["sealed"]);
    let mut files = bundle::read(&bytes).unwrap();
    files.insert("public/approval_keys.json".to_owned(), b"{}".to_vec());
    assert_eq!(
        failed(&verify_bundle(&bundle::write(&files).unwrap(), &trust)),
        ["manifest"]
    );
    let plan = forged(&bytes, |files| {
        replace(files, "plan.json", "scale it", "scale up");
    });
    assert_eq!(failed(&verify_bundle(&plan, &trust)), ["approval", "sealed"]);
}

#[tokio::test]
async fn a_changed_leaf_proof_or_checkpoint_shows() {
    let mut log = Log::new().await;
    let bytes = Case::new().export(&mut log).await;
    let trust = trust(&log);
    let leaf = "audit/00000000000000000004.json";
    let changed = forged(&bytes, |files| replace(files, leaf, "succeeded", "rolled_back"));
    assert_eq!(failed(&verify_bundle(&changed, &trust)), ["audit_leaves"]);
    let dropped = forged(&bytes, |files| {
        drop(files.remove("proofs/00000000000000000004.json"));
    });
    assert_eq!(failed(&verify_bundle(&dropped, &trust)), ["audit_leaves"]);
    let grown = forged(&bytes, |files| {
        replace(files, "checkpoint.note", "\n8\n", "\n9\n");
    });
    assert_eq!(failed(&verify_bundle(&grown, &trust)), ["checkpoint"]);
    let both = forged(&bytes, |files| {
        files.remove(leaf);
        files.remove("proofs/00000000000000000004.json");
    });
    assert_eq!(
        failed(&verify_bundle(&both, &trust)),
        ["recorded"],
        "an end that is left out"
    );
}

#[tokio::test]
async fn keys_come_from_the_trust_file_only() {
    let mut log = Log::new().await;
    let bytes = Case::new().export(&mut log).await;
    let whole = trust(&log);
    let none = Trust::default();
    assert_eq!(failed(&verify_bundle(&bytes, &none)), ["approval", "checkpoint"]);
    let stranger = SigningKey::from_bytes(&[9; 32]).verifying_key();
    let origin = log.sequencer.verifier().name();
    let other_log = Trust {
        checkpoint_keys: vec![VerifierKey::new(origin, stranger).unwrap()],
        ..whole.clone()
    };
    assert_eq!(failed(&verify_bundle(&bytes, &other_log)), ["checkpoint"]);
    let approval_keys = vec![ApprovalKey {
        key_id: "key".to_owned(),
        key: stranger,
    }];
    assert_eq!(
        failed(&verify_bundle(
            &bytes,
            &Trust {
                approval_keys,
                ..whole.clone()
            }
        )),
        ["approval"]
    );
    // Somebody with another key signs the same head again.
    let forger = NoteSigner::new(origin, SigningKey::from_bytes(&[9; 32])).unwrap();
    let resigned = forged(&bytes, |files| {
        let note = String::from_utf8(files["checkpoint.note"].clone()).unwrap();
        let text = note.split("\n\n").next().unwrap();
        files.insert(
            "checkpoint.note".to_owned(),
            forger.sign(&format!("{text}\n")).unwrap().into_bytes(),
        );
    });
    assert_eq!(failed(&verify_bundle(&resigned, &whole)), ["checkpoint"]);
}

#[tokio::test]
async fn an_exporter_that_tells_an_inconsistent_story_is_found_out() {
    let requester = ctx().id();
    let cases: [(&str, Bend, &[&str]); 6] = [
        (
            "the requester approves",
            |case, requester| case.approver = requester,
            &["approval"],
        ),
        (
            "an editor approves",
            |case, _| case.plan.editors.push(case.approver),
            &["approval"],
        ),
        ("no verdict", |case, _| drop(case.journal.pop()), &["outcome"]),
        (
            "never intended",
            |case, _| drop(case.journal.remove(1)),
            &["attempts"],
        ),
        ("never done", |case, _| drop(case.journal.remove(2)), &["outcome"]),
        (
            "router says failed",
            |case, _| case.attempt["status"] = json!("failed"),
            &["attempts"],
        ),
    ];
    for (name, change, expected) in cases {
        let mut log = Log::new().await;
        let mut case = Case::new();
        case.plan.requester.person_id = Some(requester);
        change(&mut case, requester);
        let bytes = case.export(&mut log).await;
        let report = verify_bundle(&bytes, &trust(&log));
        assert_eq!(failed(&report), expected, "{name}: {report:#?}");
    }
}

#[tokio::test]
async fn invariant_2_an_approval_that_was_taken_back_before_the_start_fails_the_bundle() {
    let (mine, other): (ApprovalId, ApprovalId) = (ctx().id(), ctx().id());
    let cases: [(&[Told], &[&str]); 6] = [
        (
            &[("approval.revoke", mine), ("execution.create", mine)],
            &["not_revoked"],
        ),
        (
            &[("approval.deny", mine), ("execution.create", mine)],
            &["not_revoked"],
        ),
        (
            &[("approval.expire", mine), ("execution.start", mine)],
            &["not_revoked"],
        ),
        // The log has no start at all: then the yes was taken back before any.
        (&[("approval.revoke", mine)], &["not_revoked"]),
        // The request before this one was withdrawn; and what comes after the start changes nothing.
        (&[("approval.revoke", other), ("execution.create", mine)], &[]),
        (&[("execution.create", mine), ("approval.revoke", mine)], &[]),
    ];
    for (between, expected) in cases {
        let mut log = Log::new().await;
        let mut case = Case::new();
        case.approval_id = mine;
        case.between = between.to_vec();
        let bytes = case.export(&mut log).await;
        let report = verify_bundle(&bytes, &trust(&log));
        assert_eq!(failed(&report), expected, "{between:?}: {report:#?}");
    }
}

/// Events of the approval are about the plan, those of the execution about both.
fn about_execution(event: Event, action: &str, plan: PlanId, execution: ExecutionId) -> Event {
    if action.starts_with("execution.") {
        event.plan(plan).execution(execution)
    } else {
        event.plan(plan)
    }
}

fn plan() -> PlanDoc {
    let digest = Digest::of_content(b"");
    PlanDoc {
        plan_id: ctx().id::<PlanId>(),
        tenant_id: tenant(),
        trigger: Trigger::Manual,
        incident_id: None,
        summary: "scale it".to_owned(),
        intent: None,
        requester: Requester {
            name: "ada".to_owned(),
            person_id: None,
            identity_id: None,
            token_owner_person_id: None,
        },
        editors: Vec::new(),
        target: PinnedTarget {
            target_id: ctx().id(),
            name: "shop".to_owned(),
            version: 1,
            context: ContextRef {
                tenant_id: "default".to_owned(),
                environment: "dev".to_owned(),
                ..ContextRef::default()
            },
            place: Digest::of_content(b"a place"),
        },
        risk: Risk::Low,
        tier: Tier::Standard,
        steps: vec![Step {
            stage: Stage::Act,
            tool: "kubectl".to_owned(),
            action: "scale".to_owned(),
            action_digest: digest,
            args: [("replicas".to_owned(), json!(3))].into(),
            reason: "more".to_owned(),
            risk: Risk::Low,
            effect: EffectKind::Converge,
            guard: Guard::Native,
            expected_prior: [].into(),
            inverse: Inverse::Irreversible {
                reason: "test".to_owned(),
            },
            preconditions: Vec::new(),
            evidence_required: Vec::new(),
            timeout_secs: 10,
        }],
        verification: Verification {
            settle_secs: 0,
            window_secs: 1,
            interval_secs: 1,
            min_samples: 1,
            on_unknown: OnUnknown::Hold,
            assertions: Vec::new(),
        },
        constraints: Constraints {
            max_targets: 1,
            max_duration_secs: 10,
            approval_ttl_secs: 10,
        },
        policy_bundle: digest,
        snapshot: None,
    }
}
