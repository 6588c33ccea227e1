//! Ids: a UUIDv7 inside, a prefix at the edge (`plan_0198…`, 32 hexadecimal digits).
//!
//! A UUIDv7 is for index locality, never for order, dedupe or security.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// The text given is not an id of the kind wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id: expected `{prefix}_` followed by 32 hexadecimal digits")]
pub struct IdError {
    /// The prefix that was expected.
    pub prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// What stands before the underscore at the edge.
            pub const PREFIX: &'static str = $prefix;

            /// Wraps a UUID that was stored or made by `Ids`.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The bare UUID, for a database column.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse(text, $prefix).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": concat!("^", $prefix, "_[0-9a-f]{32}$"),
                })
            }
        }
    )*};
}

ids! {
    /// One received webhook delivery or request that wakes the system.
    EventId = "event";
    /// A deduplicated alert.
    SignalId = "signal";
    /// Grouped signals, worked on as one.
    IncidentId = "incident";
    /// A frozen picture of the world.
    SnapshotId = "snapshot";
    /// A proposed change.
    PlanId = "plan";
    /// A request for approval, and the grant that may answer it.
    ApprovalId = "approval";
    /// One run of an approved plan.
    ExecutionId = "exec";
    /// A stored policy decision.
    DecisionId = "decision";
    /// A stored piece of evidence.
    EvidenceId = "evid";
    /// A human being.
    PersonId = "person";
    /// A login of a person or a service.
    IdentityId = "identity";
    /// A bearer token (the row, not the secret).
    TokenId = "token";
    /// A registered place where actions may land.
    TargetId = "target";
    /// A unit of background work.
    JobId = "job";
    /// A message to people.
    NotificationId = "notification";
    /// A signed head of the audit log.
    CheckpointId = "checkpoint";
}

fn parse(text: &str, prefix: &'static str) -> Result<Uuid, IdError> {
    let error = IdError { prefix };
    let hex = text
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('_'))
        .ok_or(error.clone())?;
    let canonical = hex.len() == 32
        && hex
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !canonical {
        return Err(error);
    }
    Uuid::try_parse(hex).map_err(|_| error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_wrote() {
        let id = PlanId::from_uuid(Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0001));
        assert_eq!(id.to_string(), "plan_01980000000070008000000000000001");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn another_prefix_upper_case_and_dashes_are_refused() {
        for text in [
            "exec_01980000000070008000000000000001",
            "plan_0198000000007000800000000000000A",
            "plan_",
            "plan",
            "plan_01980000-0000-7000-8000-000000000001",
            "plan_01980000000070008000000000000001 ",
        ] {
            assert!(text.parse::<PlanId>().is_err(), "{text}");
        }
    }
}
