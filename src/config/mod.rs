//! Configuration.

mod secret;

pub use secret::{SecretError, resolve};
