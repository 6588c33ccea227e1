//! Who may approve, what a yes is worth, and that it is worth it once.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use carapulse::{
    approval::{self, ApprovalStatus, Approved, Error},
    domain::{Actor, ActorKind, Digest, OpCtx, Role},
    plan::{Checked, PlanStatus, store as plans},
    store::DbRole,
    warrant::statement::ApprovalKeys,
};
use ed25519_dalek::SigningKey;

use crate::plan::{Login, World, system};

fn key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn keys() -> ApprovalKeys {
    ApprovalKeys::new([key().verifying_key()])
}

/// A stored plan of `ctx` with an open request.
async fn requested(world: &World, ctx: &OpCtx) -> Checked {
    let checked = world.plan(ctx, None).await;
    let mut tx = world.gateway.begin(&ctx.tenant).await.unwrap();
    let now = tx.db_now().await.unwrap();
    approval::request(&mut tx, ctx, &checked, now).await.unwrap();
    tx.commit().await.unwrap();
    checked
}

async fn grant(world: &World, ctx: &OpCtx, plan: &Checked) -> Result<(), Error> {
    grant_seen(world, ctx, plan, plan.digest()).await
}

async fn grant_seen(world: &World, ctx: &OpCtx, plan: &Checked, seen: Digest) -> Result<(), Error> {
    let mut tx = world.gateway.begin(&ctx.tenant).await.unwrap();
    approval::grant(
        &mut tx,
        ctx,
        plan.doc().plan_id,
        seen,
        Some("looks right"),
        &key(),
    )
    .await?;
    tx.commit().await.unwrap();
    Ok(())
}

async fn consume(world: &World, plan: &Checked) -> Result<Approved, Error> {
    let mut tx = world.gateway.begin(&system().tenant).await.unwrap();
    let approved = approval::consume(&mut tx, &system(), plan.doc().plan_id, &keys()).await?;
    tx.commit().await.unwrap();
    Ok(approved)
}

async fn status(world: &World, plan: &Checked) -> PlanStatus {
    let mut tx = world.gateway.begin(&system().tenant).await.unwrap();
    plans::get(&mut tx, plan.doc().plan_id).await.unwrap().status
}

fn code(result: Result<impl Sized, Error>) -> &'static str {
    match result.map(|_| ()).unwrap_err() {
        Error::Refused(refused) => refused.code,
        Error::Invalid(_) => "invalid",
        Error::Statement(_) => "signature",
        other => panic!("{other}"),
    }
}

/// The same login with another role.
fn as_role(login: &Login, role: Role) -> OpCtx {
    let actor = Actor {
        role,
        ..(*login.ctx.actor).clone()
    };
    OpCtx::new(actor, login.ctx.tenant.clone(), "r2")
}

#[tokio::test]
async fn another_person_approves_and_the_yes_is_used_once() {
    let world = World::new().await;
    let (ada, bob) = (
        world.person("ada", Role::Operator).await,
        world.person("bob", Role::Approver).await,
    );
    let plan = requested(&world, &ada.ctx).await;
    assert_eq!(code(consume(&world, &plan).await), "not_approved");
    grant(&world, &bob.ctx, &plan).await.unwrap();
    assert_eq!(status(&world, &plan).await, PlanStatus::Approved);
    let approved = consume(&world, &plan).await.unwrap();
    assert_eq!((approved.doc(), approved.digest()), (plan.doc(), plan.digest()));
    assert!(approved.approval_id().is_some());
    assert_eq!(status(&world, &plan).await, PlanStatus::Executed);
    let mut tx = world.gateway.begin(&ada.ctx.tenant).await.unwrap();
    let (_, shown) = approval::store::plan_with_requests(&mut tx, plan.doc().plan_id)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        shown[0].decided_by.as_deref(),
        Some("bob"),
        "who used it is not who answered"
    );
    assert_eq!(code(consume(&world, &plan).await), "not_approved");
    assert_eq!(code(grant(&world, &bob.ctx, &plan).await), "not_pending");
    let mut tx = world.gateway.begin(&ada.ctx.tenant).await.unwrap();
    let actions = sqlx::query_scalar::<_, String>(
        "SELECT action FROM audit_event WHERE action LIKE 'approval.%' ORDER BY event_id",
    )
    .fetch_all(&mut *tx)
    .await
    .unwrap();
    assert_eq!(
        actions,
        ["approval.request", "approval.grant", "approval.consume"]
    );
}

/// Invariant: who asks is not who approves, by whatever login.
#[tokio::test]
async fn nobody_behind_a_plan_approves_it() {
    let world = World::new().await;
    let ada = world.person("ada", Role::Admin).await;
    let bob = world.person("bob", Role::Admin).await;
    let plan = requested(&world, &ada.ctx).await;
    assert_eq!(code(grant(&world, &ada.ctx, &plan).await), "own_plan");
    let second = world.login_of(ada.person, "ada-on-slack", Role::Admin).await;
    assert_eq!(code(grant(&world, &second.ctx, &plan).await), "own_plan");

    // A service token of hers asks: she does not approve, nor does the token.
    let robot = world.service("robot", Role::Admin, ada.person).await;
    let by_robot = requested(&world, &robot).await;
    assert_eq!(code(grant(&world, &ada.ctx, &by_robot).await), "own_plan");
    assert_eq!(code(grant(&world, &robot, &by_robot).await), "not_a_person");
    assert_eq!(code(grant(&world, &robot, &plan).await), "not_a_person");

    // A claim of another person than the one whom the login is linked to.
    let liar = Actor {
        person_id: Some(bob.person),
        ..(*ada.ctx.actor).clone()
    };
    let liar = OpCtx::new(liar, ada.ctx.tenant.clone(), "r3");
    assert_eq!(code(grant(&world, &liar, &plan).await), "identity_unlinked");
    let system_as_person = Actor {
        kind: ActorKind::System,
        ..(*bob.ctx.actor).clone()
    };
    let courier = OpCtx::new(system_as_person, ada.ctx.tenant.clone(), "r4");
    assert_eq!(code(grant(&world, &courier, &plan).await), "not_a_person");

    grant(&world, &bob.ctx, &plan).await.unwrap();
    grant(&world, &bob.ctx, &by_robot).await.unwrap();
}

/// The requester's login had no person when the plan was made, and was linked afterwards.
#[tokio::test]
async fn a_login_that_is_linked_later_is_still_the_requester() {
    let world = World::new().await;
    let ada = world.person("ada", Role::Admin).await;
    let unlinked = Actor {
        kind: ActorKind::Service,
        person_id: None,
        ..(*ada.ctx.actor).clone()
    };
    let plan = requested(&world, &OpCtx::new(unlinked, ada.ctx.tenant.clone(), "r")).await;
    assert_eq!(plan.doc().requester.person_id, None);
    assert_eq!(code(grant(&world, &ada.ctx, &plan).await), "own_plan");
}

#[tokio::test]
async fn role_tier_and_bars_are_held_to() {
    let world = World::with(|target| target.protected = true).await;
    let (ada, bob) = (
        world.person("ada", Role::Operator).await,
        world.person("bob", Role::Admin).await,
    );
    let plan = requested(&world, &ada.ctx).await;
    for role in [Role::Source, Role::Viewer, Role::Operator, Role::Approver] {
        assert_eq!(
            code(grant(&world, &as_role(&bob, role), &plan).await),
            "role_too_low",
            "{role:?}"
        );
    }
    let mut owner = world.db.owner().await;
    sqlx::query("UPDATE person SET barred_until = db_now() + interval '1 hour' WHERE name = 'bob'")
        .execute(&mut owner)
        .await
        .unwrap();
    assert_eq!(code(grant(&world, &bob.ctx, &plan).await), "barred");
    world.db.advance(Duration::from_secs(3601)).await;
    grant(&world, &bob.ctx, &plan).await.unwrap();
}

#[tokio::test]
async fn the_yes_is_for_the_bytes_that_were_seen() {
    let world = World::new().await;
    let (ada, bob) = (
        world.person("ada", Role::Operator).await,
        world.person("bob", Role::Approver).await,
    );
    let plan = requested(&world, &ada.ctx).await;
    let other = Digest::of_content(b"another plan");
    assert_eq!(
        code(grant_seen(&world, &bob.ctx, &plan, other).await),
        "digest_mismatch"
    );
    assert_eq!(status(&world, &plan).await, PlanStatus::PendingApproval);
}

#[tokio::test]
async fn of_two_approvers_at_once_one_is_too_late() {
    let world = World::new().await;
    let ada = world.person("ada", Role::Operator).await;
    let (bob, cy) = (
        world.person("bob", Role::Approver).await,
        world.person("cy", Role::Approver).await,
    );
    let plan = requested(&world, &ada.ctx).await;
    let (first, second) = tokio::join!(grant(&world, &bob.ctx, &plan), grant(&world, &cy.ctx, &plan));
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    assert_eq!(code(if first.is_ok() { second } else { first }), "not_pending");
    let (first, second) = tokio::join!(consume(&world, &plan), consume(&world, &plan));
    assert!(first.is_ok() != second.is_ok());
    assert_eq!(code(if first.is_ok() { second } else { first }), "not_approved");
}

#[tokio::test]
async fn requests_and_unused_approvals_expire_by_database_time() {
    let world = World::new().await;
    let (ada, bob) = (
        world.person("ada", Role::Operator).await,
        world.person("bob", Role::Approver).await,
    );
    let unanswered = requested(&world, &ada.ctx).await;
    let unused = requested(&world, &ada.ctx).await;
    grant(&world, &bob.ctx, &unused).await.unwrap();
    world.db.advance(Duration::from_secs(86_401)).await;
    assert_eq!(code(grant(&world, &bob.ctx, &unanswered).await), "expired");
    assert_eq!(code(consume(&world, &unused).await), "expired");
    let orchestrator = world.db.as_role(DbRole::Orchestrator).await;
    let mut tx = orchestrator.begin(&system().tenant).await.unwrap();
    assert_eq!(approval::expire_due(&mut tx, &system()).await.unwrap(), (2, None));
    tx.commit().await.unwrap();
    for plan in [&unanswered, &unused] {
        assert_eq!(status(&world, plan).await, PlanStatus::Expired);
        assert_eq!(code(grant(&world, &bob.ctx, plan).await), "expired");
        assert_eq!(code(consume(&world, plan).await), "not_approved");
    }
}

#[tokio::test]
async fn no_is_final_and_a_yes_can_be_taken_back() {
    let world = World::new().await;
    let (ada, bob) = (
        world.person("ada", Role::Operator).await,
        world.person("bob", Role::Approver).await,
    );
    let cy = world.person("cy", Role::Operator).await;
    let denied = requested(&world, &ada.ctx).await;
    let revoked = requested(&world, &ada.ctx).await;
    grant(&world, &bob.ctx, &revoked).await.unwrap();
    let mut tx = world.gateway.begin(&ada.ctx.tenant).await.unwrap();
    assert_eq!(
        code(approval::deny(&mut tx, &cy.ctx, denied.doc().plan_id, None).await),
        "role_too_low"
    );
    assert_eq!(
        code(approval::revoke(&mut tx, &bob.ctx, denied.doc().plan_id, None).await),
        "not_pending"
    );
    approval::deny(&mut tx, &bob.ctx, denied.doc().plan_id, Some("no"))
        .await
        .unwrap();
    approval::revoke(&mut tx, &ada.ctx, revoked.doc().plan_id, Some("withdrawn"))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    for plan in [&denied, &revoked] {
        assert_eq!(status(&world, plan).await, PlanStatus::Denied);
        assert_eq!(code(grant(&world, &bob.ctx, plan).await), "not_pending");
        assert_eq!(code(consume(&world, plan).await), "not_approved");
    }
}

#[tokio::test]
async fn a_newer_plan_of_the_incident_takes_the_place_of_the_older() {
    let world = World::new().await;
    let bob = world.person("bob", Role::Approver).await;
    let incident = world.incident("k").await;
    let mut plans_made = Vec::new();
    for _ in 0..2 {
        let plan = world.plan(&system(), Some(incident)).await;
        let mut tx = world.gateway.begin(&system().tenant).await.unwrap();
        // Superseding by hand before is no harm.
        plans::supersede_older(&mut tx, &system(), incident, plan.doc().plan_id)
            .await
            .unwrap();
        let now = tx.db_now().await.unwrap();
        approval::request(&mut tx, &system(), &plan, now).await.unwrap();
        let open = approval::store::list_of_plan(&mut tx, plan.doc().plan_id)
            .await
            .unwrap();
        assert_eq!(open[0].status, ApprovalStatus::Pending);
        tx.commit().await.unwrap();
        plans_made.push(plan);
    }
    let mut tx = world.gateway.begin(&system().tenant).await.unwrap();
    let closed = approval::store::list_of_plan(&mut tx, plans_made[0].doc().plan_id)
        .await
        .unwrap();
    assert_eq!(closed[0].status, ApprovalStatus::Revoked);
    drop(tx);
    assert_eq!(status(&world, &plans_made[0]).await, PlanStatus::Superseded);
    assert_eq!(code(grant(&world, &bob.ctx, &plans_made[0]).await), "not_pending");
    grant(&world, &bob.ctx, &plans_made[1]).await.unwrap();
}

/// Whoever can write rows, but has not the key, cannot approve.
#[tokio::test]
async fn a_forged_row_is_no_approval() {
    const GRANT_STATUS: &str =
        "WITH a AS (UPDATE approval SET status = 'granted' WHERE plan_id = $1 RETURNING 1)
        UPDATE plan SET status = 'approved' WHERE plan_id = $1";
    let world = World::new().await;
    let (ada, bob) = (
        world.person("ada", Role::Operator).await,
        world.person("bob", Role::Approver).await,
    );
    let honest = requested(&world, &ada.ctx).await;
    grant(&world, &bob.ctx, &honest).await.unwrap();

    let unsigned = requested(&world, &ada.ctx).await;
    world.forge(GRANT_STATUS, unsigned.doc().plan_id).await;
    assert_eq!(code(consume(&world, &unsigned).await), "invalid");

    // A real signature, copied from another plan.
    world
        .forge(
            "INSERT INTO approval_grant SELECT a.approval_id, a.tenant_id, g.statement, g.key_id, g.signature, g.approver_person_id, g.granted_at
             FROM approval a, approval_grant g WHERE a.plan_id = $1",
            unsigned.doc().plan_id,
        )
        .await;
    assert_eq!(code(consume(&world, &unsigned).await), "invalid");

    // A statement that fits, under a signature that does not; and one of another key.
    let changed = "UPDATE approval_grant SET signature = set_byte(signature, 3, get_byte(signature, 3) # 1)
        WHERE approval_id IN (SELECT approval_id FROM approval WHERE plan_id = $1)";
    world.forge(changed, honest.doc().plan_id).await;
    assert_eq!(code(consume(&world, &honest).await), "signature");
    world.forge(changed, honest.doc().plan_id).await;
    let stranger = ApprovalKeys::new([SigningKey::from_bytes(&[6; 32]).verifying_key()]);
    let mut tx = world.gateway.begin(&system().tenant).await.unwrap();
    assert_eq!(
        code(approval::consume(&mut tx, &system(), honest.doc().plan_id, &stranger).await),
        "signature"
    );
    drop(tx);

    // A restore voids it; a longer life than was signed does, too.
    world
        .forge(
            "UPDATE installation SET generation = 2 WHERE $1::uuid IS NOT NULL",
            honest.doc().plan_id,
        )
        .await;
    assert_eq!(code(consume(&world, &honest).await), "invalid");
    world
        .forge(
            "UPDATE installation SET generation = 1 WHERE $1::uuid IS NOT NULL",
            honest.doc().plan_id,
        )
        .await;
    let longer = "UPDATE approval SET expires_at = expires_at + interval '1 day' WHERE plan_id = $1";
    world.forge(longer, honest.doc().plan_id).await;
    assert_eq!(code(consume(&world, &honest).await), "invalid");
}

/// A plan whose bytes were changed after the yes is not executed; the audit says why, and it still expires.
#[tokio::test]
async fn changed_bytes_are_refused_recorded_and_expire() {
    let world = World::new().await;
    let (ada, bob) = (
        world.person("ada", Role::Operator).await,
        world.person("bob", Role::Approver).await,
    );
    let plan = requested(&world, &ada.ctx).await;
    grant(&world, &bob.ctx, &plan).await.unwrap();
    let id = plan.doc().plan_id;
    world.forge("UPDATE plan SET doc = convert_to(replace(convert_from(doc, 'UTF8'), '\"replicas\":4', '\"replicas\":9'), 'UTF8') WHERE plan_id = $1", id).await;
    let error = consume(&world, &plan).await.unwrap_err();
    assert_eq!(error.code(), "plan_corrupt", "{error}");
    let mut tx = world.gateway.begin(&ada.ctx.tenant).await.unwrap();
    approval::record_refusal(&mut tx, &ada.ctx, "execution.refuse", id, &error)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    // The digest forged with them: now the signature does not fit.
    world
        .forge("UPDATE plan SET digest = sha256('\\x0e'::bytea || 'carapulse.plan'::bytea || '\\x0001'::bytea || doc) WHERE plan_id = $1", id)
        .await;
    assert_eq!(
        consume(&world, &plan).await.unwrap_err().code(),
        "approval_invalid"
    );
    world.db.advance(Duration::from_secs(86_401)).await;
    let mut tx = world.gateway.begin(&ada.ctx.tenant).await.unwrap();
    assert_eq!(approval::expire_due(&mut tx, &system()).await.unwrap().0, 1);
}

/// Only the gateway's database role can write a grant at all.
#[tokio::test]
async fn other_database_roles_cannot_insert_grants() {
    let world = World::new().await;
    let (ada, bob) = (
        world.person("ada", Role::Operator).await,
        world.person("bob", Role::Approver).await,
    );
    let plan = requested(&world, &ada.ctx).await;
    for role in [DbRole::Orchestrator, DbRole::Router] {
        let db = world.db.as_role(role).await;
        let mut tx = db.begin(&ada.ctx.tenant).await.unwrap();
        let result =
            approval::grant(&mut tx, &bob.ctx, plan.doc().plan_id, plan.digest(), None, &key()).await;
        assert!(result.is_err(), "{role:?}");
    }
}
