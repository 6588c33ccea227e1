//! The one table of routes: method, path, who may, what answers.

use axum::{
    Router,
    extract::{Request, State},
    handler::Handler,
    http::Method,
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter, on},
};
use tower::{Layer, util::MapRequestLayer};
use tower_http::catch_panic::CatchPanicLayer;

use super::{
    Gateway,
    access::{Access, Opens, Writes, authenticate, guard},
    problem::{Kind, Problem},
    telemetry, v1,
};
use crate::domain::Role::{Admin, Approver, Operator, Viewer};

/// How `{id}:verb` is written inside: a segment of its own.
pub(super) const VERB: &str = "do:";

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteInfo {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The path's template, as clients see it.
    pub path: &'static str,
    /// Who may.
    pub access: Access,
}

struct Route {
    info: RouteInfo,
    opens: Opens,
    writes: Writes,
    handler: MethodRouter<Gateway>,
}

impl Route {
    /// Its handler goes on in the transaction of the guard.
    fn reads_first(self) -> Self {
        Self {
            opens: Opens::HandlersReads,
            ..self
        }
    }

    /// It can only make less happen, or its handler tells what does more: a clock that is wrong does not stop that.
    fn brakes(self) -> Self {
        Self {
            writes: Writes::Brakes,
            ..self
        }
    }

    /// Its handler takes its time: nothing is held for it.
    fn takes_long(self) -> Self {
        Self {
            opens: Opens::Nothing,
            ..self
        }
    }
}

fn table() -> Vec<Route> {
    use Access::{Least, Source};
    vec![
        route(
            "POST",
            "/v1/hooks/alertmanager",
            Source("alertmanager"),
            v1::hooks::alertmanager,
        ),
        route("GET", "/v1/incidents", Least(Viewer), v1::incidents::list),
        route("GET", "/v1/incidents/{id}", Least(Viewer), v1::incidents::get),
        route("GET", "/v1/notifications", Least(Viewer), v1::notifications::list),
        route("GET", "/v1/targets", Least(Viewer), v1::targets::list),
        route("GET", "/v1/targets/{id}", Least(Viewer), v1::targets::get),
        route("POST", "/v1/targets", Least(Admin), v1::targets::propose),
        route(
            "POST",
            "/v1/targets/{id}:confirm",
            Least(Admin),
            v1::targets::confirm,
        ),
        route("POST", "/v1/freeze", Least(Admin), v1::freeze::set).brakes(),
        route("POST", "/v1/plans", Least(Operator), v1::plans::create).reads_first(),
        route("GET", "/v1/plans", Least(Viewer), v1::plans::list),
        route("GET", "/v1/plans/{id}", Least(Viewer), v1::plans::get),
        route("GET", "/v1/plans/{id}/diff", Least(Viewer), v1::plans::diff),
        route("GET", "/v1/plans/{id}/risk", Least(Viewer), v1::plans::risk),
        route(
            "POST",
            "/v1/plans/{id}:execute",
            Least(Operator),
            v1::plans::execute,
        ),
        route("GET", "/v1/approvals", Least(Viewer), v1::approvals::list),
        route("POST", "/v1/approvals", Least(Operator), v1::approvals::decide).brakes(),
        route("GET", "/v1/executions", Least(Viewer), v1::executions::list),
        route("GET", "/v1/executions/{id}", Least(Viewer), v1::executions::get),
        route(
            "GET",
            "/v1/executions/{id}/steps",
            Least(Viewer),
            v1::executions::steps,
        ),
        route(
            "POST",
            "/v1/executions/{id}/cancel",
            Least(Operator),
            v1::executions::cancel,
        )
        .brakes(),
        route(
            "POST",
            "/v1/executions/{id}/resolve",
            Least(Approver),
            v1::executions::resolve,
        ),
        route(
            "POST",
            "/v1/executions/{id}/rollback",
            Least(Operator),
            v1::executions::rollback,
        ),
        route("GET", "/v1/workflows", Least(Viewer), v1::workflows::list),
        route(
            "POST",
            "/v1/workflows/{id}/start",
            Least(Operator),
            v1::workflows::start,
        )
        .reads_first(),
        route(
            "GET",
            "/v1/executions/{id}/evidence",
            Least(Viewer),
            v1::executions::evidence,
        )
        .takes_long(),
        route("GET", "/v1/executions/{id}/logs", Least(Viewer), v1::logs::stream).takes_long(),
        route("GET", "/v1/audit/events", Least(Viewer), v1::audit::events),
        route(
            "GET",
            "/v1/audit/checkpoint",
            Least(Viewer),
            v1::audit::checkpoint,
        ),
        route("GET", "/v1/audit/proof", Least(Viewer), v1::audit::proof),
        route("GET", "/v1/freeze", Least(Viewer), v1::freeze::get),
        route("GET", "/v1/tools", Least(Viewer), v1::tools::list),
        route("GET", "/v1/tools/{id}", Least(Viewer), v1::tools::get),
    ]
}

/// Every route with who may use it, for tests and documentation.
#[must_use]
pub fn routes() -> Vec<RouteInfo> {
    table().into_iter().map(|route| route.info).collect()
}

/// The routes as a Markdown table, for the documentation.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from("| method | path | least role |\n|---|---|---|\n");
    for RouteInfo { method, path, access } in routes() {
        let who = match access {
            Access::Least(role) => format!("`{}`", role.as_str()),
            Access::Source(name) => format!("a token of the source `{name}`"),
        };
        out.push_str(&format!("| {method} | `{path}` | {who} |\n"));
    }
    out
}

/// The whole HTTP surface but `/healthz`, `/readyz` and `/metrics`, which every role answers for itself.
pub fn service(gateway: Gateway) -> Router {
    let mut router = Router::new();
    for Route {
        info,
        opens,
        writes,
        handler,
    } in table()
    {
        let handler = handler
            .layer(from_fn_with_state(
                (gateway.clone(), info.access, opens, writes),
                guard,
            ))
            .layer(from_fn_with_state(info.path, telemetry::mark));
        router = router.route(&info.path.replace(':', "/do:"), handler);
    }
    let router = router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(telemetry::panicked))
        .layer(from_fn_with_state(gateway.clone(), telemetry::observe))
        .with_state(gateway);
    // Outside the router, because it changes what is matched.
    let outer = MapRequestLayer::new(telemetry::split_verb::<axum::body::Body>).layer(router);
    Router::new().fallback_service(outer)
}

/// A `GET` goes on in the transaction of the guard unless it says otherwise; a `POST` does not.
fn route<H, T>(method: &'static str, path: &'static str, access: Access, handler: H) -> Route
where
    H: Handler<T, Gateway>,
    T: 'static,
{
    let (filter, opens) = match method {
        "POST" => (MethodFilter::POST, Opens::Nothing),
        _ => (MethodFilter::GET, Opens::HandlersReads),
    };
    let info = RouteInfo { method, path, access };
    Route {
        info,
        opens,
        writes: Writes::Change,
        handler: on(filter, handler),
    }
}

async fn not_found(State(gateway): State<Gateway>, request: Request) -> Result<Response, Problem> {
    authenticate(&gateway, request.headers()).await?;
    Err(Problem::new(
        Kind::NotFound,
        "no such path; `docs/API.md` lists all",
    ))
}

async fn method_not_allowed(
    State(gateway): State<Gateway>,
    method: Method,
    request: Request,
) -> Result<Response, Problem> {
    authenticate(&gateway, request.headers()).await?;
    Ok(Problem::new(
        Kind::MethodNotAllowed,
        format!("`{method}` is not allowed here; see the `Allow` header"),
    )
    .into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_every_route() {
        let page = include_str!("../../docs/API.md");
        assert!(
            page.contains(markdown().trim()),
            "docs/API.md is behind; its table must be:\n{}",
            markdown()
        );
    }

    #[test]
    fn every_change_wants_more_than_a_viewer() {
        for route in routes().into_iter().filter(|route| route.method != "GET") {
            assert_ne!(route.access, Access::Least(Viewer), "{}", route.path);
        }
    }
}
