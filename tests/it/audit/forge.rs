//! What a part of the system that was taken over can put into the log: nothing in another's name, and nothing that does not read.

use carapulse::{
    audit::{self, Event, Filter, Order, Page, leaf},
    domain::{Actor, ActorKind, OpCtx, Role},
    store::{Db, Error, Tx},
};
use serde_json::json;
use sqlx::Row as _;

use super::{Log, ctx, record, tenant};

/// Whether the database took an event of `actor`.
async fn takes(db: &Db, actor: Actor, action: &'static str) -> bool {
    let ctx = OpCtx::new(actor, tenant(), "forged");
    let mut tx = db.begin(&tenant()).await.unwrap();
    match audit::record(&mut tx, &ctx, Event::new(action, json!({}))).await {
        Ok(_) => true,
        Err(audit::Error::Store(Error::Database(_))) => false,
        Err(other) => panic!("{other:?}"),
    }
}

fn actor(name: &str) -> Actor {
    match name.strip_prefix("person ") {
        None => Actor {
            name: name.to_owned(),
            ..Actor::system("x")
        },
        Some(name) => Actor {
            kind: ActorKind::Person,
            name: name.to_owned(),
            role: Role::Admin,
            ..Actor::system("x")
        },
    }
}

/// Who records, in whose name, what, and whether the database takes it.
const CASES: [(&str, &str, &str, bool); 16] = [
    ("gateway", "person ada", "plan.create", true),
    ("orchestrator", "person ada", "plan.create", false),
    ("router", "person ada", "tool.ended", false),
    ("sequencer", "person ada", "plan.create", false),
    ("orchestrator", "system:engine", "execution.finish", true),
    ("gateway", "system:engine", "plan.create", false),
    ("orchestrator", "system:router", "plan.create", false),
    ("router", "system:router", "tool.ended", true),
    ("router", "system:engine", "tool.ended", false),
    ("gateway", "person system:router", "plan.create", false),
    ("orchestrator", "system:engine", "approval.grant", false),
    ("orchestrator", "system:engine", "token.create", false),
    ("orchestrator", "system:engine", "execution.rollback", false),
    ("orchestrator", "system:engine", "tool.ended", false),
    ("gateway", "person ada", "execution.finish", false),
    ("router", "system:router", "execution.finish", false),
];

#[tokio::test]
async fn invariant_10_no_part_records_in_another_s_name() {
    let log = Log::new().await;
    for (part, name, action, allowed) in CASES {
        let db = match part {
            "gateway" => &log.gateway,
            "orchestrator" => &log.orchestrator,
            "router" => &log.router,
            _ => &log.all,
        };
        let taken = takes(db, actor(name), action).await;
        assert_eq!(taken, allowed, "{part} as {name}: {action}");
    }
}

/// Inserts an event whose body was changed, with a hash that fits the changed body or not.
async fn insert(
    tx: &mut Tx,
    body: &[u8],
    hash: Option<[u8; 32]>,
    event: &carapulse::domain::EventId,
) -> bool {
    let salt = [7_u8; 16];
    let hash = hash.unwrap_or_else(|| leaf::hash(&salt, body));
    let done = sqlx::query(
        "INSERT INTO audit_event (event_id, tenant_id, action, actor, decision, body, salt, leaf_hash)
         VALUES ($1, 'default', 'plan.create', 'system:test', 'none', $2, $3, $4)",
    )
    .bind(event.uuid())
    .bind(body)
    .bind(&salt[..])
    .bind(&hash[..])
    .execute(&mut **tx)
    .await;
    done.is_ok()
}

#[tokio::test]
async fn invariant_10_a_body_that_does_not_read_or_fit_is_not_taken() {
    let log = Log::new().await;
    record(&log.gateway, Event::new("plan.create", json!({"why": "\u{0}é"}))).await;
    let mut owner = log.db.owner().await;
    let row = sqlx::query("SELECT event_id, convert_from(body, 'UTF8') FROM audit_event")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    let (stored, good): (uuid::Uuid, String) = (row.get(0), row.get(1));
    let event: carapulse::domain::EventId = ctx().id();
    let good = good.replace(&stored.simple().to_string(), &event.uuid().simple().to_string());
    let changed = |from: &str, to: &str| {
        assert!(good.contains(from), "{from} in {good}");
        good.replacen(from, to, 1).into_bytes()
    };
    let mut cases = vec![
        ("as it should be", good.clone().into_bytes(), true),
        ("nothing", Vec::new(), false),
        ("no JSON", b"{".to_vec(), false),
        ("no object", b"[]".to_vec(), false),
        ("no UTF-8", b"\xff".to_vec(), false),
        ("another action", changed("plan.create", "plan.delete"), false),
        ("another actor", changed("system:test", "system:demo"), false),
        ("another tenant", changed("\"default\"", "\"other\""), false),
        ("another decision", changed("\"none\"", "\"allow\""), false),
        ("another version", changed("\"v\":1", "\"v\":2"), false),
        (
            "a field too many",
            changed("{\"action\"", "{\"aaa\":1,\"action\""),
            false,
        ),
        (
            "a field of the actor too many",
            changed("\"kind\"", "\"aaa\":1,\"kind\""),
            false,
        ),
        (
            "an unknown kind",
            changed("\"kind\":\"system\"", "\"kind\":\"god\""),
            false,
        ),
        (
            "an unknown role",
            changed("\"role\":\"operator\"", "\"role\":\"root\""),
            false,
        ),
        (
            "a plan that no column has",
            changed(
                "{\"action\"",
                "{\"plan_id\":\"plan_00000000000000000000000000000001\",\"action\"",
            ),
            false,
        ),
        (
            "a person's id that is none",
            changed("\"kind\"", "\"person_id\":\"x\",\"kind\""),
            false,
        ),
        (
            "details that are none",
            changed("\"details\":{", "\"details\":[],\"x\":{"),
            false,
        ),
    ];
    cases.push((
        "a key twice",
        changed("{\"action\"", "{\"v\":1,\"action\""),
        false,
    ));
    cases.push((
        "a key of the actor twice",
        changed("\"kind\"", "\"name\":\"system:test\",\"kind\""),
        false,
    ));
    for (name, body, allowed) in cases {
        let mut tx = log.gateway.begin(&tenant()).await.unwrap();
        assert_eq!(insert(&mut tx, &body, None, &event).await, allowed, "{name}");
    }
    let mut tx = log.gateway.begin(&tenant()).await.unwrap();
    assert!(
        !insert(&mut tx, good.as_bytes(), Some([1; 32]), &event).await,
        "another hash"
    );
}

#[tokio::test]
async fn a_row_that_does_not_read_is_shown_by_its_columns_and_hides_no_other() {
    let mut log = Log::new().await;
    log.record(1).await;
    // As somebody whom nothing binds could.
    let mut superuser = log.db.superuser().await;
    sqlx::query(
        "INSERT INTO audit_event (event_id, tenant_id, action, actor, decision, body, salt, leaf_hash)
         VALUES (gen_random_uuid(), 'default', 'plan.create', 'mallory', 'allow', '{', substr(sha256('x'), 1, 16), sha256('x'))",
    )
    .execute(&mut superuser)
    .await
    .unwrap();
    log.record(1).await;
    log.sequence().await;
    let mut tx = log.gateway.begin(&tenant()).await.unwrap();
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let page = Page {
            order,
            after: None,
            limit: 10,
        };
        let events = audit::list(&mut tx, &Filter::default(), &page).await.unwrap();
        assert_eq!(events.len(), 3);
        let stub = events.iter().find(|event| event.body.v == 0).expect("the stub");
        assert_eq!(
            (stub.body.actor.name.as_str(), stub.body.action.as_str()),
            ("mallory", "plan.create")
        );
        assert!(stub.body.details["unreadable"].is_string(), "{:?}", stub.body);
    }
    assert_eq!(audit::events_after(&mut tx, None, 10).await.unwrap().len(), 3);
}
