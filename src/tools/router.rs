//! The router: who runs tools, with what, and how many at a time.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::{
    Fault,
    catalog::{ActionDef, Catalog},
    place::{self, Binding},
};
use crate::{
    connectors::{Grants, TenantGrants},
    domain::{OpCtx, Rotating, Target, TargetId, WriteGate, run::ActRef},
    policy::Engine,
    sandbox::Runner,
    store::{Db, ObjectStore},
    warrant::{ApprovalKeys, LiveAction},
};

/// How long a claim counts as alive without a sign of life. A router that cannot renew it stops what it runs before that.
pub(super) const ALIVE_SECS: u32 = 15;
/// Added to `alive_until` by whoever wants to take a dead attempt's place.
pub(super) const GRACE_SECS: u32 = 5;
/// How long a call waits for a place.
const PLACE_WAIT: Duration = Duration::from_secs(30);

/// Bounds of a router.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Tools that run at a time.
    pub max_running: usize,
    /// Of these, on one target.
    pub max_running_per_target: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_running: 16,
            max_running_per_target: 4,
        }
    }
}

/// What a router works with.
#[derive(Debug)]
pub struct Parts {
    /// Under the router's database role.
    pub db: Db,
    /// Where log chunks go.
    pub objects: ObjectStore,
    /// Where commands run.
    pub runner: Runner,
    /// What can be run.
    pub catalog: Arc<Catalog>,
    /// The active policy, shared with whoever swaps it.
    pub engine: Arc<Engine>,
    /// The gateway's public keys.
    pub keys: Rotating<ApprovalKeys>,
    /// While it is shut nothing is written.
    pub gate: WriteGate,
    /// What targets may name of this machine.
    pub grants: Arc<Grants>,
}

/// Runs tools under the router's database role.
#[derive(Debug)]
pub struct Router {
    pub(super) db: Db,
    pub(super) objects: ObjectStore,
    pub(super) runner: Runner,
    pub(super) catalog: Arc<Catalog>,
    pub(super) engine: Arc<Engine>,
    pub(super) keys: Rotating<ApprovalKeys>,
    pub(super) gate: WriteGate,
    grants: Arc<Grants>,
    pub(super) router_id: Uuid,
    pub(super) places: Places,
    pub(super) tasks: TaskTracker,
    acting: Mutex<HashSet<ActRef>>,
}

impl Router {
    /// A router. `router_id` is new for each process.
    #[must_use]
    pub fn new(parts: Parts, router_id: Uuid, settings: Settings) -> Self {
        Self {
            db: parts.db,
            objects: parts.objects,
            runner: parts.runner,
            catalog: parts.catalog,
            engine: parts.engine,
            keys: parts.keys,
            gate: parts.gate,
            grants: parts.grants,
            router_id,
            places: Places::new(settings),
            tasks: TaskTracker::new(),
            acting: Mutex::default(),
        }
    }

    /// `target`, of the tenant of `ctx`, ready for `def`.
    pub(super) fn bind(&self, ctx: &OpCtx, def: &ActionDef, target: &Target) -> Result<Binding, Fault> {
        place::bind(def, target, TenantGrants::new(&self.grants, &ctx.tenant))
    }

    /// The catalogue it serves.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Waits until every act that was begun is recorded. Callers stop sending first.
    pub async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    pub(super) fn live_action(&self, tool: &str, action: &str) -> Option<LiveAction> {
        self.catalog.action(tool, action).map(|def| LiveAction {
            digest: def.digest,
            risk: def.risk,
            effect: def.effect,
            timeout_secs: def.timeout_secs,
        })
    }

    pub(super) fn is_acting(&self, act: &ActRef) -> bool {
        self.acting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&without_epoch(act))
    }

    pub(super) fn begin_acting(self: &Arc<Self>, act: &ActRef) -> Acting {
        let key = without_epoch(act);
        self.acting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.clone());
        Acting {
            router: Arc::clone(self),
            act: key,
        }
    }
}

/// An attempt is the same whoever asks for it.
fn without_epoch(act: &ActRef) -> ActRef {
    ActRef {
        epoch: 0,
        ..act.clone()
    }
}

/// While it lives, this process is running the attempt.
#[derive(Debug)]
pub(super) struct Acting {
    router: Arc<Router>,
    act: ActRef,
}

impl Drop for Acting {
    fn drop(&mut self) {
        self.router
            .acting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.act);
    }
}

/// Places to run in: so many in all, so many on one target.
#[derive(Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    by_target: Mutex<BTreeMap<TargetId, Arc<Semaphore>>>,
    per_target: usize,
}

/// Two permits, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    _target: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Places {
    fn new(settings: Settings) -> Self {
        Self {
            all: Arc::new(Semaphore::new(settings.max_running.max(1))),
            by_target: Mutex::default(),
            per_target: settings.max_running_per_target.max(1),
        }
    }

    /// Waits for a place on the target first, so that one busy target does not hold the places of others.
    pub(super) async fn enter(&self, target: TargetId) -> Result<Place, Fault> {
        let on_target = {
            let mut targets = self.by_target.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Semaphore::new(self.per_target));
            Arc::clone(targets.entry(target).or_insert_with(new))
        };
        let both = async {
            let target = on_target.acquire_owned().await;
            let all = Arc::clone(&self.all).acquire_owned().await;
            Some(Place {
                _target: target.ok()?,
                _all: all.ok()?,
            })
        };
        let busy = || Fault::unavailable("busy", "too many tools are running");
        tokio::time::timeout(PLACE_WAIT, both)
            .await
            .ok()
            .flatten()
            .ok_or_else(busy)
    }
}

pub(super) fn measure(def: &ActionDef, outcome: &'static str, began: Instant) {
    let (tool, action) = (def.tool.clone(), def.action.clone());
    metrics::histogram!("carapulse_tool_execution_duration_seconds", "tool" => tool.clone(), "action" => action.clone())
        .record(began.elapsed().as_secs_f64());
    metrics::counter!("carapulse_tool_executions_total", "tool" => tool, "action" => action, "outcome" => outcome)
        .increment(1);
}
