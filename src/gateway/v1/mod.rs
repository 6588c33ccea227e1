//! The resources, one file each. A handler reads, calls a stage's face in one transaction, and writes the answer.

pub(super) mod freeze;
pub(super) mod health;
pub(super) mod hooks;
pub(super) mod incidents;
pub(super) mod notifications;
mod store;
pub(super) mod targets;
