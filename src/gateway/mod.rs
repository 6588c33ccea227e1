//! The HTTP surface: who asks, what they ask, and an answer that says what to do.
//!
//! In: HTTP requests. Out: [`router::service`], the whole API; one table of routes with the least role of each.
//! Always holds: the actor and the tenant come from the token's row; every change is audited in its own transaction; every error is a
//! problem document from one closed list; nothing here holds a credential of a managed system.
//! Not here: what a stage decides. Handlers read, call a stage's face, and write the answer.

pub mod access;
pub mod canvas;
pub mod cursor;
pub mod idempotency;
pub mod identity;
mod opened;
pub mod page;
pub mod problem;
mod refusals;
pub mod router;
mod streams;
pub mod strict;
pub mod target;
mod telemetry;
mod v1;

use std::{ops::Deref, sync::Arc};

use ed25519_dalek::SigningKey;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    domain::{OpCtx, Rotating, TenantId, WriteGate},
    intake::Intake,
    plan::PriorReader,
    policy::Engine,
    store::{Db, ObjectStore},
    tools::catalog::Catalog,
    warrant::statement::ApprovalKeys,
};
use cursor::CursorKey;

pub use router::{RouteInfo, routes, service};
pub use streams::Streams;

/// What the handlers work with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gateway(Arc<Parts>);

/// Makes what reads the present state for one request: the tool-router is asked in that request's name.
pub type Reads = Arc<dyn Fn(&OpCtx) -> Box<dyn PriorReader> + Send + Sync>;

/// The parts of a gateway.
pub struct Parts {
    /// Under the gateway's database role.
    pub db: Db,
    /// Where logs and evidence lie.
    pub objects: ObjectStore,
    /// Where deliveries go.
    pub intake: Intake,
    /// What tools can do.
    pub catalog: Arc<Catalog>,
    /// The active policy.
    pub engine: Arc<Engine>,
    /// Reads of the present state, for planning; they run in the tool-router.
    pub reads: Reads,
    /// What approvals are signed with.
    pub signing_key: Rotating<SigningKey>,
    /// What approvals are verified with: the present key's public half, and those of keys before it.
    pub approval_keys: Rotating<ApprovalKeys>,
    /// What list cursors are signed with.
    pub cursors: CursorKey,
    /// While it is shut nothing is changed.
    pub gate: WriteGate,
    /// Log streams that are open.
    pub streams: Streams,
    /// Cancelled when the process begins to drain: streams then say good-bye.
    pub stop: CancellationToken,
}

impl Gateway {
    /// A gateway of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    fn fresh_id(&self) -> Uuid {
        let tenant: TenantId = "default".parse().expect("a constant that is a tenant's name");
        OpCtx::new(crate::domain::Actor::system("gateway"), tenant, "").id()
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway")
            .field("db", &self.db)
            .finish_non_exhaustive()
    }
}

impl Deref for Gateway {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
