//! JSON schemas of Kubernetes' objects, one folder a version, as kubeconform looks for them.
//!
//! In: `api/openapi-spec/swagger.json` of the published module `k8s.io/kubernetes`. Out: `<kind>[-<group>]-<version>.json`, each a
//! reference into `_definitions.json`. Kubernetes' description says what fields there are; the rest of what `-strict` means is added:
//! no other fields, and `null` for what need not be there. Made once, then kept in the cache.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::report::step;
use crate::tools;

const DEFINITIONS: &str = "_definitions.json";

/// The folder of one version's schemas, made when it is missing.
pub fn ensure(version: &str) -> Result<PathBuf> {
    let parent = tools::cache_root()?.join("kube-schemas");
    let folder = parent.join(version);
    if folder.join(DEFINITIONS).is_file() {
        return Ok(folder);
    }
    step(&format!("schemas of Kubernetes {version}"), || {
        let stage = parent.join(format!(".stage-{version}-{}", std::process::id()));
        fs::create_dir_all(&stage)?;
        let text = tools::module_file("k8s.io/kubernetes", version, "api/openapi-spec/swagger.json")?;
        let swagger: Value = serde_json::from_str(&text).context("swagger.json")?;
        let written = write(&swagger, &stage);
        let moved = written.and_then(|()| match fs::rename(&stage, &folder) {
            Err(_) if folder.join(DEFINITIONS).is_file() => Ok(()), // another process was first
            result => Ok(result?),
        });
        if stage.exists() {
            fs::remove_dir_all(&stage)?;
        }
        moved
    })?;
    Ok(folder)
}

fn write(swagger: &Value, folder: &Path) -> Result<()> {
    let described = swagger["definitions"].as_object().context("no definitions")?;
    let mut definitions = Map::new();
    let mut kinds = 0;
    for (name, description) in described {
        let mut schema = strict(name, description);
        if let [kind] = kinds_of(description) {
            let (group, version, kind) = (part(kind, "group"), part(kind, "version"), part(kind, "kind"));
            name_itself(&mut schema, group, version, kind);
            let reference = json!({"$ref": format!("{DEFINITIONS}#/definitions/{name}")});
            fs::write(
                folder.join(file_name(group, version, kind)),
                reference.to_string(),
            )?;
            kinds += 1;
        }
        definitions.insert(name.clone(), schema);
    }
    if kinds < 50 {
        bail!("{kinds} kinds: this is no description of Kubernetes' API");
    }
    fs::write(
        folder.join(DEFINITIONS),
        json!({"definitions": definitions}).to_string(),
    )?;
    Ok(())
}

/// The schema of one definition: references go to the one file of definitions, unknown fields are refused.
fn strict(name: &str, description: &Value) -> Value {
    if name.ends_with(".IntOrString") {
        return json!({"oneOf": [{"type": "string"}, {"type": "integer"}]});
    }
    if name.ends_with(".Quantity") {
        return json!({"oneOf": [{"type": "string"}, {"type": "number"}]});
    }
    let mut schema = resolved(description);
    let required: Vec<String> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|name| Some(name.as_str()?.to_owned()))
        .collect();
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return schema;
    };
    for (name, property) in properties {
        if let Some(kind) = property.get("type").and_then(Value::as_str).map(str::to_owned)
            && !required.contains(name)
        {
            property["type"] = json!([kind, "null"]);
        }
    }
    if schema.get("additionalProperties").is_none() {
        schema["additionalProperties"] = Value::Bool(false);
    }
    schema
}

/// A copy whose references lead into the file of definitions, without Kubernetes' own annotations.
fn resolved(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            if let Some(name) = map
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|path| path.rsplit('/').next())
            {
                return json!({"$ref": format!("{DEFINITIONS}#/definitions/{name}")});
            }
            let kept = map.iter().filter(|(key, _)| !key.starts_with("x-kubernetes"));
            Value::Object(kept.map(|(key, value)| (key.clone(), resolved(value))).collect())
        }
        Value::Array(values) => Value::Array(values.iter().map(resolved).collect()),
        other => other.clone(),
    }
}

fn kinds_of(description: &Value) -> &[Value] {
    description["x-kubernetes-group-version-kind"]
        .as_array()
        .map_or(&[], Vec::as_slice)
}

fn part<'a>(kind: &'a Value, name: &str) -> &'a str {
    kind[name].as_str().unwrap_or_default()
}

/// An object that is looked at whole says what it is.
fn name_itself(schema: &mut Value, group: &str, version: &str, kind: &str) {
    let separator = if group.is_empty() { "" } else { "/" };
    schema["properties"]["apiVersion"] =
        json!({"type": "string", "enum": [format!("{group}{separator}{version}")]});
    schema["properties"]["kind"] = json!({"type": "string", "enum": [kind]});
}

/// As kubeconform asks for it: of the group only what is before its first dot.
fn file_name(group: &str, version: &str, kind: &str) -> String {
    let group = group.split('.').next().filter(|group| !group.is_empty());
    let group = group.map(|group| format!("-{group}")).unwrap_or_default();
    format!("{}{group}-{version}.json", kind.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_kubeconform_asks_for_them() {
        assert_eq!(file_name("", "v1", "Service"), "service-v1.json");
        assert_eq!(
            file_name("networking.k8s.io", "v1", "NetworkPolicy"),
            "networkpolicy-networking-v1.json"
        );
    }

    #[test]
    fn unknown_fields_are_refused_and_optional_ones_may_be_null() {
        let schema = strict(
            "io.k8s.api.core.v1.X",
            &json!({"type": "object", "required": ["a"], "x-kubernetes-y": 1, "properties": {
                "a": {"type": "string"}, "b": {"type": "array", "items": {"$ref": "#/definitions/io.k8s.Y"}}}}),
        );
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(schema["properties"]["a"]["type"], json!("string"));
        assert_eq!(schema["properties"]["b"]["type"], json!(["array", "null"]));
        assert_eq!(
            schema["properties"]["b"]["items"]["$ref"],
            json!("_definitions.json#/definitions/io.k8s.Y")
        );
        assert!(schema.get("x-kubernetes-y").is_none());
    }

    #[test]
    fn what_is_no_description_of_kubernetes_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = write(&json!({"definitions": {}}), folder.path()).expect_err("nothing in it");
        assert!(error.to_string().contains("0 kinds"), "{error}");
    }
}
