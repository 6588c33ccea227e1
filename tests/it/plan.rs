//! Plans as rows, as the database roles that write and read them.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;

use carapulse::{
    domain::{
        Actor, ActorKind, ContextRef, IdentityId, IncidentId, KubernetesPlace, OpCtx, PersonId, PlanId, Role,
        SecretRef, Target, TargetId, TargetMode, TokenId, canonical,
        plan::{Args, Trigger},
    },
    plan::{
        BrakeLimits, Checked, Checks, Content, Filter, PlanStatus, PriorReader, Proposal, What, brake, check,
        draft, store,
    },
    policy::{Bundle, Engine, FlagsInput},
    store::{Db, DbRole, Error},
    tools::catalog::Catalog,
};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::harness::TestDb;

/// A tenant with a target and people.
pub(crate) struct World {
    pub(crate) db: TestDb,
    pub(crate) gateway: Db,
    pub(crate) target: Target,
    catalog: Catalog,
    engine: Engine,
}

/// A login, its person and its token.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) ctx: OpCtx,
    pub(crate) person: PersonId,
}

struct Reader;

#[async_trait::async_trait]
impl PriorReader for Reader {
    async fn read(&self, _: TargetId, _: &str, _: &str, _: &Args) -> Result<Value, String> {
        Ok(json!({ "metadata": { "resourceVersion": "9" }, "spec": { "replicas": 3 } }))
    }
}

pub(crate) fn system() -> OpCtx {
    OpCtx::new(Actor::system("test"), "default".parse().unwrap(), "r1")
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// With a changed target.
    pub(crate) async fn with(change: impl FnOnce(&mut Target)) -> Self {
        let db = TestDb::new().await;
        let gateway = db.as_role(DbRole::Gateway).await;
        let mut target = target();
        change(&mut target);
        let mut owner = db.owner().await;
        sqlx::query("INSERT INTO target (target_id, tenant_id, name, version, environment, mode, doc) VALUES ($1, 'default', $2, 1, 'staging', 'act', $3)")
            .bind(target.target_id.uuid())
            .bind(&target.name)
            .bind(canonical::to_bytes(&target).unwrap())
            .execute(&mut owner)
            .await
            .unwrap();
        let engine = Engine::from_bundle(&Bundle::builtin()).unwrap();
        Self {
            db,
            gateway,
            target,
            catalog: Catalog::builtin(),
            engine,
        }
    }

    /// A new person with a login of `role`.
    pub(crate) async fn person(&self, name: &str, role: Role) -> Login {
        let person = system().id();
        let mut owner = self.db.owner().await;
        sqlx::query("INSERT INTO person (person_id, tenant_id, name) VALUES ($1, 'default', $2)")
            .bind(Uuid::from(person))
            .bind(name)
            .execute(&mut owner)
            .await
            .unwrap();
        self.login_of(person, name, role).await
    }

    /// Another login of a person.
    pub(crate) async fn login_of(&self, person: PersonId, subject: &str, role: Role) -> Login {
        let (identity, token): (IdentityId, TokenId) = (system().id(), system().id());
        let mut owner = self.db.owner().await;
        sqlx::query("INSERT INTO identity (identity_id, tenant_id, provider, subject, person_id) VALUES ($1, 'default', 'token', $2, $3)")
            .bind(identity.uuid())
            .bind(subject)
            .bind(person.uuid())
            .execute(&mut owner)
            .await
            .unwrap();
        insert_token(&mut owner, token, "person", role, Some(identity), None).await;
        let actor = Actor {
            kind: ActorKind::Person,
            name: subject.to_owned(),
            role,
            person_id: Some(person),
            identity_id: Some(identity),
            token_id: Some(token),
        };
        Login {
            ctx: OpCtx::new(actor, "default".parse().unwrap(), "r1"),
            person,
        }
    }

    /// A service token that `owner` owns.
    pub(crate) async fn service(&self, name: &str, role: Role, owner: PersonId) -> OpCtx {
        let token: TokenId = system().id();
        insert_token(
            &mut self.db.owner().await,
            token,
            "service",
            role,
            None,
            Some(owner),
        )
        .await;
        let actor = Actor {
            kind: ActorKind::Service,
            name: name.to_owned(),
            role,
            person_id: None,
            identity_id: None,
            token_id: Some(token),
        };
        OpCtx::new(actor, "default".parse().unwrap(), "r1")
    }

    /// An open incident.
    pub(crate) async fn incident(&self, group_key: &str) -> IncidentId {
        let id: IncidentId = system().id();
        let mut owner = self.db.owner().await;
        sqlx::query("UPDATE incident SET status = 'resolved' WHERE group_key = $1")
            .bind(group_key)
            .execute(&mut owner)
            .await
            .unwrap();
        sqlx::query("INSERT INTO incident (incident_id, tenant_id, group_key, title, target_id, status, stage, opened_at) VALUES ($1, 'default', $2, 't', $3, 'open', 'received', db_now())")
            .bind(id.uuid())
            .bind(group_key)
            .bind(self.target.target_id.uuid())
            .execute(&mut owner)
            .await
            .unwrap();
        id
    }

    /// A checked plan to scale checkout, not stored yet.
    pub(crate) async fn checked(&self, ctx: &OpCtx, incident: Option<IncidentId>) -> Checked {
        let mut tx = self.gateway.begin(&ctx.tenant).await.unwrap();
        let owner: Option<uuid::Uuid> =
            sqlx::query_scalar("SELECT owner_person_id FROM token WHERE token_id = $1")
                .bind(ctx.actor.token_id.map(carapulse::domain::TokenId::uuid))
                .fetch_optional(&mut *tx)
                .await
                .unwrap()
                .flatten();
        let requester = store::requester(ctx, owner.map(Into::into));
        let target = store::find_target(&mut tx, "shop").await.unwrap().unwrap();
        assert_eq!(target, self.target);
        let trigger = if incident.is_some() {
            Trigger::Alert
        } else {
            Trigger::Manual
        };
        let mut proposal = Proposal::new(trigger, requester, What::Text("scale checkout to 4".to_owned()));
        proposal.incident_id = incident;
        let drafted = draft(ctx, &target, &Reader, proposal).await;
        let with = Checks {
            catalog: &self.catalog,
            engine: &self.engine,
            target: &target,
            reader: &Reader,
            flags: FlagsInput::default(),
            managed: BTreeMap::new(),
        };
        check(ctx, drafted, &with).await.unwrap()
    }

    /// A stored plan.
    pub(crate) async fn plan(&self, ctx: &OpCtx, incident: Option<IncidentId>) -> Checked {
        let checked = self.checked(ctx, incident).await;
        let mut tx = self.gateway.begin(&ctx.tenant).await.unwrap();
        store::insert(&mut tx, ctx, &checked).await.unwrap();
        tx.commit().await.unwrap();
        checked
    }

    /// Runs one statement as a superuser: what nobody may do, somebody with the password can.
    pub(crate) async fn forge(&self, statement: &'static str, plan: PlanId) {
        sqlx::query(statement)
            .bind(plan.uuid())
            .execute(&mut self.db.owner().await)
            .await
            .unwrap();
    }
}

async fn insert_token(
    owner: &mut PgConnection,
    token: TokenId,
    kind: &str,
    role: Role,
    identity: Option<IdentityId>,
    person: Option<PersonId>,
) {
    sqlx::query("INSERT INTO token (token_id, tenant_id, secret_hash, actor, role, kind, identity_id, owner_person_id) VALUES ($1, 'default', sha256($2), 'a', $3, $4, $5, $6)")
        .bind(token.uuid())
        .bind(&token.uuid().as_bytes()[..])
        .bind(role.as_str())
        .bind(kind)
        .bind(identity.map(IdentityId::uuid))
        .bind(person.map(PersonId::uuid))
        .execute(owner)
        .await
        .unwrap();
}

fn target() -> Target {
    Target {
        target_id: system().id(),
        name: "shop".to_owned(),
        version: 1,
        context: ContextRef {
            tenant_id: "default".to_owned(),
            environment: "staging".to_owned(),
            cluster_id: "k1".to_owned(),
            namespace: "shop".to_owned(),
            ..ContextRef::default()
        },
        mode: TargetMode::Act,
        protected: false,
        git: None,
        prometheus_url: None,
        kubernetes: Some(KubernetesPlace {
            read_credential: SecretRef::Env("READ".to_owned()),
            write_credential: None,
            context: "k1".to_owned(),
        }),
        services: BTreeMap::from([("checkout".to_owned(), "deployment/checkout".to_owned())]),
    }
}

#[tokio::test]
async fn a_plan_is_its_bytes_and_any_changed_byte_is_corrupt() {
    let world = World::new().await;
    let ada = world.person("ada", Role::Operator).await;
    let checked = world.plan(&ada.ctx, None).await;
    let id = checked.doc().plan_id;
    let mut tx = world.gateway.begin(&ada.ctx.tenant).await.unwrap();
    let stored = store::get(&mut tx, id).await.unwrap();
    assert_eq!(
        (stored.doc(), stored.digest, stored.status),
        (Some(checked.doc()), checked.digest(), PlanStatus::PendingApproval)
    );
    drop(tx);
    for statement in [
        "UPDATE plan SET doc = set_byte(doc, 40, get_byte(doc, 40) # 1) WHERE plan_id = $1",
        "UPDATE plan SET doc = set_byte(doc, 40, get_byte(doc, 40) # 1), digest = set_byte(digest, 0, get_byte(digest, 0) # 1) WHERE plan_id = $1",
        "UPDATE plan SET doc_version = 2 WHERE plan_id = $1",
        "UPDATE plan SET doc_version = 1, status = 'draft' WHERE plan_id = $1",
    ] {
        world.forge(statement, id).await;
        let mut tx = world.gateway.begin(&ada.ctx.tenant).await.unwrap();
        let error = store::get(&mut tx, id).await.unwrap_err();
        assert!(
            matches!(error, store::Error::Store(Error::Corrupt(_))),
            "{statement}: {error}"
        );
    }
}

#[tokio::test]
async fn a_draft_is_kept_with_what_it_lacks_and_goes_nowhere() {
    let world = World::new().await;
    let ada = world.person("ada", Role::Operator).await;
    let mut tx = world.gateway.begin(&ada.ctx.tenant).await.unwrap();
    let requester = store::requester(&ada.ctx, None);
    let proposal = Proposal::new(Trigger::Manual, requester, What::Text("make it fast".to_owned()));
    let drafted = draft(&ada.ctx, &world.target, &Reader, proposal).await;
    let id = store::insert_draft(&mut tx, &ada.ctx, &drafted)
        .await
        .unwrap()
        .plan_id;
    let stored = store::get(&mut tx, id).await.unwrap();
    assert!(matches!(&stored.content, Content::Draft(kept) if **kept == drafted));
    for to in PlanStatus::ALL {
        let moved = store::update_status(&mut tx, &ada.ctx, id, PlanStatus::Draft, to).await;
        let only = matches!(to, PlanStatus::Superseded | PlanStatus::Denied);
        assert_eq!(moved.is_ok(), only && to == PlanStatus::Denied, "{to:?}");
    }
    let page = store::list(
        &mut tx,
        &Filter {
            limit: 10,
            ..Filter::default()
        },
    )
    .await
    .unwrap();
    assert!(page[0].lacks.as_deref().unwrap().contains("no rule understands"));
}

#[tokio::test]
async fn pages_are_newest_first_and_other_tenants_see_nothing() {
    let world = World::new().await;
    let ada = world.person("ada", Role::Operator).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(world.plan(&ada.ctx, None).await.doc().plan_id);
    }
    ids.reverse();
    let mut tx = world.gateway.begin(&ada.ctx.tenant).await.unwrap();
    let filter = |before, limit| Filter {
        before,
        limit,
        status: Some(PlanStatus::PendingApproval),
        target: Some("shop".to_owned()),
        incident_id: None,
    };
    let first = store::list(&mut tx, &filter(None, 2)).await.unwrap();
    let second = store::list(&mut tx, &filter(Some(first[1].plan_id), 2))
        .await
        .unwrap();
    let seen: Vec<_> = first.iter().chain(&second).map(|plan| plan.plan_id).collect();
    assert_eq!(seen, ids);
    let gone = Filter {
        target: Some("elsewhere".to_owned()),
        limit: 9,
        ..Filter::default()
    };
    assert!(store::list(&mut tx, &gone).await.unwrap().is_empty());
    drop(tx);
    sqlx::query("INSERT INTO tenant VALUES ('other')")
        .execute(&mut world.db.owner().await)
        .await
        .unwrap();
    let mut tx = world.gateway.begin(&"other".parse().unwrap()).await.unwrap();
    assert!(store::list(&mut tx, &filter(None, 9)).await.unwrap().is_empty());
    assert!(matches!(
        store::get(&mut tx, ids[0]).await,
        Err(store::Error::Store(Error::NotFound))
    ));
    assert!(store::find_target(&mut tx, "shop").await.unwrap().is_none());
}

#[tokio::test]
async fn the_brake_stops_repetition_and_repetition_of_failure() {
    let world = World::new().await;
    let orchestrator = world.db.as_role(DbRole::Orchestrator).await;
    let limits = BrakeLimits {
        plans_per_group: 2,
        ..BrakeLimits::default()
    };
    let ask = async |key: &'static str| {
        let mut tx = orchestrator.begin(&system().tenant).await.unwrap();
        brake(&mut tx, world.target.target_id, key, &limits)
            .await
            .unwrap()
            .err()
            .map(|braked| braked.code)
    };
    assert_eq!(ask("k").await, None);
    let incident = world.incident("k").await;
    let plan = world.plan(&system(), Some(incident)).await;
    assert_eq!(ask("k").await, None);
    world.plan(&system(), Some(incident)).await;
    assert_eq!(ask("k").await, Some("brake_group"));
    assert_eq!(ask("another").await, None);
    world
        .db
        .advance(std::time::Duration::from_secs(u64::from(limits.window_secs) + 1))
        .await;
    assert_eq!(ask("k").await, None);
    world
        .forge(
            "INSERT INTO execution (execution_id, tenant_id, plan_id, status, generation, state, requested_by, created_at, completed_at)
             VALUES (gen_random_uuid(), 'default', $1, 'rolled_back', 1, '', 'x', db_now(), db_now())",
            plan.doc().plan_id,
        )
        .await;
    assert_eq!(ask("k").await, Some("brake_non_success"));
    for _ in 0..2 {
        world
            .forge(
                "INSERT INTO execution (execution_id, tenant_id, plan_id, status, generation, state, requested_by, created_at, completed_at)
                 VALUES (gen_random_uuid(), 'default', $1, 'failed', 1, '', 'x', db_now(), db_now())",
                plan.doc().plan_id,
            )
            .await;
    }
    assert_eq!(ask("another").await, Some("brake_failures"));
}

/// Each column is classified; a new one fails here until it is. Rows that nothing executes from say so.
#[tokio::test]
async fn every_column_and_bundle_file_is_covered_or_said_to_be_display_only() {
    type Table = BTreeMap<String, BTreeMap<String, String>>;
    let text = include_str!("../../docs/reference/digest-coverage.toml");
    let mut tables: BTreeMap<String, Table> = toml::from_str(text).unwrap();
    for (table, rows) in &tables {
        for (name, row) in rows {
            assert!(
                ["covered", "display", "state"].contains(&row["is"].as_str()),
                "{table}.{name}"
            );
            assert!(!row["why"].is_empty() && row.len() == 2, "{table}.{name}");
        }
    }
    let db = TestDb::new().await;
    let live: Vec<(String, String)> = sqlx::query_as(
        "SELECT table_name::text, column_name::text FROM information_schema.columns
         WHERE table_schema = 'public' AND table_name IN ('plan', 'plan_step', 'approval', 'approval_grant')",
    )
    .fetch_all(&mut db.owner().await)
    .await
    .unwrap();
    let live: std::collections::BTreeSet<_> = live.into_iter().collect();
    let bundle = tables.remove("bundle").unwrap();
    let listed = tables
        .into_iter()
        .flat_map(|(table, rows)| rows.into_keys().map(move |column| (table.clone(), column)));
    assert_eq!(listed.collect::<std::collections::BTreeSet<_>>(), live);

    // The names under which the bundle's writer adds files.
    let source = include_str!("../../src/audit/bundle/manifest.rs");
    for name in bundle.keys() {
        assert!(
            source.contains(&format!("\"{name}")),
            "no file of a bundle is called {name}"
        );
    }
    let named =
        regex::Regex::new(r#""([a-z]+(?:/(?:[a-z_]+(?:\.[a-z]+)?)?|\.(?:jsonl?|note)))["{]"#).unwrap();
    for found in named.captures_iter(source.split("#[cfg(test)]").next().unwrap()) {
        assert!(bundle.contains_key(&found[1]), "{} is not classified", &found[1]);
    }
}

/// Every byte of a stored plan counts, and whoever changes the digest with it meets the signature (`approval`).
#[tokio::test]
async fn no_byte_of_a_plan_can_change_unseen() {
    let world = World::new().await;
    let ada = world.person("ada", Role::Operator).await;
    let checked = world.checked(&ada.ctx, None).await;
    for index in 0..checked.bytes().len() {
        let mut bytes = checked.bytes().to_vec();
        bytes[index] ^= 0x01;
        assert_ne!(
            carapulse::domain::plan::digest_of(&bytes),
            checked.digest(),
            "byte {index}"
        );
    }
}
