//! Typed tools: the catalogue, and the router that runs its actions.

pub mod catalog;
