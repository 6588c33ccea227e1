//! A commit broke it.

use crate::{
    context::manifest::FieldChange,
    diagnose::{
        blame::Blamed,
        evidence::git,
        finding::{EvidenceRef, Finding, Rule},
        view::View,
    },
};

/// A finding about the commit that was blamed, with the symptom that it explains.
pub(in crate::diagnose) fn find(view: &View<'_>, blamed: &Blamed<'_>, symptom: Vec<EvidenceRef>) -> Finding {
    let commit = blamed.commit;
    let shown = commit.id.get(..12).unwrap_or(&commit.id);
    let mut evidence = Vec::new();
    for (c, change) in commit.changes.iter().enumerate() {
        if blamed.changes.contains(change) {
            let pointer = format!("/git/commits/{}/changes/{c}", blamed.position);
            evidence.push(git(pointer, &describe(change)));
        }
    }
    let first = blamed
        .changes
        .first()
        .map_or_else(String::new, |c| format!(": {}", describe(c)));
    evidence.extend(symptom);
    Finding {
        rule: Rule::BadCommit,
        title: format!("commit {shown} changed {}{first}", view.workload),
        confidence: blamed.confidence,
        subject: view.workload.clone(),
        evidence,
        change: Some(blamed.suspect()),
    }
}

fn describe(change: &FieldChange) -> String {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".into());
    let field = change
        .field
        .strip_prefix("spec/template/spec/")
        .unwrap_or(&change.field);
    format!(
        "{} {field} from {} to {}",
        change.object,
        shown(&change.before),
        shown(&change.after)
    )
}
