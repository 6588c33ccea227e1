//! Pages of the log, and what proves them.

mod store;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{
    Body, Decision, Error,
    merkle::{Hash, ProofPlan},
    sequencer::store as log,
};
use crate::{
    domain::{Digest, ExecutionId, PlanId},
    store::{Db, Tx},
};

/// Longest page.
pub const MAX_PAGE: u32 = 1000;

/// Which events; all that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Exactly this action.
    pub action: Option<String>,
    /// Exactly this actor's name.
    pub actor: Option<String>,
    /// This decision.
    pub decision: Option<Decision>,
    /// About this plan.
    pub plan_id: Option<PlanId>,
    /// About this execution.
    pub execution_id: Option<ExecutionId>,
    /// Recorded at or after.
    pub from: Option<DateTime<Utc>>,
    /// Recorded before.
    pub to: Option<DateTime<Utc>>,
}

/// Which way a page goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// For people.
    NewestFirst,
    /// For whoever follows.
    OldestFirst,
}

/// One page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Which way.
    pub order: Order,
    /// Position of the last event of the page before; none for the first page.
    pub after: Option<u64>,
    /// At most this many events, and never more than [`MAX_PAGE`].
    pub limit: u32,
}

/// An event with its place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recorded {
    /// From 0, dense over all tenants.
    pub position: u64,
    /// When the database took it.
    pub recorded_at: DateTime<Utc>,
    /// What was recorded, as it was hashed; of an event that does not read, what its columns say (version 0).
    #[serde(flatten)]
    pub body: Body,
}

/// A leaf with all that its hash is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// From 0.
    pub position: u64,
    /// The 16 random bytes.
    pub salt: [u8; super::leaf::SALT_BYTES],
    /// Canonical bytes of a [`Body`].
    pub body: Vec<u8>,
}

/// A stored checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignedCheckpoint {
    /// Number of leaves.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
    /// Generation of the installation.
    pub generation: i64,
    /// The signed note.
    pub note: String,
    /// By database time.
    pub signed_at: DateTime<Utc>,
}

/// Shows that a leaf stands at its position of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// Position of the leaf.
    pub position: u64,
    /// Size of the tree.
    pub size: u64,
    /// RFC 6962 audit path, from the leaf up.
    pub hashes: Vec<Hash>,
}

/// A page of the tenant's sequenced events. Events that were just committed follow within a fraction of a second.
///
/// # Errors
/// [`Error::Store`].
pub async fn list(tx: &mut Tx, filter: &Filter, page: &Page) -> Result<Vec<Recorded>, Error> {
    let page = Page {
        limit: page.limit.min(MAX_PAGE),
        ..*page
    };
    Ok(store::page(tx, filter, &page).await?)
}

/// The tenant's events after `position` (none: from the first on), oldest first: what a live stream resumes with.
///
/// # Errors
/// [`Error::Store`].
pub async fn events_after(tx: &mut Tx, position: Option<u64>, limit: u32) -> Result<Vec<Recorded>, Error> {
    Ok(store::after(tx, position, limit.min(MAX_PAGE)).await?)
}

/// The sequenced leaves about a plan and, when given, one of its executions; at most 10 000.
///
/// # Errors
/// [`Error::Store`].
pub async fn leaves_about(
    tx: &mut Tx,
    plan: PlanId,
    execution: Option<ExecutionId>,
) -> Result<Vec<Leaf>, Error> {
    Ok(store::about(tx, plan, execution, 10_000).await?)
}

/// The newest signed head.
///
/// # Errors
/// [`Error::Store`].
pub async fn latest_checkpoint(tx: &mut Tx) -> Result<Option<SignedCheckpoint>, Error> {
    Ok(log::latest_checkpoint(tx).await?)
}

/// Number of sequenced events of all tenants.
///
/// # Errors
/// [`Error::Store`].
pub async fn log_size(tx: &mut Tx) -> Result<u64, Error> {
    Ok(log::head(tx).await?.size)
}

/// Shows that the leaf at `position` is in the tree of `size` leaves.
///
/// # Errors
/// [`Error::Proof`] when it is not; [`Error::MissingNode`] when the log was tampered with; [`Error::Store`].
pub async fn inclusion_proof(db: &Db, position: u64, size: u64) -> Result<InclusionProof, Error> {
    let mut proofs = inclusion_proofs(db, &[position], size).await?;
    proofs.pop().ok_or(Error::MissingNode)
}

/// As [`inclusion_proof`], for many leaves in one look-up.
///
/// # Errors
/// As [`inclusion_proof`].
pub async fn inclusion_proofs(db: &Db, positions: &[u64], size: u64) -> Result<Vec<InclusionProof>, Error> {
    let plans: Vec<(u64, ProofPlan)> = positions
        .iter()
        .map(|position| Ok((*position, ProofPlan::inclusion(*position, size)?)))
        .collect::<Result<_, Error>>()?;
    let nodes: std::collections::BTreeSet<_> = plans.iter().flat_map(|(_, plan)| plan.nodes()).collect();
    let nodes: Vec<_> = nodes.into_iter().collect();
    let mut tx = db.begin_global().await?;
    let found = log::find_nodes(&mut tx, &nodes).await?;
    tx.commit().await?;
    plans
        .into_iter()
        .map(|(position, plan)| {
            let hashes = plan
                .fill(|id| found.get(&id).copied())
                .ok_or(Error::MissingNode)?;
            Ok(InclusionProof {
                position,
                size,
                hashes,
            })
        })
        .collect()
}

/// Shows that the log of `size` leaves begins with the log of `old_size` leaves.
///
/// # Errors
/// As [`inclusion_proof`].
pub async fn consistency_proof(db: &Db, old_size: u64, size: u64) -> Result<Vec<Hash>, Error> {
    let plan = ProofPlan::consistency(old_size, size)?;
    let nodes: Vec<_> = plan.nodes().collect();
    let mut tx = db.begin_global().await?;
    let found = log::find_nodes(&mut tx, &nodes).await?;
    tx.commit().await?;
    plan.fill(|id| found.get(&id).copied()).ok_or(Error::MissingNode)
}
