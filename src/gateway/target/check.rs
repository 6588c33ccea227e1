//! What a target's texts may look like: they end up in argument vectors and addresses.

use super::TargetSpec;
use crate::{
    domain::{OpCtx, Risk, Target, Tier},
    gateway::problem::{Kind, Problem},
    policy::{
        ActionInput, ActionKind, ActorInput, BlastRadius, Engine, FlagsInput, Input, Phase, RiskInput,
        TargetInput,
    },
};

/// Checks every text of a target. All faults are named at once.
pub(super) fn check(spec: &TargetSpec) -> Result<(), Problem> {
    let mut faults: Vec<(String, &str)> = Vec::new();
    let mut want = |holds: bool, pointer: &str, detail: &'static str| {
        if !holds {
            faults.push((pointer.to_owned(), detail));
        }
    };
    want(
        is_name(&spec.name),
        "/name",
        "1 to 63 of a-z, 0-9 and `-`, neither first nor last a `-`",
    );
    want(is_word(&spec.context.environment), "/context/environment", WORD);
    let optional = [
        ("/context/cluster_id", &spec.context.cluster_id),
        ("/context/namespace", &spec.context.namespace),
        ("/context/aws_account_id", &spec.context.aws_account_id),
        ("/context/region", &spec.context.region),
        ("/context/argocd_project", &spec.context.argocd_project),
        ("/context/grafana_org_id", &spec.context.grafana_org_id),
    ];
    for (pointer, text) in optional {
        want(text.is_empty() || is_word(text), pointer, WORD);
    }
    if let Some(git) = &spec.git {
        let local = git.url.starts_with('/') && !git.url.contains("..");
        want(
            local || is_address(&git.url, &["https"]),
            "/git/url",
            "https://… without credentials, or an absolute path",
        );
        want(
            is_path(&git.branch),
            "/git/branch",
            "a branch name that does not start with `-`",
        );
        want(
            git.path.is_empty() || is_path(&git.path),
            "/git/path",
            "a relative folder without `..`",
        );
    }
    if let Some(url) = &spec.prometheus_url {
        want(
            is_address(url, &["http", "https"]),
            "/prometheus_url",
            "http(s)://host:port without credentials",
        );
    }
    if let Some(kubernetes) = &spec.kubernetes {
        want(is_word(&kubernetes.context), "/kubernetes/context", WORD);
    }
    for (service, workload) in &spec.services {
        let sound = is_word(service)
            && workload
                .split_once('/')
                .is_some_and(|(kind, name)| is_name(kind) && is_name(name));
        want(
            sound,
            &format!("/services/{service}"),
            "a service name mapped to `kind/name`",
        );
    }
    match faults.is_empty() {
        true => Ok(()),
        false => {
            let problem = Problem::new(Kind::InvalidValue, "the target is not valid; see `errors`");
            Err(faults
                .into_iter()
                .fold(problem, |problem, (pointer, detail)| problem.at(pointer, detail)))
        }
    }
}

/// Which environments there are is policy's to say: in one that it does not know it denies everything, reads included, so
/// that the place would be of no use.
pub(super) fn environment(ctx: &OpCtx, target: &Target, engine: &Engine) -> Result<(), Problem> {
    let question = Input {
        action: ActionInput {
            name: "target.propose".to_owned(),
            kind: ActionKind::Read,
            phase: Phase::Plan,
        },
        actor: ActorInput::of(&ctx.actor, &ctx.tenant),
        tenant: ctx.tenant.clone(),
        target: TargetInput::of(target),
        steps: Vec::new(),
        step: None,
        risk: RiskInput {
            level: Risk::Read,
            tier: Tier::Read,
            targets: 1,
            blast_radius: BlastRadius::Namespace,
        },
        flags: FlagsInput::default(),
    };
    let decision = engine.decide(&question);
    let unknown = decision
        .violations
        .iter()
        .find(|violation| violation.code == "environment_unknown");
    match unknown {
        Some(violation) => Err(Problem::new(
            Kind::InvalidValue,
            "policy knows no such environment; see `errors`",
        )
        .at("/context/environment", &violation.message)),
        None => Ok(()),
    }
}

const WORD: &str = "1 to 253 of letters, digits and `-_.:/@`, starting with a letter or digit";

fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_word(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.:/@".contains(&b))
}

fn is_path(text: &str) -> bool {
    is_word(text) && !text.contains("..") && !text.contains(':') && !text.ends_with('/')
}

fn is_address(text: &str, schemes: &[&str]) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        schemes.contains(&url.scheme())
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(toml: &str) -> TargetSpec {
        toml::from_str(toml).expect("TOML")
    }

    #[test]
    fn a_sound_target_passes() {
        let spec = spec(
            r#"name = "shop-prod"
               prometheus_url = "http://prometheus:9090"
               context = { environment = "prod", cluster_id = "eu-1", namespace = "shop" }
               git = { url = "https://git.example/shop.git", branch = "main", path = "apps/shop" }
               services = { checkout = "deployment/checkout" }"#,
        );
        assert!(check(&spec).is_ok());
    }

    #[test]
    fn every_text_that_could_become_an_option_or_leak_a_secret_is_named() {
        let spec = spec(
            r#"name = "-x"
               prometheus_url = "http://user:secret@prometheus"
               context = { environment = "--all", namespace = "a b" }
               git = { url = "ext::sh -c evil", branch = "--upload-pack=x", path = "../etc" }
               services = { checkout = "deployment" }"#,
        );
        let problem = check(&spec).expect_err("refused");
        let pointers: Vec<_> = problem
            .errors()
            .iter()
            .map(|error| error.pointer.as_str())
            .collect();
        assert_eq!(
            pointers,
            [
                "/name",
                "/context/environment",
                "/context/namespace",
                "/git/url",
                "/git/branch",
                "/git/path",
                "/prometheus_url",
                "/services/checkout"
            ]
        );
    }
}
