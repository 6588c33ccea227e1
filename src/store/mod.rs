//! Postgres and objects; no business words.
//!
//! In: a connection address, a tenant. Out: [`Db`] (a pool under one database role), [`Tx`] (a transaction that is bound
//! to one tenant from its first statement on), [`job`] (leased background work), [`ObjectStore`] (content-addressed
//! bytes), [`migrate`] (the schema) and [`embedded`] (our own Postgres).
//! Always holds: every statement on tenant rows runs in a [`Tx`] that named its tenant; row-level security does the rest.
//! Not here: the SQL of the stages, which lies in each stage's `store.rs`.

pub mod crash;
mod db;
pub mod embedded;
mod error;
pub mod job;
pub mod migrate;
mod object;
pub mod partition;
pub mod tenant;
mod tx;

pub use db::{Address, AddressError, Db, DbRole};
pub use error::Error;
pub use object::{ObjectStore, S3, S3Credentials};
pub use tx::Tx;
