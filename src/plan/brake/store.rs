//! What the brake counts. Nothing here changes a row.

use crate::{
    domain::TargetId,
    store::{Error, Tx},
};

/// What the brake counts.
pub(super) struct Automatic {
    pub(super) plans_of_group: i64,
    pub(super) plans: i64,
    pub(super) failures: i64,
    pub(super) last_failed: bool,
}

/// Counts plans that nobody asked for, and executions that did not succeed, within the window.
pub(super) async fn automatic(
    tx: &mut Tx,
    target: TargetId,
    group_key: &str,
    window_secs: i64,
) -> Result<Automatic, Error> {
    let row = sqlx::query!(
        r#"WITH recent AS (
             SELECT p.plan_id, p.incident_id FROM plan p
             WHERE p.tenant_id = current_tenant() AND p.trigger IN ('alert', 'webhook', 'scheduled') AND p.status <> 'draft'
               AND p.created_at > db_now() - make_interval(secs => $3::bigint)
           ), grouped AS (
             SELECT p.plan_id FROM plan p JOIN incident i ON i.incident_id = p.incident_id
             WHERE p.tenant_id = current_tenant() AND i.tenant_id = current_tenant()
               AND i.group_key = $1 AND i.target_id = $2 AND p.status <> 'draft'
           )
           SELECT
             (SELECT count(*) FROM recent) AS "plans!",
             (SELECT count(*) FROM recent JOIN grouped USING (plan_id)) AS "plans_of_group!",
             (SELECT count(*) FROM execution e WHERE e.tenant_id = current_tenant()
                AND e.status IN ('failed', 'rolled_back', 'rollback_failed', 'needs_attention')
                AND e.created_at > db_now() - make_interval(secs => $3::bigint)) AS "failures!",
             coalesce((SELECT e.status NOT IN ('succeeded', 'pending', 'running') FROM execution e JOIN grouped USING (plan_id)
                WHERE e.tenant_id = current_tenant() AND e.created_at > db_now() - make_interval(secs => $3::bigint)
                ORDER BY e.created_at DESC, e.execution_id DESC LIMIT 1), false) AS "last_failed!""#,
        group_key,
        target.uuid(),
        window_secs,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(Automatic {
        plans_of_group: row.plans_of_group,
        plans: row.plans,
        failures: row.failures,
        last_failed: row.last_failed,
    })
}
