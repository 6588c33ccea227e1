//! From findings to a verdict.

use chrono::Duration;

use super::{
    blame::{self, Blame, STALE},
    evidence::promql,
    finding::{Diagnosis, EvidenceRef, Finding, Rule, SuspectChange, Verdict},
    remedy, rules, subject,
    view::{Known, View},
};
use crate::{
    context::{MetricRole, Snapshot, SourceState, SourceStatus, WorkloadRef},
    domain::Target,
    intake::signal::{SignalFacts, SignalStatus},
};

/// From this confidence on, a cause counts as known.
const KNOWN: u8 = 60;

pub(super) fn conclude(signal: &SignalFacts, snapshot: &Snapshot, target: &Target) -> Diagnosis {
    let mut diagnosis = Diagnosis {
        verdict: Verdict::Healthy,
        subject: None,
        findings: Vec::new(),
        suspect_change: None,
        remedy: None,
        no_remedy_because: None,
        looked_at: snapshot
            .sources
            .iter()
            .filter(|s| is_usable(s, snapshot))
            .map(|s| s.name.clone())
            .collect(),
        missing: snapshot.sources.iter().filter_map(|s| gap(s, snapshot)).collect(),
    };
    let known = Known { snapshot, target };
    let subject = match unusable(signal, snapshot, target) {
        Some(why) => Err(why),
        None => subject::resolve(signal, &known),
    };
    match subject {
        Err(why) => diagnosis.verdict = Verdict::Unknown { why },
        Ok(workload) => examine(&mut diagnosis, &known, signal, workload),
    }
    diagnosis
}

fn unusable(signal: &SignalFacts, snapshot: &Snapshot, target: &Target) -> Option<String> {
    if signal.status == SignalStatus::Resolved {
        return Some("the alert is over".into());
    }
    if (snapshot.target_id, snapshot.target_version) != (target.target_id, target.version) {
        return Some("the snapshot is of another target, or of an earlier version of it".into());
    }
    (snapshot.taken_at + Duration::seconds(1) < signal.starts_at)
        .then(|| "the snapshot is older than the alert".into())
}

fn examine(diagnosis: &mut Diagnosis, known: &Known<'_>, signal: &SignalFacts, workload: WorkloadRef) {
    diagnosis.subject = Some(workload.clone());
    let view = known.view(signal, workload.clone());
    let own = rules::of_state(&view);
    let broken: Vec<(WorkloadRef, Vec<Finding>)> = known
        .dependencies(&workload)
        .into_iter()
        .map(|d| (d.clone(), rules::of_state(&known.view(signal, d))))
        .collect();
    let symptom = Symptom::of(&view);

    // A workload that is itself broken needs no other explanation.
    let mut findings = own;
    if strongest(&findings).is_none() {
        findings.extend(rules::failing_dependency::find(&view, &broken));
    }
    let cause = strongest(&findings).cloned();
    let at = cause.as_ref().map_or(workload, |c| c.subject.clone());
    let about = known.view(signal, at);
    let (blamed, rivals) = blame_for(&about, cause.as_ref(), &broken, &symptom);
    if let Some(blamed) = blamed {
        findings.push(rules::bad_commit::find(&about, &blamed, symptom.evidence()));
        diagnosis.suspect_change = Some(blamed.suspect());
    } else if rivals.is_empty() && cause.as_ref().is_some_and(|c| can_come_with_a_roll_out(c.rule)) {
        diagnosis.suspect_change = blame::roll_out(&about);
    }
    findings.sort_by_key(|f| (std::cmp::Reverse(f.confidence), f.rule));
    attach(&mut findings, diagnosis.suspect_change.as_ref());
    diagnosis.findings = findings;
    diagnosis.verdict = verdict(diagnosis, known.snapshot, &view, &symptom, &rivals);
    if diagnosis.verdict == Verdict::Known
        && let Some(first) = diagnosis.findings.first()
    {
        let decided = if rivals.is_empty() {
            remedy::of(
                &about,
                cause.as_ref().unwrap_or(first),
                diagnosis.suspect_change.as_ref(),
            )
        } else {
            Err(format!(
                "{} commits are equally likely to be behind it",
                rivals.len()
            ))
        };
        match decided {
            Ok(remedy) => diagnosis.remedy = Some(remedy),
            Err(why) => diagnosis.no_remedy_because = Some(why),
        }
    }
}

fn strongest(findings: &[Finding]) -> Option<&Finding> {
    findings
        .iter()
        .max_by_key(|f| f.confidence)
        .filter(|f| f.confidence >= KNOWN)
}

/// A commit is blamed only for trouble that something other than the alert itself shows.
fn blame_for<'a>(
    about: &View<'a>,
    cause: Option<&Finding>,
    broken: &[(WorkloadRef, Vec<Finding>)],
    symptom: &Symptom,
) -> (Option<blame::Blamed<'a>>, Vec<String>) {
    if cause.is_none() && !matches!(symptom, Symptom::Bad(_)) {
        return (None, Vec::new());
    }
    // Behind a failing dependency stands what is wrong with the dependency.
    let inner = broken
        .iter()
        .find(|(d, _)| Some(d) == cause.map(|c| &c.subject))
        .and_then(|(_, f)| strongest(f));
    let distance = u8::from(cause.is_some_and(|c| c.rule == Rule::FailingDependency));
    match blame::commit(about, inner.or(cause), distance) {
        Blame::One(blamed) => (Some(blamed), Vec::new()),
        Blame::Several(rivals) => (None, rivals),
        Blame::Nobody => (None, Vec::new()),
    }
}

const fn can_come_with_a_roll_out(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::ImagePull | Rule::CrashLoop | Rule::Oom | Rule::FailingProbe
    )
}

fn attach(findings: &mut [Finding], change: Option<&SuspectChange>) {
    for finding in findings.iter_mut().filter(|f| f.confidence >= KNOWN) {
        finding.change = change.cloned();
    }
}

fn verdict(
    diagnosis: &Diagnosis,
    snapshot: &Snapshot,
    view: &View<'_>,
    symptom: &Symptom,
    rivals: &[String],
) -> Verdict {
    let unknown = |why: String| Verdict::Unknown { why };
    let failing: Vec<&str> = essential(snapshot)
        .filter(|s| !is_usable(s, snapshot))
        .map(|s| s.name.as_str())
        .collect();
    if !failing.is_empty() {
        return unknown(format!(
            "sources that matter failed, are stale or incomplete: {}",
            failing.join(", ")
        ));
    }
    if let Some(why) = contradiction(view) {
        return unknown(why);
    }
    if diagnosis.findings.first().is_some_and(|f| f.confidence >= KNOWN) {
        return Verdict::Known;
    }
    if !rivals.is_empty() {
        return unknown(format!(
            "{} commits are equally likely to be behind it",
            rivals.len()
        ));
    }
    match symptom {
        Symptom::Bad(_) => unknown("requests fail, but nothing that was looked at explains it".into()),
        Symptom::Absent if diagnosis.findings.is_empty() => unknown(
            "nothing is wrong with what was looked at, but no metric says that the alert is over".into(),
        ),
        _ if !diagnosis.findings.is_empty() => unknown("there are symptoms, but no cause".into()),
        _ => Verdict::Healthy,
    }
}

/// What the API says of a deployment and of its pods must agree.
fn contradiction(view: &View<'_>) -> Option<String> {
    let (_, deployment) = view.deployment()?;
    let ready = view
        .pods()
        .filter(|(_, p)| {
            p.conditions
                .iter()
                .any(|c| c.r#type == "Ready" && c.status == "True")
        })
        .count();
    if !deployment.observed {
        return Some(format!(
            "{} changed while we looked: its controller has not seen its newest spec",
            view.workload
        ));
    }
    (i64::try_from(ready).ok()? == 0 && deployment.ready > 0).then(|| {
        format!(
            "{} claims {} ready replicas, but none of its pods is ready",
            view.workload, deployment.ready
        )
    })
}

/// Sources without which nothing may be concluded, of those that the target has.
fn essential(snapshot: &Snapshot) -> impl Iterator<Item = &SourceStatus> {
    const NAMES: [&str; 6] = [
        "git.log",
        "git.manifests",
        "kubernetes.pods",
        "kubernetes.deployments",
        "kubernetes.replica_sets",
        "prometheus",
    ];
    let matters =
        |s: &&SourceStatus| NAMES.contains(&s.name.as_str()) || s.name.starts_with("prometheus.error_ratio/");
    snapshot
        .sources
        .iter()
        .filter(|s| s.state != SourceState::NotConfigured)
        .filter(matters)
}

fn is_usable(status: &SourceStatus, snapshot: &Snapshot) -> bool {
    let fresh = status
        .collected_at
        .is_some_and(|at| at + STALE >= snapshot.taken_at);
    // A log is always cut somewhere; a list of objects that is cut may lack the one that matters.
    let whole = !status.truncated || status.name == "git.log" || status.name.starts_with("prometheus.");
    status.state == SourceState::Available && fresh && whole
}

fn gap(status: &SourceStatus, snapshot: &Snapshot) -> Option<String> {
    let reason = status.reason.as_deref();
    match status.state {
        SourceState::NotConfigured => Some(format!("{}: not configured", status.name)),
        SourceState::Unavailable => Some(format!("{}: {}", status.name, reason.unwrap_or("unavailable"))),
        SourceState::Available if !is_usable(status, snapshot) => {
            Some(format!("{}: stale or incomplete", status.name))
        }
        SourceState::Available => reason.map(|r| format!("{}: {r}", status.name)),
    }
}

/// Whether the service's own metric agrees with the alert.
enum Symptom {
    /// Requests fail.
    Bad(Vec<EvidenceRef>),
    /// Requests were measured, and do not fail.
    Good,
    /// Nothing measures it.
    Absent,
}

impl Symptom {
    fn of(view: &View<'_>) -> Self {
        let bad = blame::bad_ratios(view);
        if !bad.is_empty() {
            let shown = |(m, s, metric): &(usize, usize, &crate::context::MetricFact)| {
                let says = format!("{} = {}", metric.expr, metric.series[*s].value);
                promql(&metric.name, format!("/metrics/{m}/series/{s}"), &says)
            };
            return Self::Bad(bad.iter().map(shown).collect());
        }
        let mut series = view
            .metrics(MetricRole::ErrorRatio)
            .flat_map(|(_, m)| &m.series)
            .peekable();
        let measured = series.peek().is_some();
        let fresh = series.all(|s| {
            let number = s.value.parse().is_ok_and(f64::is_finite);
            number && (s.at - view.snapshot().taken_at).abs() <= STALE
        });
        if measured && fresh {
            Self::Good
        } else {
            Self::Absent
        }
    }

    fn evidence(&self) -> Vec<EvidenceRef> {
        match self {
            Self::Bad(evidence) => evidence.clone(),
            Self::Good | Self::Absent => Vec::new(),
        }
    }
}
