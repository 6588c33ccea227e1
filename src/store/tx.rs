//! A transaction, bound to one tenant or to none.

use std::ops::{Deref, DerefMut};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Postgres, Transaction};

use super::Error;
use crate::domain::TenantId;

/// An open transaction; rolled back when dropped. Queries run on it: `sqlx::query!(…).execute(&mut **tx)`, or `&mut *tx`
/// where `tx` is owned.
#[derive(Debug)]
pub struct Tx {
    inner: Transaction<'static, Postgres>,
    tenant: Option<TenantId>,
}

impl Tx {
    pub(super) const fn new(inner: Transaction<'static, Postgres>, tenant: Option<TenantId>) -> Self {
        Self { inner, tenant }
    }

    /// On whose rows it works; none for a global one.
    #[must_use]
    pub const fn tenant(&self) -> Option<&TenantId> {
        self.tenant.as_ref()
    }

    /// Database time now: what leases, deadlines and expiry are compared with.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the connection is lost.
    pub async fn db_now(&mut self) -> Result<DateTime<Utc>, Error> {
        let now = sqlx::query_scalar!(r#"SELECT db_now() AS "now!""#)
            .fetch_one(&mut *self.inner)
            .await?;
        Ok(now)
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the connection is lost: whether it was committed is then unknown.
    pub async fn commit(self) -> Result<(), Error> {
        Ok(self.inner.commit().await?)
    }

    /// Ends a transaction that has only read. Nobody waits for the server: there is nothing to make durable, and its ROLLBACK goes out
    /// in the packet with which the pool takes the connection back.
    pub fn finish_read(self) {}

    /// Undoes it now, rather than when dropped.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the connection is lost: it is then rolled back by the server.
    pub async fn rollback(self) -> Result<(), Error> {
        Ok(self.inner.rollback().await?)
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.inner
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.inner
    }
}
