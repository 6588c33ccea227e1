//! Words that three or more stages use. No IO, no database, no clock reading but through [`Clock`].
//!
//! In: nothing. Out: ids, who acts ([`Actor`], [`OpCtx`]), where ([`ContextRef`]), how dangerous ([`Risk`], [`Tier`]),
//! canonical bytes and [`Digest`]s, the plan document ([`plan::PlanDoc`]) that an approval signs, the pure [`machine`] that the
//! engine drives by and the warrant holds it to, and the one redactor ([`redact`]).
//! Always holds: a digest is taken over bytes, and those bytes are what is stored (decision: hash bytes, store those bytes).
//! Not here: a stage's own types, which live in the stage.

mod address;
pub mod canonical;
mod clock;
mod digest;
mod id;
pub mod machine;
mod op;
pub mod plan;
mod prose;
pub mod redact;
mod risk;
mod rotating;
pub mod run;
mod secret;
mod target;
pub mod unique;
mod write_gate;

pub use address::is_special;
pub use canonical::CanonicalError;
pub use clock::{Clock, ManualClock, SystemClock};
pub use digest::Digest;
pub use id::{
    ApprovalId, CheckpointId, DecisionId, EventId, EvidenceId, ExecutionId, IdError, IdentityId, IncidentId,
    JobId, NotificationId, PersonId, PlanId, SignalId, SnapshotId, TargetId, TokenId,
};
pub use op::{Actor, ActorKind, Ids, OpCtx, Role, TenantId, TenantIdError};
pub use prose::Prose;
pub use risk::{EffectKind, Guard, Risk, Tier};
pub use rotating::{GRACE, Rotating};
pub use secret::{SecretRef, SecretRefError};
pub use target::{ContextRef, GitPlace, KubernetesPlace, Target, TargetGrant, TargetMode};
pub use write_gate::{MAX_SKEW, WriteGate, WritesRefused};
