//! Who becomes somebody, and when that counts.

use carapulse::{
    domain::{OpCtx, Role},
    gateway::identity::{self, Error, Holder, NewToken},
    store::DbRole,
};
use serde_json::json;

use super::world::{World, answer, problem, tenant};

fn new(actor: &str, role: Role, holder: Holder) -> NewToken {
    NewToken {
        actor: actor.to_owned(),
        role,
        holder,
        ttl_secs: None,
    }
}

fn person(actor: &str, name: &str) -> NewToken {
    new(actor, Role::Approver, Holder::Person(name.to_owned()))
}

/// Makes a token as `carapulse token create` does: under the gateway's database role.
async fn create(world: &World, new: &NewToken) -> Result<String, Error> {
    let db = world.db.as_role(DbRole::Gateway).await;
    let ctx = OpCtx::system("cli", tenant("default"));
    let mut tx = db.begin(&ctx.tenant).await.unwrap();
    let (_, text) = identity::create(&mut tx, &ctx, new).await?;
    tx.commit().await.unwrap();
    Ok(text)
}

#[tokio::test]
async fn invariant_3_two_spellings_of_a_name_are_one_person() {
    let world = World::new().await;
    for (actor, name) in [
        ("ada", "Ada Lovelace"),
        ("ADA", "ADA LOVELACE"),
        ("Ada", " ada\u{2003}lovelace "),
        ("\u{ff41}da", "aDA LOVELACE"),
        ("ada", "\u{ff21}da Lovelace"),
    ] {
        let made = create(&world, &person(actor, name)).await;
        made.unwrap_or_else(|error| panic!("{actor} as {name}: {error}"));
    }
    assert_eq!(world.count("SELECT count(*) FROM person").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM identity").await, 1);
    create(&world, &person("gross", "Gro\u{df}mann")).await.unwrap();
    create(&world, &person("gross", "GROSSMANN")).await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM person").await, 2);
    // A login in another spelling is the same login: it stays with its person.
    let taken = create(&world, &person("aDa", "Eve")).await;
    assert!(matches!(taken, Err(Error::Linked { .. })), "{taken:?}");
    for holder in [
        Holder::Service {
            owner: "Ada Lovelace".into(),
        },
        Holder::Source("alertmanager".into()),
    ] {
        let role = if matches!(holder, Holder::Source(_)) {
            Role::Source
        } else {
            Role::Operator
        };
        let taken = create(&world, &new("ADA", role, holder)).await;
        assert!(
            matches!(taken, Err(Error::Linked { .. })),
            "a program by a person's name: {taken:?}"
        );
    }
    // Not even past the code.
    let db = world.db.as_role(DbRole::Gateway).await;
    let mut tx = db.begin(&tenant("default")).await.unwrap();
    let twin = sqlx::query(
        "INSERT INTO person (person_id, tenant_id, name) VALUES (gen_random_uuid(), 'default', 'ada LOVELACE')",
    );
    let error = twin.execute(&mut *tx).await.expect_err("a twin");
    assert!(error.to_string().contains("person_name_key"), "{error}");
}

#[tokio::test]
async fn invariant_3_whoever_is_made_while_there_is_something_to_approve_is_announced_and_has_to_wait() {
    let world = World::new().await;
    let ada = create(&world, &person("ada", "Ada")).await.unwrap();
    let told = "SELECT count(*) FROM notification WHERE kind = 'admin_change'";
    let paged = "SELECT count(*) FROM notification WHERE kind = 'admin_change' AND severity = 'page'";
    let barred = "SELECT count(*) FROM person WHERE barred_until > db_now() + interval '9 minutes'";
    assert_eq!((world.count(told).await, world.count(paged).await), (1, 0));
    assert_eq!(world.count(barred).await, 0, "nothing could be approved yet");
    world.target("shop").await;
    let plan = json!({"target": "shop", "summary": "more room", "intent": {"kind": "scale", "service": "checkout", "replicas": 5}});
    let (status, made) = answer(world.post("/v1/plans", &ada, &plan)).await;
    assert_eq!(status, 201, "{made}");
    let puppet = create(&world, &person("bob", "Bob")).await.unwrap();
    assert_eq!(
        (
            world.count(told).await,
            world.count(paged).await,
            world.count(barred).await
        ),
        (2, 1, 1)
    );
    let yes = json!({"plan_id": made["plan_id"], "digest": made["plan"]["digest"], "status": "approved"});
    let approve = || world.post("/v1/approvals", &puppet, &yes);
    assert_eq!(
        problem(approve().send().await.unwrap()).await,
        (403, "approval_refused".to_owned())
    );
    world.db.advance(std::time::Duration::from_secs(601)).await;
    assert_eq!(answer(approve()).await.0, 201, "the admins had their time");
    // Somebody else's hand on a token that approves in an old name is such a change, too; one that only reads is none.
    create(&world, &new("ada", Role::Viewer, Holder::Person("Ada".into())))
        .await
        .unwrap();
    assert_eq!((world.count(paged).await, world.count(barred).await), (1, 0));
    create(&world, &person("ada", "Ada")).await.unwrap();
    assert_eq!((world.count(paged).await, world.count(barred).await), (2, 1));
    create(
        &world,
        &new("ada-phone", Role::Viewer, Holder::Person("Ada".into())),
    )
    .await
    .unwrap();
    assert_eq!(world.count(paged).await, 3, "a new login of hers");
}
