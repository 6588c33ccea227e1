//! Pages: by cursor and by offset.

use carapulse::domain::Role;
use serde_json::{Value, json};

use super::world::{World, answer, problem};

#[tokio::test]
async fn cursor_and_offset_pages_show_every_plan_once_and_cursors_stay_where_they_belong() {
    let world = World::new().await;
    world.target("shop").await;
    let ada = world.token("ada", Role::Operator).await;
    let mut made = Vec::new();
    for number in 0..5 {
        let body = json!({"target": "shop", "intent": format!("wish number {number}")});
        let (status, plan) = answer(world.post("/v1/plans", &ada, &body)).await;
        assert_eq!(status, 201);
        made.insert(0, plan["plan_id"].clone());
    }
    let ids = |page: &Value| -> Vec<Value> {
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["plan_id"].clone())
            .collect()
    };
    let mut seen = Vec::new();
    let mut path = "/v1/plans?limit=2".to_owned();
    let mut first_cursor = String::new();
    loop {
        let (status, page) = answer(world.get(&path, &ada)).await;
        assert_eq!(status, 200, "{page}");
        seen.extend(ids(&page));
        let Some(cursor) = page["pagination"]["next_cursor"].as_str() else {
            break;
        };
        if first_cursor.is_empty() {
            first_cursor = cursor.to_owned();
        }
        path = format!("/v1/plans?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, made);
    let (_, page) = answer(world.get("/v1/plans?limit=2&offset=1", &ada)).await;
    assert_eq!(ids(&page), made[1..3]);
    assert_eq!(
        (
            &page["pagination"]["total"],
            &page["pagination"]["total_is_exact"]
        ),
        (&json!(5), &json!(true))
    );

    let elsewhere = [
        format!("/v1/plans?status=draft&cursor={first_cursor}"),
        format!("/v1/executions?cursor={first_cursor}"),
    ];
    for path in elsewhere {
        assert_eq!(
            problem(world.get(&path, &ada).send().await.unwrap()).await.1,
            "invalid_cursor",
            "{path}"
        );
    }
    let eve = world.token_in("other", "eve", Role::Viewer).await;
    let foreign = world.get(&format!("/v1/plans?limit=2&cursor={first_cursor}"), &eve);
    assert_eq!(problem(foreign.send().await.unwrap()).await.1, "invalid_cursor");
}

/// One row more than a page is read, to know whether there is another: also beyond the largest page.
#[tokio::test]
async fn the_largest_page_says_whether_another_follows() {
    let world = World::new().await;
    world.target("shop").await;
    let ada = world.token("ada", Role::Operator).await;
    let wishes: Vec<Value> = (0..201)
        .map(|number| json!({"target": "shop", "intent": format!("wish number {number}")}))
        .collect();
    for some in wishes.chunks(16) {
        let made = some
            .iter()
            .map(|body| answer(world.post("/v1/plans", &ada, body)));
        for (status, plan) in futures::future::join_all(made).await {
            assert_eq!(status, 201, "{plan}");
        }
    }
    let (_, page) = answer(world.get("/v1/plans?limit=200", &ada)).await;
    assert_eq!(page["data"].as_array().map(Vec::len), Some(200));
    let cursor = page["pagination"]["next_cursor"]
        .as_str()
        .expect("one plan is left");
    let (_, last) = answer(world.get(&format!("/v1/plans?limit=200&cursor={cursor}"), &ada)).await;
    assert_eq!(last["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(last["pagination"], json!({"limit": 200}));
}
