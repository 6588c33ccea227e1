//! Which change is behind it: graph distance, time, and whether the change touches what fails.
//!
//! Never blamed: a commit that touches nothing of the failing thing, that came after the alert or after the trouble, or
//! whose fields were changed again since.

use chrono::{DateTime, Duration, Utc};

use super::{
    finding::{Finding, Rule, SuspectChange},
    view::View,
};
use crate::context::{Commit, MetricFact, MetricRole, manifest::FieldChange, object_id, workload_id};

/// A change older than this is no longer news.
const LOOKBACK: Duration = Duration::hours(6);
/// Below this, a change is not named.
pub(super) const SUSPECT: u8 = 65;
/// Two candidates closer than this cannot be told apart.
const TOO_CLOSE: u8 = 5;
/// An answer older than this, at the time of the snapshot, is stale.
pub(super) const STALE: Duration = Duration::minutes(5);
/// Above this share of failing requests a service is in trouble.
pub(super) const ERROR_LIMIT: f64 = 0.05;

/// A commit, with what it did to the failing thing.
pub(super) struct Blamed<'a> {
    pub(super) commit: &'a Commit,
    pub(super) position: usize,
    pub(super) changes: Vec<FieldChange>,
    pub(super) confidence: u8,
}

impl Blamed<'_> {
    /// In the words of a diagnosis.
    pub(super) fn suspect(&self) -> SuspectChange {
        SuspectChange::Commit {
            commit: self.commit.id.clone(),
            subject: self.commit.subject.clone(),
            author: self.commit.author.clone(),
            committed_at: self.commit.committed_at,
            changes: self.changes.clone(),
            confidence: self.confidence,
        }
    }
}

/// What came of the search.
pub(super) enum Blame<'a> {
    /// One commit stands out.
    One(Blamed<'a>),
    /// Several are as likely as each other.
    Several(Vec<String>),
    /// None.
    Nobody,
}

/// Looks for the commit behind `cause` (the strongest finding about the workload, if any).
///
/// `distance` is how many steps of the graph lie between the alert's own workload and this one.
pub(super) fn commit<'a>(view: &View<'a>, cause: Option<&Finding>, distance: u8) -> Blame<'a> {
    let Some(git) = view.snapshot().git.as_ref() else {
        return Blame::Nobody;
    };
    let mut candidates: Vec<Blamed<'a>> = Vec::new();
    for (position, commit) in git.commits.iter().enumerate() {
        let changes = touching(view, commit);
        let alive = still_there(changes, &git.commits[..position]);
        let Some(score) = score(view, commit, &alive, cause) else {
            continue;
        };
        let confidence = score.saturating_sub(15 * distance);
        candidates.push(Blamed {
            commit,
            position,
            changes: alive,
            confidence,
        });
    }
    // Newest first among equals: the sort is stable.
    candidates.sort_by_key(|c| std::cmp::Reverse(c.confidence));
    let Some(best) = candidates.first().map(|c| c.confidence).filter(|c| *c >= SUSPECT) else {
        return Blame::Nobody;
    };
    let rivals: Vec<String> = candidates
        .iter()
        .filter(|c| c.confidence + TOO_CLOSE > best)
        .map(|c| c.commit.id.clone())
        .collect();
    if rivals.len() > 1 {
        return Blame::Several(rivals);
    }
    Blame::One(candidates.swap_remove(0))
}

/// Looks for a roll-out that no commit is known for: a revision that is new, and another before it.
pub(super) fn roll_out(view: &View<'_>) -> Option<SuspectChange> {
    let sets: Vec<_> = view.replica_sets().map(|(_, set)| set).collect();
    let revisions: Vec<i64> = sets.iter().filter_map(|s| s.revision).collect();
    let numbered = revisions.len() == sets.len() && revisions.windows(2).all(|w| w[0] > w[1]);
    let [newest, previous, ..] = sets.as_slice() else {
        return None;
    };
    let (_, deployment) = view.deployment()?;
    let age = view.signal.starts_at - newest.created_at;
    let in_time = age >= Duration::zero() && age <= LOOKBACK;
    let (revision, previous_revision) = (newest.revision?, previous.revision?);
    (numbered && in_time && deployment.revision == Some(revision)).then(|| SuspectChange::RollOut {
        workload: view.workload.clone(),
        revision,
        previous_revision,
        at: newest.created_at,
        confidence: 60 + nearness(age),
    })
}

/// Fields of the workload, and of what it uses, that `commit` changed. Labels and annotations break nothing.
fn touching(view: &View<'_>, commit: &Commit) -> Vec<FieldChange> {
    let target = view.known.target;
    let own = view.workload.to_string();
    let me = workload_id(target, &view.workload);
    let uses: Vec<&str> = view.snapshot().graph.out(&me, "uses").collect();
    let concerns = |change: &&FieldChange| {
        let (kind, name) = change.object.split_once('/').unwrap_or_default();
        let used = uses.contains(&object_id(target, kind, name).as_str());
        (change.object == own || used) && !change.field.contains("metadata/")
    };
    commit.changes.iter().filter(concerns).cloned().collect()
}

/// Without the fields that a later commit changed again.
fn still_there(changes: Vec<FieldChange>, later: &[Commit]) -> Vec<FieldChange> {
    let overwritten = |change: &FieldChange| {
        let all = later.iter().flat_map(|c| &c.changes);
        let mut same = all.filter(|c| c.object == change.object);
        same.any(|c| c.field == change.field || c.field.is_empty())
    };
    changes.into_iter().filter(|c| !overwritten(c)).collect()
}

fn score(view: &View<'_>, commit: &Commit, changes: &[FieldChange], cause: Option<&Finding>) -> Option<u8> {
    let age = view.signal.starts_at - commit.committed_at;
    if changes.is_empty() || !commit.examined || age < Duration::zero() || age > LOOKBACK {
        return None;
    }
    let mut score = 50 + nearness(age);
    match onset(view) {
        Onset::At(began) if began + Duration::minutes(1) < commit.committed_at => return None,
        Onset::At(began) if began - commit.committed_at <= Duration::minutes(30) => score += 15,
        Onset::BeforeMeasured(first) if first <= commit.committed_at => return None,
        _ => {}
    }
    let fields = cause.map_or(&[][..], |c| telling_fields(c.rule));
    let tells = |c: &FieldChange| c.field.is_empty() || fields.iter().any(|f| c.field.contains(f));
    if !fields.is_empty() {
        // A pull error is not explained by a new replica count.
        score = if changes.iter().any(tells) {
            score + 20
        } else {
            score - 25
        };
    }
    let own = view.workload.to_string();
    if !changes.iter().any(|c| c.object == own) {
        score -= 5;
    }
    Some(score.min(97))
}

const fn nearness(age: Duration) -> u8 {
    match age.num_minutes() {
        ..=20 => 20,
        21..=60 => 15,
        61..=180 => 8,
        _ => 0,
    }
}

/// Parts of a field's path that can bring about what `rule` finds; empty when any can.
const fn telling_fields(rule: Rule) -> &'static [&'static str] {
    match rule {
        Rule::ImagePull => &["/image", "imagePullSecrets", "imagePullPolicy"],
        Rule::CrashLoop => &[
            "/image",
            "/env",
            "/command",
            "/args",
            "volume",
            "data/",
            "securityContext",
            "Probe",
        ],
        Rule::Oom => &["/resources/", "/image", "/env", "/args", "data/"],
        Rule::FailingProbe => &["Probe", "/image", "/env", "/args", "/ports", "data/"],
        Rule::Unschedulable => &[
            "/resources/",
            "nodeSelector",
            "affinity",
            "tolerations",
            "topology",
            "replicas",
            "nodeName",
        ],
        Rule::Quota => &["/resources/", "replicas"],
        Rule::MissingReplicas => &["replicas"],
        Rule::Saturation => &["/resources/", "replicas", "/image", "/env", "/args"],
        Rule::BadCommit | Rule::FailingDependency => &[],
    }
}

/// When the share of failing requests rose.
enum Onset {
    /// The first of the unbroken row of bad values that leads to now.
    At(DateTime<Utc>),
    /// It was bad all the time that was measured, from this first value on.
    BeforeMeasured(DateTime<Utc>),
    /// The past was not measured, or the present is good.
    Unknown,
}

fn onset(view: &View<'_>) -> Onset {
    let worst = view
        .metrics(MetricRole::ErrorRatio)
        .flat_map(|(_, m)| &m.series)
        .find(|s| is_bad(&s.value));
    let Some(series) = worst.filter(|s| !s.history.is_empty()) else {
        return Onset::Unknown;
    };
    let row = series.history.iter().rev().take_while(|p| is_bad(&p.value));
    let (length, first) = row.fold((0, None), |(n, _), p| (n + 1, Some(p.at)));
    match first {
        None => Onset::Unknown,
        Some(first) if length == series.history.len() => Onset::BeforeMeasured(first),
        Some(first) => Onset::At(first),
    }
}

/// Whether the alert's own metric agrees that there is trouble: metrics that do, by place.
pub(super) fn bad_ratios<'a>(view: &View<'a>) -> Vec<(usize, usize, &'a MetricFact)> {
    let all = view.metrics(MetricRole::ErrorRatio);
    let series = all.flat_map(|(m, metric)| (0..metric.series.len()).map(move |s| (m, s, metric)));
    let taken_at = view.snapshot().taken_at;
    let fresh = move |at: DateTime<Utc>| (at - taken_at).abs() <= STALE;
    series
        .filter(|(_, s, metric)| is_bad(&metric.series[*s].value) && fresh(metric.series[*s].at))
        .collect()
}

fn is_bad(value: &str) -> bool {
    value.parse().is_ok_and(|v: f64| v > ERROR_LIMIT)
}
