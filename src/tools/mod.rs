//! Typed tools: the catalogue, and the router that runs its actions.

pub mod catalog;

mod client_placeholder;
pub use client_placeholder::{Client, NoRouter, ReadAnswer};
