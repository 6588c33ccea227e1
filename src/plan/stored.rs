//! Plans as they come out of the database.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Draft, PlanStatus};
use crate::domain::{Digest, IncidentId, PlanId, plan::PlanDoc};

/// A plan as it is stored.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its id.
    pub plan_id: PlanId,
    /// Where it stands.
    pub status: PlanStatus,
    /// What it says.
    pub content: Content,
    /// Digest of its bytes: what an approver has to name.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its status last changed.
    pub updated_at: DateTime<Utc>,
}

impl Stored {
    /// The plan, if it is one.
    #[must_use]
    pub const fn doc(&self) -> Option<&PlanDoc> {
        match &self.content {
            Content::Plan(doc) => Some(doc),
            Content::Draft(_) => None,
        }
    }
}

/// What a stored plan says.
#[derive(Debug, Clone)]
pub enum Content {
    /// A checked plan.
    Plan(Box<PlanDoc>),
    /// A draft, with what it lacks.
    Draft(Box<Draft>),
}

/// A row for lists.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ListedPlan {
    /// Its id.
    pub plan_id: PlanId,
    /// Where it stands.
    pub status: PlanStatus,
    /// One line for people.
    pub summary: String,
    /// What woke the system.
    pub trigger: String,
    /// Highest risk of the steps.
    pub risk_level: String,
    /// Name of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The incident it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident_id: Option<IncidentId>,
    /// Digest of its bytes.
    pub digest: Digest,
    /// What a draft lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lacks: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Which plans to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only of this status.
    pub status: Option<PlanStatus>,
    /// Only on this target.
    pub target: Option<String>,
    /// Only for this incident.
    pub incident_id: Option<IncidentId>,
    /// Only older than this plan: the last of the page before.
    pub before: Option<PlanId>,
    /// Most rows, from 1 to 201: a page, and whether there is another.
    pub limit: u32,
}
