//! stub
pub mod redact;
