//! The incident: alert, finding, plan, decision, approval, fix, measured recovery, evidence.

use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};

use super::{Demo, api::text, ending, fix, screen::Screen, setup, setup::Stage};
use crate::cli::Exit;

/// How long the system may take for one thing.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// Plays it from the set-up to the audit.
pub(super) async fn play(demo: &Demo) -> anyhow::Result<Exit> {
    let mut screen = Screen::new();
    screen.chapter("Setting the stage");
    let mut stage = setup::set(demo, &mut screen).await?;
    let status = tokio::select! {
        played = chapters(demo, &mut stage, &mut screen) => played?,
        signal = tokio::signal::ctrl_c() => {
            signal?;
            bail!("interrupted");
        }
    };
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
        ending::keep(&mut stage, &screen).await?;
    }
    ending::close(stage).await?;
    Ok(Exit::Ok)
}

async fn chapters(demo: &Demo, stage: &mut Stage, screen: &mut Screen) -> anyhow::Result<String> {
    screen.chapter("An alert fires");
    let incident = alert(stage, screen).await?;
    screen.chapter("Looking, and finding the cause by rules (no model)");
    let plan = finding(stage, screen, &incident).await?;
    screen.chapter("The plan that waits for approval");
    let digest = show_plan(stage, screen, &plan).await?;
    screen.chapter("Approval, by a second person, of exactly these bytes");
    approve(stage, screen, &plan, &digest).await?;
    screen.chapter("The fix");
    let (execution, status) = fix::execute(demo, stage, screen, &plan).await?;
    screen.chapter("Evidence that needs no server");
    ending::evidence(stage, screen, &execution).await?;
    Ok(status)
}

async fn alert(stage: &Stage, screen: &mut Screen) -> anyhow::Result<String> {
    let told = stage.scene.alert();
    let labels = json!({"alertname": told.name, "service": "checkout", "namespace": told.namespace, "severity": "critical"});
    let body = json!({
        "version": "4",
        "groupKey": format!("{{}}:{{alertname={:?}}}", told.name),
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "carapulse",
        "groupLabels": {"alertname": told.name},
        "commonLabels": labels,
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example:9093",
        "alerts": [{
            "status": "firing",
            "labels": labels,
            "annotations": {"summary": told.summary},
            "startsAt": told.at,
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus.example:9090/graph",
            "fingerprint": "5f2c1a9e0b7d4c31",
        }],
    });
    let accepted = stage.alertmanager.post("/v1/hooks/alertmanager", &body).await?;
    screen.event(format!(
        "alert {} received ({})",
        told.name,
        text(&accepted, "/event_id")
    ));
    screen.say(stage.scene.state()?);
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
