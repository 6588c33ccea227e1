//! What plans are about in these measurements: a target, people with tokens, rules, and state that is read at once.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context as _;
use carapulse::{
    domain::{
        Actor, ContextRef, KubernetesPlace, OpCtx, Role, SecretRef, Target, TargetId, TargetMode, canonical,
        plan::{Args, Trigger},
    },
    gateway::identity::{self, Holder, NewToken, Presented},
    plan::{self, Checked, Checks, PriorReader, Proposal, StepRequest, Timing, What},
    policy::{Bundle, Engine, FlagsInput},
    store::DbRole,
    tools::catalog::Catalog,
};
use serde_json::{Value, json};

use crate::server::Database;

/// What a workload looks like to planning.
pub fn workload() -> Value {
    json!({"metadata": {"resourceVersion": "9"}, "spec": {"replicas": 3}})
}

struct Reader;

#[async_trait::async_trait]
impl PriorReader for Reader {
    async fn read(&self, _: TargetId, _: &str, _: &str, _: &Args) -> Result<Value, String> {
        Ok(workload())
    }
}

/// Everything that a plan is checked against. Cheap to share.
pub struct World {
    /// The registered place.
    pub target: Target,
    /// A person who may ask.
    pub operator: OpCtx,
    /// That person's token.
    pub operator_token: String,
    /// The token of the webhook source.
    pub source_token: String,
    /// What tools can do.
    pub catalog: Arc<Catalog>,
    /// The rules.
    pub engine: Arc<Engine>,
}

impl World {
    /// Registers a target and people in a new database. `prometheus` is the target's metrics.
    pub async fn new(database: &Database, prometheus: &str) -> anyhow::Result<Self> {
        let owner = database.pool(DbRole::Owner).await?;
        let ctx = OpCtx::new(Actor::system("bench"), "default".parse()?, "bench");
        let mut tx = owner.begin(&ctx.tenant).await?;
        let token = |actor: &str, role, holder| NewToken {
            actor: actor.to_owned(),
            role,
            holder,
            ttl_secs: None,
        };
        let person = token("ada", Role::Operator, Holder::Person("Ada".to_owned()));
        let (_, operator_token) = identity::create(&mut tx, &ctx, &person).await?;
        let source = token(
            "alertmanager",
            Role::Source,
            Holder::Source("alertmanager".to_owned()),
        );
        let (_, source_token) = identity::create(&mut tx, &ctx, &source).await?;
        let shown = Presented::parse(&operator_token).context("a token reads back")?;
        let bearer = identity::authenticate(&mut tx, &shown)
            .await?
            .context("the token is live")?;
        let target = target(ctx.id(), prometheus);
        sqlx::query(
            "INSERT INTO target (target_id, tenant_id, name, version, environment, mode, doc)
             VALUES ($1, 'default', $2, 1, 'staging', 'act', $3)",
        )
        .bind(target.target_id.uuid())
        .bind(&target.name)
        .bind(canonical::to_bytes(&target)?)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        owner.close().await;
        Ok(Self {
            target,
            operator: OpCtx::new(bearer.actor, ctx.tenant, "bench"),
            operator_token,
            source_token,
            catalog: Arc::new(Catalog::builtin()),
            engine: Arc::new(Engine::from_bundle(&Bundle::builtin())?),
        })
    }

    /// Drafts and checks a plan of these steps, as the operator.
    pub async fn check(&self, steps: Vec<StepRequest>) -> anyhow::Result<Checked> {
        let requester = carapulse::domain::plan::Requester {
            name: self.operator.actor.name.clone(),
            person_id: self.operator.actor.person_id,
            identity_id: self.operator.actor.identity_id,
            token_owner_person_id: None,
        };
        let proposal = Proposal {
            timing: Timing {
                settle_secs: 0,
                window_secs: 1,
                interval_secs: 1,
                min_samples: 1,
                ..Timing::default()
            },
            ..Proposal::new(Trigger::Manual, requester, What::Steps(steps))
        };
        let draft = plan::draft(&self.operator, &self.target, &Reader, proposal).await;
        let checks = Checks {
            catalog: &self.catalog,
            engine: &self.engine,
            target: &self.target,
            reader: &Reader,
            flags: FlagsInput::default(),
            managed: BTreeMap::new(),
        };
        plan::check(&self.operator, draft, &checks)
            .await
            .map_err(|rejected| anyhow::anyhow!("the plan was rejected: {:?}", rejected.problems))
    }
}

/// A write with its captured state and inverse.
pub fn scale() -> StepRequest {
    step(
        "kubectl",
        "scale",
        json!({"resource": "deployment/checkout", "replicas": 5}),
    )
}

/// One call of an action.
pub fn step(tool: &str, action: &str, args: Value) -> StepRequest {
    StepRequest {
        tool: tool.to_owned(),
        action: action.to_owned(),
        args: serde_json::from_value(args).unwrap_or_default(),
        ..StepRequest::default()
    }
}

fn target(target_id: TargetId, prometheus: &str) -> Target {
    Target {
        target_id,
        name: "shop".to_owned(),
        version: 1,
        context: ContextRef {
            tenant_id: "default".to_owned(),
            environment: "staging".to_owned(),
            namespace: "shop".to_owned(),
            ..ContextRef::default()
        },
        mode: TargetMode::Act,
        protected: false,
        git: None,
        prometheus_url: Some(prometheus.to_owned()),
        kubernetes: Some(KubernetesPlace {
            read_credential: SecretRef::Env("BENCH_READ".to_owned()),
            write_credential: Some(SecretRef::Env("BENCH_WRITE".to_owned())),
            context: "shop".to_owned(),
        }),
        services: [("checkout".to_owned(), "deployment/checkout".to_owned())].into(),
    }
}
