//! Who acts, for which tenant, under which request: the first argument of every call that matters.

use std::{fmt, str::FromStr, sync::Arc};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::{Clock, IdentityId, PersonId, SystemClock, TokenId};

/// A tenant's name: 1–40 of `a-z 0-9 -`, starting with a letter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct TenantId(String);

/// The text is not a tenant's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tenant is named by 1-40 of a-z, 0-9 and `-`, starting with a letter")]
pub struct TenantIdError;

impl TenantId {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the installation's own tenant, that of whoever operates it.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0 == "default"
    }
}

impl FromStr for TenantId {
    type Err = TenantIdError;

    fn from_str(text: &str) -> Result<Self, TenantIdError> {
        let starts = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        let rest = text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if starts && rest && text.len() <= 40 {
            Ok(Self(text.to_owned()))
        } else {
            Err(TenantIdError)
        }
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TenantId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// What a token lets its bearer do. Each includes those before it, but for `Source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Only delivers signals of one webhook source.
    Source,
    /// Reads.
    Viewer,
    /// Asks for changes and starts approved ones.
    Operator,
    /// Approves, too.
    Approver,
    /// Changes targets, identities and tokens, and gives `elevated` approvals.
    Admin,
}

impl Role {
    /// The word used in JSON and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [
            Self::Source,
            Self::Viewer,
            Self::Operator,
            Self::Approver,
            Self::Admin,
        ]
        .into_iter()
        .find(|role| role.as_str() == text)
        .ok_or_else(|| format!("unknown role `{text}`: one of source, viewer, operator, approver, admin"))
    }
}

/// Whether a human being stands behind an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// An identity linked to a person.
    Person,
    /// A service token, or an identity that is linked to nobody: may ask, never approves.
    Service,
    /// A webhook source.
    Source,
    /// Carapulse itself (investigations, engine, sequencer).
    System,
}

/// Who acts. Made from a verified token only, or by [`Actor::system`] for the system's own work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// What stands behind it.
    pub kind: ActorKind,
    /// The name shown to people: the token's actor, or the part of the system.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The human being, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person_id: Option<PersonId>,
    /// The login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_id: Option<IdentityId>,
    /// The token that was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_id: Option<TokenId>,
}

impl Actor {
    /// The system itself, for work that no request started; `part` says which (`sequencer`, `engine`, …).
    #[must_use]
    pub fn system(part: &str) -> Self {
        Self {
            kind: ActorKind::System,
            name: format!("system:{part}"),
            role: Role::Operator,
            person_id: None,
            identity_id: None,
            token_id: None,
        }
    }
}

/// A source of new ids.
pub trait Ids: Send + Sync + fmt::Debug {
    /// A new UUIDv7.
    fn next(&self) -> Uuid;
}

#[derive(Debug)]
struct TimeOrdered;

impl Ids for TimeOrdered {
    #[expect(clippy::disallowed_methods, reason = "the one place where ids are made")]
    fn next(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// Who, for whom, under which request, with which clock. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OpCtx {
    /// Who acts.
    pub actor: Arc<Actor>,
    /// On whose rows.
    pub tenant: TenantId,
    /// Ties log lines, audit events and answers of one request together.
    pub request_id: String,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
}

impl OpCtx {
    /// A context with the machine's clock and fresh ids.
    #[must_use]
    pub fn new(actor: Actor, tenant: TenantId, request_id: impl Into<String>) -> Self {
        Self {
            actor: Arc::new(actor),
            tenant,
            request_id: request_id.into(),
            clock: Arc::new(SystemClock),
            ids: Arc::new(TimeOrdered),
        }
    }

    /// The system's own context in `tenant`.
    #[must_use]
    pub fn system(part: &str, tenant: TenantId) -> Self {
        let ctx = Self::new(Actor::system(part), tenant, "");
        let request_id = format!("{part}-{}", ctx.id::<Uuid>().simple());
        Self { request_id, ..ctx }
    }

    /// The same context under another clock.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// The present instant by this context's clock. Never for leases or expiry: those use database time.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// A fresh id of any kind: `ctx.id::<PlanId>()`.
    #[must_use]
    pub fn id<T: From<Uuid>>(&self) -> T {
        T::from(self.ids.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_names_are_checked() {
        for good in ["default", "a", "team-7"] {
            assert!(good.parse::<TenantId>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "7a",
            "A",
            "a_b",
            "a'; drop table plan; --",
            "é",
            &"a".repeat(41),
        ] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad}");
        }
    }
}
