//! What somebody asks for, as it came: nothing in it is believed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    diagnose::Remedy,
    domain::{
        Digest, IncidentId, PersonId,
        plan::{Args, Comparison, OnUnknown, Requester, Stage, Trigger},
    },
};

/// A request for a plan on one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// What woke the system.
    pub trigger: Trigger,
    /// Who asks, from `plan::store::requester`.
    pub requester: Requester,
    /// People who changed the proposal since.
    pub editors: Vec<PersonId>,
    /// The incident it answers.
    pub incident_id: Option<IncidentId>,
    /// One line for people; made from the steps when absent.
    pub summary: Option<String>,
    /// What to do.
    pub what: What,
    /// How success is measured, besides what the steps themselves call for.
    pub assertions: Vec<AssertionRequest>,
    /// Timing of verification.
    pub timing: Timing,
    /// Narrower limits than policy's.
    pub limits: Limits,
    /// The snapshot that was looked at.
    pub snapshot: Option<Digest>,
}

impl Proposal {
    /// A proposal with nothing but who, why and what.
    #[must_use]
    pub fn new(trigger: Trigger, requester: Requester, what: What) -> Self {
        Self {
            trigger,
            requester,
            editors: Vec::new(),
            incident_id: None,
            summary: None,
            what,
            assertions: Vec::new(),
            timing: Timing::default(),
            limits: Limits::default(),
            snapshot: None,
        }
    }
}

/// What to do, from the most exact to the least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Calls of tool actions.
    Steps(Vec<StepRequest>),
    /// One of the things that rules know how to do.
    Intent(Intent),
    /// What a diagnosis would have done.
    Remedy(Remedy),
    /// A sentence. What no rule understands stays a draft without steps.
    Text(String),
}

/// One call, as asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepRequest {
    /// Tool of the catalogue.
    pub tool: String,
    /// Action of the tool.
    pub action: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Args,
    /// When it runs; worked out from the action when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Why, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// State that the act requires (capture name → value); compared with what is read now.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub expected_prior: BTreeMap<String, String>,
    /// Reads that must hold just before the act.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preconditions: Vec<AssertionRequest>,
}

/// A read and what its answer must be, as asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AssertionRequest {
    /// Unique in its list; made from the action when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Tool of the catalogue.
    pub tool: String,
    /// A read action of it.
    pub action: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Args,
    /// JSON pointer into the answer.
    pub pointer: String,
    /// How it is compared.
    pub op: Comparison,
    /// With what.
    pub value: String,
}

/// What rules know how to do to a named thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Intent {
    /// Change the number of replicas.
    Scale {
        /// A service of the target, or `kind/name`.
        service: String,
        /// How many.
        replicas: u32,
    },
    /// Replace all pods.
    Restart {
        /// A service of the target, or `kind/name`.
        service: String,
    },
    /// Go back to an earlier revision.
    RollBack {
        /// A service of the target, or `kind/name`.
        service: String,
        /// Which; the one before the present one when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to_revision: Option<u32>,
    },
    /// Revert a commit of the target's repository.
    Revert {
        /// The commit, at least 7 hexadecimal digits of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<String>,
        /// Instead: the last commit that touched this service's manifest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_change_of: Option<String>,
    },
}

/// Timing of verification, in seconds; see [`crate::domain::plan::Verification`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timing {
    /// Wait after the last act.
    pub settle_secs: u32,
    /// Everything must be met within this after settling.
    pub window_secs: u32,
    /// Pause between two looks.
    pub interval_secs: u32,
    /// Consecutive good looks.
    pub min_samples: u32,
    /// What an unknown verdict does.
    pub on_unknown: OnUnknown,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            settle_secs: 15,
            window_secs: 300,
            interval_secs: 10,
            min_samples: 2,
            on_unknown: OnUnknown::Hold,
        }
    }
}

/// Limits that a request may set: they narrow policy's, never widen them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_targets: Option<u32>,
    /// From the start to the last forward act.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_duration_secs: Option<u32>,
    /// How long an approval is good for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval_ttl_secs: Option<u32>,
}
