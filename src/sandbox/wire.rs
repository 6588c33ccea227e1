//! What the stages say to each other over pipes: frames of a length (4 bytes, big-endian) and JSON.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    path::PathBuf,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

use super::job::{CommandOutcome, LayerState, Limits, Mount, Profile};

/// Largest frame, in bytes.
pub(super) const MAX_FRAME_BYTES: usize = 256 << 20;

/// Bytes as base64 in JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Blob(pub(super) Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Caller to supervisor: the whole job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) nonce: uuid::Uuid,
    pub(super) profile: Profile,
    /// Process id of the caller, so that a supervisor whose caller is already gone does not begin.
    pub(super) caller_pid: i32,
    pub(super) commands: Vec<CommandSpec>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) files: Vec<FileSpec>,
    pub(super) mounts: Vec<Mount>,
    pub(super) proxy_socket: Option<PathBuf>,
    pub(super) limits: Limits,
    pub(super) secrets: Vec<String>,
    /// `PATH` of the commands.
    pub(super) path: String,
    /// Folders with tools, beyond the system's.
    pub(super) tool_dirs: Vec<PathBuf>,
    /// Parent of the job's folder in profile `pod`.
    pub(super) scratch_dir: PathBuf,
    /// A cgroup made for this job.
    pub(super) cgroup: Option<PathBuf>,
    /// Do not run anything: put on every layer and report.
    pub(super) probe: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CommandSpec {
    pub(super) argv: Vec<String>,
    pub(super) stdin: Option<Blob>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FileSpec {
    pub(super) path: String,
    pub(super) contents: Blob,
    pub(super) secret: bool,
}

/// Supervisor to caller.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Reply {
    Refused(Refusal),
    NotStarted(String),
    /// From here on a command may run.
    Started,
    Finished {
        commands: Vec<CommandOutcome>,
        layers: Vec<LayerState>,
    },
}

/// A layer that cannot be had.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Refusal {
    pub(super) layer: String,
    pub(super) reason: String,
    pub(super) remedy: String,
}

impl Refusal {
    pub(super) fn new(layer: &str, reason: impl std::fmt::Display, remedy: &str) -> Self {
        Self {
            layer: layer.to_owned(),
            reason: reason.to_string(),
            remedy: remedy.to_owned(),
        }
    }
}

/// Supervisor to init: the private root to build.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct InitRequest {
    pub(super) files: Vec<FileSpec>,
    pub(super) mounts: Vec<Mount>,
    pub(super) tool_dirs: Vec<PathBuf>,
    pub(super) file_bytes: u64,
}

/// Init to supervisor.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum InitReply {
    Ready,
    Refused(Refusal),
    Failed(String),
}

/// Supervisor to the stage that becomes the command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ExecRequest {
    pub(super) profile: Profile,
    /// Starts the line with which the stage reports on stderr; the command never learns it.
    pub(super) token: String,
    pub(super) argv: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    /// Process whose mount namespace to join.
    pub(super) init_pid: Option<i32>,
    /// The job's folder, with `work`, `home` and `tmp`.
    pub(super) job_dir: PathBuf,
    pub(super) mounts: Vec<Mount>,
    pub(super) tool_dirs: Vec<PathBuf>,
    pub(super) limits: Limits,
    pub(super) proxy_port: Option<u16>,
    pub(super) probe: bool,
}

/// What the exec stage reports on stderr, before it becomes the command or instead of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum ExecReport {
    Confined(Vec<LayerState>),
    Refused(Refusal),
    Failed(String),
}

/// A frame's bytes.
pub(super) fn frame<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len()).map_err(|_| io::Error::other("a message of more than 4 GiB"))?;
    let mut bytes = Vec::with_capacity(json.len() + 4);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&json);
    Ok(bytes)
}

/// Writes one frame.
pub(super) fn write_frame<T: Serialize>(mut to: impl Write, message: &T) -> io::Result<()> {
    to.write_all(&frame(message)?)?;
    to.flush()
}

/// Reads one frame and not a byte more, so that the rest of a standard input stays for the command.
pub(super) fn read_frame<T: DeserializeOwned>(mut from: impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut json = vec![0; checked_length(length)?];
    from.read_exact(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

/// The length that a frame's first four bytes announce.
pub(super) fn checked_length(bytes: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_be_bytes(bytes) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(io::Error::other("a frame beyond 256 MiB"));
    }
    Ok(length)
}
