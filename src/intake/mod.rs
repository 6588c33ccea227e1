//! Something happened, or someone asked.

pub mod signal;
