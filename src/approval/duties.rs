//! Who asks is not who approves: decided by person, in one place, for every channel.

use std::collections::BTreeSet;

use super::{Error, store};
use crate::{
    domain::{Actor, ActorKind, PersonId, Role, Tier, plan::PlanDoc},
    store::Tx,
};

/// A rule of approving says no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// Short and stable (`own_plan`).
    pub code: &'static str,
    /// One line for people.
    pub message: &'static str,
}

/// Whether `actor` may approve `doc`, by what the database says about the person now; `tier` is the one to be given.
///
/// Refusals: `tenant_mismatch`, `not_a_person`, `identity_unlinked`, `role_too_low`, `own_plan`, `barred`.
pub async fn may_approve(tx: &mut Tx, actor: &Actor, doc: &PlanDoc) -> Result<PersonId, Error> {
    let refuse = |code, message| Err(Refused { code, message }.into());
    if tx.tenant() != Some(&doc.tenant_id) {
        return refuse("tenant_mismatch", "the plan belongs to another tenant");
    }
    let (ActorKind::Person, Some(claimed), Some(identity)) = (actor.kind, actor.person_id, actor.identity_id)
    else {
        return refuse(
            "not_a_person",
            "only a person approves: service tokens and unlinked logins never do",
        );
    };
    let Some(person) = store::find_person_of(tx, identity)
        .await?
        .filter(|person| person.person_id == claimed)
    else {
        return refuse("identity_unlinked", "this login is not linked to that person now");
    };
    let wanted = match doc.tier {
        Tier::Elevated => Role::Admin,
        Tier::Standard | Tier::Read => Role::Approver,
    };
    if actor.role < wanted || actor.role == Role::Source {
        return match wanted {
            Role::Admin => refuse("role_too_low", "this plan needs an admin's approval"),
            _ => refuse("role_too_low", "approving needs the approver's role"),
        };
    }
    if excluded(tx, doc).await?.contains(&person.person_id) {
        return refuse(
            "own_plan",
            "who asked for a plan, edited it or owns the token that did cannot approve it",
        );
    }
    if person.barred {
        return refuse(
            "barred",
            "approvals of this person are held back for a while, after a change of rights or targets",
        );
    }
    Ok(person.person_id)
}

/// Everybody behind the plan: the requester, the person whom the requester's login is linked to now, the owner of the token
/// that was used, and the editors.
async fn excluded(tx: &mut Tx, doc: &PlanDoc) -> Result<BTreeSet<PersonId>, Error> {
    let requester = &doc.requester;
    let mut people: BTreeSet<PersonId> = doc.editors.iter().copied().collect();
    people.extend(requester.person_id);
    people.extend(requester.token_owner_person_id);
    if let Some(identity) = requester.identity_id {
        people.extend(
            store::find_person_of(tx, identity)
                .await?
                .map(|person| person.person_id),
        );
    }
    Ok(people)
}
