//! The incident: alert, finding, plan, decision, approval, fix, measured recovery, evidence.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::{Demo, api::text, children::Process, screen::Screen, setup, setup::Stage};
use crate::{audit::bundle::verify_bundle, cli::Exit};

const LONG: Duration = Duration::from_secs(60);
const TERMINAL: [&str; 5] = [
    "succeeded",
    "failed",
    "rolled_back",
    "rollback_failed",
    "cancelled",
];

/// Plays it from the set-up to the audit.
pub(super) async fn play(demo: &Demo) -> anyhow::Result<Exit> {
    let mut screen = Screen::new();
    screen.chapter("Setting the stage");
    let mut stage = setup::set(demo, &mut screen).await?;
    screen.chapter("An alert fires");
    let incident = alert(&stage, &mut screen).await?;
    screen.chapter("Looking, and finding the cause by rules (no model)");
    let plan = finding(&stage, &mut screen, &incident).await?;
    screen.chapter("The plan that waits for approval");
    let digest = show_plan(&stage, &mut screen, &plan).await?;
    screen.chapter("Approval, by a second person, of exactly these bytes");
    approve(&stage, &mut screen, &plan, &digest).await?;
    screen.chapter("The fix");
    let (execution, status) = execute(demo, &mut stage, &mut screen, &plan).await?;
    screen.chapter("Evidence that needs no server");
    evidence(&stage, &mut screen, &execution).await?;
    screen.finish();
    let expected = if demo.fail_verify {
        "rolled_back"
    } else {
        "succeeded"
    };
    if status != expected {
        bail!(
            "the execution ended `{status}`, expected `{expected}`; logs are in {}",
            stage.dir.display()
        );
    }
    screen.say(format!(
        "\nDone in {:.1} s: {status}.",
        screen.elapsed().as_secs_f64()
    ));
    if demo.keep {
        keep(&mut stage, &screen).await?;
    }
    close(stage).await?;
    Ok(Exit::Ok)
}

async fn alert(stage: &Stage, screen: &mut Screen) -> anyhow::Result<String> {
    let labels = json!({"alertname": "CheckoutHighErrorRate", "service": "checkout", "namespace": "shop", "severity": "critical"});
    let body = json!({
        "version": "4",
        "groupKey": "{}:{alertname=\"CheckoutHighErrorRate\"}",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "carapulse",
        "groupLabels": {"alertname": "CheckoutHighErrorRate"},
        "commonLabels": labels,
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example:9093",
        "alerts": [{
            "status": "firing",
            "labels": labels,
            "annotations": {"summary": "More than 5 % of checkout's requests fail"},
            "startsAt": stage.story.alert_at,
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus.example:9090/graph",
            "fingerprint": "5f2c1a9e0b7d4c31",
        }],
    });
    let accepted = stage.alertmanager.post("/v1/hooks/alertmanager", &body).await?;
    screen.event(format!(
        "alert CheckoutHighErrorRate received ({})",
        text(&accepted, "/event_id")
    ));
    screen.say(format!(
        "checkout fails {} of its requests",
        stage.world.error_ratio()?
    ));
    stage
        .ada
        .until("/v1/incidents", LONG, |list| {
            Some(list.pointer("/data/0/incident_id")?.as_str()?.to_owned())
        })
        .await
}

async fn finding(stage: &Stage, screen: &mut Screen, incident: &str) -> anyhow::Result<String> {
    let path = format!("/v1/incidents/{incident}");
    let seen = stage
        .ada
        .until(&path, LONG, |body| {
            let stage = text(body, "/stage");
            ["requested", "escalated", "done", "suppressed"]
                .contains(&stage.as_str())
                .then(|| body.clone())
        })
        .await?;
    let diagnosis = seen.pointer("/diagnoses/0").cloned().unwrap_or_default();
    let findings = ["/findings", "/body/findings", "/diagnosis/findings"];
    let findings = findings
        .iter()
        .find_map(|p| diagnosis.pointer(p)?.as_array())
        .cloned()
        .unwrap_or_default();
    for found in &findings {
        screen.say(format!(
            "{} ({} % sure): {}",
            text(found, "/rule"),
            text(found, "/confidence"),
            text(found, "/title")
        ));
        for evidence in found
            .pointer("/evidence")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .take(4)
        {
            screen.say(format!(
                "  - {}: {}",
                text(evidence, "/source"),
                text(evidence, "/excerpt")
            ));
        }
    }
    screen.event("diagnosis: known cause, with evidence");
    let stage_now = text(&seen, "/stage");
    let plan = text(&seen, "/plans/0");
    if stage_now != "requested" || plan.is_empty() {
        let told = stage.ada.get("/v1/notifications").await?;
        bail!(
            "the investigation ended `{stage_now}` without a plan: {}",
            text(&told, "/data/0/subject")
        );
    }
    Ok(plan)
}

async fn show_plan(stage: &Stage, screen: &mut Screen, plan: &str) -> anyhow::Result<String> {
    let body = stage.ada.get(&format!("/v1/plans/{plan}")).await?;
    screen.say(text(&body, "/summary"));
    for step in body
        .pointer("/steps")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let rollback = format!(
            "{}.{}",
            text(step, "/rollback/tool"),
            text(step, "/rollback/action")
        );
        screen.say(format!(
            "step {} [{}] {}.{} {} (risk {}, undone by {rollback})",
            text(step, "/ordinal"),
            text(step, "/stage"),
            text(step, "/tool"),
            text(step, "/action"),
            text(step, "/input"),
            text(step, "/risk_level"),
        ));
    }
    for assertion in body
        .pointer("/verification/assertions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let parts = ["/name", "/op", "/value"].map(|p| text(assertion, p));
        screen.say(format!("success: {} ({} {})", parts[0], parts[1], parts[2]));
    }
    let digest = text(&body, "/digest");
    let asks = format!(
        "policy: approval required (risk {}, tier {})",
        text(&body, "/risk_level"),
        text(&body, "/tier")
    );
    screen.event(format!("plan {plan} drafted and checked; {asks}"));
    screen.say(format!("digest {digest}"));
    Ok(digest)
}

async fn approve(stage: &Stage, screen: &mut Screen, plan: &str, digest: &str) -> anyhow::Result<()> {
    let decision = |digest: &str| json!({"plan_id": plan, "digest": digest, "status": "approved", "approver_note": "revert it"});
    let other = format!("sha256:{}", "0".repeat(64));
    let (status, refused) = stage.grace.try_post("/v1/approvals", &decision(&other)).await?;
    screen.say(format!(
        "with another digest: refused ({status} {})",
        text(&refused, "/title")
    ));
    if status < 400 {
        bail!("an approval of other bytes was accepted");
    }
    stage.grace.post("/v1/approvals", &decision(digest)).await?;
    screen.event("approved by grace, signed with the gateway's key");
    Ok(())
}

async fn execute(
    demo: &Demo,
    stage: &mut Stage,
    screen: &mut Screen,
    plan: &str,
) -> anyhow::Result<(String, String)> {
    let started = stage
        .ada
        .post(&format!("/v1/plans/{plan}:execute"), &json!({}))
        .await?;
    let execution = text(&started, "/execution_id");
    screen.event(format!("execution {execution} started by ada"));
    if demo.kill {
        kill(stage, screen, &execution).await?;
    }
    let path = format!("/v1/executions/{execution}");
    let done = |body: &Value| {
        let status = text(body, "/status");
        (TERMINAL.contains(&status.as_str()) || status == "needs_attention").then_some(status)
    };
    let status = stage.ada.until(&path, LONG, done).await?;
    let steps = stage.ada.get(&format!("{path}/steps")).await?;
    let steps = steps
        .as_array()
        .or_else(|| steps.pointer("/data")?.as_array())
        .cloned()
        .unwrap_or_default();
    for step in &steps {
        let undone = step
            .pointer("/rollback_status")
            .map(|s| format!(", rollback {s}"))
            .unwrap_or_default();
        let parts = ["/tool", "/action", "/status", "/attempts"].map(|p| text(step, p));
        screen.say(format!(
            "{}.{}: {} after {} attempt(s){undone}",
            parts[0], parts[1], parts[2], parts[3]
        ));
    }
    for revision in stage.story.revisions()?.iter().take(2).rev() {
        screen.say(format!("main: {} {}", &revision.commit[..10], revision.subject));
    }
    screen.event(format!(
        "execution ended: {status}; checkout fails {} of its requests",
        stage.world.error_ratio()?
    ));
    Ok((execution, status))
}

/// Kills the orchestrator while a step runs, and starts another.
async fn kill(stage: &mut Stage, screen: &mut Screen, execution: &str) -> anyhow::Result<()> {
    let running = |body: &Value| (text(body, "/status") != "pending").then_some(());
    stage
        .ada
        .until(&format!("/v1/executions/{execution}"), LONG, running)
        .await?;
    stage.orchestrator.kill()?;
    screen.event("orchestrator killed with SIGKILL in the middle of the step");
    let args = ["--role", "orchestrator"];
    let mut next = Process::serve(
        "orchestrator",
        &stage.dir,
        &stage.config,
        &stage.orchestrator_url,
        &args,
    )?;
    next.ready(&stage.http).await?;
    stage.orchestrator = next;
    screen.event("a new orchestrator took over: it probes the step before doing anything again");
    Ok(())
}

async fn evidence(stage: &Stage, screen: &mut Screen, execution: &str) -> anyhow::Result<()> {
    let bundle = stage
        .ada
        .bytes(&format!("/v1/executions/{execution}/evidence"))
        .await?;
    let path = stage.dir.join(format!("{execution}.tar"));
    std::fs::write(&path, &bundle)?;
    std::fs::write(stage.dir.join("trust.json"), stage.trust.to_text())?;
    let report = verify_bundle(&bundle, &stage.trust);
    for check in &report.checks {
        screen.say(format!(
            "{} {}: {}",
            if check.passed { "ok  " } else { "FAIL" },
            check.name,
            check.detail
        ));
    }
    if !report.passed() {
        bail!("the evidence bundle does not verify");
    }
    screen.event(format!(
        "evidence: {} ({} KB), verified offline",
        path.display(),
        bundle.len() / 1024
    ));
    screen.say(format!(
        "again: carapulse audit verify --bundle {} --trust {}",
        path.display(),
        stage.dir.join("trust.json").display()
    ));
    let mut broken = bundle;
    let middle = broken.len() / 2;
    *broken.get_mut(middle).context("the bundle is not empty")? ^= 1;
    if verify_bundle(&broken, &stage.trust).passed() {
        bail!("a bundle with one flipped bit verified");
    }
    screen.event("one flipped bit in it: refused");
    Ok(())
}

async fn keep(stage: &mut Stage, screen: &Screen) -> anyhow::Result<()> {
    screen.say(format!(
        "\nStill running; Ctrl-C ends it.\n  API     {}\n  metrics {}",
        stage.gateway_url, stage.world.url
    ));
    for (name, token) in &stage.tokens {
        screen.say(format!("  token of {name}: {token}"));
    }
    screen.say(format!(
        "  try: CARAPULSE_URL={} CARAPULSE_TOKEN=<token of ada> carapulse plan list",
        stage.gateway_url
    ));
    loop {
        tokio::select! {
            signal = tokio::signal::ctrl_c() => return Ok(signal?),
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                if stage.roles.ended()? || stage.orchestrator.ended()? {
                    bail!("a process of the demo ended; its log is in {}", stage.dir.display());
                }
            }
        }
    }
}

async fn close(stage: Stage) -> anyhow::Result<()> {
    let Stage {
        roles,
        orchestrator,
        world,
        postgres,
        ..
    } = stage;
    drop((roles, orchestrator, world));
    postgres.stop().await.context("stopping Postgres")
}
