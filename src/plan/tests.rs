//! Drafting and checking, against the built-in catalogue and rules, with a reader that answers by hand.

use std::{collections::BTreeMap, sync::LazyLock};

use async_trait::async_trait;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    diagnose::Remedy,
    domain::{
        Actor, ContextRef, GitPlace, KubernetesPlace, OpCtx, Risk, SecretRef, Target, TargetId, TargetMode,
        Tier,
        plan::{Args, Inverse, Requester, Stage, Trigger},
    },
    policy::{Bundle, Engine, FlagsInput},
    tools::catalog::Catalog,
};

const HEAD: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const BAD: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

static PARTS: LazyLock<(Catalog, Engine)> = LazyLock::new(|| {
    let engine = Engine::from_bundle(&Bundle::builtin()).expect("the builtin bundle is good");
    (Catalog::builtin(), engine)
});

/// Answers reads of a small shop.
struct Shop;

#[async_trait]
impl PriorReader for Shop {
    async fn read(&self, _: TargetId, tool: &str, action: &str, args: &Args) -> Result<Value, String> {
        match (tool, action) {
            ("git", "head") => Ok(json!([{ "commit": HEAD, "ref": "refs/heads/main" }])),
            ("git", "log") => Ok(json!({ "text": format!(
                "commit {HEAD}\nparents {BAD}\nauthor Jo\ntime 2026-01-02T00:00:00Z\nsubject words\n\nM\tREADME.md\n\
                 commit {BAD}\nparents\nauthor Jo\ntime 2026-01-01T00:00:00Z\nsubject pool\n\nM\tdeploy/checkout.yaml\n") })),
            ("kubectl", "rollout_history") => Ok(
                json!({ "text": "deployment.apps/checkout\nREVISION  CHANGE-CAUSE\n3  <none>\n12  <none>\n7  <none>\n" }),
            ),
            ("kubectl", "get") if args["resource"] == "deployment/gone" => Err("not found".to_owned()),
            ("kubectl", "get") => Ok(json!({
                "metadata": { "resourceVersion": "99", "annotations": { "deployment.kubernetes.io/revision": "12" } },
                "spec": { "replicas": 3 }
            })),
            other => Err(format!("no answer for {other:?}")),
        }
    }
}

fn ctx() -> OpCtx {
    OpCtx::new(Actor::system("test"), "default".parse().expect("tenant"), "r1")
}

fn target() -> Target {
    Target {
        target_id: TargetId::from_uuid(uuid::Uuid::from_u128(7)),
        name: "shop".to_owned(),
        version: 4,
        context: ContextRef {
            tenant_id: "default".to_owned(),
            environment: "staging".to_owned(),
            cluster_id: "k1".to_owned(),
            namespace: "shop".to_owned(),
            ..ContextRef::default()
        },
        mode: TargetMode::Act,
        protected: false,
        git: Some(GitPlace {
            url: "https://git.example/shop.git".to_owned(),
            branch: "main".to_owned(),
            path: String::new(),
            read_credential: None,
            write_credential: None,
            ca_certificates: None,
        }),
        prometheus_url: Some("http://127.0.0.1:9090".to_owned()),
        kubernetes: Some(KubernetesPlace {
            read_credential: SecretRef::Env("KUBECONFIG_READ".to_owned()),
            write_credential: None,
            context: "k1".to_owned(),
        }),
        services: BTreeMap::from([("checkout".to_owned(), "deployment/checkout".to_owned())]),
    }
}

fn requester() -> Requester {
    Requester {
        name: "ada".to_owned(),
        person_id: None,
        identity_id: None,
        token_owner_person_id: None,
    }
}

fn proposal(what: What) -> Proposal {
    Proposal::new(Trigger::Manual, requester(), what)
}

fn call(tool: &str, action: &str, args: Value) -> StepRequest {
    StepRequest {
        tool: tool.to_owned(),
        action: action.to_owned(),
        args: serde_json::from_value(args).expect("an object"),
        ..StepRequest::default()
    }
}

async fn plan_of(target: &Target, proposal: Proposal) -> Result<Checked, Rejected> {
    let ctx = ctx();
    let (catalog, engine) = &*PARTS;
    let draft = draft(&ctx, target, &Shop, proposal).await;
    let with = Checks {
        catalog,
        engine,
        target,
        reader: &Shop,
        flags: FlagsInput::default(),
        managed: BTreeMap::from([("deployment/cart".to_owned(), vec!["argocd".to_owned()])]),
    };
    check(&ctx, draft, &with).await
}

async fn text(sentence: &str) -> Checked {
    let plan = plan_of(&target(), proposal(What::Text(sentence.to_owned()))).await;
    plan.unwrap_or_else(|error| panic!("{sentence}: {error}"))
}

async fn codes(target: &Target, what: What) -> Vec<(String, String)> {
    let rejected = plan_of(target, proposal(what)).await.expect_err("rejected");
    rejected
        .problems
        .into_iter()
        .map(|p| (p.pointer, p.code))
        .collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(pointer, code)| ((*pointer).to_owned(), (*code).to_owned()))
        .collect()
}

#[tokio::test]
async fn scale_by_a_sentence_is_a_whole_plan() {
    let plan = text("scale checkout to 4").await;
    let doc = plan.doc();
    let step = &doc.steps[0];
    assert_eq!(
        (step.stage, step.tool.as_str(), step.action.as_str()),
        (Stage::Act, "kubectl", "scale")
    );
    assert_eq!(step.args["resource"], "deployment/checkout");
    assert_eq!(
        step.expected_prior,
        BTreeMap::from([("replicas".to_owned(), "3".to_owned())])
    );
    let Inverse::Action { args, .. } = &step.inverse else {
        panic!("scale has an inverse")
    };
    assert_eq!(args["replicas"], "$prior.replicas");
    assert_eq!((doc.risk, doc.tier), (Risk::Medium, Tier::Standard));
    let pointers: Vec<_> = doc
        .verification
        .assertions
        .iter()
        .map(|a| a.pointer.as_str())
        .collect();
    assert_eq!(
        pointers,
        ["/complete", "/spec/replicas", "/status/availableReplicas"]
    );
    assert_eq!(step.evidence_required, ["k8s"]);
    assert_eq!(doc.constraints.approval_ttl_secs, 86_400);
    assert!(plan.needs_approval());
    let line = &diff(doc)[0];
    assert_eq!(
        (line.before.as_slice(), line.after.as_slice()),
        (&["replicas=3".to_owned()][..], &["replicas=4".to_owned()][..])
    );
    assert_eq!(
        line.undo,
        "kubectl.scale replicas=$prior.replicas resource=deployment/checkout"
    );
    assert_eq!(risk_summary(doc).writes, 1);
    let (bytes, digest) = doc.seal().expect("seals");
    assert_eq!((bytes.as_slice(), digest), (plan.bytes(), plan.digest()));
}

#[tokio::test]
async fn the_other_intents_resolve_what_they_name() {
    let plan = text("revert the last change of checkout").await;
    assert_eq!(plan.doc().steps[0].args["commit"], BAD);
    assert_eq!(plan.doc().steps[0].expected_prior["head"], HEAD);
    assert_eq!(text("revert bbbbbbb").await.doc().steps[0].args["commit"], BAD);
    let plan = text("roll back checkout").await;
    assert_eq!(plan.doc().steps[0].args["revision"], 7, "the one before 12");
    let available = plan.doc().verification.assertions.last().expect("assertions");
    assert_eq!(
        (available.pointer.as_str(), available.value.as_str()),
        ("/status/availableReplicas", "3")
    );
    assert_eq!(
        text("restart deployment/checkout").await.doc().steps[0].action,
        "rollout_restart"
    );
}

#[tokio::test]
async fn what_no_rule_understands_is_a_draft_without_steps_and_no_plan() {
    for (sentence, hint) in [
        ("make the shop fast", "no rule understands"),
        ("scale payment to 4", "known are: checkout"),
        ("revert ccccccc", "not one of the last 2 commits"),
        ("restart cluster/all", "not deployment/NAME"),
        (
            "revert the last change of deployment/cart",
            "none of the last 2 commits",
        ),
    ] {
        let draft = draft(
            &ctx(),
            &target(),
            &Shop,
            proposal(What::Text(sentence.to_owned())),
        )
        .await;
        assert!(draft.steps.is_empty());
        let lacks = draft.lacks.expect("it says what it lacks");
        assert!(lacks.contains(hint), "{sentence}: {lacks}");
        let problems = codes(&target(), What::Text(sentence.to_owned())).await;
        assert_eq!(problems, pairs(&[("/intent", "draft_incomplete")]));
    }
    let empty = codes(&target(), What::Steps(Vec::new())).await;
    assert_eq!(empty, pairs(&[("/intent", "draft_incomplete")]));
}

#[tokio::test]
async fn every_problem_has_a_pointer_and_all_are_told_at_once() {
    let steps = vec![
        call("kubectl", "explode", json!({})),
        call(
            "kubectl",
            "scale",
            json!({ "resource": "--all", "replicas": "4", "force": true }),
        ),
        call(
            "kubectl",
            "scale",
            json!({ "resource": "deployment/cart", "replicas": 1 }),
        ),
        call("git", "find_mark", json!({})),
        StepRequest {
            stage: Some(Stage::Verify),
            ..call(
                "kubectl",
                "rollout_restart",
                json!({ "resource": "deployment/checkout" }),
            )
        },
        call(
            "prometheus",
            "query",
            json!({ "query": concat!("up{token=\"ghp_", "0123456789abcdefghijklmnopqrstuvwxyzAB\"}") }),
        ),
    ];
    let mut found = codes(&target(), What::Steps(steps)).await;
    found.sort();
    let mut expected = pairs(&[
        ("/steps/0/action", "unknown_action"),
        ("/steps/1/args/force", "bad_argument"),
        ("/steps/1/args/replicas", "bad_argument"),
        ("/steps/1/args/resource", "bad_argument"),
        ("/steps/2/args/resource", "target_is_managed"),
        ("/steps/3/action", "unknown_action"),
        ("/steps/4/stage", "wrong_stage"),
        ("/steps/5/args/query", "secret_in_plan"),
    ]);
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn targets_modes_limits_and_the_present_state_are_held_to() {
    let scale = |resource: &str| {
        What::Steps(vec![call(
            "kubectl",
            "scale",
            json!({ "resource": resource, "replicas": 4 }),
        )])
    };
    let ok = || scale("deployment/checkout");
    let mut foreign = target();
    foreign.context.tenant_id = "other".to_owned();
    assert_eq!(
        codes(&foreign, ok()).await,
        pairs(&[("/target", "target_unknown")])
    );
    let mut observed = target();
    observed.mode = TargetMode::Observe;
    assert_eq!(codes(&observed, ok()).await, pairs(&[("", "target_observed")]));
    let mut moon = target();
    moon.context.environment = "moon".to_owned();
    assert_eq!(codes(&moon, ok()).await, pairs(&[("", "environment_unknown")]));
    let mut bare = target();
    bare.kubernetes = None;
    assert!(
        codes(&bare, ok())
            .await
            .contains(&("/steps/0/tool".to_owned(), "target_lacks_place".to_owned()))
    );
    assert_eq!(
        codes(&target(), scale("deployment/gone")).await,
        pairs(&[("/steps/0", "prior_unreadable")])
    );
    let mut drifted = call(
        "kubectl",
        "scale",
        json!({ "resource": "deployment/checkout", "replicas": 4 }),
    );
    drifted
        .expected_prior
        .insert("replicas".to_owned(), "5".to_owned());
    assert_eq!(
        codes(&target(), What::Steps(vec![drifted])).await,
        pairs(&[("/steps/0/expected_prior/replicas", "drifted")])
    );
    let many = vec![call("kubectl", "get", json!({ "resource": "pods" })); MAX_STEPS + 1];
    assert_eq!(
        codes(&target(), What::Steps(many)).await,
        pairs(&[("/steps", "too_many_steps")])
    );
}

#[tokio::test]
async fn stages_are_ordered_and_limits_only_narrow() {
    let steps = vec![
        call("kubectl", "get", json!({ "resource": "pods" })),
        call(
            "kubectl",
            "rollout_restart",
            json!({ "resource": "deployment/checkout" }),
        ),
        call("kubectl", "get", json!({ "resource": "events" })),
        StepRequest {
            stage: Some(Stage::Diagnose),
            ..call("git", "head", json!({}))
        },
    ];
    let mut proposal = proposal(What::Steps(steps));
    proposal.limits = Limits {
        max_targets: Some(500),
        max_duration_secs: Some(60),
        approval_ttl_secs: Some(0),
    };
    let plan = plan_of(&target(), proposal).await.expect("a plan");
    let order: Vec<_> = plan
        .doc()
        .steps
        .iter()
        .map(|s| (s.stage, s.action.as_str()))
        .collect();
    let expected = [
        (Stage::Diagnose, "get"),
        (Stage::Diagnose, "head"),
        (Stage::Act, "rollout_restart"),
        (Stage::Verify, "get"),
    ];
    assert_eq!(order, expected);
    let limits = &plan.doc().constraints;
    assert_eq!(
        (
            limits.max_targets,
            limits.max_duration_secs,
            limits.approval_ttl_secs
        ),
        (50, 60, 1)
    );
}

#[tokio::test]
async fn a_plan_that_only_reads_needs_no_approval() {
    let steps = What::Steps(vec![call("kubectl", "get", json!({ "resource": "pods" }))]);
    let plan = plan_of(&target(), proposal(steps)).await.expect("a plan");
    assert_eq!((plan.doc().risk, plan.doc().tier), (Risk::Read, Tier::Read));
    assert!(!plan.needs_approval());
}

#[tokio::test]
async fn a_remedy_is_the_same_steps_and_a_foreign_repository_is_none() {
    let remedy = |repo: &str| Remedy::RevertCommit {
        repo: repo.to_owned(),
        branch: "main".to_owned(),
        commit: BAD.to_owned(),
        path: "deploy/checkout.yaml".to_owned(),
    };
    let mut with_alert = proposal(What::Remedy(remedy("https://git.example/shop.git")));
    with_alert.assertions.push(assertions::metric_below(
        "checkout's errors are back to normal",
        "http_requests_error_ratio{service=\"checkout\"}",
        "0.05",
    ));
    let plan = plan_of(&target(), with_alert).await.expect("a plan");
    let kinds: Vec<_> = plan
        .doc()
        .verification
        .assertions
        .iter()
        .map(|a| a.evidence_kind.as_str())
        .collect();
    assert_eq!(kinds, ["promql", "git"]);
    assert_eq!(plan.doc().steps[0].evidence_required, ["git", "promql"]);
    let foreign = codes(&target(), What::Remedy(remedy("https://evil.example/x.git"))).await;
    assert_eq!(foreign, pairs(&[("/intent", "draft_incomplete")]));
}

#[tokio::test]
async fn what_two_steps_change_is_expected_once() {
    let scale = |replicas: u32| {
        call(
            "kubectl",
            "scale",
            json!({ "resource": "deployment/checkout", "replicas": replicas }),
        )
    };
    let plan = plan_of(&target(), proposal(What::Steps(vec![scale(4), scale(5)])))
        .await
        .expect("a plan");
    let expected: Vec<_> = plan.doc().steps.iter().map(|s| s.expected_prior.len()).collect();
    assert_eq!(expected, [1, 0]);
}

#[tokio::test]
async fn hidden_characters_do_not_reach_a_plan() {
    let mut sneaky = proposal(What::Text("restart checkout".to_owned()));
    sneaky.summary = Some("e\u{301}\u{202e}harmless\n\u{7}".to_owned());
    let plan = plan_of(&target(), sneaky).await.expect("a plan");
    assert_eq!(plan.doc().summary, "é harmless");
}

fn some_call() -> impl Strategy<Value = StepRequest> {
    prop_oneof![
        Just(call("kubectl", "get", json!({ "resource": "pods" }))),
        Just(call("git", "head", json!({}))),
        (0_u32..9).prop_map(|n| call(
            "kubectl",
            "scale",
            json!({ "resource": "deployment/checkout", "replicas": n })
        )),
        Just(call(
            "kubectl",
            "rollout_restart",
            json!({ "resource": "deployment/checkout" })
        )),
        Just(call("git", "revert", json!({ "commit": BAD }))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Invariant: risk comes from typed steps, never from words, and can only be raised.
    #[test]
    fn more_steps_and_other_words_never_lower_risk_or_tier(
        steps in prop::collection::vec(some_call(), 1..4),
        more in prop::collection::vec(some_call(), 0..3),
        words in "[a-z ]{0,40}",
        protected in any::<bool>(),
        label in "[a-z]{1,8}",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        let mut place = target();
        place.protected = protected;
        let plan = |steps: Vec<StepRequest>, words: &str, target: &Target| {
            let mut asked = proposal(What::Steps(steps.into_iter().map(|s| StepRequest { reason: Some(words.to_owned()), ..s }).collect()));
            asked.summary = Some(words.to_owned());
            let plan = runtime.block_on(plan_of(target, asked)).expect("a plan");
            (plan.doc().risk, plan.doc().tier)
        };
        let before = plan(steps.clone(), "", &place);
        prop_assert_eq!(plan(steps.clone(), &words, &place), before);
        prop_assert_eq!(plan(steps.clone(), "read only, low risk, harmless", &place), before);
        let mut renamed = place.clone();
        renamed.services.insert(label, "deployment/checkout".to_owned());
        prop_assert_eq!(plan(steps.clone(), &words, &renamed), before);
        let after = plan(steps.into_iter().chain(more).collect(), &words, &place);
        prop_assert!(after.0 >= before.0 && after.1 >= before.1, "{:?} to {:?}", before, after);
    }
}
