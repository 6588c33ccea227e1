//! The catalogue's tests: closed schemas, no options from arguments, digests that change when meaning does.

use serde_json::json;

use super::*;
use crate::domain::plan::{Args, Inverse};

fn args(value: serde_json::Value) -> Args {
    serde_json::from_value(value).expect("an object")
}

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A changed digest voids every approval that pins it: change these lines only with the meaning.
#[test]
fn digests_are_golden() {
    let catalog = Catalog::builtin();
    let lines: Vec<_> = catalog
        .iter()
        .map(|d| format!("{}.{} {}", d.tool, d.action, d.digest))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn prose_is_not_in_the_digest_and_everything_else_is() {
    let text = include_str!("prometheus.toml");
    let digest = |text: &str| {
        Catalog::from_texts(&[text])
            .expect("catalogue")
            .action("prometheus", "query")
            .map(|d| d.digest)
    };
    let same = text.replace("One expression at one instant", "Another wording");
    assert_ne!(same, text);
    assert_eq!(digest(&same), digest(text));
    for (from, to) in [
        ("timeout_secs = 15", "timeout_secs = 16"),
        ("output_bytes = 4000000", "output_bytes = 4000001"),
        ("api/v1/query\"", "api/v1/other\""),
        ("pattern = \"promql\"", "pattern = \"name\""),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        assert_ne!(digest(&changed), digest(text), "{from}");
    }
}

#[test]
fn a_write_s_digest_covers_the_reads_that_it_captures_and_probes_with() {
    let text = include_str!("git.toml");
    let digest = |text: &str| {
        Catalog::from_texts(&[text])
            .expect("catalogue")
            .action("git", "revert")
            .map(|d| d.digest)
    };
    let changed = text.replacen(
        "--format=%H\", \"--fixed-strings\"",
        "--format=%h\", \"--fixed-strings\"",
        1,
    );
    assert_ne!(changed, text);
    assert_ne!(digest(&changed), digest(text));
}

#[test]
fn schemas_are_closed_and_typed() {
    let catalog = Catalog::builtin();
    assert!(catalog.action("kubectl", "delete").is_none());
    assert!(catalog.action("bash", "run").is_none());
    for (tool, action, given, arg) in [
        (
            "kubectl",
            "scale",
            json!({"resource": "deployment/a", "replicas": 1, "namespace": "x"}),
            "namespace",
        ),
        (
            "kubectl",
            "scale",
            json!({"resource": "deployment/a", "replicas": 1, "kubeconfig": "x"}),
            "kubeconfig",
        ),
        (
            "kubectl",
            "scale",
            json!({"resource": "deployment/a"}),
            "replicas",
        ),
        (
            "kubectl",
            "scale",
            json!({"resource": "deployment/a", "replicas": "3"}),
            "replicas",
        ),
        (
            "kubectl",
            "scale",
            json!({"resource": "deployment/a", "replicas": -1}),
            "replicas",
        ),
        (
            "kubectl",
            "scale",
            json!({"resource": "deployment/a", "replicas": 1.5}),
            "replicas",
        ),
        (
            "kubectl",
            "scale",
            json!({"resource": "deployment", "replicas": 1}),
            "resource",
        ),
        (
            "kubectl",
            "scale",
            json!({"resource": "secret/a", "replicas": 1}),
            "resource",
        ),
        (
            "kubectl",
            "scale",
            json!({"resource": "deployment/--all", "replicas": 1}),
            "resource",
        ),
        (
            "kubectl",
            "scale",
            json!({"resource": "--all", "replicas": 1}),
            "resource",
        ),
        ("kubectl", "get", json!({"resource": "secrets"}), "resource"),
        ("kubectl", "get", json!({"resource": "secret/x"}), "resource"),
        ("kubectl", "get", json!({"resource": "pods,secrets"}), "resource"),
        (
            "kubectl",
            "get",
            json!({"resource": "pods", "selector": "--all-namespaces"}),
            "selector",
        ),
        ("git", "revert", json!({"commit": "HEAD"}), "commit"),
        ("git", "revert", json!({"commit": "--upload-pack=x"}), "commit"),
        (
            "git",
            "revert",
            json!({"commit": COMMIT, "branch": "main"}),
            "branch",
        ),
        ("git", "file", json!({"path": "../../etc/passwd"}), "path"),
        ("git", "log", json!({"path": "--output=/tmp/x"}), "path"),
        ("prometheus", "query", json!({"query": "up\nup"}), "query"),
        ("prometheus", "query", json!({"query": ["up"]}), "query"),
    ] {
        let def = catalog.action(tool, action).expect("built in");
        let errors = def
            .check_args(&args(given.clone()))
            .expect_err(&given.to_string());
        assert!(errors.iter().any(|e| e.arg == arg), "{given}: {errors:?}");
    }
}

#[test]
fn defaults_are_filled_in_and_captured_numbers_are_text() {
    let catalog = Catalog::builtin();
    let log = catalog.action("git", "log").expect("built in");
    assert_eq!(
        log.check_args(&Args::new()).expect("defaults")["limit"],
        json!(20)
    );
    let scale = catalog.action("kubectl", "scale").expect("built in");
    let derived = args(json!({"resource": "deployment/a", "replicas": "3"}));
    assert_eq!(
        scale.check_derived_args(&derived).expect("derived")["replicas"],
        json!(3)
    );
    let bad = args(json!({"resource": "deployment/a", "replicas": "-1"}));
    assert!(scale.check_derived_args(&bad).is_err());
}

#[test]
fn inverses_keep_what_the_act_will_capture_and_fill_in_the_rest() {
    let catalog = Catalog::builtin();
    let scale = catalog.action("kubectl", "scale").expect("built in");
    let given = args(json!({"resource": "deployment/web", "replicas": 5}));
    let Inverse::Action {
        action,
        action_digest,
        args: inverse,
        ..
    } = scale.inverse_for(&given, &catalog)
    else {
        panic!("an action")
    };
    assert_eq!((action.as_str(), action_digest), ("scale", scale.digest));
    assert_eq!(
        inverse,
        args(json!({"resource": "deployment/web", "replicas": "$prior.replicas"}))
    );
}

#[test]
fn every_write_names_its_inverse_and_every_marked_or_converging_one_its_probe() {
    for def in Catalog::builtin().iter().filter(|d| d.class == Class::Write) {
        assert_ne!(def.inverse, InverseSpec::None, "{}.{}", def.tool, def.action);
        assert!(def.spec.probe.is_some(), "{}.{}", def.tool, def.action);
        assert!(!def.captures.is_empty(), "{}.{}", def.tool, def.action);
    }
}

#[test]
fn unsound_definitions_are_refused() {
    let git = include_str!("git.toml");
    let kubectl = include_str!("kubectl.toml");
    for (text, from, to, problem) in [
        (
            git,
            "tool = \"git\"",
            "tool = \"git\"\nhook = \"x\"",
            "unknown field",
        ),
        (
            git,
            "\"--max-count={limit}\"",
            "\"{limit}\"",
            "could become an option",
        ),
        (
            git,
            "{ when_present = \"path\", argv = [\"{path}\"] }]\n\n[actions.show]",
            "\"{path}\"]\n\n[actions.show]",
            "has no value",
        ),
        (
            git,
            "{target.branch}\", \"--\", \"{target.url}\", \"repo.git\"]",
            "{target.region}\", \"--\", \"x\"]",
            "has no value",
        ),
        (git, "acts = true\n", "", "exactly one command"),
        (
            git,
            "args = { commit = \"$result.commit\" }",
            "args = { commit = \"$result.id\" }",
            "is no result",
        ),
        (git, "read = \"find_mark\"", "read = \"revert\"", "is not a read"),
        (kubectl, "\"cronjob\",", "\"secrets\",", "Secrets"),
        (
            kubectl,
            "\"rollout\", \"undo\",",
            "\"rollout\", \"undo\", \"--force\",",
            "never passed",
        ),
        (
            kubectl,
            "risk = \"medium\"",
            "risk = \"read\"",
            "a write has a risk",
        ),
        (
            kubectl,
            "expect = { mark =",
            "expect = { colour =",
            "is not captured",
        ),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let error = Catalog::from_texts(&[&changed]).expect_err(from);
        assert!(error.to_string().contains(problem), "{from}: {error}");
    }
}
