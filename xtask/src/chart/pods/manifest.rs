//! A rendered workload as the one pod that podman runs.
//!
//! What is changed, because podman 4 does not know it: a projected volume becomes a folder with the same files, owned and with
//! the mode that the kubelet would give them; probes are taken out (podman would need curl in the image) and asked by `pods`;
//! the pod's own address is not to be had as a variable, so the tool-router advertises its name, as its configuration says;
//! Services do not exist, so their names are written into each pod's hosts. Everything else is as rendered.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::chart::helm::{find, text};

const UID: u32 = 10001;

/// The pod of a Deployment or Job. Files of its projected volumes are put below `folder`.
pub fn pod(rendered: &[Value], workload: &Value, hosts: &[(String, String)], folder: &Path) -> Result<Value> {
    let template = &workload["spec"]["template"];
    let mut spec = template["spec"].clone();
    for volume in spec["volumes"].as_array_mut().into_iter().flatten() {
        if let Some(projected) = volume.get("projected").cloned() {
            let place = folder.join(text(volume, "name"));
            write(rendered, &projected, &place)?;
            *volume = json!({"name": text(volume, "name"), "hostPath": {"path": place, "type": "Directory"}});
        }
    }
    for container in spec["containers"].as_array_mut().into_iter().flatten() {
        let container = container.as_object_mut().context("a container")?;
        container.retain(|key, _| !key.ends_with("Probe"));
        if let Some(variables) = container.get_mut("env").and_then(Value::as_array_mut) {
            variables.retain(|variable| {
                !text(variable, "name").ends_with("__ADVERTISED")
                    && variable.pointer("/valueFrom/fieldRef").is_none()
            });
        }
    }
    let aliases = hosts
        .iter()
        .map(|(name, address)| json!({"ip": address, "hostnames": [name]}));
    spec["hostAliases"] = aliases.collect();
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": text(workload, "metadata/name"), "labels": template["metadata"]["labels"]},
        "spec": spec,
    }))
}

/// A Secret that a pod refers to by itself (`secretKeyRef`), as podman keeps it: each key's value in base64.
pub fn secret(rendered: &[Value], name: &str) -> Result<Value> {
    let values = find(rendered, "Secret", name)?["stringData"]
        .as_object()
        .context("a Secret with values")?;
    let encoded = values.iter().map(|(key, value)| {
        (
            key.clone(),
            json!(BASE64_STANDARD.encode(value.as_str().unwrap_or_default())),
        )
    });
    Ok(Value::Object(encoded.collect()))
}

/// The files of a projected volume, from the rendered Secrets.
fn write(rendered: &[Value], projected: &Value, place: &Path) -> Result<()> {
    ensure!(projected["defaultMode"] == 0o440, "the volume's mode is not 0440");
    fs::create_dir_all(place)?;
    for source in projected["sources"].as_array().into_iter().flatten() {
        let secret = find(rendered, "Secret", text(source, "secret/name"))?;
        for item in source["secret"]["items"].as_array().into_iter().flatten() {
            let (key, path) = (text(item, "key"), place.join(text(item, "path")));
            let value = secret["stringData"][key]
                .as_str()
                .with_context(|| format!("no key {key}"))?;
            fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
            fs::write(&path, value)?;
            // As the kubelet does with fsGroup: root's file, readable by the group.
            chown(&path, Some(0), Some(UID))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o440))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_keeps_everything_but_what_podman_does_not_know() {
        let workload = json!({"metadata": {"name": "a"}, "spec": {"template": {"metadata": {"labels": {"b": "c"}}, "spec": {
            "securityContext": {"runAsUser": UID}, "volumes": [{"name": "tmp", "emptyDir": {}}], "containers": [{
                "name": "a", "livenessProbe": {}, "args": ["serve"], "env": [
                    {"name": "POD_IP", "valueFrom": {"fieldRef": {}}}, {"name": "X__ADVERTISED", "value": "1"}, {"name": "KEPT", "value": "1"}]}]}}}});
        let hosts = [("h".to_owned(), "10.0.0.1".to_owned())];
        let made = pod(&[], &workload, &hosts, Path::new("/nonexistent")).expect("a pod");
        assert_eq!(
            made["spec"]["containers"][0],
            json!({"name": "a", "args": ["serve"], "env": [{"name": "KEPT", "value": "1"}]})
        );
        assert_eq!(made["spec"]["securityContext"]["runAsUser"], UID);
        assert_eq!(made["spec"]["hostAliases"][0]["ip"], "10.0.0.1");
        assert_eq!(made["metadata"]["labels"]["b"], "c");
    }
}
