//! The only writer of the log's order: gives committed events dense positions, extends the tree, signs and publishes heads.
//!
//! In: committed rows without a position, of all tenants. Out: positions, tree nodes, one `NOTIFY carapulse_events` a batch,
//! a signed checkpoint each second while the log grows.
//! Always holds: one transaction a batch, under the lock of the head row and not below its epoch, so that two sequencers make
//! neither gaps nor duplicates and a killed one leaves no trace; a checkpoint is committed before it is published.
//! Not here: recording (see [`super::record`]), which never waits for any of this.

pub(super) mod store;

use std::time::Duration;

use ed25519_dalek::SigningKey;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Error, Lag,
    checkpoint::{Checkpoint, origin},
    merkle::Frontier,
    note::{NoteSigner, VerifierKey},
    publish, restore,
};
use crate::{
    domain::TenantId,
    store::{Db, ObjectStore, crash, job},
};

/// Kind of the job whose lease makes a process the sequencer.
pub const JOB_KIND: &str = "sequencer";
/// Most events of one batch.
pub const MAX_BATCH: u32 = 1000;
/// Pause while events come in.
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// Longest pause while none do.
const IDLE_PAUSE: Duration = Duration::from_millis(100);
/// Least time between two checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// A holder that dies is replaced after this. It may be short: the lock of the head, not the lease, keeps two apart.
const LEASE_SECS: i64 = 5;
/// A holder asks for more this often.
const RENEW_EVERY: Duration = Duration::from_millis(1500);
/// Pause of a process that is not the sequencer.
const STANDBY_PAUSE: Duration = Duration::from_secs(1);
/// Further pause after an error, so that another process may try, and the log is not flooded.
const ERROR_PAUSE: Duration = Duration::from_secs(4);

/// Orders the log of one installation. Any number may run; one at a time holds the lease.
#[derive(Debug)]
pub struct Sequencer {
    db: Db,
    signer: NoteSigner,
    generation: i64,
    objects: ObjectStore,
    frontier: Option<Frontier>,
    signed_size: Option<u64>,
    signed_at: Option<Instant>,
}

impl Sequencer {
    /// Takes the checkpoint key up; its name is the origin of this installation's log. `db` is of the sequencer's role.
    ///
    /// # Errors
    /// [`Error::Store`] when the database cannot be reached.
    pub async fn new(db: Db, key: SigningKey, objects: ObjectStore) -> Result<Self, Error> {
        let mut tx = db.begin_global().await?;
        let installation = store::installation(&mut tx).await?;
        tx.commit().await?;
        let signer = NoteSigner::new(&origin(installation.installation_id), key)?;
        Ok(Self {
            db,
            signer,
            generation: installation.generation,
            objects,
            frontier: None,
            signed_size: None,
            signed_at: None,
        })
    }

    /// The public half of the checkpoint key: what goes into a trust file.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        self.signer.verifier()
    }

    /// Works until `stop`: takes the lease when it is free, sequences while it is held, starts over after an error.
    pub async fn run(mut self, owner: Uuid, tenant: TenantId, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.hold(owner, &tenant, &stop).await {
                metrics::counter!("carapulse_audit_sequencer_errors").increment(1);
                tracing::error!(error = %error, "the audit log is not being sequenced");
                self.frontier = None;
                pause(ERROR_PAUSE, &stop).await;
            }
            pause(STANDBY_PAUSE, &stop).await;
        }
    }

    /// One lease, from taking to losing or giving it back.
    async fn hold(&mut self, owner: Uuid, tenant: &TenantId, stop: &CancellationToken) -> Result<(), Error> {
        let mut tx = self.db.begin_global().await?;
        job::enqueue(&mut tx, JOB_KIND, tenant, None, 0).await?;
        tx.commit().await?;
        let Some(lease) = job::lease(&self.db, &[JOB_KIND], owner, LEASE_SECS).await? else {
            return Ok(());
        };
        tracing::info!(epoch = lease.epoch, "sequencing the audit log");
        let worked = match self.check_published().await {
            Ok(()) => self.work(&lease, stop).await,
            Err(error) => Err(error),
        };
        let given_back = self.give_back(&lease, &worked).await;
        worked.and(given_back)
    }

    async fn give_back(&self, lease: &job::Lease, worked: &Result<(), Error>) -> Result<(), Error> {
        let mut tx = self.db.begin_global().await?;
        let error = worked.as_ref().err().map(ToString::to_string);
        job::reschedule(&mut tx, lease, 0, error.as_deref()).await?;
        Ok(tx.commit().await?)
    }

    async fn work(&mut self, lease: &job::Lease, stop: &CancellationToken) -> Result<(), Error> {
        let mut wait = BUSY_PAUSE;
        let mut renewed = Instant::now();
        while !stop.is_cancelled() {
            if renewed.elapsed() >= RENEW_EVERY {
                renewed = Instant::now();
                if !job::renew(&self.db, lease, LEASE_SECS).await? {
                    return Err(Error::Superseded);
                }
                observe(lag(&self.db).await?);
            }
            let placed = self.sequence(lease.epoch).await?;
            if self.signed_at.is_none_or(|at| at.elapsed() >= CHECKPOINT_EVERY) {
                self.checkpoint().await?;
            }
            wait = match placed {
                0 => (wait * 2).min(IDLE_PAUSE),
                n if n >= u64::from(MAX_BATCH) => Duration::ZERO,
                _ => BUSY_PAUSE,
            };
            pause(wait, stop).await;
        }
        self.checkpoint().await
    }

    /// Places one batch, in one transaction; answers how many events it held.
    ///
    /// # Errors
    /// [`Error::Superseded`] when a later `epoch` was here; [`Error::MissingNode`] when the stored tree is damaged;
    /// [`Error::Store`]. Nothing was changed then.
    pub async fn sequence(&mut self, epoch: i64) -> Result<u64, Error> {
        let mut tx = self.db.begin_global().await?;
        if !store::anything_unsequenced(&mut tx).await? {
            tx.commit().await?;
            return Ok(0);
        }
        let started = Instant::now();
        let size = store::claim_head(&mut tx, epoch)
            .await?
            .ok_or(Error::Superseded)?;
        let mut tree = match self.frontier.take() {
            Some(tree) if tree.size() == size => tree,
            _ => frontier(&mut tx, size).await?,
        };
        let batch = store::unsequenced(&mut tx, MAX_BATCH).await?;
        let mut nodes = Vec::with_capacity(batch.leaves.len() * 2);
        tree.append(batch.leaves.iter().copied(), |node| nodes.push(node));
        if !nodes.is_empty() {
            store::place(&mut tx, size, &batch, &nodes).await?;
        }
        crash::point("sequencer.before_commit");
        tx.commit().await?;
        crash::point("sequencer.after_commit");
        let placed = tree.size() - size;
        self.frontier = Some(tree);
        metrics::counter!("carapulse_audit_sequenced_events").increment(placed);
        metrics::gauge!("carapulse_audit_log_size_events").set(display(size + placed));
        metrics::histogram!("carapulse_audit_sequencer_batch_seconds").record(started.elapsed());
        Ok(placed)
    }

    /// Signs the present head, stores it, and publishes every stored one that was not published yet.
    ///
    /// # Errors
    /// [`Error::Forked`] when another checkpoint of that size lies there; [`Error::Store`], [`Error::Objects`].
    pub async fn checkpoint(&mut self) -> Result<(), Error> {
        let tree = match &self.frontier {
            Some(tree) => tree.clone(),
            None => self.load().await?,
        };
        self.frontier = Some(tree.clone());
        if tree.size() > 0 && self.signed_size.is_none_or(|size| size < tree.size()) {
            let checkpoint = Checkpoint {
                origin: self.signer.verifier().name().to_owned(),
                size: tree.size(),
                root: tree.root(),
                generation: self.generation,
            };
            let note = checkpoint.sign(&self.signer)?;
            let mut tx = self.db.begin_global().await?;
            store::insert_checkpoint(&mut tx, &tree, self.generation, &note).await?;
            tx.commit().await?;
            crash::point("sequencer.after_checkpoint");
            self.signed_size = Some(tree.size());
            metrics::gauge!("carapulse_audit_checkpoint_size_events").set(display(tree.size()));
        }
        self.signed_at = Some(Instant::now());
        self.publish().await
    }

    /// Refuses to go on when what was published is ahead of the log, or contradicts it.
    ///
    /// # Errors
    /// [`Error::Restored`], [`Error::Forked`], [`Error::Store`], [`Error::Objects`].
    pub async fn check_published(&mut self) -> Result<(), Error> {
        loop {
            let mut tx = self.db.begin_global().await?;
            self.generation = store::installation(&mut tx).await?.generation;
            let size = store::head(&mut tx).await?.size;
            let latest = store::latest_checkpoint(&mut tx).await?;
            tx.commit().await?;
            self.frontier = None;
            self.signed_size = latest.as_ref().map(|latest| latest.size);
            let Some(path) = publish::ahead(&self.objects, self.generation, size).await? else {
                return match latest {
                    Some(latest) => publish::agrees(&self.objects, &latest).await,
                    None => Ok(()),
                };
            };
            // Another process may have gone on between the two looks: then the log reaches further by now.
            if self.size().await? > size {
                continue;
            }
            restore::refuse_writes(&self.db).await?;
            return Err(Error::Restored {
                path,
                size,
                generation: self.generation,
            });
        }
    }

    async fn size(&self) -> Result<u64, Error> {
        let mut tx = self.db.begin_global().await?;
        let size = store::head(&mut tx).await?.size;
        tx.commit().await?;
        Ok(size)
    }

    async fn publish(&self) -> Result<(), Error> {
        let mut tx = self.db.begin_global().await?;
        let waiting = store::unpublished(&mut tx, 1000).await?;
        if waiting.is_empty() {
            return Ok(());
        }
        tx.commit().await?;
        let mut published = Vec::with_capacity(waiting.len());
        let mut outcome = Ok(());
        for checkpoint in waiting {
            outcome = publish::put(&self.objects, &checkpoint).await;
            if outcome.is_err() {
                break;
            }
            published.push(checkpoint.size);
        }
        let mut tx = self.db.begin_global().await?;
        store::mark_published(&mut tx, &published).await?;
        tx.commit().await?;
        metrics::counter!("carapulse_audit_published_checkpoints").increment(display_count(&published));
        match outcome {
            // An outage of the bucket must not stop the log: the rows wait and are tried again.
            Err(Error::Objects(error)) => {
                tracing::warn!(error = %error, "checkpoints could not be published; they are kept and tried again");
                Ok(())
            }
            other => other,
        }
    }

    async fn load(&self) -> Result<Frontier, Error> {
        let mut tx = self.db.begin_global().await?;
        let size = store::head(&mut tx).await?.size;
        let tree = frontier(&mut tx, size).await?;
        tx.commit().await?;
        Ok(tree)
    }
}

/// How far the sequencer is behind. `db` is of the sequencer's role, which alone sees the waiting events of all tenants.
///
/// # Errors
/// [`Error::Store`].
pub async fn lag(db: &Db) -> Result<Lag, Error> {
    let mut tx = db.begin_global().await?;
    let lag = store::lag(&mut tx).await?;
    tx.commit().await?;
    Ok(lag)
}

/// Readiness: `Err` with a sentence when events have waited for more than `max_lag_secs`, or nobody can say.
///
/// # Errors
/// Why not.
pub async fn ready(db: &Db, max_lag_secs: f64) -> Result<(), String> {
    let lag = lag(db)
        .await
        .map_err(|error| format!("the audit log's lag is unknown: {error}"))?;
    observe(lag);
    if lag.seconds > max_lag_secs {
        return Err(format!(
            "{} audit events wait for their place, the oldest for {:.0} s",
            lag.events, lag.seconds
        ));
    }
    Ok(())
}

async fn frontier(tx: &mut crate::store::Tx, size: u64) -> Result<Frontier, Error> {
    let wanted = Frontier::wanted(size);
    let found = store::find_nodes(tx, &wanted).await?;
    let peaks = wanted
        .iter()
        .map(|id| found.get(id).copied())
        .collect::<Option<_>>();
    Ok(Frontier::restore(size, peaks.ok_or(Error::MissingNode)?)?)
}

fn observe(lag: Lag) {
    metrics::gauge!("carapulse_audit_sequencer_lag_events").set(display(lag.events));
    metrics::gauge!("carapulse_audit_sequencer_lag_seconds").set(lag.seconds);
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a float; beyond 2^53 events it is off by one"
)]
fn display(count: u64) -> f64 {
    count as f64
}

fn display_count<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}

async fn pause(wait: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        () = stop.cancelled() => {}
    }
}
