//! Whether the process may write: its clock against the database's, and what the database says of itself, looked at again
//! and again.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Health, OnFailure, Parts};
use crate::{
    domain::{SystemClock, WriteGate, WritesRefused},
    store::Db,
};

/// Pause between two measurements.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// Measures now, and until the process stops. A database that does not answer leaves the last measurement: that it is
/// silent has a check of its own.
pub(super) async fn watch(parts: &Parts, role: &'static str, db: &Db) -> WriteGate {
    let gate = WriteGate::unmeasured();
    measure(&gate, role, db).await;
    let (measured, db) = (gate.clone(), db.clone());
    parts.lifecycle.spawn("clock", OnFailure::Restart, move |stop| {
        let (gate, db) = (measured.clone(), db.clone());
        async move {
            while stop
                .run_until_cancelled(tokio::time::sleep(MEASURE_EVERY))
                .await
                .is_some()
            {
                measure(&gate, role, &db).await;
            }
            Ok::<_, anyhow::Error>(())
        }
    });
    gate
}

/// Readiness: a role that may write nothing takes no work.
pub(super) fn check(health: Health, gate: &WriteGate) -> Health {
    let gate = gate.clone();
    health.with("clock", move || {
        let checked = gate.check_clock().map_err(|error| error.to_string());
        async move { checked }
    })
}

/// Runs `work` while the clocks agree: it is told to stop when they do not, and begun again when they do.
pub(super) async fn while_in_time<F, E>(
    gate: &WriteGate,
    stop: &CancellationToken,
    mut work: impl FnMut(CancellationToken) -> F,
) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
{
    while !stop.is_cancelled() {
        if gate.check_clock().is_err() {
            stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await;
            continue;
        }
        let turn = stop.child_token();
        let mut working = std::pin::pin!(work(turn.clone()));
        tokio::select! {
            ended = &mut working => return ended,
            () = until_apart(gate) => {
                turn.cancel();
                working.await?;
            }
        }
    }
    Ok(())
}

/// Pause between two looks at the last measurement.
const LOOK_EVERY: Duration = if cfg!(test) {
    Duration::from_millis(2)
} else {
    Duration::from_millis(500)
};

async fn until_apart(gate: &WriteGate) {
    while gate.check_clock().is_ok() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn measure(gate: &WriteGate, role: &'static str, db: &Db) {
    let before = gate.check();
    let (skew, restored) = (db.clock_skew_millis(&SystemClock).await, db.is_read_only().await);
    let complete = skew.is_ok() && restored.is_ok();
    if let Ok(millis) = skew {
        gate.set_skew(millis);
        metrics::gauge!("carapulse_clock_skew_seconds", "role" => role).set(seconds(millis));
    }
    if let Ok(read_only) = restored {
        gate.set_read_only(read_only);
        metrics::gauge!("carapulse_read_only", "role" => role).set(f64::from(u8::from(read_only)));
    }
    if complete {
        gate.open();
    }
    match (before, gate.check()) {
        (before, Err(error)) if before != Err(error) => tracing::error!(role, %error, "writes are refused"),
        (Err(WritesRefused::Unmeasured), Ok(())) => {}
        (Err(_), Ok(())) => tracing::info!(role, "writes are taken again"),
        _ => {}
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;

    #[tokio::test]
    async fn work_stops_while_the_clocks_disagree_and_goes_on_after() {
        let (gate, stop) = (WriteGate::default(), CancellationToken::new());
        let (begun, ended) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let work = |turn: CancellationToken| {
            let (begun, ended) = (Arc::clone(&begun), Arc::clone(&ended));
            async move {
                begun.fetch_add(1, Ordering::SeqCst);
                turn.cancelled().await;
                ended.fetch_add(1, Ordering::SeqCst);
                Ok::<_, anyhow::Error>(())
            }
        };
        let until = async |expected: (u32, u32)| {
            while (begun.load(Ordering::SeqCst), ended.load(Ordering::SeqCst)) != expected {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let script = async {
            until((1, 0)).await;
            gate.set_skew(5000);
            until((1, 1)).await;
            gate.set_skew(0);
            until((2, 1)).await;
            stop.cancel();
        };
        let script = tokio::time::timeout(Duration::from_secs(20), script);
        let (worked, played) = tokio::join!(while_in_time(&gate, &stop, work), script);
        worked.unwrap();
        played.unwrap();
        assert_eq!(ended.load(Ordering::SeqCst), 2);
    }
}
