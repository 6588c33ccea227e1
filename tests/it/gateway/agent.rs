//! Slack's commands, signed, through the agent to a real gateway.

use std::sync::Arc;

use carapulse::{
    agent::{self, Settings, signature},
    domain::{Clock as _, Role, SystemClock},
    gateway::identity::{Holder, NewToken},
};
use secrecy::SecretString;

use super::world::World;

#[tokio::test]
async fn a_signed_command_asks_once_and_an_unsigned_one_never() {
    let world = World::new().await;
    world.target("shop").await;
    let holder = Holder::Service {
        owner: "ada".to_owned(),
    };
    let new = NewToken {
        actor: "slack".to_owned(),
        role: Role::Operator,
        holder,
        ttl_secs: None,
    };
    let (token, _) = world.token_of("default", new).await;
    let secret = SecretString::from("shared".to_owned());
    let settings = Settings {
        gateway_url: world.url.clone(),
        token: SecretString::from(token).into(),
        signing_secret: secret.clone().into(),
        default_target: Some("shop".to_owned()),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/slack/commands", listener.local_addr().unwrap());
    let routes = agent::routes(settings, Arc::new(SystemClock)).unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });

    let send = async |text: &str, secret: &SecretString| {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("text", text)
            .finish();
        let timestamp = SystemClock.now().timestamp().to_string();
        let request = world.http.post(&url).header(
            "x-slack-signature",
            signature::sign(secret, &timestamp, body.as_bytes()),
        );
        let response = request
            .header("x-slack-request-timestamp", timestamp)
            .body(body)
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let plans = "SELECT count(*) FROM plan";
    assert_eq!(
        send("plan scale checkout to 5", &"other".to_owned().into())
            .await
            .0,
        401
    );
    assert_eq!(world.count(plans).await, 0);
    let (status, text) = send("plan scale checkout to 5", &secret).await;
    assert_eq!(status, 200);
    assert!(
        text.starts_with("Plan plan_") && text.contains("pending_approval"),
        "{text}"
    );
    assert_eq!(
        send("plan scale checkout to 5", &secret).await.1,
        "This command was taken already."
    );
    assert_eq!(world.count(plans).await, 1);
    let id = text.split_whitespace().nth(1).unwrap();
    let (status, said) = send(&format!("status {id}"), &secret).await;
    assert_eq!((status, said), (200, format!("{id} is pending_approval")));
    let (status, said) = send(&format!("approve {id}"), &secret).await;
    assert_eq!(status, 200);
    assert!(said.contains("Usage"), "{said}");
    let oversize = world
        .http
        .post(&url)
        .body("x".repeat(100_000))
        .send()
        .await
        .unwrap();
    assert_eq!(oversize.status().as_u16(), 413);
}
