//! The life of a process: tasks, what their failure means, and an orderly end.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What it means when a task ends with an error or a panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// It is logged, and that is all.
    Log,
    /// It is logged and started again, after a pause that doubles from half a second to half a minute.
    Restart,
    /// The process cannot do its work without it: it stops.
    StopProcess,
}

/// Spawns the tasks of a process and ends them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Ends the wait for tasks: the second signal.
    now: CancellationToken,
    stop: CancellationToken,
    draining: AtomicBool,
    tasks: TaskTracker,
    failure: OnceLock<String>,
}

impl Lifecycle {
    /// A process that runs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when work must come to an end: stop taking more, finish or hand back what runs.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.inner.stop.clone()
    }

    /// Whether the process is about to end: readiness is over.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.inner.draining.load(Ordering::Acquire)
    }

    /// Runs `task` until it ends or the process does. It gets the token of [`Lifecycle::stopping`], and is called again
    /// after a failure when that is what failure means.
    #[expect(clippy::disallowed_methods, reason = "the one place where tasks are spawned")]
    pub fn spawn<F, Fut, E>(&self, name: &'static str, on_failure: OnFailure, task: F)
    where
        F: Fn(CancellationToken) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send,
        E: std::fmt::Display + Send,
    {
        let lifecycle = self.clone();
        let _running = tokio::spawn(self.inner.tasks.track_future(async move {
            lifecycle.run(name, on_failure, task).await;
        }));
    }

    /// Asks the process to end, because of `failure`.
    pub fn fail(&self, failure: &str) {
        // The first failure is the cause; later ones follow from it.
        let _ = self.inner.failure.set(failure.to_owned());
        self.stop(failure);
    }

    /// Asks the process to end. Readiness ends at once, the tasks when they can.
    pub fn stop(&self, reason: &str) {
        if !self.inner.draining.swap(true, Ordering::AcqRel) {
            tracing::info!(reason, "stopping");
        }
        self.inner.stop.cancel();
    }

    /// From now on SIGTERM and SIGINT stop the process; a second one ends the wait for its tasks.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    #[expect(
        clippy::disallowed_methods,
        reason = "it must outlive the tasks that it waits for"
    )]
    pub fn watch_signals(&self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let lifecycle = self.clone();
        let _watching = tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                if lifecycle.is_draining() {
                    tracing::warn!(signal = name, "a second signal: ending now");
                    lifecycle.inner.now.cancel();
                } else {
                    lifecycle.stop(name);
                }
            }
        });
        Ok(())
    }

    /// Waits until the process is asked to end, and then for its tasks, `within` at most.
    ///
    /// # Errors
    /// The failure that ended it.
    pub async fn until_ended(&self, within: Duration) -> anyhow::Result<()> {
        self.inner.stop.cancelled().await;
        self.inner.tasks.close();
        tokio::select! {
            () = self.inner.tasks.wait() => tracing::info!("stopped"),
            () = self.inner.now.cancelled() => {}
            () = tokio::time::sleep(within) => {
                tracing::warn!(tasks = self.inner.tasks.len(), "tasks did not end in time; ending without them");
            }
        }
        match self.inner.failure.get() {
            Some(failure) => Err(anyhow::anyhow!("{failure}")),
            None => Ok(()),
        }
    }

    async fn run<F, Fut, E>(&self, name: &'static str, on_failure: OnFailure, task: F)
    where
        F: Fn(CancellationToken) -> Fut,
        Fut: Future<Output = Result<(), E>>,
        E: std::fmt::Display,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = tokio::time::Instant::now();
            let failure = match AssertUnwindSafe(task(self.stopping())).catch_unwind().await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(panic) => format!("panicked: {}", panic_text(panic.as_ref())),
            };
            metrics::counter!("carapulse_roles_task_failures_total", "task" => name).increment(1);
            tracing::error!(task = name, error = failure, "a task failed");
            match on_failure {
                OnFailure::Log => return,
                OnFailure::StopProcess => return self.fail(&format!("{name}: {failure}")),
                OnFailure::Restart => {}
            }
            if began.elapsed() > LAST_PAUSE * 2 {
                pause = FIRST_PAUSE;
            }
            tokio::select! {
                () = self.inner.stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }
}

const FIRST_PAUSE: Duration = if cfg!(test) {
    Duration::from_millis(5)
} else {
    Duration::from_millis(500)
};
const LAST_PAUSE: Duration = Duration::from_secs(30);

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[tokio::test]
    async fn a_failed_or_panicking_task_is_started_again_when_that_is_wanted() {
        let lifecycle = Lifecycle::new();
        let runs = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&runs);
        lifecycle.spawn("test", OnFailure::Restart, move |_| {
            let run = counter.fetch_add(1, Ordering::SeqCst);
            async move {
                match run {
                    0 => Err("first"),
                    1 => panic!("second"),
                    _ => Ok(()),
                }
            }
        });
        lifecycle.inner.tasks.close();
        tokio::time::timeout(Duration::from_secs(10), lifecycle.inner.tasks.wait())
            .await
            .unwrap();
        assert_eq!(runs.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn the_first_failure_of_a_needed_task_ends_the_process_and_is_told() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn("needed", OnFailure::StopProcess, |_| async { Err("gone") });
        lifecycle.spawn("other", OnFailure::StopProcess, |stop| async move {
            stop.cancelled().await;
            Err("because of that")
        });
        let error = lifecycle.until_ended(Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(error.to_string(), "needed: gone");
        assert!(lifecycle.is_draining());
    }

    #[tokio::test]
    async fn running_work_may_end_and_a_stuck_task_does_not_hold_the_process() {
        let lifecycle = Lifecycle::new();
        let done = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&done);
        lifecycle.spawn("working", OnFailure::Log, move |stop| {
            let flag = Arc::clone(&flag);
            async move {
                stop.cancelled().await;
                tokio::time::sleep(Duration::from_millis(10)).await;
                flag.store(true, Ordering::SeqCst);
                Ok::<_, &str>(())
            }
        });
        lifecycle.spawn("stuck", OnFailure::Log, |_| {
            std::future::pending::<Result<(), &str>>()
        });
        lifecycle.stop("test");
        let ended = lifecycle.until_ended(Duration::from_millis(200));
        tokio::time::timeout(Duration::from_secs(10), ended)
            .await
            .unwrap()
            .unwrap();
        assert!(done.load(Ordering::SeqCst));
    }
}
