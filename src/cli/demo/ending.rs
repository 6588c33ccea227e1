//! The end: evidence, and either everything is left running or everything is ended.

use std::time::Duration;

use anyhow::{Context as _, bail};

use super::{screen::Screen, setup::Stage};
use crate::audit::bundle::verify_bundle;

/// The bundle: fetched, verified without a server, and refused when one bit of it is flipped.
pub(super) async fn evidence(stage: &Stage, screen: &mut Screen, execution: &str) -> anyhow::Result<()> {
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

/// Leaves everything running until Ctrl-C.
pub(super) async fn keep(stage: &mut Stage, screen: &Screen) -> anyhow::Result<()> {
    screen.say(format!(
        "\nStill running; Ctrl-C ends it.\n  API     {}\n  {}",
        stage.gateway_url,
        stage.scene.address()
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

/// Ends everything.
pub(super) async fn close(stage: Stage) -> anyhow::Result<()> {
    let Stage {
        roles,
        orchestrator,
        scene,
        postgres,
        ..
    } = stage;
    drop((roles, orchestrator, scene));
    postgres.stop().await.context("stopping Postgres")
}
