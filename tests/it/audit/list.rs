//! Pages: both orders, every filter, across tenants, in bounded time.

use carapulse::{
    audit::{self, Decision, Event, Filter, Order, Page},
    domain::{Actor, ExecutionId, OpCtx, PlanId, TenantId},
};
use serde_json::json;
use uuid::Uuid;

use super::{Log, ctx, record, tenant};

async fn page(log: &Log, filter: Filter, order: Order, after: Option<u64>, limit: u32) -> Vec<u64> {
    let mut tx = log.gateway.begin(&tenant()).await.unwrap();
    let events = audit::list(&mut tx, &filter, &Page { order, after, limit })
        .await
        .unwrap();
    events.into_iter().map(|event| event.position).collect()
}

#[tokio::test]
async fn pages_go_on_where_the_last_one_ended_in_both_orders() {
    let mut log = Log::new().await;
    log.record(7).await;
    log.sequence().await;
    log.record(1).await;
    let all = Filter::default;
    assert_eq!(page(&log, all(), Order::NewestFirst, None, 3).await, [6, 5, 4]);
    assert_eq!(page(&log, all(), Order::NewestFirst, Some(4), 3).await, [3, 2, 1]);
    assert_eq!(page(&log, all(), Order::NewestFirst, Some(1), 3).await, [0]);
    assert_eq!(page(&log, all(), Order::OldestFirst, None, 3).await, [0, 1, 2]);
    assert_eq!(
        page(&log, all(), Order::OldestFirst, Some(5), 3).await,
        [6],
        "what has no position is not shown"
    );
}

#[tokio::test]
async fn filters_are_joined_by_and() {
    let mut log = Log::new().await;
    let plan: PlanId = ctx().id();
    let execution: ExecutionId = ctx().id();
    record(
        &log.gateway,
        Event::new("plan.create", json!({}))
            .plan(plan)
            .decision(Decision::Allow),
    )
    .await;
    record(&log.gateway, Event::new("plan.create", json!({}))).await;
    record(
        &log.gateway,
        Event::new("plan.refuse", json!({}))
            .execution(execution)
            .decision(Decision::Deny),
    )
    .await;
    record(
        &log.gateway,
        Event::new("plan.refuse", json!({}))
            .plan(plan)
            .execution(execution),
    )
    .await;
    log.sequence().await;
    for (filter, expected) in filters(plan, execution) {
        assert_eq!(
            page(&log, filter.clone(), Order::NewestFirst, None, 10).await,
            expected,
            "{filter:?}"
        );
        let forward: Vec<u64> = expected.into_iter().rev().collect();
        assert_eq!(
            page(&log, filter.clone(), Order::OldestFirst, None, 10).await,
            forward,
            "{filter:?}"
        );
    }
}

#[tokio::test]
async fn a_range_of_times_leaves_nothing_out() {
    let mut log = Log::new().await;
    log.record(3).await;
    log.sequence().await;
    log.record(3).await;
    log.sequence().await;
    // The first three an hour ago, their checkpoint too; the rest two hours later than that.
    log.tamper(
            "UPDATE audit_event SET recorded_at = recorded_at - interval '1 hour' WHERE position < 3;
             UPDATE checkpoint SET signed_at = signed_at - interval '1 hour', newest_recorded_at = newest_recorded_at - interval '1 hour' WHERE size = 3",
        )
        .await;
    let now = ctx().now();
    let half_an_hour_ago = now - chrono::Duration::minutes(30);
    let past = Filter {
        to: Some(half_an_hour_ago),
        ..Filter::default()
    };
    assert_eq!(page(&log, past, Order::NewestFirst, None, 10).await, [2, 1, 0]);
    let recent = Filter {
        from: Some(half_an_hour_ago),
        ..Filter::default()
    };
    assert_eq!(page(&log, recent, Order::NewestFirst, None, 10).await, [5, 4, 3]);
    let both = Filter {
        from: Some(now - chrono::Duration::hours(2)),
        to: Some(now),
        ..Filter::default()
    };
    assert_eq!(
        page(&log, both, Order::OldestFirst, None, 10).await,
        [0, 1, 2, 3, 4, 5]
    );
}

#[tokio::test]
async fn a_tenant_sees_its_own_events_only() {
    let mut log = Log::new().await;
    log.tamper("INSERT INTO tenant (tenant_id) VALUES ('other')")
        .await;
    let other: TenantId = "other".parse().unwrap();
    let their = OpCtx::new(Actor::system("test"), other.clone(), "r");
    let mut tx = log.gateway.begin(&other).await.unwrap();
    audit::record(
        &mut tx,
        &their,
        Event::new("theirs", json!({})).subject(Uuid::nil()),
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    log.record(1).await;
    log.sequence().await;
    assert_eq!(
        page(&log, Filter::default(), Order::NewestFirst, None, 10).await,
        [1]
    );
    let mut tx = log.gateway.begin(&other).await.unwrap();
    let theirs = audit::events_after(&mut tx, None, 10).await.unwrap();
    assert_eq!(theirs.iter().map(|event| event.position).collect::<Vec<_>>(), [0]);
    let keys = [log.sequencer.verifier().clone()];
    let report = audit::verify::verify_log(&log.gateway, &keys, &[]).await.unwrap();
    assert_eq!(
        (report.fault, report.size),
        (None, 2),
        "verification covers all tenants"
    );
}

/// Filters, and the positions that they leave, newest first.
fn filters(plan: PlanId, execution: ExecutionId) -> Vec<(Filter, Vec<u64>)> {
    vec![
        (
            Filter {
                action: Some("plan.create".to_owned()),
                ..Filter::default()
            },
            vec![1, 0],
        ),
        (
            Filter {
                actor: Some("system:test".to_owned()),
                ..Filter::default()
            },
            vec![3, 2, 1, 0],
        ),
        (
            Filter {
                actor: Some("nobody".to_owned()),
                ..Filter::default()
            },
            vec![],
        ),
        (
            Filter {
                decision: Some(Decision::Deny),
                ..Filter::default()
            },
            vec![2],
        ),
        (
            Filter {
                decision: Some(Decision::None),
                ..Filter::default()
            },
            vec![3, 1],
        ),
        (
            Filter {
                plan_id: Some(plan),
                ..Filter::default()
            },
            vec![3, 0],
        ),
        (
            Filter {
                execution_id: Some(execution),
                ..Filter::default()
            },
            vec![3, 2],
        ),
        (
            Filter {
                execution_id: Some(execution),
                plan_id: Some(plan),
                ..Filter::default()
            },
            vec![3],
        ),
        (
            Filter {
                action: Some("plan.create".to_owned()),
                decision: Some(Decision::Allow),
                ..Filter::default()
            },
            vec![0],
        ),
    ]
}
