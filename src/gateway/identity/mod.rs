//! Bearer tokens and the people behind them.
//!
//! In: a token's text, or an admin's wish for a new one. Out: an [`Actor`], made from the stored row only.
//! Always holds: only the SHA-256 of a token is stored; its text exists once, in the answer that made it; two spellings of one name
//! are one person; whoever becomes somebody new, or gets a token to approve with, is announced, and approves nothing for a while.
//! Not here: what a role may do (`access`), and who may approve (`approval`).

mod store;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

use crate::{
    audit,
    domain::{Actor, ActorKind, Digest, IdentityId, OpCtx, PersonId, Role, TenantId, TokenId},
    notify::{self, Notification, Severity},
    store::Tx,
};

/// How long somebody who got a token to approve with approves nothing.
pub const BAR_SECS: i64 = 600;

/// What a bearer showed.
#[derive(Debug, Clone)]
pub struct Presented {
    /// The tenant that the token names: where it is looked up, and nothing more until it is found.
    pub tenant: TenantId,
    hash: Digest,
}

/// A token that was found and is live.
#[derive(Debug, Clone)]
pub struct Bearer {
    /// Who it stands for.
    pub actor: Actor,
    /// The webhook source that it may deliver; only for source tokens.
    pub source: Option<String>,
    /// The person who answers for it; only for tokens of services.
    pub owner_person_id: Option<PersonId>,
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// The name shown to people.
    pub actor: String,
    /// What it may do.
    pub role: Role,
    /// Who stands behind it.
    pub holder: Holder,
    /// How long it is good for; `None` for ever.
    pub ttl_secs: Option<i64>,
}

/// Who stands behind a token.
#[derive(Debug, Clone)]
pub enum Holder {
    /// A human being, by name; made when missing.
    Person(String),
    /// A program, and the human being who answers for it, by name.
    Service {
        /// The owner's name; made when missing.
        owner: String,
    },
    /// A webhook source (`alertmanager`).
    Source(String),
}

/// A token as it may be listed.
#[derive(Debug, Clone, Serialize)]
pub struct TokenRow {
    /// The row.
    pub token_id: TokenId,
    /// The name shown to people.
    pub actor: String,
    /// What it may do.
    pub role: String,
    /// `person`, `service` or `source`.
    pub kind: String,
    /// The person it stands for, or who owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// The webhook source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Why a token cannot be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The parts do not go together.
    #[error("{0}")]
    Invalid(String),
    /// The actor's login belongs to another person.
    #[error("the actor `{actor}` is already linked to another person; use another `--actor`")]
    Linked {
        /// The name asked for.
        actor: String,
    },
    /// No such token in this tenant.
    #[error("no token `{0}` in this tenant, or it is already revoked")]
    NotFound(TokenId),
    /// The database.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] audit::Error),
    /// The message to the admins.
    #[error(transparent)]
    Notify(#[from] notify::Error),
}

impl Presented {
    /// Reads `cpl_<tenant>_<43 base64url characters>`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (tenant, secret) = text.strip_prefix("cpl_")?.split_once('_')?;
        let sound = secret.len() == 43
            && URL_SAFE_NO_PAD
                .decode(secret)
                .is_ok_and(|bytes| bytes.len() == 32);
        sound.then_some(())?;
        Some(Self {
            tenant: tenant.parse().ok()?,
            hash: Digest::of_content(text.as_bytes()),
        })
    }
}

/// Finds the live token that was shown; the same work whatever was shown. `tx` is on the tenant that it names.
pub async fn authenticate(tx: &mut Tx, shown: &Presented) -> Result<Option<Bearer>, crate::store::Error> {
    let row = store::find_live(tx, &shown.hash).await?;
    row.map(|row| row.bearer()).transpose()
}

/// Makes a token and returns its text, which is stored nowhere. The person or owner is made when missing.
pub async fn create(tx: &mut Tx, ctx: &OpCtx, new: &NewToken) -> Result<(TokenId, String), Error> {
    check(new)?;
    let text = fresh_text(&ctx.tenant)?;
    let token_id: TokenId = ctx.id();
    let mut change = None;
    let (kind, identity_id, owner_id, source) = match &new.holder {
        Holder::Person(name) => {
            let (person_id, stranger) = store::find_or_insert_person(tx, ctx, name).await?;
            let (identity_id, linked) = link(tx, ctx, &new.actor, person_id).await?;
            if stranger || linked || new.role >= Role::Approver {
                change = Some(person_id);
            }
            ("person", Some(identity_id), None, None)
        }
        Holder::Service { owner } => {
            let (owner_id, stranger) = store::find_or_insert_person(tx, ctx, owner).await?;
            nobodys_login(tx, &new.actor).await?;
            change = stranger.then_some(owner_id);
            ("service", None, Some(owner_id), None)
        }
        Holder::Source(source) => {
            nobodys_login(tx, &new.actor).await?;
            ("source", None, None, Some(source.as_str()))
        }
    };
    let row = store::NewRow {
        token_id,
        hash: Digest::of_content(text.as_bytes()),
        actor: &new.actor,
        role: new.role,
        kind,
        identity_id,
        owner_id,
        source,
        ttl_secs: new.ttl_secs,
    };
    store::insert(tx, ctx, &row).await?;
    let details = json!({"token_id": token_id, "token_actor": new.actor, "role": new.role, "kind": kind});
    audit::record(
        tx,
        ctx,
        audit::Event::new("token.create", details.clone()).subject(token_id.uuid()),
    )
    .await?;
    if let Some(person_id) = change {
        announce(tx, ctx, new, (token_id, person_id), details).await?;
    }
    Ok((token_id, text))
}

/// Somebody can say yes from now on who could not before: the admins are told, and until they had time to look, that yes counts for
/// nothing. While a tenant has no place to act on, it is being set up: then they are told, too, but nobody has to wait.
async fn announce(
    tx: &mut Tx,
    ctx: &OpCtx,
    new: &NewToken,
    (token_id, person_id): (TokenId, PersonId),
    details: serde_json::Value,
) -> Result<(), Error> {
    let in_use = store::has_targets(tx).await?;
    if in_use {
        bar(tx, person_id, BAR_SECS).await?;
    }
    let page = Notification {
        kind: notify::Kind::AdminChange,
        severity: if in_use { Severity::Page } else { Severity::Info },
        subject: format!(
            "{} made a token of role {} for {}",
            ctx.actor.name,
            new.role.as_str(),
            new.actor
        ),
        body: details,
        dedupe_key: format!("token.create:{token_id}"),
    };
    notify::send(tx, ctx, page).await?;
    Ok(())
}

/// Ends a token now.
pub async fn revoke(tx: &mut Tx, ctx: &OpCtx, token_id: TokenId) -> Result<(), Error> {
    if !store::update_revoked(tx, ctx, token_id).await? {
        return Err(Error::NotFound(token_id));
    }
    let event = audit::Event::new("token.revoke", json!({"token_id": token_id})).subject(token_id.uuid());
    audit::record(tx, ctx, event).await?;
    Ok(())
}

/// All tokens of the tenant, newest first, at most 500.
pub async fn list(tx: &mut Tx) -> Result<Vec<TokenRow>, crate::store::Error> {
    store::list(tx).await
}

/// Whether a token that was shown before is still live: what holds a connection open asks again.
pub async fn is_live(tx: &mut Tx, token_id: TokenId) -> Result<bool, crate::store::Error> {
    store::is_live(tx, token_id).await
}

/// Makes the tenant's row when it is missing; needs the owner's database role then.
pub async fn ensure_tenant(tx: &mut Tx, tenant: &TenantId) -> Result<(), crate::store::Error> {
    store::ensure_tenant(tx, tenant).await
}

/// Bars a person's approvals for a while, after a change that they might profit from.
pub async fn bar(tx: &mut Tx, person_id: PersonId, secs: i64) -> Result<(), crate::store::Error> {
    store::update_barred(tx, person_id, secs).await
}

fn check(new: &NewToken) -> Result<(), Error> {
    let invalid = |text: &str| Err(Error::Invalid(text.to_owned()));
    match (&new.holder, new.role) {
        (Holder::Source(_), Role::Source) => {}
        (Holder::Source(_), _) => return invalid("a source token has the role `source`"),
        (_, Role::Source) => return invalid("the role `source` needs `--source NAME`"),
        (Holder::Service { .. }, Role::Approver | Role::Admin) => {
            return invalid("a service token never approves: it may be `viewer` or `operator`");
        }
        _ => {}
    }
    if new.ttl_secs.is_some_and(|secs| secs <= 0) {
        return invalid("a token's life must be longer than nothing");
    }
    let printable = |text: &str| {
        (1..=200).contains(&text.len()) && !text.trim().is_empty() && !text.chars().any(is_hidden)
    };
    let holder = match &new.holder {
        Holder::Person(name) | Holder::Service { owner: name } | Holder::Source(name) => name,
    };
    if !printable(&new.actor) || !printable(holder) {
        return invalid("names have 1 to 200 printable characters");
    }
    if new.actor.starts_with("system:") {
        return invalid("names that begin with `system:` are Carapulse's own");
    }
    Ok(())
}

/// Characters that a reader does not see: with them, two names that look the same are not.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// A program or a source does not go by a person's name.
async fn nobodys_login(tx: &mut Tx, actor: &str) -> Result<(), Error> {
    if store::is_login(tx, actor).await? {
        return Err(Error::Linked {
            actor: actor.to_owned(),
        });
    }
    Ok(())
}

/// Links the login of `actor` to the person, and says whether that is new; a login that is linked to somebody else stays as it is.
async fn link(
    tx: &mut Tx,
    ctx: &OpCtx,
    actor: &str,
    person_id: PersonId,
) -> Result<(IdentityId, bool), Error> {
    let (identity_id, linked, fresh) = store::find_or_insert_identity(tx, ctx, actor, person_id).await?;
    if linked == Some(person_id) {
        Ok((identity_id, fresh))
    } else {
        Err(Error::Linked {
            actor: actor.to_owned(),
        })
    }
}

fn fresh_text(tenant: &TenantId) -> Result<String, Error> {
    let mut secret = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut secret)
        .map_err(|_| Error::Invalid("the operating system gave no randomness".to_owned()))?;
    Ok(format!("cpl_{tenant}_{}", URL_SAFE_NO_PAD.encode(secret)))
}

/// A row of the token table, as it is joined with its identity.
struct LiveRow {
    token_id: TokenId,
    actor: String,
    role: String,
    kind: String,
    identity_id: Option<uuid::Uuid>,
    person_id: Option<uuid::Uuid>,
    owner_person_id: Option<uuid::Uuid>,
    source: Option<String>,
}

impl LiveRow {
    fn bearer(self) -> Result<Bearer, crate::store::Error> {
        let kind = match (self.kind.as_str(), self.person_id) {
            ("person", Some(_)) => ActorKind::Person,
            ("source", _) => ActorKind::Source,
            // A login that is linked to nobody is a service: it may ask, and never approves.
            _ => ActorKind::Service,
        };
        Ok(Bearer {
            actor: Actor {
                kind,
                name: self.actor,
                role: self.role.parse().map_err(crate::store::Error::Corrupt)?,
                person_id: self.person_id.map(Into::into),
                identity_id: self.identity_id.map(Into::into),
                token_id: Some(self.token_id),
            },
            source: self.source,
            owner_person_id: self.owner_person_id.map(Into::into),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_tokens_are_looked_up() {
        let text = fresh_text(&"team-7".parse().expect("a tenant")).expect("randomness");
        assert_eq!(text.len(), "cpl_team-7_".len() + 43);
        assert_eq!(
            Presented::parse(&text).expect("reads back").tenant.as_str(),
            "team-7"
        );
        let cut = &text[..text.len() - 1];
        for bad in [
            "",
            "cpl_",
            "cpl_default",
            "cpl_default_abc",
            cut,
            &format!("{text}x"),
            &text.replace("cpl", "CPL"),
        ] {
            assert!(Presented::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn two_tokens_never_hash_alike_and_the_tenant_is_part_of_it() {
        let tenant: TenantId = "default".parse().expect("a tenant");
        let a = fresh_text(&tenant).expect("randomness");
        let other = a.replacen("default", "other", 1);
        let (a, other) = (
            Presented::parse(&a).expect("token"),
            Presented::parse(&other).expect("token"),
        );
        assert_ne!(a.hash, other.hash);
    }

    #[test]
    fn a_service_or_source_can_never_hold_an_approving_role() {
        let new = |role, holder| NewToken {
            actor: "a".into(),
            role,
            holder,
            ttl_secs: None,
        };
        for role in [Role::Approver, Role::Admin, Role::Source] {
            assert!(check(&new(role, Holder::Service { owner: "p".into() })).is_err());
        }
        assert!(check(&new(Role::Viewer, Holder::Source("alertmanager".into()))).is_err());
        assert!(check(&new(Role::Source, Holder::Source("alertmanager".into()))).is_ok());
        assert!(check(&new(Role::Source, Holder::Person("p".into()))).is_err());
        assert!(check(&new(Role::Admin, Holder::Person("p".into()))).is_ok());
    }

    #[test]
    fn invariant_3_names_that_cannot_be_told_apart_by_eye_are_refused() {
        let new = |actor: &str, person: &str| NewToken {
            actor: actor.to_owned(),
            role: Role::Approver,
            holder: Holder::Person(person.to_owned()),
            ttl_secs: None,
        };
        assert!(check(&new("ada", "Ada Lovelace")).is_ok());
        for hidden in [
            "Ada\u{200b}",
            "\u{202e}adA",
            "Ad\u{ad}a",
            "Ada\u{feff}",
            " ",
            "Ada\n",
            "A\u{e0061}da",
        ] {
            assert!(check(&new("ada", hidden)).is_err(), "{hidden:?}");
            assert!(check(&new(hidden, "Ada")).is_err(), "{hidden:?}");
        }
        assert!(check(&new("system:router", "Ada")).is_err());
    }
}
