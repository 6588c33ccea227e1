//! Bundles, the pointer to the active one, and decisions, as the gateway's database role.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;

use carapulse::{
    domain::{Actor, Digest, OpCtx},
    policy::{Bundle, Engine, Input, Outcome, store},
    store::{DbRole, Error},
};

use crate::harness::TestDb;

fn ctx() -> OpCtx {
    OpCtx::new(Actor::system("test"), "default".parse().unwrap(), "r1")
}

/// The builtin rules with one comment more: another bundle that answers alike.
fn another() -> Bundle {
    let mut files: BTreeMap<String, String> = Bundle::builtin()
        .files()
        .map(|(path, text)| (path.to_owned(), text.to_owned()))
        .collect();
    files
        .get_mut("policy/assistant/v1/base.rego")
        .unwrap()
        .push_str("# another\n");
    Bundle::new(files).unwrap()
}

#[tokio::test]
async fn the_first_start_activates_the_builtin_bundle_and_a_second_changes_nothing() {
    let db = TestDb::new().await;
    let gateway = db.as_role(DbRole::Gateway).await;
    for _ in 0..2 {
        let mut tx = gateway.begin(&ctx().tenant).await.unwrap();
        let active = store::ensure_builtin(&mut tx, &ctx()).await.unwrap();
        assert_eq!((active.digest, active.version), (Bundle::builtin().digest(), 1));
        tx.commit().await.unwrap();
    }
    let mut tx = gateway.begin(&ctx().tenant).await.unwrap();
    let actions = sqlx::query_scalar::<_, String>("SELECT action FROM audit_event ORDER BY event_id")
        .fetch_all(&mut *tx)
        .await
        .unwrap();
    assert_eq!(actions, ["policy.submit", "policy.activate"]);
}

#[tokio::test]
async fn the_pointer_moves_by_compare_and_swap_and_never_to_a_bad_bundle() {
    let db = TestDb::new().await;
    let gateway = db.as_role(DbRole::Gateway).await;
    let mut tx = gateway.begin(&ctx().tenant).await.unwrap();
    store::ensure_builtin(&mut tx, &ctx()).await.unwrap();
    store::submit(&mut tx, &ctx(), &another()).await.unwrap();
    let stale = store::activate(&mut tx, &ctx(), another().digest(), 7)
        .await
        .unwrap_err();
    assert!(
        matches!(stale, store::Error::Store(Error::Conflict { .. })),
        "{stale}"
    );
    let moved = store::activate(&mut tx, &ctx(), another().digest(), 1)
        .await
        .unwrap();
    assert_eq!(moved.version, 2);

    let path = "policy/assistant/v1/base.rego".to_owned();
    let open = Bundle::new(BTreeMap::from([(
        path,
        "package policy.assistant.v1\nresult := 1".to_owned(),
    )]))
    .unwrap();
    store::submit(&mut tx, &ctx(), &open).await.unwrap();
    assert!(matches!(
        store::activate(&mut tx, &ctx(), open.digest(), 2).await,
        Err(store::Error::Bundle(_))
    ));
    let unknown = store::activate(&mut tx, &ctx(), Digest::of_content(b"x"), 2)
        .await
        .unwrap_err();
    assert!(
        matches!(unknown, store::Error::Store(Error::NotFound)),
        "{unknown}"
    );
    assert_eq!(store::active(&mut tx).await.unwrap(), Some(moved));
    assert_eq!(store::get(&mut tx, moved.digest).await.unwrap(), another());
}

#[tokio::test]
async fn a_decision_is_kept_exactly_and_other_roles_cannot_move_the_pointer() {
    let db = TestDb::new().await;
    let router = db.as_role(DbRole::Router).await;
    let engine = Engine::from_bundle(&Bundle::builtin()).unwrap();
    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/policies/fixtures/act_frozen.json"
    ))
    .unwrap();
    let fixture: serde_json::Value = serde_json::from_str(&text).unwrap();
    let input: Input = serde_json::from_value(fixture["input"].clone()).unwrap();
    let decision = engine.decide(&input);
    assert_eq!(decision.decision, Outcome::Deny);
    let mut tx = router.begin(&ctx().tenant).await.unwrap();
    let (plan, execution) = (ctx().id(), ctx().id());
    let row = store::DecisionRow::new(&ctx(), &input, &decision, plan, Some((execution, 1))).unwrap();
    let id = store::insert_decision(&mut tx, row).await.unwrap();
    let kept = store::list_of_plan(&mut tx, plan).await.unwrap();
    assert_eq!(
        (kept[0].decision_id, &kept[0].input, &kept[0].decision),
        (id, &input, &decision)
    );
    let itself = OpCtx::system("router", ctx().tenant);
    let refused = store::ensure_builtin(&mut tx, &itself).await.unwrap_err();
    assert!(
        matches!(refused, store::Error::Store(Error::Database(_))),
        "{refused}"
    );
}

#[tokio::test]
async fn what_is_exported_for_opa_is_the_active_bundle_not_the_binarys() {
    let db = TestDb::new().await;
    let folder = tempfile::tempdir().unwrap();
    let export = || {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_carapulse"))
            .args(["policy", "export"])
            .arg(folder.path())
            .env("DATABASE_URL", db.url(DbRole::Gateway))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let manifest = std::fs::read_to_string(folder.path().join(".manifest")).unwrap();
        serde_json::from_str::<serde_json::Value>(&manifest).unwrap()["revision"].clone()
    };
    assert_eq!(
        export(),
        Bundle::builtin().digest().to_string(),
        "before the first start"
    );

    let gateway = db.as_role(DbRole::Gateway).await;
    let mut tx = gateway.begin(&ctx().tenant).await.unwrap();
    store::ensure_builtin(&mut tx, &ctx()).await.unwrap();
    store::submit(&mut tx, &ctx(), &another()).await.unwrap();
    store::activate(&mut tx, &ctx(), another().digest(), 1)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(export(), another().digest().to_string());
    for (path, text) in another().files() {
        assert_eq!(std::fs::read_to_string(folder.path().join(path)).unwrap(), text);
    }
}
