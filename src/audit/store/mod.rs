//! The log's SQL: tables `audit_event`, `merkle_node`, `audit_head`, `checkpoint`.
//!
//! [`events`] writes and reads events of one tenant; [`log`] is what the sequencer does to the order of all tenants' events;
//! [`sweep`] reads everything again, window by window, for verification.

mod events;
mod log;
mod sweep;

pub(super) use events::{about, after, insert_event, page};
pub(super) use log::{
    anything_unsequenced, claim_head, find_nodes, head, insert_checkpoint, installation, lag,
    latest_checkpoint, mark_published, place, raise_generation, unpublished, unsequenced,
};
pub(super) use sweep::{Row, beyond, checkpoints_in, nodes_in, rows_in, tenants};

use crate::store::Error;

/// Positions, sizes and indexes are `bigint` in the database and never negative.
fn unsigned(value: i64, column: &'static str) -> Result<u64, Error> {
    u64::try_from(value).map_err(|_| Error::Corrupt(column.to_owned()))
}

fn signed(value: u64) -> Result<i64, Error> {
    i64::try_from(value).map_err(|_| Error::Corrupt(format!("{value} is beyond any log")))
}

fn bytes<const N: usize>(value: &[u8], column: &'static str) -> Result<[u8; N], Error> {
    value.try_into().map_err(|_| Error::Corrupt(column.to_owned()))
}
