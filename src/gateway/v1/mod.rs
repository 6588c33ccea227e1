//! The resources, one file each. A handler reads, calls a stage's face in one transaction, and writes the answer.

pub(super) mod approvals;
pub(super) mod audit;
pub(super) mod executions;
pub(super) mod freeze;
pub(super) mod hooks;
pub(super) mod incidents;
pub(super) mod logs;
pub(super) mod notifications;
mod plan_view;
pub(super) mod plans;
mod proposing;
mod store;
pub(super) mod targets;
pub(super) mod tools;
pub(super) mod workflows;
