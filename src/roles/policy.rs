//! The policy of a process: the active bundle, compiled once, and swapped when another becomes active.

use std::{sync::Arc, time::Duration};

use super::{OnFailure, Parts};
use crate::{
    domain::{OpCtx, TenantId},
    policy::{Bundle, Engine, store as policies},
    store::Db,
};

/// Pause between two looks at which bundle is active.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The engine on the active bundle. It follows the active one; the last good bundle stays when another does not compile.
pub(super) async fn follow(parts: &Parts, db: &Db) -> anyhow::Result<Arc<Engine>> {
    let engine = Arc::new(Engine::from_bundle(&Bundle::builtin())?);
    refresh(db, &engine).await?;
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
