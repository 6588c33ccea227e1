//! Every route with every role, from the table of routes itself.

use std::time::Duration;

use carapulse::{
    domain::Role,
    gateway::{
        self,
        access::Access,
        identity::{self, Holder, NewToken},
    },
};
use serde_json::json;

use super::world::{World, answer, problem, tenant};

const ROLES: [Role; 5] = [
    Role::Source,
    Role::Viewer,
    Role::Operator,
    Role::Approver,
    Role::Admin,
];

#[tokio::test]
async fn each_route_lets_in_its_least_role_and_nobody_below() {
    let world = World::new().await;
    let mut tokens = Vec::new();
    for role in ROLES {
        let actor = if role == Role::Source {
            "argocd"
        } else {
            role.as_str()
        };
        tokens.push((role, world.token(actor, role).await));
    }
    let alertmanager = world.token("alertmanager", Role::Source).await;
    for route in gateway::routes() {
        let path = route
            .path
            .replace("{id}", "plan_00000000000000000000000000000001");
        let request = |token: &str| match route.method {
            "POST" => world.post(&path, token, &json!({"nothing": "known"})),
            _ => world.get(&path, token),
        };
        for (role, token) in &tokens {
            let status = request(token).send().await.unwrap().status().as_u16();
            let lets_in = match route.access {
                Access::Least(least) => *role != Role::Source && *role >= least,
                Access::Source(_) => false,
            };
            assert_eq!(
                status != 403,
                lets_in,
                "{} {} as {role:?}: {status}",
                route.method,
                route.path
            );
            assert_ne!(status, 401, "{} {}", route.method, route.path);
            assert_ne!(status, 500, "{} {} as {role:?}", route.method, route.path);
        }
        let status = request(&alertmanager).send().await.unwrap().status().as_u16();
        let own = route.access == Access::Source("alertmanager");
        assert_eq!(
            status != 403,
            own,
            "{} {} as its source: {status}",
            route.method,
            route.path
        );
        let bare = world
            .http
            .request(route.method.parse().unwrap(), format!("{}{path}", world.url));
        assert_eq!(
            problem(bare.send().await.unwrap()).await,
            (401, "unauthenticated".to_owned())
        );
    }
}

#[tokio::test]
async fn a_token_ends_when_it_expires_or_is_revoked_and_a_changed_one_is_none() {
    let world = World::new().await;
    let holder = || Holder::Person("ada".to_owned());
    let new = NewToken {
        actor: "ada".to_owned(),
        role: Role::Viewer,
        holder: holder(),
        ttl_secs: Some(60),
    };
    let (short, _) = world.token_of("default", new.clone()).await;
    let (long, id) = world
        .token_of(
            "default",
            NewToken {
                ttl_secs: None,
                ..new
            },
        )
        .await;
    let status = async |token: &str| answer(world.get("/v1/plans", token)).await.0;
    assert_eq!((status(&short).await, status(&long).await), (200, 200));
    let other = if long.ends_with('A') { "B" } else { "A" };
    for bad in [
        &format!("{}{other}", &long[..long.len() - 1]),
        &long.replace("default", "other"),
        "",
        "cpl_default_x",
    ] {
        assert_eq!(status(bad).await, 401, "{bad}");
    }
    world.db.advance(Duration::from_secs(61)).await;
    assert_eq!((status(&short).await, status(&long).await), (401, 200));
    let mut tx = world.pool.begin(&tenant("default")).await.unwrap();
    let ctx = carapulse::domain::OpCtx::system("test", tenant("default"));
    identity::revoke(&mut tx, &ctx, id).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(status(&long).await, 401);
    assert_eq!(
        world
            .count("SELECT count(*) FROM token WHERE position(convert_to('cpl_', 'UTF8') IN secret_hash) > 0")
            .await,
        0
    );
}

#[tokio::test]
async fn what_belongs_to_another_tenant_does_not_exist() {
    let world = World::new().await;
    world.target("shop").await;
    let ada = world.token("ada", Role::Admin).await;
    let eve = world.token_in("other", "eve", Role::Admin).await;
    let body = json!({"target": "shop", "intent": "make everything better somehow"});
    let (status, plan) = answer(world.post("/v1/plans", &ada, &body)).await;
    assert_eq!(status, 201, "{plan}");
    let id = plan["plan_id"].as_str().unwrap();
    for path in [
        format!("/v1/plans/{id}"),
        format!("/v1/plans/{id}/diff"),
        "/v1/targets/shop".to_owned(),
    ] {
        assert_eq!(answer(world.get(&path, &ada)).await.0, 200, "{path}");
        assert_eq!(
            problem(world.get(&path, &eve).send().await.unwrap()).await.1,
            "not_found",
            "{path}"
        );
    }
    let (_, list) = answer(world.get("/v1/plans", &eve)).await;
    assert_eq!(list["data"], json!([]));
    let refused = world.post("/v1/plans", &eve, &body).send().await.unwrap();
    assert_eq!(problem(refused).await.1, "unknown_target");
    // A header that names a tenant or an actor changes nothing.
    let headers = world
        .get("/v1/plans", &eve)
        .header("X-Tenant-Id", "default")
        .header("X-Actor", "ada");
    assert_eq!(answer(headers).await.1["data"], json!([]));
}
