//! `chart/values.schema.json`: what the values may be.
//!
//! In: `xtask/src/chart/values.schema.json`, written by hand, which knows the chart's own keys; and the schema of the program's
//! configuration, which `config` follows section by section. Out: one schema, in the draft that every Helm 3 reads. So a key that the
//! program would refuse is refused before anything is installed.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::workspace;

const OWN: &str = include_str!("values.schema.json");

/// Sections that the chart has its own way to say: where data is, where the database is.
const NOT_SECTIONS: &[&str] = &["data_dir", "database"];

/// Keys of the first chart within a section of the program: kept, or refused by a template that says what to do instead.
const OLD_KEYS: &[(&str, &str, &str)] = &[
    ("gateway", "enable_event_loop", "Gone."),
    ("gateway", "canvas_addr", "Where it serves web pages."),
    (
        "orchestrator",
        "temporal_addr",
        "Must stay empty: Temporal is not there yet.",
    ),
    (
        "orchestrator",
        "namespace",
        "Must stay empty: Temporal is not there yet.",
    ),
    (
        "orchestrator",
        "task_queue",
        "Must stay empty: Temporal is not there yet.",
    ),
    ("sandbox", "enabled", "Must stay true."),
    (
        "tool_router",
        "egress_addr",
        "Where the tool-router listens for the way out of the sandbox's jobs.",
    ),
    ("policy", "opa_url", "An OPA server that is asked, too."),
];

/// The file as it should be.
pub fn text() -> Result<String> {
    let program = fs::read_to_string(workspace::path("docs/reference/config.schema.json"))
        .context("docs/reference/config.schema.json")?;
    let program: Value = serde_json::from_str(&program).context("docs/reference/config.schema.json")?;
    let own: Value = serde_json::from_str(OWN).context("xtask/src/chart/values.schema.json")?;
    Ok(format!(
        "{}\n",
        serde_json::to_string_pretty(&joined(own, &program)?)?
    ))
}

fn joined(mut schema: Value, program: &Value) -> Result<Value> {
    let sections = program["properties"]
        .as_object()
        .context("the program's schema has no sections")?;
    let mut definitions = program["$defs"]
        .as_object()
        .context("the program's schema has no definitions")?
        .clone();
    let config = schema
        .pointer_mut("/properties/config/properties")
        .and_then(Value::as_object_mut)
        .context("the chart's schema has no `config`")?;
    for (name, section) in sections
        .iter()
        .filter(|(name, _)| !NOT_SECTIONS.contains(&name.as_str()))
    {
        let reference = section["$ref"]
            .as_str()
            .context("a section refers to its definition")?;
        add_old_keys(name, reference, &mut definitions)?;
        config.insert(name.clone(), json!({"$ref": reference}));
    }
    if let Some(objects) = definitions.get_mut("S3Section").and_then(Value::as_object_mut) {
        // Laid over the chart's own default by another values file, it need not be whole.
        objects.remove("required");
    }
    let own = schema["definitions"]
        .as_object_mut()
        .context("the chart's schema has no definitions")?;
    own.extend(definitions);
    Ok(draft_7(&schema))
}

fn add_old_keys(section: &str, reference: &str, definitions: &mut Map<String, Value>) -> Result<()> {
    let name = reference.rsplit('/').next().unwrap_or_default();
    let properties = definitions
        .get_mut(name)
        .and_then(|definition| definition["properties"].as_object_mut())
        .with_context(|| format!("the program's schema has no {name}"))?;
    for (_, key, description) in OLD_KEYS.iter().filter(|(of, _, _)| *of == section) {
        properties.insert(
            (*key).to_owned(),
            json!({"description": description, "type": ["string", "boolean", "null"]}),
        );
    }
    Ok(())
}

/// `$defs` are called `definitions`; defaults and Rust's number formats say nothing to Helm.
fn draft_7(schema: &Value) -> Value {
    match schema {
        Value::Object(map) => {
            if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                return json!({"$ref": reference.replace("#/$defs/", "#/definitions/")});
            }
            let kept = map
                .iter()
                .filter(|(keyword, _)| !matches!(keyword.as_str(), "default" | "format"));
            let kept = kept.map(|(keyword, value)| match keyword.as_str() {
                // Here the keys are names, not keywords.
                "properties" | "definitions" => (keyword.clone(), each(value)),
                _ => (keyword.clone(), draft_7(value)),
            });
            Value::Object(kept.collect())
        }
        Value::Array(values) => Value::Array(values.iter().map(draft_7).collect()),
        other => other.clone(),
    }
}

fn each(named: &Value) -> Value {
    let named = named.as_object().into_iter().flatten();
    Value::Object(
        named
            .map(|(name, schema)| (name.clone(), draft_7(schema)))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_of_the_program_are_joined_with_the_chart_s_own_keys() {
        let own =
            json!({"properties": {"config": {"properties": {"storage": {}}}}, "definitions": {"probe": {}}});
        let program = json!({
            "properties": {"gateway": {"$ref": "#/$defs/Gateway", "default": {}}, "data_dir": {}},
            "$defs": {"Gateway": {"additionalProperties": false, "properties":
                {"http_addr": {"$ref": "#/$defs/Address", "default": ":1"}, "format": {"type": "integer", "format": "uint32"}}}},
        });
        let schema = joined(own, &program).expect("joined");
        assert_eq!(
            schema["properties"]["config"]["properties"]["gateway"],
            json!({"$ref": "#/definitions/Gateway"})
        );
        let gateway = &schema["definitions"]["Gateway"];
        assert_eq!(
            gateway["properties"]["http_addr"],
            json!({"$ref": "#/definitions/Address"})
        );
        assert_eq!(gateway["properties"]["format"], json!({"type": "integer"}));
        assert!(gateway["properties"].get("enable_event_loop").is_some());
        assert!(
            schema["properties"]["config"]["properties"]
                .get("data_dir")
                .is_none()
        );
        assert!(schema["definitions"].get("probe").is_some());
    }
}
