//! Arguments checked against an action's closed schema.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::format::{ArgKind, ArgSpec};
use crate::domain::{SecretRef, plan::Args};

/// One argument that was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{arg}: {message}")]
pub struct ArgError {
    /// Its name.
    pub arg: String,
    /// What is wrong; never the value of a secret.
    pub message: String,
}

/// Checks `args`, fills in defaults. With `from_text`, digits are taken for whole numbers: captured values are text.
pub(super) fn check(
    specs: &BTreeMap<String, ArgSpec>,
    args: &Args,
    from_text: bool,
) -> Result<Args, Vec<ArgError>> {
    let mut errors = Vec::new();
    let mut refuse = |arg: &str, message: String| {
        errors.push(ArgError {
            arg: arg.to_owned(),
            message,
        });
    };
    for name in args.keys().filter(|name| !specs.contains_key(*name)) {
        refuse(name, "is not an argument of this action".into());
    }
    let mut checked = Args::new();
    for (name, spec) in specs {
        let given = args.get(name).or(spec.default.as_ref());
        match given.map(|value| one(spec, value, from_text)) {
            Some(Ok(value)) => drop(checked.insert(name.clone(), value)),
            Some(Err(message)) => refuse(name, message),
            None if spec.required => refuse(name, "is missing".into()),
            None => {}
        }
    }
    if errors.is_empty() {
        Ok(checked)
    } else {
        Err(errors)
    }
}

fn one(spec: &ArgSpec, value: &Value, from_text: bool) -> Result<Value, String> {
    match spec.kind {
        ArgKind::Integer => integer(spec, value, from_text).map(Value::from),
        ArgKind::Boolean => value
            .as_bool()
            .map(Value::from)
            .ok_or_else(|| "must be true or false".into()),
        ArgKind::List => list(spec, value),
        ArgKind::String | ArgKind::Workload | ArgKind::Resource | ArgKind::Secret => {
            let text = value.as_str().ok_or("must be a text")?;
            check_text(spec, text).map(|()| Value::from(text))
        }
    }
}

fn integer(spec: &ArgSpec, value: &Value, from_text: bool) -> Result<i64, String> {
    let parsed = match value {
        Value::String(text) if from_text => text.parse().ok(),
        other => other.as_i64(),
    };
    let number = parsed.ok_or("must be a whole number")?;
    let (min, max) = (spec.min.unwrap_or(0), spec.max.unwrap_or(i64::from(i32::MAX)));
    if (min..=max).contains(&number) {
        Ok(number)
    } else {
        Err(format!("must be from {min} to {max}"))
    }
}

fn list(spec: &ArgSpec, value: &Value) -> Result<Value, String> {
    let items = value.as_array().ok_or("must be a list of texts")?;
    let most = spec.max.unwrap_or(32);
    if i64::try_from(items.len()).map_or(true, |n| n > most) {
        return Err(format!("must have at most {most} items"));
    }
    for item in items {
        check_text(spec, item.as_str().ok_or("must be a list of texts")?)?;
    }
    Ok(value.clone())
}

fn check_text(spec: &ArgSpec, text: &str) -> Result<(), String> {
    if text.starts_with('-') {
        return Err("must not begin with `-`: that would be an option".into());
    }
    match spec.kind {
        ArgKind::Workload | ArgKind::Resource => named(spec, text),
        ArgKind::Secret => text
            .parse::<SecretRef>()
            .map(drop)
            .map_err(|_| "must be a reference, `env:NAME` or `file:PATH`, never the secret itself".into()),
        ArgKind::String | ArgKind::List | ArgKind::Integer | ArgKind::Boolean => match spec.pattern {
            Some(pattern) if pattern.accepts(text) => Ok(()),
            Some(pattern) => Err(format!("must be {}", pattern.expectation())),
            None => Err("has no pattern".into()),
        },
    }
}

fn named(spec: &ArgSpec, text: &str) -> Result<(), String> {
    let (kind, name) = match text.split_once('/') {
        Some((kind, name)) => (kind, Some(name)),
        None => (text, None),
    };
    if !spec.kinds.iter().any(|allowed| allowed == kind) {
        return Err(format!("must begin with one of {}", spec.kinds.join(", ")));
    }
    match name {
        Some(name) if super::pattern::is_name(name) => Ok(()),
        Some(_) => Err("must end with a name of a-z, 0-9, `-`, `_` and `.`".into()),
        None if spec.kind == ArgKind::Resource => Ok(()),
        None => Err("must be `kind/name`".into()),
    }
}

/// The JSON schema of an action's arguments, closed.
pub(super) fn json_schema(specs: &BTreeMap<String, ArgSpec>) -> Value {
    let properties: BTreeMap<_, _> = specs
        .iter()
        .map(|(name, spec)| (name.clone(), property(spec)))
        .collect();
    let required: Vec<_> = specs
        .iter()
        .filter(|(_, s)| s.required)
        .map(|(name, _)| name.clone())
        .collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn property(spec: &ArgSpec) -> Value {
    let mut schema = match spec.kind {
        ArgKind::Integer => json!({ "type": "integer", "minimum": spec.min.unwrap_or(0) }),
        ArgKind::Boolean => json!({ "type": "boolean" }),
        ArgKind::List => json!({ "type": "array", "items": { "type": "string" } }),
        ArgKind::Secret => json!({ "type": "string", "pattern": "^(env|file):.+$" }),
        ArgKind::Workload => {
            json!({ "type": "string", "pattern": format!("^({})/.+$", spec.kinds.join("|")) })
        }
        ArgKind::Resource => {
            json!({ "type": "string", "pattern": format!("^({})(/.+)?$", spec.kinds.join("|")) })
        }
        ArgKind::String => json!({ "type": "string" }),
    };
    let description = match spec.pattern {
        Some(pattern) => format!("{} Must be {}.", spec.summary, pattern.expectation()),
        None => spec.summary.clone(),
    };
    schema["description"] = description.into();
    if let (ArgKind::Integer, Some(max)) = (spec.kind, spec.max) {
        schema["maximum"] = max.into();
    }
    if let Some(default) = &spec.default {
        schema["default"] = default.clone();
    }
    schema
}
