//! Stage 5: who said yes, to exactly what, until when.
//!
//! In: a stored, checked plan; a person who has seen its digest. Out: a signed statement over that digest, and, once, an
//! [`Approved`] plan. Always holds: one function, [`may_approve`], separates duties by person for every channel; a yes is for
//! the bytes that the approver saw; it expires by database time and is consumed by one execution; a row without a valid
//! signature of the gateway's key is no approval, whoever wrote it. Not here: model and tool channels (they cannot reach
//! this), the gates before each act (`warrant`).

mod approved;
mod decide;
mod duties;
mod error;
mod request;
mod restore;
pub mod store;

pub use approved::{Approved, consume};
pub use decide::{Granted, deny, grant, revoke};
pub use duties::{Refused, may_approve};
pub use error::{Error, record_refusal};
pub use request::{EXPIRY_JOB, expire_due, find_lost, request};
pub use restore::void_unconsumed;
pub use store::{Approval, ApprovalStatus};
