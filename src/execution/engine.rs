//! The embedded engine: leases executions from the job table and drives them, a bounded number at a time.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    Error,
    drive::{Driver, Pause},
    start::JOB,
};
use crate::{
    store::{
        Db, crash,
        job::{self, Lease},
    },
    tools::Client,
};

/// How the engine works.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long a lease lasts without renewal.
    pub lease_secs: i64,
    /// Executions driven at once by this process.
    pub concurrency: usize,
    /// Pause between two looks for work.
    pub poll: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease_secs: 5,
            concurrency: 16,
            poll: Duration::from_millis(100),
        }
    }
}

/// The engine on Postgres.
#[derive(Debug, Clone)]
pub struct Embedded {
    db: Db,
    driver: Arc<Driver>,
    owner: Uuid,
    settings: Settings,
}

impl Embedded {
    /// An engine that reads and writes as the orchestrator and acts through `client`.
    #[must_use]
    pub fn new(db: Db, client: Client, owner: Uuid, settings: Settings) -> Self {
        let driver = Arc::new(Driver::new(db.clone(), client));
        Self {
            db,
            driver,
            owner,
            settings,
        }
    }

    /// Drives executions until `stop`; then waits for the turns under way, whose leases are handed back.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), Error> {
        let slots = Arc::new(Semaphore::new(self.settings.concurrency));
        let mut turns = JoinSet::new();
        while !stop.is_cancelled() {
            while turns.try_join_next().is_some() {}
            let Ok(slot) = slots.clone().acquire_owned().await else {
                break;
            };
            match job::lease(&self.db, &[JOB], self.owner, self.settings.lease_secs).await {
                Ok(Some(lease)) => {
                    crash::point("engine.after_lease");
                    let (engine, stop) = (self.clone(), stop.clone());
                    turns.spawn(async move {
                        engine.turn(&lease, &stop).await;
                        drop(slot);
                    });
                }
                Ok(None) => self.rest(&stop).await,
                Err(error) => {
                    tracing::warn!(%error, "cannot lease executions");
                    self.rest(&stop).await;
                }
            }
        }
        while turns.join_next().await.is_some() {}
        Ok(())
    }

    async fn rest(&self, stop: &CancellationToken) {
        tokio::select! {
            () = tokio::time::sleep(self.settings.poll) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Drives one execution as far as it goes now, and hands the lease back with the time of the next turn.
    async fn turn(&self, lease: &Lease, stop: &CancellationToken) {
        let execution = lease.subject.map(crate::domain::ExecutionId::from);
        let span = tracing::info_span!(
            "execution",
            execution_id = execution.map(tracing::field::display),
            epoch = lease.epoch
        );
        let result = tokio::select! {
            result = self.driver.drive(lease, stop) => result,
            () = self.keep(lease) => Err(Error::LostLease),
        };
        let handed = match result {
            Ok(Pause::Over) => self.forget(lease).instrument(span.clone()).await,
            Ok(Pause::For(pause)) => self.hand_back(lease, pause, None).await,
            Err(Error::LostLease) => Ok(()),
            Err(error) => {
                span.in_scope(|| tracing::warn!(%error, "the execution's turn failed; it is tried again"));
                self.hand_back(lease, Duration::from_secs(2), Some(&error.to_string()))
                    .await
            }
        };
        if let Err(error) = handed {
            span.in_scope(|| tracing::warn!(%error, "the lease could not be handed back; it will run out"));
        }
    }

    /// Renews the lease; returns when it is lost, or could not be renewed before it ran out.
    async fn keep(&self, lease: &Lease) {
        let whole = Duration::from_secs(self.settings.lease_secs.unsigned_abs());
        let mut deadline = tokio::time::Instant::now() + whole;
        loop {
            tokio::time::sleep(whole / 4).await;
            let renewal = job::renew(&self.db, lease, self.settings.lease_secs);
            match tokio::time::timeout_at(deadline, renewal).await {
                Ok(Ok(true)) => deadline = tokio::time::Instant::now() + whole,
                Ok(Ok(false)) | Err(_) => return,
                Ok(Err(error)) => tracing::warn!(%error, "cannot renew a lease"),
            }
        }
    }

    async fn hand_back(&self, lease: &Lease, pause: Duration, error: Option<&str>) -> Result<(), Error> {
        let due_in_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        Ok(job::hand_back(&self.db, lease, due_in_ms, error).await?)
    }

    async fn forget(&self, lease: &Lease) -> Result<(), Error> {
        let mut tx = self.db.begin_global().await?;
        job::finish(&mut tx, lease).await?;
        tx.commit().await?;
        crash::point("engine.after_forget");
        Ok(())
    }
}
