//! What is asserted of the services of a Compose file.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use serde_json::Value;

use super::super::repository::{at, entries};

const ROLES: &[&str] = &["gateway", "tool-router", "orchestrator", "agent", "sandbox"];
const SERVICES: &[&str] = &[
    "postgres",
    "temporal",
    "temporal-ui",
    "minio",
    "opa",
    "migrate",
    "tool-router",
    "sandbox",
    "orchestrator",
    "gateway",
    "agent",
];

pub fn all_are_there(value: &Value) -> Result<()> {
    for name in SERVICES {
        at(value, &format!("/services/{name}"))?;
    }
    Ok(())
}

/// Every image has a tag with a number in it; the project's own are named by the version that is built.
pub fn images_are_exact(value: &Value) -> Result<()> {
    for (name, service) in entries(value, "/services")? {
        let Some(image) = service["image"].as_str().map(default_of) else {
            continue;
        };
        if image.contains("/carapulse/") {
            continue;
        }
        let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
        if tag == "latest" || !tag.bytes().any(|byte| byte.is_ascii_digit()) || tag.contains('/') {
            bail!("{name} runs `{image}`, which is not exact");
        }
    }
    Ok(())
}

/// `${NAME:-default}` is its default, wherever it stands.
pub fn default_of(text: &str) -> String {
    let Some((before, rest)) = text.split_once("${") else {
        return text.to_owned();
    };
    let Some((variable, after)) = rest.split_once('}') else {
        return text.to_owned();
    };
    let default = variable.split_once(":-").map_or("", |(_, default)| default);
    format!("{before}{default}{}", default_of(after))
}

pub fn temporal_is_healthy_first(value: &Value) -> Result<()> {
    health_check_calls(value, "temporal", "cluster health")?;
    let mut waiting = 0;
    for (name, service) in entries(value, "/services")? {
        match condition(service, "temporal").as_deref() {
            Some("service_healthy") => waiting += 1,
            Some(other) => bail!("{name} waits for temporal only until {other}"),
            None => {}
        }
    }
    if waiting == 0 {
        bail!("nobody waits for temporal");
    }
    Ok(())
}

pub fn health_check_calls(value: &Value, service: &str, program: &str) -> Result<()> {
    let test = serde_json::to_string(at(value, &format!("/services/{service}/healthcheck/test"))?)?;
    let words = test.replace("\",\"", " ");
    if !words.contains(program) || words.contains("NONE") {
        bail!("the health check of {service} is {test}");
    }
    Ok(())
}

pub fn data_has_volumes(value: &Value) -> Result<()> {
    for (service, volume) in [("postgres", "postgres-data"), ("minio", "minio-data")] {
        at(value, &format!("/volumes/{volume}"))?;
        if !mounts(&value["services"][service])
            .iter()
            .any(|mount| mount.source == volume)
        {
            bail!("{service} does not keep its data in {volume}");
        }
    }
    Ok(())
}

pub fn agent_is_opt_in(value: &Value) -> Result<()> {
    let profiles = at(value, "/services/agent/profiles")?;
    if !profiles
        .as_array()
        .is_some_and(|list| list.iter().any(|profile| profile == "chatops"))
    {
        bail!("the agent's profiles are {profiles}");
    }
    Ok(())
}

pub fn migrations_come_first(value: &Value) -> Result<()> {
    if condition(&value["services"]["migrate"], "postgres").as_deref() != Some("service_healthy") {
        bail!("the migrations do not wait for Postgres");
    }
    for role in ["gateway", "tool-router", "orchestrator"] {
        let found = condition(&value["services"][role], "migrate");
        if found.as_deref() != Some("service_completed_successfully") {
            bail!("{role} does not wait for the migrations: {found:?}");
        }
    }
    Ok(())
}

/// Whatever is mounted at this place or below it cannot be written; somebody mounts something there.
pub fn read_only_under(value: &Value, place: &str) -> Result<()> {
    let mut seen = 0;
    for (name, service) in entries(value, "/services")? {
        for mount in mounts(service)
            .iter()
            .filter(|mount| mount.target.starts_with(place))
        {
            seen += 1;
            if !mount.read_only {
                bail!("{name} may write {}", mount.target);
            }
        }
        seen += service["configs"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|config| {
                config["target"]
                    .as_str()
                    .is_some_and(|target| target.starts_with(place))
            })
            .count();
    }
    if seen == 0 {
        bail!("nothing is mounted under {place}");
    }
    Ok(())
}

/// The roles run with nothing that they do not need.
pub fn confined(value: &Value) -> Result<()> {
    for role in ROLES.iter().chain(&["migrate"]) {
        let service = at(value, &format!("/services/{role}"))?;
        let has = |key: &str, wanted: &str| {
            service[key]
                .as_array()
                .into_iter()
                .flatten()
                .any(|item| item.as_str().is_some_and(|text| text.starts_with(wanted)))
        };
        if !has("cap_drop", "ALL")
            || !has("security_opt", "no-new-privileges")
            || service["read_only"] != true
        {
            bail!("{role} keeps capabilities, privileges or a writable root");
        }
        if service.get("privileged").is_some_and(|value| value != false) || service.get("cap_add").is_some() {
            bail!("{role} is given more than the others");
        }
    }
    Ok(())
}

/// Who stays is checked: by a health check here, or by that of the project's own images.
pub fn checked(value: &Value) -> Result<()> {
    let mut awaited_end = BTreeSet::new();
    for (_, service) in entries(value, "/services")? {
        for (other, condition) in service["depends_on"].as_object().into_iter().flatten() {
            if condition["condition"] == "service_completed_successfully" {
                awaited_end.insert(other.as_str());
            }
        }
    }
    for (name, service) in entries(value, "/services")? {
        let ends = awaited_end.contains(name) || service["restart"] == "no";
        let own = ROLES.contains(&name);
        if !ends && !own && service.pointer("/healthcheck/test").is_none() {
            bail!("nobody knows whether {name} is well");
        }
    }
    Ok(())
}

/// Every service names its networks, and only the tool-router shares one with the sandbox.
pub fn networks_are_explicit(value: &Value) -> Result<()> {
    let mut members: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, service) in entries(value, "/services")? {
        let networks: Vec<&str> = match &service["networks"] {
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            Value::Object(map) => map.keys().map(String::as_str).collect(),
            _ if service["network_mode"] == "none" => continue,
            _ => bail!("{name} is on the default network"),
        };
        for network in networks {
            at(value, &format!("/networks/{network}"))?;
            members.entry(network).or_default().insert(name);
        }
    }
    for (network, names) in &members {
        if names.contains("sandbox")
            && names
                .iter()
                .any(|name| *name != "sandbox" && *name != "tool-router")
        {
            bail!("the sandbox shares `{network}` with {names:?}");
        }
    }
    if members.len() < 2 || members.contains_key("default") {
        bail!("the networks are {:?}", members.keys());
    }
    Ok(())
}

/// Somebody makes a bucket, and every role that keeps objects waits for that.
pub fn a_bucket_is_made(value: &Value) -> Result<()> {
    let maker = entries(value, "/services")?
        .into_iter()
        .find(|(name, _)| name.starts_with("minio-"));
    let Some((maker, _)) = maker else {
        bail!("no service makes the bucket");
    };
    for role in ["gateway", "tool-router", "orchestrator"] {
        if condition(&value["services"][role], maker).as_deref() != Some("service_completed_successfully") {
            bail!("{role} does not wait for {maker}");
        }
    }
    Ok(())
}

pub fn localstack(value: &Value) -> Result<()> {
    let service = at(value, "/services/localstack")?;
    let image = default_of(service["image"].as_str().unwrap_or_default());
    if !image.contains("localstack/localstack:3.1") {
        bail!("localstack runs {image}");
    }
    let environment = serde_json::to_string(&service["environment"])?;
    for api in ["s3", "sts", "iam", "cloudwatch", "ec2", "ecs", "lambda", "ssm"] {
        if !environment.contains(api) {
            bail!("localstack does not simulate {api}");
        }
    }
    Ok(())
}

pub fn seeded_first(value: &Value) -> Result<()> {
    for seed in ["vault-init", "localstack-init"] {
        if condition(&value["services"]["tool-router"], seed).as_deref()
            != Some("service_completed_successfully")
        {
            bail!("the tool-router does not wait for {seed}");
        }
    }
    Ok(())
}

/// The condition under which a service waits for another; the short form waits for a start only.
fn condition(service: &Value, other: &str) -> Option<String> {
    match &service["depends_on"] {
        Value::Array(list) => list
            .iter()
            .any(|item| item == other)
            .then(|| "service_started".to_owned()),
        Value::Object(map) => Some(map.get(other)?["condition"].as_str()?.to_owned()),
        _ => None,
    }
}

struct Mount {
    source: String,
    target: String,
    read_only: bool,
}

/// Both forms: `source:target:ro`, and a mapping.
fn mounts(service: &Value) -> Vec<Mount> {
    let list = service["volumes"].as_array().into_iter().flatten();
    list.filter_map(|volume| match volume {
        Value::String(text) => {
            let text = default_of(text);
            let parts: Vec<&str> = text.split(':').collect();
            Some(Mount {
                source: (*parts.first()?).to_owned(),
                target: (*parts.get(1)?).to_owned(),
                read_only: parts
                    .get(2)
                    .is_some_and(|options| options.split(',').any(|option| option == "ro")),
            })
        }
        _ => Some(Mount {
            source: volume["source"].as_str().unwrap_or_default().to_owned(),
            target: volume["target"].as_str()?.to_owned(),
            read_only: volume["read_only"] == true,
        }),
    })
    .collect()
}

#[cfg(test)]
#[path = "compose_services_tests.rs"]
mod tests;
