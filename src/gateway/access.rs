//! Who may come in: the bearer token behind each request, and the least role of each route.
//!
//! In: the `Authorization` header. Out: an [`OpCtx`] whose actor was made from the stored token row, or a 401 or 403.
//! Always holds: no header or body names the actor or the tenant; a source token delivers its own hook and nothing else.

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, header, request::Parts},
    middleware::Next,
    response::Response,
};

use super::{
    Gateway,
    identity::{self, Bearer, Presented},
    opened::{self, Opened},
    problem::{Kind, Problem, REQUEST_ID},
};
use crate::{
    domain::{ActorKind, OpCtx, PersonId, Role, WritesRefused},
    store::Tx,
};

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A token of at least this role.
    Least(Role),
    /// A token of this webhook source.
    Source(&'static str),
}

impl Access {
    /// Whether `bearer` may use the route.
    pub fn permit(self, bearer: &Bearer) -> Result<(), Problem> {
        let has = bearer.actor.role.as_str();
        let refuse = |needs: &str| {
            Err(Problem::new(
                Kind::Forbidden,
                format!("this needs {needs}; the token has `{has}`"),
            ))
        };
        let is_source = bearer.actor.kind == ActorKind::Source || bearer.actor.role == Role::Source;
        match self {
            Self::Least(role) if is_source || bearer.actor.role < role => {
                refuse(&format!("the role `{}`", role.as_str()))
            }
            Self::Least(_) => Ok(()),
            Self::Source(name) if is_source && bearer.source.as_deref() == Some(name) => Ok(()),
            Self::Source(name) => refuse(&format!("a token of the source `{name}`")),
        }
    }
}

/// What becomes of the guard's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opens {
    /// The handler goes on in it: it reads the database first, and at once.
    HandlersReads,
    /// It ends with the guard.
    Nothing,
}

/// What a request that changes something changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writes {
    /// Anything.
    Change,
    /// It takes away from what may happen: the brakes work with a clock that is wrong, too. Times are the database's.
    Brakes,
}

/// Lets a request through to its handler with its [`OpCtx`], or answers 401 or 403. One a route, with that route's [`Access`].
pub(super) async fn guard(
    State((gateway, access, opens, writes)): State<(Gateway, Access, Opens, Writes)>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (ctx, bearer, tx) = authenticate(&gateway, request.headers()).await?;
    access.permit(&bearer)?;
    // A delivery is taken in any case: it would be lost, and it changes nothing but our own list of signals.
    if matches!(access, Access::Least(_)) && !request.method().is_safe() {
        match writes {
            Writes::Change => may_change(&gateway)?,
            Writes::Brakes => gateway.gate.check_restored().map_err(refused)?,
        }
    }
    request.extensions_mut().insert(ctx);
    request
        .extensions_mut()
        .insert(TokenOwner(bearer.owner_person_id));
    let request = match opens {
        Opens::HandlersReads => opened::hand_on(request, tx),
        Opens::Nothing => {
            tx.finish_read();
            request
        }
    };
    Ok(next.run(request).await)
}

/// Whether something may be changed now, for a handler behind [`Writes::Brakes`] that is asked for more than braking.
pub(super) fn may_change(gateway: &Gateway) -> Result<(), Problem> {
    gateway.gate.check().map_err(refused)
}

fn refused(why: WritesRefused) -> Problem {
    let kind = match why {
        WritesRefused::ClockSkew(_) | WritesRefused::Unmeasured => Kind::ClockSkew,
        WritesRefused::ReadOnly => Kind::ReadOnly,
    };
    Problem::new(kind, why.to_string())
}

/// Finds the token in the headers, and answers in which transaction. The answer is the same for whatever is wrong with it.
pub(super) async fn authenticate(
    gateway: &Gateway,
    headers: &HeaderMap,
) -> Result<(OpCtx, Bearer, Tx), Problem> {
    let refused = || Problem::new(Kind::Unauthenticated, Kind::Unauthenticated.example());
    let shown = bearer_text(headers)
        .and_then(Presented::parse)
        .ok_or_else(refused)?;
    let mut tx = gateway.db.begin(&shown.tenant).await?;
    let bearer = identity::authenticate(&mut tx, &shown).await?;
    let bearer = bearer.ok_or_else(refused)?;
    let request_id = REQUEST_ID.try_with(Clone::clone).unwrap_or_default();
    let ctx = OpCtx::new(bearer.actor.clone(), shown.tenant, request_id);
    tracing::Span::current().record("actor", ctx.actor.name.as_str());
    tracing::Span::current().record("tenant", ctx.tenant.as_str());
    Ok((ctx, bearer, tx))
}

fn bearer_text(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (only, more) = (given.next()?, given.next());
    if more.is_some() {
        return None;
    }
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// The context of the request.
#[derive(Debug, Clone)]
pub struct Caller(pub OpCtx);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // Only a handler outside the table gets here without one: refuse.
        let missing = || Problem::new(Kind::Unauthenticated, Kind::Unauthenticated.example());
        parts
            .extensions
            .get::<OpCtx>()
            .cloned()
            .map(Self)
            .ok_or_else(missing)
    }
}

/// The person who answers for the token that was used, if it is nobody's own.
#[derive(Debug, Clone, Copy)]
struct TokenOwner(Option<PersonId>);

/// Who wants a plan, and the transaction of the guard.
#[derive(Debug)]
pub struct Proposer {
    /// The context of the request.
    pub ctx: OpCtx,
    /// The owner of the token: may not approve what it asks for.
    pub token_owner: Option<PersonId>,
    /// Where to go on reading.
    pub opened: Opened,
}

impl<S: Send + Sync> FromRequestParts<S> for Proposer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Caller(ctx) = Caller::from_request_parts(parts, state).await?;
        let missing = || Problem::new(Kind::Unauthenticated, Kind::Unauthenticated.example());
        let TokenOwner(token_owner) = *parts.extensions.get().ok_or_else(missing)?;
        Ok(Self {
            ctx,
            token_owner,
            opened: parts.extensions.remove().unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Actor;

    fn bearer(kind: ActorKind, role: Role, source: Option<&str>) -> Bearer {
        let actor = Actor {
            kind,
            role,
            ..Actor::system("test")
        };
        Bearer {
            actor,
            source: source.map(str::to_owned),
            owner_person_id: None,
        }
    }

    #[test]
    fn roles_include_those_below_and_sources_are_apart() {
        let approver = bearer(ActorKind::Person, Role::Approver, None);
        assert!(Access::Least(Role::Viewer).permit(&approver).is_ok());
        assert!(Access::Least(Role::Approver).permit(&approver).is_ok());
        assert!(Access::Least(Role::Admin).permit(&approver).is_err());
        assert!(Access::Source("alertmanager").permit(&approver).is_err());
        let source = bearer(ActorKind::Source, Role::Source, Some("alertmanager"));
        assert!(Access::Source("alertmanager").permit(&source).is_ok());
        assert!(Access::Source("argocd").permit(&source).is_err());
        assert!(Access::Least(Role::Viewer).permit(&source).is_err());
        // Rows that contradict themselves gain nothing.
        assert!(
            Access::Least(Role::Viewer)
                .permit(&bearer(ActorKind::Source, Role::Admin, None))
                .is_err()
        );
        assert!(
            Access::Least(Role::Source)
                .permit(&bearer(ActorKind::Source, Role::Source, None))
                .is_err()
        );
    }

    #[test]
    fn one_bearer_header_is_read_and_nothing_else() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().expect("a header"));
            }
            bearer_text(&headers).map(str::to_owned)
        };
        assert_eq!(read(&["Bearer x"]).as_deref(), Some("x"));
        assert_eq!(read(&["bEARER x"]).as_deref(), Some("x"));
        assert_eq!(read(&["Basic x"]), None);
        assert_eq!(read(&["Bearer x", "Bearer y"]), None);
        assert_eq!(read(&[]), None);
    }
}
