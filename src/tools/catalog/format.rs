//! The shape of a tool's definition file, as written. Closed: an unknown key refuses the file.
//!
//! The format has no expressions, loops or conditionals, and there is no hook: what needs several programs is a sequence of
//! `commands` that run in order in one folder of one sandbox, until the first that fails.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::{EffectKind, Guard, Risk};

/// A whole file: one tool.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToolFile {
    pub(super) tool: String,
    pub(super) summary: String,
    pub(super) place: Place,
    pub(super) evidence_kind: String,
    pub(super) credential: Option<CredentialSpec>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    pub(super) actions: BTreeMap<String, ActionSpec>,
}

/// What a target must have for the tool: where commands land, and what they may reach by network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A git repository: its host, or a folder of this machine.
    Git,
    /// A Kubernetes API: its server.
    Kubernetes,
    /// A Prometheus: called by the connector, no process.
    Prometheus,
}

/// Which credential a command finds, where, and under which variables.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CredentialSpec {
    pub(crate) kind: CredentialKind,
    pub(crate) file: String,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
}

/// Kinds of credential that the router knows to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CredentialKind {
    Kubeconfig,
    GitHttps,
}

/// Reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Changes nothing; needs no approval.
    Read,
    /// Changes something; needs a warrant.
    Write,
}

impl Class {
    /// The word used in JSON and in policy input.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// One action, as written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActionSpec {
    #[serde(skip_serializing)]
    pub(crate) summary: String,
    pub(crate) class: Class,
    pub(crate) risk: Risk,
    pub(crate) effect: EffectKind,
    pub(crate) guard: Guard,
    /// Only for captures and probes: no plan may name it.
    #[serde(default)]
    pub(crate) internal: bool,
    pub(crate) timeout_secs: u32,
    pub(crate) output_bytes: usize,
    #[serde(default)]
    pub(crate) args: BTreeMap<String, ArgSpec>,
    #[serde(default)]
    pub(crate) commands: Vec<CommandSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http: Option<HttpSpec>,
    /// What exit codes other than 0 mean; the rest mean `failed`.
    #[serde(default)]
    pub(crate) exit_codes: BTreeMap<String, ExitMeaning>,
    #[serde(default)]
    pub(crate) files: Vec<FileSpec>,
    pub(crate) output: OutputSpec,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) capture: Option<CaptureSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) probe: Option<ProbeSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) inverse: Option<InverseEntry>,
}

/// One argument, as written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArgSpec {
    pub(crate) kind: ArgKind,
    #[serde(skip_serializing)]
    pub(crate) summary: String,
    #[serde(default)]
    pub(crate) required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pattern: Option<Pattern>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) kinds: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<serde_json::Value>,
}

/// Types of argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ArgKind {
    /// Text of one `pattern`.
    String,
    /// `kind/name`, the kind one of `kinds`.
    Workload,
    /// `kind` or `kind/name`, the kind one of `kinds`.
    Resource,
    /// Whole number from `min` to `max`.
    Integer,
    Boolean,
    /// At most `max` texts of one `pattern`.
    List,
    /// `env:NAME` or `file:PATH`: resolved in the router, given to the command in a file, never in its arguments.
    Secret,
}

/// The closed list of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pattern {
    Name,
    Commit,
    Revision,
    Ref,
    Path,
    Selector,
    Promql,
    Duration,
    Rfc3339,
}

/// One program and its arguments.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandSpec {
    pub(crate) argv: Vec<ArgvPart>,
    /// This command takes the effect of a write; those before it only prepare.
    #[serde(default)]
    pub(crate) acts: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stdin: Option<String>,
    /// Values read from its standard output.
    #[serde(default)]
    pub(crate) result: BTreeMap<String, ValueSpec>,
}

/// One element of an argument vector, or several that stand only when an argument was given.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum ArgvPart {
    Always(String),
    When(WhenPresent),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WhenPresent {
    pub(crate) when_present: String,
    pub(crate) argv: Vec<String>,
}

/// A file that the commands find in their folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileSpec {
    pub(crate) path: String,
    /// A template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    /// Name of an argument of kind `secret`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<String>,
}

/// A request with a form body.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpSpec {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) form: Vec<FormField>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Method {
    #[serde(rename = "POST")]
    Post,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FormField {
    pub(crate) name: String,
    pub(crate) value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) when_present: Option<String>,
}

/// What an exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ExitMeaning {
    /// As good as 0.
    Ok,
    /// No.
    Failed,
    /// Nothing was done, and another attempt may help.
    Retry,
}

/// How standard output becomes a structured value.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub(crate) enum OutputSpec {
    /// It is JSON.
    Json,
    /// `{"text": …}`.
    Text,
    /// A list of objects: one a line, cut at `separator`.
    Columns { separator: String, columns: Vec<String> },
    /// One object.
    Fields { fields: BTreeMap<String, ValueSpec> },
}

/// Where one value is found. Exactly one of `pointer`, `prefix` and `contains`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ValueSpec {
    /// JSON pointer into the structured value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pointer: Option<String>,
    /// The rest of the first line that begins so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<String>,
    /// `true` when the output has this text, else `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) contains: Option<String>,
    /// A plan may expect it, and its change is drift.
    #[serde(default = "yes")]
    pub(crate) compared: bool,
    #[serde(default)]
    pub(crate) optional: bool,
}

const fn yes() -> bool {
    true
}

/// A read that runs before the act; its values are the act's prior state.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaptureSpec {
    /// A read of the same tool.
    pub(crate) read: String,
    #[serde(default)]
    pub(crate) args: BTreeMap<String, String>,
    pub(crate) values: BTreeMap<String, ValueSpec>,
}

/// A read that tells whether an act took effect: when all of `done` hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProbeSpec {
    /// A read of the same tool.
    pub(crate) read: String,
    #[serde(default)]
    pub(crate) args: BTreeMap<String, String>,
    pub(crate) done: Vec<DoneSpec>,
    /// What the act would have answered.
    #[serde(default)]
    pub(crate) values: BTreeMap<String, ValueSpec>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DoneSpec {
    pub(crate) pointer: String,
    pub(crate) is: Relation,
    #[serde(default)]
    pub(crate) to: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Relation {
    Present,
    Equal,
    Other,
}

/// How a write is undone: another action, or not at all.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InverseEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) irreversible: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) action: Option<String>,
    #[serde(default)]
    pub(crate) args: BTreeMap<String, String>,
    /// What the inverse must find: capture of the inverse → argument or `$result.NAME` of the act. Else somebody came between.
    #[serde(default)]
    pub(crate) expect: BTreeMap<String, String>,
}
