//! The fix: started by one person, carried out by the orchestrator, which may be killed meanwhile.

use serde_json::{Value, json};

use super::{Demo, api::text, children::Process, play::LONG, screen::Screen, setup::Stage};

const TERMINAL: [&str; 5] = [
    "succeeded",
    "failed",
    "rolled_back",
    "rollback_failed",
    "cancelled",
];

/// Starts the execution, and waits for its end: its id and how it ended.
pub(super) async fn execute(
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
    for line in stage.scene.history()? {
        screen.say(line);
    }
    screen.event(format!("execution ended: {status}; {}", stage.scene.state()?));
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
