//! Where jobs run: in a sandbox of this machine, or at a sandbox role.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};
use tracing::Instrument;
use uuid::Uuid;

use super::{
    Error, Job, LayerState, Outcome, Profile,
    cgroup::JobCgroup,
    check, egress,
    launch::{Launch, launch},
    remote::RemoteRunner,
    wire::{Blob, CommandSpec, FileSpec, Request},
};

/// How this machine's sandboxes are made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalConfig {
    /// The executable whose `main` calls [`super::child_main_if_asked`]; this process' own by default.
    pub executable: PathBuf,
    /// Which set of layers.
    pub profile: Profile,
    /// `PATH` of the commands.
    pub path: String,
    /// Folders with further programs, readable and executable.
    pub tool_dirs: Vec<PathBuf>,
    /// Where profile `pod` makes the jobs' folders; best a memory-backed one.
    pub scratch_dir: PathBuf,
    /// A delegated cgroup; without it there are only rlimits.
    pub cgroup_parent: Option<PathBuf>,
    /// Jobs at a time.
    pub max_jobs: usize,
    /// Jobs that may wait for a place.
    pub max_waiting: usize,
    /// How long a job waits for a place.
    pub max_wait_secs: u32,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self {
            executable: PathBuf::from(super::stage::SELF_EXE),
            profile: Profile::Auto,
            path: "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin".to_owned(),
            tool_dirs: Vec::new(),
            scratch_dir: std::env::temp_dir(),
            cgroup_parent: None,
            max_jobs: 8,
            max_waiting: 64,
            max_wait_secs: 30,
        }
    }
}

impl LocalConfig {
    /// With further programs from `dirs`, which are looked at before the system's.
    #[must_use]
    pub fn with_tool_dirs(mut self, dirs: Vec<PathBuf>) -> Self {
        let own = dirs.iter().map(|dir| dir.display().to_string());
        self.path = own
            .chain([std::mem::take(&mut self.path)])
            .collect::<Vec<_>>()
            .join(":");
        self.tool_dirs.extend(dirs);
        self
    }
}

/// Runs jobs. Cheap to clone; clones share their places.
#[derive(Debug, Clone)]
pub enum Runner {
    /// On this machine.
    Local(Arc<LocalRunner>),
    /// At a sandbox role.
    Remote(Arc<RemoteRunner>),
}

impl Runner {
    /// A runner on this machine.
    #[must_use]
    pub fn local(config: LocalConfig) -> Self {
        Self::Local(Arc::new(LocalRunner::new(config)))
    }

    /// Runs a job to its end. Dropping the future ends the job. An error says whether anything began
    /// ([`Error::nothing_started`]); a command that failed is no error but part of the outcome.
    pub async fn run(&self, job: Job) -> Result<Outcome, Error> {
        match self {
            Self::Local(runner) => runner.run(job).await,
            Self::Remote(runner) => runner.run(job).await,
        }
    }

    /// Whether a job of this nonce is running now, as far as this runner knows.
    pub async fn running(&self, nonce: Uuid) -> Result<bool, Error> {
        match self {
            Self::Local(runner) => Ok(runner.is_running(nonce)),
            Self::Remote(runner) => runner.running(nonce).await,
        }
    }
}

/// Runs jobs on this machine, so many at a time.
#[derive(Debug)]
pub struct LocalRunner {
    config: LocalConfig,
    places: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    running: Arc<Mutex<HashSet<Uuid>>>,
}

impl LocalRunner {
    /// A runner with free places.
    #[must_use]
    pub fn new(config: LocalConfig) -> Self {
        Self {
            places: Arc::new(Semaphore::new(config.max_jobs)),
            queue: Arc::new(Semaphore::new(config.max_jobs + config.max_waiting)),
            running: Arc::default(),
            config,
        }
    }

    /// See [`Runner::run`]. The egress proxy, if the job needs one, runs in this process.
    pub async fn run(&self, job: Job) -> Result<Outcome, Error> {
        check::job(&job)?;
        let proxy = match job.egress.as_slice() {
            [] => None,
            allow => Some(
                egress::EgressProxy::start(allow.to_vec())
                    .await
                    .map_err(|e| Error::NotStarted(format!("the egress proxy: {e}")))?,
            ),
        };
        let socket = proxy.as_ref().map(|proxy| proxy.socket().to_owned());
        self.run_with_proxy(job, socket).await
    }

    /// Runs a job whose way out is a proxy (or a relay to one) behind this unix socket.
    pub(super) async fn run_with_proxy(
        &self,
        job: Job,
        proxy_socket: Option<PathBuf>,
    ) -> Result<Outcome, Error> {
        let began = Instant::now();
        let span = tracing::info_span!("sandbox_job", nonce = %job.nonce, commands = job.commands.len());
        let result = self
            .admit_and_run(job, proxy_socket)
            .instrument(span.clone())
            .await;
        let outcome = outcome_label(&result);
        metrics::counter!("carapulse_sandbox_jobs_total", "outcome" => outcome).increment(1);
        metrics::histogram!("carapulse_sandbox_job_duration_seconds").record(began.elapsed().as_secs_f64());
        span.in_scope(|| match &result {
            Err(Error::Refused {
                layer,
                reason,
                remedy,
            }) => tracing::error!(layer, reason, remedy, "the sandbox refused a job"),
            Err(error) => tracing::warn!(%error, "a sandbox job has no outcome"),
            Ok(_) => tracing::debug!(outcome, "a sandbox job ended"),
        });
        result
    }

    /// Whether a job of this nonce has been admitted and has not ended.
    #[must_use]
    pub fn is_running(&self, nonce: Uuid) -> bool {
        self.lock_running().contains(&nonce)
    }

    /// The state of each layer, by putting them on around nothing.
    pub(super) async fn probe(&self, profile: Profile) -> Result<Vec<LayerState>, Error> {
        let nonce = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        let job = Job::new(nonce, vec![super::Command::new(["probe"])]);
        let mut request = self.request(job, None);
        request.profile = profile;
        request.probe = true;
        launch(self.launch_options(&request, Duration::ZERO), request)
            .await
            .map(|outcome| outcome.layers)
    }

    async fn admit_and_run(&self, job: Job, proxy_socket: Option<PathBuf>) -> Result<Outcome, Error> {
        check::job(&job)?;
        let _running = Running::enter(&self.running, job.nonce)?;
        let (_queued, _place) = self.place().await?;
        let cgroup = match &self.config.cgroup_parent {
            Some(parent) => Some(JobCgroup::create(parent, job.nonce, &job.limits)?),
            None => None,
        };
        let time = Duration::from_secs(job.limits.timeout_secs.into());
        let mut request = self.request(job, proxy_socket);
        request.cgroup = cgroup.as_ref().map(|group| group.path().to_owned());
        if self.config.profile != Profile::Auto {
            return launch(self.launch_options(&request, time), request).await;
        }
        request.profile = Profile::Ns;
        match launch(self.launch_options(&request, time), request.clone()).await {
            Err(Error::Refused { layer, reason, .. }) if lacks_namespaces(&layer) => {
                tracing::info!(layer, reason, "no namespaces: using profile pod");
                request.profile = Profile::Pod;
                launch(self.launch_options(&request, time), request).await
            }
            result => result,
        }
    }

    async fn place(&self) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), Error> {
        let queued = Arc::clone(&self.queue)
            .try_acquire_owned()
            .map_err(|_| Error::Busy)?;
        let wait = Duration::from_secs(self.config.max_wait_secs.into());
        let place = timeout(wait, Arc::clone(&self.places).acquire_owned()).await;
        match place {
            Ok(Ok(place)) => Ok((queued, place)),
            _ => Err(Error::Busy),
        }
    }

    fn launch_options(&self, request: &Request, time: Duration) -> Launch {
        Launch {
            executable: self.config.executable.clone(),
            profile: request.profile,
            time,
        }
    }

    fn request(&self, job: Job, proxy_socket: Option<PathBuf>) -> Request {
        let files = job.files.into_iter().map(|file| FileSpec {
            contents: Blob(file.contents.expose_secret().to_vec()),
            path: file.path,
            secret: file.secret,
        });
        let commands = job.commands.into_iter().map(|c| CommandSpec {
            argv: c.argv,
            stdin: c.stdin.map(Blob),
        });
        Request {
            nonce: job.nonce,
            profile: self.config.profile,
            caller_pid: std::process::id().cast_signed(),
            commands: commands.collect(),
            env: job.env,
            files: files.collect(),
            mounts: job.mounts,
            proxy_socket,
            limits: job.limits,
            secrets: job
                .secrets
                .iter()
                .map(|secret| secret.expose_secret().to_owned())
                .collect(),
            path: self.config.path.clone(),
            tool_dirs: self.config.tool_dirs.clone(),
            scratch_dir: self.config.scratch_dir.clone(),
            cgroup: None,
            probe: false,
        }
    }

    fn lock_running(&self) -> std::sync::MutexGuard<'_, HashSet<Uuid>> {
        self.running
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Only a missing namespace leads from `ns` to `pod`; any other refusal stands.
fn lacks_namespaces(layer: &str) -> bool {
    matches!(
        layer,
        "ns.user" | "ns.mount" | "ns.pid" | "ns.net" | "ns.ipc" | "ns.uts"
    )
}

fn outcome_label(result: &Result<Outcome, Error>) -> &'static str {
    match result {
        Ok(outcome) if outcome.succeeded() => "succeeded",
        Ok(_) => "failed",
        Err(Error::Refused { .. }) => "refused",
        Err(Error::Busy) => "busy",
        Err(error) if error.nothing_started() => "not_started",
        Err(_) => "lost",
    }
}

/// A nonce in the set of running jobs, for as long as this lives.
#[derive(Debug)]
struct Running {
    set: Arc<Mutex<HashSet<Uuid>>>,
    nonce: Uuid,
}

impl Running {
    fn enter(set: &Arc<Mutex<HashSet<Uuid>>>, nonce: Uuid) -> Result<Self, Error> {
        let fresh = set
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(nonce);
        if fresh {
            Ok(Self {
                set: Arc::clone(set),
                nonce,
            })
        } else {
            Err(Error::Replayed)
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.set
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .remove(&self.nonce);
    }
}
