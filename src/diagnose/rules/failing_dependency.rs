//! Something that the workload depends on is broken, while the workload itself is not.

use crate::{
    context::{MetricRole, WorkloadRef},
    diagnose::{
        evidence::promql,
        finding::{EvidenceRef, Finding, Rule},
        view::View,
    },
};

const FAILING_RATIO: f64 = 0.05;

/// `broken` holds, for each dependency, what the other rules found wrong with it.
pub(in crate::diagnose) fn find(view: &View<'_>, broken: &[(WorkloadRef, Vec<Finding>)]) -> Vec<Finding> {
    broken
        .iter()
        .filter_map(|(dependency, findings)| one(view, dependency, findings))
        .collect()
}

fn one(view: &View<'_>, dependency: &WorkloadRef, findings: &[Finding]) -> Option<Finding> {
    let mut evidence = calls(view, dependency);
    let failing_calls = !evidence.is_empty();
    let worst = findings
        .iter()
        .max_by_key(|f| f.confidence)
        .filter(|f| f.confidence >= 60);
    let (confidence, what) = match (worst, failing_calls) {
        (Some(worst), true) => (worst.confidence, worst.title.clone()),
        (Some(worst), false) => (worst.confidence.saturating_sub(15), worst.title.clone()),
        (None, true) => (62, format!("calls to {dependency} fail")),
        (None, false) => return None,
    };
    evidence.extend(worst.into_iter().flat_map(|f| f.evidence.clone()));
    Some(Finding {
        rule: Rule::FailingDependency,
        title: format!("{} depends on {dependency}: {what}", view.workload),
        confidence,
        subject: dependency.clone(),
        evidence,
        change: None,
    })
}

/// Failing calls to `dependency`. The metric's label only chooses among known dependencies.
fn calls(view: &View<'_>, dependency: &WorkloadRef) -> Vec<EvidenceRef> {
    let mut evidence = Vec::new();
    for (at, metric) in view.metrics(MetricRole::DependencyErrorRatio) {
        for (s, series) in metric.series.iter().enumerate() {
            let called = series
                .labels
                .get("dependency")
                .and_then(|d| view.known.service(d));
            let failing = series.value.parse().is_ok_and(|v: f64| v > FAILING_RATIO);
            if failing && called.as_ref() == Some(dependency) {
                let says = format!("{} of the calls to {dependency} fail", series.value);
                evidence.push(promql(&metric.name, format!("/metrics/{at}/series/{s}"), &says));
            }
        }
    }
    evidence
}
