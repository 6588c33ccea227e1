//! Bad input: each bad thing, and its problem.

use carapulse::domain::Role;
use serde_json::{Value, json};

use super::world::{World, problem};

#[tokio::test]
async fn each_bad_body_of_a_plan_has_its_problem() {
    let world = World::new().await;
    world.target("shop").await;
    let token = world.token("ada", Role::Operator).await;
    let step = |tool: &str, action: &str, args: Value| {
        json!({"target": "shop", "steps": [{"tool": tool, "action": action, "args": args}]}).to_string()
    };
    let scale = |resource: &str, replicas: Value| {
        let args = json!({"resource": resource, "replicas": replicas});
        step("kubectl", "scale", args)
    };
    let table: Vec<(String, u16, &str)> = vec![
        (r#"{"target": "shop""#.into(), 400, "malformed_json"),
        (String::new(), 400, "malformed_json"),
        ("\u{0}".into(), 400, "malformed_json"),
        ("[]".into(), 422, "wrong_type"),
        (
            r#"{"target": "shop", "intent": "x", "stepz": []}"#.into(),
            422,
            "unknown_field",
        ),
        (
            r#"{"target": "shop", "intent": "x", "target": "other"}"#.into(),
            422,
            "duplicate_key",
        ),
        (r#"{"target": 7, "intent": "x"}"#.into(), 422, "wrong_type"),
        (
            r#"{"target": "shop", "steps": [{"tool": "kubectl"}]}"#.into(),
            422,
            "missing_field",
        ),
        (
            r#"{"target": "shop", "steps": [{"tool": "kubectl", "action": "get", "shell": "rm"}]}"#.into(),
            422,
            "unknown_field",
        ),
        (r#"{"target": "shop"}"#.into(), 422, "invalid_value"),
        (
            r#"{"intent": "scale checkout to 3"}"#.into(),
            422,
            "missing_field",
        ),
        (
            r#"{"target": "elsewhere", "intent": "x"}"#.into(),
            422,
            "unknown_target",
        ),
        (
            r#"{"context": {"environment": "mars"}, "intent": "x"}"#.into(),
            422,
            "unknown_target",
        ),
        (
            r#"{"target": "shop", "trigger": "alert", "intent": "x"}"#.into(),
            422,
            "invalid_value",
        ),
        (step("kubectl", "exec", json!({})), 422, "unknown_action"),
        (
            step("bash", "run", json!({"command": "id"})),
            422,
            "unknown_action",
        ),
        (scale("--all", json!(4)), 422, "invalid_argument"),
        (scale("deployment/-x", json!(4)), 422, "invalid_argument"),
        (
            scale("deployment/checkout", json!("four")),
            422,
            "invalid_argument",
        ),
        (
            scale("deployment/checkout; rm -rf /", json!(4)),
            422,
            "invalid_argument",
        ),
        (
            json!({"target": "shop", "summary": "x".repeat(1 << 20), "intent": "x"}).to_string(),
            413,
            "body_too_large",
        ),
        ("x".repeat(5 << 20), 413, "body_too_large"),
    ];
    for (body, status, code) in table {
        let shown: String = body.chars().take(120).collect();
        let answered = problem(post_raw(&world, &token, body).await).await;
        assert_eq!(answered, (status, code.to_owned()), "{shown}");
    }
    assert_eq!(
        world.count("SELECT count(*) FROM plan").await,
        0,
        "none of it was stored"
    );
}

async fn post_raw(world: &World, token: &str, body: String) -> reqwest::Response {
    let request = world
        .http
        .post(format!("{}/v1/plans", world.url))
        .bearer_auth(token);
    let request = request.header("content-type", "application/json").body(body);
    request.send().await.unwrap()
}

#[tokio::test]
async fn each_bad_request_elsewhere_has_its_problem() {
    let world = World::new().await;
    let token = world.token("ada", Role::Admin).await;
    let source = world.token("alertmanager", Role::Source).await;
    let get = |path: &str| world.get(path, &token);
    let post = |path: &str, body: Value| world.post(path, &token, &body);
    let plan = "plan_00000000000000000000000000000001";
    let hook = |body: String| {
        let request = world
            .http
            .post(format!("{}/v1/hooks/alertmanager", world.url))
            .bearer_auth(&source);
        request.header("content-type", "application/json").body(body)
    };
    let form = world
        .http
        .post(format!("{}/v1/plans", world.url))
        .bearer_auth(&token);
    let form = form
        .header("content-type", "application/x-www-form-urlencoded")
        .body("a=b");
    let table = [
        (get("/v1/plans?limit=0"), 400, "invalid_request"),
        (get("/v1/plans?limit=x"), 400, "invalid_request"),
        (get("/v1/plans?color=red"), 400, "invalid_request"),
        (get("/v1/plans?cursor=abc"), 400, "invalid_cursor"),
        (get("/v1/plans?offset=10001"), 400, "offset_too_large"),
        (get("/v1/audit/events?from=yesterday"), 400, "invalid_request"),
        (get("/v1/plans/7"), 404, "not_found"),
        (get(&format!("/v1/plans/{plan}")), 404, "not_found"),
        (get("/v1/nothing"), 404, "not_found"),
        (
            post(&format!("/v1/plans/{plan}:execute"), json!({})),
            404,
            "not_found",
        ),
        (
            post(&format!("/v1/plans/{plan}:destroy"), json!({})),
            404,
            "not_found",
        ),
        (
            post("/v1/approvals", json!({"plan_id": plan, "status": "approved"})),
            422,
            "missing_field",
        ),
        (
            post("/v1/approvals", json!({"plan_id": plan, "status": "pending"})),
            422,
            "invalid_value",
        ),
        (post("/v1/freeze", json!({"frozen": true})), 422, "invalid_value"),
        (
            post("/v1/workflows/helm_release/start", json!({})),
            422,
            "workflow_unavailable",
        ),
        (post("/v1/workflows/dance/start", json!({})), 404, "not_found"),
        (
            post("/v1/plans", json!({})).header("Idempotency-Key", "a b"),
            400,
            "invalid_request",
        ),
        (form, 415, "unsupported_media_type"),
        (hook("{".into()), 400, "malformed_json"),
        (hook("[]".into()), 422, "invalid_delivery"),
        (
            hook(json!({"version": "3", "alerts": []}).to_string()),
            422,
            "invalid_delivery",
        ),
        (hook(" ".repeat((5 << 20) + 1)), 413, "body_too_large"),
    ];
    for (request, status, code) in table {
        let request = request.build().unwrap();
        let shown = format!("{} {}", request.method(), request.url());
        let response = world.http.execute(request).await.unwrap();
        assert_eq!(problem(response).await, (status, code.to_owned()), "{shown}");
    }
    let wrong = world
        .http
        .delete(format!("{}/v1/plans", world.url))
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    let mut allowed: Vec<_> = wrong.headers()["allow"].to_str().unwrap().split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
    assert_eq!(problem(wrong).await, (405, "method_not_allowed".to_owned()));
}

#[tokio::test]
async fn the_request_id_of_the_client_is_kept_when_it_is_sound() {
    let world = World::new().await;
    let sent = async |id: &'static str| {
        let response = world
            .get("/v1/plans", "none")
            .header("x-request-id", id)
            .send()
            .await
            .unwrap();
        response.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(sent("trace-7.a:b").await, "trace-7.a:b");
    assert!(sent("no spaces").await.starts_with("req_"));
}
