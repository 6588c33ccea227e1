//! What is asserted of files: each a function of what was read, so that its tests can show it a file that is wrong.

pub mod chart;
mod chart_objects;
pub mod compose;
mod compose_services;
pub mod dependabot;
pub mod dockerfile;
pub mod lints;
pub mod migrations;
pub mod workflow;
pub mod workflow_pins;
