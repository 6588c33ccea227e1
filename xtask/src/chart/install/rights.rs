//! What each account may do, asked of the API server, beside `chart/ci/rights.toml`.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::chart::cluster::OnCluster;
use crate::report::say;
use crate::workspace;

const NAMESPACE: &str = "rights";

/// `account` → what it may do of all that is asked. Accounts are `namespace/name`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// `verb resource namespace`, a namespace of `*` for all.
    asked: Vec<String>,
    may: BTreeMap<String, Vec<String>>,
}

/// Installs with writing allowed in namespace `shop`, and asks.
pub fn run(on: &OnCluster<'_>) -> Result<()> {
    let text = fs::read_to_string(workspace::path("chart/ci/rights.toml")).context("chart/ci/rights.toml")?;
    let table: Table = toml::from_str(&text).context("chart/ci/rights.toml")?;
    on.namespace(NAMESPACE)?;
    on.namespace("shop")?;
    on.secrets(NAMESPACE)?;
    on.helm(&[
        "install",
        "carapulse",
        ".",
        "--namespace",
        NAMESPACE,
        "--set",
        "rbac.write[0].namespace=shop",
        "--wait",
        "--timeout",
        "120s",
    ])?;
    every_account_is_listed(on, &table)?;
    let mut wrong = Vec::new();
    for (account, may) in &table.may {
        for question in &table.asked {
            let expected = may.contains(question);
            let found = allowed(on, account, question)?;
            if found != expected {
                wrong.push(format!("{account}: {question}: {found}, expected {expected}"));
            }
        }
        if let Some(unknown) = may.iter().find(|question| !table.asked.contains(question)) {
            wrong.push(format!("{account}: {unknown}: is not asked"));
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    say(&format!(
        "{} accounts, {} questions each: as chart/ci/rights.toml says",
        table.may.len(),
        table.asked.len()
    ));
    token_of_a_target(on)?;
    on.helm(&["uninstall", "carapulse", "--namespace", NAMESPACE, "--wait"])
        .map(drop)
}

/// An account that nobody thought of is the one with too many rights.
fn every_account_is_listed(on: &OnCluster<'_>, table: &Table) -> Result<()> {
    for namespace in [NAMESPACE, "shop"] {
        for name in on.names("serviceaccounts", namespace)? {
            let account = format!("{namespace}/{name}");
            ensure!(
                table.may.contains_key(&account) || name == "default",
                "chart/ci/rights.toml does not know {account}"
            );
        }
    }
    Ok(())
}

fn allowed(on: &OnCluster<'_>, account: &str, question: &str) -> Result<bool> {
    let (namespace, name) = account.split_once('/').context("an account is namespace/name")?;
    let words: Vec<&str> = question.split(' ').collect();
    let [verb, resource, place] = words[..] else {
        bail!("`{question}`: expected `verb resource namespace`")
    };
    let who = format!("--as=system:serviceaccount:{namespace}:{name}");
    let within = if place == "*" {
        "--all-namespaces".to_owned()
    } else {
        format!("--namespace={place}")
    };
    // To kubectl, what follows a `/` in a resource is an object's name.
    let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
    let part = format!("--subresource={part}");
    let mut command =
        on.kubectl_command(&["auth", "can-i", verb, resource, &part, &who, &within, "--quiet"])?;
    Ok(command.output()?.status.success())
}

/// What docs/kubernetes.md tells people to do: a token of the reader, in a kubeconfig, reads pods and no Secrets.
fn token_of_a_target(on: &OnCluster<'_>) -> Result<()> {
    let token = on.kubectl(&[
        "create",
        "token",
        "carapulse-reader",
        "--namespace",
        NAMESPACE,
        "--duration=1h",
    ])?;
    let token = format!("--token={}", token.trim());
    // The administrator's own credential must not be in the way of the token.
    let view = on.kubectl(&[
        "config",
        "view",
        "--raw",
        "--minify",
        "--output=jsonpath={.clusters[0].cluster.server}",
    ])?;
    let empty = on.folder.join("nobody");
    fs::write(&empty, "")?;
    let empty = format!("--kubeconfig={}", empty.display());
    let server = format!("--server={view}");
    let as_reader = |resource: &'static str| {
        [
            &empty,
            &server,
            &token,
            "--insecure-skip-tls-verify",
            "get",
            resource,
            "--namespace",
            "shop",
        ]
        .map(str::to_owned)
    };
    let words = as_reader("pods");
    on.kubectl(&words.each_ref().map(String::as_str))?;
    let words = as_reader("secrets");
    let said = on.kubectl_refusal(&words.each_ref().map(String::as_str))?;
    ensure!(said.contains("cannot list resource \"secrets\""), "{said}");
    Ok(())
}
