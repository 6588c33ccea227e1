//! Which tenants there are.

use super::{Error, Tx};
use crate::domain::TenantId;

/// Every tenant, by name.
///
/// # Errors
/// As every statement: [`Error`].
pub async fn list(tx: &mut Tx) -> Result<Vec<TenantId>, Error> {
    let names = sqlx::query_scalar!("SELECT tenant_id FROM tenant ORDER BY tenant_id")
        .fetch_all(&mut **tx)
        .await?;
    let read = |name: String| {
        name.parse()
            .map_err(|_| Error::Corrupt("tenant.tenant_id".to_owned()))
    };
    names.into_iter().map(read).collect()
}
