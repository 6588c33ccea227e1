//! An approved plan that is being executed, as rows: what acts are tried against.

#[path = "approved/telling.rs"]
mod telling;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use carapulse::{
    domain::{
        ApprovalId, ContextRef, Digest, ExecutionId, GitPlace, OpCtx, PersonId, PlanId, Target, TargetId,
        TargetMode, TenantId, Tier, WriteGate, canonical,
        plan::{
            self, Args, Assertion, Comparison, Constraints, OnUnknown, PinnedTarget, PlanDoc, Requester,
            Stage, Step, Trigger, Verification,
        },
        run::{ActRef, AttemptStatus, Direction, JournalEvent},
    },
    policy::{Bundle, Engine},
    sandbox::{LocalConfig, Runner},
    store::{Db, DbRole, ObjectStore},
    tools::{Parts, Router, Settings, catalog::Catalog},
    warrant::{self, ApprovalKeys, Error, Live, LiveAction, Statement, Warrant},
};
use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::SigningKey;
use serde_json::json;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::harness::TestDb;

/// A commit that no repository has.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// One approved plan with one write, and its execution in the middle of it.
pub(crate) struct Approved {
    pub(crate) db: TestDb,
    pub(crate) owner: PgConnection,
    pub(crate) router: Db,
    pub(crate) ctx: OpCtx,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) key: SigningKey,
    pub(crate) requester: PersonId,
    pub(crate) approver: PersonId,
    pub(crate) target: Target,
    pub(crate) doc: PlanDoc,
    pub(crate) approval_id: ApprovalId,
    pub(crate) execution_id: ExecutionId,
    pub(crate) expires_at: DateTime<Utc>,
    seq: i64,
}

/// A write of git, with the head that the approver saw.
pub(crate) fn revert(catalog: &Catalog, commit: &str, head: Option<&str>) -> Step {
    let expected = head.map(|head| BTreeMap::from([("head".into(), head.into())]));
    write(
        catalog,
        "git",
        "revert",
        json!({ "commit": commit }),
        expected.unwrap_or_default(),
    )
}

/// Any write, as planning would pin it.
pub(crate) fn write(
    catalog: &Catalog,
    tool: &str,
    action: &str,
    args: serde_json::Value,
    expected_prior: BTreeMap<String, String>,
) -> Step {
    let def = catalog.action(tool, action).expect("built in");
    let args: Args = serde_json::from_value(args).expect("args");
    Step {
        stage: Stage::Act,
        tool: tool.into(),
        action: action.into(),
        action_digest: def.digest,
        inverse: def.inverse_for(&args, catalog),
        args,
        reason: "the last change broke it".into(),
        risk: def.risk,
        effect: def.effect,
        guard: def.guard,
        expected_prior,
        preconditions: Vec::new(),
        evidence_required: Vec::new(),
        timeout_secs: 60,
    }
}

pub(crate) fn head_is(catalog: &Catalog, commit: &str) -> Assertion {
    Assertion {
        name: "head".into(),
        tool: "git".into(),
        action: "head".into(),
        action_digest: catalog.action("git", "head").expect("built in").digest,
        args: Args::new(),
        pointer: "/0/commit".into(),
        op: Comparison::Eq,
        value: commit.into(),
        evidence_kind: "git".into(),
    }
}

impl Approved {
    /// Steps against a repository at `url`.
    pub(crate) async fn new(url: &str, steps: impl FnOnce(&Catalog) -> Vec<Step>) -> Self {
        let git = GitPlace {
            url: url.into(),
            branch: "main".into(),
            path: String::new(),
            read_credential: None,
            write_credential: None,
            ca_certificates: None,
        };
        Self::at(|target| target.git = Some(git), steps).await
    }

    /// Steps against any place.
    pub(crate) async fn at(
        place: impl FnOnce(&mut Target),
        steps: impl FnOnce(&Catalog) -> Vec<Step>,
    ) -> Self {
        let db = TestDb::new().await;
        let mut owner = db.superuser().await;
        run(&mut owner, "SET carapulse.tenant = 'default'").await;
        let tenant: TenantId = "default".parse().expect("tenant");
        let ctx = OpCtx::system("test", tenant.clone());
        let catalog = Arc::new(Catalog::builtin());
        let mut target = target(&ctx);
        place(&mut target);
        let (requester, approver): (PersonId, PersonId) = (ctx.id(), ctx.id());
        let steps = steps(&catalog);
        let doc = document(&ctx, &catalog, &target, requester, steps);
        let now: DateTime<Utc> = sqlx::query_scalar("SELECT date_trunc('second', db_now())")
            .fetch_one(&mut owner)
            .await
            .expect("now");
        let mut it = Self {
            router: db.as_role(DbRole::Router).await,
            engine: Arc::new(Engine::from_bundle(&Bundle::builtin()).expect("the built-in bundle passes")),
            key: SigningKey::from_bytes(&[7; 32]),
            approval_id: ctx.id(),
            execution_id: ctx.id(),
            expires_at: now + TimeDelta::hours(1),
            db,
            owner,
            ctx,
            catalog,
            requester,
            approver,
            target,
            doc,
            seq: 0,
        };
        it.insert_rows(now).await;
        it.journal(&JournalEvent::Started).await;
        it
    }

    async fn insert_rows(&mut self, now: DateTime<Utc>) {
        for (id, name) in [(self.requester, "ada"), (self.approver, "bob")] {
            sqlx::query("INSERT INTO person (person_id, tenant_id, name) VALUES ($1, 'default', $2)")
                .bind(id.uuid())
                .bind(name)
                .execute(&mut self.owner)
                .await
                .expect("person");
        }
        sqlx::query(
            "INSERT INTO target (target_id, tenant_id, name, version, environment, mode, doc)
             VALUES ($1, 'default', $2, 1, 'dev', 'act', $3)",
        )
        .bind(self.target.target_id.uuid())
        .bind(&self.target.name)
        .bind(canonical::to_bytes(&self.target).expect("canonical"))
        .execute(&mut self.owner)
        .await
        .expect("target");
        let (bytes, digest) = self.doc.seal().expect("sealed");
        sqlx::query(
            "INSERT INTO plan (plan_id, tenant_id, status, doc_version, doc, digest, trigger, summary, risk_level, created_at, updated_at)
             VALUES ($1, 'default', 'executed', $2, $3, $4, 'manual', 'x', 'medium', $5, $5)",
        )
        .bind(self.doc.plan_id.uuid())
        .bind(i16::try_from(plan::VERSION).expect("small"))
        .bind(bytes)
        .bind(&digest.as_bytes()[..])
        .bind(now)
        .execute(&mut self.owner)
        .await
        .expect("plan");
        if self.doc.tier != Tier::Read {
            self.insert_approval(digest, now).await;
        }
        sqlx::query(
            "INSERT INTO execution (execution_id, tenant_id, plan_id, approval_id, status, generation, epoch, state, requested_by, created_at, started_at)
             VALUES ($1, 'default', $2, $3, 'running', 1, 1, '', 'ada', $4, $4)",
        )
        .bind(self.execution_id.uuid())
        .bind(self.doc.plan_id.uuid())
        .bind((self.doc.tier != Tier::Read).then(|| self.approval_id.uuid()))
        .bind(now)
        .execute(&mut self.owner)
        .await
        .expect("execution");
    }

    async fn insert_approval(&mut self, digest: Digest, now: DateTime<Utc>) {
        sqlx::query(
            "INSERT INTO approval (approval_id, tenant_id, plan_id, digest, tier, status, requested_at, expires_at)
             VALUES ($1, 'default', $2, $3, $4, 'consumed', $5, $6)",
        )
        .bind(self.approval_id.uuid())
        .bind(self.doc.plan_id.uuid())
        .bind(&digest.as_bytes()[..])
        .bind(self.doc.tier.as_str())
        .bind(now)
        .bind(self.expires_at)
        .execute(&mut self.owner)
        .await
        .expect("approval");
        let signed = self.statement(digest).sign(&self.key).expect("signed");
        sqlx::query(
            "INSERT INTO approval_grant (approval_id, tenant_id, statement, key_id, signature, approver_person_id, granted_at)
             VALUES ($1, 'default', $2, $3, $4, $5, $6)",
        )
        .bind(self.approval_id.uuid())
        .bind(signed.statement)
        .bind(signed.key_id)
        .bind(&signed.signature[..])
        .bind(self.approver.uuid())
        .bind(now)
        .execute(&mut self.owner)
        .await
        .expect("grant");
    }

    /// What the approver signed.
    pub(crate) fn statement(&self, plan_digest: Digest) -> Statement {
        Statement {
            approval_id: self.approval_id,
            plan_id: self.doc.plan_id,
            plan_digest,
            tenant_id: self.ctx.tenant.clone(),
            approver_person_id: self.approver,
            tier: self.doc.tier,
            expires_at: self.expires_at,
            generation: 1,
        }
    }

    /// Replaces the stored grant by this statement, signed by `key`.
    pub(crate) async fn sign(&mut self, statement: &Statement, key: &SigningKey) {
        let signed = statement.sign(key).expect("signed");
        sqlx::query(
            "UPDATE approval_grant SET statement = $1, key_id = $2, signature = $3, approver_person_id = $4",
        )
        .bind(signed.statement)
        .bind(signed.key_id)
        .bind(&signed.signature[..])
        .bind(statement.approver_person_id.uuid())
        .execute(&mut self.owner)
        .await
        .expect("grant");
    }

    /// Appends to the journal.
    pub(crate) async fn journal(&mut self, event: &JournalEvent) {
        sqlx::query(
            "INSERT INTO journal (execution_id, seq, tenant_id, epoch, event, recorded_at) VALUES ($1, $2, 'default', 1, $3, db_now())",
        )
        .bind(self.execution_id.uuid())
        .bind(self.seq)
        .bind(canonical::to_bytes(event).expect("canonical"))
        .execute(&mut self.owner)
        .await
        .expect("journal");
        self.seq += 1;
        self.sql(&format!("UPDATE execution SET journal_length = {}", self.seq))
            .await;
    }

    /// The journal intends this attempt; returns its name.
    pub(crate) async fn intend(&mut self, step: u32, direction: Direction, attempt: u32) -> ActRef {
        self.journal(&JournalEvent::Intended {
            step,
            direction,
            attempt,
        })
        .await;
        self.act(step, direction, attempt)
    }

    /// The journal has an end of this attempt.
    pub(crate) async fn end(&mut self, act: &ActRef, status: AttemptStatus) {
        let (step, direction, attempt) = (act.step, act.direction, act.attempt);
        self.journal(&JournalEvent::Ended {
            step,
            direction,
            attempt,
            status,
            code: None,
            retryable: false,
        })
        .await;
    }

    pub(crate) fn act(&self, step: u32, direction: Direction, attempt: u32) -> ActRef {
        ActRef {
            tenant_id: self.ctx.tenant.clone(),
            execution_id: self.execution_id,
            step,
            direction,
            attempt,
            epoch: 1,
        }
    }

    /// As somebody whom nothing binds.
    pub(crate) async fn sql(&mut self, statement: &str) {
        run(&mut self.owner, statement).await;
    }

    pub(crate) fn keys(&self) -> ApprovalKeys {
        ApprovalKeys::new([self.key.verifying_key()])
    }

    /// Asks for a warrant as the router would, and undoes the question.
    pub(crate) async fn issue(&self, act: &ActRef) -> Result<Warrant, Error> {
        let catalog = &self.catalog;
        let action = |tool: &str, action: &str| {
            catalog.action(tool, action).map(|def| LiveAction {
                digest: def.digest,
                risk: def.risk,
                effect: def.effect,
                timeout_secs: def.timeout_secs,
            })
        };
        self.issue_with(act, &action).await
    }

    /// The same with other live definitions.
    pub(crate) async fn issue_with(
        &self,
        act: &ActRef,
        action: &(dyn Fn(&str, &str) -> Option<LiveAction> + Sync),
    ) -> Result<Warrant, Error> {
        let mut tx = self.router.begin(&act.tenant_id).await.expect("transaction");
        let ctx = OpCtx::system("router", act.tenant_id.clone());
        let live = Live {
            ctx: &ctx,
            engine: &self.engine,
            action,
        };
        warrant::issue(&mut tx, &self.keys(), &live, act).await
    }

    /// The code of the refusal of `act`, or `granted`.
    pub(crate) async fn refusal(&self, act: &ActRef) -> String {
        match self.issue(act).await {
            Ok(_) => "granted".to_owned(),
            Err(Error::Refused(refusal)) => refusal.code.to_owned(),
            Err(other) => other.to_string(),
        }
    }
}

/// A router of its own on these rows, whose objects lie below `at`.
pub(crate) fn router(it: &Approved, at: &Path) -> Arc<Router> {
    let config = LocalConfig {
        executable: env!("CARGO_BIN_EXE_carapulse").into(),
        ..LocalConfig::default()
    };
    let parts = Parts {
        db: it.router.clone(),
        objects: ObjectStore::folder(&at.join("objects")).expect("objects"),
        runner: Runner::local(config),
        catalog: Arc::clone(&it.catalog),
        engine: Arc::clone(&it.engine),
        keys: it.keys().into(),
        gate: WriteGate::default(),
        grants: Default::default(),
    };
    Arc::new(Router::new(parts, it.ctx.id::<Uuid>(), Settings::default()))
}

pub(crate) async fn run(owner: &mut PgConnection, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(owner)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

fn target(ctx: &OpCtx) -> Target {
    Target {
        target_id: ctx.id::<TargetId>(),
        name: "shop".into(),
        version: 1,
        context: ContextRef {
            tenant_id: "default".into(),
            environment: "dev".into(),
            ..ContextRef::default()
        },
        mode: TargetMode::Act,
        protected: false,
        git: None,
        prometheus_url: None,
        kubernetes: None,
        services: BTreeMap::new(),
    }
}

fn document(
    ctx: &OpCtx,
    catalog: &Catalog,
    target: &Target,
    requester: PersonId,
    steps: Vec<Step>,
) -> PlanDoc {
    let risk = steps.iter().map(|step| step.risk).max().expect("a step");
    let writes = steps
        .iter()
        .any(|step| step.effect != carapulse::domain::EffectKind::None);
    PlanDoc {
        plan_id: ctx.id::<PlanId>(),
        tenant_id: ctx.tenant.clone(),
        trigger: Trigger::Manual,
        incident_id: None,
        summary: "revert the last commit".into(),
        intent: Some("revert".into()),
        requester: Requester {
            name: "ada".into(),
            person_id: Some(requester),
            identity_id: None,
            token_owner_person_id: None,
        },
        editors: Vec::new(),
        target: PinnedTarget {
            target_id: target.target_id,
            name: target.name.clone(),
            version: target.version,
            context: target.context.clone(),
            place: target.place_digest().expect("canonical"),
        },
        risk,
        tier: if writes { Tier::Standard } else { Tier::Read },
        steps,
        verification: Verification {
            settle_secs: 0,
            window_secs: 60,
            interval_secs: 1,
            min_samples: 1,
            on_unknown: OnUnknown::Hold,
            assertions: vec![head_is(catalog, COMMIT)],
        },
        constraints: Constraints {
            max_targets: 1,
            max_duration_secs: 900,
            approval_ttl_secs: 3600,
        },
        policy_bundle: Bundle::builtin().digest(),
        snapshot: None,
    }
}
