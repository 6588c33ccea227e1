//! What must be said about each world of the tables, and the scorecard.

use super::{
    changes, limits,
    world::{CHECKOUT, Repository, World},
};
use crate::diagnose::{Diagnosis, Remedy, Rule, SuspectChange, Verdict};
use Expect::{Healthy, Known, Unknown};

/// What must come out.
pub(super) enum Expect {
    /// This rule comes first, with this remedy (as shown to people).
    Known(Rule, Option<&'static str>),
    Healthy,
    /// The reason holds these words.
    Unknown(&'static str),
}
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) make: fn(&mut World),
    pub(super) expect: Expect,
}

pub(super) const REVERT: Option<&str> = Some("revert 000000000000 on main");

/// The scorecard: every case right, no finding on a healthy world, and how often it says that it does not know.
#[test]
fn every_case_is_right() {
    let (mut wrong, mut cases, mut false_positives, mut abstentions) = (Vec::new(), 0, 0, 0);
    for case in changes::CASES.iter().chain(limits::CASES) {
        cases += 1;
        let mut world = World::new();
        (case.make)(&mut world);
        let diagnosis = world.diagnose();
        abstentions += usize::from(matches!(diagnosis.verdict, Verdict::Unknown { .. }));
        false_positives += usize::from(matches!(case.expect, Healthy) && !diagnosis.findings.is_empty());
        if let Err(why) = judge(case, &diagnosis, &world) {
            wrong.push(format!(
                "{}: {why}\n{}",
                case.name,
                serde_json::to_string_pretty(&diagnosis).expect("JSON")
            ));
        }
    }
    println!(
        "diagnosis: {cases} cases, {} right, {false_positives} false positives on healthy, {abstentions} abstentions",
        cases - wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn judge(case: &Case, diagnosis: &Diagnosis, world: &World) -> Result<(), String> {
    let snapshot = serde_json::to_value(world.snapshot()).expect("JSON");
    for evidence in diagnosis.findings.iter().flat_map(|f| &f.evidence) {
        if snapshot.pointer(&evidence.pointer).is_none() {
            return Err(format!("evidence leads nowhere: {}", evidence.pointer));
        }
    }
    if diagnosis.findings.iter().any(|f| f.evidence.is_empty()) {
        return Err("a finding without evidence".into());
    }
    if diagnosis.remedy.is_some() && diagnosis.verdict != Verdict::Known {
        return Err("a remedy without a known cause".into());
    }
    let bytes = diagnosis.to_bytes().map_err(|e| e.to_string())?;
    if Diagnosis::from_bytes(&bytes).as_ref() != Ok(diagnosis) {
        return Err("does not read back".into());
    }
    match (&case.expect, &diagnosis.verdict) {
        (Healthy, Verdict::Healthy) if diagnosis.findings.is_empty() => Ok(()),
        (Unknown(words), Verdict::Unknown { why }) if why.contains(words) => Ok(()),
        (Known(rule, remedy), Verdict::Known) => {
            let first = diagnosis.findings.first().map(|f| f.rule);
            let shown = diagnosis.remedy.as_ref().map(ToString::to_string);
            if first != Some(*rule) {
                return Err(format!("first is {first:?}"));
            }
            if shown.as_deref() != *remedy {
                return Err(format!("remedy is {shown:?}"));
            }
            let told = diagnosis.remedy.is_some() != diagnosis.no_remedy_because.is_some();
            if told {
                Ok(())
            } else {
                Err("no remedy and no reason".into())
            }
        }
        (_, verdict) => Err(format!("verdict is {verdict:?}")),
    }
}

#[test]
fn the_story_of_the_demo() {
    let mut world = World::new();
    let bad = world.bad_commit();
    world.repository.edit(2, "docs", "README.md", "# The", "# Our");
    let diagnosis = world.diagnose();
    let wanted = Remedy::RevertCommit {
        repo: "https://git.example/shop/deploy.git".into(),
        branch: "main".into(),
        commit: bad.clone(),
        path: CHECKOUT.into(),
    };
    assert_eq!(diagnosis.remedy, Some(wanted));
    let first = &diagnosis.findings[0];
    assert!(
        first.title.ends_with("env[DB_POOL_SIZE]/value from 20 to 0"),
        "{}",
        first.title
    );
    let kinds: Vec<_> = first.evidence.iter().map(|e| e.source.as_str()).collect();
    assert_eq!(kinds, ["git.log", "prometheus.error_ratio/checkout"]);
    assert!(
        matches!(&diagnosis.suspect_change, Some(SuspectChange::Commit { commit, .. }) if *commit == bad)
    );
    assert_eq!(bad, Repository::id(1));
}
