//! The audit log.
pub mod checkpoint;
pub mod leaf;
pub mod merkle;
pub mod note;
