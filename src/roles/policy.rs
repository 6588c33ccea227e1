//! The policy of a process: the active bundle, compiled once, and swapped when another becomes active.

use std::{sync::Arc, time::Duration};

use super::{OnFailure, Parts};
use crate::{
    config,
    domain::{OpCtx, TenantId},
    policy::{Bundle, Engine, store as policies},
    shadow,
    store::{Db, tenant},
};

/// Pause between two looks at which bundle is active.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Pause between two looks for differences that nobody was told of.
const PAGE_EVERY: Duration = Duration::from_secs(5);

/// The engine on the active bundle. It follows the active one; the last good bundle stays when another does not compile.
pub(super) async fn follow(parts: &Parts, db: &Db) -> anyhow::Result<Arc<Engine>> {
    let engine = Arc::new(Engine::from_bundle(&Bundle::builtin())?);
    refresh(db, &engine).await?;
    compare(parts, db, &engine)?;
    let (db, following) = (db.clone(), Arc::clone(&engine));
    parts.lifecycle.spawn("policy", OnFailure::Restart, move |stop| {
        let (db, engine) = (db.clone(), Arc::clone(&following));
        async move {
            while stop
                .run_until_cancelled(tokio::time::sleep(LOOK_EVERY))
                .await
                .is_some()
            {
                refresh(&db, &engine).await?;
            }
            Ok::<_, anyhow::Error>(())
        }
    });
    Ok(engine)
}

/// Makes the builtin bundle the active one of a new installation.
pub(super) async fn ensure(db: &Db, tenant: &TenantId) -> anyhow::Result<()> {
    let mut tx = db.begin(tenant).await?;
    policies::ensure_builtin(&mut tx, &OpCtx::system("policy", tenant.clone())).await?;
    Ok(tx.commit().await?)
}

/// Has every decision of `engine` compared with OPA's, when one is configured.
fn compare(parts: &Parts, db: &Db, engine: &Engine) -> anyhow::Result<()> {
    let settings: config::Policy = parts.config.get()?;
    let Some(opa) = settings.shadow().map_err(anyhow::Error::msg)? else {
        return Ok(());
    };
    let (witness, comparator) = shadow::channel(opa, settings.shadow_queue_length);
    engine.attach(witness);
    let (db, comparator) = (db.clone(), Arc::new(tokio::sync::Mutex::new(comparator)));
    parts
        .lifecycle
        .spawn("policy shadow", OnFailure::Restart, move |stop| {
            let (db, comparator) = (db.clone(), Arc::clone(&comparator));
            async move {
                comparator.lock().await.run(&db, &stop).await;
                Ok::<_, anyhow::Error>(())
            }
        });
    Ok(())
}

/// Pages people about differences that any role recorded; `db` is of the orchestrator's role.
pub(super) fn page_differences(parts: &Parts, db: &Db) -> anyhow::Result<()> {
    if parts.config.get::<config::Policy>()?.shadow_url.is_none() {
        return Ok(());
    }
    let db = db.clone();
    parts
        .lifecycle
        .spawn("policy alarms", OnFailure::Restart, move |stop| {
            let db = db.clone();
            async move {
                loop {
                    for tenant in tenants(&db).await? {
                        let mut tx = db.begin(&tenant).await?;
                        shadow::page_recorded(&mut tx, &OpCtx::system("policy-shadow", tenant)).await?;
                        tx.commit().await?;
                    }
                    let pause = tokio::time::sleep(PAGE_EVERY);
                    if stop.run_until_cancelled(pause).await.is_none() {
                        return Ok::<_, anyhow::Error>(());
                    }
                }
            }
        });
    Ok(())
}

async fn tenants(db: &Db) -> Result<Vec<TenantId>, crate::store::Error> {
    let mut tx = db.begin_global().await?;
    let tenants = tenant::list(&mut tx).await?;
    tx.commit().await?;
    Ok(tenants)
}

async fn refresh(db: &Db, engine: &Engine) -> anyhow::Result<()> {
    let mut tx = db.begin_global().await?;
    let bundle = match policies::active(&mut tx).await? {
        Some(active) if active.digest != engine.digest() => {
            Some(policies::get(&mut tx, active.digest).await?)
        }
        _ => None,
    };
    tx.commit().await?;
    if let Some(bundle) = bundle {
        engine.swap(&bundle)?;
        tracing::info!(digest = %bundle.digest(), "another policy bundle is active");
    }
    Ok(())
}
