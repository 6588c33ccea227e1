//! What Prometheus says about the services in focus. Values stay decimal strings.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use super::{
    Focus,
    promql::{Expr, Selector},
    source::SourceStatus,
    text::clean,
    workload::WorkloadRef,
};
use crate::{
    connectors::{Prometheus, Sample, Series, Values},
    domain::Target,
};

/// Share of a service's requests that fail, by label `service`.
pub const ERROR_RATIO_METRIC: &str = "http_requests_error_ratio";
/// Share of a service's calls to another that fail, by labels `service` and `dependency`.
pub const DEPENDENCY_RATIO_METRIC: &str = "http_client_requests_error_ratio";

const MAX_SERIES: usize = 50;
const HISTORY_STEP_SECS: u32 = 60;
const HISTORY_LEAD: Duration = Duration::minutes(60);
const HISTORY_MAX: Duration = Duration::hours(6);

/// What a metric tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricRole {
    /// Share of requests that fail, 0 to 1.
    ErrorRatio,
    /// Share of calls to a dependency that fail, 0 to 1.
    DependencyErrorRatio,
    /// Share of the CPU limit that is used, 0 to 1.
    CpuSaturation,
    /// Share of the memory limit that is used, 0 to 1.
    MemorySaturation,
    /// A metric that the alert named; only its own past says what is normal.
    Named,
}

impl MetricRole {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ErrorRatio => "error_ratio",
            Self::DependencyErrorRatio => "dependency_error_ratio",
            Self::CpuSaturation => "cpu_saturation",
            Self::MemorySaturation => "memory_saturation",
            Self::Named => "named",
        }
    }
}

/// The answer to one query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricFact {
    /// `<role>/<subject>`; the source is `prometheus.` and this.
    pub name: String,
    /// What it tells.
    pub role: MetricRole,
    /// The service, or the workload's name, that it is about.
    pub subject: String,
    /// The expression that was asked.
    pub expr: String,
    /// Empty when nothing reports this.
    pub series: Vec<SeriesFact>,
}

/// One series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesFact {
    /// Its labels, bounded.
    pub labels: BTreeMap<String, String>,
    /// The value now.
    pub value: String,
    /// When that was.
    pub at: DateTime<Utc>,
    /// Before, oldest first, a minute apart; empty when the past could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Point>,
}

/// A value at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// When.
    pub at: DateTime<Utc>,
    /// A decimal number.
    pub value: String,
}

/// A query that will be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    name: String,
    role: MetricRole,
    subject: String,
    expr: Expr,
}

/// The queries for `focus` on `target`, in a fixed order. A name that no service could have is not asked about.
#[must_use]
pub fn queries(target: &Target, focus: &Focus) -> Vec<Query> {
    let mut queries = Vec::new();
    let mut add = |role: MetricRole, subject: &str, name: String, expr: Expr| {
        queries.push(Query {
            name,
            role,
            subject: subject.to_owned(),
            expr,
        });
    };
    let services: BTreeSet<&String> = focus.services.iter().filter(|s| is_service_name(s)).collect();
    for service in &services {
        let mut ask = |role: MetricRole, metric: &str| {
            if let Some(selector) = Selector::new(metric) {
                let name = match role {
                    MetricRole::Named => format!("named.{metric}/{service}"),
                    _ => format!("{}/{service}", role.as_str()),
                };
                add(
                    role,
                    service,
                    name,
                    Expr::Select(selector.with("service", service)),
                );
            }
        };
        ask(MetricRole::ErrorRatio, ERROR_RATIO_METRIC);
        ask(MetricRole::DependencyErrorRatio, DEPENDENCY_RATIO_METRIC);
        for metric in &focus.metrics {
            ask(MetricRole::Named, metric);
        }
    }
    let namespace = &target.context.namespace;
    let mapped = services
        .iter()
        .filter_map(|s| target.services.get(*s)?.parse().ok());
    let workloads: BTreeSet<WorkloadRef> = focus.workloads.iter().cloned().chain(mapped).collect();
    if !namespace.is_empty() {
        for workload in &workloads {
            for (role, expr) in saturation(namespace, &workload.name) {
                add(
                    role,
                    &workload.name,
                    format!("{}/{}", role.as_str(), workload.name),
                    expr,
                );
            }
        }
    }
    queries
}

fn saturation(namespace: &str, workload: &str) -> Vec<(MetricRole, Expr)> {
    let select = |metric: &str| {
        Some(
            Selector::new(metric)?
                .with("namespace", namespace)
                .with_prefix("pod", workload),
        )
    };
    let by_pod = |expr: Expr| Box::new(Expr::SumBy(vec!["pod"], Box::new(expr)));
    let ratio = |used: Expr, resource: &str| {
        let limit = select("kube_pod_container_resource_limits")?.with("resource", resource);
        Some(Expr::Divide(by_pod(used), by_pod(Expr::Select(limit))))
    };
    let cpu = select("container_cpu_usage_seconds_total").and_then(|s| ratio(Expr::Rate(s, 300), "cpu"));
    let memory = select("container_memory_working_set_bytes").and_then(|s| ratio(Expr::Select(s), "memory"));
    let all = [
        (MetricRole::CpuSaturation, cpu),
        (MetricRole::MemorySaturation, memory),
    ];
    all.into_iter()
        .filter_map(|(role, expr)| Some((role, expr?)))
        .collect()
}

/// Whether some service could be called so.
#[must_use]
pub fn is_service_name(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Asks all queries about `focus`; `now` stamps the answers.
pub async fn collect(
    client: &Prometheus,
    target: &Target,
    focus: &Focus,
    now: DateTime<Utc>,
) -> (Vec<MetricFact>, Vec<SourceStatus>) {
    let (mut facts, mut statuses) = (Vec::new(), Vec::new());
    for query in queries(target, focus) {
        let source = format!("prometheus.{}", query.name);
        match ask(client, &query, focus.since, now).await {
            Ok((fact, remark)) => {
                let cut = fact.series.len() >= MAX_SERIES;
                let status = SourceStatus::available(source, now, cut);
                statuses.push(match remark {
                    Some(remark) => status.with_reason(&remark),
                    None => status,
                });
                facts.push(fact);
            }
            Err(reason) => statuses.push(SourceStatus::unavailable(source, &reason)),
        }
    }
    (facts, statuses)
}

async fn ask(
    client: &Prometheus,
    query: &Query,
    since: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(MetricFact, Option<String>), String> {
    let expr = query.expr.to_string();
    // At the server's own now: the two clocks may differ, and the newest value is what is wanted.
    let instant = client.query(&expr, None).await.map_err(|e| e.to_string())?;
    let mut series: Vec<SeriesFact> = match instant {
        Values::Vector(series) | Values::Matrix(series) => series.iter().filter_map(reduce).collect(),
        Values::Scalar(sample) => reduce(&Series {
            labels: BTreeMap::new(),
            samples: vec![sample],
        })
        .into_iter()
        .collect(),
    };
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    series.truncate(MAX_SERIES);
    let mut remark = None;
    if let (Some(since), false) = (since, series.is_empty()) {
        let start = (since - HISTORY_LEAD).max(now - HISTORY_MAX);
        match client.query_range(&expr, start, now, HISTORY_STEP_SECS).await {
            Ok(Values::Matrix(past)) => attach(&mut series, &past),
            Ok(_) => remark = Some("the past came in another form than a matrix".to_owned()),
            Err(error) => remark = Some(format!("the past could not be read: {error}")),
        }
    }
    let fact = MetricFact {
        name: query.name.clone(),
        role: query.role,
        subject: query.subject.clone(),
        expr,
        series,
    };
    Ok((fact, remark))
}

fn reduce(series: &Series) -> Option<SeriesFact> {
    let last = series.samples.last()?;
    Some(SeriesFact {
        labels: labels(series),
        value: clean(&last.value, 40),
        at: whole_second(last),
        history: Vec::new(),
    })
}

fn attach(series: &mut [SeriesFact], past: &[Series]) {
    for fact in series {
        if let Some(found) = past.iter().find(|p| labels(p) == fact.labels) {
            let point = |sample: &Sample| Point {
                at: whole_second(sample),
                value: clean(&sample.value, 40),
            };
            fact.history = found.samples.iter().take(400).map(point).collect();
        }
    }
}

fn labels(series: &Series) -> BTreeMap<String, String> {
    let ascii = series.labels.iter().filter(|(key, _)| key.is_ascii());
    ascii
        .take(16)
        .map(|(key, value)| (clean(key, 100), clean(value, 200)))
        .collect()
}

fn whole_second(sample: &Sample) -> DateTime<Utc> {
    DateTime::from_timestamp(sample.at.timestamp(), 0).unwrap_or(sample.at)
}
