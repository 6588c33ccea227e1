//! The HTTP face of the role.

use std::sync::Arc;

use carapulse::{
    domain::{
        Rotating,
        plan::Args,
        run::{AttemptStatus, Direction, ProbeReport},
    },
    tools::{Client, ReadError, server},
};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::World;
use crate::approved::COMMIT;

const TOKEN: &str = "a-service-token-of-the-test";

#[expect(clippy::disallowed_methods, reason = "a test's own server")]
fn serve(
    listener: tokio::net::TcpListener,
    routes: axum::Router,
) -> tokio::task::JoinHandle<std::io::Result<()>> {
    tokio::spawn(async move { axum::serve(listener, routes).await })
}

#[tokio::test]
async fn the_role_s_http_face_takes_only_names_and_only_with_the_token() {
    let mut world = World::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
    let base = format!("http://{}/", listener.local_addr().expect("address"));
    let routes = server::routes(Arc::clone(&world.router), SecretString::from(TOKEN));
    let serving = serve(listener, routes);
    let client = Client::remote(base.parse().expect("URL"), SecretString::from(TOKEN)).expect("client");
    let target = world.it.target.target_id;
    // The caller's token has been rotated already: where the router does not know the new one, it shows the old one.
    let rotated = Rotating::new(SecretString::from(TOKEN));
    rotated.replace(SecretString::from("the-next-token"));
    let ahead = Client::remote(base.parse().expect("URL"), rotated).expect("client");
    let read = ahead
        .read(&world.it.ctx, target, "git", "head", &Args::new())
        .await;
    assert_eq!(read.expect("head").value[0]["commit"], json!(world.bad));
    let stranger = Client::remote(base.parse().expect("URL"), SecretString::from("x")).expect("client");
    let read = stranger
        .read(&world.it.ctx, target, "git", "head", &Args::new())
        .await;
    assert!(matches!(read, Err(ReadError::Unavailable(_))), "{read:?}");
    let head = client
        .read(&world.it.ctx, target, "git", "head", &Args::new())
        .await
        .expect("head");
    assert_eq!(head.value[0]["commit"], json!(world.bad));
    let revert = serde_json::from_value(json!({ "commit": world.bad })).expect("args");
    assert_eq!(
        client.read(&world.it.ctx, target, "git", "revert", &revert).await,
        Err(ReadError::NotARead)
    );
    let act = world.it.intend(0, Direction::Forward, 1).await;
    assert_eq!(client.probe(&act).await.expect("probe"), ProbeReport::NotStarted);
    assert_eq!(
        client.act(&act).await.expect("report").status,
        AttemptStatus::Done
    );
    assert_eq!(client.probe(&act).await.expect("probe"), ProbeReport::Done);

    let http = reqwest::Client::builder().no_proxy().build().expect("client");
    let execute = format!("{base}v1/tools:execute");
    let described = json!({ "execution_id": act.execution_id, "tenant_id": "default", "step": 0, "direction": "forward",
        "attempt": 1, "epoch": 1, "tool": "git", "args": {"commit": COMMIT} });
    for (token, body, status) in [
        ("wrong", described.to_string(), 401),
        ("", described.to_string(), 401),
        (TOKEN, "{".to_owned(), 400),
        // Which of the two would be believed? Neither.
        (TOKEN, json!(act).to_string().replacen("\"step\":0", "\"step\":1,\"step\":0", 1), 422),
        (TOKEN, format!(r#"{{"tenant_id":"default","target_id":"{target}","tool":"git","action":"log","args":{{"path":"a","path":"b"}}}}"#), 422),
        (TOKEN, described.to_string(), 422),
        (TOKEN, json!({ "tenant_id": "default", "target_id": target, "tool": "git", "action": "head", "actor": "x" }).to_string(), 422),
        (TOKEN, json!({ "tenant_id": "default", "target_id": target, "tool": "git", "action": "push" }).to_string(), 422),
        (TOKEN, format!("\"{}\"", "x".repeat(300_000)), 413),
    ] {
        let answer = http.post(&execute).bearer_auth(token).body(body).send().await.expect("answer");
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    let listed = http
        .get(format!("{base}v1/tools"))
        .bearer_auth(TOKEN)
        .send()
        .await
        .expect("answer");
    let listed: Value = serde_json::from_str(&listed.text().await.expect("text")).expect("JSON");
    assert_eq!(listed["tools"][0]["tool"], "git");
    serving.abort();
}
