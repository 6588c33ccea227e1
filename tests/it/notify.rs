//! Messages to people, against a receiver of the test's own.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, routing::post};
use carapulse::{
    domain::{Actor, NotificationId, OpCtx, TenantId},
    notify::{self, Courier, Kind, MAX_ATTEMPTS, Notification, Receiver, Severity},
    store::{Db, DbRole},
};
use serde_json::{Value, json};
use url::Url;

use crate::harness::TestDb;

/// One request: its `Authorization` header and its body.
type Seen = (Option<String>, Value);

/// What a receiver saw, and what it answers.
#[derive(Clone)]
struct Desk {
    seen: Arc<Mutex<Vec<Seen>>>,
    answers: Arc<Mutex<Vec<StatusCode>>>,
}

impl Desk {
    /// Serves on a free port; answers `answers` in turn, then 202.
    async fn open(answers: &[StatusCode]) -> (Self, Url) {
        let desk = Self {
            seen: Arc::default(),
            answers: Arc::new(Mutex::new(answers.to_vec())),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let router = Router::new()
            .route("/hook", post(Self::take))
            .with_state(desk.clone());
        let serving = async move { axum::serve(listener, router).await };
        #[expect(clippy::disallowed_methods, reason = "a test's own server")]
        tokio::spawn(serving);
        (desk, url)
    }

    async fn take(
        State(desk): State<Self>,
        headers: axum::http::HeaderMap,
        body: axum::Json<Value>,
    ) -> StatusCode {
        let bearer = headers
            .get("authorization")
            .map(|value| value.to_str().unwrap().to_owned());
        desk.seen.lock().unwrap().push((bearer, body.0));
        let mut answers = desk.answers.lock().unwrap();
        if answers.is_empty() {
            StatusCode::ACCEPTED
        } else {
            answers.remove(0)
        }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn ctx() -> OpCtx {
    let tenant: TenantId = "default".parse().unwrap();
    OpCtx::new(Actor::system("test"), tenant, "request-1")
}

async fn send(db: &Db, key: &str) -> Option<NotificationId> {
    let mut tx = db.begin(&ctx().tenant).await.unwrap();
    let notification = Notification {
        kind: Kind::NeedsAttention,
        severity: Severity::Page,
        subject: "step 2 of plan_… is unknown".to_owned(),
        body: json!({"execution": "exec_1"}),
        dedupe_key: key.to_owned(),
    };
    let id = notify::send(&mut tx, &ctx(), notification).await.unwrap();
    tx.commit().await.unwrap();
    id
}

/// The one row's status, attempts, last error, and whether it has a time of delivery.
async fn status(db: &Db) -> String {
    let mut tx = db.begin(&ctx().tenant).await.unwrap();
    sqlx::query_scalar(
        "SELECT status || ' ' || attempts || ' ' || coalesce(last_error, '-') || ' ' || (delivered_at IS NOT NULL) FROM notification",
    )
    .fetch_one(&mut *tx)
    .await
    .unwrap()
}

async fn jobs(db: &Db) -> i64 {
    let mut tx = db.begin_global().await.unwrap();
    sqlx::query_scalar("SELECT count(*) FROM job WHERE kind = 'notify'")
        .fetch_one(&mut *tx)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_webhook_is_delivered_once_with_its_token() {
    let db = TestDb::new().await;
    let (gateway, worker) = (
        db.as_role(DbRole::Gateway).await,
        db.as_role(DbRole::Orchestrator).await,
    );
    let (desk, url) = Desk::open(&[]).await;
    let courier = Courier::new(Some(Receiver::Webhook {
        url,
        token: Some("s3cret".to_owned().into()),
    }));
    let id = send(&gateway, "k1").await.unwrap();
    assert_eq!(send(&gateway, "k1").await, None, "the same key is sent once");
    assert!(courier.deliver_due(&worker, ctx().id()).await.unwrap());
    assert!(!courier.deliver_due(&worker, ctx().id()).await.unwrap());
    let seen = desk.seen();
    assert_eq!(seen.len(), 1);
    let (bearer, body) = &seen[0];
    assert_eq!(bearer.as_deref(), Some("Bearer s3cret"));
    assert_eq!(body["notification_id"], id.to_string());
    assert_eq!(
        (&body["kind"], &body["dedupe_key"]),
        (&json!("needs_attention"), &json!("k1"))
    );
    assert_eq!(body["body"], json!({"execution": "exec_1"}));
    assert_eq!(status(&worker).await, "delivered 1 - true");
    assert_eq!(jobs(&worker).await, 0);
}

#[tokio::test]
async fn a_message_of_a_rolled_back_change_is_not_sent() {
    let db = TestDb::new().await;
    let (gateway, worker) = (
        db.as_role(DbRole::Gateway).await,
        db.as_role(DbRole::Orchestrator).await,
    );
    let mut tx = gateway.begin(&ctx().tenant).await.unwrap();
    let notification = Notification {
        kind: Kind::Finished,
        severity: Severity::Info,
        subject: "s".to_owned(),
        body: json!({}),
        dedupe_key: "k".to_owned(),
    };
    notify::send(&mut tx, &ctx(), notification).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(jobs(&worker).await, 0);
}

#[tokio::test]
async fn pagerduty_gets_its_own_form_and_a_refused_message_is_not_repeated() {
    let db = TestDb::new().await;
    let (gateway, worker) = (
        db.as_role(DbRole::Gateway).await,
        db.as_role(DbRole::Orchestrator).await,
    );
    let (desk, url) = Desk::open(&[StatusCode::BAD_REQUEST]).await;
    let courier = Courier::new(Some(Receiver::PagerDuty {
        url,
        routing_key: "R0UT1NG".to_owned().into(),
    }));
    send(&gateway, "k1").await.unwrap();
    assert!(courier.deliver_due(&worker, ctx().id()).await.unwrap());
    let (_, event) = desk.seen().remove(0);
    assert_eq!(event["routing_key"], "R0UT1NG");
    assert_eq!(event["event_action"], "trigger");
    assert_eq!(event["dedup_key"], "default/k1");
    assert_eq!(event["payload"]["summary"], "step 2 of plan_… is unknown");
    assert_eq!(event["payload"]["severity"], "critical");
    assert_eq!(event["payload"]["source"], "carapulse/default");
    assert_eq!(
        status(&worker).await,
        "failed 1 the receiver answered 400 Bad Request false"
    );
    assert_eq!(jobs(&worker).await, 0);
}

#[tokio::test]
async fn a_failing_receiver_is_tried_again_later_and_given_up_in_the_end() {
    let db = TestDb::new().await;
    let (gateway, worker) = (
        db.as_role(DbRole::Gateway).await,
        db.as_role(DbRole::Orchestrator).await,
    );
    let answers = [StatusCode::SERVICE_UNAVAILABLE; 20];
    let (desk, url) = Desk::open(&answers).await;
    let courier = Courier::new(Some(Receiver::Webhook { url, token: None }));
    send(&gateway, "k1").await.unwrap();
    for attempt in 1..=MAX_ATTEMPTS {
        assert!(
            courier.deliver_due(&worker, ctx().id()).await.unwrap(),
            "attempt {attempt}"
        );
        assert!(
            !courier.deliver_due(&worker, ctx().id()).await.unwrap(),
            "not again before its time"
        );
        let expected = if attempt < MAX_ATTEMPTS {
            "pending"
        } else {
            "failed"
        };
        assert!(
            status(&worker)
                .await
                .starts_with(&format!("{expected} {attempt} the receiver answered 503"))
        );
        db.advance(Duration::from_secs(1000)).await;
    }
    assert!(!courier.deliver_due(&worker, ctx().id()).await.unwrap());
    assert_eq!(desk.seen().len(), usize::try_from(MAX_ATTEMPTS).unwrap());
    assert_eq!(jobs(&worker).await, 0);
}

#[tokio::test]
async fn a_receiver_that_comes_back_gets_the_message() {
    let db = TestDb::new().await;
    let (gateway, worker) = (
        db.as_role(DbRole::Gateway).await,
        db.as_role(DbRole::Orchestrator).await,
    );
    let (_desk, url) = Desk::open(&[StatusCode::TOO_MANY_REQUESTS]).await;
    let courier = Courier::new(Some(Receiver::Webhook { url, token: None }));
    send(&gateway, "k1").await.unwrap();
    assert!(courier.deliver_due(&worker, ctx().id()).await.unwrap());
    db.advance(Duration::from_secs(6)).await;
    assert!(courier.deliver_due(&worker, ctx().id()).await.unwrap());
    assert_eq!(status(&worker).await, "delivered 2 - true");
}

#[tokio::test]
async fn without_a_receiver_the_row_says_so() {
    let db = TestDb::new().await;
    let (gateway, worker) = (
        db.as_role(DbRole::Gateway).await,
        db.as_role(DbRole::Orchestrator).await,
    );
    send(&gateway, "k1").await.unwrap();
    assert!(
        Courier::new(None::<Receiver>)
            .deliver_due(&worker, ctx().id())
            .await
            .unwrap()
    );
    assert_eq!(status(&worker).await, "unconfigured 1 - false");
    assert_eq!(jobs(&worker).await, 0);
}
