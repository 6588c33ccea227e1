//! What may be asked of a sandbox, and what comes back.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr};

use secrecy::{SecretSlice, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// One visit to a sandbox: commands that run in order in one private folder, until the first that fails.
#[derive(Debug, Clone)]
pub struct Job {
    /// Names the job; a sandbox runs a nonce once.
    pub nonce: Uuid,
    /// At least one.
    pub commands: Vec<Command>,
    /// The commands' environment, beside `PATH`, `HOME`, `LANG`, `TMPDIR`, git's and the proxy's variables.
    /// `{{egress_proxy}}` stands for the proxy's URL and `{{job_dir}}` for the folder in which the commands run.
    pub env: BTreeMap<String, String>,
    /// Written before the first command, mode 0600, wiped afterwards; the same placeholders hold in text files.
    pub files: Vec<JobFile>,
    /// Folders of the host that the commands see, at the same path.
    pub mounts: Vec<Mount>,
    /// All that can be reached by network. Empty: there is no network.
    pub egress: Vec<HostPort>,
    /// Bounds of the job.
    pub limits: Limits,
    /// Values to mask in the output, beside those of secret files and of variables with a telling name.
    pub secrets: Vec<SecretString>,
}

impl Job {
    /// A job without environment, files, folders or network, under the default limits.
    #[must_use]
    pub fn new(nonce: Uuid, commands: Vec<Command>) -> Self {
        Self {
            nonce,
            commands,
            env: BTreeMap::new(),
            files: Vec::new(),
            mounts: Vec::new(),
            egress: Vec::new(),
            limits: Limits::default(),
            secrets: Vec::new(),
        }
    }
}

/// One argument vector; never a shell string.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// Program, looked up on the sandbox's `PATH`, and its arguments.
    pub argv: Vec<String>,
    /// Standard input; without it the command reads an end of file.
    pub stdin: Option<Vec<u8>>,
}

impl Command {
    /// A command without standard input.
    #[must_use]
    pub fn new<I: IntoIterator<Item = S>, S: Into<String>>(argv: I) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            stdin: None,
        }
    }
}

/// A file that the commands find in their folder.
#[derive(Debug, Clone)]
pub struct JobFile {
    /// Relative to the commands' folder; no `..`.
    pub path: String,
    /// Its bytes.
    pub contents: SecretSlice<u8>,
    /// Whether its values are masked in the output.
    pub secret: bool,
}

/// A folder of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute, and outside of the system's folders.
    pub path: PathBuf,
    /// Whether the commands may change it.
    pub writable: bool,
}

/// Bounds of a job. None can be switched off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Wall-clock time of all commands together.
    pub timeout_secs: u32,
    /// Address space of each process (and memory of all, where a cgroup is configured).
    pub memory_bytes: u64,
    /// Processes and threads at a time.
    pub processes: u32,
    /// Largest file, and in profile `ns` all files of the private folder together.
    pub file_bytes: u64,
    /// Most output kept, for each of stdout and stderr of a command; the rest is dropped and `truncated` is set.
    pub output_bytes: usize,
    /// Processor time of each process.
    pub cpu_secs: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout_secs: 60,
            memory_bytes: 4 << 30,
            processes: 256,
            file_bytes: 256 << 20,
            output_bytes: 1_000_000,
            cpu_secs: 60,
        }
    }
}

/// A host and a port that a job may reach. Written `host:port` (`[addr]:port` for IPv6); the host in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// A name or a literal address, without brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

/// The text is not `host:port`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `host:port`, without wildcards")]
pub struct HostPortError;

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        let (host, port) = text.rsplit_once(':').ok_or(HostPortError)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(HostPortError)?;
        let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = match literal {
            Some(addr) => addr
                .parse::<std::net::Ipv6Addr>()
                .map_err(|_| HostPortError)?
                .to_string(),
            None => host.trim_end_matches('.').to_ascii_lowercase(),
        };
        let name = host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        if host.is_empty() || (literal.is_none() && !name) {
            return Err(HostPortError);
        }
        Ok(Self { host, port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Serialize for HostPort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Which set of layers. Anything less than all layers of the set refuses the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// `ns`, and where the machine has no namespaces to give, `pod`.
    #[default]
    Auto,
    /// User, mount, pid, net, ipc and uts namespaces, Landlock, seccomp, rlimits.
    Ns,
    /// For pods that may not make namespaces: Landlock with TCP rules, a narrower seccomp filter, rlimits, a kill loop.
    Pod,
}

/// What happened in the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// One for each command that was tried, in order.
    pub commands: Vec<CommandOutcome>,
    /// The layers that were in force.
    pub layers: Vec<LayerState>,
    /// Whether any command began to run.
    pub started: bool,
}

impl Outcome {
    /// Whether every command was tried and ended with exit code 0.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        !self.commands.is_empty() && self.commands.iter().all(|c| c.exit == Exit::Code(0))
    }
}

/// What one command did. The text is redacted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandOutcome {
    /// How it ended.
    pub exit: Exit,
    /// Standard output.
    pub stdout: String,
    /// Standard error; the reason when it was not started.
    pub stderr: String,
    /// Whether output was dropped.
    pub truncated: bool,
    /// Wall-clock time.
    pub duration_ms: u64,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// With this exit code.
    Code(i32),
    /// By this signal, from itself or from a limit.
    Signal(i32),
    /// Killed at the deadline. What it did until then is not known.
    TimedOut,
    /// The program could not be executed; nothing ran.
    NotStarted,
}

/// One layer of isolation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerState {
    /// Profile and layer, as in `ns.user`.
    pub name: String,
    /// Whether it is (or can be) in force.
    pub active: bool,
    /// What it covers, or why it cannot be had and what to do.
    pub detail: String,
}

/// Why there is no outcome.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A layer of the profile cannot be had.
    #[error("refused: layer {layer} is not available: {reason}; {remedy}")]
    Refused {
        /// Its name, as in `ns.user`.
        layer: String,
        /// What the kernel said.
        reason: String,
        /// What to change.
        remedy: String,
    },
    /// The job itself is not acceptable.
    #[error("the job is not acceptable: {0}")]
    Invalid(String),
    /// All places are taken, and no one became free in time.
    #[error("the sandbox is busy")]
    Busy,
    /// A job of this nonce was seen before. Whether that one ran is another question: ask for its state.
    #[error("a job with this nonce was seen before")]
    Replayed,
    /// The signature is not of the configured key over this job.
    #[error("the signature does not fit")]
    BadSignature,
    /// The job is for another sandbox.
    #[error("the job is addressed to another sandbox")]
    WrongAudience,
    /// The job came after its deadline.
    #[error("the job's deadline has passed")]
    Expired,
    /// Something failed before any command began.
    #[error("the job was not started: {0}")]
    NotStarted(String),
    /// The sandbox went away with commands under way: what they did is not known.
    #[error("the job was lost while running: {0}")]
    Lost(String),
}

impl Error {
    /// Whether it is certain that no command of this call began to run.
    #[must_use]
    pub fn nothing_started(&self) -> bool {
        !matches!(self, Self::Lost(_) | Self::Replayed)
    }
}
