//! Incidents that nobody works on, though somebody should.

use super::{Error, store};
use crate::store::Tx;

/// Gives the tenant's incidents whose job is gone a job again, and says how many these were. A job is a row that anybody with the
/// right to work on it can delete; the incident itself says whether it is done.
pub async fn find_lost(tx: &mut Tx) -> Result<u64, Error> {
    store::insert_lost_jobs(tx).await
}
