//! One file a family. A rule reads the snapshot and says what it sees; it neither ranks nor decides.

pub(super) mod bad_commit;
mod crash_loop;
pub(super) mod failing_dependency;
mod failing_probe;
mod image_pull;
mod missing_replicas;
mod oom;
mod quota;
mod saturation;
mod unschedulable;

use super::{finding::Finding, view::View};

/// What is wrong with one workload by its own state, in a fixed order.
pub(super) fn of_state(view: &View<'_>) -> Vec<Finding> {
    let rules: [fn(&View<'_>) -> Option<Finding>; 8] = [
        image_pull::find,
        oom::find,
        crash_loop::find,
        failing_probe::find,
        unschedulable::find,
        quota::find,
        missing_replicas::find,
        saturation::find,
    ];
    rules.iter().filter_map(|rule| rule(view)).collect()
}
