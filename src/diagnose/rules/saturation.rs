//! CPU or memory is used up.

use crate::{
    context::MetricRole,
    diagnose::{
        evidence::promql,
        finding::{Finding, Rule},
        view::View,
    },
};

pub(super) fn find(view: &View<'_>) -> Option<Finding> {
    let cpu = full(view, MetricRole::CpuSaturation, "CPU", 0.90, 76);
    cpu.or_else(|| full(view, MetricRole::MemorySaturation, "memory", 0.95, 70))
}

/// All pods must be full: one that is full beside idle ones is another trouble than too little capacity.
fn full(view: &View<'_>, role: MetricRole, what: &str, limit: f64, confidence: u8) -> Option<Finding> {
    let (at, metric) = view.metrics(role).find(|(_, m)| !m.series.is_empty())?;
    let mut evidence = Vec::new();
    for (s, series) in metric.series.iter().enumerate() {
        let value: f64 = series.value.parse().ok().filter(|v: &f64| *v >= limit)?;
        let pod = series.labels.get("pod").map_or("", String::as_str);
        let says = format!("{pod} uses {:.0} % of its {what} limit", value * 100.0);
        evidence.push(promql(&metric.name, format!("/metrics/{at}/series/{s}"), &says));
    }
    Some(Finding {
        rule: Rule::Saturation,
        title: format!("every pod of {} has used up its {what}", view.workload),
        confidence,
        subject: view.workload.clone(),
        evidence,
        change: None,
    })
}
