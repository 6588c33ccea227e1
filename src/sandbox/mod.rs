//! Runs argument vectors with nothing else in reach.
//!
//! In: a [`Job`]: argument vectors, environment, files, folders, hosts and limits. Out: an [`Outcome`] whose text is redacted.
//! Always holds: each layer of the profile is active or the job is refused, naming the layer and the remedy; there is no
//! unsandboxed mode; raw output and secret files never leave the supervising process; nothing that a job started outlives it.
//! How: the caller starts its own executable again as the *supervisor* (`sandbox-child`), with an empty environment and the
//! job on its standard input. In profile `ns` the supervisor moves to new user, pid, net, ipc and uts namespaces and starts
//! the *init* (`sandbox-init`, first process of the pid namespace), which builds a private root; in profile `pod` it becomes
//! a subreaper. Each command is an `sandbox-exec` stage that puts on Landlock, seccomp and rlimits and then becomes the command.
//! Deliberately not here: which argv may run (warrant, tools), credentials (tools), any database.

mod cgroup;
mod check;
mod confine;
mod doctor;
pub mod egress;
mod enter;
mod exec_stage;
mod filter;
mod forward;
mod init_stage;
mod jail;
mod job;
mod kill;
mod launch;
pub mod remote;
mod root;
mod run_command;
mod runner;
mod seal;
pub mod server;
mod signed;
mod stage;
mod supervise;
mod wire;

pub use crate::domain::redact;
pub use doctor::doctor;
pub use job::{
    Command, CommandOutcome, Error, Exit, HostPort, HostPortError, Job, JobFile, LayerState, Limits, Mount,
    Outcome, Profile,
};
pub use remote::{RemoteConfig, RemoteEgress, RemoteRunner};
pub use runner::{LocalConfig, LocalRunner, Runner};
pub use seal::{SealError, SealingKey, SealingPublicKey};
pub use stage::child_main_if_asked;
