//! Proof that a write belongs to an approved plan.

pub mod statement;
