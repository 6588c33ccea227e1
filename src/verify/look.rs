//! One look at all assertions of a plan.

use crate::{
    domain::run::LookRef,
    tools::{Client, ClientError, Look},
};

/// Has the tool-router look once at every assertion of the plan that is being executed. The verdict is the router's, who keeps it.
pub async fn look(client: &Client, named: &LookRef) -> Result<Look, ClientError> {
    let look = client.look(named).await?;
    metrics::counter!("carapulse_verify_looks_total", "verdict" => look.verdict.as_str()).increment(1);
    Ok(look)
}
