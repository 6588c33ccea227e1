//! The gateway as a process of its own, asked over HTTP as clients do: its processor time is its own.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::Context as _;
use axum::{Json, Router, body::Bytes, routing::post};
use carapulse::domain::{Digest, PlanId};
use serde_json::{Value, json};

use crate::{
    http::Clients,
    limits::Limits,
    measure::{Effort, Meter, Rate, rate},
    process::Serving,
    server::{Database, Folder},
    stages,
    table::{Line, Reach, Table},
    world::{World, workload},
};

/// A gateway and connections to it.
pub struct Asked {
    serving: Serving,
    clients: Arc<Clients>,
    token: String,
}

impl Asked {
    /// Starts a gateway whose tool-router answers every read at once.
    pub async fn start(database: &Database, folder: &Folder, world: &World) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let router = listener.local_addr()?.port();
        let routes = Router::new().route("/v1/tools:execute", post(|| async { Json(read_answer()) }));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let mut serving = Serving::start(database, folder.path(), &["gateway"], Some(router))?;
        serving.ready().await?;
        Ok(Self {
            clients: Arc::new(Clients::connect(serving.port, 16).await?),
            token: world.operator_token.clone(),
            serving,
        })
    }

    async fn get(&self, effort: Effort, paths: Vec<String>) -> anyhow::Result<Rate> {
        let (clients, token, paths) = (Arc::clone(&self.clients), self.token.clone(), Arc::new(paths));
        rate(
            effort,
            16,
            Meter::Child(self.serving.pid()),
            move |worker, number| {
                let (clients, token, paths) = (Arc::clone(&clients), token.clone(), Arc::clone(&paths));
                async move {
                    let path = &paths[usize::try_from(number)? % paths.len()];
                    clients.get(worker, path, Some(&token)).await.map(drop)
                }
            },
        )
        .await
    }

    async fn post(
        &self,
        effort: Effort,
        path: &'static str,
        token: &str,
        body: impl Fn(u64) -> Bytes + Send + Sync + 'static,
    ) -> anyhow::Result<Rate> {
        let (clients, token, body) = (Arc::clone(&self.clients), token.to_owned(), Arc::new(body));
        rate(
            effort,
            16,
            Meter::Child(self.serving.pid()),
            move |worker, number| {
                let (clients, token, body) = (Arc::clone(&clients), token.clone(), Arc::clone(&body));
                async move { clients.post(worker, path, &token, body(number)).await.map(drop) }
            },
        )
        .await
    }

    /// The path of the page after the first of `path`.
    async fn second(&self, path: &str) -> anyhow::Result<String> {
        let first: Value = serde_json::from_slice(&self.clients.get(0, path, Some(&self.token)).await?)?;
        let cursor = first["pagination"]["next_cursor"]
            .as_str()
            .context("there is a second page")?;
        Ok(format!("{path}&cursor={cursor}"))
    }

    /// GET of one plan among many.
    pub async fn plan(
        &self,
        effort: Effort,
        ids: &[PlanId],
        limits: &Limits,
        rows: i64,
        table: &mut Table,
    ) -> anyhow::Result<()> {
        let paths = ids.iter().map(|id| format!("/v1/plans/{id}")).collect();
        let read = self.get(effort, paths).await?;
        let name = format!("GET plan, {} k plans, c=16", rows / 1000);
        let line = Line::rate(name, &read).limit("indexed select", limits.select_per_sec);
        // Ten times what the one before it did on a machine like this.
        table.add(
            line.reach(Reach::AtLeast(9420.0))
                .note(format!("echo {:.1} k/s", limits.echo_per_sec / 1000.0)),
        );
        table.add(cpu("GET plan: gateway CPU", &read, 60.0));
        Ok(())
    }

    /// Pages of 50 plans. Answers the rate of the first.
    pub async fn plans(
        &self,
        effort: Effort,
        limits: &Limits,
        rows: i64,
        table: &mut Table,
    ) -> anyhow::Result<f64> {
        let path = "/v1/plans?limit=50".to_owned();
        let listed = self.get(effort, vec![path.clone()]).await?;
        let name = format!("list 50 plans, {} k plans, c=16", rows / 1000);
        table.add(Line::rate(name, &listed).limit("plain page of 50", limits.page_per_sec));
        table.add(cpu(
            &format!("list 50 plans, {} k: gateway CPU", rows / 1000),
            &listed,
            150.0,
        ));
        let second = self.get(effort, vec![self.second(&path).await?]).await?;
        let name = format!("list 50 plans by cursor, {} k plans, c=16", rows / 1000);
        table.add(Line::rate(name, &second).limit("plain page of 50", limits.page_per_sec));
        Ok(listed.per_sec)
    }

    /// POST of a plan that writes: reads, policy, approval request, audit, answer.
    pub async fn create(&self, effort: Effort, limits: &Limits, table: &mut Table) -> anyhow::Result<()> {
        let body = json!({"target": "shop", "summary": "more room", "intent": {"kind": "scale", "service": "checkout", "replicas": 5}});
        let body = Bytes::from(body.to_string());
        let made = self
            .post(effort, "/v1/plans", &self.token, move |_| body.clone())
            .await?;
        table.add(
            Line::rate("POST plan, write, with policy, c=16", &made)
                .limit("fsync insert", limits.insert_per_sec)
                .reach(Reach::Share(0.25)),
        );
        Ok(())
    }

    /// Pages of 50 events.
    pub async fn events(
        &self,
        effort: Effort,
        limits: &Limits,
        rows: i64,
        table: &mut Table,
    ) -> anyhow::Result<()> {
        let path = "/v1/audit/events?limit=50";
        for (name, path) in [
            ("audit page of 50", path.to_owned()),
            ("audit page of 50 by cursor", self.second(path).await?),
            (
                "audit page of 50, rare action",
                format!("{path}&action=bench.rare"),
            ),
        ] {
            let listed = self.get(effort, vec![path]).await?;
            let line = Line::rate(format!("{name}, {} k events, c=16", rows / 1000), &listed);
            table.add(line.limit("plain page of 50", limits.page_per_sec));
        }
        Ok(())
    }

    /// Webhook deliveries, answered after their commit.
    pub async fn alerts(&self, effort: Effort, world: &World, table: &mut Table) -> anyhow::Result<()> {
        let at = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&at);
        let token = &world.source_token;
        let taken = self
            .post(effort, "/v1/hooks/alertmanager", token, move |number| {
                counted.fetch_add(1, Ordering::Relaxed);
                // Other alerts than those that went in without HTTP.
                stages::delivery(number + (1 << 24))
            })
            .await?;
        let alerts = f64::from(u32::try_from(stages::ALERTS)?);
        let line = Line::new("intake: alerts over HTTP, c=16", taken.per_sec * alerts, "/s")
            .reach(Reach::AtLeast(2000.0));
        let spent = taken.cpu_us.unwrap_or_default() / alerts;
        table.add(line.note(format!(
            "gateway CPU {spent:.1} µs an alert, {} deliveries",
            at.load(Ordering::Relaxed)
        )));
        Ok(())
    }
}

fn cpu(name: &str, rate: &Rate, most: f64) -> Line {
    Line::new(name, rate.cpu_us.unwrap_or_default(), "µs").reach(Reach::AtMost(most))
}

fn read_answer() -> Value {
    json!({"value": workload(), "text": "", "digest": Digest::of_content(b"")})
}
