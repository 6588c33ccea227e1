//! The brake: automatic plans stop when they come too often, or when the last one did not help. In code, not in policy.

mod store;

use crate::{domain::TargetId, store::Tx};

/// How often the system may act by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrakeLimits {
    /// Length of the window that everything is counted in.
    pub window_secs: u32,
    /// Most automatic plans for one target and one alert group.
    pub plans_per_group: u32,
    /// Most automatic plans of the whole tenant.
    pub plans_in_all: u32,
    /// Executions that did not succeed, after which nothing is planned automatically.
    pub failures_in_all: u32,
}

impl Default for BrakeLimits {
    fn default() -> Self {
        Self {
            window_secs: 6 * 3600,
            plans_per_group: 3,
            plans_in_all: 30,
            failures_in_all: 3,
        }
    }
}

/// Why no plan is made now. A person may still make one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Braked {
    /// `brake_group`, `brake_non_success`, `brake_plans` or `brake_failures`.
    pub code: &'static str,
    /// One line for people.
    pub message: String,
}

/// Whether the system may plan by itself for this alert group on this target. Database time counts.
pub async fn brake(
    tx: &mut Tx,
    target: TargetId,
    group_key: &str,
    limits: &BrakeLimits,
) -> Result<Result<(), Braked>, crate::store::Error> {
    let counts = store::automatic(tx, target, group_key, i64::from(limits.window_secs)).await?;
    let hours = f64::from(limits.window_secs) / 3600.0;
    let stop = |code, message| Ok(Err(Braked { code, message }));
    if counts.last_failed {
        let message =
            "the last execution for this alert on this target did not succeed: a person has to look";
        return stop("brake_non_success", message.to_owned());
    }
    if counts.plans_of_group >= i64::from(limits.plans_per_group) {
        let message = format!(
            "{} plans for this alert on this target in {hours} h",
            counts.plans_of_group
        );
        return stop("brake_group", message);
    }
    if counts.plans >= i64::from(limits.plans_in_all) {
        return stop(
            "brake_plans",
            format!("{} automatic plans in {hours} h", counts.plans),
        );
    }
    if counts.failures >= i64::from(limits.failures_in_all) {
        let message = format!("{} executions did not succeed in {hours} h", counts.failures);
        return stop("brake_failures", message);
    }
    Ok(Ok(()))
}
