//! No act without an approval of exactly this plan: every forged, changed, reused or missing thing is refused by its own code.

use carapulse::{
    domain::{
        Digest, Tier, canonical,
        plan::{self, PlanDoc},
        run::{AttemptStatus, Direction, JournalEvent, ProbeReport},
    },
    warrant::{Error, LiveAction},
};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::approved::{Approved, COMMIT, revert};

async fn approved() -> Approved {
    Approved::new("/srv/shop.git", |catalog| {
        vec![revert(catalog, COMMIT, Some(COMMIT))]
    })
    .await
}

#[tokio::test]
async fn invariant_2_an_approved_plan_s_intended_attempt_is_granted_and_carries_the_plan_s_bytes() {
    let mut it = approved().await;
    let act = it.intend(0, Direction::Forward, 1).await;
    let warrant = it.issue(&act).await.expect("granted");
    assert_eq!(warrant.action(), ("git", "revert"));
    assert_eq!(warrant.args()["commit"], json!(COMMIT));
    assert_eq!(warrant.expected_prior()["head"], COMMIT);
    assert_eq!(warrant.target(), &it.target);
    assert!(warrant.writes() && warrant.undoes().is_none());
}

/// Each changes one stored thing; the code names the gate that must notice.
#[tokio::test]
async fn invariant_2_every_changed_row_is_refused_by_its_own_gate() {
    let other = Uuid::from_u128(9);
    let cases: Vec<(&str, String, &str)> = vec![
        ("plan not executed", "UPDATE plan SET status = 'approved'".into(), "plan_status"),
        ("plan of another version", "UPDATE plan SET doc_version = 2".into(), "plan_version"),
        ("digest column", "UPDATE plan SET digest = sha256('x')".into(), "digest_mismatch"),
        ("approval's digest", "UPDATE approval SET digest = sha256('x')".into(), "digest_mismatch"),
        ("approval denied", "UPDATE approval SET status = 'denied'".into(), "approval_status"),
        ("approval revoked", "UPDATE approval SET status = 'revoked'".into(), "approval_status"),
        ("approval only granted", "UPDATE approval SET status = 'granted'".into(), "approval_status"),
        ("approval's tier", "UPDATE approval SET tier = 'elevated'".into(), "statement_mismatch"),
        ("approval's expiry", "UPDATE approval SET expires_at = expires_at + interval '1 day'".into(), "statement_mismatch"),
        ("no approval", "UPDATE execution SET approval_id = NULL".into(), "approval_missing"),
        ("no grant", "DELETE FROM approval_grant".into(), "approval_missing"),
        ("a byte of the statement", "UPDATE approval_grant SET statement = set_byte(statement, 20, get_byte(statement, 20) # 1)".into(), "approval_signature"),
        ("a byte of the signature", "UPDATE approval_grant SET signature = set_byte(signature, 0, get_byte(signature, 0) # 1)".into(), "approval_signature"),
        ("another key's id", "UPDATE approval_grant SET key_id = '0000000000000000'".into(), "approval_signature"),
        (
            "another approver beside the statement",
            format!("INSERT INTO person (person_id, tenant_id, name) VALUES ('{other}', 'default', 'eve'); UPDATE approval_grant SET approver_person_id = '{other}'"),
            "statement_mismatch",
        ),
        ("approver barred", "UPDATE person SET barred_until = db_now() + interval '1 hour'".into(), "approver_barred"),
        ("execution made too late", "UPDATE execution SET created_at = created_at + interval '2 hours'".into(), "approval_expired"),
        ("execution of another generation", "UPDATE execution SET generation = 2".into(), "generation"),
        ("restored", "UPDATE installation SET generation = 2".into(), "generation"),
        ("restored, execution forged", "UPDATE installation SET generation = 2; UPDATE execution SET generation = 2".into(), "generation"),
        ("frozen", "UPDATE installation SET frozen = true".into(), "frozen"),
        ("read-only", "UPDATE installation SET read_only = true".into(), "read_only"),
        ("suspended", "UPDATE execution SET status = 'needs_attention'".into(), "execution_status"),
        ("rolling back", "UPDATE execution SET status = 'rolling_back'".into(), "execution_status"),
        ("ended", "UPDATE execution SET status = 'failed', completed_at = db_now()".into(), "execution_status"),
        ("another lease", "UPDATE execution SET epoch = 2".into(), "stale_epoch"),
        ("too late", "UPDATE execution SET started_at = started_at - interval '1 hour'".into(), "deadline_passed"),
        ("target changed", "UPDATE target SET version = 2, doc = convert_to(replace(convert_from(doc, 'UTF8'), '\"version\":1', '\"version\":2'), 'UTF8')".into(), "target_changed"),
        ("target's place changed", "UPDATE target SET doc = convert_to(replace(convert_from(doc, 'UTF8'), '\"dev\"', '\"prod\"'), 'UTF8')".into(), "target_changed"),
        ("target's row and bytes differ", "UPDATE target SET version = 2".into(), "target_identity"),
        ("target not in mode act", "UPDATE target SET doc = convert_to(replace(convert_from(doc, 'UTF8'), '\"act\"', '\"propose\"'), 'UTF8')".into(), "target_mode"),
    ];
    let mut it = approved().await;
    let act = it.intend(0, Direction::Forward, 1).await;
    for (name, change, code) in cases {
        // One transaction as the owner would hide the change from the router: change, ask, change back.
        it.sql("CREATE SCHEMA kept; CREATE TABLE kept.plan AS TABLE plan; CREATE TABLE kept.approval AS TABLE approval; \
                CREATE TABLE kept.approval_grant AS TABLE approval_grant; CREATE TABLE kept.execution AS TABLE execution; \
                CREATE TABLE kept.installation AS TABLE installation; CREATE TABLE kept.target AS TABLE target")
            .await;
        it.sql(&change).await;
        assert_eq!(it.refusal(&act).await, code, "{name}");
        it.sql("SET session_replication_role = replica; DELETE FROM approval_grant; INSERT INTO approval_grant TABLE kept.approval_grant; \
                DELETE FROM execution; INSERT INTO execution TABLE kept.execution; DELETE FROM approval; INSERT INTO approval TABLE kept.approval; \
                DELETE FROM plan; INSERT INTO plan TABLE kept.plan; DELETE FROM target; INSERT INTO target TABLE kept.target; \
                DELETE FROM installation; INSERT INTO installation TABLE kept.installation; UPDATE person SET barred_until = NULL; \
                DROP SCHEMA kept CASCADE; SET session_replication_role = DEFAULT")
            .await;
        assert_eq!(it.refusal(&act).await, "granted", "after {name}");
    }
}

#[tokio::test]
async fn invariant_2_every_value_of_the_plan_s_bytes_is_covered() {
    let mut it = approved().await;
    let act = it.intend(0, Direction::Forward, 1).await;
    let document = serde_json::to_value(&it.doc).expect("JSON");
    let mut pointers = Vec::new();
    leaves(&document, String::new(), &mut pointers);
    assert!(pointers.len() > 40, "{pointers:?}");
    for pointer in pointers {
        let mut changed = document.clone();
        let leaf = changed.pointer_mut(&pointer).expect("a leaf");
        *leaf = match &*leaf {
            Value::Number(n) => json!(n.as_i64().expect("integer") + 1),
            Value::Bool(flag) => json!(!*flag),
            other => json!(format!("{}x", other.as_str().expect("text"))),
        };
        let bytes = canonical::value_to_bytes(&changed).expect("canonical");
        store_plan(&mut it, &bytes, None).await;
        assert_eq!(it.refusal(&act).await, "digest_mismatch", "{pointer}");
        // Forged with the right digest in every row: what was signed is of other bytes.
        store_plan(&mut it, &bytes, Some(plan::digest_of(&bytes))).await;
        let code = it.refusal(&act).await;
        assert_ne!(code, "granted", "{pointer} with a forged digest");
        let readable = PlanDoc::open(&bytes).is_ok();
        let identity = ["/plan_id", "/tenant_id"].contains(&pointer.as_str());
        if readable && !identity && !pointer.contains("digest") && !pointer.starts_with("/steps/0/effect") {
            let expected = [
                "digest_mismatch",
                "step_understated",
                "action_unknown",
                "target_unknown",
            ];
            assert!(expected.contains(&code.as_str()), "{pointer}: {code}");
        }
    }
}

fn leaves(value: &Value, at: String, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            leaves(
                value,
                format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")),
                out,
            );
        }),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(i, value)| leaves(value, format!("{at}/{i}"), out)),
        _ => out.push(at),
    }
}

async fn store_plan(it: &mut Approved, bytes: &[u8], digest: Option<Digest>) {
    sqlx::query("UPDATE plan SET doc = $1")
        .bind(bytes)
        .execute(&mut it.owner)
        .await
        .expect("plan");
    let digest = digest.unwrap_or_else(|| it.doc.seal().expect("sealed").1);
    for statement in ["UPDATE plan SET digest = $1", "UPDATE approval SET digest = $1"] {
        sqlx::query(statement)
            .bind(&digest.as_bytes()[..])
            .execute(&mut it.owner)
            .await
            .expect("digest");
    }
}

#[tokio::test]
async fn invariant_2_a_row_forged_by_sql_with_the_right_digest_needs_the_gateway_s_key() {
    let mut it = approved().await;
    let act = it.intend(0, Direction::Forward, 1).await;
    let digest = it.doc.seal().expect("sealed").1;
    let statement = it.statement(digest);
    it.sign(&statement, &SigningKey::from_bytes(&[8; 32])).await;
    assert_eq!(
        it.refusal(&act).await,
        "approval_signature",
        "signed by a stranger"
    );
    sqlx::query("UPDATE approval_grant SET key_id = $1")
        .bind(carapulse::warrant::statement::key_id(&it.key.verifying_key()))
        .execute(&mut it.owner)
        .await
        .expect("grant");
    assert_eq!(
        it.refusal(&act).await,
        "approval_signature",
        "signed by a stranger in the gateway's name"
    );
    it.sign(&statement, &it.key.clone()).await;
    assert_eq!(it.refusal(&act).await, "granted");
}

#[tokio::test]
async fn invariant_2_a_true_signature_over_another_plan_tenant_tier_or_generation_is_refused() {
    let mut it = approved().await;
    let act = it.intend(0, Direction::Forward, 1).await;
    let digest = it.doc.seal().expect("sealed").1;
    let key = it.key.clone();
    let good = it.statement(digest);
    for (name, statement, code) in [
        (
            "digest",
            {
                let mut s = good.clone();
                s.plan_digest = Digest::of_content(b"x");
                s
            },
            "digest_mismatch",
        ),
        (
            "plan",
            {
                let mut s = good.clone();
                s.plan_id = Uuid::from_u128(5).into();
                s
            },
            "statement_mismatch",
        ),
        (
            "approval",
            {
                let mut s = good.clone();
                s.approval_id = Uuid::from_u128(5).into();
                s
            },
            "statement_mismatch",
        ),
        (
            "tenant",
            {
                let mut s = good.clone();
                s.tenant_id = "other".parse().expect("tenant");
                s
            },
            "statement_mismatch",
        ),
        (
            "tier",
            {
                let mut s = good.clone();
                s.tier = Tier::Elevated;
                s
            },
            "statement_mismatch",
        ),
        (
            "generation",
            {
                let mut s = good.clone();
                s.generation = 2;
                s
            },
            "generation",
        ),
    ] {
        it.sign(&statement, &key).await;
        assert_eq!(it.refusal(&act).await, code, "{name}");
    }
}

#[tokio::test]
async fn invariant_3_requester_editor_token_owner_and_whoever_is_behind_the_login_never_approve() {
    for who in ["requester", "editor", "token owner", "login"] {
        let mut it = approved().await;
        let act = it.intend(0, Direction::Forward, 1).await;
        let approver = it.approver;
        match who {
            "requester" => it.doc.requester.person_id = Some(approver),
            "editor" => it.doc.editors.push(approver),
            "token owner" => it.doc.requester.token_owner_person_id = Some(approver),
            _ => {
                let identity = Uuid::from_u128(77);
                it.doc.requester.identity_id = Some(identity.into());
                it.sql(&format!(
                    "INSERT INTO identity (identity_id, tenant_id, provider, subject, person_id) VALUES ('{identity}', 'default', 'token', 'x', '{}')",
                    approver.uuid()
                ))
                .await;
            }
        }
        let (bytes, digest) = it.doc.seal().expect("sealed");
        store_plan(&mut it, &bytes, Some(digest)).await;
        let statement = it.statement(digest);
        it.sign(&statement, &it.key.clone()).await;
        assert_eq!(it.refusal(&act).await, "self_approval", "{who}");
    }
}

#[tokio::test]
async fn invariant_7_only_the_attempt_that_the_journal_intends_now_is_granted() {
    let mut it = approved().await;
    let act = it.act(0, Direction::Forward, 1);
    assert_eq!(it.refusal(&act).await, "not_intended");
    it.intend(0, Direction::Forward, 1).await;
    assert_eq!(it.refusal(&act).await, "granted");
    assert_eq!(
        it.refusal(&it.act(0, Direction::Forward, 2)).await,
        "not_intended",
        "another attempt"
    );
    assert_eq!(
        it.refusal(&it.act(0, Direction::Rollback, 1)).await,
        "execution_status",
        "the other way"
    );
    assert_eq!(
        it.refusal(&it.act(1, Direction::Forward, 1)).await,
        "not_intended",
        "another step"
    );
    let mut old = act.clone();
    old.epoch = 0;
    assert_eq!(it.refusal(&old).await, "stale_epoch");
    it.probed(&act, ProbeReport::NotStarted).await;
    assert_eq!(it.refusal(&act).await, "not_intended", "withdrawn");
    it.intend(0, Direction::Forward, 1).await;
    assert_eq!(it.refusal(&act).await, "granted", "intended anew");
    let cancel = JournalEvent::CancelRequested { by: "bob".into() };
    it.request(&cancel).await;
    it.journal(&cancel).await;
    assert_eq!(it.refusal(&act).await, "held", "a stop is journalled");
}

#[tokio::test]
async fn invariant_7_an_attempt_is_claimed_once_and_a_newer_lease_fences_older_ones() {
    let mut it = approved().await;
    let act = it.intend(0, Direction::Forward, 1).await;
    it.attempt(&act, "failed", Some("exit_1"), true).await;
    assert!(matches!(it.issue(&act).await, Err(Error::Claimed)));
    it.journal(&JournalEvent::Ended {
        step: 0,
        direction: Direction::Forward,
        attempt: 1,
        status: AttemptStatus::Failed,
        code: None,
        retryable: true,
    })
    .await;
    let second = it.intend(0, Direction::Forward, 2).await;
    assert_eq!(it.refusal(&second).await, "granted");
    for (row, why) in [
        (
            "status = 'claimed', ended_at = NULL",
            "the first may still be running",
        ),
        ("status = 'done', ended_at = db_now()", "the first took effect"),
        (
            "status = 'unknown', ended_at = db_now()",
            "the first may have taken effect",
        ),
    ] {
        it.sql(&format!("UPDATE attempt SET {row}")).await;
        assert_eq!(it.refusal(&second).await, "journal_forged", "{why}");
    }
    it.sql("UPDATE attempt SET status = 'failed', ended_at = db_now()")
        .await;
    let third = it.act(0, Direction::Forward, 3);
    it.attempt(&third, "failed", None, false).await;
    assert_eq!(it.refusal(&second).await, "later_attempt");
    it.sql("UPDATE attempt SET epoch = 5 WHERE attempt = 3").await;
    assert_eq!(it.refusal(&second).await, "stale_epoch");
}

#[tokio::test]
async fn a_changed_definition_voids_the_plan_and_an_understated_step_is_refused() {
    let mut it = approved().await;
    let act = it.intend(0, Direction::Forward, 1).await;
    let real = it.catalog.action("git", "revert").expect("built in").clone();
    let live = LiveAction {
        digest: real.digest,
        risk: real.risk,
        effect: real.effect,
        timeout_secs: real.timeout_secs,
    };
    for (name, now, code) in [
        ("gone", None, "action_unknown"),
        (
            "another meaning",
            Some(LiveAction {
                digest: Digest::of_content(b"x"),
                ..live
            }),
            "action_digest",
        ),
        (
            "riskier",
            Some(LiveAction {
                risk: carapulse::domain::Risk::High,
                ..live
            }),
            "step_understated",
        ),
        (
            "another effect",
            Some(LiveAction {
                effect: carapulse::domain::EffectKind::Opaque,
                ..live
            }),
            "step_understated",
        ),
    ] {
        let refused = it.issue_with(&act, &|_, _| now).await.expect_err(name);
        assert!(
            matches!(&refused, Error::Refused(r) if r.code == code),
            "{name}: {refused}"
        );
    }
}

#[tokio::test]
async fn compensation_needs_no_new_permission_but_the_approved_place_and_what_the_act_left() {
    let mut it = approved().await;
    it.done(0, Direction::Forward).await;
    it.turn_back().await;
    let act = it.intend(0, Direction::Rollback, 1).await;
    let made = "f".repeat(40);
    it.sql(&format!("UPDATE attempt SET result = convert_to(replace(convert_from(result, 'UTF8'), '\"commit\":\"{made}\"', ''), 'UTF8')"))
        .await;
    assert_eq!(
        it.refusal(&act).await,
        "prior_missing",
        "the act left no commit to revert"
    );
    it.sql(&format!("UPDATE attempt SET result = convert_to(replace(convert_from(result, 'UTF8'), '\"values\":{{}}', '\"values\":{{\"commit\":\"{made}\"}}'), 'UTF8')"))
        .await;
    // Everything that stops a forward act, and must not stop this.
    it.sql("UPDATE installation SET frozen = true; UPDATE execution SET started_at = started_at - interval '1 day'; \
            UPDATE person SET barred_until = db_now() + interval '1 hour'")
        .await;
    let warrant = it.issue(&act).await.expect("granted");
    assert_eq!(warrant.args()["commit"], json!(made));
    assert_eq!(warrant.undoes(), Some(&it.doc.steps[0]));
    it.sql("UPDATE target SET doc = convert_to(replace(convert_from(doc, 'UTF8'), '\"dev\"', '\"prod\"'), 'UTF8')").await;
    assert_eq!(it.refusal(&act).await, "target_changed", "never in another place");
}

#[tokio::test]
async fn a_plan_that_only_reads_needs_no_approval_but_the_journal() {
    let mut it = Approved::new("/srv/shop.git", |catalog| {
        let head = catalog.action("git", "head").expect("built in");
        let mut step = revert(catalog, COMMIT, None);
        step.action = "head".into();
        step.action_digest = head.digest;
        step.args.clear();
        step.risk = head.risk;
        step.effect = head.effect;
        step.guard = head.guard;
        step.inverse = plan::Inverse::None;
        vec![step]
    })
    .await;
    let act = it.act(0, Direction::Forward, 1);
    assert_eq!(it.refusal(&act).await, "not_intended");
    it.intend(0, Direction::Forward, 1).await;
    it.sql("UPDATE installation SET frozen = true").await;
    assert_eq!(it.refusal(&act).await, "granted", "a freeze stops no reads");
}

#[tokio::test]
async fn invariant_13_another_tenant_s_execution_is_not_found() {
    let mut it = approved().await;
    it.sql("INSERT INTO tenant (tenant_id) VALUES ('other')").await;
    let mut act = it.intend(0, Direction::Forward, 1).await;
    act.tenant_id = "other".parse().expect("tenant");
    assert_eq!(it.refusal(&act).await, "execution_unknown");
}
