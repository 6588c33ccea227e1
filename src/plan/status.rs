//! Where a plan stands, and where it may go from there.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store;

/// Where a plan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlanStatus {
    /// Not understood, or incomplete: never executable.
    Draft,
    /// Waits for a yes.
    PendingApproval,
    /// May be executed, once.
    Approved,
    /// Somebody said no. The end.
    Denied,
    /// Nobody answered, or nobody started it, in time. The end.
    Expired,
    /// A newer plan took its place. The end.
    Superseded,
    /// An execution was made of it. The end.
    Executed,
}

impl PlanStatus {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Draft,
        Self::PendingApproval,
        Self::Approved,
        Self::Denied,
        Self::Expired,
        Self::Superseded,
        Self::Executed,
    ];

    /// The word used in JSON and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::PendingApproval => "pending_approval",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
            Self::Executed => "executed",
        }
    }

    /// Whether a plan may go from here to there.
    #[must_use]
    pub const fn may_become(self, to: Self) -> bool {
        use PlanStatus::{Approved, Denied, Draft, Executed, Expired, PendingApproval, Superseded};
        matches!(
            (self, to),
            (Draft, Superseded | Denied)
                | (PendingApproval, Approved | Denied | Expired | Superseded)
                | (Approved, Executed | Denied | Expired | Superseded)
        )
    }
}

impl FromStr for PlanStatus {
    type Err = store::Error;

    fn from_str(text: &str) -> Result<Self, store::Error> {
        let found = Self::ALL.into_iter().find(|status| status.as_str() == text);
        found.ok_or_else(|| store::Error::Corrupt(format!("plan status `{text}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_ends_and_nothing_goes_back() {
        use PlanStatus::{Approved, Denied, Draft, Executed, Expired, PendingApproval, Superseded};
        for end in [Denied, Expired, Superseded, Executed] {
            assert!(PlanStatus::ALL.iter().all(|to| !end.may_become(*to)), "{end:?}");
        }
        for (from, to) in [
            (Draft, Approved),
            (Draft, PendingApproval),
            (Draft, Executed),
            (PendingApproval, Executed),
            (Approved, PendingApproval),
            (Approved, Draft),
        ] {
            assert!(!from.may_become(to), "{from:?} to {to:?}");
        }
        assert!(PendingApproval.may_become(Approved) && Approved.may_become(Executed));
    }
}
